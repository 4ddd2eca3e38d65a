"""`ShardedReader`: the shards of a stream, shared by any number of processes, each with a checkpoint of its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from streamkit._core.errors import CheckpointConflict, InvalidArgument, ServerError, ServerUnavailable
from streamkit._core.keys import companion, require_key
from streamkit._core.observers import LoggingObserver, Observer
from streamkit._core.retry import RECONNECT
from streamkit._core.scripts import SHARE
from streamkit._core.sharing import Share, read_share, share_arguments
from streamkit._core.times import require_positive, span_ms
from streamkit.asyncio._runtime import Background, Client, Stopping, refuse_result
from streamkit.asyncio.connections import Server
from streamkit.asyncio.group_consumer import default_consumer
from streamkit.asyncio.sharded import ShardedStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from streamkit._core.entries import Entry
    from streamkit.asyncio.reader import CheckpointedReader
    from streamkit.asyncio.sharded import Shard

T = TypeVar("T", default=dict[str, str])
S = TypeVar("S", default=None)

LOOKS = 4
"""Times in a lease that it is renewed, and that a member looks for shards nobody holds."""


@dataclass
class _Held(Generic[T, S]):
    """A shard that is being read here."""

    reader: CheckpointedReader[T, S]
    background: Background
    ended: bool = False


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
        InvalidArgument: The source has no shards, a name is empty, or the lease is not positive.

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
        self._name = require_key("name", name)
        self._shards = dict(zip(source.shard_names, source.shards, strict=True))
        self._make = make
        self._member = default_consumer() if member is None else require_key("member", member)
        self._lease = require_positive("lease", lease)
        self._observer = LoggingObserver() if observer is None else observer
        self._stopping = Stopping()
        self._held: dict[str, _Held[T, S]] = {}
        self._failure: BaseException | None = None
        self._running = False

    @property
    def member(self) -> str:
        """This member's name."""
        return self._member

    @property
    def shards(self) -> Sequence[str]:
        """The names of the shards that are being read here at the moment."""
        return list(self._held)

    def checkpoint_of(self, shard: str) -> str:
        """The key of a shard's checkpoint."""
        return f"{self._name}:{{{shard}}}"

    async def run(self, handler: Callable[[Entry[T], CheckpointedReader[T, S]], Awaitable[None]]) -> None:
        """Hand the entries of this member's shards to a handler, until `stop`.

        Shards are read beside one another, in threads (asyncio: tasks) of their own; each in order. An entry's
        checkpoint is passed when its handler has returned, with what it emitted on the reader in the same step.

        Args:
            handler: Takes an entry and the reader of its shard, for ``reader.state`` and ``reader.emit``.

        Raises:
            WrongKeyType: A source, a checkpoint or ``{name}:shards`` is a key of another type.
            PermissionDenied: The user may not run a command; the message names it.

        What a handler raises, or a reader, ends all of them and is raised here; the entry was not passed.
        """
        if self._running:
            msg = f"member {self._member!r} of {self._name!r} is at work already; make another ShardedReader"
            raise InvalidArgument(msg)
        self._running, self._failure = True, None
        self._stopping.bind()
        try:
            failures = 0
            while not self._stopping.requested:
                try:
                    await self._adjust(await self._share(await self._given_up()), handler)
                except ServerUnavailable as error:
                    # The readers go on by themselves, or wait for the server themselves.
                    failures += 1
                    delay = RECONNECT.delay(failures)
                    self._observer.on_unavailable(error, failures, delay)
                    await self._stopping.wait(delay)
                    continue
                if failures:
                    failures = 0
                    self._observer.on_available()
                await self._stopping.wait(self._lease.total_seconds() / LOOKS)
        finally:
            await self._end()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End all readers after the entry in hand, within a second, and hand the shards on; from anywhere."""
        self._stopping.request()
        for held in tuple(self._held.values()):
            held.reader.stop()

    async def _adjust(self, share: Share, handler: Callable[[Any, Any], Awaitable[object]]) -> None:
        """Begin to read what is ours, end what is not."""
        before = set(self._held)
        for shard in share.shards:
            if shard not in self._held and not self._stopping.requested:
                reader = self._make(self._shards[shard], self.checkpoint_of(shard))
                self._held[shard] = held = _Held(reader, Background(partial(self._read, shard, reader, handler)))
                held.background.start()
        lost = [shard for shard in self._held if shard not in share.shards]
        # Those that came last are given up, so that the rest is not moved about.
        surplus = list(self._held)[len(self._held) - share.surplus :] if share.surplus else []
        for shard in {*lost, *surplus}:
            self._held[shard].reader.stop()
        if before != set(self._held):
            self._observer.on_shards(self._name, self._member, list(self._held))

    async def _given_up(self) -> list[str]:
        """The shards whose readers have ended: not ours any more, or to be handed on."""
        ended = [shard for shard, held in self._held.items() if held.ended]
        for shard in ended:
            await self._held.pop(shard).background.join()
        return ended

    async def _read(
        self, shard: str, reader: CheckpointedReader[T, S], handler: Callable[[Any, Any], Awaitable[object]]
    ) -> None:
        """In a thread or task of its own."""
        try:
            async with reader:
                async for entry in reader:
                    refuse_result(await handler(entry, reader))
        except CheckpointConflict:
            pass  # another member has taken the shard over
        except BaseException as error:  # noqa: BLE001 - raised by run()
            self._failure = self._failure or error
            self.stop()
        finally:
            held = self._held.get(shard)
            if held is not None:
                held.ended = True

    async def _share(self, giving_up: Sequence[str], *, leave: bool = False) -> Share:
        key = companion(self._name, "shards")
        words = share_arguments(
            self._member, span_ms(self._lease), list(self._shards), giving_up=giving_up, leave=leave
        )
        return read_share(key, await self._server.run(SHARE, (key,), words, doing=f"sharing {self._name!r}"))

    async def _end(self) -> None:
        """End every reader, and hand the shards on."""
        for held in self._held.values():
            held.reader.stop()
        for held in self._held.values():
            await held.background.join()
        self._held.clear()
        with suppress(ServerError):  # they are free when the lease is over
            await self._share((), leave=True)
        self._stopping.clear()
        self._running = False
