"""Replies that are lost between a consumer and its server, wherever they are lost."""

from __future__ import annotations

import itertools
import random

import pytest
import redis
import redis.asyncio

from streamkit._core.scripts import BEGIN, CLAIM, SETTLE
from streamkit.asyncio import Delivery, RetryPolicy
from tests.integration.asyncio._failing import LEASE, calls_of, consumer_of, through
from tests.integration.asyncio._groups import (
    GROUP,
    Fields,
    Seen,
    consuming,
    letters_in,
    milliseconds,
    of_size,
    settled,
    strand,
)
from tests.integration.asyncio._readers import numbers_in, raw, told, write
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

FAULTS = ["cut_before_request", "cut_after_request", "cut_amid_reply"]


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("loss", [*itertools.product(FAULTS, [b"XREADGROUP", b"XACK"])])
async def test_a_lost_read_or_ack_has_nothing_handled_twice(
    redis_url: str, client: redis.asyncio.Redis, name: str, loss: tuple[str, bytes], concurrency: int
) -> None:
    (fault, command), count = loss, 300
    recorder, seen = Recorder(), Seen()
    await write(client, name, *range(count))
    async with through(redis_url) as (proxy, cut):
        for nth in (2, 5, 9):
            getattr(proxy, fault)(matching=command, nth=nth)
        consumer = consumer_of(cut, name, recorder)

        async def run() -> None:
            await consumer.run(seen, concurrency=concurrency)

        async with running(run, stop=consumer.stop):
            await until(settled(client, name))
            await write(client, name, *range(count, 2 * count))
            await until(settled(client, name))
        assert proxy.cuts >= 2
    assert sorted(seen.numbers) == list(range(2 * count))
    assert {attempt for _, attempt in seen.tries} == {1}
    assert recorder.of("on_lease_lost") == recorder.of("on_unsettled") == []


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_settling_has_effects_applied_once(
    redis_url: str, client: redis.asyncio.Redis, name: str, fault: str, concurrency: int
) -> None:
    count = 200

    async def copy(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{{{name}}}:out", delivery.value)
        delivery.execute("HINCRBY", f"{{{name}}}:sums", "seen", 1)

    recorder, seen = Recorder(), Seen(copy)
    await write(client, name, *range(count))
    async with through(redis_url) as (proxy, cut):
        for nth in (1, 3, 4):
            getattr(proxy, fault)(matching=calls_of(SETTLE), nth=nth)
        consumer = consumer_of(cut, name, recorder)

        async def run() -> None:
            await consumer.run(seen, concurrency=concurrency)

        async with running(run, stop=consumer.stop):
            await until(settled(client, name))
        assert proxy.cuts >= 2
    assert sorted(seen.tries) == [(n, 1) for n in range(count)]
    assert sorted(await numbers_in(client, f"{{{name}}}:out")) == list(range(count))
    assert await raw(client).hget(f"{{{name}}}:sums", "seen") == str(count).encode()
    assert recorder.of("on_lease_lost") == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_dead_letter_is_written_once(
    redis_url: str, client: redis.asyncio.Redis, name: str, fault: str
) -> None:
    async def fail(_: Delivery[Fields]) -> None:
        raise ValueError

    recorder, seen = Recorder(), Seen(fail)
    await write(client, name, 1)
    async with through(redis_url) as (proxy, cut):
        getattr(proxy, fault)(matching=calls_of(SETTLE))
        async with consuming(consumer_of(cut, name, recorder), seen):
            await until(lambda: proxy.cuts == 1)
            await until(settled(client, name))
    assert seen.tries == [(1, 1), (1, 2), (1, 3)]
    assert [(letter.cause.value, letter.attempt) for letter in await letters_in(client, name)] == [("exhausted", 3)]
    assert len(recorder.of("on_buried")) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_start_of_a_retry_is_made_again(
    redis_url: str, client: redis.asyncio.Redis, name: str, fault: str
) -> None:
    async def fail_first(delivery: Delivery[Fields]) -> None:
        if delivery.attempt == 1:
            raise ValueError

    seen = Seen(fail_first)
    await write(client, name, 1)
    async with through(redis_url) as (proxy, cut):
        getattr(proxy, fault)(matching=calls_of(BEGIN))
        async with consuming(consumer_of(cut, name, Recorder()), seen):
            await until(lambda: proxy.cuts == 1)
            await until(settled(client, name))
    # Whether the one that was lost was counted is not known: a start may be missing, and none is doubled.
    assert seen.tries in ([(1, 1), (1, 2)], [(1, 1), (1, 3)])
    assert await letters_in(client, name) == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_was_taken_over_in_a_lost_reply_is_handled(
    redis_url: str, client: redis.asyncio.Redis, name: str, fault: str
) -> None:
    await write(client, name, 1, 2, 3)
    await strand(client, name, "dead", 3)
    seen = Seen()
    async with through(redis_url) as (proxy, cut):
        for nth in (1, 2, 3):
            getattr(proxy, fault)(matching=calls_of(CLAIM), nth=nth)
        async with consuming(consumer_of(cut, name, Recorder(), lease=LEASE), seen):
            await until(settled(client, name))
    assert sorted(seen.numbers) == [1, 2, 3]


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_ack_of_what_ran_alone_has_it_handled_once(
    redis_url: str, client: redis.asyncio.Redis, name: str, fault: str, concurrency: int
) -> None:
    await write(client, name, 1, 2, 3)
    ids = await strand(client, name, "dead", 3)
    # They were begun before, so that each of them runs alone and is settled at once.
    await raw(client).xclaim(name, GROUP, "dead", 0, ids, retrycount=2, idle=100_000, justid=True)
    seen = Seen()
    async with through(redis_url) as (proxy, cut):
        for nth in (1, 2):
            getattr(proxy, fault)(matching=b"XACK", nth=nth)
        consumer = consumer_of(cut, name, Recorder(), retry=RetryPolicy(max_deliveries=5))

        async def run() -> None:
            await consumer.run(seen, concurrency=concurrency)

        async with running(run, stop=consumer.stop):
            await until(settled(client, name))
    assert sorted(seen.tries) == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("seed", range(3))
async def test_cuts_at_random_lose_nothing_and_double_no_effect(
    redis_url: str, client: redis.asyncio.Redis, name: str, seed: int
) -> None:
    count = 400
    dice = random.Random(seed)

    async def copy(delivery: Delivery[Fields]) -> None:
        if dice.random() < 0.05:
            raise ValueError
        delivery.emit(f"{{{name}}}:out", delivery.value)

    recorder, seen = Recorder(), Seen(copy)
    await write(client, name, *range(count))
    async with through(redis_url) as (proxy, cut):
        retry = RetryPolicy(max_deliveries=50, backoff=milliseconds(10))
        consumer = consumer_of(cut, name, recorder, count=20, retry=retry)

        async def run() -> None:
            await consumer.run(seen, concurrency=1 + seed)

        async with running(run, stop=consumer.stop):
            await until(lambda: bool(seen.tries))
            proxy.cut_after_request(nth=10)
            proxy.cut_at_random(0.03, dice)
            await until(settled(client, name))
            proxy.clear()
        assert proxy.cuts
    assert sorted(await numbers_in(client, f"{{{name}}}:out")) == list(range(count))
    assert recorder.of("on_lease_lost") == []


async def test_a_connection_that_is_killed_while_it_waits_is_made_again(client: redis.asyncio.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(client, name, recorder)
    async with consuming(consumer, seen):
        await write(client, name, 0)
        for n in range(1, 4):
            await until(of_size(seen.handled, n))
            assert await raw(client).client_kill_filter(_type="normal", skipme=True) >= 1
            await until(told(recorder, "on_unavailable", n))
            await write(client, name, n)
        await until(settled(client, name))
    assert seen.tries == [(n, 1) for n in range(4)]
    assert recorder.of("on_available")
    assert recorder.of("on_lease_lost") == []
