"""Work in the background, and waiting for what it does: on conditions, with a deadline, never on luck."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

DEADLINE = 60.0
"""Seconds after which something that must happen has not; generous, for machines under load."""


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: did not come true within {DEADLINE} s"
        time.sleep(0.002)


class Background:
    """A function in a thread of its own."""

    def __init__(self, main: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(main, arguments), daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it ended."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(DEADLINE)
        assert self.done, "what ran in the background did not end"

    def result(self) -> Any:
        """What it returned, once it has; raises what it raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._value

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds that depends on this work: its error is raised instead of waiting in vain."""
        until(lambda: self.done or condition(), what)
        if self.done:
            self.result()
            assert condition(), f"{what}: what ran in the background ended before"

    def _run(self, main: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            self._value = main(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._error = error


@contextmanager
def background(
    main: Callable[..., Any], *arguments: Any, stop: Callable[[], None] | None = None
) -> Iterator[Background]:
    """Run a function beside the test; at the end call ``stop``, wait for it, and raise what it raised."""
    work = Background(main, arguments)
    try:
        yield work
    finally:
        if stop is not None:
            stop()
        work.join()
    work.result()
