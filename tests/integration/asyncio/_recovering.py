"""What the tests of taking over share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import redis.asyncio

from streamkit.asyncio import GroupConsumer, Observer, RetryPolicy
from tests.integration.asyncio._groups import GROUP, QUICK, Fields, pending_in

LEASE = timedelta(seconds=0.4)
"""A min_idle_time for tests in which entries change hands."""
LONG = timedelta(seconds=60)
"""One that is longer than any test takes."""
RELEASED = "streamkit:released"
"""Who holds what was given back."""


def consumer_of(
    client: redis.asyncio.Redis,
    name: str,
    consumer: str | None = None,
    *,
    lease: timedelta = LEASE,
    observer: Observer | None = None,
    retry: RetryPolicy = QUICK,
    **options: Any,
) -> GroupConsumer[Fields]:
    """A consumer that is silent unless it has an observer."""
    told = Observer() if observer is None else observer
    return GroupConsumer(client, name, GROUP, consumer, min_idle_time=lease, observer=told, retry=retry, **options)


async def deliveries_of(client: redis.asyncio.Redis, name: str) -> list[tuple[str, int]]:
    """Who holds the pending entries, in their order, and how often each was delivered."""
    return [(consumer, deliveries) for _, consumer, deliveries in await pending_in(client, name)]
