"""Effects of a step: entries to emit and commands to execute, with what is checked before the first is applied."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from streamkit._core.codecs import check_fields
from streamkit._core.errors import EffectFailed, EncodeError, InvalidArgument, PermissionDenied
from streamkit._core.protocol import plain, storable, to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.appends import Target
    from streamkit._core.codecs import Encoded
    from streamkit._core.protocol import Scalar

STEP_EFFECTS: Final = 500
"""A step is cut at the next entry once it holds so many effects: 500 emitted entries take about 1.6 ms."""
STEP_BYTES: Final = 1024 * 1024
"""... or so many bytes."""

_TYPES: Final = {
    "hash": "HSET HSETNX HDEL HINCRBY HINCRBYFLOAT HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HPERSIST HSETEX",
    "list": "LPUSH RPUSH LPUSHX RPUSHX LPOP RPOP LREM LSET LTRIM LINSERT",
    "set": "SADD SREM SPOP",
    "zset": "ZADD ZREM ZINCRBY ZREMRANGEBYSCORE ZREMRANGEBYRANK ZREMRANGEBYLEX ZPOPMIN ZPOPMAX GEOADD",
    "stream": "XADD XDEL XTRIM XACK XCLAIM XSETID",
    "string": "INCR INCRBY INCRBYFLOAT DECR DECRBY APPEND SETRANGE SETBIT BITFIELD GETSET PFADD GETDEL GETEX",
    "": "SET SETNX SETEX PSETEX DEL UNLINK EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST TOUCH",
}
KEY_TYPES: Final[dict[str, str]] = {name: kind for kind, names in _TYPES.items() for name in names.split()}
"""The type that a command's key must have, for commands known to take one key as their first argument."""

_REFUSED: Final = frozenset(
    """
    MULTI EXEC DISCARD WATCH UNWATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE MONITOR EVAL EVALSHA FCALL SCRIPT FUNCTION
    BLPOP BRPOP BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP BRPOPLPUSH XREAD XREADGROUP WAIT WAITAOF MSET MSETNX RENAME
    RENAMENX COPY SMOVE LMOVE RPOPLPUSH BITOP SORT ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZRANGESTORE SUNIONSTORE
    SINTERSTORE SDIFFSTORE PFMERGE GEOSEARCHSTORE XGROUP OBJECT MIGRATE FLUSHALL FLUSHDB SWAPDB SELECT AUTH HELLO
    EXISTS PFCOUNT MGET LMPOP ZMPOP SINTERCARD EVAL_RO EVALSHA_RO FCALL_RO
    CLIENT CONFIG SHUTDOWN REPLICAOF FAILOVER PUBLISH SPUBLISH PING KEYS SCAN
    """.split()  # noqa: SIM905 - a table of words reads better than a list of literals
)
"""Commands that block, take several keys or none, or change the connection or the server."""

_ONE_KEY_ONLY: Final = frozenset({"DEL", "UNLINK", "TOUCH"})
"""Commands whose further arguments would be further keys."""

MOST_WORDS: Final = 7_000
"""Words in one command: Lua hands about 8,000 to one."""


@dataclass(frozen=True)
class Emit:
    """An entry to append to a stream."""

    target: Target
    entry_id: str
    fields: tuple[Scalar, ...]
    """Fields and values in turn, flat, so that a name may come twice."""

    @property
    def key(self) -> str:
        """The key it writes to."""
        return self.target.key

    @property
    def command(self) -> str:
        """What to call it in an error."""
        return "XADD"

    @property
    def size(self) -> int:
        """About how many bytes it adds to its step."""
        return sum(len(to_bytes(word)) for word in self.fields)

    def moved(self, now: int) -> Emit:
        """The same for the partition of this moment, if the server is to number it."""
        partitioning = self.target.partitioning
        if partitioning is None or self.entry_id != "*":
            return self
        partition = partitioning.at(now)
        return replace(self, target=replace(self.target, key=partition.key, partition=partition))

    def words(self, key_index: int) -> list[Scalar]:
        """Its part of commit.lua's arguments."""
        bump = "bump" if self.target.bump else ""
        return ["emit", key_index, self.entry_id, bump, *self.target.header(), len(self.fields), *self.fields]


@dataclass(frozen=True)
class Execute:
    """A command with one key, to run in the same step."""

    words_of_command: tuple[Scalar, ...]

    @property
    def key(self) -> str:
        """The key it writes to."""
        return to_bytes(self.words_of_command[1]).decode()

    @property
    def command(self) -> str:
        """What to call it in an error."""
        return to_bytes(self.words_of_command[0]).decode().upper()

    @property
    def size(self) -> int:
        """About how many bytes it adds to its step."""
        return sum(len(to_bytes(word)) for word in self.words_of_command)

    def moved(self, now: int) -> Execute:  # noqa: ARG002 - as Emit.moved
        """Itself: a command names its key."""
        return self

    def words(self, key_index: int) -> list[Scalar]:
        """Its part of commit.lua's arguments."""
        needed = KEY_TYPES.get(self.command, "")
        return ["execute", key_index, needed, len(self.words_of_command), *self.words_of_command]


def emit(target: Target, entry_id: str, fields: Encoded) -> Emit:
    """Check an entry to emit; raises EncodeError for a value that Redis cannot store."""
    check_fields(fields, target.key)
    return Emit(target, entry_id, tuple(plain(word) for pair in fields.items() for word in pair))


def execute(command: tuple[Scalar, ...]) -> Execute:
    """Check a command; raises InvalidArgument for one that cannot be part of a step, EncodeError for its arguments."""
    if len(command) < 2:
        msg = f"execute() takes a command's name, its key and its arguments, not {command!r}"
        raise InvalidArgument(msg)
    if len(command) > MOST_WORDS:
        msg = (
            f"a command of {len(command)} words is too long for a step; the server's scripts take {MOST_WORDS} at most"
        )
        raise InvalidArgument(msg)
    for word in command:
        if not storable(word):
            msg = f"{command[0]!r} has the argument {word!r}; Redis takes str, bytes, int and float: convert it"
            raise EncodeError(msg)
    try:
        checked = Execute(tuple(plain(word) for word in command))
        name, _, _ = checked.command, checked.key, checked.size
    except UnicodeError as error:
        msg = f"{command[0]!r} has an argument that is no text UTF-8 can express: {error}"
        raise EncodeError(msg) from None
    if name in _REFUSED or (name in _ONE_KEY_ONLY and len(command) > 2):
        msg = (
            f"{name} cannot be part of a step as it is: only commands that write one key, named by their first "
            "argument, can; run it through your own client"
        )
        raise InvalidArgument(msg)
    return checked


def script_words(effects: Sequence[Emit | Execute], keys: Sequence[str]) -> list[Scalar]:
    """All effects as commit.lua takes them; ``keys`` are the script's keys behind the hash."""
    places = {key: place for place, key in enumerate(keys, start=1)}
    words: list[Scalar] = [len(effects)]
    for effect in effects:
        words += effect.words(places[effect.key])
    return words


def failure(
    effects: Sequence[Emit | Execute], index: int, applied: int, reason: str, *, of_group: bool = False
) -> EffectFailed | PermissionDenied:
    """The error for the effect, counted from 1, that the server refused; a right that is missing is no fault of it."""
    effect = effects[index - 1]
    if not applied and reason.startswith("NOPERM"):
        return PermissionDenied(
            f"the server refused {effect.command} on {effect.key!r}, an effect: {reason}; nothing of the step was "
            "applied; grant the user this command and its keys"
        )
    return EffectFailed(command=effect.command, key=effect.key, reason=reason, applied=applied, of_group=of_group)
