"""An own loop: read, ack, nack, reject, reap one step at a time; what is held is kept fresh, and nothing gets lost."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    Cause,
    Delivery,
    GroupConsumer,
    LeaseLost,
    PartitionedStream,
    Reject,
    Retry,
    RetryPolicy,
    ServerUnavailable,
)
from tests.integration.asyncio._groups import (
    GROUP,
    LEASE,
    Seen,
    consumer_of,
    consumers_in,
    consuming,
    letters_in,
    milliseconds,
    numbers_of,
    pending_in,
)
from tests.integration.asyncio._readers import numbers_in, told, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LONG = timedelta(seconds=10)
RELEASED = "streamkit:released"


# Reading and settling -----------------------------------------------------------------------------------------------


async def test_what_is_read_is_pending_until_it_is_acked(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(10))
    async with consumer_of(client, name) as consumer:
        first = await consumer.read(count=3)
        assert numbers_of(first) == [(0, 1), (1, 1), (2, 1)]
        rest = await consumer.read()
        assert numbers_of(rest) == [(n, 1) for n in range(3, 10)]
        assert await consumer.read() == []
        assert await pending_in(client, name) == [(entry_id, "a", 1) for entry_id in ids]
        await consumer.ack(*rest, first[1])
        assert [entry_id for entry_id, _, _ in await pending_in(client, name)] == [ids[0], ids[2]]
        await consumer.ack()
        await consumer.ack(first[1])  # once more does no harm
        await consumer.ack(first[0], first[2])
        assert await pending_in(client, name) == []
        assert await consumers_in(client, name) == {"a"}
    assert await consumers_in(client, name) == set()


async def test_a_read_that_does_not_wait_sees_what_came_since_the_last(client: redis.asyncio.Redis, name: str) -> None:
    async with consumer_of(client, name) as consumer:
        for number in range(3):
            assert await consumer.read() == []
            await write(client, name, number)
            assert numbers_of(await consumer.read()) == [(number, 1)]


async def test_a_read_waits_for_the_first_entry_as_long_as_it_is_told(client: redis.asyncio.Redis, name: str) -> None:
    async with consumer_of(client, name) as consumer:
        began = time.monotonic()
        assert await consumer.read(wait=timedelta(milliseconds=250)) == []
        assert 0.2 <= time.monotonic() - began < 5
        found = list[Any]()

        async def read() -> None:
            found.extend(await consumer.read(wait=LONG))

        async with running(read) as run:
            await pause(0.2)
            assert not run.done
            await write(client, name, 1)
            await run.result()
        assert numbers_of(found) == [(1, 1)]


@pytest.mark.steady
async def test_stop_ends_a_read_that_waits(client: redis.asyncio.Redis, name: str) -> None:
    async with consumer_of(client, name) as consumer:

        async def read() -> list[Any]:
            return list(await consumer.read(wait=LONG))

        async with running(read) as run:
            await pause(0.15)
            asked = time.monotonic()
            thread = threading.Thread(target=consumer.stop)
            thread.start()
            thread.join()
            assert await run.result() == []
            assert time.monotonic() - asked < 1
    await write(client, name, 1)
    async with consumer:  # what was stopped may be entered again
        assert numbers_of(await consumer.read(wait=LONG)) == [(1, 1)]


@pytest.mark.steady
async def test_what_is_nacked_comes_again_in_its_time_before_anything_new(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2, 3)
    recorder = Recorder()
    async with consumer_of(client, name, observer=recorder) as consumer:
        one, two, three = await consumer.read()
        began = time.monotonic()
        await consumer.nack(one, three, delay=timedelta(milliseconds=300))
        await consumer.nack(two)
        await write(client, name, 4)
        await pause(0.03)
        assert numbers_of(await consumer.read()) == [(2, 2), (4, 1)]
        assert time.monotonic() - began >= 0.02
        found = list[Any]()
        while len(found) < 2:
            found += await consumer.read(wait=LONG)
        assert sorted(numbers_of(found)) == [(1, 2), (3, 2)]
        assert time.monotonic() - began >= 0.3
        assert [(event[1], event[2]) for event in recorder.of("on_retry")] == [(1, 0.3), (1, 0.3), (1, 0.02)]


async def test_after_max_deliveries_a_nack_dead_letters(client: redis.asyncio.Redis, name: str) -> None:
    (entry_id,) = await write(client, name, 1)
    async with consumer_of(client, name) as consumer:
        for attempt in (1, 2, 3):
            (delivery,) = await consumer.read(wait=LONG)
            assert delivery.attempt == attempt
            await consumer.nack(delivery, delay=timedelta(0))
        assert await consumer.read() == []
    (letter,) = await letters_in(client, name)
    assert (letter.entry_id, letter.cause, letter.attempt) == (entry_id, Cause.EXHAUSTED, 3)
    assert await pending_in(client, name) == []


async def test_what_is_rejected_or_failed_goes_where_its_error_says(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2, 3, 4)
    async with consumer_of(client, name) as consumer:
        one, two, three, four = await consumer.read()
        await consumer.reject(one, "no such card")
        two.fail(Reject("two"))
        three.fail(Retry(delay=timedelta(0)))
        four.emit(f"{name}:out", four.value)
        three.emit(f"{name}:out", three.value)
        await consumer.ack(two, three, four)
        assert numbers_of(await consumer.read(wait=LONG)) == [(3, 2)]
        assert await numbers_in(client, f"{name}:out") == [4]
    letters = await letters_in(client, name)
    assert [(letter.fields[b"n"], letter.cause, letter.reason) for letter in letters] == [
        (b"1", Cause.REJECTED, "no such card"),
        (b"2", Cause.REJECTED, "two"),
    ]


async def test_what_is_left_unsettled_is_left_to_age_and_retries_are_given_back(
    client: redis.asyncio.Redis, name: str
) -> None:
    held, failed = await write(client, name, 1, 2)
    async with consumer_of(client, name) as consumer:
        _, second = await consumer.read()
        await consumer.nack(second)
    assert await pending_in(client, name) == [(held, "a", 1), (failed, RELEASED, 1)]
    seen = Seen()
    async with consuming(consumer_of(client, name, "b"), seen):
        await until(lambda: len(seen.handled) == 2)
    assert sorted(seen.tries) == [(1, 2), (2, 2)]


# Leases -------------------------------------------------------------------------------------------------------------


@pytest.mark.steady
async def test_what_is_held_is_kept_fresh_and_no_peer_takes_it(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    recorder, seen = Recorder(), Seen()
    async with consumer_of(client, name) as consumer:
        held = await consumer.read()
        async with consuming(consumer_of(client, name, "b", observer=recorder), seen):
            await pause(2.5 * LEASE.total_seconds())
            assert [entry.idle < LEASE async for entry in consumer.pending()] == [True, True]
        await consumer.ack(*held)
    assert seen.tries == []
    assert recorder.of("on_claimed") == []
    assert await pending_in(client, name) == []


async def test_extend_tells_who_has_lost_an_entry(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2, 3)
    async with consumer_of(client, name, min_idle_time=timedelta(minutes=1)) as consumer:
        one, two, three = await consumer.read()
        await pause(0.05)
        await one.extend()
        idle = [entry.idle async for entry in consumer.pending()]
        # Younger than the others by what passed before, however long it took to look.
        assert idle[0] + timedelta(milliseconds=49) <= min(idle[1:])
        await client.xclaim(name, GROUP, "thief", 0, [str(two.id)])
        await client.xack(name, GROUP, str(three.id))
        with pytest.raises(LeaseLost, match=f"entry {two.id} of '{name}' is lost to this consumer of group 'g'"):
            await two.extend()
        with pytest.raises(LeaseLost, match="it is not pending any more"):
            await three.extend()


async def test_an_ack_of_what_was_lost_is_told_where_effects_hang_on_it(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    recorder = Recorder()
    async with consumer_of(client, name, min_idle_time=timedelta(minutes=1), observer=recorder) as consumer:
        one, two = await consumer.read()
        await client.xclaim(name, GROUP, "thief", 0, [str(one.id)])
        for delivery in (one, two):
            delivery.emit(f"{name}:out", delivery.value)
        await consumer.ack(one, two)
    assert [error.entry_id for error in recorder.of("on_lease_lost")] == [str(one.id)]
    assert await numbers_in(client, f"{name}:out") == [2]
    assert await pending_in(client, name) == [(one.id, "thief", 2)]


# Failures -----------------------------------------------------------------------------------------------------------


async def test_what_a_lost_reply_brought_comes_with_a_later_read(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(6))
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky, consumer_of(shaky, name) as consumer:
            first, _ = await consumer.read(count=2)
            proxy.cut_after_request(matching=b"XREADGROUP")
            with pytest.raises(ServerUnavailable):
                await consumer.read(count=2)
            found = [*await consumer.read(), *await consumer.read()]
            assert sorted(numbers_of(found)) == [(n, 1) for n in range(2, 6)]
            proxy.cut_after_request(matching=b"XACK")
            with pytest.raises(ServerUnavailable):
                await consumer.ack(first)
            proxy.cut_before_request(matching=b"XACK")
            with pytest.raises(ServerUnavailable):
                await consumer.ack(*found[:2])
            assert await consumer.reap() == []
            await consumer.ack(*found[2:])
    assert await pending_in(client, name) == [(ids[1], "a", 1)]


async def test_stepping_through_partitions(client: redis.asyncio.Redis, name: str) -> None:
    days = PartitionedStream(client, name, retention=timedelta(days=3))
    await days.append({"n": 1})
    async with GroupConsumer(client, days, GROUP, "a", min_idle_time=LEASE) as consumer:
        (delivery,) = await consumer.read(wait=LONG)
        assert isinstance(delivery, Delivery)
        assert [delivery.stream] == await days.keys()
        await consumer.ack(delivery)
        assert await consumer.read() == []


async def test_before_any_partition_exists_a_read_waits_too(client: redis.asyncio.Redis, name: str) -> None:
    days = PartitionedStream(client, name, retention=timedelta(days=3))
    async with GroupConsumer(client, days, GROUP, "a") as consumer:
        assert await consumer.read(wait=timedelta(milliseconds=50)) == []
        await days.append({"n": 1})
        assert numbers_of(await consumer.read(wait=LONG)) == [(1, 1)]


async def test_a_group_that_is_gone_is_made_anew(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    recorder = Recorder()
    async with consumer_of(client, name, observer=recorder) as consumer:
        (delivery,) = await consumer.read()
        await client.delete(name)
        await consumer.nack(delivery)
        await write(client, name, 2)
        found = list[Any]()

        async def read() -> bool:
            found.extend(await consumer.read())
            return bool(found)

        await until(read)
        assert numbers_of(found) == [(2, 1)]
        await consumer.ack(*found)
    assert told(recorder, "on_group_missing")()
    assert await pending_in(client, name) == []


async def test_effects_of_a_policy_that_never_waits(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    async with consumer_of(client, name, retry=RetryPolicy(max_deliveries=2, backoff=milliseconds(0))) as consumer:
        (delivery,) = await consumer.read()
        await consumer.nack(delivery)
        (delivery,) = await consumer.read()
        assert delivery.attempt == 2
        await consumer.nack(delivery)
        assert await consumer.read() == []
    assert [letter.attempt for letter in await letters_in(client, name)] == [2]
