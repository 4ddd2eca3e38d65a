"""Appending one entry, to each kind of stream."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import redis.asyncio

from streamkit.asyncio import (
    AheadOfTime,
    CappedStream,
    EntryId,
    NaiveDatetime,
    OutOfOrder,
    PartitionedStream,
    RetentionExceeded,
    Stream,
    WrongKeyType,
)

NOW = datetime.now(timezone.utc)


async def test_an_entry_is_written_with_its_fields_as_text(client: redis.asyncio.Redis, name: str) -> None:
    entry_id = await Stream(client, name).append({"temp_f": 41.5, "sensor": "a", "n": 3, "raw": b"\xff"})
    ((written, fields),) = (await client.xrange(name)) or []
    assert written == str(entry_id).encode()
    assert fields == {b"temp_f": b"41.5", b"sensor": b"a", b"n": b"3", b"raw": b"\xff"}


async def test_without_at_the_servers_clock_numbers_the_entry_and_picks_the_partition(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream = PartitionedStream(client, name)
    entry_id = await stream.append({"a": 1})
    assert await stream.keys() == [stream.key_for(entry_id.time)]


async def test_a_partition_expires_its_retention_after_its_newest_entry(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, retention=timedelta(days=2))
    await stream.append({"a": 1}, at=NOW)
    newest = await stream.append({"a": 2}, at=NOW + timedelta(milliseconds=5))
    assert await stream.expires_at(stream.key_for(NOW)) == newest.time + timedelta(days=2)


async def test_an_expiry_further_off_is_left_alone(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    await stream.append({"a": 1}, at=NOW)
    far = NOW.replace(microsecond=0) + timedelta(days=30)
    await client.pexpireat(stream.key_for(NOW), far)
    await stream.append({"a": 2}, at=NOW + timedelta(milliseconds=1))
    assert await stream.expires_at(stream.key_for(NOW)) == far


async def test_an_entry_older_than_the_retention_is_refused_with_the_reason(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream = PartitionedStream(client, name, retention=timedelta(days=2))
    with pytest.raises(RetentionExceeded, match="Redis deletes a key at once whose expiry is past"):
        await stream.append({"a": 1}, at=NOW - timedelta(days=3))
    assert await client.keys(f"{name}*") == []


async def test_an_entry_too_far_ahead_is_refused(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    with pytest.raises(AheadOfTime, match="mend the clock, or raise max_ahead"):
        await stream.append({"a": 1}, at=datetime(2038, 1, 19, tzinfo=timezone.utc))


async def test_out_of_order_names_both_ids(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, maxlen=10)
    newest = await stream.append({"a": 1}, at=NOW)
    with pytest.raises(OutOfOrder) as caught:
        await stream.append({"a": 2}, at=EntryId(newest.ms - 1, 7))
    assert str(newest) in str(caught.value)
    assert f"{newest.ms - 1}-7" in str(caught.value)


async def test_bump_numbers_an_entry_out_of_order_just_after_the_newest(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, out_of_order="bump")
    newest = await stream.append({"a": 1}, at=NOW)
    assert await stream.append({"a": 2}, at=NOW - timedelta(milliseconds=1)) == EntryId(newest.ms, newest.seq + 1)


async def test_a_naive_time_is_refused_before_anything_is_sent(name: str) -> None:
    unreachable = redis.asyncio.Redis(port=1)
    with pytest.raises(NaiveDatetime, match="time zone"):
        PartitionedStream(unreachable, name).key_for(datetime(2025, 1, 1))  # noqa: DTZ001 - the point


async def test_a_key_of_another_type_is_named(client: redis.asyncio.Redis, name: str) -> None:
    await client.set(name, "text")
    with pytest.raises(WrongKeyType, match=f"{name}.*holds a string, not a stream"):
        await Stream(client, name).append({"a": 1})
