"""The contests in aggregating, and what must stand on the server after each."""

from __future__ import annotations

import asyncio
from typing import cast

import redis
import redis.asyncio

from benchmarks.aggregating import ours, rivals, rivals_asyncio
from benchmarks.appending.ours import append
from benchmarks.contest import Contest, Contestant, Rival
from benchmarks.names import AVERAGES, STATE, clear, partitions
from benchmarks.readings import Output, Readings, expected_averages

SLICE = 2000
"""What the loop that goes message by message gets to do; rates are compared."""


class Aggregation:
    """The readings to aggregate, on the server, and the outputs that belong to them."""

    def __init__(self, client: redis.Redis, readings: Readings) -> None:
        self._client = client
        self._readings = readings
        clear(client)
        append(client, readings)
        self.first_day = partitions(client)[0]

    def __len__(self) -> int:
        return len(self._readings)

    def reset(self) -> None:
        """Forget outputs and state, keep the readings."""
        clear(self._client, f"*{AVERAGES}*")
        clear(self._client, f"*{STATE}*")

    def check(self, count: int) -> None:
        """Fail unless outputs and saved position are those of so many readings."""
        found = [fields for _, fields in cast("list[tuple[str, Output]]", self._client.xrange(AVERAGES))]
        wanted = expected_averages(self._readings, count)
        assert found == wanted, f"{len(found)} averages {found[:2]}… instead of {len(wanted)} {wanted[:2]}…"
        last_ms = int(self._readings.times[count - 1].timestamp() * 1000)
        state = cast("dict[str, str]", self._client.hgetall(STATE))
        assert state["last_message_id"] == f"{last_ms}-0", f"saved state is {state}"


def synchronous(client: redis.Redis, work: Aggregation) -> Contest:
    """The reader against both loops."""
    everything, some = len(work), min(SLICE, len(work))
    return Contest(
        title="aggregation",
        ours=Contestant(
            "streamkit",
            lambda: ours.aggregate(client),
            everything,
            work.reset,
            lambda _: work.check(everything),
        ),
        rivals=(
            Rival(
                Contestant(
                    "XREAD COUNT 1000, MULTI/EXEC",
                    lambda: rivals.aggregate_in_transactions(client, work.first_day),
                    everything,
                    work.reset,
                    lambda _: work.check(everything),
                ),
                1.3,
            ),
            Rival(
                Contestant(
                    "XREAD COUNT 1, HSET",
                    lambda: rivals.aggregate_one_by_one(client, work.first_day, some),
                    some,
                    work.reset,
                    lambda _: work.check(some),
                ),
                100.0,
            ),
        ),
    )


def asynchronous(loop: asyncio.AbstractEventLoop, client: redis.asyncio.Redis, work: Aggregation) -> Contest:
    """The reader against the loop with transactions, in one event loop."""
    count = len(work)
    return Contest(
        title="asyncio: aggregation",
        ours=Contestant(
            "streamkit.asyncio",
            lambda: loop.run_until_complete(ours.aggregate_async(client)),
            count,
            work.reset,
            lambda _: work.check(count),
        ),
        rivals=(
            Rival(
                Contestant(
                    "XREAD COUNT 1000, MULTI/EXEC",
                    lambda: loop.run_until_complete(rivals_asyncio.aggregate_in_transactions(client, work.first_day)),
                    count,
                    work.reset,
                    lambda _: work.check(count),
                ),
                1.0,
            ),
        ),
    )
