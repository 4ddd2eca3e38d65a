"""`ShardedStream`: one logical stream over several keys, spread over the nodes of a cluster."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, overload

from typing_extensions import TypeVar

from streamkit._core.appends import CHUNK, Chunker, with_progress
from streamkit._core.errors import InvalidArgument, StreamkitError
from streamkit._core.infos import StreamInfo
from streamkit._core.sharding import parse_shards
from streamkit.asyncio._runtime import Client, Values, iterator, take
from streamkit.asyncio.appending import Delivery
from streamkit.asyncio.connections import Server
from streamkit.asyncio.partitioned import PartitionedStream
from streamkit.asyncio.sources import SLOW, Source, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from streamkit._core.codecs import Codec, Fields, FieldsIn
    from streamkit._core.ids import EntryId

T = TypeVar("T", default=dict[str, str])
V = TypeVar("V")

Shard: TypeAlias = "Stream[V] | PartitionedStream[V]"
"""The stream of one shard."""
TOGETHER = 16_000
"""Entries that `ShardedStream.append_many` sorts into shards at a time, at most: 1000 for each shard."""


class ShardedStream(Source[T], Generic[T]):
    """One stream over several keys: more than one node of a cluster can hold, with the order of each key kept.

    Shard ``0`` of ``orders`` is the key ``orders:{0}``: everything about it (its dead letters, its checkpoint) lies in
    one slot, and shards of the same name of several streams share a slot. Entries with equal keys go to the same shard,
    in the order they were appended. The number of shards cannot be changed later without moving entries.

    `GroupConsumer` consumes all shards as one, `Replayer` merges them by ID, `ShardedReader` shares them among
    processes; ``stream.shards`` gives each as a stream of its own. Works on a single server, too.

    Args:
        client: Your client.
        name: What the keys of all shards begin with.
        shards: How many shards, to which keys of entries are hashed; or their names, such as tenants: then the key of
            an entry is the name of its shard.
        key: Gives the key of an entry's value: a str, bytes or number.
        codec: How values become fields; none: dicts of text.
        of: Makes the stream of a shard from the client and the shard's key, for shards that are capped, or partitioned
            by day: ``of=lambda client, key: PartitionedStream(client, key, codec=codec)``. None: plain streams.

    Raises:
        InvalidArgument: A name has braces or comes twice, or there are no shards; ``codec`` together with ``of``, or
            ``of`` makes streams of other keys or servers.
    """

    @overload
    def __init__(
        self: ShardedStream[Fields],
        client: Client,
        name: str,
        *,
        shards: int | Sequence[str],
        key: Callable[[FieldsIn], str | bytes | float],
        codec: None = None,
        of: None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        client: Client,
        name: str,
        *,
        shards: int | Sequence[str],
        key: Callable[[T], str | bytes | float],
        codec: Codec[T],
        of: None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        client: Client,
        name: str,
        *,
        shards: int | Sequence[str],
        key: Callable[[T], str | bytes | float],
        codec: None = None,
        of: Callable[[Any, str], Shard[T]],
    ) -> None: ...
    def __init__(
        self,
        client: Client,
        name: str,
        *,
        shards: int | Sequence[str],
        key: Callable[[Any], str | bytes | float],
        codec: Codec[Any] | None = None,
        of: Callable[[Any, str], Shard[Any]] | None = None,
    ) -> None:
        if of is not None and codec is not None:
            msg = "give the codec to the streams that of= makes, not to the sharded stream"
            raise InvalidArgument(msg)
        self._sharding = parse_shards(name, shards)
        self._key = key
        make: Callable[[Any, str], Shard[Any]] = _plain(codec) if of is None else of
        self._streams: tuple[Shard[T], ...] = tuple(make(client, each) for each in self._sharding.keys)
        for shard, each in zip(self._streams, self._sharding.keys, strict=True):
            shard._server.require_same(Server(client), f"the shard {each!r}")  # noqa: SLF001
            if shard.name != each:
                msg = f"of= must make the stream {each!r} from the key it is given, and made {shard.name!r}"
                raise InvalidArgument(msg)
        self._client, self._name, self._partitioning = client, name, None
        self._server, self._codec = self._streams[0]._server, self._streams[0]._codec  # noqa: SLF001
        self._shards = self._streams

    @property
    def shard_names(self) -> Sequence[str]:
        """What its shards are called, in their order; by their numbers from 0, unless names were given."""
        return self._sharding.names

    @property
    def shards(self) -> Sequence[Shard[T]]:
        """The streams it consists of."""
        return self._streams

    def shard_of(self, value: T) -> Shard[T]:
        """The stream that a value belongs to.

        Raises:
            InvalidArgument: Its key is no str, bytes or number, or names no shard.
        """
        return self._streams[self._sharding.place(self._key(value))]

    @overload
    async def append(
        self: ShardedStream[Fields],
        value: FieldsIn,
        *,
        at: datetime | EntryId | None = None,
        idempotency_key: str | None = None,
    ) -> EntryId: ...
    @overload
    async def append(
        self, value: T, *, at: datetime | EntryId | None = None, idempotency_key: str | None = None
    ) -> EntryId: ...
    async def append(
        self, value: Any, *, at: datetime | EntryId | None = None, idempotency_key: str | None = None
    ) -> EntryId:
        """Append one entry to its shard; see `Stream.append`.

        Args:
            value: What to write.
            at: The entry's time, or its whole ID; None: the server numbers it.
            idempotency_key: Names this append, within its shard.

        Returns:
            The ID of the entry, within its shard.

        Raises:
            InvalidArgument: Its key is no str, bytes or number, or names no shard.
            AppendError: It was refused; the same errors as those of `Stream.append`.
        """
        return await self.shard_of(value).append(value, at=at, idempotency_key=idempotency_key)

    @overload
    async def append_many(
        self: ShardedStream[Fields],
        values: Values[FieldsIn],
        *,
        times: Iterable[datetime] | Callable[[FieldsIn], datetime] | None = None,
    ) -> int: ...
    @overload
    async def append_many(
        self, values: Values[T], *, times: Iterable[datetime] | Callable[[T], datetime] | None = None
    ) -> int: ...
    async def append_many(
        self, values: Values[Any], *, times: Iterable[datetime] | Callable[[Any], datetime] | None = None
    ) -> int:
        """Append many entries, each to its shard, in chunks of up to 1000.

        The order of entries with equal keys is kept. Each chunk is written whole or not at all and sent again without
        doubling when its reply is lost, as those of `Stream.append_many`.

        Args:
            values: What to write, in order.
            times: Their times, in order: one for each value, or a function that takes it from the value. None: the
                server numbers them.

        Returns:
            How many entries were written.

        Raises:
            AppendError: An entry was refused; ``appended`` says how many were written, in all shards together. Not
                all those before it: of up to 16,000 values at a time, each shard's are written in turn.
            EncodeError: A value has fields that Redis cannot store; the message says how many were written.
            InvalidArgument: A key is no str, bytes or number, or names no shard; what came before it is written.

        What the iterable itself raises, or ``key``, is raised here, after everything before it was written. Sends one
        EVALSHA a chunk. Needs Redis 7.0.
        """
        await self._server.facts()
        source = iterator(values)
        moments = None if times is None or callable(times) else iter(times)
        lines = [_Line(shard, times if callable(times) else None, timed=moments is not None) for shard in self._streams]
        together = min(CHUNK * len(lines), TOGETHER)
        more, failed = True, None
        try:
            while more and failed is None:
                taken, more, failed = await take(source, together, SLOW)
                failed = self._sort(taken, moments, lines) or failed
                for line in lines:
                    await line.send()
        except StreamkitError as error:
            raise with_progress(error, sum(line.delivery.appended for line in lines)) from error.__cause__
        appended = sum(line.delivery.appended for line in lines)
        if isinstance(failed, StreamkitError):
            raise with_progress(failed, appended)
        if failed is not None:
            raise failed
        return appended

    async def length(self) -> int:
        """How many entries all shards hold together. Sends XLEN for each key."""
        return sum([await shard.length() for shard in self._streams])

    async def info(self) -> Sequence[StreamInfo]:
        """What the server says of each key. Sends XINFO STREAM and PEXPIRETIME for each."""
        found = list[StreamInfo]()
        for shard in self._streams:
            if isinstance(shard, PartitionedStream):
                found += await shard.info()
            else:
                found.append(await shard.info())
        return found

    def _sort(
        self, values: Sequence[T], moments: Iterator[datetime] | None, lines: Sequence[_Line]
    ) -> Exception | None:
        for value in values:
            try:
                line = lines[self._sharding.place(self._key(value))]
                if moments is not None:
                    line.times.append(next(moments))
            except StopIteration:
                return InvalidArgument("the times ended before the values; give one for each")
            except Exception as error:  # noqa: BLE001 - the user's function may raise anything; raised after the rest
                return error
            line.values.append(value)
        return None


class _Line:
    """What is to be appended to one shard."""

    def __init__(self, shard: Shard[Any], time_of: Callable[[Any], datetime] | None, *, timed: bool) -> None:
        self.values = list[Any]()
        self.times: deque[datetime] = deque()
        self.delivery: Delivery = Delivery(shard._server, shard._target)  # noqa: SLF001
        times = _popping(self.times) if timed else time_of
        self._chunker: Chunker[Any] = Chunker(shard._codec, shard._target, times)  # noqa: SLF001

    async def send(self) -> None:
        """Send what was sorted to this shard."""
        values, self.values = self.values, []
        if not values:
            return
        async with self.delivery as delivery:
            while values:
                part, values = values[: delivery.chunk_size], values[delivery.chunk_size :]
                await delivery.send_all(self._chunker.chunks(part))
            await delivery.settle()


def _popping(times: deque[datetime]) -> Iterator[datetime]:
    while True:
        yield times.popleft()


def _plain(codec: Codec[Any] | None) -> Callable[[Any, str], Shard[Any]]:
    def make(client: Client, key: str) -> Shard[Any]:
        return Stream(client, key) if codec is None else Stream(client, key, codec=codec)

    return make
