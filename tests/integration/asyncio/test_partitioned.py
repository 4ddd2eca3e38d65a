"""Partitioned streams: names, expiry, what other programs wrote under the same names, and whose clock counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio

import streamkit.asyncio.partitioned
from streamkit._core import appends
from streamkit.asyncio import (
    AheadOfTime,
    EntryId,
    InvalidArgument,
    NaiveDatetime,
    NotAPartition,
    PartitionedStream,
    Period,
    RetentionExceeded,
    WrongKeyType,
)
from tests.integration.asyncio._looking import ids, keys_like, numbers
from tests.integration.asyncio._runtime import until
from tests.integration.proxy import Proxy

DAY = timedelta(days=1)
MS = timedelta(milliseconds=1)
FULL_WIDTH = "".join(chr(0xFF10 + int(digit)) for digit in "20250101")
NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)
SECONDS = Period("SECOND", "%Y%m%d%H%M%S", timedelta(seconds=1))


def now() -> datetime:
    """The moment at hand."""
    return datetime.now(timezone.utc)


def whole_ms(moment: datetime) -> datetime:
    """The moment as an entry ID keeps it."""
    return EntryId.at(moment).time


async def foreign(client: redis.asyncio.Redis, key: str, *ids: str, expires: datetime | None = None) -> None:
    """What another program does: XADD, then EXPIREAT."""
    for entry_id in ids:
        await client.xadd(key, {"temp_f": "41"}, entry_id)
    if expires is not None:
        await client.expireat(key, expires)


def id_of(moment: datetime) -> str:
    """An entry ID of that moment."""
    return str(EntryId.at(moment))


# Names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "moment", "suffix"),
    [
        (Period.HOUR, datetime(2025, 1, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc), "2025013123"),
        (Period.HOUR, datetime(2025, 2, 1, tzinfo=timezone.utc), "2025020100"),
        (Period.DAY, datetime(2024, 2, 29, 23, 59, tzinfo=timezone.utc), "20240229"),
        (Period.DAY, datetime(2025, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "20241231"),
        (Period.MONTH, datetime(2024, 12, 31, 23, 59, tzinfo=timezone.utc), "202412"),
        (Period.MONTH, datetime(2024, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))), "202501"),
    ],
)
async def test_keys_are_named_after_the_period_in_utc(name: str, period: Period, moment: datetime, suffix: str) -> None:
    stream = PartitionedStream(redis.asyncio.Redis(port=1), name, period=period)
    assert stream.key_for(moment) == f"{name}:{suffix}"
    assert repr(stream) == f"PartitionedStream({name!r})"


async def test_key_for_needs_a_time_zone(name: str) -> None:
    with pytest.raises(NaiveDatetime, match="has no time zone; give it one"):
        PartitionedStream(redis.asyncio.Redis(port=1), name).key_for(NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("period", "retention"),
    [(Period.HOUR, timedelta(hours=5)), (Period.DAY, 2 * DAY), (Period.MONTH, timedelta(days=90))],
)
async def test_entries_go_to_their_period_and_expire_with_it(
    client: redis.asyncio.Redis, name: str, period: Period, retention: timedelta
) -> None:
    stream = PartitionedStream(client, name, period=period, retention=retention)
    start = period.start_of(now())
    before = start - MS
    older = await stream.append({"n": 0}, at=before)
    newer = await stream.append({"n": 1}, at=start)
    assert (older.time, newer.time) == (before, start)
    assert await stream.keys() == [stream.key_for(before), stream.key_for(start)]
    assert await stream.expires_at(stream.key_for(before)) == before + retention
    assert await stream.expires_at(stream.key_for(start)) == start + retention
    auto = await stream.append({"n": 2})
    assert await stream.expires_at(stream.key_for(auto.time)) == auto.time + retention


async def test_keys_lengths_and_info_oldest_first(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, max_ahead=3 * DAY)
    assert await stream.keys() == []
    assert await stream.length() == 0
    assert await stream.info() == []
    for days in (2, -1, 0):
        for n in range(days + 2):
            await stream.append({"n": n}, at=NOON + days * DAY + n * MS)
    await client.xdel(stream.key_for(NOON), id_of(NOON))
    keys = [stream.key_for(NOON + days * DAY) for days in (-1, 0, 2)]
    assert await stream.keys() == keys
    assert await stream.length() == 1 + 1 + 4
    infos = await stream.info()
    assert [info.key for info in infos] == keys
    assert [info.length for info in infos] == [1, 1, 4]
    assert [info.entries_added for info in infos] == [1, 2, 4]
    assert infos[1].first_id == EntryId.at(NOON + MS)
    assert infos[2].expires_at == NOON + 2 * DAY + 3 * MS + 2 * DAY


async def test_only_exact_names_are_partitions(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    await stream.append({"n": 1}, at=NOON)
    today = stream.key_for(NOON)
    for other in (f"{name}:averages", f"{today}:x", f"{today}00", f"x{today}", f"{name}:2025", name):
        await client.xadd(other, {"n": 1})
        with pytest.raises(NotAPartition, match="its partitions are named like") as caught:
            await stream.expires_at(other)
        assert repr(other) in str(caught.value)
        assert f"{name}:20250101" in str(caught.value)
        await client.delete(other)
        await client.xadd(f"{name}{other}", {"n": 1})
    for odd in (
        f"{name}:20251301",
        f"{name}:20250230",
        f"{name}:2025011",
        f"{name}: 2025011",
        f"{name}:{FULL_WIDTH}",
    ):
        with pytest.raises(NotAPartition):
            await stream.expires_at(odd)
    assert await stream.keys() == [today]
    assert await stream.length() == 1


async def test_partitions_are_found_by_name_and_never_by_scanning(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            stream = PartitionedStream(client, name)
            await stream.append({"n": 1})
            assert len(await stream.keys()) == 1
            assert await stream.length() == 1
        assert not {b"SCAN", b"KEYS"} & set(proxy.counts)


async def test_keys_covers_all_that_may_be_written(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, period=Period.HOUR, retention=2 * DAY, max_ahead=DAY)
    # The oldest and the newest that the limits allow, a minute off for the test itself.
    oldest = now() - 2 * DAY + timedelta(minutes=1)
    newest = now() + DAY - timedelta(minutes=1)
    await stream.append({"n": 1}, at=oldest)
    await stream.append({"n": 2}, at=newest)
    assert await stream.keys() == [stream.key_for(oldest), stream.key_for(newest)]


# Expiry -------------------------------------------------------------------------------------------------------------


async def test_the_expiry_moves_with_every_write_and_never_back(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    key = stream.key_for(NOON)
    for n in range(3):
        entry_id = await stream.append({"n": n}, at=NOON + n * MS)
        assert await stream.expires_at(key) == entry_id.time + 2 * DAY
    shorter = PartitionedStream(client, name, retention=DAY + timedelta(hours=13))
    await shorter.append({"n": 3}, at=NOON + 3 * MS)
    assert await stream.expires_at(key) == NOON + 2 * MS + 2 * DAY
    longer = PartitionedStream(client, name, retention=9 * DAY)
    await longer.append_many([{"n": 4}], times=[NOON + 4 * MS])
    assert await stream.expires_at(key) == NOON + 4 * MS + 9 * DAY


async def test_a_bumped_entry_counts_by_its_own_id(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, out_of_order="bump")
    key = stream.key_for(NOON)
    await foreign(client, key, id_of(NOON + timedelta(hours=1)))
    bumped = await stream.append({"n": 1}, at=NOON)
    assert bumped == EntryId(EntryId.at(NOON + timedelta(hours=1)).ms, 1)
    assert await stream.expires_at(key) == bumped.time + 2 * DAY


async def test_an_entry_the_server_numbers_after_one_that_is_ahead_counts_by_its_own_id(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream = PartitionedStream(client, name, period=Period.MONTH, retention=40 * DAY)
    month = Period.MONTH.start_of(now())
    end = Period.MONTH.after(month)
    await foreign(client, stream.key_for(month), id_of(end - 2 * MS))
    entry_id = await stream.append({"n": 1})
    assert entry_id == EntryId(EntryId.at(end - 2 * MS).ms, 1)
    assert await stream.expires_at(stream.key_for(month)) == entry_id.time + 40 * DAY


async def test_partitions_expire_by_themselves(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, period=SECONDS, retention=timedelta(milliseconds=300))
    entry_id = await stream.append({"n": 1})

    async def gone() -> bool:
        return not await stream.keys()

    await until(gone)
    assert now() >= entry_id.time + timedelta(milliseconds=299)
    assert await stream.expires_at(stream.key_for(entry_id.time)) is None
    assert await stream.info() == []


# Limits -------------------------------------------------------------------------------------------------------------


async def test_the_retention_is_a_sharp_limit(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, period=Period.HOUR, retention=timedelta(hours=3))
    limit = now() - timedelta(hours=3)
    await stream.append({"n": 1}, at=limit + timedelta(minutes=1))
    with pytest.raises(RetentionExceeded, match="older than the retention of 3:00:00") as caught:
        await stream.append({"n": 1}, at=limit - MS)
    assert caught.value.stream == stream.key_for(limit - MS)
    assert len(await stream.keys()) == 1


@pytest.mark.parametrize("max_ahead", [timedelta(0), timedelta(minutes=10), None])
async def test_max_ahead_is_a_sharp_limit(client: redis.asyncio.Redis, name: str, max_ahead: timedelta | None) -> None:
    stream = PartitionedStream(client, name, max_ahead=max_ahead)
    limit = DAY if max_ahead is None else max_ahead
    with pytest.raises(AheadOfTime, match="ahead of the server's clock") as caught:
        await stream.append({"n": 1}, at=now() + limit + timedelta(minutes=1))
    assert str(limit) in str(caught.value)
    await stream.append({"n": 1}, at=now() + limit - timedelta(minutes=1))
    assert await stream.length() == 1


@pytest.mark.parametrize(
    "moment", [datetime.max.replace(tzinfo=timezone.utc), EntryId(2**63), EntryId(2**64 - 1, 2**64 - 1)]
)
async def test_the_furthest_future_is_ahead_of_time_too(
    client: redis.asyncio.Redis, name: str, moment: datetime | EntryId
) -> None:
    stream = PartitionedStream(client, name)
    with pytest.raises((AheadOfTime, InvalidArgument)):
        await stream.append({"n": 1}, at=moment)
    assert await stream.append({"n": 1}) == (await stream.info())[0].last_id


@pytest.mark.parametrize("moment", [datetime(1970, 1, 1, tzinfo=timezone.utc), EntryId(0, 1)])
async def test_the_beginning_of_time_is_too_old(
    client: redis.asyncio.Redis, name: str, moment: datetime | EntryId
) -> None:
    with pytest.raises(RetentionExceeded):
        await PartitionedStream(client, name).append({"n": 1}, at=moment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"retention": timedelta(0)}, "retention must be at least a millisecond"),
        ({"retention": 2}, "retention must be a timedelta, not 2"),
        ({"max_ahead": -DAY}, "max_ahead must be zero or more"),
        (
            {"period": Period.HOUR, "retention": 1000 * DAY},
            "span more than 20000 periods of Period.HOUR; choose a longer",
        ),
        ({"out_of_order": "ignore"}, """out_of_order must be "raise" or "bump", not 'ignore'"""),
        ({"idempotency_window": -DAY}, "idempotency_window must be at least a millisecond"),
    ],
)
async def test_wrong_arguments_are_refused_at_once(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        PartitionedStream(redis.asyncio.Redis(port=1), name, **arguments)


async def test_a_partitioned_stream_needs_a_name() -> None:
    with pytest.raises(InvalidArgument, match="must"):
        PartitionedStream(redis.asyncio.Redis(port=1), "")


# Whose clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-DAY, DAY, -400 * DAY, 20 * 365 * DAY])
async def test_a_clients_wrong_clock_picks_no_partition(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    def wrong() -> int:
        return time.time_ns() + off // timedelta(microseconds=1) * 1000

    monkeypatch.setattr(streamkit.asyncio.partitioned, "time", SimpleNamespace(time_ns=wrong))
    stream = PartitionedStream(client, name)
    ids = [await stream.append({"n": n}) for n in range(3)]
    assert await stream.append_many({"n": n} for n in range(3, 2600)) == 2597
    assert abs(ids[0].time - now()) < timedelta(minutes=1)
    keys = await stream.keys()
    # Two only when the test ran over midnight.
    assert keys == sorted({stream.key_for(ids[0].time), stream.key_for(now())})
    assert await numbers(client, *keys) == list(range(2600))
    assert await keys_like(client, f"{name}*") == set(keys)
    assert await stream.expires_at(stream.key_for(ids[0].time)) is not None


@pytest.mark.steady
async def test_the_server_moves_on_to_the_next_partition_in_the_middle_of_many(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appends, "FIRST_CHUNK", 20)
    monkeypatch.setattr(appends, "CHUNK", 20)
    fifths = Period("FIFTH", "%Y%m%d%H%M%S%f", timedelta(milliseconds=200))
    stream = PartitionedStream(client, name, period=fifths, retention=timedelta(minutes=5), max_ahead=DAY / 1440)

    def produce() -> Iterator[dict[str, int]]:
        begin = time.monotonic()
        n = 0
        while time.monotonic() < begin + 0.8 or n < 200:
            time.sleep(0.001)
            yield {"n": n}
            n += 1

    total = await stream.append_many(produce())
    keys = list(await stream.keys())
    assert len(keys) >= 3
    assert await numbers(client, *keys) == list(range(total))
    for key in keys:
        written = await ids(client, key)
        assert {stream.key_for(entry_id.time) for entry_id in written} == {key}
        assert await stream.expires_at(key) == written[-1].time + timedelta(minutes=5)


# Other programs' partitions -----------------------------------------------------------------------------------------


async def test_partitions_of_other_programs_are_our_own(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    today, yesterday = NOON, NOON - DAY
    expires = (NOON + 2 * DAY).replace(microsecond=0)
    await foreign(client, stream.key_for(yesterday), id_of(yesterday), expires=expires - DAY)
    await foreign(client, stream.key_for(today), id_of(today), id_of(today + MS), expires=expires)
    assert await stream.keys() == [stream.key_for(yesterday), stream.key_for(today)]
    assert await stream.length() == 3
    assert [info.expires_at for info in await stream.info()] == [expires - DAY, expires]
    entry_id = await stream.append({"n": 1}, at=today + 2 * MS)
    assert await stream.expires_at(stream.key_for(today)) == entry_id.time + 2 * DAY
    assert await stream.length() == 4


async def test_a_partition_without_expiry_gets_one_with_our_next_write(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    await foreign(client, stream.key_for(NOON), id_of(NOON))
    assert await stream.expires_at(stream.key_for(NOON)) is None
    await stream.append({"n": 1}, at=NOON + MS)
    assert await stream.expires_at(stream.key_for(NOON)) == NOON + MS + 2 * DAY


async def test_trim_gives_partitions_without_expiry_theirs(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    assert await stream.trim() == 0
    today, tomorrow = now(), now() + DAY
    old = today - 2 * DAY - timedelta(minutes=1)
    await foreign(client, stream.key_for(old), *(id_of(old + n * MS) for n in range(3)))
    await foreign(client, stream.key_for(today), id_of(today))
    await foreign(client, stream.key_for(tomorrow), id_of(tomorrow), expires=NOON + 9 * DAY)
    assert await stream.trim() == 3
    assert await stream.keys() == [stream.key_for(today), stream.key_for(tomorrow)]
    assert await stream.expires_at(stream.key_for(today)) == whole_ms(today) + 2 * DAY
    assert await stream.expires_at(stream.key_for(tomorrow)) == NOON + 9 * DAY
    assert await stream.trim() == 0


async def test_trim_keeps_a_partition_that_was_emptied(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    key = stream.key_for(NOON)
    await foreign(client, key, id_of(NOON))
    await client.xdel(key, id_of(NOON))
    assert await stream.trim() == 0
    assert await stream.expires_at(key) == NOON + 2 * DAY
    assert await stream.length() == 0


async def test_a_partition_that_is_no_stream_is_named(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    key = stream.key_for(NOON)
    await client.hset(key, "a", "b")
    for use in (stream.length, stream.info, stream.trim):
        with pytest.raises(WrongKeyType, match=f"the key '{key}' holds a .*, not a stream; use another name"):
            await use()
    with pytest.raises(WrongKeyType, match="holds a hash, not a stream"):
        await stream.append({"n": 1}, at=NOON)
    fields: Any = await client.hgetall(key)
    assert fields == {b"a": b"b"}
