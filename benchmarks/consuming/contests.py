"""The contests in consuming, and what must stand on the server after each."""

from __future__ import annotations

import asyncio
from typing import Any

import redis
import redis.asyncio

import streamkit
from benchmarks.consuming import ours, rivals
from benchmarks.contest import Contest, Contestant, Rival
from benchmarks.names import EVENTS, GROUP, clear

KINDS = ("order.placed", "order.paid", "order.shipped", "order.cancelled")


class Events:
    """The entries to consume: five fields each."""

    def __init__(self, client: redis.Redis, count: int) -> None:
        self._client = client
        self._count = count
        clear(client)
        streamkit.Stream(client, EVENTS).append_many(
            {
                "order_id": str(number),
                "kind": KINDS[number % 4],
                "customer": f"customer-{number % 1000}",
                "amount": f"{number % 500}.50",
                "ts_ms": str(1_767_225_600_000 + number),
            }
            for number in range(count)
        )

    def __len__(self) -> int:
        return self._count

    def reset(self) -> None:
        """Forget the group, keep the entries."""
        self._client.xgroup_destroy(EVENTS, GROUP)
        clear(self._client, f"*{EVENTS}*:group:*")

    def check(self) -> None:
        """Fail unless everything was delivered and acked."""
        groups: Any = self._client.xinfo_groups(EVENTS)
        (group,) = groups
        assert (group["pending"], group["lag"]) == (0, 0), group
        assert group["entries-read"] == self._count, group


def synchronous(client: redis.Redis, work: Events) -> Contest:
    """Entry by entry against the loop by hand."""
    count = len(work)

    def contestant(name: str, run: Any) -> Contestant:
        return Contestant(name, lambda: run(client, count), count, work.reset, lambda _: work.check())

    return Contest(
        "group: run",
        contestant("streamkit", ours.consume),
        (
            Rival(contestant("XACK + XREADGROUP COUNT 500", rivals.consume), 1.3),
            Rival(contestant("streamkit run_batches", ours.consume_batches), 0.0),
        ),
    )


def asynchronous(loop: asyncio.AbstractEventLoop, client: redis.asyncio.Redis, work: Events) -> Contest:
    """The same in one event loop."""
    count = len(work)

    def contestant(name: str, run: Any) -> Contestant:
        return Contestant(
            name, lambda: loop.run_until_complete(run(client, count)), count, work.reset, lambda _: work.check()
        )

    return Contest(
        "asyncio: group: run",
        contestant("streamkit.asyncio", ours.consume_async),
        (Rival(contestant("XACK + XREADGROUP COUNT 500", rivals.consume_async), 1.0),),
    )
