"""What the tests need of threads; hand-written, its twin stands in `asyncio`."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio

import streamkit.asyncio

DEADLINE = 60.0


def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait until a condition holds; fail when it does not within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {DEADLINE} s"
        time.sleep(0.01)


def pause(seconds: float) -> None:
    """Let time pass, where time itself is the subject."""
    time.sleep(seconds)


class Running:
    """A function in a thread: its outcome is asked for by `result`."""

    def __init__(self, main: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(main, arguments), daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it ended."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What it returned; raises what it raised, or fails after the deadline."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._value

    def interrupt(self) -> None:
        """End it from outside, wherever it is, as Ctrl-C does (and cancelling in a task)."""
        thread = ctypes.c_ulong(self._thread.ident or 0)
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(KeyboardInterrupt)) == 1
        self.join()
        assert isinstance(self._error, KeyboardInterrupt)
        self._error = None

    def join(self) -> None:
        """Wait for its end; fail after the deadline."""
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "what ran in the background did not end"

    def _run(self, main: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            self._value = main(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._error = error


@contextmanager
def running(main: Callable[..., Any], *arguments: Any, stop: Callable[[], None] | None = None) -> Iterator[Running]:
    """Run a function beside the test; at the end call `stop` and wait for it."""
    running = Running(main, arguments)
    try:
        yield running
    finally:
        if stop is not None:
            stop()
        running.join()
        # An error that nobody asked for by result() must not go unseen.
        running.result()


def start(main: Callable[[], Any]) -> None:
    """Run the main function of a program."""
    main()


def streams_of_the_other_half(name: str) -> list[Any]:
    """Streams that belong to the asynchronous half."""
    client = redis.asyncio.Redis()
    return [
        streamkit.asyncio.Stream(client, name),
        streamkit.asyncio.CappedStream(client, name, maxlen=1),
        streamkit.asyncio.PartitionedStream(client, name),
    ]


def client_of_the_other_half() -> Any:
    """A client that belongs to the asynchronous half."""
    return redis.asyncio.Redis()
