"""The keys that the benchmarks use; nothing else on the server is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import cast

import redis

MARK = "streamkit-benchmark"
TEMPERATURES = f"{MARK}:temps"
AVERAGES = f"{MARK}:averages"
STATE = f"{MARK}:aggregating_consumer_state"
PLAIN = f"{MARK}:plain"
EVENTS = f"{MARK}:events"
GROUP = f"{MARK}:group"

RETENTION = timedelta(days=2)
MAX_AHEAD = timedelta(days=14)
AVERAGES_KEPT = 1000
PAGE = 200
"""What a GroupConsumer reads at once."""
BATCH = 1000
"""Entries in one pipeline, or in one read: for the rivals and for streamkit."""


def partitions(client: redis.Redis) -> list[str]:
    """The days that exist, oldest first."""
    return sorted(_matching(client, f"{TEMPERATURES}:????????"))


def clear(client: redis.Redis, pattern: str = f"*{MARK}*") -> None:
    """Delete what a run left, at once and not in the background of the next one."""
    for key in _matching(client, pattern):
        client.delete(key)


def _matching(client: redis.Redis, pattern: str) -> list[str]:
    found = cast("Iterator[str]", client.scan_iter(match=pattern, count=1000))
    return list(found)
