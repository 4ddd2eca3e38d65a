"""How long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Growing waits with jitter, in seconds: for a server that is away, not for entries that fail."""

    base: float = 0.05
    factor: float = 2.0
    maximum: float = 2.0

    def delay(self, attempt: int) -> float:
        """The wait after the ``attempt``-th failure in a row, from 1: half of it fixed, half of it chance."""
        whole = min(self.maximum, self.base * self.factor ** min(attempt - 1, 32))
        return whole * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing


RECONNECT = Backoff()
