"""The sweep for what nobody handles: what it costs, what it counts, how much it holds, whom it removes."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import redis.asyncio

import streamkit.asyncio.taking
from streamkit._core.scripts import CLAIM
from streamkit.asyncio import Delivery
from streamkit.testing import redis_server
from tests.integration.asyncio._groups import (
    GROUP,
    Fields,
    Seen,
    consumers_in,
    consuming,
    of_size,
    settled,
    strand,
)
from tests.integration.asyncio._readers import raw, told, write
from tests.integration.asyncio._recovering import LONG, RELEASED, consumer_of, deliveries_of
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


async def test_taking_over_counts_no_delivery_until_a_handler_starts(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(5))
    await strand(client, name, "dead", 5)

    async def wait(_: Delivery[Fields]) -> None:
        began = time.monotonic()
        while not going_on and time.monotonic() - began < 10:
            await pause(0.01)

    going_on: list[bool] = []
    for round_ in range(2):
        # Taken over, and given back by a stop, again and again: only what was begun counts.
        seen = Seen(wait)
        one = consumer_of(client, name, f"worker{round_}")
        async with consuming(one, seen):
            await until(of_size(seen.tries, 1))
            assert await deliveries_of(client, name) == [(one.name, 2)] + [(one.name, 1)] * (4 - round_)
            one.stop()
            going_on.append(True)
        going_on.clear()
        assert seen.tries == [(round_, 2)]
        assert await deliveries_of(client, name) == [(RELEASED, 1)] * (4 - round_)
    going_on.append(True)
    last = Seen()
    async with consuming(consumer_of(client, name), last):
        await until(settled(client, name))
    assert last.tries == [(2, 2), (3, 2), (4, 2)]


async def test_a_sweep_costs_the_same_however_far_it_got() -> None:
    count = 100_000
    settings = {"slowlog-log-slower-than": "0", "slowlog-max-len": "20000"}
    with redis_server(settings=settings) as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await fill(client, "s", count)
            await strand_all(client, "s", "busy", count)
            await raw(client).slowlog_reset()
            seen = Seen()
            async with consuming(consumer_of(client, "s", lease=LONG), seen):
                # All pages but the last tell where to go on.
                async def swept() -> bool:
                    # By the counter: reading the whole slow log again and again would take longer than the sweep.
                    calls = await raw(client).info("commandstats")
                    return bool(calls.get("cmdstat_xpending", {"calls": 0})["calls"] >= count // 100)

                await until(swept)
                assert await write(client, "s", count)
                await until(lambda: seen.tries == [(count, 1)])
            took = await claims(client)
            assert len(took) <= 1.1 * count / 100  # a page that finds no room is looked at again
            early, late = sorted(took[:200])[100], sorted(took[-200:])[100]
            assert late < 3 * early + 200, f"{early} us at first, {late} us at the end"
            assert await client.xlen("s") == count + 1
            assert len(set(await deliveries_of(client, "s"))) == 1


async def test_of_a_large_heap_of_abandoned_entries_only_some_are_held_at_a_time() -> None:
    count = 100_000
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await fill(client, "s", count)
            await strand_all(client, "s", "dead", count)
            most: list[int] = []

            async def look(_: Delivery[Fields]) -> None:
                if len(seen.tries) % 100 == 0:
                    consumers = await raw(client).xinfo_consumers("s", GROUP)
                    most.extend(each["pending"] for each in consumers if each["name"] == b"worker")
                    if len(seen.tries) >= 2000:
                        one.stop()

            seen = Seen(look)
            one = consumer_of(client, "s", "worker")
            async with running(one.run, seen, stop=one.stop) as run:
                # New entries are handled meanwhile.
                await until(lambda: len(seen.tries) > 300)
                await write(client, "s", count)
                await until(lambda: count in seen.numbers)
                await run.result()
            # A page that waits, one that is handled and not acked yet.
            assert max(most) <= 250
            assert len(set(seen.numbers)) == len(seen.numbers)
            assert (await raw(client).xpending("s", GROUP))["pending"] == count + 1 - len(seen.numbers)


@pytest.mark.steady
async def test_consumers_that_hold_nothing_and_are_silent_for_long_are_removed(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit.asyncio.taking, "RETIRE_AFTER_MS", 0)
    lease = timedelta(seconds=0.1)
    await write(client, name, 1, 2)
    await strand(client, name, "holding", 1)
    for silent in ("silent", "mute"):
        await raw(client).xgroup_createconsumer(name, GROUP, silent)

    async def long_silent() -> bool:
        consumers = await raw(client).xinfo_consumers(name, GROUP)
        return all(each["idle"] > 10 * lease.total_seconds() * 1000 for each in consumers)

    await until(long_silent)
    # One of them is heard of again.
    await raw(client).xreadgroup(GROUP, "holding", {name: "0"})
    await raw(client).xgroup_createconsumer(name, GROUP, "fresh")
    recorder, seen = Recorder(), Seen()
    async with consuming(consumer_of(client, name, "worker", lease=lease, observer=recorder), seen):
        await until(told(recorder, "on_retired"))
        assert await consumers_in(client, name) == {"worker", "holding", "fresh"}
    ((stream, group, names),) = recorder.of("on_retired")
    assert (stream, group, sorted(names)) == (name, GROUP, ["mute", "silent"])


# ---------------------------------------------------------------------------------------------------------------------


async def fill(client: redis.asyncio.Redis, key: str, count: int) -> None:
    """Write so many numbers at once."""
    script = "for i = 0, ARGV[1] - 1 do redis.call('XADD', KEYS[1], '*', 'n', i) end"
    await raw(client).eval(script, 1, key, count)


async def strand_all(client: redis.asyncio.Redis, key: str, consumer: str, count: int) -> None:
    """Have a consumer read so many, and go with them."""
    for _ in range(count // 5000):
        await strand(client, key, consumer, 5000)


async def claims(client: redis.asyncio.Redis) -> list[int]:
    """What each page of the sweep took, in microseconds, in order."""
    commands = await raw(client).slowlog_get(20_000)
    sha = CLAIM.sha.encode()
    return [each["duration"] for each in reversed(commands) if sha in each["command"]]
