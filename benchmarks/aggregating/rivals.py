"""redis-py by hand: a loop that saves once a batch in MULTI/EXEC, and one that reads and saves message by message."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

import redis

from benchmarks.names import AVERAGES, AVERAGES_KEPT, BATCH, STATE, TEMPERATURES
from benchmarks.readings import MS_PER_HOUR, average

if TYPE_CHECKING:
    from redis.typing import EncodableT, FieldT


def day_after(key: str) -> str:
    """The key of the day after a day's."""
    day = datetime.strptime(key.rpartition(":")[2], "%Y%m%d").replace(tzinfo=timezone.utc)
    return f"{TEMPERATURES}:{day + timedelta(days=1):%Y%m%d}"


def entries_of(reply: Any) -> list[tuple[str, dict[str, str]]]:
    """The entries of one stream: redis-py gives pairs over RESP2 and a dict, with one more list, over RESP3."""
    if isinstance(reply, dict):
        entries: Any = next(iter(cast("dict[str, Any]", reply).values()))
        return cast("list[tuple[str, dict[str, str]]]", entries[0] if isinstance(entries[0], list) else entries)
    return cast("list[tuple[str, dict[str, str]]]", reply[0][1])


def aggregate_in_transactions(client: redis.Redis, key: str) -> None:
    """XREAD COUNT 1000; the outputs of the batch and the state that follows from it in one transaction."""
    last_id, hour, total, count = "0-0", 0, 0.0, 0
    saved = cast("dict[str, str]", client.hgetall(STATE))
    if saved:
        key, last_id = saved["current_stream_key"], saved["last_message_id"]
        hour, total = int(saved["current_hour"]), float(saved["current_hourly_total"])
        count = int(saved["current_hourly_count"])
    while True:
        reply: Any = client.xread({key: last_id}, count=BATCH)
        if not reply:
            following = day_after(key)
            if not client.exists(following):
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
        transaction = client.pipeline(transaction=True)
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
        transaction.execute()


def aggregate_one_by_one(client: redis.Redis, key: str, limit: int) -> None:
    """XREAD COUNT 1 and one HSET a message, the way the Redis Streams course does it; nothing is atomic."""
    last_id, hour, total, count = "0-0", 0, 0.0, 0
    for _ in range(limit):
        reply: Any = client.xread({key: last_id}, count=1)
        ((last_id, fields),) = entries_of(reply)
        this = int(last_id.partition("-")[0]) // MS_PER_HOUR
        if this != hour:
            if count:
                output = cast("dict[FieldT, EncodableT]", average(hour, total, count))
                client.xadd(AVERAGES, output, maxlen=AVERAGES_KEPT, approximate=True)
            hour, total, count = this, 0.0, 0
        total += float(fields["temp_f"])
        count += 1
        client.hset(
            STATE,
            mapping={
                "current_stream_key": key,
                "last_message_id": last_id,
                "current_hour": hour,
                "current_hourly_total": total,
                "current_hourly_count": count,
            },
        )
