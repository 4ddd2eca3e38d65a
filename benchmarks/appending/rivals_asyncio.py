"""The same by hand with redis.asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import redis.asyncio

from benchmarks.appending.rivals import RETENTION_S
from benchmarks.names import BATCH, TEMPERATURES
from benchmarks.readings import Readings

if TYPE_CHECKING:
    from redis.typing import EncodableT, FieldT


async def append_expiring_batches(client: redis.asyncio.Redis, readings: Readings) -> None:
    """A batch ends after 1000 readings or with its day; its last command is the EXPIREAT of that day."""
    values = cast("list[dict[FieldT, EncodableT]]", readings.values)
    pipeline: Any = client.pipeline(transaction=False)  # queues: what it returns is not to be awaited
    key, today, second, waiting = "", None, 0, 0
    for fields, time in zip(values, readings.times, strict=True):
        day = time.date()
        if day != today:
            if waiting:
                pipeline.expireat(key, second + RETENTION_S)
                await pipeline.execute()
            key, today, waiting = f"{TEMPERATURES}:{time:%Y%m%d}", day, 0
        ms = int(time.timestamp() * 1000)
        second = ms // 1000
        pipeline.xadd(key, fields, id=ms)
        waiting += 1
        if waiting == BATCH:
            pipeline.expireat(key, second + RETENTION_S)
            await pipeline.execute()
            waiting = 0
    if waiting:
        pipeline.expireat(key, second + RETENTION_S)
        await pipeline.execute()
