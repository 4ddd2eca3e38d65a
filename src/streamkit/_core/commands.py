"""Every plain command streamkit sends, built here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.ids import EntryId
    from streamkit._core.protocol import Command, Scalar

TIME: Command = ("TIME",)
INFO_SERVER: Command = ("INFO", "server")
INFO_MEMORY: Command = ("INFO", "memory")
HAS_XCFGSET: Command = ("COMMAND", "INFO", "XCFGSET")
HAS_XACKDEL: Command = ("COMMAND", "INFO", "XACKDEL")


def trim_words(strategy: Scalar, operator: Scalar, threshold: Scalar, limit: Scalar) -> tuple[Scalar, ...]:
    """The trimming part of XADD and XTRIM."""
    return (strategy, operator, threshold) if limit == "" else (strategy, operator, threshold, "LIMIT", limit)


def xtrim(key: str, trimming: tuple[Scalar, ...]) -> Command:
    """XTRIM by length, or by an ID as MINID."""
    return ("XTRIM", key, *trimming)


def xread(key: str, after: EntryId, count: int, block_ms: int | None = None) -> Command:
    """XREAD of one key; without ``block_ms`` it returns at once."""
    block: tuple[Scalar, ...] = () if block_ms is None else ("BLOCK", block_ms)
    return ("XREAD", "COUNT", count, *block, "STREAMS", key, str(after))


def xrange(key: str, first: EntryId, last: EntryId, count: int) -> Command:
    """XRANGE between two IDs, both included."""
    return ("XRANGE", key, str(first), str(last), "COUNT", count)


def xrevrange(key: str, first: EntryId, last: EntryId, count: int) -> Command:
    """XREVRANGE between two IDs, both included, the newest first."""
    return ("XREVRANGE", key, str(last), str(first), "COUNT", count)


def xdel(key: str, *ids: EntryId) -> Command:
    """XDEL."""
    return ("XDEL", key, *map(str, ids))


def xinfo_stream(key: str) -> Command:
    """XINFO STREAM."""
    return ("XINFO", "STREAM", key)


def xlen(key: str) -> Command:
    """XLEN."""
    return ("XLEN", key)


def exists(key: str) -> Command:
    """EXISTS of one key."""
    return ("EXISTS", key)


def pexpiretime(key: str) -> Command:
    """PEXPIRETIME: milliseconds since 1970, -1 without expiry, -2 without the key."""
    return ("PEXPIRETIME", key)


def unlink(*keys: str) -> Command:
    """UNLINK."""
    return ("UNLINK", *keys)


def hgetall(key: str) -> Command:
    """HGETALL."""
    return ("HGETALL", key)


def hmget(key: str, *fields: str) -> Command:
    """HMGET."""
    return ("HMGET", key, *fields)


def xack(key: str, group: str, entry_ids: Sequence[str]) -> Command:
    """XACK."""
    return ("XACK", key, group, *entry_ids)


def xackdel(key: str, group: str, entry_ids: Sequence[str]) -> Command:
    """XACKDEL: acks, and deletes what every group is done with (Redis 8.2)."""
    return ("XACKDEL", key, group, "ACKED", "IDS", len(entry_ids), *entry_ids)


def xgroup_create(key: str, group: str, after: str, *, make: bool = False, read: int | None = None) -> Command:
    """XGROUP CREATE, behind an ID; ``make``: the stream too, if it does not exist; ``read``: how many lie before."""
    words: tuple[Scalar, ...] = ("MKSTREAM",) if make else ()
    return ("XGROUP", "CREATE", key, group, after, *words, *(() if read is None else ("ENTRIESREAD", read)))


def xreadgroup(keys: Sequence[str], group: str, consumer: str, count: int, block_ms: int | None = None) -> Command:
    """XREADGROUP of new entries; without ``block_ms`` it returns at once."""
    block: tuple[Scalar, ...] = () if block_ms is None else ("BLOCK", block_ms)
    return ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, *block, "STREAMS", *keys, *(">" for _ in keys))


def xpending(key: str, group: str, after: str, count: int, *consumer: str) -> Command:
    """XPENDING, a page of it; ``after``: ``-`` or ``(ID``; of one consumer, or of all."""
    return ("XPENDING", key, group, after, "+", count, *consumer)


def xinfo_groups(key: str) -> Command:
    """XINFO GROUPS."""
    return ("XINFO", "GROUPS", key)


def hset(key: str, *pairs: Scalar) -> Command:
    """HSET."""
    return ("HSET", key, *pairs)


def sadd(key: str, member: str) -> Command:
    """SADD of one member."""
    return ("SADD", key, member)


def smembers(key: str) -> Command:
    """SMEMBERS."""
    return ("SMEMBERS", key)


def srem(key: str, member: str) -> Command:
    """SREM of one member."""
    return ("SREM", key, member)


def hsetnx(key: str, field: str, value: Scalar) -> Command:
    """HSETNX: a field that is not there yet."""
    return ("HSETNX", key, field, value)
