"""`CheckpointedReader`: reads a source in order; position, state and output are saved in one step."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from typing_extensions import TypeVar

from streamkit._core import commands, effects
from streamkit._core.appends import Target
from streamkit._core.checkpoints import Checkpoint, Place
from streamkit._core.codecs import TEXT, Encoded, Fields, FieldsIn, flat_decoder, undecodable
from streamkit._core.dead_letters import undecodable_letter
from streamkit._core.entries import Entry, read_entry
from streamkit._core.errors import InvalidArgument, NotEntered, ServerUnavailable
from streamkit._core.following import Follower, Glance, Move, deleted_tail, late_entries, parse_start, reconcile, resolve_start
from streamkit._core.ids import ZERO, Beginning, EntryId
from streamkit._core.keys import companion, require_key
from streamkit._core.observers import GapCause, LoggingObserver, Observer, Position
from streamkit._core.refusals import Refusal, refusal, typed
from streamkit._core.replies import RawEntry, Reply, StreamFacts, entries_of_one, milliseconds, stream_facts
from streamkit._core.states import Migration, S, StateSchema
from streamkit._core.times import require_positive, span_ms, to_ms
from streamkit.asyncio._runtime import Client, Stopping
from streamkit.asyncio.connections import Server
from streamkit.asyncio.keeping import Keeper, Refused, Rewound
from streamkit.asyncio.lines import Line
from streamkit.asyncio.sources import Appendable, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from streamkit._core.protocol import Command, Scalar
    from streamkit.asyncio.connections import Link, Ticket

T = TypeVar("T", default=dict[str, str])
V = TypeVar("V")
W = TypeVar("W")
X = TypeVar("X")

SLICE_MS = 500
"""How long one blocking read lasts, in ms: what a stop waits for, at most."""
LATE_LOOK = 1.0
"""Seconds between two looks at the partition that was left, while there is enough to read."""


class _Next(enum.Enum):
    GO_ON = "go on"
    RESTART = "restart"
    END = "end"


@dataclass(frozen=True)
class _Batch:
    """Entries of one read, and the place before them."""

    place: Place
    entries: Sequence[RawEntry]

    def place_after(self, taken: int) -> Place:
        """The place once so many of the entries are handled."""
        if not taken:
            return self.place
        read = self.place.entries_read
        entry_id = EntryId.parse(self.entries[taken - 1][0])
        return replace(self.place, id=entry_id, entries_read=None if read is None else read + taken)


@dataclass(frozen=True)
class _Look:
    """A read on its way: where it looks, and whether also at the partition left before."""

    place: Place
    ticket: Ticket
    left: bool


class CheckpointedReader(Generic[T, S]):
    """Reads a source entry by entry and saves position, state and output together, in one atomic step.

    Killed at any moment, it goes on where it was saved last: what its loop emitted since then was not written, so
    nothing is lost and nothing doubled. Of two readers with one checkpoint the later takes over, and the earlier stops
    with `CheckpointConflict`.

    Use it as ``with reader:`` and ``for entry in reader:`` (asyncio: ``async with``, ``async for``). A checkpoint is
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
        count: How many entries to read at once.
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
        self: CheckpointedReader[Fields, None], client: Client, source: str, checkpoint: str, *,
        start: datetime | EntryId | str | Beginning | None = ..., count: int = ..., commit_interval: timedelta = ...,
        grace: timedelta = ..., follow: bool = ..., observer: Observer | None = ..., dead_letters: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: CheckpointedReader[Fields, W], client: Client, source: str, checkpoint: str, *, state: W,
        start: datetime | EntryId | str | Beginning | None = ..., count: int = ..., commit_interval: timedelta = ...,
        grace: timedelta = ..., follow: bool = ..., observer: Observer | None = ..., state_version: int = ...,
        migrate: Migration | None = ..., dead_letters: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: CheckpointedReader[V, None], client: Client, source: Source[V], checkpoint: str, *,
        start: datetime | EntryId | str | Beginning | None = ..., count: int = ..., commit_interval: timedelta = ...,
        grace: timedelta = ..., follow: bool = ..., observer: Observer | None = ..., dead_letters: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: CheckpointedReader[V, W], client: Client, source: Source[V], checkpoint: str, *, state: W,
        start: datetime | EntryId | str | Beginning | None = ..., count: int = ..., commit_interval: timedelta = ...,
        grace: timedelta = ..., follow: bool = ..., observer: Observer | None = ..., state_version: int = ...,
        migrate: Migration | None = ..., dead_letters: str | None = ...,
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
        self._count = count
        self._commit_interval = require_positive("commit_interval", commit_interval, zero=True).total_seconds()
        if isinstance(source, Source):
            name, partitioning, codec = source._name, source._partitioning, source._codec  # noqa: SLF001
            self._server.require_same(source._server, f"the source {name!r}")  # noqa: SLF001
        else:
            name, partitioning, codec = require_key("source", source), None, TEXT
        self._decode = flat_decoder(codec)
        self._start = parse_start(start, name, partitioning)
        grace_ms = span_ms(require_positive("grace", grace, zero=True))
        self._follower = Follower(name, partitioning, grace=grace_ms, follow=follow)
        self._schema: StateSchema[Any] = StateSchema(
            state, version=state_version, migrate=migrate, checkpoint=checkpoint
        )
        self._observer = LoggingObserver() if observer is None else observer
        self._stopping = Stopping()
        self._line = Line(self._server, self._observer, self._stopping)
        self._keeper: Keeper[Any] = Keeper(checkpoint, self._schema)
        self._state: Any = self._schema.initial()
        self._entered = self._loaded = False
        self._forget()

    async def __aenter__(self) -> Self:
        """Connect, load state and position, and take the checkpoint over.

        Raises:
            StateError: The saved state does not fit the program's; the error says how.
            CheckpointMismatch: The checkpoint belongs to another stream.
            ServerUnavailable: The server cannot be reached.
            ServerTooOld: It is older than Redis 7.0.
            WrongKeyType: The source or the checkpoint is a key of another type.
        """
        self._stopping.bind()
        try:
            facts = await self._server.facts()
            if facts.eviction_policy not in {"noeviction", "unknown"}:
                self._observer.on_eviction_policy(facts.eviction_policy)
            await self._load(await self._line.link())
        except BaseException as error:
            await self._line.close()
            if isinstance(error, Refused):
                raise error.error from None
            raise
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect; saves nothing, since a loop that ended well has saved."""
        self._entered = self._loaded = False
        self._stopping.clear()
        await self._line.close()

    def __aiter__(self) -> AsyncIterator[Entry[T]]:
        """The entries, one by one; asking for the next one says that this one is handled."""
        return self._entries()

    @property
    def state(self) -> S:
        """Your state: change it in place, or assign it. Saved with the position of the entry it belongs to."""
        return cast("S", self._state)

    @state.setter
    def state(self, state: S) -> None:
        self._state = state

    @property
    def position(self) -> Position:
        """Where the reader stands: at the entry in hand, or behind the last one handled.

        Raises:
            NotEntered: Nothing was loaded yet.
        """
        if self._batch is not None and self._taken:
            return self._batch.place_after(self._taken).position
        if self._handled is None:
            raise NotEntered("position")
        return self._handled.position

    @overload
    def emit(self, stream: Appendable[Fields] | str, value: FieldsIn, *, at: datetime | EntryId | None = None) -> None: ...
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
        ms = None if at is None else at.ms if isinstance(at, EntryId) else to_ms(at)
        entry_id = "*" if at is None else str(at) if isinstance(at, EntryId) else f"{ms}-*"
        if isinstance(stream, str):
            target, fields = Target(require_key("stream", stream)), cast("Encoded", value)
        else:
            self._server.require_same(stream._server, f"the stream {stream.name!r}")  # noqa: SLF001
            target, fields = stream._target(ms), cast("Encoded", stream._codec.encode(value))  # noqa: SLF001
        self._hold(effects.emit(target, entry_id, fields))

    def execute(self, *command: str | bytes | int | float) -> None:
        """Run a command in the step that saves the entry in hand.

        For commands that write one key, named by their first argument, and that cannot fail on a key of the right
        type: ``reader.execute("HINCRBY", "totals", "seen", 1)``. The type is checked before anything is written; a
        command that fails all the same stops the loop with `EffectFailed`, which says what was applied before it.

        Raises:
            InvalidArgument: The command takes no key, several keys, or blocks.
            EncodeError: An argument is nothing that Redis takes.

        Sends nothing by itself.
        """
        self._hold(effects.execute(command))

    async def commit(self) -> None:
        """Save now: everything handled so far, the entry in hand and its effects included.

        Raises:
            CheckpointConflict: Another reader has taken over; nothing was saved.
            EffectFailed: The server refused an effect.
            NotEntered: The reader is not in its ``with`` block.
        """
        if not self._entered:
            raise NotEntered("commit()")
        if self._batch is not None:
            self._restart = await self._persist(self._batch.place_after(self._taken)) is _Next.RESTART
        elif self._handled is not None:
            await self._persist(self._handled)

    async def saved(self) -> Checkpoint[S] | None:
        """What is saved, read afresh and without taking it over; None: nothing. Sends HGETALL.

        Raises:
            StateError: The saved state does not fit the program's.
        """
        await self._server.facts()
        async with self._server.borrow() as link:
            found = await self._keeper.load(link)
        return None if found is None else Checkpoint(found.place.position, found.state)

    async def reset(self) -> None:
        """Delete the checkpoint: the next start begins at ``start``. A reader at work on it begins anew. Sends UNLINK."""
        await self._server.call(commands.unlink(self._checkpoint), doing=f"UNLINK of {self._checkpoint!r}")

    def stop(self) -> None:
        """End the loop after the entry in hand, within a second; from a signal handler or any thread or task."""
        self._stopping.request()

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def _entries(self) -> AsyncIterator[Entry[T]]:
        if not self._entered:
            raise NotEntered("iterating")
        await self._begin()
        clock, decode, stopping = time.monotonic, self._decode, self._stopping
        while (batch := await self._next_batch()) is not None:
            stream = batch.place.stream
            for taken, (raw_id, flat) in enumerate(batch.entries, 1):
                self._taken = taken
                try:
                    entry = read_entry(stream, raw_id, decode(flat))
                except Exception as error:  # noqa: BLE001 - whatever a codec raises
                    self._bury(stream, raw_id, flat, error)
                else:
                    yield entry
                if clock() >= self._due or stopping.requested or self._heavy or self._restart:
                    turn = await self._midway(batch, taken)
                    if turn is _Next.END:
                        return
                    if turn is _Next.RESTART:
                        break
            else:
                self._finished(batch)

    async def _begin(self) -> None:
        """Load anew, unless entering the reader has just done so."""
        if not self._loaded:
            self._forget()
            self._keeper.forget()
            await self._line.close()
            await self._load(await self._line.link())
        self._loaded = False
        assert self._handled is not None  # noqa: S101 - _load set it
        self._observer.on_start(self._handled.position)

    def _forget(self) -> None:
        self._handled: Place | None = None
        self._dirty = self._heavy = self._restart = False
        self._batch: _Batch | None = None
        self._taken = 0
        self._look: _Look | None = None
        self._effects: list[effects.Emit | effects.Execute] = []
        self._effect_bytes = 0
        self._due = 0.0
        self._late_due = 0.0
        self._drained = False

    async def _load(self, link: Link, *, again: bool = False) -> None:
        saved = None
        while saved is None:
            # Read first: a program that cannot use the state must not take it from one that can.
            found = await self._keeper.load(link)
            if found is None:
                first = await self._resolve(link)
            else:
                first = None
                self._follower.check(found.place, self._checkpoint)
            saved = await self._keeper.take(link, first, self._schema.initial(), again=again)
        self._state = saved.state
        self._handled = saved.place
        self._loaded = True

    async def _resolve(self, link: Link) -> Place:
        partitioning = self._follower.partitioning
        now, existing = 0, list[str]()
        if partitioning is not None:
            (reply,) = await link.exchange(commands.TIME)
            now = milliseconds(reply)
            existing = await self._existing(link, [partition.key for partition in partitioning.horizon(now)])
        key, behind = resolve_start(self._start, self._follower.name, partitioning, now, existing)
        if behind is not None:
            return Place(key, behind)
        (reply,) = await link.exchange(commands.xinfo_stream(key))
        facts = self._facts(key, reply)
        return Place(key, ZERO) if facts is None else Place(key, facts.last_id, facts.entries_added)

    async def _existing(self, link: Link, keys: Sequence[str]) -> list[str]:
        found = await link.exchange(*map(commands.exists, keys))
        return [key for key, exists in zip(keys, found, strict=True) if exists == 1]

    async def _next_batch(self) -> _Batch | None:
        """The next entries to hand out, what was handled being saved on the way; None at the end."""
        while True:
            try:
                return await self._advance()
            except (ServerUnavailable, Refused, Rewound) as event:
                if not await self._overcome(event):
                    return None

    async def _overcome(self, event: ServerUnavailable | Refused | Rewound) -> bool:
        """Wait out a failure, or reload after a rewind; False if it is time to stop instead."""
        self._look = None
        try:
            if isinstance(event, Rewound):
                await self._rewind()
                return True
            error = event.error if isinstance(event, Refused) else event
        except (ServerUnavailable, Refused) as failed:
            error = failed.error if isinstance(failed, Refused) else failed
        if not isinstance(event, Refused):
            self._keeper.lost()
        if self._stopping.requested:
            if self._dirty or self._keeper.unsettled or self._taken:
                self._observer.on_unsaved(self._checkpoint, error)
            return False
        await self._line.pause(error, lost=not isinstance(event, Refused))
        return True

    async def _rewind(self) -> None:
        self._keeper.forget()
        self._forget()
        await self._load(await self._line.link(), again=True)
        self._loaded = False
        assert self._handled is not None  # noqa: S101 - _load set it
        self._observer.on_rewound(self._checkpoint, self._handled.position)

    async def _advance(self) -> _Batch | None:
        link = await self._line.link()
        await self._keeper.settle(link)
        if self._stopping.requested:
            await self._save(link)
            return None
        assert self._handled is not None  # noqa: S101 - _load set it
        if self._look is None:
            self._look = self._send_look(link, self._handled)
            await link.flush()
        replies = await link.collect(self._look.ticket)
        look, self._look = self._look, None
        self._line.answered()
        if look.left:
            self._check_left(replies[-3])
        batch = self._received(self._facts(look.place.stream, replies[-2]), replies[-1])
        if batch is not None:
            return await self._hand_out(link, batch)
        await self._save(link)
        return await self._wait(link)

    def _send_look(self, link: Link, place: Place) -> _Look:
        """Queue a read behind a place; XINFO goes first, so that what it says holds when the read begins."""
        left = place.left is not None and time.monotonic() >= self._late_due
        asked: list[Command] = []
        if left and place.left is not None:
            self._late_due = time.monotonic() + LATE_LOOK
            asked.append(commands.xinfo_stream(place.left.stream))
        asked += (commands.xinfo_stream(place.stream), commands.xread(place.stream, place.id, self._count))
        return _Look(place, link.prepare(*asked), left)

    async def _hand_out(self, link: Link, batch: _Batch) -> _Batch:
        """Save what was handled and read on behind the batch, in one write, before the batch is handled."""
        if self._dirty:
            self._prepare_save(link)
        self._look = self._send_look(link, batch.place_after(len(batch.entries)))
        await link.flush()
        self._batch, self._taken, self._drained = batch, 0, False
        self._due = time.monotonic() + self._commit_interval
        return batch

    def _received(self, facts: StreamFacts | None, reply: Reply) -> _Batch | None:
        """Hold a read against what XINFO said before it: the entries, if they are the ones to go on with."""
        assert self._handled is not None  # noqa: S101 - _load set it
        entries = entries_of_one(self._checked(self._handled.stream, reply))
        if facts is not None:
            place, gap = reconcile(self._handled, facts)
            self._stand(place)
            if gap is not None:
                self._observer.on_gap(gap)
                if gap.cause is GapCause.RECREATED:
                    return None
        return _Batch(self._handled, entries) if entries else None

    def _stand(self, place: Place) -> None:
        """Note a place that was reached without handling an entry; only a move is worth a checkpoint of its own."""
        assert self._handled is not None  # noqa: S101 - _load set it
        if (place.stream, place.id) != (self._handled.stream, self._handled.id):
            self._dirty = True
        self._handled = place

    async def _wait(self, link: Link) -> _Batch | None:
        """Everything is handled and saved: look around, move on, or wait, until there are entries or an end."""
        told = False
        while not self._stopping.requested:
            batch, move = await self._look_around(link)
            if batch is not None:
                return await self._hand_out(link, batch)
            await self._save(link)
            if move is Move.END:
                return None
            if move is not Move.STAY:
                told = False
                continue
            assert self._handled is not None  # noqa: S101 - _load set it
            if not told:
                self._observer.on_waiting(self._handled.position)
                told = True
            (reply,) = await link.exchange(
                commands.xread(self._handled.stream, self._handled.id, self._count, block_ms=SLICE_MS)
            )
            if isinstance(reply, Exception) and str(reply).startswith("UNBLOCKED"):
                continue
            batch = self._received(None, reply)
            if batch is not None:
                return await self._hand_out(link, batch)
        return None

    async def _look_around(self, link: Link) -> tuple[_Batch | None, Move]:
        """One look at fence, clock and keys, the next partition before the current one; and what follows from it."""
        place = self._handled
        assert place is not None  # noqa: S101 - _load set it
        following = self._follower.next_key(place)
        fence, now, ahead, left, current, read = await link.exchange(
            self._keeper.fence(),
            commands.TIME,
            commands.xinfo_stream(following or place.stream),
            commands.xinfo_stream(place.left.stream if place.left else place.stream),
            commands.xinfo_stream(place.stream),
            commands.xread(place.stream, place.id, self._count),
        )
        self._line.answered()
        self._keeper.judge(fence)
        if place.left is not None:
            self._check_left(left)
        facts = self._facts(place.stream, current)
        batch = self._received(facts, read)
        if batch is not None:
            return batch, Move.STAY
        glance = Glance(milliseconds(now), facts, self._facts(following, ahead) if following else None)
        return None, await self._decide(link, glance)

    async def _decide(self, link: Link, glance: Glance) -> Move:
        place = self._handled
        assert place is not None  # noqa: S101 - _load set it
        facts = glance.current
        if facts is not None and facts.last_id > place.id:
            # Something was there when XINFO looked, and the read behind it found nothing.
            place, gap = deleted_tail(place, facts)
            self._stand(place)
            self._observer.on_gap(gap)
            return Move.NEXT
        if facts is None and self._follower.partitioning is None:
            place, gap = self._follower.gone(place, glance.now, drained=self._drained)
            self._stand(place)
            if gap is not None:
                self._observer.on_gap(gap)
        move = self._follower.move(place, glance)
        if move is Move.NEXT and facts is not None:
            self._stand(self._follower.to_next(place, facts))
            self._moved(place)
        elif move is Move.SEARCH:
            move = await self._search(link, place, glance)
        self._drained = facts is not None
        return move

    async def _search(self, link: Link, place: Place, glance: Glance) -> Move:
        existing = await self._existing(link, self._follower.candidates(place, glance.now))
        move, arrival = self._follower.after_search(place, glance, existing, drained=self._drained)
        if arrival is not None:
            self._stand(arrival.place)
            if arrival.gap is not None:
                self._observer.on_gap(arrival.gap)
            if arrival.skipped is not None:
                self._observer.on_skip(*arrival.skipped)
            if arrival.place.stream != place.stream:
                self._moved(place)
        return move

    def _moved(self, left: Place) -> None:
        assert self._handled is not None  # noqa: S101 - it was moved
        self._drained = False
        self._late_due = 0.0
        self._observer.on_partition(self._handled.position, left.position)

    def _check_left(self, reply: Reply) -> None:
        assert self._handled is not None  # noqa: S101 - _load set it
        if self._handled.left is None:
            return
        self._handled, late = late_entries(self._handled, self._facts(self._handled.left.stream, reply))
        if late is not None:
            self._dirty = True
            self._observer.on_late(late)

    # -- saving -------------------------------------------------------------------------------------------------------

    def _finished(self, batch: _Batch) -> None:
        self._handled = batch.place_after(len(batch.entries))
        self._dirty = True
        self._batch, self._taken = None, 0

    async def _midway(self, batch: _Batch, taken: int) -> _Next:
        """Save in the middle of a batch: the interval has passed, effects pile up, or the loop is to stop."""
        turn = _Next.RESTART if self._restart else await self._persist(batch.place_after(taken))
        self._restart = False
        if turn is _Next.GO_ON and self._stopping.requested:
            return _Next.END
        self._due = time.monotonic() + self._commit_interval
        return turn

    async def _persist(self, place: Place) -> _Next:
        """Save everything up to a place, whatever it takes."""
        self._handled, self._dirty = place, True
        while True:
            try:
                link = await self._line.link()
                await self._save(link)
                self._line.answered()
            except (ServerUnavailable, Refused, Rewound) as event:
                if not await self._overcome(event):
                    return _Next.END
                if isinstance(event, Rewound):
                    return _Next.RESTART
            else:
                return _Next.GO_ON

    async def _save(self, link: Link) -> None:
        await self._keeper.settle(link)
        if self._dirty:
            self._prepare_save(link)
            await link.flush()
            await self._keeper.settle(link)

    def _prepare_save(self, link: Link) -> None:
        assert self._handled is not None  # noqa: S101 - there is something to save
        self._keeper.prepare(link, self._handled, self._state, self._effects)
        self._effects, self._effect_bytes = [], 0
        self._dirty = self._heavy = False

    def _hold(self, effect: effects.Emit | effects.Execute) -> None:
        self._effects.append(effect)
        self._effect_bytes += effect.size
        self._heavy = len(self._effects) >= effects.STEP_EFFECTS or self._effect_bytes >= effects.STEP_BYTES

    def _bury(self, stream: str, raw_id: bytes, flat: list[bytes], reason: Exception) -> None:
        error = undecodable(stream, raw_id, flat, reason)
        error.__cause__ = reason
        now = time.time_ns() // 1_000_000
        self._hold(undecodable_letter(self._dead_letters, error, self._checkpoint, now))
        self._observer.on_dead_letter(self._dead_letters, error)

    def _facts(self, key: str, reply: Reply) -> StreamFacts | None:
        if isinstance(reply, Exception) and "no such key" in str(reply):
            return None
        return stream_facts(self._checked(key, reply))

    def _checked(self, key: str, reply: Reply) -> Reply:
        if isinstance(reply, Exception):
            error = typed(reply, doing=f"reading {key!r}", key=key)
            if isinstance(error, ServerUnavailable) and refusal(reply) is Refusal.WAIT:
                raise Refused(error)
            raise error
        return reply
