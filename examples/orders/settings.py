"""How the demo is set: names, and times short enough to watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from streamkit import RetryPolicy

NOTIFICATIONS = "notifications"
ANALYTICS = "analytics"
CONSUMERS = {NOTIFICATIONS: ("worker-a", "worker-b"), ANALYTICS: ("worker-c",)}


@dataclass(frozen=True)
class Settings:
    """What a demo is made of.

    Attributes:
        stream_key: The stream.
        maxlen: About how many events it keeps.
        min_idle_time: How long an event lies untouched before another consumer may reap it.
        sweep_every: How often the timer looks for such events.
        retry: How often a handler is tried, and what it waits in between.
        reset: Whether to begin with an empty stream.
    """

    stream_key: str = "demo:events:orders"
    maxlen: int = 2000
    min_idle_time: timedelta = timedelta(seconds=10)
    sweep_every: timedelta = timedelta(seconds=20)
    retry: RetryPolicy = RetryPolicy(max_deliveries=3, backoff=[timedelta(seconds=2), timedelta(seconds=4)])  # noqa: RUF009 - frozen
    reset: bool = True

    @property
    def companions(self) -> str:
        """What the library's own keys beside the stream begin with: dead letters, and what was moved back."""
        key = self.stream_key
        tagged = key.find("}", key.find("{") + 1) > key.find("{") + 1 and "{" in key
        return key if tagged else f"{{{key}}}"

    @property
    def dead_letters(self) -> str:
        """The dead-letter stream of both groups."""
        return f"{self.companions}:dead-letters"

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that the demo leaves behind."""
        return (self.stream_key, self.dead_letters, *(f"{self.companions}:{each}" for each in ("redrives", "appends")))
