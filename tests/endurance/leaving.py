"""A program that leaves readers in every way there is. Started as ``-m tests.endurance.leaving HALF URL``.

It prints the number of its connections that are open after each way, and how many its pool takes to be in use. Run it
with ``-X dev -W error``: what is not closed shows on its standard error.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from typing_extensions import override

import streamkit
import streamkit.asyncio

NAME = "leaving"
PATIENCE = 10.0


class Left(Exception):
    """Raised in a loop's body."""


class Waiting(streamkit.Observer):
    """Sets an event as soon as a reader waits."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    @override
    def on_waiting(self, position: streamkit.Position) -> None:
        self._event.set()


def fill(url: str) -> None:
    """A stream of a hundred entries, a hash of no use as a checkpoint, and a key of another type."""
    with redis.Redis.from_url(url) as client:
        streamkit.Stream(client, "in").append_many([{"n": n} for n in range(100)])
        client.hset("foreign", mapping={"current_stream_key": "other", "last_message_id": "0-0"})
        client.set("text", "no stream")


class Count:
    """How many connections a client has open, and how many of them are in use."""

    def __init__(self, url: str) -> None:
        self.admin = redis.Redis.from_url(url)

    def __call__(self, way: str, client: Any, expected: int) -> None:
        """Print it; the server may notice a moment later that a connection was closed."""
        gc.collect()
        deadline = time.monotonic() + PATIENCE
        while (found := self._found()) > expected and time.monotonic() < deadline:
            time.sleep(0.01)
        in_use = len(client.connection_pool._in_use_connections)
        print(way, found, in_use, flush=True)  # noqa: T201 - the result

    async def settled(self, way: str, client: Any, expected: int) -> None:
        """Print it, once the event loop has closed what is to be closed."""
        for _ in range(5):
            await asyncio.sleep(0)
        self(way, client, expected)

    def _found(self) -> int:
        return sum(each["name"] == NAME for each in self.admin.client_list())


def synchronous(url: str) -> None:
    """Every way out of the synchronous half."""
    count = Count(url)
    with redis.Redis.from_url(url, client_name=NAME) as client:
        client.ping()
        count("before", client, 1)

        def reader(checkpoint: str, source: str = "in") -> Any:
            return streamkit.CheckpointedReader(client, source, checkpoint, count=10, follow=False)

        with reader("a") as one:
            count("entered", client, 2)
            for _ in one:
                pass
            count("read", client, 2)
        count("end", client, 1)
        with reader("b") as one:
            for _ in one:
                break
            for _ in one:
                break
        count("break", client, 1)
        with suppress(Left), reader("c") as one:
            for _ in one:
                raise Left
        count("error", client, 1)
        for name, source in (("foreign", "in"), ("d", "text"), ("text", "in")):
            with suppress(streamkit.StreamkitError), reader(name, source) as one:
                for _ in one:
                    pass
        count("refused", client, 1)
        stream = streamkit.Stream(client, "out")

        def values() -> Iterator[dict[str, int]]:
            yield {"n": 1}
            raise Left

        with suppress(Left):
            stream.append_many(values())
        with suppress(streamkit.StreamkitError):
            streamkit.Stream(client, "text").append({"n": 1})
        count("appends", client, 1)
    count("closed", client, 0)
    count.admin.close()


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: before Python 3.12 wait_for, which redis-py uses, may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.01)


async def asynchronous(url: str) -> None:
    """Every way out of the asyncio half, cancellation among them."""
    count = Count(url)
    asyncio.get_running_loop().slow_callback_duration = 3600  # it is not what is looked for
    async with redis.asyncio.Redis.from_url(url, client_name=NAME) as client:
        await client.ping()
        await count.settled("before", client, 1)

        def reader(checkpoint: str, source: str = "in", **options: Any) -> Any:
            options = {"follow": False, **options}
            return streamkit.asyncio.CheckpointedReader(client, source, checkpoint, count=10, **options)

        async with reader("a") as one:
            await count.settled("entered", client, 2)
            async for _ in one:
                pass
            await count.settled("read", client, 2)
        await count.settled("end", client, 1)
        async with reader("b") as one:
            async for _ in one:
                break
            async for _ in one:
                break
        await count.settled("break", client, 1)
        with suppress(Left):
            async with reader("c") as one:
                async for _ in one:
                    raise Left
        await count.settled("error", client, 1)
        for name, source in (("foreign", "in"), ("d", "text"), ("text", "in")):
            with suppress(streamkit.StreamkitError):
                async with reader(name, source) as one:
                    async for _ in one:
                        pass
        await count.settled("refused", client, 1)
        stream = streamkit.asyncio.Stream(client, "out")

        def values() -> Iterator[dict[str, int]]:
            yield {"n": 1}
            raise Left

        with suppress(Left):
            await stream.append_many(values())
        with suppress(streamkit.StreamkitError):
            await streamkit.asyncio.Stream(client, "text").append({"n": 1})
        await count.settled("appends", client, 1)

        async def follow(started: asyncio.Event) -> None:
            async with reader("e", follow=True, observer=Waiting(started)) as one:
                async for _ in one:
                    pass

        async def produce(started: asyncio.Event) -> None:
            async def endless() -> AsyncIterator[dict[str, int]]:
                while True:
                    yield {"n": 1}
                    started.set()

            await stream.append_many(endless())

        for work in (follow, produce):
            # Cancelled after each of the first turns of the event loop, before it began and while it works.
            for turns in range(60):
                task = asyncio.create_task(work(asyncio.Event()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await cancelled(task)
            started = asyncio.Event()
            task = asyncio.create_task(work(started))
            await started.wait()
            await cancelled(task)
            await count.settled(f"cancelled-{work.__name__}", client, 1)
    await count.settled("closed", client, 0)
    count.admin.close()


if __name__ == "__main__":
    fill(sys.argv[2])
    if sys.argv[1] == "sync":
        synchronous(sys.argv[2])
    else:
        asyncio.run(asynchronous(sys.argv[2]))
