"""From the moment XADD is sent until the loop of a reader that waits on an idle stream has the entry in hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.aggregating.rivals import entries_of
from benchmarks.names import PLAIN, STATE
from streamkit import NEW, CheckpointedReader, Observer

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
    client.delete(STATE)
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
