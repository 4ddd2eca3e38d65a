"""From the moment XADD is sent until a loop that waits on an idle stream has the entry in hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.aggregating.rivals import entries_of
from benchmarks.names import GROUP, PLAIN, STATE
from streamkit import NEW, CheckpointedReader, Delivery, GroupConsumer, Observer
from streamkit._core.keys import companion

PAUSE = 0.01
"""Seconds between two entries: the reader is back at waiting by then."""
LAST = "last"


class Arrivals:
    """Where a reader notes when an entry came."""

    def __init__(self) -> None:
        self.moment = 0.0
        self.came = threading.Event()

    def note(self) -> None:
        """An entry is here."""
        self.moment = time.perf_counter()
        self.came.set()


def streamkit_loop(client: redis.Redis, arrivals: Arrivals) -> None:
    """A CheckpointedReader, which saves its position with each entry that finds it idle."""
    reader = CheckpointedReader(client, PLAIN, STATE, start=NEW, observer=Observer())
    with reader:
        for entry in reader:
            arrivals.note()
            if LAST in entry.value:
                return


def bare_loop(client: redis.Redis, arrivals: Arrivals) -> None:
    """XREAD BLOCK and nothing else: nothing is saved."""
    last_id = "$"
    while True:
        reply: Any = client.xread({PLAIN: last_id}, block=1000)
        if reply:
            entries = entries_of(reply)
            last_id = entries[-1][0]
            arrivals.note()
            if LAST in entries[-1][1]:
                return


def group_loop(client: redis.Redis, arrivals: Arrivals) -> None:
    """A GroupConsumer, which acks each entry that finds it idle."""
    consumer = GroupConsumer(client, PLAIN, GROUP, start=NEW, observer=Observer())

    def handle(delivery: Delivery) -> None:
        arrivals.note()
        if LAST in delivery.value:
            consumer.stop()

    consumer.run(handle)


def bare_group_loop(client: redis.Redis, arrivals: Arrivals) -> None:
    """XREADGROUP BLOCK, then XACK."""
    client.xgroup_create(PLAIN, GROUP, id="$")
    while True:
        reply: Any = client.xreadgroup(GROUP, "rival", {PLAIN: ">"}, count=500, block=1000)
        if reply:
            entries = entries_of(reply)
            arrivals.note()
            client.xack(PLAIN, GROUP, *[entry_id for entry_id, _ in entries])
            if LAST in entries[-1][1]:
                return


@contextmanager
def _reading(loop: Callable[[redis.Redis, Arrivals], None], client: redis.Redis) -> Iterator[Arrivals]:
    arrivals = Arrivals()
    thread = threading.Thread(target=loop, args=(client, arrivals), daemon=True)
    thread.start()
    time.sleep(0.2)
    try:
        yield arrivals
    finally:
        client.xadd(PLAIN, {LAST: "1"})
        thread.join(5)


def durations(loop: Callable[[redis.Redis, Arrivals], None], client: redis.Redis, count: int) -> list[float]:
    """How long each of so many entries took to its reader, in seconds."""
    client.delete(STATE, PLAIN, companion(PLAIN, f"group:{GROUP}"))
    client.xadd(PLAIN, {"before": "1"})
    taken: list[float] = []
    with _reading(loop, client) as arrivals:
        for number in range(count):
            time.sleep(PAUSE)
            arrivals.came.clear()
            start = time.perf_counter()
            client.xadd(PLAIN, {"number": number})
            if not arrivals.came.wait(5):
                msg = f"entry {number} did not reach {loop.__name__}"
                raise TimeoutError(msg)
            taken.append(arrivals.moment - start)
    return taken
