"""streamkit: append_many, in both halves."""

from __future__ import annotations

import redis
import redis.asyncio

import streamkit
import streamkit.asyncio
from benchmarks.names import MAX_AHEAD, RETENTION, TEMPERATURES
from benchmarks.readings import Readings


def append(client: redis.Redis, readings: Readings) -> None:
    """One script call a chunk, two chunks on their way."""
    stream = streamkit.PartitionedStream(client, TEMPERATURES, retention=RETENTION, max_ahead=MAX_AHEAD)
    stream.append_many(readings.values, times=readings.times)


async def append_async(client: redis.asyncio.Redis, readings: Readings) -> None:
    """The same with await."""
    stream = streamkit.asyncio.PartitionedStream(client, TEMPERATURES, retention=RETENTION, max_ahead=MAX_AHEAD)
    await stream.append_many(readings.values, times=readings.times)
