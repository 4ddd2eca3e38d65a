# Generated from src/streamkit/asyncio/sharded_reader.py by tools/generate_sync.py: do not edit.
"""`ShardedReader`: the shards of a stream, shared by any number of processes, each with a checkpoint of its own."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from redis.exceptions import ResponseError
from typing_extensions import TypeVar

from streamkit._core.errors import CheckpointConflict, InvalidArgument, ServerError, ServerUnavailable
from streamkit._core.keys import companion, require_key
from streamkit._core.observers import LoggingObserver, Observer
from streamkit._core.refusals import passing, typed
from streamkit._core.retry import RECONNECT
from streamkit._core.scripts import SHARE
from streamkit._core.sharding import require_name, shard_key
from streamkit._core.sharing import Share, read_share, share_arguments
from streamkit._core.times import require_positive, span_ms
from streamkit._sync._runtime import Background, Client, Stopping, join_all, refuse_result
from streamkit._sync.connections import Server
from streamkit._sync.group_consumer import default_consumer
from streamkit._sync.lines import Line
from streamkit._sync.sharded import ShardedStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamkit._core.entries import Entry
    from streamkit._sync.reader import CheckpointedReader
    from streamkit._sync.sharded import Shard

T = TypeVar("T", default=dict[str, str])
S = TypeVar("S", default=None)

LOOKS = 4
"""Times in a lease that it is renewed, and that a member looks for shards nobody holds."""


class _Held(Generic[T, S]):
    """A shard that is being read here."""

    def __init__(self, reader: CheckpointedReader[T, S], read: Callable[[_Held[T, S]], None]) -> None:
        self.reader = reader
        self.stopping = Stopping()
        self.background = Background(partial(read, self))
        self.ended = False

    def stop(self) -> None:
        """End it after the entry in hand."""
        self.stopping.request()
        self.reader.stop()


class ShardedReader(Generic[T, S]):
    """Reads the shards of a stream, each in order and with a checkpoint, together with other processes.

    Every member reads its share of the shards. One that stops hands its shards on at once; those of one that died are
    taken over when its lease is over, and read on from their checkpoints. Leases only say who should read: that two
    never both make progress is each checkpoint's own fence, so that state and emitted entries are exactly once.

    Args:
        client: Your client.
        source: The stream.
        name: The name of the whole. The checkpoint of shard ``0`` is the key ``{name}:{0}`` with the shard's name in
            braces, so that it lies in the shard's slot; who holds what is in the hash ``{name}:shards``.
        make: Makes the reader of a shard, from the shard's stream and the key of its checkpoint:
            ``lambda shard, checkpoint: CheckpointedReader(client, shard, checkpoint, state=Totals())``. One that
            follows, as readers do unless told not to.
        member: This member's name, which no other may have; None: made of host, process and chance.
        lease: How long a member that is not heard of keeps its shards.
        observer: Told which shards this member reads, and of outages; None logs it, ``Observer()`` is silence.

    Raises:
        InvalidArgument: The source has no shards, a name is empty, has braces or is the source's, or the lease is not
            positive.

    Sends an EVALSHA four times a lease, beside what its readers send. Needs Redis 7.0.
    """

    def __init__(
        self,
        client: Client,
        source: ShardedStream[T],
        name: str,
        make: Callable[[Shard[T], str], CheckpointedReader[T, S]],
        *,
        member: str | None = None,
        lease: timedelta = timedelta(seconds=10),
        observer: Observer | None = None,
    ) -> None:
        given: Any = source
        if not isinstance(given, ShardedStream):
            msg = f"source must be a ShardedStream, not {type(given).__name__}; others are read by CheckpointedReader"
            raise InvalidArgument(msg)
        self._server = Server(client)
        self._server.require_same(source._server, f"the source {source.name!r}")  # noqa: SLF001
        self._name = require_name(name)
        if name == source.name:
            msg = f"name must not be that of the source ({name!r}): a checkpoint would have the key of its shard"
            raise InvalidArgument(msg)
        self._shards = dict(zip(source.shard_names, source.shards, strict=True))
        self._make = make
        self._member = default_consumer() if member is None else require_key("member", member)
        self._lease = require_positive("lease", lease)
        self._observer = LoggingObserver() if observer is None else observer
        self._stopping = Stopping()
        self._line = Line(self._server, self._observer, self._stopping)
        self._held: dict[str, _Held[T, S]] = {}
        """Replaced, never changed: `stop` looks at it from any thread."""
        self._ended: list[str] = []
        """Shards that were read here, and that the others were not told of yet."""
        self._told: list[str] = []
        """Which the observer was told of last."""
        self._failure: BaseException | None = None
        self._running = False

    @property
    def member(self) -> str:
        """This member's name."""
        return self._member

    @property
    def shards(self) -> Sequence[str]:
        """The names of the shards that are being read here at the moment."""
        return [shard for shard, held in self._held.items() if not held.ended]

    def checkpoint_of(self, shard: str) -> str:
        """The key of a shard's checkpoint."""
        return shard_key(self._name, shard)

    def run(self, handler: Callable[[Entry[T], CheckpointedReader[T, S]], None]) -> None:
        """Hand the entries of this member's shards to a handler, until `stop`.

        Shards are read beside one another, in threads (asyncio: tasks) of their own; each in order. An entry's
        checkpoint is passed when its handler has returned, with what it emitted on the reader in the same step.

        Args:
            handler: Takes an entry and the reader of its shard, for ``reader.state`` and ``reader.emit``.

        Raises:
            InvalidArgument: It is at work already.
            WrongKeyType: A source, a checkpoint or ``{name}:shards`` is a key of another type.
            ServerUnavailable: The server cannot be reached at the start; later on it is waited for.
            ServerTooOld: It is older than Redis 7.0.
            PermissionDenied: The user may not run a command; the message names it.

        What a handler raises, or a reader, ends all of them and is raised here; the entry was not passed. Cancelling
        it cancels the handlers.
        """
        if self._running:
            msg = f"member {self._member!r} of {self._name!r} is at work already; make another ShardedReader"
            raise InvalidArgument(msg)
        self._running, self._failure, self._told = True, None, []
        self._stopping.bind()
        try:
            self._lead(handler)
        except BaseException:
            self.stop()
            for held in self._held.values():
                held.background.cancel()
            raise
        finally:
            self._end()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End all readers after the entry in hand, within a second, and hand the shards on; from anywhere."""
        self._stopping.request()
        for held in self._held.values():
            held.stop()

    def _stopped(self) -> bool:
        return self._stopping.requested

    def _lead(self, handler: Callable[[Any, Any], object]) -> None:
        """Keep the leases, and read what is ours, until it is to stop."""
        begun = False
        while not self._stopped():
            try:
                share = self._share()
            except ServerUnavailable as error:
                # The readers go on by themselves, or wait for the server themselves.
                if not (begun or self._stopped() or passing(error.__cause__)):
                    raise
                self._line.pause(error)
                continue
            begun = True
            self._line.answered()
            self._adjust(share, handler)
            self._stopping.wait(self._lease.total_seconds() / LOOKS)
            self._gather()

    def _adjust(self, share: Share, handler: Callable[[Any, Any], object]) -> None:
        """Begin to read what is ours, end what is not."""
        for shard in share.shards:
            # One that came to its end since the shares were asked for is still to be given up.
            if shard not in self._held:
                reader = self._make(self._shards[shard], self.checkpoint_of(shard))
                held = _Held(reader, partial(self._read, handler))
                self._held = {**self._held, shard: held}
                held.background.start()
        # Always the last ones: until they have ended, the answer is the same.
        surplus = share.shards[len(share.shards) - share.surplus :]
        for shard, held in self._held.items():
            if shard in surplus or shard not in share.shards:
                held.stop()
        self._tell()

    def _gather(self) -> None:
        """Wait for those that have ended; their shards are not ours any more, or are to be handed on."""
        for shard, held in self._held.items():
            if held.ended:
                held.background.join()
                self._ended.append(shard)
        self._held = {shard: held for shard, held in self._held.items() if shard not in self._ended}

    def _tell(self) -> None:
        reading = list(self._held)
        if reading != self._told:
            self._told = reading
            self._observer.on_shards(self._name, self._member, reading)

    def _read(self, handler: Callable[[Any, Any], object], held: _Held[T, S]) -> None:
        """In a thread or task of its own."""
        failures, reader = 0, held.reader
        held.stopping.bind()
        try:
            while not held.stopping.requested:
                entered = False
                try:
                    with reader:
                        entered = True
                        if failures:
                            self._observer.on_available()
                        for entry in reader:
                            refuse_result(handler(entry, reader))
                    break
                except ServerUnavailable as error:
                    if entered:
                        raise
                    failures += 1
                    delay = RECONNECT.delay(failures)
                    self._observer.on_unavailable(error, failures, delay)
                    held.stopping.wait(delay)
        except CheckpointConflict:
            pass  # another member has taken the shard over
        except BaseException as error:  # noqa: BLE001 - raised by run()
            self._failure = self._failure or error
            self.stop()
        finally:
            held.ended = True

    def _share(self, *, leave: bool = False) -> Share:
        """What is ours from now on; what has ended here is given up in the same step."""
        key, ended = companion(self._name, "shards"), tuple(self._ended)
        words = share_arguments(self._member, span_ms(self._lease), list(self._shards), giving_up=ended, leave=leave)
        self._server.facts(self._stopping)
        link = self._line.link()
        try:
            share = read_share(key, link.run(SHARE, partial(SHARE.call, (key,), words)))
        except ResponseError as error:
            raise typed(error, doing=f"sharing {self._name!r}", key=key) from error
        self._ended.clear()
        return share

    def _end(self) -> None:
        """End every reader, and hand the shards on."""
        try:
            for held in self._held.values():
                held.stop()
            join_all([held.background for held in self._held.values()])
            with suppress(ServerError):  # they are free when the lease is over
                self._share(leave=True)
        finally:
            self._held = {}
            self._ended.clear()
            self._line.close()
            self._stopping.clear()
            self._running = False
        self._tell()
