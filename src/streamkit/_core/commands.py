"""Every plain command streamkit sends, built here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamkit._core.ids import EntryId
    from streamkit._core.protocol import Command, Scalar

TIME: Command = ("TIME",)
INFO_SERVER: Command = ("INFO", "server")
INFO_MEMORY: Command = ("INFO", "memory")
HAS_XCFGSET: Command = ("COMMAND", "INFO", "XCFGSET")


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
