"""redis-py by hand: pipelines of 1000 readings, with one EXPIREAT a batch, or one a reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import redis

from benchmarks.names import BATCH, RETENTION, TEMPERATURES
from benchmarks.readings import Readings

if TYPE_CHECKING:
    from redis.typing import EncodableT, FieldT

RETENTION_S = int(RETENTION.total_seconds())


def append_expiring_batches(client: redis.Redis, readings: Readings) -> None:
    """A batch ends after 1000 readings or with its day; its last command is the EXPIREAT of that day."""
    values = cast("list[dict[FieldT, EncodableT]]", readings.values)
    pipeline = client.pipeline(transaction=False)
    key, today, second, waiting = "", None, 0, 0
    for fields, time in zip(values, readings.times, strict=True):
        day = time.date()
        if day != today:
            if waiting:
                pipeline.expireat(key, second + RETENTION_S)
                pipeline.execute()
            key, today, waiting = f"{TEMPERATURES}:{time:%Y%m%d}", day, 0
        ms = int(time.timestamp() * 1000)
        second = ms // 1000
        pipeline.xadd(key, fields, id=ms)
        waiting += 1
        if waiting == BATCH:
            pipeline.expireat(key, second + RETENTION_S)
            pipeline.execute()
            waiting = 0
    if waiting:
        pipeline.expireat(key, second + RETENTION_S)
        pipeline.execute()


def append_expiring_readings(client: redis.Redis, readings: Readings) -> None:
    """XADD and EXPIREAT for each reading, the way the Redis Streams course does it, 1000 readings a pipeline."""
    values = cast("list[dict[FieldT, EncodableT]]", readings.values)
    pipeline = client.pipeline(transaction=False)
    key, today, waiting = "", None, 0
    for fields, time in zip(values, readings.times, strict=True):
        day = time.date()
        if day != today:
            key, today = f"{TEMPERATURES}:{time:%Y%m%d}", day
        ms = int(time.timestamp() * 1000)
        pipeline.xadd(key, fields, id=ms)
        pipeline.expireat(key, ms // 1000 + RETENTION_S)
        waiting += 1
        if waiting == BATCH:
            pipeline.execute()
            waiting = 0
    pipeline.execute()
