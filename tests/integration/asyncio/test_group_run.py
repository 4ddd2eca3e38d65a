"""Consumers of a group at work: each entry handled once, in order, acked, whatever the value, client or source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    NEW,
    CappedStream,
    DataclassCodec,
    Delivery,
    EntryId,
    GroupConsumer,
    JsonCodec,
    RawCodec,
    Reject,
    Retry,
    Stream,
)
from streamkit.testing import redis_server
from tests.integration.asyncio._groups import (
    GROUP,
    QUICK,
    Batches,
    Fields,
    Seen,
    consumers_in,
    consuming,
    groups_in,
    letters_in,
    numbers_of,
    pending_in,
    settled,
)
from tests.integration.asyncio._readers import limited, numbers_in, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.asyncio.test_clients import CLIENTS
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


async def many(client: redis.asyncio.Redis, name: str, count: int, first: int = 0) -> None:
    """Append many entries with a number each."""
    assert await Stream(client, name).append_many({"n": n} for n in range(first, first + count)) == count


async def nothing_is_left(client: redis.asyncio.Redis, name: str, group: str = GROUP) -> None:
    """Everything was acked, and the consumers have left."""
    assert await pending_in(client, name, group) == []
    assert await consumers_in(client, name, group) == set()
    assert await GroupConsumer(client, name, group).lag() == 0


async def test_every_entry_is_handled_once_in_order_and_acked(client: redis.asyncio.Redis, name: str) -> None:
    await many(client, name, 1500)
    seen = Seen()
    async with consuming(GroupConsumer(client, name, GROUP), seen):
        await until(lambda: len(seen.handled) == 1500)
        await many(client, name, 10, first=1500)
        await until(lambda: len(seen.handled) == 1510)
    assert seen.tries == [(n, 1) for n in range(1510)]
    await nothing_is_left(client, name)


async def test_batches_come_as_they_were_read_and_are_acked_together(client: redis.asyncio.Redis, name: str) -> None:
    await many(client, name, 1500)
    consumer, batches = GroupConsumer(client, name, GROUP, count=70), Batches()
    async with running(consumer.run_batches, batches, stop=consumer.stop):
        await until(lambda: len(batches.tries) == 1500)
    assert batches.tries == [(n, 1) for n in range(1500)]
    assert {len(batch) for batch in batches.batches} >= {1, 70}
    assert max(len(batch) for batch in batches.batches) == 70
    await nothing_is_left(client, name)


async def test_a_delivery_says_what_it_is(client: redis.asyncio.Redis, name: str) -> None:
    (entry_id,) = await write(client, name, 1)
    consumer, found = GroupConsumer(client, name, GROUP), list[Delivery[Fields]]()

    async def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{name}:out", {"n": 1})
        delivery.execute("INCR", f"{name}:n")
        assert delivery.effects == (f"XADD {name}:out", f"INCR {name}:n")
        found.append(delivery)

    async with consuming(consumer, handle):
        await until(lambda: len(found) == 1)
    (delivery,) = found
    assert (delivery.stream, delivery.id, delivery.time) == (name, entry_id, entry_id.time)
    assert (delivery.value, delivery.attempt) == ({"n": "1"}, 1)
    assert (delivery.group, delivery.consumer) == (GROUP, consumer.name)
    assert (consumer.group, GroupConsumer(client, name, GROUP, "me").name) == (GROUP, "me")
    assert consumer.name != GroupConsumer(client, name, GROUP).name
    assert delivery.effects == ()
    assert repr(delivery) == f"Delivery(stream={name!r}, id='{entry_id}', value={{'n': '1'}})"


# Values -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """A value."""

    order_id: str
    amount: float


ORDER = Order("ä-1", 2.5)


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (None, {"order_id": "ä-1", "amount": "2.5"}),
        (RawCodec(), {b"\xff": b"\x00", b"n": b""}),
        (JsonCodec(), {"a": [1, None, "ä"]}),
        (JsonCodec(loads=lambda data: Order(**json.loads(data)), dumps=lambda order: json.dumps(vars(order))), ORDER),
        (DataclassCodec(Order), ORDER),
    ],
    ids=["text", "raw", "json", "json-model", "dataclass"],
)
async def test_values_come_as_the_codec_reads_them(
    client: redis.asyncio.Redis, name: str, codec: Any, value: Any
) -> None:
    source: Any = Stream(client, name, codec=codec) if codec else Stream(client, name)
    found = list[Any]()
    for _ in range(3):
        await source.append(value)

    async def handle(delivery: Delivery[Any]) -> None:
        if delivery.attempt == 1 and not found:
            raise Retry(delay=timedelta(0))
        found.append(delivery.value)

    async with consuming(GroupConsumer(client, source, GROUP), handle):
        await until(lambda: len(found) == 3)
    assert found == [value] * 3
    await nothing_is_left(client, name)


@pytest.mark.steady
@pytest.mark.parametrize("make", sorted(CLIENTS.keys() - {"from_url", "host", "checked", "resp3"}))
async def test_any_client_will_do(redis_url: str, client: redis.asyncio.Redis, name: str, make: str) -> None:
    await write(client, name, *range(60))
    seen, failed = Seen(), set[int]()

    async def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        delivery.emit(f"{name}:out", delivery.value)
        if number == 30 and delivery.attempt == 1:
            raise Retry
        if number == 40:
            failed.add(number)
            raise Reject("for no reason")
        await seen(delivery)

    async with CLIENTS[make](redis_url) as special:
        consumer = GroupConsumer(special, name, GROUP, "a", retry=QUICK)
        async with consuming(consumer, handle):
            await until(lambda: len(seen.handled) == 59)
        await write(client, name, 60, 61)
        assert await consumer.lag() == 2
        async with consumer:
            (delivery, _) = await consumer.read(count=5, wait=timedelta(seconds=5))
            assert [entry.id async for entry in consumer.pending()] == [delivery.id, _.id]
            await delivery.extend()
            await consumer.ack(delivery)
            assert await GroupConsumer(special, name, GROUP, "b").take_over("a") == 1
            assert await GroupConsumer(special, name, GROUP, "b").leave()
    assert seen.handled == [n for n in range(60) if n not in {30, 40}] + [30]
    assert sorted(await numbers_in(client, f"{name}:out")) == sorted(seen.handled)
    assert [letter.pairs for letter in await letters_in(client, name)] == [(b"n", b"40")]
    assert [(consumer, count) for _, consumer, count in await pending_in(client, name)] == [("streamkit:released", 1)]


# Groups and consumers -----------------------------------------------------------------------------------------------


async def test_two_idle_consumers_share_twenty_entries(client: redis.asyncio.Redis, name: str) -> None:
    async def work(_: Delivery[Fields]) -> None:
        await pause(0.04)

    one, two = Seen(work), Seen(work)
    first, second = (GroupConsumer(client, name, GROUP, each, count=100) for each in ("one", "two"))
    async with consuming(first, one), consuming(second, two):
        # Once as they have just begun; then as they know how long their work takes.
        for first_number in (0, 20):
            before = len(one.handled), len(two.handled)
            await many(client, name, 20, first=first_number)
            await until(lambda: len(one.handled) + len(two.handled) == sum(before) + 20)  # noqa: B023 - asked at once
            assert len(one.handled) - before[0] >= 3
            assert len(two.handled) - before[1] >= 3
    assert sorted(one.tries + two.tries) == [(n, 1) for n in range(40)]
    await nothing_is_left(client, name)


async def test_each_group_sees_everything(client: redis.asyncio.Redis, name: str) -> None:
    await many(client, name, 100)
    one, two = Seen(), Seen()
    async with consuming(GroupConsumer(client, name, "one"), one), consuming(GroupConsumer(client, name, "two"), two):
        await until(lambda: len(one.handled) == len(two.handled) == 100)
    assert one.handled == two.handled == list(range(100))
    for group in ("one", "two"):
        await nothing_is_left(client, name, group)


async def test_several_sources_are_read_together(client: redis.asyncio.Redis, name: str) -> None:
    keys = [f"{name}:{which}" for which in "abc"]
    sources = [Stream(client, keys[0]), CappedStream(client, keys[1], maxlen=1000), Stream(client, keys[2])]
    found = list[tuple[str, int]]()

    async def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number == 7:
            raise Reject("seven")
        found.append((delivery.stream, number))

    for key in keys:
        await many(client, key, 50)
    consumer = GroupConsumer(client, sources, GROUP, "a")
    async with consuming(consumer, handle):

        async def nothing_pending() -> bool:
            return [each.stream async for each in consumer.pending()] == []

        await until(lambda: len(found) == 147)
        await until(nothing_pending)
        for key in keys:  # what comes to any of them is read soon, though only so many are waited for
            await many(client, key, 1, first=50)
        await until(lambda: len(found) == 150)
    for key in keys:
        assert [n for stream, n in found if stream == key] == [n for n in range(51) if n != 7]
        assert [letter.stream for letter in await letters_in(client, key)] == [key]
        await nothing_is_left(client, key)


async def test_keys_alone_will_do_and_may_share_their_dead_letters(client: redis.asyncio.Redis, name: str) -> None:
    keys = [f"{name}:a", f"{name}:b"]
    letters = f"{name}:dead-letters"
    consumer = GroupConsumer(client, keys, GROUP, "a", dead_letters=letters)

    async def handle(delivery: Delivery[Fields]) -> None:
        raise Reject(f"nobody wants {delivery.value['n']}")

    for key in keys:
        await many(client, key, 2)

    async def four() -> bool:
        return len(await letters_in(client, letters)) == 4

    async with consuming(consumer, handle):
        await until(four)
    found = sorted((letter.stream, letter.reason) for letter in await letters_in(client, letters))
    assert found == [(key, f"nobody wants {n}") for key in keys for n in range(2)]


async def test_a_stream_that_does_not_exist_yet_is_waited_for(client: redis.asyncio.Redis, name: str) -> None:
    seen = Seen()
    async with consuming(GroupConsumer(client, name, GROUP, "a"), seen):

        async def joined() -> bool:
            return GROUP in await groups_in(client, name)

        await until(joined)
        await write(client, name, 1, 2)
        await until(lambda: seen.handled == [1, 2])
    await nothing_is_left(client, name)


# Where a new group begins -------------------------------------------------------------------------------------------


async def first_of(client: redis.asyncio.Redis, name: str, group: str, start: Any, last: int) -> list[int]:
    """What a group with this start is given, up to a number."""
    consumer = GroupConsumer(client, name, group, start=start)

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == str(last):
            consumer.stop()

    seen = Seen(handle)
    with limited(consumer):
        await consumer.run(seen)
    return seen.handled


async def test_a_new_group_begins_where_start_says_and_an_old_one_where_it_was(
    client: redis.asyncio.Redis, name: str
) -> None:
    at = datetime(2025, 1, 1, tzinfo=timezone.utc)
    stream = Stream(client, name)
    for n in range(5):
        await stream.append({"n": n}, at=at + n * timedelta(seconds=1))
    second = timedelta(seconds=1)
    assert await first_of(client, name, "oldest", None, 4) == [0, 1, 2, 3, 4]
    assert await first_of(client, name, "time", at + 2 * second, 4) == [2, 3, 4]
    assert await first_of(client, name, "id", EntryId.at(at + 3 * second), 4) == [3, 4]
    assert await first_of(client, name, "text", str(EntryId.at(at + 4 * second)), 4) == [4]
    consumer, seen = GroupConsumer(client, name, "new", start=NEW), Seen()
    async with consuming(consumer, seen):

        async def joined() -> bool:
            return "new" in await groups_in(client, name)

        await until(joined)
        await stream.append({"n": 5})
        await until(lambda: seen.handled == [5])
    await stream.append({"n": 6})
    # Who was there before goes on where it was, whatever start says: nothing is skipped, nothing comes twice.
    assert await first_of(client, name, "new", NEW, 6) == [6]
    assert await first_of(client, name, "time", None, 6) == [5, 6]


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("way", ["run", "run_batches"])
async def test_what_a_handler_returns_is_nobodys_business(
    client: redis.asyncio.Redis, name: str, way: str, concurrency: int
) -> None:
    handled = list[tuple[int, int]]()

    async def count(*given: Any) -> Any:
        deliveries: Any = given[0] if way == "run_batches" else given
        handled.extend(numbers_of(deliveries))
        return len(handled)

    consumer = GroupConsumer(client, name, GROUP, "a", retry=QUICK)

    async def run() -> None:
        await getattr(consumer, way)(count, concurrency=concurrency)

    await write(client, name, 1, 2, 3)
    async with running(run, stop=consumer.stop):
        await until(settled(client, name))
    assert sorted(handled) == [(1, 1), (2, 1), (3, 1)]


async def test_a_server_that_evicts_keys_is_told_of_at_the_start() -> None:
    recorder, seen = Recorder(), Seen()
    with redis_server(settings={"maxmemory-policy": "allkeys-lru"}) as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, "s", 1)
            async with consuming(GroupConsumer(client, "s", GROUP, "a", observer=recorder), seen):
                await until(lambda: seen.handled == [1])
    assert recorder.of("on_eviction_policy") == ["allkeys-lru"]
