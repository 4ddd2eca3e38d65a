"""Tests of what is promised within a time, on a machine that may stand still meanwhile.

One marked `steady` is tried again, with keys of its own, if it failed while this process was held up: with a stall of a
second any promise of a second is broken, any lease of half a second lost. Where nothing was held up it fails at once.
"""

from __future__ import annotations

import inspect
import threading
import time
from typing import Any

import pytest
from typing_extensions import Self

TRIES = 3
HELD_UP = 0.1
"""For how long, in seconds, a try must have been held up to be made again."""
TICK = 0.005
LATE = 0.01
"""What a tick may be late by, in seconds, without anything being held up."""


class Ticker:
    """How long this process was held up, by a thread that looks often how late it comes to look."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick)
        self._held_up = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def held_up(self) -> float:
        """Seconds, known at the end."""
        return self._held_up

    def _tick(self) -> None:
        while not self._end.is_set():
            looked, worked = time.monotonic(), time.process_time()
            time.sleep(TICK)
            # What this process itself computed meanwhile is its own, and no excuse.
            late = time.monotonic() - looked - TICK - (time.process_time() - worked)
            self._held_up += late if late > LATE else 0.0


def try_steadily(test: pytest.Function) -> None:
    """Run a test, and again if it failed and was held up."""
    arguments: dict[str, Any] = {name: test.funcargs[name] for name in inspect.signature(test.obj).parameters}
    for left in reversed(range(TRIES)):
        ticker = Ticker()
        try:
            with ticker:
                test.obj(**arguments)
        except Exception:
            if not left or ticker.held_up < HELD_UP:
                raise
        else:
            return
        for prefix in {"name", "word"} & set(arguments):
            arguments[prefix] += "x"
