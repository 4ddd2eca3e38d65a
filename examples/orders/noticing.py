"""What the demo counts and tells: an observer for its consumers, and a short memory of what happened."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from typing_extensions import override

from streamkit import Cause, EntryOfGroup, LeaseLost, Observer

if TYPE_CHECKING:
    from collections.abc import Sequence

REMEMBERED = 60


@dataclass
class Tally:
    """Counted since the start, or the last reset."""

    produced: int = 0
    acked: int = 0
    claimed: int = 0


@dataclass(frozen=True)
class Happening:
    """A line of the log: its number, when, what."""

    number: int
    at_ms: int
    text: str


class Log:
    """The latest happenings, newest first."""

    def __init__(self) -> None:
        self.lines: deque[Happening] = deque(maxlen=REMEMBERED)
        self._numbers = count(1)

    def add(self, text: str) -> None:
        """Remember something."""
        self.lines.appendleft(Happening(next(self._numbers), time.time_ns() // 1_000_000, text))


@dataclass(frozen=True)
class Waiting:
    """A retry to come: when, by the monotonic clock, and why."""

    due: float
    error: str


class Narrator(Observer):
    """Hears what one consumer's steps cannot return."""

    def __init__(self, consumer: str, tally: Tally, log: Log) -> None:
        self.retries: dict[str, Waiting] = {}
        self._consumer = consumer
        self._tally = tally
        self._log = log

    @override
    def on_retry(self, entry: EntryOfGroup, attempt: int, delay: float, error: BaseException) -> None:
        self.retries[entry.id] = Waiting(time.monotonic() + delay, str(error))
        self._log.add(f"{self._consumer}: attempt {attempt} at {entry.id} failed ({error}); next in {delay:.1f} s")

    @override
    def on_buried(self, entry: EntryOfGroup, cause: Cause, dead_letters: str, error: BaseException | None) -> None:
        self.retries.pop(entry.id, None)
        self._log.add(f"{self._consumer}: {entry.id} is a dead letter now ({cause.value})")

    @override
    def on_claimed(self, stream: str, count: int) -> None:
        self._tally.claimed += count
        self._log.add(f"{self._consumer}: took over {count} pending")

    @override
    def on_lease_lost(self, error: LeaseLost) -> None:
        self.retries.pop(error.entry_id, None)
        self._log.add(f"{self._consumer}: {error}")

    @override
    def on_unread(self, stream: str, group: str, count: int, first: str, last: str) -> None:
        self._log.add(f"{group}: {count} events were trimmed before they were delivered ({first} to {last})")

    @override
    def on_group_missing(self, stream: str, group: str) -> None:
        self._log.add(f"{self._consumer}: the group {group} was gone; made anew")

    @override
    def on_retired(self, stream: str, group: str, consumers: Sequence[str]) -> None:
        self._log.add(f"{group}: removed {', '.join(consumers)}, silent for long")

    @override
    def on_unavailable(self, error: Exception, attempt: int, delay: float) -> None:
        if attempt == 1:
            self._log.add(f"{self._consumer}: the server is away ({error})")

    @override
    def on_available(self) -> None:
        self._log.add(f"{self._consumer}: the server is back")

    @override
    def on_eviction_policy(self, policy: str) -> None:
        self._log.add(f"careful: the server may evict keys (maxmemory-policy {policy})")
