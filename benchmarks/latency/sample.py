"""A sample of durations."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def percentile(seconds: Sequence[float], share: int) -> float:
    """The percentile of a sample, in microseconds."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[share - 1] * 1e6
