"""Raw replies as values: the one place that knows RESP2 from RESP3 and the order of a reply's parts.

Every reply arrives undecoded (bytes, int, lists, dicts), or as the exception that stands for an error reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from streamkit._core.ids import EntryId

Reply: TypeAlias = Any
RawEntry: TypeAlias = "tuple[bytes, list[bytes]]"
"""ID, then fields and values in turn; str instead of bytes where the parser was asked for text."""


@dataclass(frozen=True)
class StreamFacts:
    """What XINFO STREAM says of one key, as far as streamkit needs it."""

    length: int
    last_id: EntryId
    first_id: EntryId | None
    entries_added: int
    max_deleted_id: EntryId
    groups: int
    window: tuple[int, int] | None
    """The native idempotency window (seconds, keys); None where the server has none."""


@dataclass(frozen=True)
class ServerFacts:
    """What kind of server answers."""

    version: str
    major: int
    eviction_policy: str


def raise_error(reply: Reply) -> Reply:
    """The reply itself, or the error that it stands for, raised."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def mapping(reply: Reply) -> dict[bytes, Any]:
    """A map reply: a dict under RESP3, a flat list of pairs under RESP2 and out of scripts."""
    raise_error(reply)
    if isinstance(reply, dict):
        return cast("dict[bytes, Any]", reply)
    words = iter(cast("list[Any]", reply))
    return dict(zip(words, words, strict=True))


def stream_facts(reply: Reply) -> StreamFacts | None:
    """XINFO STREAM; None for a key that does not exist."""
    if isinstance(reply, Exception) and "no such key" in str(reply):
        return None
    facts = mapping(reply)
    first = facts[b"first-entry"]
    duration = facts.get(b"idmp-duration")
    return StreamFacts(
        length=facts[b"length"],
        last_id=EntryId.parse(facts[b"last-generated-id"]),
        first_id=EntryId.parse(first[0]) if first else None,
        entries_added=facts[b"entries-added"],
        max_deleted_id=EntryId.parse(facts[b"max-deleted-entry-id"]),
        groups=facts[b"groups"],
        window=None if duration is None else (duration, facts[b"idmp-maxsize"]),
    )


def entries_of_one(reply: Reply) -> list[RawEntry]:
    """XREAD of a single key: its entries, or none."""
    raise_error(reply)
    if not reply:
        return []
    if isinstance(reply, dict):
        (entries,) = cast("dict[bytes, Any]", reply).values()
    else:
        ((_, entries),) = reply
    return cast("list[RawEntry]", entries)


def milliseconds(reply: Reply) -> int:
    """TIME, in whole milliseconds."""
    seconds, microseconds = raise_error(reply)
    return int(seconds) * 1000 + int(microseconds) // 1000


def text(reply: Reply) -> str:
    """A bulk or simple string."""
    raise_error(reply)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def texts(reply: Reply) -> list[str]:
    """A list of strings and numbers as text."""
    return [text(part) for part in raise_error(reply)]


def server_facts(server: Reply, memory: Reply) -> ServerFacts:
    """INFO server and INFO memory."""
    lines = (text(server) + "\n" + text(memory)).splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    version = facts.get("valkey_version") or facts.get("redis_version", "0")
    compatible = facts.get("redis_version", version)
    return ServerFacts(
        version=version,
        major=int(compatible.split(".")[0]),
        eviction_policy=facts.get("maxmemory_policy", "noeviction"),
    )
