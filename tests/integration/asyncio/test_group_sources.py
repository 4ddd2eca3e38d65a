"""Several sources in one consumer: each gets its turn and its dead letters; trouble with one leaves others alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    NEW,
    CappedStream,
    DataclassCodec,
    Delivery,
    GroupConsumer,
    Observer,
    PartitionedStream,
    Reject,
    RetryPolicy,
    Source,
    Stream,
)
from tests.integration.asyncio._groups import (
    GROUP,
    QUICK,
    Fields,
    Seen,
    letters_in,
    milliseconds,
    pending_in,
    settled,
    strand,
)
from tests.integration.asyncio._readers import raw, told, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LONG = timedelta(seconds=60)
BOTH = pytest.mark.parametrize("concurrency", [1, 4])


def consumer_of(client: redis.asyncio.Redis, *sources: str, **options: Any) -> GroupConsumer[Fields]:
    """A consumer of keys that is silent unless it has an observer."""
    terms: dict[str, Any] = {"retry": QUICK, "observer": Observer(), "min_idle_time": LONG, **options}
    return GroupConsumer(client, list(sources), GROUP, **terms)


def loop(consumer: GroupConsumer[Any], handler: Any, concurrency: int = 1) -> Callable[[], Coroutine[Any, Any, None]]:
    """Running a consumer with so many handlers."""

    async def run() -> None:
        await consumer.run(handler, concurrency=concurrency)

    return run


async def all_settled(client: redis.asyncio.Redis, *keys: str) -> bool:
    """Whether everything in these streams was handed out, and nothing of it is pending."""
    done = [await settled(client, key)() for key in keys]
    return all(done)


@dataclass(frozen=True)
class Order:
    """What streams of a codec hold."""

    n: int


async def test_streams_of_one_codec_are_consumed_together_and_each_has_its_dead_letters(
    client: redis.asyncio.Redis, name: str
) -> None:
    codec = DataclassCodec(Order)
    one, two = f"{name}:one", f"{name}:two"
    sources = [Stream(client, one, codec=codec), CappedStream(client, two, maxlen=1000, codec=codec)]
    for n, source in enumerate(2 * sources):
        await source.append(Order(n))
    found: list[tuple[str, int]] = []

    async def handle(delivery: Delivery[Order]) -> None:
        found.append((delivery.stream, delivery.value.n))
        if delivery.value.n > 1:
            msg = "too many"
            raise Reject(msg)

    consumer = GroupConsumer(client, sources, GROUP, observer=Observer())
    async with running(loop(consumer, handle), stop=consumer.stop):
        await until(lambda: len(found) == 4)
        consumer.stop()
    assert sorted(found) == [(one, 0), (one, 2), (two, 1), (two, 3)]
    for key, value in ((one, b"2"), (two, b"3")):
        (letter,) = await letters_in(client, key)
        assert (letter.stream, letter.cause.value, letter.reason, letter.pairs) == (
            key,
            "rejected",
            "too many",
            (b"n", value),
        )


async def test_a_stream_and_partitions_are_consumed_together(client: redis.asyncio.Redis, name: str) -> None:
    days = PartitionedStream(client, f"{name}:days")
    sources: list[Source[Fields]] = [Stream(client, f"{name}:one"), days]
    seen = Seen()
    consumer = GroupConsumer(client, sources, GROUP, observer=Observer())
    async with running(loop(consumer, seen), stop=consumer.stop):
        await write(client, f"{name}:one", 0, 1)
        await days.append({"n": 2})
        await until(lambda: len(seen.handled) == 3)
        await write(client, f"{name}:one", 3)
        await days.append({"n": 4})
        await until(lambda: len(seen.handled) == 5)
    assert sorted(seen.tries) == [(n, 1) for n in range(5)]


# Turns --------------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_flooded_source_does_not_keep_the_other_waiting(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    flooded, other = f"{name}:flooded", f"{name}:other"
    async with client.pipeline(transaction=False) as pipe:
        queue: Any = pipe
        for n in range(20_000):
            queue.xadd(flooded, {"n": n})
        await pipe.execute()
    await write(client, other, *range(-50, 0))
    seen = Seen()
    consumer = consumer_of(client, flooded, other)
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: len([n for n in seen.numbers if n < 0]) == 50)
        begun = len(seen.numbers)
        await write(client, other, -51)
        await until(lambda: -51 in seen.handled)
    assert begun < 10_000
    assert [n for n in seen.numbers if n < 0] == [*range(-50, 0), -51]


@pytest.mark.steady
@BOTH
async def test_an_entry_in_either_source_is_handled_promptly(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    keys = [f"{name}:one", f"{name}:two", f"{name}:three"]
    seen = Seen()
    consumer = consumer_of(client, *keys)
    await write(client, keys[0], -1)
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: seen.handled == [-1])
        waits: list[float] = []
        for n in range(12):
            await pause(0.05)
            began = time.monotonic()
            await write(client, keys[n % 3], n)
            await until(lambda: len(seen.handled) == n + 2)  # noqa: B023 - asked before n changes
            waits.append(time.monotonic() - began)
    assert sorted(waits)[-3] < 0.2


@pytest.mark.steady
@BOTH
async def test_one_source_is_slow_to_handle_and_the_other_goes_on(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    slow, other = f"{name}:slow", f"{name}:other"

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.stream == slow:
            await pause(0.03)

    await write(client, slow, *range(300))
    seen = Seen(handle)
    consumer = consumer_of(client, slow, other)
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: len(seen.handled) > 20)
        began = time.monotonic()
        await write(client, other, -1)
        await until(lambda: -1 in seen.handled)
        # Behind what is held ahead, which is what is handled in a second.
        assert time.monotonic() - began < 2
        assert len(seen.handled) < 300


# Beginning ----------------------------------------------------------------------------------------------------------


async def test_start_counts_for_the_source_that_is_new_to_the_group_only(
    client: redis.asyncio.Redis, name: str
) -> None:
    known, new = f"{name}:known", f"{name}:new"
    await write(client, known, 1)
    first = consumer_of(client, known)
    async with running(loop(first, Seen()), stop=first.stop):
        await until(settled(client, known))
    await write(client, known, 2)
    await write(client, new, 3)
    seen = Seen()
    both = consumer_of(client, known, new, start=NEW)
    async with running(loop(both, seen), stop=both.stop):
        await until(lambda: seen.handled == [2])
        await until(settled(client, new))
        await write(client, new, 4)
        await until(lambda: len(seen.handled) == 2)
    assert seen.numbers == [2, 4]


async def test_what_is_written_before_new_is_read_is_not_lost(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    first = consumer_of(client, name, start=NEW)
    async with running(loop(first, Seen()), stop=first.stop):
        await until(settled(client, name))
    await write(client, name, 2)
    seen = Seen()
    again = consumer_of(client, name, start=NEW)
    async with running(loop(again, seen), stop=again.stop):
        await until(settled(client, name))
    assert seen.numbers == [2]


async def test_lag_and_pending_are_those_of_all_sources(client: redis.asyncio.Redis, name: str) -> None:
    one, two = f"{name}:one", f"{name}:two"
    await write(client, one, 1, 2, 3)
    await write(client, two, 4, 5)
    consumer = consumer_of(client, one, two)
    assert await consumer.lag() == 5
    await strand(client, one, "a", 1)
    await strand(client, two, "b", 2)
    assert await consumer.lag() == 2
    found = [(entry.stream, entry.consumer, entry.deliveries) async for entry in consumer.pending()]
    assert found == [(one, "a", 1), (two, "b", 1), (two, "b", 1)]


# Trouble with one ---------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("trouble", ["deleted", "without group"])
async def test_trouble_with_one_source_leaves_the_others_alone(
    client: redis.asyncio.Redis, name: str, trouble: str, concurrency: int
) -> None:
    keys = [f"{name}:one", f"{name}:two"]
    doors: list[bool] = []

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "5":
            await until(lambda: bool(doors))
        if delivery.stream == keys[0] and delivery.attempt == 1 and int(delivery.value["n"]) % 10 == 3:
            raise ValueError

    seen, recorder = Seen(handle), Recorder()
    policy = RetryPolicy(max_deliveries=3, backoff=milliseconds(400))
    consumer = consumer_of(client, *keys, retry=policy, observer=recorder)
    await write(client, keys[0], *range(200))
    await write(client, keys[1], 1000)
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: 5 in seen.numbers and 1000 in seen.handled)
        # In the hands of the consumer are entries of the first, some waiting to be handled again.
        if trouble == "deleted":
            await client.delete(keys[1])
        else:
            await raw(client).xgroup_destroy(keys[1], GROUP)
        await write(client, keys[1], 1001)
        doors.append(True)
        await until(lambda: all_settled(client, *keys))
    assert set(seen.handled) == {*range(200), 1000, 1001}
    assert sorted(seen.tries) == sorted(
        [
            *((n, 1) for n in range(200)),
            *((n, 2) for n in range(3, 200, 10)),
            *((n, 1) for n in seen.numbers if n >= 1000),
        ]
    )
    assert recorder.of("on_group_missing") == [(keys[1], GROUP)]


@BOTH
async def test_a_source_deleted_while_it_is_waited_for_is_made_anew(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    keys = [f"{name}:one", f"{name}:two", f"{name}:three"]
    seen, recorder = Seen(), Recorder()
    for n, key in enumerate(keys):
        await write(client, key, n)
    consumer = consumer_of(client, *keys, observer=recorder)
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 3)
        for n, key in enumerate(keys, 10):
            await client.delete(key)
            await until(told(recorder, "on_group_missing", n - 9))
            await write(client, key, n)
            await until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
        await client.delete(*keys)
        for n, key in enumerate(keys, 20):
            await write(client, key, n)
        await until(lambda: len(seen.handled) == 9)
        await until(lambda: all_settled(client, *keys))
    assert sorted(seen.tries) == [(n, 1) for n in (0, 1, 2, 10, 11, 12, 20, 21, 22)]


@BOTH
async def test_what_is_in_hand_of_one_source_survives_the_loss_of_another(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    broken, other, echo = (f"{name}:{each}" for each in ("broken", "other", "echo"))

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "1000":
            delivery.emit(echo, {"n": 1000})
            if seen.numbers.count(1000) == 1:
                await raw(client).xgroup_destroy(broken, GROUP)
        if delivery.value["n"] == "0":
            await pause(0.7)

    seen, recorder = Seen(handle), Recorder()
    consumer = consumer_of(client, broken, other, observer=recorder)
    await write(client, other, *range(-300, 0))
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 300)
        await until(settled(client, other))
        await pause(0.2)
        # Both come with one blocking read.
        async with client.pipeline(transaction=True) as pipe:
            queue: Any = pipe
            for n in range(300):
                queue.xadd(other, {"n": n})
            queue.xadd(broken, {"n": 1000})
            await pipe.execute()
        await until(lambda: all_settled(client, broken, other))
    assert sorted(n for n in seen.numbers if n < 1000) == list(range(-300, 300))
    assert recorder.of("on_group_missing") == [(broken, GROUP)]


# Trimmed ------------------------------------------------------------------------------------------------------------


async def test_what_was_trimmed_before_it_was_read_is_counted_in_its_own_dead_letters(
    client: redis.asyncio.Redis, name: str
) -> None:
    kept, capped = f"{name}:kept", f"{name}:capped"
    stream = CappedStream(client, capped, maxlen=10, approximate=False)
    await write(client, kept, *range(100, 130))
    doors: list[bool] = []

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "0":
            await until(lambda: bool(doors))

    seen, recorder = Seen(handle), Recorder()
    consumer = consumer_of(client, kept, capped, observer=recorder)
    (first,) = [await stream.append({"n": 0})]
    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(lambda: 0 in seen.numbers)
        ids = [await stream.append({"n": n}) for n in range(1, 31)]
        doors.append(True)
        await until(lambda: all_settled(client, kept, capped))
        await until(told(recorder, "on_unread"))
    assert sorted(seen.handled) == [0, *range(21, 31), *range(100, 130)]
    ((key, group, lost, after, before),) = recorder.of("on_unread")
    assert (key, group, lost, after, before) == (capped, GROUP, 20, str(first), str(ids[20]))
    (letter,) = await letters_in(client, capped)
    assert (letter.cause.value, letter.count, letter.first, letter.last) == ("unread", 20, first, ids[20])
    assert await letters_in(client, kept) == []


async def test_what_was_trimmed_while_it_was_pending_is_recorded_by_its_id(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream = CappedStream(client, name, maxlen=4, approximate=False)
    ids = [await stream.append({"n": n}) for n in range(4)]
    await strand(client, name, "dead", 4)
    for n in range(4, 6):
        await stream.append({"n": n})
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(client, name, min_idle_time=timedelta(seconds=0.3), observer=recorder)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(settled(client, name))
    assert sorted(seen.tries) == [(2, 2), (3, 2), (4, 1), (5, 1)]
    letters = await letters_in(client, name)
    assert [(letter.cause.value, letter.entry_id, letter.pairs) for letter in letters] == [
        ("trimmed", ids[0], ()),
        ("trimmed", ids[1], ()),
    ]
    assert [entry.id for entry, _, _, _ in recorder.of("on_buried")] == [str(ids[0]), str(ids[1])]


async def test_what_goes_before_a_new_group_reads_anything_is_counted_too(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream = CappedStream(client, name, maxlen=10, approximate=False)
    for n in range(15):
        await stream.append({"n": n})
    await raw(client).xtrim(name, maxlen=0, approximate=False)
    first = consumer_of(client, name)
    async with running(loop(first, Seen()), stop=first.stop):

        async def looked() -> bool:
            groups = await raw(client).xinfo_groups(name)
            return [each["entries-read"] for each in groups] == [15]

        await until(looked)
    for n in range(15, 40):
        await stream.append({"n": n})
    recorder, seen = Recorder(), Seen()
    again = consumer_of(client, name, observer=recorder)
    async with running(loop(again, seen), stop=again.stop):
        await until(settled(client, name))
    assert seen.numbers == list(range(30, 40))
    assert [lost for _, _, lost, _, _ in recorder.of("on_unread")] == [15]


async def test_nothing_is_lost_silently_or_doubled_while_a_stream_is_capped_and_flooded(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream = CappedStream(client, name, maxlen=200, approximate=False)
    total = 3000

    async def produce() -> None:
        for first in range(1, total, 50):
            await stream.append_many({"n": n} for n in range(first, min(total, first + 50)))

    async def slowly(_: Delivery[Fields]) -> None:
        await pause(0.001)

    ones, others = Seen(slowly), Seen(slowly)
    recorder = Recorder()
    consumers = [consumer_of(client, name, observer=recorder) for _ in range(2)]
    await stream.append({"n": 0})
    async with (
        running(loop(consumers[0], ones), stop=consumers[0].stop),
        running(loop(consumers[1], others, 3), stop=consumers[1].stop),
    ):
        await until(settled(client, name))
        async with running(produce) as producing:
            await producing.result()
        await until(settled(client, name))
    handled = sorted(ones.handled + others.handled)
    assert len(handled) == len(set(handled))
    lost = sum(letter.count for letter in await letters_in(client, name))
    assert len(handled) + lost == total
    assert lost == sum(count for _, _, count, _, _ in recorder.of("on_unread")) > 0
    assert await pending_in(client, name) == []
