"""What only the asyncio half has: asynchronous iterables, and cancellation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone

import pytest
import redis.asyncio

from streamkit.asyncio import PartitionedStream, Stream
from tests.integration.asyncio._looking import numbers
from tests.integration.asyncio._runtime import until
from tests.integration.proxy import Proxy

NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)


async def count_to(end: int) -> AsyncIterator[dict[str, int]]:
    """Values that come from somewhere else."""
    for n in range(end):
        if n % 100 == 0:
            await asyncio.sleep(0)
        yield {"n": n}


async def test_an_asynchronous_iterable_is_taken_as_it_comes(client: redis.asyncio.Redis, name: str) -> None:
    assert await Stream(client, name).append_many(count_to(2345)) == 2345
    assert await numbers(client, name) == list(range(2345))


async def test_with_times_from_an_iterable_or_the_value(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    times = (NOON - timedelta(days=1) + n * timedelta(minutes=1) for n in itertools.count())
    assert await stream.append_many(count_to(1000), times=times) == 1000
    assert await numbers(client, *await stream.keys()) == list(range(1000))
    other = PartitionedStream(client, f"{name}:other")

    def time_of(value: object) -> datetime:
        return NOON

    assert await other.append_many(count_to(10), times=time_of) == 10
    assert await other.keys() == [other.key_for(NOON)]


async def test_one_that_raises_has_everything_before_it_written(client: redis.asyncio.Redis, name: str) -> None:
    async def values() -> AsyncIterator[dict[str, int]]:
        async for value in count_to(777):
            yield value
        msg = "the sensor is gone"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="the sensor is gone"):
        await Stream(client, name).append_many(values())
    assert await numbers(client, name) == list(range(777))


async def test_a_slow_one_is_written_while_it_goes_on(client: redis.asyncio.Redis, name: str) -> None:
    stream = Stream(client, name)
    arrived = asyncio.Event()

    async def first_two() -> bool:
        return await stream.length() == 2

    async def values() -> AsyncIterator[dict[str, int]]:
        yield {"n": 0}
        await asyncio.sleep(0.6)
        yield {"n": 1}
        await until(first_two)
        arrived.set()
        yield {"n": 2}

    assert await stream.append_many(values()) == 3
    assert arrived.is_set()
    assert await numbers(client, name) == [0, 1, 2]


async def test_a_cancelled_append_leaves_the_client_as_good_as_before(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url, max_connections=1) as client:
            stream = Stream(client, name)
            await stream.append({"n": 0})
            proxy.hang(matching=b"EVALSHA")
            appending = asyncio.create_task(stream.append({"n": 1}))
            await until(lambda: proxy.counts[b"EVALSHA"] == 1)
            appending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await appending
            proxy.resume()
            # The only connection was given back, without the reply of another.
            assert await client.echo("me") == b"me"
            await stream.append({"n": 2})
            assert await numbers(client, name) == [0, 1, 2]


@pytest.mark.parametrize("_", range(5))
async def test_a_cancelled_append_many_ends_at_once_and_leaves_whole_chunks(
    client: redis.asyncio.Redis, name: str, _: int
) -> None:
    stream = Stream(client, name)

    appending = asyncio.create_task(stream.append_many(count_to(5_000_000)))

    async def some() -> bool:
        return await stream.length() >= 3000

    await until(some)
    appending.cancel()
    await asyncio.wait([appending], timeout=10)
    assert appending.cancelled()
    written = await numbers(client, name)
    assert written == list(range(len(written)))
    await stream.append({"n": len(written)})
    assert await stream.length() == len(written) + 1
