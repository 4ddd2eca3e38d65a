# Generated from src/streamkit/asyncio/reader.py by tools/generate_sync.py: do not edit.
"""`CheckpointedReader`: reads a source in order; position, state and output are saved in one step."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from typing_extensions import TypeVar

from streamkit._core import commands, effects
from streamkit._core.checkpoints import Checkpoint
from streamkit._core.codecs import TEXT, Codec, Fields, FieldsIn, decode_texts, flat_decoder, is_text, undecodable
from streamkit._core.dead_letters import undecodable_letter
from streamkit._core.entries import Entry, new_entry
from streamkit._core.errors import DecodeError, InvalidArgument, NotEntered
from streamkit._core.following import (
    Follower,
    parse_start,
)
from streamkit._core.ids import Beginning, EntryId
from streamkit._core.keys import companion, require_key
from streamkit._core.observers import LoggingObserver, Observer, Position
from streamkit._core.states import Migration, S, StateSchema
from streamkit._core.times import require_positive, span_ms
from streamkit._sync._runtime import Client, Stopping
from streamkit._sync.connections import Server
from streamkit._sync.emitting import emission
from streamkit._sync.keeping import Keeper
from streamkit._sync.progress import Progress
from streamkit._sync.reading import Batch, Reading, Turn
from streamkit._sync.sources import Appendable, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self


T = TypeVar("T", default=dict[str, str])
V = TypeVar("V")
W = TypeVar("W")
X = TypeVar("X")


_BURIED = object()


class CheckpointedReader(Generic[T, S]):
    """Reads a source entry by entry and saves position, state and output together, in one atomic step.

    Killed at any moment, it goes on where it was saved last: what its loop emitted since then was not written, so
    nothing is lost and nothing doubled. Of two readers with one checkpoint the later takes over, and the earlier stops
    with `CheckpointConflict`.

    Use it as ``with reader:`` and ``for entry in reader:`` (asyncio: ``with``, ``for``). A checkpoint is
    taken when the loop asks for the entry after the last of a batch, when ``commit_interval`` has passed, when 500
    effects or 1 MiB of them wait, and by `commit`. Leaving the loop at the end of the source or by `stop` saves what
    was handled; leaving it by ``break``, an exception or cancellation saves nothing, and iterating anew reloads state
    and position.

    An entry that the codec cannot read goes, with its untouched fields, to the dead-letter stream in the step that
    passes it; the observer is told and reading goes on.

    Args:
        client: Your client. The reader keeps one connection of its own beside it, with redis-py's retries off.
        source: A stream, or a key.
        checkpoint: The key of the hash to save in, readable with HGETALL; one for each reader.
        state: Your state to begin with: an instance of a flat dataclass, or a flat dict. It is copied; change
            ``reader.state`` in place or assign it.
        start: Where to begin while nothing is saved. None: the oldest entry; ``NEW``: entries from now on; a datetime
            or an entry ID (included); the key of a partition.
        count: How many entries make a batch, after which a checkpoint is taken; they are read up to 500 at a time.
        commit_interval: How long handled entries wait for a checkpoint at most, if the loop keeps asking for more.
        grace: How long after its end a partition may still get entries; only then it is left for the next one.
        follow: False ends the loop at the end of the source instead of waiting, and ignores ``grace``.
        observer: Told what cannot be raised; None logs it, ``Observer()`` is silence.
        state_version: The version of your state's fields; raise it when they change.
        migrate: Turns the fields of an older version into today's: called with them and their version.
        dead_letters: The stream for entries that cannot be decoded, capped at about 100,000; None:
            ``{checkpoint}:dead-letters``.

    Raises:
        InvalidArgument: An argument can never work; nothing was sent.

    Sends XREAD, XINFO STREAM and one EVALSHA a checkpoint, all in one round trip a batch; TIME and HMGET while it
    waits. Needs Redis 7.0 and the right to run them.
    """

    @overload
    def __init__(
        self: CheckpointedReader[Fields, None],
        client: Client,
        source: str,
        checkpoint: str,
        *,
        state: None = None,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 1000,
        commit_interval: timedelta = timedelta(seconds=1),
        grace: timedelta = timedelta(seconds=10),
        follow: bool = True,
        observer: Observer | None = None,
        dead_letters: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: CheckpointedReader[Fields, W],
        client: Client,
        source: str,
        checkpoint: str,
        *,
        state: W,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 1000,
        commit_interval: timedelta = timedelta(seconds=1),
        grace: timedelta = timedelta(seconds=10),
        follow: bool = True,
        observer: Observer | None = None,
        state_version: int = 1,
        migrate: Migration | None = None,
        dead_letters: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: CheckpointedReader[V, None],
        client: Client,
        source: Source[V],
        checkpoint: str,
        *,
        state: None = None,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 1000,
        commit_interval: timedelta = timedelta(seconds=1),
        grace: timedelta = timedelta(seconds=10),
        follow: bool = True,
        observer: Observer | None = None,
        dead_letters: str | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: CheckpointedReader[V, W],
        client: Client,
        source: Source[V],
        checkpoint: str,
        *,
        state: W,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 1000,
        commit_interval: timedelta = timedelta(seconds=1),
        grace: timedelta = timedelta(seconds=10),
        follow: bool = True,
        observer: Observer | None = None,
        state_version: int = 1,
        migrate: Migration | None = None,
        dead_letters: str | None = None,
    ) -> None: ...
    def __init__(
        self,
        client: Client,
        source: Source[Any] | str,
        checkpoint: str,
        *,
        state: Any = None,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 1000,
        commit_interval: timedelta = timedelta(seconds=1),
        grace: timedelta = timedelta(seconds=10),
        follow: bool = True,
        observer: Observer | None = None,
        state_version: int = 1,
        migrate: Migration | None = None,
        dead_letters: str | None = None,
    ) -> None:
        if count < 1:
            msg = f"count must be 1 or more, not {count}"
            raise InvalidArgument(msg)
        self._server = Server(client)
        self._checkpoint = require_key("checkpoint", checkpoint)
        self._dead_letters = companion(checkpoint, "dead-letters") if dead_letters is None else dead_letters
        self._server.require_one_slot(f"dead_letters of checkpoint {checkpoint!r}", checkpoint, self._dead_letters)
        if isinstance(source, Source) and source._shards:  # noqa: SLF001
            msg = f"{source.name!r} has shards, and a checkpoint has one position: use ShardedReader, or one of .shards"
            raise InvalidArgument(msg)
        if isinstance(source, Source):
            name, partitioning, codec = source._name, source._partitioning, source._codec  # noqa: SLF001
            self._server.require_same(source._server, f"the source {name!r}")  # noqa: SLF001
        else:
            name, partitioning, codec = require_key("source", source), None, TEXT
        self._decode: Callable[[list[bytes]], T] = flat_decoder(cast("Codec[T]", codec))
        grace_ms = span_ms(require_positive("grace", grace, zero=True))
        schema: StateSchema[Any] = StateSchema(state, version=state_version, migrate=migrate, checkpoint=checkpoint)
        self._observer = LoggingObserver() if observer is None else observer
        self._stopping = Stopping()
        self._keeper: Keeper[Any] = Keeper(checkpoint, schema)
        self.state: S = schema.initial()
        """Your state; change it in place, or assign it. It is saved with the position of the entry it belongs to."""
        self._reading = Reading(
            server=self._server,
            follower=Follower(name, partitioning, grace=grace_ms, follow=follow),
            progress=Progress(self._keeper, self),
            keeper=self._keeper,
            schema=schema,
            start=parse_start(start, name, partitioning),
            observer=self._observer,
            stopping=self._stopping,
            count=count,
            commit_interval=require_positive("commit_interval", commit_interval, zero=True).total_seconds(),
            text=is_text(codec),
        )
        self._entered = False

    def __enter__(self) -> Self:
        """Connect, load state and position, and take the checkpoint over.

        Raises:
            StateError: The saved state does not fit the program's; the error says how.
            CheckpointMismatch: The checkpoint belongs to another stream.
            ServerUnavailable: The server cannot be reached.
            ServerTooOld: It is older than Redis 7.0.
            WrongKeyType: The source or the checkpoint is a key of another type.
        """
        self._stopping.bind()
        self._reading.open()
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; saves nothing, since a loop that ended well has saved."""
        self._entered = False
        self._stopping.clear()
        self._reading.close()

    def __iter__(self) -> Iterator[Entry[T]]:
        """The entries, one by one; asking for the next one says that this one is handled."""
        return self._entries()

    @property
    def position(self) -> Position:
        """Where the reader stands, which is at the entry in hand, or behind the last one handled.

        Raises:
            NotEntered: Nothing was loaded yet.
        """
        position = self._reading.position
        if position is None:
            raise NotEntered("position")
        return position

    @overload
    def emit(
        self, stream: Appendable[Fields] | str, value: FieldsIn, *, at: datetime | EntryId | None = None
    ) -> None: ...
    @overload
    def emit(self, stream: Appendable[X], value: X, *, at: datetime | EntryId | None = None) -> None: ...
    def emit(self, stream: Appendable[Any] | str, value: Any, *, at: datetime | EntryId | None = None) -> None:
        """Append an entry in the step that saves the entry in hand: exactly once, or not at all.

        Args:
            stream: Where to, with its trimming or expiry; or a key, for a dict of fields.
            value: What to write.
            at: The entry's time or ID; None: the server numbers it when the step is taken.

        Raises:
            EncodeError: The value has fields that Redis cannot store.
            InvalidArgument: The stream lies on another server than the checkpoint.

        Sends nothing by itself.
        """
        self._require_entered("emit()")
        self._reading.hold(emission(self._server, self._checkpoint, stream, value, at))

    def execute(self, *command: str | bytes | float) -> None:
        """Run a command in the step that saves the entry in hand.

        For commands that write one key, named by their first argument, and that cannot fail on a key of the right
        type: ``reader.execute("HINCRBY", "totals", "seen", 1)``. The type is checked before anything is written; a
        command that fails all the same stops the loop with `EffectFailed`, which says what was applied before it.

        Raises:
            InvalidArgument: The command takes no key, several keys, or blocks.
            EncodeError: An argument is nothing that Redis takes.

        Sends nothing by itself.
        """
        self._require_entered("execute()")
        effect = effects.execute(command)
        self._server.require_one_slot(f"{effect.command} of {effect.key!r}", self._checkpoint, effect.key)
        self._reading.hold(effect)

    def commit(self) -> None:
        """Save now: everything handled so far, the entry in hand and its effects included.

        Raises:
            CheckpointConflict: Another reader has taken over; nothing was saved.
            EffectFailed: The server refused an effect.
            NotEntered: The reader is not in its ``with`` block.
        """
        self._require_entered("commit()")
        self._reading.commit()

    def saved(self) -> Checkpoint[S] | None:
        """What is saved, read afresh and without taking it over; None: nothing. Sends HGETALL.

        Raises:
            StateError: The saved state does not fit the program's.
        """
        self._server.facts()
        with self._server.borrow() as link:
            found = self._keeper.load(link)
        return None if found is None else Checkpoint(found.place.position, found.state)

    def reset(self) -> None:
        """Delete the checkpoint: the next start begins at ``start``, and a reader at work on it begins anew.

        Sends UNLINK.
        """
        self._server.call(commands.unlink(self._checkpoint), doing=f"UNLINK of {self._checkpoint!r}")

    def stop(self) -> None:
        """End the loop after the entry in hand, within a second; from a signal handler or any thread or task."""
        self._stopping.request()
        self._reading.due = 0.0

    def _require_entered(self, what: str) -> None:
        if not self._entered:
            raise NotEntered(what)

    def _entries(self) -> Iterator[Entry[T]]:
        self._require_entered("iterating")
        reading, clock = self._reading, time.monotonic
        reading.begin()
        while (batch := reading.next_batch()) is not None:
            stream = batch.place.stream
            for raw_id, value in zip(reading.rest, self._values(batch), strict=True):
                if value is not _BURIED:
                    # Inline, since a call would cost as much as all of it.
                    entry: Entry[T] = new_entry(Entry)
                    entry._stream = stream  # noqa: SLF001
                    entry._id = raw_id  # noqa: SLF001
                    entry._value = value  # noqa: SLF001
                    yield entry
                # Zero when effects pile up or a stop was requested, so that the clock alone need be asked.
                if clock() >= reading.due:
                    turn = reading.midway()
                    if turn is Turn.END:
                        return
                    if turn is Turn.RESTART:
                        break
            else:
                reading.finished()

    def _values(self, batch: Batch) -> Iterable[Any]:
        """The values of a batch in order, ``_BURIED`` in place of what the codec cannot read."""
        if batch.is_text:
            return decode_texts(cast("Sequence[tuple[str, list[str]]]", batch.take()))
        return self._decoded(batch)

    def _decoded(self, batch: Batch) -> Iterator[Any]:
        decode = self._decode
        for raw_id, flat in batch.take():
            try:
                value: Any = decode(flat)
            except Exception as error:  # noqa: BLE001 - whatever a codec raises
                self._bury(undecodable(batch.place.stream, raw_id, flat, error))
                value = _BURIED
            yield value

    def _bury(self, error: DecodeError) -> None:
        now = time.time_ns() // 1_000_000
        self._reading.hold(undecodable_letter(self._dead_letters, error, self._keeper.checkpoint, now))
        self._observer.on_dead_letter(self._dead_letters, error)
