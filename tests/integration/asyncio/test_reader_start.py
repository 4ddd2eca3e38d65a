"""Where a reader begins while nothing is saved."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import redis.asyncio

from streamkit.asyncio import (
    NEW,
    CheckpointedReader,
    EntryId,
    InvalidArgument,
    InvalidEntryId,
    NaiveDatetime,
    NotAPartition,
    PartitionedStream,
    Position,
)
from tests.integration.asyncio._readers import (
    DAY,
    MONTH_OF_DAYS,
    NOTHING_YET,
    Reader,
    collect,
    key_of,
    midnight,
    read,
    saved_id,
    take,
    told,
    write,
)
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def daily(client: redis.asyncio.Redis, name: str) -> PartitionedStream:
    return PartitionedStream(client, name, retention=MONTH_OF_DAYS)


async def write_three_days(client: redis.asyncio.Redis, name: str) -> list[EntryId]:
    """Two entries on each of the three days before yesterday: 10, 11; 20, 21; 30, 31."""
    ids: list[EntryId] = []
    for number in (1, 2, 3):
        day = midnight(number - 5)
        for hour in (0, 1):
            at = day + timedelta(hours=6 * (hour + 1))
            ids += await write(client, key_of(name, day), 10 * number + hour, at=at)
    return ids


async def test_none_is_the_beginning(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    assert await read(CheckpointedReader(client, name, f"{name}:c", follow=False)) == [1, 2]


async def test_none_is_the_oldest_partition(client: redis.asyncio.Redis, name: str) -> None:
    await write_three_days(client, name)
    reader = CheckpointedReader(client, daily(client, name), f"{name}:c", follow=False)
    assert await read(reader) == [10, 11, 20, 21, 30, 31]


async def test_new_is_whatever_is_written_from_entering_on(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", start=NEW, follow=False)
    async with reader:
        await write(client, name, 3)
        assert [entry.value["n"] async for entry in reader] == ["3"]


async def test_new_loses_nothing_though_the_reader_dies_before_its_first_entry(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", start=NEW, follow=False)
    async with reader:
        pass
    await write(client, name, 3, 4)
    assert await read(reader) == [3, 4]


async def test_new_on_a_stream_that_does_not_exist_yet(client: redis.asyncio.Redis, name: str) -> None:
    reader = CheckpointedReader(client, name, f"{name}:c", start=NEW)
    async with reader:
        pass
    await write(client, name, 1)
    assert await take(reader, 1) == [1]


async def test_new_on_partitions_is_whatever_is_written_from_entering_on(
    client: redis.asyncio.Redis, name: str
) -> None:
    source = daily(client, name)
    await write_three_days(client, name)
    await source.append({"n": 40})
    recorder = Recorder()
    reader = CheckpointedReader(client, source, f"{name}:c", start=NEW, observer=recorder)
    async with reader:
        pass
    await source.append({"n": 41})
    assert await take(reader, 1) == [41]
    assert recorder.of("on_gap") == []


async def test_new_on_partitions_with_no_data_today(client: redis.asyncio.Redis, name: str) -> None:
    source = daily(client, name)
    await write_three_days(client, name)
    reader = CheckpointedReader(client, source, f"{name}:c", start=NEW)
    async with reader:
        pass
    await source.append({"n": 41})
    assert await take(reader, 1) == [41]


async def test_new_loses_nothing_though_a_partition_ahead_exists(client: redis.asyncio.Redis, name: str) -> None:
    source = daily(client, name)
    now = datetime.now(timezone.utc)
    await write(client, key_of(name, midnight(1)), 50, at=now + DAY)
    await source.append({"n": 40})
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, source, f"{name}:c", start=NEW, observer=recorder)
    async with running(collect, reader, numbers, stop=reader.stop):
        await until(told(recorder, "on_waiting"))
        await source.append({"n": 41})
        # Read, or at least reported: never lost without a word.
        await until(lambda: 41 in numbers or sum(late.count for late in recorder.of("on_late")) == 1)
    assert 40 not in numbers


async def test_a_datetime_includes_its_own_moment(client: redis.asyncio.Redis, name: str) -> None:
    noon = midnight(-1) + timedelta(hours=12)
    for number in range(4):
        await write(client, name, number, at=noon + number * timedelta(seconds=1))
    reader = CheckpointedReader(client, name, f"{name}:c", start=noon + timedelta(seconds=2), follow=False)
    assert await read(reader) == [2, 3]


async def test_a_datetime_picks_its_partition(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write_three_days(client, name)
    for start, expected in [
        (ids[2].time, [20, 21, 30, 31]),
        (ids[3].time, [21, 30, 31]),
        (ids[3].time + timedelta(hours=1), [30, 31]),
        (midnight(-3), [20, 21, 30, 31]),
        (midnight(-3) - timedelta(milliseconds=1), [20, 21, 30, 31]),
    ]:
        reader = CheckpointedReader(client, daily(client, name), f"{name}:c", start=start, follow=False)
        assert await read(reader) == expected
        await reader.reset()


async def test_a_time_after_the_newest_entry_reads_nothing_old_again(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2, at=midnight(-1))
    recorder = Recorder()
    start = datetime.now(timezone.utc) - timedelta(hours=1)
    reader = CheckpointedReader(client, name, f"{name}:c", start=start, observer=recorder, follow=False)
    assert await read(reader) == []
    await write(client, name, 3)
    assert await read(reader) == [3]
    assert recorder.of("on_gap") == []


async def test_a_time_in_a_stream_that_does_not_exist_yet_is_no_gap(client: redis.asyncio.Redis, name: str) -> None:
    recorder = Recorder()
    start = midnight(-1) + timedelta(hours=1)
    for source in (name, daily(client, f"{name}:days")):
        reader: Reader = CheckpointedReader(client, source, f"{name}:c", start=start, observer=recorder, follow=False)
        assert await read(reader) == []
        assert await read(reader) == []
        await reader.reset()
    assert recorder.of("on_gap") == []


async def test_an_entry_id_is_included(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, 1, 2, 3)
    for start in (ids[1], str(ids[1])):
        reader = CheckpointedReader(client, name, f"{name}:c", start=start, follow=False)
        assert await read(reader) == [2, 3]
        await reader.reset()


async def test_an_entry_id_picks_its_partition(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write_three_days(client, name)
    for start in (ids[3], str(ids[3])):
        reader = CheckpointedReader(client, daily(client, name), f"{name}:c", start=start, follow=False)
        assert await read(reader) == [21, 30, 31]
        await reader.reset()


async def test_a_partition_is_begun_at_its_beginning(client: redis.asyncio.Redis, name: str) -> None:
    await write_three_days(client, name)
    start = key_of(name, midnight(-3))
    reader = CheckpointedReader(client, daily(client, name), f"{name}:c", start=start, follow=False)
    assert await read(reader) == [20, 21, 30, 31]


async def test_the_start_is_saved_and_a_saved_position_goes_before_it(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, 1, 2, 3)
    reader = CheckpointedReader(client, name, f"{name}:c", start=ids[1], follow=False)
    async with reader:
        assert await client.hget(f"{name}:c", "current_stream_key") == name.encode()
        assert await saved_id(reader) != NOTHING_YET
    other = CheckpointedReader(client, name, f"{name}:c", start=ids[2], follow=False)
    assert await read(other) == [2, 3]
    saved = await other.saved()
    assert saved is not None
    assert saved.position == Position(name, ids[2])


async def test_a_dollar_is_refused_and_points_to_new(client: redis.asyncio.Redis, name: str) -> None:
    for source in (name, daily(client, name)):
        with pytest.raises(InvalidEntryId, match=r"streamkit\.NEW"):
            CheckpointedReader(client, source, f"{name}:c", start="$")


async def test_the_partition_of_another_stream_is_refused(client: redis.asyncio.Redis, name: str) -> None:
    for key in (f"{name}:averages", f"other:{midnight():%Y%m%d}", f"{name}:2025011", f"{name}:20251301", name):
        with pytest.raises(NotAPartition, match="its partitions are named like"):
            CheckpointedReader(client, daily(client, name), f"{name}:c", start=key)
    with pytest.raises(InvalidArgument, match="neither an entry ID nor the key"):
        CheckpointedReader(client, name, f"{name}:c", start="other")


async def test_a_naive_datetime_is_refused(client: redis.asyncio.Redis, name: str) -> None:
    with pytest.raises(NaiveDatetime, match="time zone"):
        CheckpointedReader(client, name, f"{name}:c", start=datetime(2025, 1, 1))  # noqa: DTZ001 - the point
