"""The types that programs against the public contract rely on. Checked by mypy and pyright, never run.

A line that must fail bears an ignore comment for its error: should it stop failing, the comment is unneeded, and both
checkers report that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import redis
import redis.asyncio
from typing_extensions import assert_type

import streamkit as sync
import streamkit.asyncio as aio
from streamkit import NEW, Codec, DataclassCodec, Entry, EntryId, JsonCodec, Observer, Period, RawCodec


@dataclass(frozen=True)
class Order:
    """A value."""

    order_id: str
    amount: float


@dataclass(frozen=True)
class Gift(Order):
    """A narrower value."""

    note: str = ""


@dataclass
class Totals:
    """A state."""

    count: int = 0
    amount: float = 0.0


class Model:
    """Stands for a Pydantic model."""

    @classmethod
    def model_validate_json(cls, data: str | bytes) -> Model:
        """Read it."""
        raise NotImplementedError(data)

    def model_dump_json(self) -> str:
        """Write it."""
        raise NotImplementedError


def codecs() -> None:
    """What each codec makes of the value type."""
    orders: Codec[Order] = DataclassCodec(Order)
    models: Codec[Model] = JsonCodec(loads=Model.model_validate_json, dumps=Model.model_dump_json)
    raw: Codec[dict[bytes, bytes]] = RawCodec()
    anything: Codec[Any] = JsonCodec()
    assert_type(JsonCodec(loads=Model.model_validate_json, dumps=Model.model_dump_json), JsonCodec[Model])
    del orders, models, raw, anything
    wrong: Codec[Totals] = DataclassCodec(Order)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    del wrong


def streams(client: redis.Redis) -> None:
    """The value type comes from the codec; without one it is a dict of text, which takes numbers and bytes too."""
    plain = sync.Stream(client, "events")
    assert_type(plain, sync.Stream[dict[str, str]])
    assert_type(plain.append({"n": 1, "raw": b"\x00", "ratio": 0.5, "text": "x"}), EntryId)
    plain.append({"n": None})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType, reportCallIssue]

    orders = sync.CappedStream(client, "orders", maxlen=1000, codec=DataclassCodec(Order))
    assert_type(orders, sync.CappedStream[Order])
    orders.append(Order("1", 2.0), at=datetime.now(timezone.utc), idempotency_key="1")
    orders.append(Gift("1", 2.0), at=EntryId(1))
    orders.append({"order_id": "1"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    orders.append(Order("1", 2.0), at="1-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    days = sync.PartitionedStream(client, "temps", period=Period.HOUR, retention=timedelta(days=1))
    assert_type(days, sync.PartitionedStream[dict[str, str]])
    assert_type(days.append_many(({"n": n} for n in range(3)), times=[datetime.now(timezone.utc)] * 3), int)
    assert_type(days.key_for(datetime.now(timezone.utc)), str)
    assert_type(days.expires_at("temps:20250101"), "datetime | None")
    sync.PartitionedStream(client, "temps", out_of_order="drop")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]

    models = sync.Stream(client, "m", codec=JsonCodec(loads=Model.model_validate_json, dumps=Model.model_dump_json))
    models.append_many([Model()], times=when)
    models.append_many([Order("1", 2.0)])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def when(_model: Model) -> datetime:
    """A time taken from a value."""
    return datetime.now(timezone.utc)


def sources(client: redis.Redis, asynchronous: redis.asyncio.Redis) -> None:
    """A source is covariant, and belongs to its half."""
    gifts = sync.Stream(client, "gifts", codec=DataclassCodec(Gift))
    orders: sync.Source[Order] = gifts
    numbers: sync.Source[int] = gifts  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del orders, numbers
    other = aio.Stream(asynchronous, "gifts", codec=DataclassCodec(Gift))
    sync.CheckpointedReader(client, other, "c")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync.Stream(asynchronous, "gifts")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def readers(client: redis.Redis) -> None:
    """Value and state types from source and state."""
    by_key = sync.CheckpointedReader(client, "events", "c", start=NEW)
    assert_type(by_key, sync.CheckpointedReader[dict[str, str], None])
    with_dict = sync.CheckpointedReader(client, "events", "c", state={"seen": 0})
    assert_type(with_dict.state, dict[str, int])

    source = sync.PartitionedStream(client, "orders", codec=DataclassCodec(Order))
    stateless = sync.CheckpointedReader(client, source, "c", start="orders:20250101", observer=Observer())
    assert_type(stateless, sync.CheckpointedReader[Order, None])
    reader = sync.CheckpointedReader(client, source, "c", state=Totals(), count=10, follow=False)
    assert_type(reader, sync.CheckpointedReader[Order, Totals])
    assert_type(iter(reader), Iterator[Entry[Order]])

    with reader as entered:
        assert_type(entered, sync.CheckpointedReader[Order, Totals])
        for entry in reader:
            assert_type(entry, Entry[Order])
            assert_type(entry.value.amount, float)
            assert_type(entry.stream, str)
            assert_type(entry.id, EntryId)
            assert_type(entry.time, datetime)
            reader.state.count += 1
            reader.emit(source, entry.value, at=entry.id)
            reader.emit(sync.Stream(client, "plain"), {"n": 1})
            reader.emit("plain", {"n": 1})
            reader.execute("HINCRBY", "totals", entry.value.order_id, 1)
            reader.emit(source, {"n": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
            reader.execute("HSET", "totals", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            entry.value = entry.value  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    reader.state = Totals()
    reader.state = {"count": 1}  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    saved = reader.saved()
    assert_type(saved, "sync.Checkpoint[Totals] | None")
    assert_type(reader.commit(), None)


async def asynchronous_twin(client: redis.asyncio.Redis) -> None:
    """The same with await."""
    source = aio.PartitionedStream(client, "orders", codec=DataclassCodec(Order))
    assert_type(await source.append(Order("1", 2.0)), EntryId)
    source.append(Order("1", 2.0))  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]

    async def produce() -> AsyncIterator[Order]:
        yield Order("1", 2.0)

    assert_type(await source.append_many(produce()), int)
    assert_type(await source.keys(), Sequence[str])
    reader = aio.CheckpointedReader(client, source, "c", state=Totals())
    assert_type(reader, aio.CheckpointedReader[Order, Totals])
    async with reader:
        async for entry in reader:
            assert_type(entry, Entry[Order])
            reader.emit(source, entry.value)
            await reader.commit()
    assert_type(await reader.saved(), "aio.Checkpoint[Totals] | None")
    with sync.stop_on_signals(reader):
        pass


def entries(narrow: Entry[Gift]) -> Entry[Order]:
    """An entry is covariant."""
    return narrow


def handlers(handle: Callable[[Entry[Order]], None], asynchronous: Callable[[Entry[Order]], Awaitable[None]]) -> None:
    """A handler of a wider value serves a narrower one."""
    narrow: Callable[[Entry[Gift]], None] = handle
    twin: Callable[[Entry[Gift]], Awaitable[None]] = asynchronous
    del narrow, twin
