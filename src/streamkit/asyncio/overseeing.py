"""Looking at a group from outside its loops: what is pending, how far it lags, taking over and leaving."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from streamkit._core import commands
from streamkit._core.groups import PendingEntry
from streamkit._core.ids import EntryId
from streamkit._core.members import LONG_AGO, PAGE, RELEASED
from streamkit._core.replies import mapping, text
from streamkit._core.scripts import RELEASE, TAKE_OVER
from streamkit.asyncio.lanes import GroupMissing, group_checked
from streamkit.asyncio.probing import facts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.lanes import Lane
    from streamkit.asyncio.links import Link


async def pending_of(server: Server, lane: Lane) -> AsyncIterator[PendingEntry]:
    """What is pending in a lane, page by page."""
    cursor = "-"
    while cursor:
        async with server.visit() as link:
            (reply,) = await link.exchange(commands.xpending(lane.key, lane.member.group, cursor, PAGE))
            try:
                page = group_checked(lane, reply)
            except GroupMissing:
                return
        for entry_id, consumer, idle, deliveries in page:
            yield PendingEntry(
                lane.key, EntryId.parse(entry_id), text(consumer), timedelta(milliseconds=idle), int(deliveries)
            )
        cursor = f"({text(page[-1][0])}" if len(page) == PAGE else ""


async def lag_of(link: Link, lane: Lane) -> int | None:
    """How many entries of a lane the group was not given yet; None: the server does not know."""
    stream, groups = await link.exchange(commands.xinfo_stream(lane.key), commands.xinfo_groups(lane.key))
    facts = facts_of(lane.key, stream)
    if facts is None:
        return 0
    for each in group_checked(lane, groups):
        info = mapping(each)
        if text(info[b"name"]) == lane.member.group:
            if EntryId.parse(info[b"last-delivered-id"]) >= facts.last_id:
                return 0
            lag = info.get(b"lag")
            return None if lag is None else min(int(lag), facts.length)
    return facts.length


async def take_over_of(server: Server, lane: Lane, other: str) -> int:
    """Take everything another consumer holds in a lane, and remove it."""
    taken, last = 0, False
    while not last:
        async with server.visit() as link:
            try:
                reply = await lane.run(link, TAKE_OVER, (other, PAGE))
            except GroupMissing:
                return taken
        taken += int(reply[1])
        last = bool(reply[2])
    return taken


async def leave_of(server: Server, lane: Lane, in_hand: frozenset[str]) -> bool:
    """Give back what this consumer holds and nobody has in hand, and remove it if nothing is left."""
    cursor = "-"
    while True:
        async with server.visit() as link:
            command = commands.xpending(lane.key, lane.member.group, cursor, PAGE, lane.member.consumer)
            (reply,) = await link.exchange(command)
            try:
                page = [text(each[0]) for each in group_checked(lane, reply)]
                words: list[str | int] = []
                for entry_id in page:
                    if entry_id not in in_hand:
                        words += (entry_id, "", LONG_AGO)
                last = len(page) < PAGE
                arguments = (RELEASED, "leave" if last else "", *words)
                reply = await lane.run(link, RELEASE, arguments)
            except GroupMissing:
                return True
        if last:
            return bool(reply[2])
        cursor = f"({page[-1]}"
