# Generated from src/streamkit/asyncio/sources.py by tools/generate_sync.py: do not edit.
"""What can be read and written: the base of all streams, and `Stream`, a key taken as it is."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar, override

from streamkit._core import commands
from streamkit._core.appends import Chunk, Chunker, Guard, Target
from streamkit._core.codecs import TEXT, Codec, Fields, FieldsIn
from streamkit._core.errors import InvalidArgument
from streamkit._core.ids import EntryId
from streamkit._core.infos import StreamInfo, stream_info
from streamkit._core.keys import companion, require_key
from streamkit._core.times import require_positive, span_ms
from streamkit._sync._runtime import Client, Values, iterator, take
from streamkit._sync.appending import Delivery
from streamkit._sync.connections import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from streamkit._core.periods import Partitioning

T = TypeVar("T", default=dict[str, str])
T_co = TypeVar("T_co", covariant=True, default=dict[str, str])

SLOW = 0.5
"""Seconds that values are collected for a chunk before it is sent as it is."""


class Source(Generic[T_co]):
    """Anything that entries with values of type ``T`` can be read from.

    The base of `Stream`, `CappedStream` and `PartitionedStream`: readers and consumers take any of them. Nominal and
    covariant on purpose: a stream of the other half of the library does not pass for one of this half.
    """

    _client: Client
    _server: Server
    _name: str
    _codec: Codec[Any]
    _partitioning: Partitioning | None
    _shards: Sequence[Source[Any]] = ()
    """What it consists of, if it is no stream itself."""

    @property
    def name(self) -> str:
        """The key of the stream, or the name that its partitions share."""
        return self._name

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"


class Appendable(Source[T], Generic[T]):
    """A stream that can be written: what `Stream`, `CappedStream` and `PartitionedStream` share."""

    def __init__(
        self,
        client: Client,
        name: str,
        codec: Codec[Any] | None,
        partitioning: Partitioning | None,
        idempotency_window: timedelta,
    ) -> None:
        self._client = client
        self._server = Server(client)
        self._name = require_key("the name of a stream", name)
        self._server.require_companions("a stream", self._name)
        self._codec = TEXT if codec is None else codec
        self._partitioning = partitioning
        self._window = span_ms(require_positive("idempotency_window", idempotency_window))

    @overload
    def append(
        self: Appendable[Fields],
        value: FieldsIn,
        *,
        at: datetime | EntryId | None = None,
        idempotency_key: str | None = None,
    ) -> EntryId: ...
    @overload
    def append(
        self, value: T, *, at: datetime | EntryId | None = None, idempotency_key: str | None = None
    ) -> EntryId: ...
    def append(
        self, value: Any, *, at: datetime | EntryId | None = None, idempotency_key: str | None = None
    ) -> EntryId:
        """Append one entry, in one round trip, with the trimming or the expiry of its stream in the same step.

        Args:
            value: What to write; the codec makes fields of it.
            at: The entry's time, or its whole ID. None: the server numbers it by its own clock, which is right for
                several producers at once; ``at`` is for one producer, in order of time.
            idempotency_key: Names this append: a second one with the same key within the stream's
                ``idempotency_window`` writes nothing and gives the first one's ID. With a key an append is sent again
                by itself when a reply is lost.

        Returns:
            The ID of the entry.

        Raises:
            EncodeError: The value has fields that Redis cannot store.
            OutOfOrder: ``at`` is not above the newest entry of the stream.
            RetentionExceeded: ``at`` is older than the partitions are kept.
            AheadOfTime: ``at`` is further ahead of the server's clock than ``max_ahead``.
            NaiveDatetime: ``at`` has no time zone.
            AppendUncertain: The connection was lost before the reply, and no ``idempotency_key`` was given.
            WrongKeyType: The key holds no stream.
            ServerUnavailable: The server could not be reached, or refused for 15 s.

        Sends one EVALSHA (of a script with XADD and what belongs to it). Needs Redis 7.0.
        """
        fields = self._codec.encode(value)
        ms = None if at is None else at.ms if isinstance(at, EntryId) else EntryId.at(at).ms
        target = self._target(ms)
        self._server.facts()
        if ms is None:
            chunk = Chunk(target, [fields], None, 0, 0)
        else:
            chunk = Chunk(target, [fields], [str(at) if isinstance(at, EntryId) else f"{ms}-*"], ms, ms)
        guard = self._once(idempotency_key, numbered=at is None)
        if guard.key:
            self._server.require_one_slot("idempotency_key", guard.key, *self._keys_alike())
        with Delivery(self._server, self._target, guard) as delivery:
            delivery.send(chunk)
            delivery.settle()
            return EntryId.parse(delivery.last_id)

    @overload
    def append_many(
        self: Appendable[Fields],
        values: Values[FieldsIn],
        *,
        times: Iterable[datetime] | Callable[[FieldsIn], datetime] | None = None,
    ) -> int: ...
    @overload
    def append_many(
        self, values: Values[T], *, times: Iterable[datetime] | Callable[[T], datetime] | None = None
    ) -> int: ...
    def append_many(
        self, values: Values[Any], *, times: Iterable[datetime] | Callable[[Any], datetime] | None = None
    ) -> int:
        """Append many entries, in chunks of up to 1000, two of them on their way at once.

        Values are taken as they are needed, so that any number can be written in little memory. Each chunk is written
        whole or not at all, with its expiry or trimming, and is sent again without doubling when its reply is lost.

        Args:
            values: What to write, in order.
            times: Their times, in order: one for each value, or a function that takes it from the value. None: the
                server numbers them.

        Returns:
            How many entries were written, which is as many as there were values.

        Raises:
            AppendError: An entry was refused (see `append`); ``appended`` says how many were written before it.
            EncodeError: A value has fields that Redis cannot store; the message says how many were written.

        What the iterable itself raises is raised here, after everything before it was written. Sends one EVALSHA a
        chunk. Needs Redis 7.0.
        """
        self._server.facts()
        source = iterator(values)
        chunker: Chunker[Any] = Chunker(self._codec, self._target, times)
        more, failed = True, None
        with Delivery(self._server, self._target) as delivery:
            while more:
                size = delivery.chunk_size
                taken, more, failed = take(source, size, SLOW)
                delivery.send_all(chunker.chunks(taken))
                if more and len(taken) < size:
                    # The next values may be long in coming: nothing is left on its way meanwhile.
                    delivery.settle()
            delivery.settle()
            if failed is not None:
                raise failed
            return delivery.appended

    def _target(self, ms: int | None) -> Target:
        """Where an entry of this moment goes; None: now, by our clock, which the server corrects."""
        raise NotImplementedError

    def _keys_alike(self) -> tuple[str, ...]:
        """Keys that are in one slot exactly if all of the stream's are."""
        return (self._name,)

    def _once(self, idempotency_key: str | None, *, numbered: bool) -> Guard:
        """The guard of an append that has an idempotency key; none otherwise."""
        del numbered
        if idempotency_key is None:
            return Guard()
        if not idempotency_key:
            msg = "idempotency_key must not be empty"
            raise InvalidArgument(msg)
        # Hashed when long, so that the guard's memory has a bound.
        word = idempotency_key if len(idempotency_key) <= 64 else hashlib.sha256(idempotency_key.encode()).hexdigest()
        return Guard("once", companion(self._name, f"once:{word}"), window_ms=self._window)


class Stream(Appendable[T], Generic[T]):
    """Any key as it is: read and appended to, but neither trimmed nor expired by streamkit.

    Args:
        client: Your client; its connections are borrowed for each append.
        key: The key.
        codec: How values become fields; none: dicts of text.
        idempotency_window: How long an ``idempotency_key`` is remembered; 10 minutes unless given.
    """

    @overload
    def __init__(
        self: Stream[Fields],
        client: Client,
        key: str,
        *,
        codec: None = None,
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None: ...
    @overload
    def __init__(
        self, client: Client, key: str, *, codec: Codec[T], idempotency_window: timedelta = timedelta(minutes=10)
    ) -> None: ...
    def __init__(
        self,
        client: Client,
        key: str,
        *,
        codec: Codec[Any] | None = None,
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None:
        super().__init__(client, key, codec, None, idempotency_window)

    @property
    def key(self) -> str:
        """The key."""
        return self._name

    def length(self) -> int:
        """How many entries the stream holds; 0 if it does not exist. Sends XLEN.

        Raises:
            WrongKeyType: The key holds no stream.
        """
        (reply,) = self._server.call(commands.xlen(self._name), doing=f"XLEN of {self._name!r}", key=self._name)
        return int(reply)

    def info(self) -> StreamInfo:
        """Length, IDs, groups and expiry of the stream; a missing one is empty. Sends XINFO STREAM and PEXPIRETIME.

        Raises:
            WrongKeyType: The key holds no stream.
        """
        return stream_info(self._name, self._server.survey(self._name))

    @override
    def _target(self, ms: int | None) -> Target:
        return Target(self._name)
