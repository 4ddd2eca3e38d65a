"""Both halves of the library behind one face, so that each test is written once and run for both, in threads."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from typing_extensions import override

import streamkit
import streamkit.asyncio


def connected(client: Any) -> list[Any]:
    """A client, and those that it asks for its address."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [client, *(manager.sentinels if manager else ())]


class Half(ABC):
    """One half: its names, its clients, and how a piece of it is run to its end from a thread."""

    name: str
    lib: Any
    clients: Any
    sentinels: Any

    def client(self, url: str, **options: Any) -> Any:
        """A client for this half; what runs it closes it."""
        return self.clients.Redis.from_url(url, **options)

    def cluster_client(self, url: str) -> Any:
        """A client of a cluster for this half; what runs it closes it."""
        return self.clients.RedisCluster.from_url(url)

    @abstractmethod
    def read(self, client: Any, reader: Any, handle: Callable[[Any], None]) -> None:
        """Enter a reader, handle its entries until it ends, leave it, close its client."""

    @abstractmethod
    def consume(self, client: Any, consumer: Any, handle: Callable[[Any], None], **options: Any) -> None:
        """Have a consumer of a group hand its entries to a function until it is stopped, close its client."""

    @abstractmethod
    def follow(self, client: Any, replayer: Any, handle: Callable[[Any], None]) -> None:
        """Handle what a replayer's tail gives, from the oldest entry on, until it is stopped; close its client."""

    @abstractmethod
    def run(self, client: Any, steps: Iterable[Callable[[], Any]]) -> list[Any]:
        """The results of some calls of this half, made one after the other; closes the client."""

    @override
    def __str__(self) -> str:
        return self.name


class _Sync(Half):
    name = "sync"
    lib = streamkit
    clients = redis
    sentinels = redis.sentinel

    @override
    def read(self, client: Any, reader: Any, handle: Callable[[Any], None]) -> None:
        with ExitStack() as stack:
            for each in connected(client):
                stack.enter_context(each)
            with reader:
                for entry in reader:
                    handle(entry)

    @override
    def consume(self, client: Any, consumer: Any, handle: Callable[[Any], None], **options: Any) -> None:
        with ExitStack() as stack:
            for each in connected(client):
                stack.enter_context(each)
            consumer.run(handle, **options)

    @override
    def follow(self, client: Any, replayer: Any, handle: Callable[[Any], None]) -> None:
        with ExitStack() as stack:
            for each in connected(client):
                stack.enter_context(each)
            for entry in stack.enter_context(closing(replayer.tail(start=None))):
                handle(entry)

    @override
    def run(self, client: Any, steps: Iterable[Callable[[], Any]]) -> list[Any]:
        with ExitStack() as stack:
            for each in connected(client):
                stack.enter_context(each)
            return [step() for step in steps]


class _Asyncio(Half):
    name = "asyncio"
    lib = streamkit.asyncio
    clients = redis.asyncio
    sentinels = redis.asyncio.sentinel

    @override
    def read(self, client: Any, reader: Any, handle: Callable[[Any], None]) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                for each in connected(client):
                    await stack.enter_async_context(each)
                async with reader:
                    async for entry in reader:
                        handle(entry)

        asyncio.run(main())

    @override
    def consume(self, client: Any, consumer: Any, handle: Callable[[Any], None], **options: Any) -> None:
        async def each(delivery: Any) -> None:
            handle(delivery)

        async def main() -> None:
            async with AsyncExitStack() as stack:
                for each_client in connected(client):
                    await stack.enter_async_context(each_client)
                await consumer.run(each, **options)

        asyncio.run(main())

    @override
    def follow(self, client: Any, replayer: Any, handle: Callable[[Any], None]) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                for each in connected(client):
                    await stack.enter_async_context(each)
                async for entry in await stack.enter_async_context(aclosing(replayer.tail(start=None))):
                    handle(entry)

        asyncio.run(main())

    @override
    def run(self, client: Any, steps: Iterable[Callable[[], Any]]) -> list[Any]:
        async def main() -> list[Any]:
            async with AsyncExitStack() as stack:
                for each in connected(client):
                    await stack.enter_async_context(each)
                return [await step() for step in steps]

        return asyncio.run(main())


SYNC: Half = _Sync()
ASYNCIO: Half = _Asyncio()
HALVES = {half.name: half for half in (SYNC, ASYNCIO)}
