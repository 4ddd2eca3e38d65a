"""Cancelling a member of a sharded reader: its handlers are cancelled, its shards handed on, nothing saved twice."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio

from tests.integration.asyncio._runtime import running, until
from tests.integration.asyncio._shards import Adding, Totals, fill, member_of, sharded, totals_of


@pytest.mark.steady
async def test_a_cancelled_member_cancels_its_handlers_and_hands_its_shards_on(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream, adding, begun, cut = sharded(client, name), Adding(client, name), list[str](), list[str]()
    await fill(stream, range(100))
    member = member_of(client, stream, "a", adding)

    async def handle(entry: Any, reader: Any) -> None:
        del reader
        begun.append(entry.stream)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cut.append(entry.stream)
            raise

    task = asyncio.create_task(member.run(handle))
    await until(lambda: len(begun) == 4)
    asked = time.monotonic()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert time.monotonic() - asked < 1
    assert sorted(cut) == sorted(begun)
    assert member.shards == []
    assert await client.exists(f"{{{name}:totals}}:shards") == 0
    async with running(member.run, adding, stop=member.stop):

        async def all_read() -> bool:
            return (await totals_of(client, stream)).count == 100

        await until(all_read)
    assert await totals_of(client, stream) == Totals(100, sum(range(100)))


async def test_cancelled_at_any_moment_it_can_be_used_again(client: redis.asyncio.Redis, name: str) -> None:
    stream, adding = sharded(client, name), Adding(client, name)
    member = member_of(client, stream, "a", adding)
    for turn in range(25):
        task = asyncio.create_task(member.run(adding))
        await asyncio.sleep(turn / 1000)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert member.shards == []
    await fill(stream, range(10))
    async with running(member.run, adding, stop=member.stop):
        await until(lambda: sum(map(len, adding.seen.values())) == 10)


async def test_a_member_that_is_cancelled_again_and_again_ends_with_its_handlers_and_can_be_used_again(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream, adding = sharded(client, name), Adding(client, name)
    begun, tidying, ended, go_on = list[str](), list[str](), list[str](), asyncio.Event()
    await fill(stream, range(100))
    member = member_of(client, stream, "a", adding)

    async def tidy() -> None:
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await go_on.wait()

    async def handle(entry: Any, reader: Any) -> None:
        del reader
        begun.append(entry.stream)
        try:
            await asyncio.sleep(60)
        finally:
            tidying.append(entry.stream)
            await tidy()
            ended.append(entry.stream)

    task = asyncio.create_task(member.run(handle))
    await until(lambda: len(begun) == 4)
    task.cancel()
    await until(lambda: len(tidying) == 4)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert sorted(ended) == sorted(begun)  # nothing goes on behind it
    async with running(member.run, adding, stop=member.stop):
        await until(lambda: len(adding.seen) == 4)
