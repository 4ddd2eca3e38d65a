"""What dead, slow and stopped consumers leave behind, and who takes it over when."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import redis.asyncio

from streamkit.asyncio import Delivery, RetryPolicy
from tests.integration.asyncio._groups import (
    GROUP,
    Fields,
    Seen,
    consumers_in,
    consuming,
    letters_in,
    settled,
    strand,
)
from tests.integration.asyncio._readers import raw, write
from tests.integration.asyncio._recovering import LEASE, LONG, RELEASED, consumer_of, deliveries_of
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


# What the dead leave ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_what_a_dead_consumer_held_is_taken_over_on_an_idle_stream(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    await write(client, name, 1, 2, 3)
    began = time.monotonic()
    await strand(client, name, "dead", 3)
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(client, name, observer=recorder)

    async def run() -> None:
        await consumer.run(seen, concurrency=concurrency)

    async with running(run, stop=consumer.stop):
        await until(lambda: len(seen.handled) == 3)
        assert time.monotonic() - began > LEASE.total_seconds()
        await until(settled(client, name))
    # It was delivered to the one that died, so this is the second start at most.
    assert sorted(seen.tries) == [(1, 2), (2, 2), (3, 2)]
    assert sum(count for _, count in recorder.of("on_claimed")) == 3


async def test_what_a_former_process_of_the_same_name_held_is_found_at_once(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(230))
    await strand(client, name, "worker", 220)
    seen = Seen()
    consumer = consumer_of(client, name, "worker", lease=LONG)
    began = time.monotonic()
    async with consuming(consumer, seen):
        await until(settled(client, name))
        assert time.monotonic() - began < LONG.total_seconds() / 2
    assert sorted(seen.numbers) == list(range(230))
    assert {attempt for number, attempt in seen.tries if number < 220} == {2}
    assert {attempt for number, attempt in seen.tries if number >= 220} == {1}


@pytest.mark.steady
async def test_what_the_living_hold_is_left_alone(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    (first, _) = await strand(client, name, "other", 2)
    seen = Seen()
    async with consuming(consumer_of(client, name), seen):
        began = time.monotonic()
        while time.monotonic() - began < 4 * LEASE.total_seconds():
            # The other one keeps one of its two entries fresh.
            await raw(client).xclaim(name, GROUP, "other", 0, [first], justid=True)
            await pause(LEASE.total_seconds() / 8)
        assert seen.tries == [(2, 2)]
        assert await deliveries_of(client, name) == [("other", 1)]


async def test_what_was_delivered_too_often_is_buried_and_the_rest_goes_on(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2, 3)
    (_, pill, _) = await strand(client, name, "dead", 3)
    await raw(client).xclaim(name, GROUP, "dead", 0, [pill], retrycount=3, idle=100_000, justid=True)
    recorder, seen = Recorder(), Seen()
    async with consuming(consumer_of(client, name, observer=recorder), seen):
        await until(settled(client, name))
    assert sorted(seen.tries) == [(1, 2), (3, 2)]
    (letter,) = await letters_in(client, name)
    assert (str(letter.entry_id), letter.cause.value, letter.attempt, letter.consumer) == (pill, "abandoned", 3, "dead")
    assert letter.pairs == (b"n", b"2")
    ((entry, cause, _, _),) = recorder.of("on_buried")
    assert (entry.id, cause.value) == (pill, "abandoned")


# What the slow keep -------------------------------------------------------------------------------------------------


@pytest.mark.steady
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_handler_of_ten_times_min_idle_is_not_run_twice(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    lease = timedelta(seconds=0.3)
    recorder = Recorder()

    async def slowly(_: Delivery[Fields]) -> None:
        await pause(10 * lease.total_seconds())

    slow, quick = Seen(slowly), Seen()
    one = consumer_of(client, name, lease=lease, observer=recorder)
    other = consumer_of(client, name, lease=lease, observer=recorder)

    async def run() -> None:
        await one.run(slow, concurrency=concurrency)

    async with running(run, stop=one.stop):
        await write(client, name, 1)
        await until(lambda: slow.numbers == [1])
        async with consuming(other, quick):
            await write(client, name, 2)
            await until(lambda: slow.handled == [1])
            await until(settled(client, name))
    assert (slow.tries, quick.tries) == ([(1, 1)], [(2, 1)])
    assert recorder.of("on_claimed") == recorder.of("on_lease_lost") == []


@pytest.mark.steady
async def test_what_was_fetched_does_not_age_while_the_first_is_slow(client: redis.asyncio.Redis, name: str) -> None:
    count, slow_one = 400, 150
    recorder = Recorder()

    async def at_times(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == str(slow_one):
            await pause(5 * LEASE.total_seconds())

    seen, peers = Seen(at_times), Seen()
    await write(client, name, *range(count))
    async with consuming(consumer_of(client, name, observer=recorder), seen):
        await until(lambda: slow_one in seen.numbers)
        async with consuming(consumer_of(client, name, observer=recorder), peers):
            await until(lambda: slow_one in seen.handled)
            await until(settled(client, name))
    assert sorted(seen.numbers + peers.numbers) == list(range(count))
    assert {attempt for _, attempt in seen.tries + peers.tries} == {1}
    assert recorder.of("on_claimed") == recorder.of("on_lease_lost") == []


# What the stopped give back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_what_a_stop_gives_back_is_taken_by_a_peer_at_once_as_new(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    count, last_one = 3000, 200
    stopping: list[bool] = []

    async def stop_amid(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == str(last_one):
            one.stop()
            stopping.append(True)

    seen, peers = Seen(stop_amid), Seen()
    one = consumer_of(client, name, "one", lease=LONG)
    await write(client, name, *range(count))

    async def run() -> None:
        await one.run(seen, concurrency=concurrency)

    async with running(run) as first:
        await first.result()
    assert stopping == [True]
    # Given back, its count put back; the consumer that is gone is not in the group any more.
    left = await deliveries_of(client, name)
    assert left or concurrency > 1  # several may have cleared what was read when one of them stops
    assert set(left) <= {(RELEASED, 0)}
    assert "one" not in await consumers_in(client, name)
    began = time.monotonic()
    async with consuming(consumer_of(client, name, lease=LONG), peers):
        await until(settled(client, name))
        assert time.monotonic() - began < LONG.total_seconds() / 4
    assert sorted(seen.numbers + peers.numbers) == list(range(count))
    assert {attempt for _, attempt in seen.tries + peers.tries} == {1}


async def test_a_retry_of_a_stopped_consumer_reaches_a_peer_no_earlier_than_its_delay(
    client: redis.asyncio.Redis, name: str
) -> None:
    delay, lease = timedelta(seconds=1.2), timedelta(seconds=2)
    policy = RetryPolicy(max_deliveries=3, backoff=[delay])
    times: list[float] = []

    async def fail(_: Delivery[Fields]) -> None:
        times.append(time.monotonic())
        one.stop()
        raise ValueError

    async def note(_: Delivery[Fields]) -> None:
        times.append(time.monotonic())

    one = consumer_of(client, name, "one", lease=lease, retry=policy)
    seen = Seen(note)
    await write(client, name, 1)
    async with running(one.run, fail) as first:
        await first.result()
    assert await deliveries_of(client, name) == [(RELEASED, 1)]
    async with consuming(consumer_of(client, name, lease=lease, retry=policy), seen):
        await until(settled(client, name))
    assert seen.tries == [(1, 2)]
    failed, again = times
    assert delay.total_seconds() - 0.01 <= again - failed < 2 * lease.total_seconds()
