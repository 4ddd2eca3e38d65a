"""Appending many: lazily, in chunks that are all or nothing, over partitions, and what ends it early."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    AheadOfTime,
    AppendError,
    CappedStream,
    DataclassCodec,
    EncodeError,
    EntryId,
    InvalidArgument,
    JsonCodec,
    NaiveDatetime,
    OutOfOrder,
    PartitionedStream,
    RawCodec,
    RetentionExceeded,
    Stream,
    StreamkitError,
    WrongKeyType,
)
from tests.integration.asyncio._looking import ids, keys_like, numbers, values
from tests.integration.proxy import Proxy

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)


async def test_every_value_is_written_in_order_and_counted(client: redis.asyncio.Redis, name: str) -> None:
    assert await Stream(client, name).append_many({"n": n} for n in range(3210)) == 3210
    assert await numbers(client, name) == list(range(3210))


async def test_nothing_to_append_writes_nothing(client: redis.asyncio.Redis, name: str) -> None:
    assert await PartitionedStream(client, name).append_many([], times=[]) == 0
    assert await keys_like(client, f"*{name}*") == set()


async def test_values_are_taken_as_they_are_needed(client: redis.asyncio.Redis, redis_url: str, name: str) -> None:
    taken = 0
    ahead = 0

    def produce() -> Iterator[dict[str, int]]:
        nonlocal taken, ahead
        with redis.Redis.from_url(redis_url) as plain:
            for taken in range(1, 8001):
                if taken % 500 == 0:
                    ahead = max(ahead, taken - plain.xlen(name))
                yield {"n": taken}

    assert await Stream(client, name).append_many(produce()) == 8000
    # Two chunks on their way, the one being collected, and the value in hand.
    assert ahead <= 3001


async def test_a_chunk_is_one_request(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            stream = PartitionedStream(client, name)
            await stream.append({"n": 0})
            before = proxy.counts.copy()
            await stream.append_many({"n": n} for n in range(1, 1250))
        assert proxy.counts - before == {b"EVALSHA": 2}
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await numbers(client, *await PartitionedStream(client, name).keys()) == list(range(1250))


async def test_times_from_an_iterable_go_over_several_partitions(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, max_ahead=2 * DAY)
    begin = NOON - DAY
    times = (begin + n * timedelta(minutes=1) for n in itertools.count())
    assert await stream.append_many(({"n": n} for n in range(2880)), times=times) == 2880
    keys = list(await stream.keys())
    assert keys == [stream.key_for(begin + n * DAY) for n in range(3)]
    assert [await client.xlen(key) for key in keys] == [720, 1440, 720]
    assert await numbers(client, *keys) == list(range(2880))
    for key, info in zip(keys, await stream.info(), strict=True):
        assert info.last_id is not None
        assert info.key == key
        assert info.expires_at == info.last_id.time + 2 * DAY
    assert (await ids(client, keys[1]))[0] == EntryId.at(NOON.replace(hour=0))


async def test_times_from_the_value(client: redis.asyncio.Redis, name: str) -> None:
    def time_of(value: dict[str, str]) -> datetime:
        return NOON + int(value["n"]) * SECOND

    stream = PartitionedStream(client, name)
    assert await stream.append_many([{"n": str(n)} for n in range(5)], times=time_of) == 5
    written = await ids(client, stream.key_for(NOON))
    assert [entry_id.time for entry_id in written] == [NOON + n * SECOND for n in range(5)]


async def test_equal_times_are_numbered_one_after_the_other(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    assert await stream.append_many([{"n": n} for n in range(1500)], times=itertools.repeat(NOON)) == 1500
    first = EntryId.at(NOON)
    assert await ids(client, stream.key_for(NOON)) == [EntryId(first.ms, seq) for seq in range(1500)]


async def test_entries_may_differ_in_their_fields(client: redis.asyncio.Redis, name: str) -> None:
    different: list[dict[str, Any]] = [
        {"a": 1},
        {"b": 2.5, "a": "x"},
        {"a": "x", "b": b"\x00\xff"},
        {"empty": "", "ünï": "çödé"},
    ]
    stream = PartitionedStream(client, name)
    await stream.append_many(different, times=itertools.repeat(NOON))
    await stream.append_many(different)
    expected = [
        {b"a": b"1"},
        {b"b": b"2.5", b"a": b"x"},
        {b"a": b"x", b"b": b"\x00\xff"},
        {b"empty": b"", "ünï".encode(): "çödé".encode()},
    ]
    assert (await values(client, stream.key_for(NOON)))[:4] == expected
    assert await values(client, *await stream.keys()) == expected * 2


async def test_subclasses_of_what_redis_stores_are_written_as_their_values(
    client: redis.asyncio.Redis, name: str
) -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    class Word(str):
        __slots__ = ()

    class Number(float):
        def __repr__(self) -> str:
            return "a number"

    assert await Stream(client, name).append_many([{Word("w"): Word("x"), "l": Level.HIGH, "f": Number(0.5)}]) == 1
    assert await values(client, name) == [{b"w": b"x", b"l": b"3", b"f": b"0.5"}]


async def test_large_values_are_sent_in_smaller_chunks(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            stream = Stream(client, name)
            assert await stream.append_many({"n": n, "blob": b"x" * 20_000} for n in range(600)) == 600
            assert await stream.length() == 600
        # 250 to begin with, then about half a megabyte each.
        assert 10 <= proxy.counts[b"EVAL"] + proxy.counts[b"EVALSHA"] <= 30


async def test_codecs_make_the_fields(client: redis.asyncio.Redis, name: str) -> None:
    @dataclass(frozen=True)
    class Reading:
        n: int
        note: str | None = None

    await Stream(client, name, codec=DataclassCodec(Reading)).append_many([Reading(1), Reading(2, "warm")])
    await Stream(client, name, codec=RawCodec()).append_many([{b"\xff": b"raw"}])
    await Stream(client, name, codec=JsonCodec()).append_many([{"deep": [1, None]}])
    assert await values(client, name) == [
        {b"n": b"1"},
        {b"n": b"2", b"note": b"warm"},
        {b"\xff": b"raw"},
        {b"data": b'{"deep":[1,null]}'},
    ]


# Entries alike, of short texts only: they travel as two arguments ----------------------------------------------------

TEXTS: dict[str, list[str]] = {
    "ascii": ["", "warm", "x" * 255, "line\r\nbreak\x00"],
    "unicode": ["", "wärm", "é" * 127, "温かい 🌡"],
}


def short_texts(count: int, fields: int, texts: list[str]) -> list[dict[str, str]]:
    """Entries of two or three fields; two, with times, have a loop of their own in the script."""
    names = ["n", "tëxt", "more"][:fields]
    return [
        dict(zip(names, [str(n), texts[n % len(texts)], texts[n // 2 % len(texts)]], strict=False))
        for n in range(count)
    ]


def stored(sent: list[dict[str, str]]) -> list[dict[bytes, bytes]]:
    return [{field.encode(): value.encode() for field, value in fields.items()} for fields in sent]


@pytest.mark.parametrize("fields", [1, 2, 3])
@pytest.mark.parametrize("texts", TEXTS)
async def test_short_texts_with_times_come_back_as_they_were(
    client: redis.asyncio.Redis, name: str, fields: int, texts: str
) -> None:
    stream = PartitionedStream(client, name)
    sent = short_texts(1500, fields, TEXTS[texts])
    assert await stream.append_many(sent, times=(NOON + n * SECOND for n in itertools.count())) == 1500
    assert await values(client, stream.key_for(NOON)) == stored(sent)
    assert await ids(client, stream.key_for(NOON)) == [EntryId.at(NOON + n * SECOND) for n in range(1500)]
    assert await stream.expires_at(stream.key_for(NOON)) == NOON + 1499 * SECOND + 2 * DAY


@pytest.mark.parametrize("fields", [1, 2, 3])
@pytest.mark.parametrize("texts", TEXTS)
async def test_short_texts_that_the_server_numbers_come_back_as_they_were(
    client: redis.asyncio.Redis, name: str, fields: int, texts: str
) -> None:
    sent = short_texts(1500, fields, TEXTS[texts])
    assert await CappedStream(client, name, maxlen=10_000).append_many(sent) == 1500
    assert await values(client, name) == stored(sent)


@pytest.mark.parametrize("fields", [2, 3])
@pytest.mark.parametrize("timed", [False, True])
async def test_a_long_text_among_short_ones_comes_back_too(
    client: redis.asyncio.Redis, name: str, fields: int, *, timed: bool
) -> None:
    sent = short_texts(1500, fields, TEXTS["ascii"])
    sent[700]["tëxt"] = "y" * 300
    assert await Stream(client, name).append_many(sent, times=itertools.repeat(NOON) if timed else None) == 1500
    assert await values(client, name) == stored(sent)


@pytest.mark.parametrize("fields", [2, 3])
async def test_short_texts_out_of_order_are_refused_and_both_ids_named(
    client: redis.asyncio.Redis, name: str, fields: int
) -> None:
    stream = PartitionedStream(client, name)
    newest = await stream.append({"n": "0"}, at=NOON)
    first = NOON - SECOND
    with pytest.raises(OutOfOrder) as caught:
        await stream.append_many(
            short_texts(20, fields, ["warm"]), times=(first + n * SECOND for n in itertools.count())
        )
    assert (caught.value.entry_id, caught.value.newest) == (str(EntryId.at(first).ms), str(newest))
    assert caught.value.appended == 0
    assert await ids(client, stream.key_for(NOON)) == [newest]


@pytest.mark.parametrize("fields", [2, 3])
async def test_bump_numbers_short_texts_after_the_newest(client: redis.asyncio.Redis, name: str, fields: int) -> None:
    stream = PartitionedStream(client, name, out_of_order="bump")
    ms = EntryId.at(NOON).ms
    await stream.append({"n": "0"}, at=EntryId(ms, 5))
    sent = short_texts(300, fields, ["warm"])
    # The first 261 of them lie before the newest, or in its millisecond.
    times = [NOON + (n - 260) * SECOND for n in range(300)]
    assert await stream.append_many(sent, times=times) == 300
    assert (await ids(client, stream.key_for(NOON)))[1:] == [
        EntryId(ms, 6 + n) if n <= 260 else EntryId.at(times[n]) for n in range(300)
    ]
    assert (await values(client, stream.key_for(NOON)))[1:] == stored(sent)


# What cannot go on --------------------------------------------------------------------------------------------------


async def test_an_iterable_that_raises_has_everything_before_it_written(client: redis.asyncio.Redis, name: str) -> None:
    def produce() -> Iterator[dict[str, int]]:
        for n in range(1777):
            yield {"n": n}
        msg = "the sensor is gone"
        raise LookupError(msg)

    with pytest.raises(LookupError, match="the sensor is gone"):
        await Stream(client, name).append_many(produce())
    assert await numbers(client, name) == list(range(1777))


async def test_an_iterable_that_raises_at_once_writes_nothing(client: redis.asyncio.Redis, name: str) -> None:
    def produce() -> Iterator[dict[str, int]]:
        yield {"n": 1 // 0}

    with pytest.raises(ZeroDivisionError):
        await Stream(client, name).append_many(produce())
    assert not await client.exists(name)


BAD: dict[str, tuple[Any, str]] = {
    "none": ({"n": None}, "the field 'n' of an entry for .* is None; Redis stores str, bytes, int and float"),
    "bool": ({"n": True}, "is True; .* convert it, leave it out, or give the stream a codec"),
    "list": ({"n": [1]}, r"is \[1\]"),
    "name": ({3: "x"}, "has the field name 3; names are str or bytes"),
    "empty": ({}, "has no fields; Redis needs at least one"),
    "surrogate": ({"n": "\ud800"}, "'n'"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [0, 10, 2000])
@pytest.mark.parametrize("timed", [False, True])
async def test_a_value_that_cannot_be_stored_ends_it_and_the_error_says_how_many_were_written(
    client: redis.asyncio.Redis, name: str, bad: str, place: int, *, timed: bool
) -> None:
    value, message = BAD[bad]
    good: list[Any] = [{"n": n} for n in range(place)]
    with pytest.raises(EncodeError, match=message) as caught:
        await Stream(client, name).append_many(
            [*good, value, {"n": place + 1}], times=itertools.repeat(NOON) if timed else None
        )
    written = await numbers(client, name)
    # Its own chunk is not written, all those before it are.
    assert written == list(range(len(written)))
    assert place - 1000 < len(written) <= place
    if written:
        assert f"(entries of this call written before it: {len(written)})" in str(caught.value)


async def test_a_codecs_own_error_is_raised_after_what_came_before_was_written(
    client: redis.asyncio.Redis, name: str
) -> None:
    def dumps(value: int) -> str:
        if value == 1500:
            msg = "cannot be written"
            raise ArithmeticError(msg)
        return str(value)

    with pytest.raises(ArithmeticError, match="cannot be written"):
        await Stream(client, name, codec=JsonCodec(dumps=dumps)).append_many(range(2000))
    written = [int(fields[b"data"]) for fields in await values(client, name)]
    assert written == list(range(len(written)))
    assert 500 < len(written) <= 1500


async def test_an_entry_of_very_many_fields_leaves_no_part_of_its_chunk_behind(
    client: redis.asyncio.Redis, name: str
) -> None:
    huge = {f"f{n}": n for n in range(5000)}
    stream = Stream(client, name)
    try:
        await stream.append_many([{"n": 1}, huge, {"n": 2}])
    except StreamkitError:
        assert not await client.exists(name)
    else:
        assert [len(fields) for fields in await values(client, name)] == [1, 5000, 1]
    await client.delete(name)
    try:
        await stream.append_many([huge, huge])
    except StreamkitError:
        assert not await client.exists(name)
    else:
        assert [len(fields) for fields in await values(client, name)] == [5000, 5000]


@pytest.mark.parametrize("place", [0, 5, 1900])
async def test_out_of_order_within_the_values_names_both(client: redis.asyncio.Redis, name: str, place: int) -> None:
    times = [NOON + n * SECOND for n in range(place + 1)] + [NOON - SECOND]
    stream = PartitionedStream(client, name)
    with pytest.raises(OutOfOrder) as caught:
        await stream.append_many([{"n": n} for n in range(place + 2)], times=times)
    written = await numbers(client, *await stream.keys())
    assert written == list(range(len(written)))
    assert caught.value.appended == len(written)
    assert f"written before it: {len(written)})" in str(caught.value)
    assert str(EntryId.at(NOON - SECOND).ms) in caught.value.entry_id
    assert caught.value.newest == str(EntryId.at(times[-2]))


async def test_out_of_order_to_what_is_there_writes_nothing_of_its_chunk(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream = PartitionedStream(client, name)
    newest = await stream.append({"n": 0}, at=NOON)
    with pytest.raises(OutOfOrder) as caught:
        await stream.append_many([{"n": 1}, {"n": 2}], times=[NOON - SECOND, NOON + SECOND])
    assert (caught.value.appended, caught.value.newest) == (0, str(newest))
    assert caught.value.stream == stream.key_for(NOON)
    assert await numbers(client, stream.key_for(NOON)) == [0]


async def test_bump_numbers_what_is_out_of_order_after_the_newest(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, out_of_order="bump")
    await stream.append({"n": 0}, at=EntryId(EntryId.at(NOON).ms, 5))
    times = [NOON - SECOND, NOON - DAY, NOON + SECOND, NOON, NOON + 2 * SECOND]
    assert await stream.append_many([{"n": n} for n in range(1, 6)], times=times) == 5
    ms = EntryId.at(NOON).ms
    assert await ids(client, stream.key_for(NOON)) == [
        EntryId(ms, 5),
        EntryId(ms, 6),
        EntryId(ms, 7),
        EntryId(ms + 1000, 0),
        EntryId(ms + 1000, 1),
        EntryId(ms + 2000, 0),
    ]


async def test_an_entry_that_is_too_old_ends_it(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name, retention=DAY)
    old = NOON - 5 * DAY
    with pytest.raises(RetentionExceeded, match="written before it: 0") as caught:
        await stream.append_many([{"n": 0}, {"n": 1}], times=[old, NOON])
    message = str(caught.value)
    assert old.isoformat() in message
    assert "begin later than" in message
    assert "raise retention" in message
    assert caught.value.stream == stream.key_for(old)
    assert await stream.keys() == []


async def test_an_entry_too_far_ahead_ends_it_after_what_came_before(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    far = datetime(2038, 1, 19, tzinfo=timezone.utc)
    with pytest.raises(AheadOfTime, match="written before it: 2") as caught:
        await stream.append_many([{"n": 0}, {"n": 1}, {"n": 2}], times=[NOON, NOON, far])
    assert caught.value.appended == 2
    assert far.isoformat() in str(caught.value)
    assert await numbers(client, *await stream.keys()) == [0, 1]


async def test_times_must_be_enough_and_have_a_time_zone(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    with pytest.raises(InvalidArgument, match="the times ended before the values; give one for each"):
        await stream.append_many([{"n": 0}, {"n": 1}], times=[NOON])
    with pytest.raises(NaiveDatetime, match="has no time zone"):
        await stream.append_many([{"n": 0}], times=[NOON.replace(tzinfo=None)])
    assert await stream.keys() == []


async def test_a_time_function_that_raises_is_heard(client: redis.asyncio.Redis, name: str) -> None:
    def time_of(value: dict[str, str]) -> datetime:
        if value["n"] == "1300":
            raise KeyError(value["n"])
        return NOON

    stream = PartitionedStream(client, name)
    with pytest.raises(KeyError, match="1300"):
        await stream.append_many([{"n": str(n)} for n in range(1400)], times=time_of)
    written = await numbers(client, *await stream.keys())
    assert written == list(range(len(written)))
    assert 300 < len(written) <= 1300


async def test_a_key_of_another_type_ends_it(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    tomorrow = stream.key_for(NOON + DAY / 2)
    await client.set(tomorrow, "text")
    times = [NOON, NOON, NOON + DAY / 2]
    with pytest.raises(WrongKeyType, match="holds a string, not a stream") as caught:
        await stream.append_many([{"n": 0}, {"n": 1}, {"n": 2}], times=times)
    assert caught.value.key == tomorrow
    assert "written before it: 2" in str(caught.value)
    assert await numbers(client, stream.key_for(NOON)) == [0, 1]


async def test_a_stream_whose_ids_are_used_up_says_so(client: redis.asyncio.Redis, name: str) -> None:
    await client.xadd(name, {"n": 0}, f"{2**64 - 1}-{2**64 - 1}")
    with pytest.raises(StreamkitError):
        await Stream(client, name).append_many([{"n": 1}])
    with pytest.raises(OutOfOrder):
        await Stream(client, name).append({"n": 1}, at=NOON)
    assert await numbers(client, name) == [0]


async def test_after_an_error_the_stream_goes_on(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, maxlen=100_000)
    bad: Any = [{"n": 0}, {"n": None}]
    for _ in range(3):
        with pytest.raises(EncodeError):
            await stream.append_many(bad)
        with pytest.raises(AppendError):
            await stream.append_many([{"n": 0}, {"n": 0}], times=[NOON, NOON - SECOND])
    assert await stream.append_many({"n": n} for n in range(10)) == 10
    assert await numbers(client, name) == list(range(10))
