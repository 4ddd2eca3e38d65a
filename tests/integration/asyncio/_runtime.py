"""What the tests need of tasks; hand-written, its twin stands in `_sync`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import redis

import streamkit

DEADLINE = 60.0


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str = "the condition") -> None:
    """Wait until a condition holds; fail when it does not within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        assert time.monotonic() < deadline, f"{what} did not come true within {DEADLINE} s"
        await asyncio.sleep(0.01)


async def pause(seconds: float) -> None:
    """Let time pass, where time itself is the subject."""
    await asyncio.sleep(seconds)


class Running:
    """A coroutine in the background: its outcome is asked for by `result`."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    @property
    def done(self) -> bool:
        """Whether it ended."""
        return self._task.done()

    async def result(self) -> Any:
        """What it returned; raises what it raised, or fails after the deadline."""
        return await asyncio.wait_for(asyncio.shield(self._task), DEADLINE)

    async def interrupt(self) -> None:
        """End it from outside, wherever it is, as cancelling does (and Ctrl-C in a thread)."""
        self._task.cancel()
        await asyncio.wait([self._task], timeout=DEADLINE)
        assert self._task.cancelled()


@asynccontextmanager
async def running(
    main: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any, stop: Callable[[], None] | None = None
) -> AsyncIterator[Running]:
    """Run a coroutine function beside the test; at the end call `stop` and wait for it."""
    task = asyncio.create_task(main(*arguments))
    running = Running(task)
    try:
        yield running
    finally:
        if stop is not None:
            stop()
        if not task.done():
            await asyncio.wait([task], timeout=DEADLINE)
        if not task.done():
            task.cancel()
            msg = "what ran in the background did not end"
            raise AssertionError(msg)
        # An error that nobody asked for by result() must not go unseen.
        if not task.cancelled() and task.exception() is not None:
            await running.result()


def start(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run the main function of a program."""
    asyncio.run(main())


def streams_of_the_other_half(name: str) -> list[Any]:
    """Streams that belong to the synchronous half."""
    client = redis.Redis()
    return [
        streamkit.Stream(client, name),
        streamkit.CappedStream(client, name, maxlen=1),
        streamkit.PartitionedStream(client, name),
    ]


def client_of_the_other_half() -> Any:
    """A client that belongs to the synchronous half."""
    return redis.Redis()
