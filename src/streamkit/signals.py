"""Ending loops by signal, for programs that want SIGINT and SIGTERM to mean "finish what is in hand"."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stoppable(Protocol):
    """Anything with a ``stop()`` that only sets a flag: a reader, a consumer, a replayer."""

    def stop(self) -> None:
        """Ask it to end after what is in hand."""


@contextmanager
def stop_on_signals(*running: Stoppable) -> Iterator[None]:
    """Call ``stop()`` on each of these when SIGINT or SIGTERM comes, instead of raising KeyboardInterrupt.

    Enter it in the main thread, around the loop, in synchronous programs and in asyncio ones. The former handlers are
    put back at the end. A second signal does nothing more than the first; SIGKILL is safe too, since nothing is ever
    left half done.

    Args:
        *running: What to stop.

    Raises:
        ValueError: Entered outside the main thread, where Python handles no signals.
    """

    def stop(_signal: int, _frame: object) -> None:
        for each in running:
            each.stop()

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            # None: it was not installed from Python, which cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
