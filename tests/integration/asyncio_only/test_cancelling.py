"""Single calls that are cancelled at any moment: each ends at once, and the client is as good as before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
import redis.asyncio

from streamkit.asyncio import CappedStream, CheckpointedReader, DeadLetterQueue, GroupConsumer, Replayer
from tests.integration.asyncio._groups import GROUP
from tests.integration.asyncio._runtime import DEADLINE, running, until
from tests.integration.proxy import Proxy

TIMES = 60
LONGEST = 0.002
"""Seconds until a call is cancelled: most are in the middle of it, some in their second round."""
CONNECTIONS = 3


@dataclass
class Blocks:
    """One of each, over the same client."""

    client: redis.asyncio.Redis
    name: str

    @property
    def stream(self) -> CappedStream[dict[str, str]]:
        """Where entries are appended."""
        return CappedStream(self.client, self.name, maxlen=100)

    @property
    def consumer(self) -> GroupConsumer[dict[str, str]]:
        """One of the group."""
        return GroupConsumer(self.client, self.name, GROUP, "a")

    async def read_in_group(self) -> None:
        """Connect, join, read, give back, leave."""
        async with self.consumer as consumer:
            await consumer.read(count=1)

    async def read_alone(self) -> None:
        """Connect, load, read, save."""
        async with CheckpointedReader(self.client, self.name, f"{self.name}:checkpoint", follow=False) as reader:
            async for _ in reader:
                pass


Call: TypeAlias = Callable[[Blocks], "Awaitable[Any]"]


async def exhaust(values: AsyncIterable[Any]) -> None:
    """Take everything."""
    async for _ in values:
        pass


CALLS: dict[str, Call] = {
    "append": lambda all_: all_.stream.append({"n": "1"}),
    "append_many": lambda all_: all_.stream.append_many({"n": str(n)} for n in range(300)),
    "info": lambda all_: all_.stream.info(),
    "trim": lambda all_: all_.stream.trim(),
    "entries": lambda all_: exhaust(Replayer(all_.client, all_.name).entries(limit=20)),
    "lag": lambda all_: all_.consumer.lag(),
    "pending": lambda all_: exhaust(all_.consumer.pending()),
    "letters": lambda all_: exhaust(DeadLetterQueue(all_.client, f"{all_.name}:letters")),
    "length": lambda all_: DeadLetterQueue(all_.client, f"{all_.name}:letters").length(),
    "saved": lambda all_: CheckpointedReader(all_.client, all_.name, f"{all_.name}:checkpoint").saved(),
    "group": lambda all_: all_.read_in_group(),
    "reader": lambda all_: all_.read_alone(),
}


@pytest.mark.parametrize("name_of_call", CALLS)
async def test_a_cancelled_call_ends_at_once(redis_url: str, name: str, name_of_call: str) -> None:
    call, dice = CALLS[name_of_call], random.Random(name_of_call)
    async with redis.asyncio.Redis.from_url(redis_url, max_connections=CONNECTIONS) as client:
        blocks = Blocks(client, name)
        await blocks.stream.append_many({"n": str(n)} for n in range(50))
        await client.xgroup_create(name, GROUP, "0")

        async def over_and_over() -> None:
            while True:
                await call(blocks)

        for _ in range(TIMES):
            task = asyncio.create_task(over_and_over())
            await asyncio.sleep(LONGEST * dice.random())
            task.cancel()
            await asyncio.wait([task], timeout=DEADLINE)
            # redis-py waits within wait_for, which before Python 3.12 may lose a cancellation.
            assert task.done(), "a cancellation was swallowed"
            assert task.cancelled()
        # No connection was lost to the pool, and none of them holds another's reply.
        words = [f"{n}".encode() for n in range(CONNECTIONS)]
        plain: Any = client
        assert await asyncio.gather(*[plain.echo(word) for word in words]) == words


async def test_cancelled_while_it_connects_it_leaves_no_connection_behind(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            reader = CheckpointedReader(client, name, f"{name}:checkpoint")
            assert await reader.saved() is None
            await client.connection_pool.disconnect()
            await until(lambda: proxy.connections == 0)

            async def enter() -> None:
                async with reader:
                    pass

            # Connections are taken, and never answered.
            proxy.hang()
            async with running(enter) as run:
                await until(lambda: proxy.connections > 0)
                await run.interrupt()
            proxy.resume()
            await until(lambda: proxy.connections == 0)
            await enter()
