"""Reads of a group's entries on their way: several at once, each with a look in front for what was trimmed unread."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamkit._core import commands
from streamkit._core.members import unread
from streamkit._core.scripts import UNREAD
from streamkit.asyncio.lanes import group_checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.observers import Observer
    from streamkit._core.protocol import Command
    from streamkit._core.replies import Reply
    from streamkit.asyncio.lanes import Courses, Lane
    from streamkit.asyncio.leasing import Leases
    from streamkit.asyncio.links import Link, Ticket

SLICE = 0.5
"""Seconds that one blocking read lasts: what a stop waits for, at most."""
IN_TURN = 0.05
"""The same where lanes lie in several slots of a cluster: their nodes wait for one slot at a time."""


@dataclass(frozen=True)
class Look:
    """A read on its way."""

    lanes: Sequence[Lane]
    size: int
    since: float
    unread: Sequence[Ticket]
    read: Ticket


class Looking:
    """Sends reads, and collects their replies in the same order.

    Args:
        courses: What is read.
        leases: Told what is on its way.
        observer: Told of what was trimmed unread.
    """

    def __init__(self, courses: Courses, leases: Leases, observer: Observer) -> None:
        self._courses = courses
        self._leases = leases
        self._observer = observer
        self._looks: deque[Look] = deque()
        self._poll_due = 0.0

    @property
    def count(self) -> int:
        """How many reads are on their way."""
        return len(self._looks)

    def choose(self, *, again: bool = False) -> Lane | None:
        """The lane to read next without waiting; None: no lane may have something.

        ``again``: look also where the last read found nothing.
        """
        lanes = self._courses.newest if again else []
        if time.monotonic() >= self._poll_due:
            # Entries written to an old partition by others, and keys of several sources beside the one waited for.
            self._poll_due = time.monotonic() + 1.0
            lanes = self._courses.lanes
        if again or len(lanes) > 1:
            for lane in lanes:
                lane.dry = False
        return self._courses.next_lane()

    def look(self, link: Link, lane: Lane, size: int) -> None:
        """Queue a read of a lane that does not wait."""
        self._queue(link, [lane], size)
        self.note_ahead()

    def look_waiting(self, link: Link, size: int, seconds: float) -> None:
        """Queue reads of the newest lanes that wait for entries: of a cluster one for each slot.

        Nodes wait side by side, but each for one slot at a time: of its others it only says what they have.
        """
        groups = self._courses.newest_together
        block = max(1, int(min(seconds, SLICE if len(groups) == 1 else IN_TURN) * 1000))
        for lanes, waits in groups:
            self._queue(link, lanes, max(1, size // len(groups)), block if waits else None)

    def _queue(self, link: Link, lanes: Sequence[Lane], size: int, block: int | None = None) -> None:
        member = lanes[0].member
        checks = [link.prepare(self._check(link, lane)) for lane in lanes]
        command = commands.xreadgroup([lane.key for lane in lanes], member.group, member.consumer, size, block)
        read = link.prepare(command, text=all(lane.text for lane in lanes))
        self._looks.append(Look(lanes, size, time.monotonic(), checks, read))

    def _check(self, link: Link, lane: Lane) -> Command:
        """Look for what was trimmed unread. It goes in front of each read, which would step over that."""
        # A server met anew may have forgotten the script, and by the time it says so the read is done.
        return lane.member.call(UNREAD, known=lane.met and link.knows(UNREAD, lane.key))

    async def collect(self, link: Link) -> tuple[Look, Reply]:
        """The oldest read that is on its way, and its reply."""
        look = self._looks[0]
        for lane, ticket in zip(look.lanes, look.unread, strict=True):
            (reply,) = await link.collect(ticket)
            self._note_unread(link, lane, reply)
        (reply,) = await link.collect(look.read)
        self._looks.popleft()
        return look, reply

    def _note_unread(self, link: Link, lane: Lane, reply: Reply) -> None:
        if link.learn(UNREAD, lane.key, reply):
            return  # asked again with the next read
        found = unread(group_checked(lane, reply))
        lane.met = True
        if found.count:
            self._observer.on_unread(lane.key, lane.member.group, found.count, found.first, found.last)
        if found.dropped:
            self._observer.on_letters_dropped(lane.member.letters, found.dropped)

    def meet_anew(self) -> None:
        """The servers may not be those of before."""
        for lane in self._courses.lanes:
            lane.met = False

    def concerns(self, lane: Lane | None) -> bool:
        """Whether a read of a lane, or of any, is on its way."""
        return any(lane is None or lane in look.lanes for look in self._looks)

    def drop(self) -> None:
        """Nobody waits for what is on its way any more."""
        self._looks.clear()
        self._leases.ahead = {}

    def note_ahead(self) -> None:
        """Tell the heartbeat what is on its way: what it brings is ours, though not in hand yet."""
        ahead: dict[Lane, int] = {}
        for look in self._looks:
            for lane in look.lanes:
                ahead[lane] = ahead.get(lane, 0) + look.size
        self._leases.ahead = ahead
