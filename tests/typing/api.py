"""The types that programs against the public contract rely on. Checked by mypy and pyright, never run.

A line that must fail bears an ignore comment for its error: should it stop failing, the comment is unneeded, and both
checkers report that.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import redis
import redis.asyncio
from typing_extensions import assert_type

import streamkit as sync
import streamkit.asyncio as aio
from streamkit import (
    NEW,
    Codec,
    DataclassCodec,
    Entry,
    EntryId,
    JsonCodec,
    Observer,
    PendingEntry,
    Period,
    RawCodec,
    Reject,
    Retry,
    RetryPolicy,
)


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


def dead_letters(client: redis.Redis, asynchronous: redis.asyncio.Redis) -> None:
    """Letters, what moves them, and a trim whose result depends on what was asked."""
    queue = sync.DeadLetterQueue(client, "{orders}:dead-letters", maxlen=1000, observer=Observer())
    for letter in queue:
        assert_type(letter, sync.DeadLetter)
        assert_type(letter.entry_id, "EntryId | None")
        assert_type(letter.fields, dict[bytes, bytes])
        assert_type(letter.decode(DataclassCodec(Order)), Order)
        assert_type(letter.cause, sync.Cause)
        letter.redrives = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(queue.letters(cause=sync.Cause.REJECTED, limit=5, reverse=True), Iterator[sync.DeadLetter])
    assert_type(queue.redrive(["5-1", EntryId(6)]), int)
    assert_type(queue.redrive(to=sync.Stream(client, "gifts", codec=DataclassCodec(Gift)), rate=0.5, dry_run=True), int)
    assert_type(queue.redrive(to="again", start=datetime.now(timezone.utc), end="5-1"), int)
    assert_type(queue.discard(letter.id for letter in queue), int)
    queue.redrive(to=aio.Stream(asynchronous, "gifts"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    queue.letters(cause="rejected")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    capped = sync.CappedStream(client, "capped", maxlen=5)
    assert_type(capped.trim(), int)
    assert_type(capped.trim(unless_pending=False), int)
    assert_type(capped.trim(unless_pending=True), sync.Trimmed)


def spell(_word: str) -> None:
    """Nothing that handles entries."""


def guarded(client: redis.Redis, asynchronous: redis.asyncio.Redis) -> None:
    """A guarded handler keeps its type."""

    @sync.once(client, "charge", window=timedelta(hours=1))
    def charge(entry: Entry[Order]) -> None:
        entry.value.amount.is_integer()

    assert_type(charge, Callable[[Entry[Order]], None])
    charge(Entry("gifts", EntryId(1), Gift("1", 2.0)))
    charge(Entry("orders", EntryId(1), {"n": "1"}))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sync.once(client, "spell")(spell)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]

    @aio.once(asynchronous, "charge")
    async def send(entry: Entry[Order]) -> None:
        del entry

    assert_type(send, Callable[[Entry[Order]], Awaitable[None]])
    aio.once(asynchronous, "charge")(charge)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def replayers(client: redis.Redis, other: redis.Redis) -> None:
    """Value types from the source; a copy goes to a stream of the same values, or to any key."""
    by_key = sync.Replayer(client, "events")
    assert_type(by_key, sync.Replayer[dict[str, str]])
    for plain in by_key.entries("temps:20250101", datetime.now(timezone.utc), limit=10, reverse=True):
        assert_type(plain, Entry[dict[str, str]])

    seen, counts = list[float](), list[int]()
    source = sync.PartitionedStream(client, "orders", codec=DataclassCodec(Order))
    replayer = sync.Replayer(client, source, observer=Observer())
    assert_type(replayer, sync.Replayer[Order])
    entries: Iterator[Entry[Order]] = replayer.entries(EntryId(1), "5-0")
    with closing(replayer.tail(start=NEW)) as tail:
        for entry in tail:
            assert_type(entry, Entry[Order])
    assert_type(replayer.play(lambda entry: seen.append(entry.value.amount), speed=60), int)
    to = sync.Stream(other, "copy", codec=JsonCodec(loads=read_order))
    assert_type(replayer.copy(to, start=datetime.now(timezone.utc), keep_ids=True, progress=counts.append), int)
    assert_type(replayer.copy("copy", end="orders:20250101"), int)
    assert_type(replayer.stop(), None)
    with sync.stop_on_signals(replayer):
        pass
    replayer.copy(sync.Stream(client, "events"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    replayer.entries(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    replayer.entries(start=NEW)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    replayer.play(handle_text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    del entries


def read_order(data: bytes) -> Order:
    """An order from JSON."""
    return Order(**json.loads(data))


def handle_orders(entry: Entry[Order]) -> None:
    """A handler of the synchronous half."""
    del entry


def handle_text(entry: Entry[dict[str, str]]) -> None:
    """A handler of other values."""
    del entry


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
    replayer = aio.Replayer(client, source)
    assert_type(replayer, aio.Replayer[Order])
    entries: AsyncIterator[Entry[Order]] = replayer.entries(limit=5)
    async with aclosing(replayer.tail()) as tail:
        async for entry in tail:
            assert_type(entry, Entry[Order])

    async def handle(entry: Entry[Order]) -> None:
        del entry

    assert_type(await replayer.play(handle, speed=float("inf")), int)
    assert_type(await replayer.copy("copy"), int)
    await replayer.play(handle_orders)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    del entries
    with sync.stop_on_signals(reader):
        pass

    queue = aio.DeadLetterQueue(client, "{orders}:dead-letters")
    async for letter in queue.letters(group="billing"):
        assert_type(letter, aio.DeadLetter)
    assert_type(await queue.redrive(to=source), int)
    assert_type(await aio.CappedStream(client, "capped", maxlen=5).trim(unless_pending=True), aio.Trimmed)
    with sync.stop_on_signals(queue):
        pass


def groups(client: redis.Redis, asynchronous: redis.asyncio.Redis) -> None:
    """The value type comes from the source, or sources, and reaches the handler."""
    by_key = sync.GroupConsumer(client, "events", "g", start=NEW)
    assert_type(by_key, sync.GroupConsumer[dict[str, str]])
    assert_type(sync.GroupConsumer(client, ["a", "b"], "g", "me"), sync.GroupConsumer[dict[str, str]])

    orders = sync.CappedStream(client, "orders", maxlen=1000, codec=DataclassCodec(Order))
    days = sync.PartitionedStream(client, "days", codec=DataclassCodec(Order))
    retry = RetryPolicy(max_deliveries=3, backoff=[timedelta(seconds=1)], reject_on=(ValueError, KeyError))
    consumer = sync.GroupConsumer(client, orders, "g", retry=retry, observer=Observer(), delete_on_ack=True)
    assert_type(consumer, sync.GroupConsumer[Order])
    assert_type(sync.GroupConsumer(client, [orders], "g"), sync.GroupConsumer[Order])
    assert_type(sync.GroupConsumer(client, (orders, orders), "g"), sync.GroupConsumer[Order])
    several: Sequence[sync.Source[Order]] = [orders, days]
    assert_type(sync.GroupConsumer(client, several, "g"), sync.GroupConsumer[Order])
    other = aio.Stream(asynchronous, "orders", codec=DataclassCodec(Order))
    sync.GroupConsumer(client, other, "g")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync.GroupConsumer(asynchronous, "orders", "g")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync.GroupConsumer(client, "orders", "g", min_idle_time=60)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

    def handle(delivery: sync.Delivery[Order]) -> None:
        assert_type(delivery.value.amount, float)
        assert_type(delivery.attempt, int)
        assert_type(delivery.effects, Sequence[str])
        delivery.emit(orders, delivery.value, at=delivery.id)
        delivery.emit("plain", {"n": 1})
        delivery.emit(orders, {"n": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
        delivery.execute("HINCRBY", "totals", delivery.value.order_id, 1)
        delivery.execute("HSET", "totals", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        delivery.fail(Retry("later", delay=timedelta(seconds=1)))
        assert_type(delivery.extend(), None)

    def handle_any(entry: Entry[Order]) -> None:
        raise Reject(entry.value.order_id)

    def handle_wrong(delivery: sync.Delivery[Totals]) -> None:
        del delivery

    def handle_batch(deliveries: Sequence[sync.Delivery[Order]]) -> None:
        for delivery in deliveries:
            handle(delivery)

    async def handle_later(delivery: sync.Delivery[Order]) -> None:
        del delivery

    def key_of(delivery: sync.Delivery[Order]) -> str:
        return delivery.value.order_id

    def listed(delivery: sync.Delivery[Order]) -> list[str]:
        return [delivery.value.order_id]

    consumer.run(handle, concurrency=8, key=key_of)
    consumer.run(handle_any, key=lambda delivery: delivery.value.order_id)
    consumer.run_batches(handle_batch, concurrency=2)
    consumer.run(handle_wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    consumer.run(handle_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    consumer.run(handle_batch)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    consumer.run_batches(handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    consumer.run(handle, key=listed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    by_key.run(handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    with consumer as entered:
        assert_type(entered, sync.GroupConsumer[Order])
        deliveries = consumer.read(count=1, wait=timedelta(seconds=1))
        assert_type(deliveries, Sequence[sync.Delivery[Order]])
        assert_type(consumer.reap(), Sequence[sync.Delivery[Order]])
        consumer.ack(*deliveries)
        consumer.nack(*deliveries, delay=timedelta(seconds=1))
        consumer.reject(deliveries[0], "no")
        consumer.nack(*deliveries, delay=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(consumer.pending(), Iterator[PendingEntry])
    assert_type(consumer.lag(), "int | None")
    assert_type(consumer.take_over("other"), int)
    assert_type(consumer.leave(), bool)
    with sync.stop_on_signals(consumer):
        consumer.stop(within=timedelta(seconds=5))


async def asynchronous_groups(client: redis.asyncio.Redis) -> None:
    """The same with await; a plain function is no handler there."""
    orders = aio.Stream(client, "orders", codec=DataclassCodec(Order))
    consumer = aio.GroupConsumer(client, [orders], "g")
    assert_type(consumer, aio.GroupConsumer[Order])

    async def handle(delivery: aio.Delivery[Order]) -> None:
        delivery.emit(orders, delivery.value)
        await delivery.extend()

    async def handle_batch(deliveries: Sequence[aio.Delivery[Order]]) -> None:
        await handle(deliveries[0])

    def plain(delivery: aio.Delivery[Order]) -> None:
        del delivery

    await consumer.run(handle, concurrency=8, key=lambda delivery: delivery.value.order_id)
    await consumer.run_batches(handle_batch)
    await consumer.run(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await consumer.run(handle_batch)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    consumer.run(handle)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    async with consumer:
        deliveries = await consumer.read()
        assert_type(deliveries, Sequence[aio.Delivery[Order]])
        await consumer.ack(*deliveries)
    async for entry in consumer.pending():
        assert_type(entry, PendingEntry)
    assert_type(await consumer.lag(), "int | None")


def shards(client: redis.Redis) -> None:
    """A sharded stream has the type of its codec, or that of the streams that it is made of."""
    texts = sync.ShardedStream(client, "orders", shards=4, key=lambda value: value["customer"])
    assert_type(texts, "sync.ShardedStream[dict[str, str]]")
    texts.append({"customer": "ann", "amount": 5})
    orders = sync.ShardedStream(client, "orders", shards=["a", "b"], key=customer_of, codec=DataclassCodec(Order))
    assert_type(orders, sync.ShardedStream[Order])
    assert_type(orders.append(Order("1", 1.0), idempotency_key="1"), EntryId)
    assert_type(orders.append_many([Order("1", 1.0)], times=lambda order: datetime.now(timezone.utc)), int)
    assert_type(orders.shards, "Sequence[sync.Stream[Order] | sync.PartitionedStream[Order]]")
    orders.append({"order_id": "1"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    daily = sync.ShardedStream(client, "daily", shards=4, key=customer_of, of=daily_of)
    assert_type(daily, sync.ShardedStream[Order])
    sync.ShardedStream(client, "daily", shards=4, key=customer_of, of=daily_of, codec=DataclassCodec(Order))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    sync.ShardedStream(client, "orders", shards=4, key=name_of, codec=DataclassCodec(Order))  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    sync.ShardedStream(client, "orders", shards=4)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

    def make(shard: sync.Source[Order], checkpoint: str) -> sync.CheckpointedReader[Order, Totals]:
        return sync.CheckpointedReader(client, shard, checkpoint, state=Totals())

    def handle(entry: Entry[Order], reader: sync.CheckpointedReader[Order, Totals]) -> None:
        reader.state.amount += entry.value.amount
        reader.emit(orders.shard_of(entry.value), entry.value)

    totals = sync.ShardedReader(client, orders, "totals", make, lease=timedelta(seconds=5))
    assert_type(totals, sync.ShardedReader[Order, Totals])
    totals.run(handle)
    totals.run(lambda entry: None)  # type: ignore[arg-type, misc]  # pyright: ignore[reportArgumentType]
    sync.ShardedReader(client, texts, "totals", make)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(sync.GroupConsumer(client, daily, "g"), sync.GroupConsumer[Order])
    assert_type(sync.Replayer(client, daily), sync.Replayer[Order])
    with sync.stop_on_signals(totals):
        assert_type(totals.shards, Sequence[str])


def customer_of(order: Order) -> str:
    """What an order is sharded by."""
    return order.order_id


def name_of(order: Gift) -> str:
    """The same, of narrower values only."""
    return order.note


def daily_of(client: redis.Redis, key: str) -> sync.PartitionedStream[Order]:
    """The stream of a shard."""
    return sync.PartitionedStream(client, key, codec=DataclassCodec(Order))


async def asynchronous_shards(client: redis.asyncio.Redis) -> None:
    """The same with await."""
    orders = aio.ShardedStream(client, "orders", shards=4, key=customer_of, codec=DataclassCodec(Order))
    assert_type(await orders.append(Order("1", 1.0)), EntryId)
    assert_type(await orders.append_many([Order("1", 1.0)]), int)
    assert_type(await orders.length(), int)

    def make(shard: aio.Source[Order], checkpoint: str) -> aio.CheckpointedReader[Order, Totals]:
        return aio.CheckpointedReader(client, shard, checkpoint, state=Totals())

    async def handle(entry: Entry[Order], reader: aio.CheckpointedReader[Order, Totals]) -> None:
        reader.state.amount += entry.value.amount

    def plain(entry: Entry[Order], reader: aio.CheckpointedReader[Order, Totals]) -> None:
        del entry, reader

    totals = aio.ShardedReader(client, orders, "totals", make)
    await totals.run(handle)
    await totals.run(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def deliveries(narrow: sync.Delivery[Gift]) -> Entry[Order]:
    """A delivery is an entry, and covariant as one."""
    return narrow


def entries(narrow: Entry[Gift]) -> Entry[Order]:
    """An entry is covariant."""
    return narrow


def handlers(handle: Callable[[Entry[Order]], None], asynchronous: Callable[[Entry[Order]], Awaitable[None]]) -> None:
    """A handler of a wider value serves a narrower one."""
    narrow: Callable[[Entry[Gift]], None] = handle
    twin: Callable[[Entry[Gift]], Awaitable[None]] = asynchronous
    del narrow, twin
