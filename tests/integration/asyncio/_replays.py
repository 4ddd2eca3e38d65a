"""What the tests of the replayer share: entries that hold a number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TypeAlias

import redis.asyncio

from streamkit.asyncio import Entry, EntryId, PartitionedStream, Period, Replayer
from tests.integration.asyncio._readers import MONTH_OF_DAYS, raw

MOMENTS = Period("MOMENT", "%Y%m%d%H%M%S%f", timedelta(milliseconds=250))
"""A period for tests of what happens at its end."""

Numbers: TypeAlias = Replayer[dict[str, str]]


def days_of(client: redis.asyncio.Redis, name: str) -> PartitionedStream:
    """Daily partitions, a month back and a month ahead."""
    return PartitionedStream(client, name, retention=MONTH_OF_DAYS, max_ahead=MONTH_OF_DAYS)


async def numbers_of(entries: AsyncIterator[Entry[dict[str, str]]]) -> list[int]:
    """The numbers of these entries."""
    return [int(entry.value["n"]) async for entry in entries]


async def follow(replayer: Numbers, numbers: list[int]) -> None:
    """Add the numbers that are written from now on to a list, until it is stopped."""
    async for entry in replayer.tail():
        numbers.append(int(entry.value["n"]))  # noqa: PERF401 - seen one by one


async def write_at(client: redis.asyncio.Redis, key: str, *ids: int | str) -> list[EntryId]:
    """Append an entry for each ID, numbered from 0."""
    return [EntryId.parse(await raw(client).xadd(key, {"n": n}, id=each)) for n, each in enumerate(ids)]


async def write_many(client: redis.asyncio.Redis, key: str, numbers: range) -> None:
    """Append an entry for each number, all at once, numbered by the server."""
    pipeline = raw(client).pipeline(transaction=False)
    for number in numbers:
        pipeline.xadd(key, {"n": number})
    await pipeline.execute()
