"""Other libraries' loops over a consumer group, each over entries in the form it writes itself; optional to have."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import redis
import redis.asyncio

import streamkit
from benchmarks.consuming import ours
from benchmarks.names import EVENTS, GROUP, PAGE, clear
from benchmarks.table import show_rows

COUNT = 20_000
EVENT = {"order_id": "1", "kind": "order.placed", "customer": "customer-1", "amount": "12.50", "ts_ms": "1767225600000"}


def _fill(client: redis.Redis, fields: dict[str, str]) -> None:
    clear(client)
    streamkit.Stream(client, EVENTS).append_many(fields for _ in range(COUNT))


def _walrus(url: str) -> None:
    """walrus: its consumer group object, 200 a read, acks in one call; it has no loop of its own."""
    walrus: Any = __import__("walrus")
    database = walrus.Database.from_url(url)
    group = database.consumer_group(GROUP, [EVENTS], consumer="rival")
    group.create()
    group.set_id("0-0")
    handled = 0
    while handled < COUNT:
        for _key, entries in group.read(count=PAGE):
            getattr(group, EVENTS.replace(":", "_").replace("-", "_")).ack(*[entry_id for entry_id, _ in entries])
            handled += len(entries)


def _redis_stream_queue(url: str) -> None:
    """redis-stream-queue: its consumer loop, batches of 200 handed to a handler that acks all of them."""
    module: Any = __import__("redis_stream_queue")
    group_module: Any = __import__("redis_stream_queue.group", fromlist=["ConsumerConfig"])

    async def run() -> None:
        handled = 0
        config = group_module.ConsumerConfig(group=f"{GROUP}-{time.time_ns()}", batch_size=PAGE, block_ms=100)
        client = module.StreamClient.from_url(url)

        async def handle(messages: list[Any]) -> list[str]:
            nonlocal handled
            handled += len(messages)
            if handled >= COUNT:
                consumer.stop()
            return [message.id for message in messages]

        consumer = module.StreamConsumer(client, EVENTS, config, handle)
        await consumer.run()
        await client.close()

    asyncio.run(run())


def _faststream(url: str) -> None:
    """FastStream: a subscriber of the group, 200 a read, a handler for each message."""
    module: Any = __import__("faststream.redis", fromlist=["RedisBroker"])

    async def run() -> None:
        done = asyncio.Event()
        handled = 0
        broker = module.RedisBroker(url, logger=None)

        @broker.subscriber(  # type: ignore[untyped-decorator]
            stream=module.StreamSub(EVENTS, group=GROUP, consumer="rival", max_records=PAGE)
        )
        async def handle(_body: dict[str, str]) -> None:
            nonlocal handled
            handled += 1
            if handled == COUNT:
                done.set()

        await broker.start()
        await done.wait()
        await broker.stop()

    asyncio.run(run())


LIBRARIES: dict[str, tuple[str, Callable[[str], None], dict[str, str], bool]] = {
    "walrus": ("walrus", _walrus, EVENT, False),
    "redis-stream-queue": ("redis_stream_queue", _redis_stream_queue, {"data": json.dumps(EVENT)}, True),
    "FastStream": ("faststream", _faststream, EVENT, True),
}


def _ours(client: redis.Redis, url: str, *, awaited: bool) -> None:
    if not awaited:
        ours.consume(client, COUNT)
        return

    async def run() -> None:
        async with redis.asyncio.Redis.from_url(url, decode_responses=True) as own:
            await ours.consume_async(own, COUNT)

    asyncio.run(run())


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show_libraries(client: redis.Redis, url: str, rounds: int) -> None:
    """Measure those that are installed, in turn with ours, and print by how much we are faster."""
    rows: list[tuple[str, ...]] = []
    for name, (module, run, fields, awaited) in LIBRARIES.items():
        if find_spec(module) is None:
            print(f"{name} is not installed")
            continue
        ratios: list[float] = []
        rates: list[float] = []
        for _ in range(rounds):
            _fill(client, fields)
            if name == "FastStream":
                client.xgroup_create(EVENTS, GROUP, id="0")  # it would begin at the newest entry
            their = _timed(partial(run, url))
            _fill(client, fields)
            our = _timed(partial(_ours, client, url, awaited=awaited))
            ratios.append(their / our)
            rates.append(COUNT / their)
        half = "asyncio" if awaited else "sync"
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        rows.append((name, half, f"{median(rates):,.0f}", f"{median(ratios):.1f}", spread))
    show_rows(("library", "beside our half", "its entries/s", "we are faster by", "rounds"), rows)
