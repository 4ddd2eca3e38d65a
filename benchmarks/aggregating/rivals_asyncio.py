"""The loop with transactions by hand with redis.asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import redis.asyncio

from benchmarks.aggregating.rivals import day_after, entries_of
from benchmarks.names import AVERAGES, AVERAGES_KEPT, BATCH, STATE
from benchmarks.readings import MS_PER_HOUR, average

if TYPE_CHECKING:
    from redis.typing import EncodableT, FieldT


async def aggregate_in_transactions(client: redis.asyncio.Redis, key: str) -> None:
    """XREAD COUNT 1000; the outputs of the batch and the state that follows from it in one transaction."""
    last_id, hour, total, count = "0-0", 0, 0.0, 0
    saved = cast("dict[str, str]", await client.hgetall(STATE))
    if saved:
        key, last_id = saved["current_stream_key"], saved["last_message_id"]
        hour, total = int(saved["current_hour"]), float(saved["current_hourly_total"])
        count = int(saved["current_hourly_count"])
    while True:
        reply: Any = await client.xread({key: last_id}, count=BATCH)
        if not reply:
            following = day_after(key)
            if not await client.exists(following):
                return
            key, last_id = following, "0-0"
            continue
        entries = entries_of(reply)
        outputs: list[dict[str, str]] = []
        for entry_id, fields in entries:
            this = int(entry_id.partition("-")[0]) // MS_PER_HOUR
            if this != hour:
                if count:
                    outputs.append(average(hour, total, count))
                hour, total, count = this, 0.0, 0
            total += float(fields["temp_f"])
            count += 1
        last_id = entries[-1][0]
        transaction: Any = client.pipeline(transaction=True)  # queues: what it returns is not to be awaited
        for output in cast("list[dict[FieldT, EncodableT]]", outputs):
            transaction.xadd(AVERAGES, output, maxlen=AVERAGES_KEPT, approximate=True)
        transaction.hset(
            STATE,
            mapping={
                "current_stream_key": key,
                "last_message_id": last_id,
                "current_hour": hour,
                "current_hourly_total": total,
                "current_hourly_count": count,
            },
        )
        await transaction.execute()
