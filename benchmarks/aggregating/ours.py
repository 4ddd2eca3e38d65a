"""streamkit: a CheckpointedReader whose loop sees one entry at a time, in both halves."""

from __future__ import annotations

from dataclasses import dataclass

import redis
import redis.asyncio

import streamkit
import streamkit.asyncio
from benchmarks.names import AVERAGES, AVERAGES_KEPT, BATCH, MAX_AHEAD, RETENTION, STATE, TEMPERATURES
from benchmarks.readings import MS_PER_HOUR, average


@dataclass
class Hour:
    """The hour being added up."""

    current_hour: int = 0
    current_hourly_total: float = 0.0
    current_hourly_count: int = 0


def aggregate(client: redis.Redis) -> None:
    """Read everything there is, one entry at a time."""
    source = streamkit.PartitionedStream(client, TEMPERATURES, retention=RETENTION, max_ahead=MAX_AHEAD)
    averages = streamkit.CappedStream(client, AVERAGES, maxlen=AVERAGES_KEPT)
    reader = streamkit.CheckpointedReader(
        client, source, STATE, state=Hour(), count=BATCH, follow=False, observer=streamkit.Observer()
    )
    with reader:
        for entry in reader:
            hour = entry.ms // MS_PER_HOUR
            state = reader.state
            if hour != state.current_hour:
                if state.current_hourly_count:
                    done = average(state.current_hour, state.current_hourly_total, state.current_hourly_count)
                    reader.emit(averages, done)
                state = reader.state = Hour(hour)
            state.current_hourly_total += float(entry.value["temp_f"])
            state.current_hourly_count += 1


async def aggregate_async(client: redis.asyncio.Redis) -> None:
    """The same with await."""
    source = streamkit.asyncio.PartitionedStream(client, TEMPERATURES, retention=RETENTION, max_ahead=MAX_AHEAD)
    averages = streamkit.asyncio.CappedStream(client, AVERAGES, maxlen=AVERAGES_KEPT)
    reader = streamkit.asyncio.CheckpointedReader(
        client, source, STATE, state=Hour(), count=BATCH, follow=False, observer=streamkit.Observer()
    )
    async with reader:
        async for entry in reader:
            hour = entry.ms // MS_PER_HOUR
            state = reader.state
            if hour != state.current_hour:
                if state.current_hourly_count:
                    done = average(state.current_hour, state.current_hourly_total, state.current_hourly_count)
                    reader.emit(averages, done)
                state = reader.state = Hour(hour)
            state.current_hourly_total += float(entry.value["temp_f"])
            state.current_hourly_count += 1
