# Generated from tests/integration/asyncio/test_replayer.py by tools/generate_sync.py: do not edit.
"""Ranges of history: what their bounds mean, over one key and over partitions, forwards and backwards."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

import streamkit._core.pages
from streamkit import (
    NEW,
    CappedStream,
    EntryId,
    InvalidArgument,
    InvalidEntryId,
    JsonCodec,
    NaiveDatetime,
    NotAPartition,
    Replayer,
    ServerUnavailable,
    Stream,
    WrongKeyType,
)
from tests.integration._sync._readers import key_of, midnight, raw, write
from tests.integration._sync._replays import days_of, numbers_of, write_at, write_many
from tests.integration._sync._runtime import client_of_the_other_half, streams_of_the_other_half
from tests.integration._sync.test_clients import CLIENTS
from tests.integration.recording import Recorder

SECOND = timedelta(seconds=1)


# One key ------------------------------------------------------------------------------------------------------------


def test_everything_is_given_in_order_and_the_other_way_round(client: redis.Redis, name: str) -> None:
    write_many(client, name, range(1234))
    replayer = Replayer(client, name)
    assert numbers_of(replayer.entries()) == list(range(1234))
    assert numbers_of(replayer.entries(reverse=True)) == list(range(1233, -1, -1))


def test_an_entry_has_its_stream_id_value_and_time(client: redis.Redis, name: str) -> None:
    (entry_id,) = write_at(client, name, "1735689600123-7")
    entry = next(Replayer(client, name).entries())
    assert (entry.stream, entry.id, entry.value) == (name, entry_id, {"n": "0"})
    assert entry.time == datetime(2025, 1, 1, 0, 0, 0, 123_000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("start", "end", "numbers"),
    [
        (EntryId(1000, 1), EntryId(3000), [1, 2, 3]),
        ("1000-1", "3000-0", [1, 2, 3]),
        ("1000", "3000", [0, 1, 2, 3, 4]),
        (1, 3, [0, 1, 2]),
        (None, 3, [0, 1, 2]),
        (3, None, [3, 4, 5]),
        (3, 3, []),
        (9, None, []),
        (None, 0.5, []),
        (None, EntryId(999, 5), []),
    ],
    ids=str,
)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_an_id_ends_behind_itself_and_a_datetime_before(
    client: redis.Redis, name: str, start: Any, end: Any, numbers: list[int], *, reverse: bool
) -> None:
    write_at(client, name, "1000-0", "1000-1", "2000-0", "3000-0", "3000-1", "4000-0")
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    start, end = (epoch + each * SECOND if isinstance(each, (int, float)) else each for each in (start, end))
    found = numbers_of(Replayer(client, name).entries(start, end, reverse=reverse))
    assert found == (numbers[::-1] if reverse else numbers)


@pytest.mark.parametrize("limit", [1, 2, 99, 100, 101, 300, 5000])
def test_no_more_than_the_limit_are_given(client: redis.Redis, name: str, limit: int) -> None:
    write_many(client, name, range(300))
    replayer = Replayer(client, name)
    assert numbers_of(replayer.entries(limit=limit)) == list(range(min(limit, 300)))
    assert numbers_of(replayer.entries(limit=limit, reverse=True)) == list(range(299, max(-1, 299 - limit), -1))


def test_the_greatest_id_there_can_be_is_given_once(client: redis.Redis, name: str) -> None:
    write_at(client, name, 1000, f"{2**64 - 1}-{2**64 - 1}")
    assert numbers_of(Replayer(client, name).entries()) == [0, 1]
    assert numbers_of(Replayer(client, name).entries(reverse=True)) == [1, 0]


def test_a_stream_that_does_not_exist_has_no_entries(client: redis.Redis, name: str) -> None:
    for source in (name, Stream(client, name), days_of(client, name)):
        replayer = Replayer(client, source)
        assert numbers_of(replayer.entries()) == []
        assert numbers_of(replayer.entries(reverse=True)) == []


def test_values_are_what_the_codec_of_the_source_makes_of_them(client: redis.Redis, name: str) -> None:
    source = CappedStream(client, name, maxlen=10, codec=JsonCodec(loads=int))
    source.append_many([1, 2, 3])
    assert [entry.value + 0 for entry in Replayer(client, source).entries()] == [1, 2, 3]


def test_one_bad_entry_stops_nothing_and_the_observer_is_told(
    client: redis.Redis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "streamkit")
    source, recorder = Stream(client, name, codec=JsonCodec(loads=int)), Recorder()
    source.append(1)
    bad = raw(client).xadd(name, {"data": "secret"})
    source.append(3)
    assert [entry.value for entry in Replayer(client, source, observer=recorder).entries()] == [1, 3]
    (error,) = recorder.of("on_undecodable")
    assert (error.stream, error.entry_id, error.fields) == (name, bad.decode(), (b"data", b"secret"))
    # It does not count either, and is no payload in the log.
    replayer = Replayer(client, source)
    assert [entry.value for entry in replayer.entries(limit=2)] == [1, 3]
    assert [entry.value for entry in replayer.entries(limit=2, reverse=True)] == [3, 1]
    assert "cannot be decoded" in caplog.text
    assert "secret" not in caplog.text


def test_nothing_but_bad_entries_is_no_entry(client: redis.Redis, name: str) -> None:
    for _ in range(250):
        raw(client).xadd(name, {"n": b"\xff"})
    recorder = Recorder()
    assert numbers_of(Replayer(client, name, observer=recorder).entries(limit=3)) == []
    assert len(recorder.of("on_undecodable")) == 250


@pytest.mark.parametrize("make", ["text", "resp2", "resp3", "resp3-text", "pool-of-one", "single"])
def test_any_client_will_do(redis_url: str, name: str, make: str) -> None:
    with CLIENTS[make](redis_url) as client:
        source = days_of(client, name)
        source.append_many([{"n": n} for n in range(150)], times=[midnight(-1)] * 150)
        source.append_many([{"n": n} for n in range(150, 300)], times=[midnight(1)] * 150)
        replayer = Replayer(client, source)
        assert numbers_of(replayer.entries()) == list(range(300))
        assert numbers_of(replayer.entries(reverse=True)) == list(range(299, -1, -1))
        assert replayer.copy(f"{name}:copy") == 300
        assert replayer.copy(Stream(client, f"{name}:copy")) == 300
        assert numbers_of(Replayer(client, f"{name}:copy").entries()) == [*range(300)] * 2
        assert raw(client).ping()
        numbers = list[int]()
        for entry in replayer.tail(start=None):
            numbers.append(int(entry.value["n"]))
            if len(numbers) == 300:
                replayer.stop()
        assert numbers == list(range(300))


def test_pages_are_bounded_in_number_and_size(client: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = list[tuple[int, int]]()
    received = streamkit._core.pages.Page.received

    def record(page: streamkit._core.pages.Page, entries: Any) -> None:
        pages.append((len(entries), sum(len(flat[1]) for _, flat in entries)))
        received(page, entries)

    monkeypatch.setattr(streamkit._core.pages.Page, "received", record)
    Stream(client, name).append_many({"n": n} for n in range(50_000))
    count = 0
    for entry in Replayer(client, name).entries():
        assert int(entry.value["n"]) == count
        count += 1
    assert count == sum(entries for entries, _ in pages) == 50_000
    assert max(entries for entries, _ in pages) <= streamkit._core.pages.MOST
    pages.clear()
    large = 256 * 1024
    Stream(client, f"{name}:large").append_many({"n": "x" * large} for _ in range(150))
    assert len([entry.id for entry in Replayer(client, f"{name}:large").entries()]) == 150
    assert all(size <= streamkit._core.pages.PAGE_BYTES for _, size in pages[1:])


# Partitions ---------------------------------------------------------------------------------------------------------


def test_partitions_are_read_in_order_and_missing_days_passed(client: redis.Redis, name: str) -> None:
    days = [-20, -9, -8, -1, 0, 1, 12]
    for day in days:
        write(client, key_of(name, midnight(day)), 2 * day, 2 * day + 1, at=midnight(day))
    # No partitions, however alike.
    write(client, f"{name}:averages", 1000)
    write(client, f"{name}:2025010", 1000)
    numbers = [2 * day + each for day in days for each in (0, 1)]
    replayer = Replayer(client, days_of(client, name))
    assert numbers_of(replayer.entries()) == numbers
    assert numbers_of(replayer.entries(reverse=True)) == numbers[::-1]
    assert numbers_of(replayer.entries(limit=3)) == numbers[:3]
    assert numbers_of(replayer.entries(limit=3, reverse=True)) == numbers[:-4:-1]
    streams = [entry.stream for entry in replayer.entries()]
    assert streams == [key_of(name, midnight(day)) for day in days for _ in (0, 1)]


def test_at_midnight_the_days_share_no_entry_and_leave_none_out(client: redis.Redis, name: str) -> None:
    millisecond = timedelta(milliseconds=1)
    for day in (-3, -2, -1):
        key = key_of(name, midnight(day))
        write(client, key, 10 * day, at=midnight(day))
        write(client, key, 10 * day + 1, at=midnight(day) + 12 * 3600 * SECOND)
        write(client, key, 10 * day + 2, at=midnight(day + 1) - millisecond)
    replayer = Replayer(client, days_of(client, name))
    exported = [numbers_of(replayer.entries(midnight(day), midnight(day + 1))) for day in (-3, -2, -1)]
    assert exported == [[10 * day, 10 * day + 1, 10 * day + 2] for day in (-3, -2, -1)]
    # An ID is included, also that of the next day's very first moment.
    last = EntryId.at(midnight(-1))
    assert numbers_of(replayer.entries(midnight(-2), last)) == [-20, -19, -18, -10]
    assert numbers_of(replayer.entries(midnight(-2), last, reverse=True)) == [-10, -18, -19, -20]


def test_a_partition_as_a_bound_is_meant_whole(client: redis.Redis, name: str) -> None:
    keys = [key_of(name, midnight(day)) for day in range(-4, 0)]
    for day, key in zip(range(-4, 0), keys, strict=True):
        write(client, key, 2 * day, 2 * day + 1, at=midnight(day))
    replayer = Replayer(client, days_of(client, name))
    assert numbers_of(replayer.entries(keys[1], keys[2])) == [-6, -5, -4, -3]
    assert numbers_of(replayer.entries(keys[1], keys[2], reverse=True)) == [-3, -4, -5, -6]
    assert numbers_of(replayer.entries(end=keys[0])) == [-8, -7]
    assert numbers_of(replayer.entries(start=keys[3])) == [-2, -1]
    assert numbers_of(replayer.entries(keys[1], EntryId.at(midnight(-2)))) == [-6, -5, -4]


def test_what_others_wrote_under_other_times_is_bound_by_its_id(client: redis.Redis, name: str) -> None:
    key = key_of(name, midnight(-2))
    write(client, key, 0, at=midnight(-9))
    write(client, key, 1, at=midnight(-2))
    write(client, key, 2, at=midnight(5))
    replayer = Replayer(client, days_of(client, name))
    assert numbers_of(replayer.entries()) == [0, 1, 2]
    assert numbers_of(replayer.entries(key, key)) == [0, 1, 2]
    assert numbers_of(replayer.entries(midnight(-2), midnight(-1))) == [1]
    assert numbers_of(replayer.entries(midnight(-3))) == [1, 2]


def test_a_start_reaches_back_to_partitions_that_should_have_expired(client: redis.Redis, name: str) -> None:
    write(client, key_of(name, midnight(-50)), 1, at=midnight(-50))
    write(client, key_of(name, midnight(-1)), 2, at=midnight(-1))
    replayer = Replayer(client, days_of(client, name))
    assert numbers_of(replayer.entries()) == [2]
    assert numbers_of(replayer.entries(midnight(-60))) == [1, 2]
    assert numbers_of(replayer.entries(key_of(name, midnight(-50)), reverse=True)) == [2, 1]


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.fixture
def nowhere() -> redis.Redis:
    """A client of no server: whatever is sent fails."""
    return redis.Redis.from_url("redis://127.0.0.1:1")


def test_bad_arguments_fail_by_the_call_itself(nowhere: redis.Redis, name: str) -> None:
    replayer = Replayer(nowhere, days_of(nowhere, name))
    naive = datetime.now()  # noqa: DTZ005 - the subject
    anything: Any = 5
    with pytest.raises(NaiveDatetime):
        replayer.entries(naive)
    with pytest.raises(NotAPartition):
        replayer.entries(end="other:20250101")
    with pytest.raises(InvalidArgument, match="later than end"):
        replayer.entries(midnight(), midnight(-1))
    with pytest.raises(InvalidArgument, match="limit"):
        replayer.entries(limit=0)
    with pytest.raises(InvalidArgument, match="must be a datetime"):
        replayer.entries(anything)
    for word in ("$", ">"):
        with pytest.raises(InvalidEntryId, match="NEW"):
            replayer.entries(word)
        with pytest.raises(InvalidEntryId, match="NEW"):
            replayer.entries(end=word)
        with pytest.raises(InvalidEntryId, match="NEW"):
            replayer.tail(start=word)
    new: Any = NEW
    with pytest.raises(InvalidEntryId, match="tail"):
        replayer.entries(new)
    with pytest.raises(NaiveDatetime):
        replayer.tail(start=naive)
    nowhere.close()


def test_sources_and_clients_of_others_are_refused(client: redis.Redis, name: str) -> None:
    with pytest.raises(InvalidArgument, match="belongs to"):
        Replayer(client_of_the_other_half(), name)
    for source in streams_of_the_other_half(name):
        with pytest.raises(InvalidArgument, match="source must be a non-empty str"):
            Replayer(client, source)
    nothing: Any = ""
    with pytest.raises(InvalidArgument):
        Replayer(client, nothing)
    elsewhere = redis.Redis(host="127.0.0.1", port=1)
    with pytest.raises(InvalidArgument, match="one server"):
        Replayer(client, Stream(elsewhere, name))
    elsewhere.close()


def test_a_key_of_another_type_is_named(client: redis.Redis, name: str) -> None:
    client.set(name, "x")
    for reverse in (False, True):
        with pytest.raises(WrongKeyType, match=f"'{name}' holds a .*not a stream"):
            numbers_of(Replayer(client, name).entries(reverse=reverse))
    write(client, key_of(name, midnight(-3)), 1, at=midnight(-3))
    bad = key_of(name, midnight(-2))
    client.set(bad, "x")
    entries = Replayer(client, days_of(client, name)).entries()
    assert (next(entries)).value == {"n": "1"}
    with pytest.raises(WrongKeyType, match=f"'{bad}' holds a .*not a stream"):
        next(entries)


def test_a_server_that_is_not_there_is_an_error_after_some_patience(
    nowhere: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit._sync.paging.PATIENCE", 0.2)
    recorder = Recorder()
    with pytest.raises(ServerUnavailable):
        numbers_of(Replayer(nowhere, name, observer=recorder).entries())
    assert len(recorder.of("on_unavailable")) > 1
    with pytest.raises(ServerUnavailable):
        numbers_of(Replayer(nowhere, name).tail())
    nowhere.close()
