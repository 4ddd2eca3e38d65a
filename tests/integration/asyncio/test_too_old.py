"""A server older than what streamkit needs: every block says so at once, whatever is asked of it first."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    CappedStream,
    CheckpointedReader,
    DeadLetterQueue,
    Entry,
    EntryId,
    GroupConsumer,
    PartitionedStream,
    Replayer,
    ServerTooOld,
    Stream,
    once,
)
from streamkit.testing import redis_server
from tests.integration.fake import server_of_version

NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def old_url() -> Iterator[str]:
    """A real one where `STREAMKIT_OLD_SERVER` names its program, as `nox -s servers` does; else one that says so."""
    program = os.environ.get("STREAMKIT_OLD_SERVER")
    with redis_server(binary=program) if program else server_of_version("6.2.14") as url:
        yield url


async def handle(_: object) -> None:
    """Nothing comes here."""


async def use_stream(client: redis.asyncio.Redis, way: str) -> None:
    """Do one thing with a stream."""
    plain, capped, partitioned = (
        Stream(client, "s"),
        CappedStream(client, "s", maxlen=10),
        PartitionedStream(client, "s"),
    )
    todo: Any = {
        "append": lambda: plain.append({"n": 1}),
        "append capped": lambda: capped.append({"n": 1}, idempotency_key="k"),
        "append at": lambda: partitioned.append({"n": 1}, at=NOW),
        "append_many": lambda: partitioned.append_many([{"n": 1}]),
        "append_many at": lambda: partitioned.append_many([{"n": 1}], times=[NOW]),
        "length": capped.length,
        "info": plain.info,
        "keys": partitioned.keys,
        "trim": capped.trim,
        "trim pending": lambda: capped.trim(unless_pending=True),
        "trim partitions": partitioned.trim,
    }
    await todo[way]()


async def use_reader(client: redis.asyncio.Redis, way: str) -> None:
    """Begin to read."""
    reader = CheckpointedReader(client, "s" if way == "key" else PartitionedStream(client, "s"), "c")
    async with reader:
        async for _ in reader:
            pass


async def use_consumer(client: redis.asyncio.Redis, way: str) -> None:
    """Begin to consume, or look at a group."""
    consumer = GroupConsumer(client, "s", "g")

    async def enter() -> None:
        async with consumer:
            await consumer.read()

    async def look() -> None:
        async for _ in consumer.pending():
            pass

    todo: Any = {
        "run": lambda: consumer.run(handle),
        "run concurrently": lambda: consumer.run(handle, concurrency=2),
        "run_batches": lambda: consumer.run_batches(handle),
        "enter": enter,
        "pending": look,
        "lag": consumer.lag,
        "take_over": lambda: consumer.take_over("b"),
        "leave": consumer.leave,
    }
    await todo[way]()


async def use_queue(client: redis.asyncio.Redis, way: str) -> None:
    """Do one thing with dead letters."""
    queue = DeadLetterQueue(client, "{s}:dead-letters")

    async def look() -> None:
        async for _ in queue:
            pass

    todo: Any = {
        "letters": look,
        "length": queue.length,
        "count": queue.count,
        "redrive": queue.redrive,
        "redrive one": lambda: queue.redrive([EntryId(1)]),
        "discard": lambda: queue.discard([EntryId(1)]),
        "trim": queue.trim,
    }
    await todo[way]()


async def use_replayer(client: redis.asyncio.Redis, way: str) -> None:
    """Look at history."""
    replayer = Replayer(client, "s")

    async def entries() -> None:
        async for _ in replayer.entries():
            pass

    async def tail() -> None:
        async for _ in replayer.tail():
            pass

    todo: Any = {
        "entries": entries,
        "tail": tail,
        "play": lambda: replayer.play(handle),
        "copy": lambda: replayer.copy(Stream(client, "copy")),
    }
    await todo[way]()


async def use_once(client: redis.asyncio.Redis, way: str) -> None:
    """Call a guarded handler."""
    await once(client, way)(handle)(Entry("s", EntryId(1), {"n": "1"}))


BLOCKS: dict[Any, tuple[str, ...]] = {
    use_stream: (
        "append", "append capped", "append at", "append_many", "append_many at", "length", "info", "keys",
        "trim", "trim pending", "trim partitions",
    ),
    use_reader: ("key", "partitions"),
    use_consumer: ("run", "run concurrently", "run_batches", "enter", "pending", "lag", "take_over", "leave"),
    use_queue: ("letters", "length", "count", "redrive", "redrive one", "discard", "trim"),
    use_replayer: ("entries", "tail", "play", "copy"),
    use_once: ("handler",),
}  # fmt: skip


@pytest.mark.steady
@pytest.mark.parametrize(("use", "way"), [(use, way) for use, ways in BLOCKS.items() for way in ways])
async def test_a_server_that_is_too_old_is_refused_at_once(old_url: str, use: Any, way: str) -> None:
    async with redis.asyncio.Redis.from_url(old_url) as client:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(
                ServerTooOld, match=r"the server is version 6\.2\.\d+; streamkit needs Redis 7\.0"
            ) as caught:
                await use(client, way)
            assert time.monotonic() - began < 2
            assert caught.value.version.startswith("6.2.")
