"""Asking which keys exist and what they hold, and with that where a reader begins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamkit._core import commands
from streamkit._core.checkpoints import Mark, Place
from streamkit._core.following import Follower, Start, resolve_start
from streamkit._core.ids import ZERO
from streamkit._core.replies import Reply, StreamFacts, milliseconds, stream_facts
from streamkit.asyncio.keeping import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit.asyncio.links import Link


def checked(key: str, reply: Reply) -> Reply:
    """A reply about a key; raises a typed error for an error reply, `Refused` if it passes."""
    if isinstance(reply, Exception):
        raise refused(reply, f"reading {key!r}", key)
    return reply


def facts_of(key: str, reply: Reply) -> StreamFacts | None:
    """XINFO STREAM of a key; None: it does not exist."""
    if isinstance(reply, Exception) and "no such key" in str(reply):
        return None
    return stream_facts(checked(key, reply))


async def existing(link: Link, keys: Sequence[str]) -> list[str]:
    """Those of the keys that exist. Sends EXISTS for each, in one write."""
    found = await link.exchange(*map(commands.exists, keys))
    return [key for key, reply in zip(keys, found, strict=True) if checked(key, reply) == 1]


async def marks(link: Link, keys: Sequence[str]) -> list[Mark]:
    """The newest ID of each of the keys that exist. Sends XINFO STREAM for each, in one write."""
    replies = await link.exchange(*map(commands.xinfo_stream, keys))
    facts = [(key, facts_of(key, reply)) for key, reply in zip(keys, replies, strict=True)]
    return [Mark(key, found.last_id, found.entries_added) for key, found in facts if found is not None]


async def begin(link: Link, start: Start, follower: Follower) -> Place:
    """The place that a start means now: a key and an ID, and what is known of them."""
    partitioning = follower.partitioning
    (reply,) = await link.exchange(commands.TIME)
    now, found = milliseconds(checked(follower.name, reply)), list[str]()
    if partitioning is not None:
        found = await existing(link, [partition.key for partition in partitioning.horizon(now)])
    key, behind = resolve_start(start, follower.name, partitioning, now, found)
    (reply,) = await link.exchange(commands.xinfo_stream(key))
    facts = facts_of(key, reply)
    if behind is None:
        ahead = tuple(await marks(link, [later for later in found if later > key]))
        newest = Place(key, ZERO) if facts is None else Place(key, facts.last_id, facts.entries_added)
        return replace(newest, ahead=ahead, seen=now)
    if facts is None:
        return Place(key, behind, bound=behind != ZERO, seen=now)
    if behind != ZERO:
        return Place(key, behind, bound=True)
    return Place(key, ZERO, facts.entries_added - facts.length)
