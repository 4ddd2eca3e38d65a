"""What the tests of consumers and failing servers share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import redis.asyncio

from streamkit._core.scripts import Script
from streamkit.asyncio import GroupConsumer, RetryPolicy
from tests.integration.asyncio._groups import GROUP, QUICK, Fields
from tests.integration.proxy import Proxy, Request
from tests.integration.recording import Recorder

LONG = timedelta(seconds=60)
"""A min_idle_time longer than any test takes."""
LEASE = timedelta(seconds=0.4)
"""One for tests in which entries change hands."""


def consumer_of(
    client: redis.asyncio.Redis,
    source: Any,
    recorder: Recorder,
    *,
    lease: timedelta = LONG,
    retry: RetryPolicy = QUICK,
    **options: Any,
) -> GroupConsumer[Fields]:
    """A consumer whose entries are its own for longer than a test takes, unless it is told otherwise."""
    return GroupConsumer(client, source, GROUP, min_idle_time=lease, observer=recorder, retry=retry, **options)


def calls_of(script: Script) -> Callable[[Request], bool]:
    """Which requests run a script."""
    words = {script.sha.encode(), script.source.encode()}
    return lambda request: request[0].startswith(b"EVAL") and request[1] in words


@asynccontextmanager
async def through(url: str) -> AsyncIterator[tuple[Proxy, redis.asyncio.Redis]]:
    """A proxy to a server, and a client that goes through it."""
    with Proxy(url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            yield proxy, client
