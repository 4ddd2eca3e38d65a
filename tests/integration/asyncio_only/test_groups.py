"""Consumers of groups under cancellation, which only tasks know."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
import redis
import redis.asyncio

from streamkit.asyncio import Delivery, GroupConsumer, JsonCodec, Stream
from tests.integration.asyncio._groups import GROUP, LEASE, Batches, Seen, consumers_in, consuming, pending_in, settled
from tests.integration.asyncio._readers import write
from tests.integration.asyncio._runtime import until
from tests.integration.recording import Recorder

RELEASED = "streamkit:released"
LONG = timedelta(seconds=10)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and see that this ends it soon."""
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


async def test_a_cancelled_run_acks_what_it_handled_and_gives_back_the_rest(
    client: redis.asyncio.Redis, name: str
) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(300))

    async def dawdle(delivery: Delivery[Any]) -> None:
        if delivery.value["n"] == "200":
            await asyncio.sleep(60)

    one, two, recorder = Seen(dawdle), Seen(), Recorder()
    consumer = GroupConsumer(client, name, GROUP, "one", min_idle_time=LEASE, observer=recorder)
    task = asyncio.create_task(consumer.run(one))
    await until(lambda: 200 in one.numbers)
    await cancelled(task)
    assert one.handled == list(range(200))
    assert recorder.of("on_retry") == []  # being cancelled is no failure of the entry
    left = await pending_in(client, name)
    assert [(holder, count) for _, holder, count in left] == [(RELEASED, 1)] + [(RELEASED, 0)] * (len(left) - 1)
    async with consuming(GroupConsumer(client, name, GROUP, "two", min_idle_time=LEASE), two):
        await until(lambda: len(two.handled) == 100)
    assert sorted(two.tries) == [(200, 2), *((n, 1) for n in range(201, 300))]


@pytest.mark.steady
async def test_a_run_may_have_a_time_limit(client: redis.asyncio.Redis, name: str) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(100))
    seen, batches = Seen(), Batches()
    consumer = GroupConsumer(client, name, GROUP, "one")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(consumer.run(seen), 0.3)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(consumer.run_batches(batches), 0.1)
    assert seen.handled == list(range(100))
    assert await pending_in(client, name) == []
    assert await consumers_in(client, name) == set()


async def test_cancelled_as_it_begins_it_leaves_nothing(client: redis.asyncio.Redis, name: str) -> None:
    consumer, seen = GroupConsumer(client, name, GROUP, "one", min_idle_time=LEASE), Seen()
    for steps in range(0, 60, 3):
        task = asyncio.create_task(consumer.run(seen))
        for _ in range(steps):
            await asyncio.sleep(0)
        await cancelled(task)
    await Stream(client, name).append({"n": 1})
    async with consuming(consumer, seen):
        await until(lambda: seen.handled == [1])
    assert await consumers_in(client, name) == set()


@pytest.mark.parametrize("codec", [None, JsonCodec(loads=int)], ids=["text", "bytes"])
async def test_a_cancelled_read_loses_nothing(client: redis.asyncio.Redis, name: str, codec: Any) -> None:
    source: Any = Stream(client, name, codec=codec) if codec else Stream(client, name)
    values: list[Any] = [n if codec else {"n": str(n)} for n in range(6)]
    async with GroupConsumer(client, source, GROUP, "one", min_idle_time=LEASE) as consumer:
        found = list[Any]()
        for value in values:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(consumer.read(wait=LONG), 0.1)
            await source.append(value)
            deliveries = await consumer.read(wait=LONG)
            found += [(delivery.value, delivery.attempt) for delivery in deliveries]
            await consumer.ack(*deliveries)
        assert found == [(value, 1) for value in values]
        assert await pending_in(client, name) == []
    assert await consumers_in(client, name) == set()


async def test_a_cancelled_ack_is_owed_and_goes_with_the_next_step(client: redis.asyncio.Redis, name: str) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(4))
    async with GroupConsumer(client, name, GROUP, "one", min_idle_time=LEASE) as consumer:
        one, two, three, four = await consumer.read()
        one.emit(f"{name}:out", one.value)
        for delivery in (one, two):
            task = asyncio.create_task(consumer.ack(delivery))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await consumer.ack(three, four)
        assert await pending_in(client, name) == []
        assert await client.xlen(f"{name}:out") == 1


@pytest.mark.parametrize("taken", [False, True])
async def test_what_waited_behind_a_handler_that_blocks_the_event_loop_is_not_begun_stale(
    redis_url: str, client: redis.asyncio.Redis, name: str, *, taken: bool
) -> None:
    lease, ids = timedelta(seconds=0.5), await write(client, name, 1, 2, 3)
    recorder = Recorder()
    with redis.Redis.from_url(redis_url) as peer:

        async def block(delivery: Delivery[Any]) -> None:
            if delivery.value["n"] == "1":
                # Nothing else runs, no heartbeat either; meanwhile a peer may find the one beside it abandoned.
                time.sleep(0.9 * lease.total_seconds())  # noqa: ASYNC251 - its subject
                if taken:
                    peer.xclaim(name, GROUP, "peer", 0, [str(ids[1])])
                    peer.xack(name, GROUP, str(ids[1]))

        seen = Seen(block)
        consumer = GroupConsumer(client, name, GROUP, "one", min_idle_time=lease, observer=recorder)
        task = asyncio.create_task(consumer.run(seen, concurrency=2))
        await until(settled(client, name))
        consumer.stop()
        await task
    assert sorted(seen.tries) == [(1, 1), (3, 1)] if taken else [(1, 1), (2, 1), (3, 1)]
    assert recorder.of("on_retry") == recorder.of("on_buried") == []
