"""Taking over and leaving, by hand: reap, take_over, leave, and what they count."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis.asyncio

from streamkit.asyncio import Cause, Stream
from tests.integration.asyncio._groups import (
    LEASE,
    Seen,
    consumer_of,
    consumers_in,
    consuming,
    letters_in,
    numbers_of,
    pending_in,
    strand,
)
from tests.integration.asyncio._readers import write
from tests.integration.asyncio._runtime import pause, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

RELEASED = "streamkit:released"


@pytest.mark.steady
async def test_reap_takes_what_nobody_is_handling_and_counts_it(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(6))
    await strand(client, name, "a", 2)  # this consumer's own, from before
    await strand(client, name, "dead", 2)
    recorder = Recorder()
    async with consumer_of(client, name, observer=recorder) as consumer:
        assert numbers_of(await consumer.read()) == [(4, 1), (5, 1)]
        assert sorted(numbers_of(await consumer.reap())) == [(0, 2), (1, 2)]
        assert await consumer.reap() == []  # the others' are not idle for long enough
        await pause(LEASE.total_seconds())
        assert numbers_of(await consumer.reap(count=1)) == [(2, 2)]
        assert numbers_of(await consumer.reap()) == [(3, 2)]
        assert await consumer.reap() == []
    assert recorder.of("on_claimed") == [(name, 2), (name, 2)] or recorder.of("on_claimed") == [
        (name, 2),
        (name, 1),
        (name, 1),
    ]


async def test_reap_dead_letters_what_was_handed_out_too_often(client: redis.asyncio.Redis, name: str) -> None:
    (entry_id,) = await write(client, name, 1)
    for attempt in (1, 2, 3):
        async with consumer_of(client, name) as consumer:
            read = consumer.reap if attempt > 1 else consumer.read
            assert numbers_of(await read()) == [(1, attempt)]
    recorder = Recorder()
    async with consumer_of(client, name, observer=recorder) as consumer:
        assert await consumer.reap() == []
    ((entry, cause, _, _),) = recorder.of("on_buried")
    assert (entry.id, cause) == (str(entry_id), Cause.ABANDONED)
    (letter,) = await letters_in(client, name)
    assert (letter.cause, letter.consumer, letter.attempt, letter.pairs) == (Cause.ABANDONED, "a", 3, (b"n", b"1"))
    assert await pending_in(client, name) == []


async def test_take_over_moves_everything_and_counts_nothing(client: redis.asyncio.Redis, name: str) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(250))
    ids = await strand(client, name, "old", 250)
    consumer = consumer_of(client, name, "new")
    assert await consumer.take_over("old") == 250
    assert await consumer.take_over("old") == 0
    assert await consumers_in(client, name) == {"new"}
    assert [(str(each), holder, count) for each, holder, count in await pending_in(client, name)] == [
        (entry_id, "new", 1) for entry_id in ids
    ]
    seen = Seen()
    async with consuming(consumer, seen):
        await until(lambda: len(seen.handled) == 250)
    assert sorted(seen.tries) == [(n, 2) for n in range(250)]
    assert await pending_in(client, name) == []


async def test_a_loop_handles_next_what_it_takes_over(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2, 3)
    await strand(client, name, "old", 2)
    seen, consumer = Seen(), consumer_of(client, name, min_idle_time=timedelta(minutes=1))
    async with consuming(consumer, seen):
        await until(lambda: seen.handled == [3])
        assert await consumer.take_over("old") == 2
        await until(lambda: len(seen.handled) == 3)
    assert seen.tries == [(3, 1), (1, 2), (2, 2)]
    assert await pending_in(client, name) == []


async def test_leave_gives_back_what_is_not_in_hand(client: redis.asyncio.Redis, name: str) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(250))
    await strand(client, name, "a", 240)
    async with consumer_of(client, name) as consumer:
        held = await consumer.read(count=5)
        assert await consumer.leave() is False
        pending = await pending_in(client, name)
        assert [holder for _, holder, _ in pending] == [RELEASED] * 240 + ["a"] * 5
        assert {count for _, _, count in pending} == {1}
        await consumer.ack(*held)
        assert await consumer.leave() is True
        assert await consumers_in(client, name) == {RELEASED}
    assert await consumer_of(client, name, "nobody").leave() is True
    assert await consumer_of(client, f"{name}:none").leave() is True
    assert await consumer_of(client, f"{name}:none").take_over("nobody") == 0
