"""Every error streamkit raises, each saying what happened, to what, and what to do.

The tree, by whose move it is::

    StreamkitError
    ├── InvalidArgument (ValueError)      fix the call; raised before any network
    │   ├── NaiveDatetime                 a datetime without a time zone
    │   ├── InvalidEntryId                not a stream entry ID
    │   ├── NotAPartition                 a key that is no partition of this stream
    │   ├── ReservedFieldName             a state field that the checkpoint needs for itself
    │   └── UnsupportedType               a type that no codec can write as text
    ├── AppendError                       the entry was not written; says how many before it were
    │   ├── RetentionExceeded             older than the stream keeps
    │   ├── AheadOfTime                   dated too far ahead of the server's clock
    │   ├── OutOfOrder                    older than the newest entry
    │   └── AppendUncertain               the connection was lost while the reply was due
    ├── EncodeError (TypeError)           a value that Redis cannot store as it is
    ├── DecodeError                       an entry that the codec cannot read
    ├── NotEntered                        a reader or a consumer was used outside its with block
    ├── CheckpointError
    │   ├── CheckpointConflict            another reader took over this checkpoint
    │   ├── CheckpointMismatch            the checkpoint belongs to another stream
    │   └── StateError                    the saved state does not fit the program's
    │       ├── UnknownStateFields
    │       └── NewerStateVersion
    ├── GroupError
    │   └── LeaseLost                     a peer holds the entry now; nothing of its step was applied
    ├── EffectFailed                      an emitted entry or command that the server refused
    ├── RedriveFailed                     dead letters that could not be moved back, and why
    └── ServerError
        ├── ServerUnavailable (ConnectionError)
        ├── ServerTooOld
        ├── WrongKeyType
        ├── PermissionDenied
        └── CommandFailed                 any other refusal, in the server's own words
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from streamkit._core.ids import EntryId


class StreamkitError(Exception):
    """The root of every error that streamkit raises."""

    @override
    def __reduce__(self) -> tuple[Callable[..., StreamkitError], tuple[Any, ...]]:
        # As it is, not by calling its constructor again, which takes other arguments than the message.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[StreamkitError], args: tuple[Any, ...], attributes: dict[str, Any]) -> StreamkitError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class InvalidArgument(StreamkitError, ValueError):
    """An argument that can never work, found before anything was sent."""


class NaiveDatetime(InvalidArgument):
    """A datetime without a time zone, which could mean two dozen different moments."""

    def __init__(self, time: datetime) -> None:
        super().__init__(
            f"{time!r} has no time zone; give it one, for example datetime.now(timezone.utc) "
            "or time.replace(tzinfo=timezone.utc)"
        )


class InvalidEntryId(InvalidArgument):
    """Text that is no stream entry ID."""


class NotAPartition(InvalidArgument):
    """A key that is no partition of the stream it was used with."""

    def __init__(self, key: str, name: str, example: str) -> None:
        super().__init__(f"{key!r} is no partition of {name!r}; its partitions are named like {example!r}")
        self.key = key


class ReservedFieldName(InvalidArgument):
    """A state field whose name the checkpoint hash needs for itself."""

    def __init__(self, names: Iterable[str], reserved: Iterable[str]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        super().__init__(
            f"the state uses the reserved field names {', '.join(map(repr, self.names))}; rename them "
            f"(reserved: {', '.join(map(repr, reserved))})"
        )


class UnsupportedType(InvalidArgument, TypeError):
    """A type that cannot be written to Redis as text and read back the same."""


class AppendError(StreamkitError):
    """An append that did not write its entry.

    Attributes:
        stream: The key the entry was meant for.
        appended: How many entries of the same call were written before it.
    """

    def __init__(self, message: str, *, stream: str, appended: int = 0) -> None:
        super().__init__(message)
        self.stream = stream
        self.appended = appended

    @override
    def __str__(self) -> str:
        return f"{super().__str__()} (entries of this call written before it: {self.appended})"


class RetentionExceeded(AppendError):
    """The entry is older than the stream's retention: Redis would delete its partition at once."""


class AheadOfTime(AppendError):
    """The entry is dated further ahead of the server's clock than ``max_ahead`` allows."""


class OutOfOrder(AppendError):
    """The entry's ID is not above the newest one of its stream.

    Attributes:
        entry_id: The ID that was refused, or the first that its time allows.
        newest: The newest ID of the stream.
    """

    def __init__(self, *, stream: str, entry_id: str, newest: EntryId | str, appended: int = 0) -> None:
        self.entry_id = entry_id
        self.newest: str = str(newest)
        super().__init__(
            f"entry {entry_id} is not above {newest}, the newest entry of {stream!r}; append in order of time from "
            'one producer, leave out `at`, or give the stream out_of_order="bump"',
            stream=stream,
            appended=appended,
        )


class AppendUncertain(AppendError):
    """The connection was lost between an append and its reply: it may have been written, or not."""


class EncodeError(StreamkitError, TypeError):
    """A value that Redis cannot store as it is."""


class DecodeError(StreamkitError):
    """An entry that the codec cannot read.

    Attributes:
        stream: The key of its stream.
        entry_id: Its ID.
        fields: Its untouched fields and values, as a flat sequence.
    """

    def __init__(self, *, stream: str, entry_id: str, fields: tuple[bytes, ...], reason: BaseException) -> None:
        super().__init__(
            f"entry {entry_id} of {stream!r} cannot be decoded: {type(reason).__name__}: {reason}; "
            "read it with RawCodec() to see its bytes"
        )
        self.stream = stream
        self.entry_id = entry_id
        self.fields = fields


class CheckpointError(StreamkitError):
    """Something is wrong with a saved checkpoint."""


class CheckpointConflict(CheckpointError):
    """Another reader has taken over the checkpoint: this one has saved nothing since, and must stop."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__(
            f"another reader has taken over the checkpoint {checkpoint!r}; this one stops, and nothing it did since "
            "its last checkpoint was saved. Run one reader per checkpoint, or give each a name of its own"
        )
        self.checkpoint = checkpoint


class NotEntered(StreamkitError):
    """The reader, or the consumer of a group, was used outside its ``with`` block."""

    def __init__(self, what: str, owner: str = "reader") -> None:
        super().__init__(
            f"{what} works only inside the {owner}'s with block: `with {owner}:` (asyncio: `async with {owner}:`)"
        )


class CheckpointMismatch(CheckpointError):
    """The saved position lies in a stream that is not the reader's."""


class StateError(CheckpointError):
    """A saved state that does not fit the program's."""


class UnknownStateFields(StateError):
    """The saved state has fields that the program's state does not know."""


class NewerStateVersion(StateError):
    """The saved state was written by a newer version of the program."""


class GroupError(StreamkitError):
    """Something is wrong between a consumer and its group."""


class LeaseLost(GroupError):
    """An entry is not this consumer's any more: it was idle for too long, and a peer has taken it.

    Attributes:
        stream: The key of its stream.
        entry_id: Its ID.
        group: The group.
        owner: The consumer that holds it now; empty if it is not pending any more.
    """

    def __init__(self, *, stream: str, entry_id: str, group: str, owner: str) -> None:
        now = f"{owner!r} holds it now" if owner else "it is not pending any more"
        super().__init__(
            f"entry {entry_id} of {stream!r} is lost to this consumer of group {group!r}: {now}, and nothing of its "
            "step was applied. Handlers that take longer than min_idle_time without letting the heartbeat run lose "
            "their entries; raise min_idle_time"
        )
        self.stream = stream
        self.entry_id = entry_id
        self.group = group
        self.owner = owner


class EffectFailed(StreamkitError):
    """The server refused an emitted entry or a command of a step.

    Attributes:
        command: The name of the command that failed.
        key: The key it was meant for.
        applied: How many effects of the same step took effect before it; 0 means that nothing did.
    """

    def __init__(self, *, command: str, key: str, reason: str, applied: int, of_group: bool = False) -> None:
        done = "nothing of the step was applied" if not applied else f"{applied} effects before it were applied"
        kept = "" if of_group else ", and the checkpoint was not moved"
        super().__init__(f"{command} on {key!r} failed: {reason}; {done}{kept}")
        self.command = command
        self.key = key
        self.applied = applied


class RedriveFailed(StreamkitError):
    """Dead letters that could not be moved back: they stay where they are, and all others were moved.

    Attributes:
        streams: The keys of the streams that could not take them.
        left: How many letters were left for it.
        redriven: How many letters the same call moved.
    """

    def __init__(self, message: str, *, streams: Iterable[str] = (), left: int, redriven: int) -> None:
        super().__init__(f"{message} (dead letters left so: {left}; moved by this call: {redriven})")
        self.streams: tuple[str, ...] = tuple(streams)
        self.left = left
        self.redriven = redriven


class ServerError(StreamkitError):
    """The server cannot be used, or refused a command."""


class ServerUnavailable(ServerError, ConnectionError):
    """The server could not be reached, or not for long enough.

    Attributes:
        node: Which node of a cluster, host and port; None: the server, or nobody knows.
    """

    node: tuple[str, int] | None = None


class ServerTooOld(ServerError):
    """The server lacks commands that streamkit is built on."""

    def __init__(self, version: str, needed: str) -> None:
        super().__init__(f"the server is version {version}; streamkit needs Redis {needed} or Valkey, or newer")
        self.version = version


class WrongKeyType(ServerError):
    """A key holds another type than the one the operation needs."""

    def __init__(self, key: str, found: str, needed: str) -> None:
        super().__init__(
            f"the key {key!r} holds a {found}, not a {needed}; use another name, or delete the key if it is not needed"
        )
        self.key = key
        self.found = found


class PermissionDenied(ServerError):
    """The server refused the user: wrong password, or a command or key its ACL does not allow."""


class CommandFailed(ServerError):
    """The server refused a command for a reason that streamkit does not know how to mend."""
