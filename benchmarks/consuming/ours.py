"""streamkit: a GroupConsumer with a handler for each entry, and with one for batches, in both halves."""

from __future__ import annotations

from collections.abc import Sequence

import redis
import redis.asyncio

import streamkit
import streamkit.asyncio
from benchmarks.names import EVENTS, GROUP, PAGE


def consume(client: redis.Redis, count: int) -> None:
    """Entry by entry, at least once each."""
    consumer = streamkit.GroupConsumer(client, EVENTS, GROUP, count=PAGE, observer=streamkit.Observer())
    handled = 0

    def handle(_delivery: streamkit.Delivery) -> None:
        nonlocal handled
        handled += 1
        if handled == count:
            consumer.stop()

    consumer.run(handle)


def consume_batches(client: redis.Redis, count: int) -> None:
    """Batch by batch."""
    consumer = streamkit.GroupConsumer(client, EVENTS, GROUP, count=PAGE, observer=streamkit.Observer())
    handled = 0

    def handle(deliveries: Sequence[streamkit.Delivery]) -> None:
        nonlocal handled
        handled += len(deliveries)
        if handled == count:
            consumer.stop()

    consumer.run_batches(handle)


async def consume_async(client: redis.asyncio.Redis, count: int) -> None:
    """Entry by entry with await."""
    consumer = streamkit.asyncio.GroupConsumer(client, EVENTS, GROUP, count=PAGE, observer=streamkit.Observer())
    handled = 0

    async def handle(_delivery: streamkit.asyncio.Delivery) -> None:
        nonlocal handled
        handled += 1
        if handled == count:
            consumer.stop()

    await consumer.run(handle)
