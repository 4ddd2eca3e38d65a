# Generated from tests/integration/asyncio/test_sharded_replayer.py by tools/generate_sync.py: do not edit.
"""A replayer over shards: one history, in the order of IDs, and one live view."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import redis

import streamkit._sync.paging
from streamkit import (
    NEW,
    Entry,
    EntryId,
    InvalidArgument,
    NotAPartition,
    OutOfOrder,
    Replayer,
    ShardedStream,
    Stream,
    WrongKeyType,
)
from tests.integration._sync._readers import DAY, entries_in, midnight, numbers_in, raw
from tests.integration._sync._replays import numbers_of
from tests.integration._sync._runtime import pause, running, until
from tests.integration._sync._shards import (
    KINDS,
    SHARDS,
    Fields,
    customer_of,
    daily,
    fill,
    keys_of,
    sharded,
    value_of,
)
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder

BEGAN = midnight() - DAY
LIMIT = 1.0

pytestmark = pytest.mark.usefixtures("short_waits")


def dated(stream: ShardedStream[Fields], count: int, *, apart: timedelta = timedelta(minutes=1)) -> None:
    """Entries that are numbered in the order of their times."""
    times = [BEGAN + n * apart for n in range(count)]
    assert stream.append_many(map(value_of, range(count)), times=times) == count


@pytest.mark.parametrize("kind", KINDS)
def test_shards_are_merged_by_id(store: Any, name: str, kind: str) -> None:
    stream = sharded(store, name, kind)
    dated(stream, 1500)
    replayer = Replayer(store, stream)
    assert numbers_of(replayer.entries()) == list(range(1500))
    assert numbers_of(replayer.entries(reverse=True)) == list(range(1499, -1, -1))
    assert numbers_of(replayer.entries(limit=7)) == list(range(7))
    assert numbers_of(replayer.entries(limit=7, reverse=True)) == list(range(1499, 1492, -1))


def test_entries_say_in_which_shard_they_lie(store: Any, name: str) -> None:
    stream = sharded(store, name)
    dated(stream, 50)
    for entry in Replayer(store, stream).entries():
        assert entry.stream == stream.shard_of(entry.value).name


def test_bounds_are_those_of_all_shards(store: Any, name: str) -> None:
    stream = sharded(store, name)
    dated(stream, 100)
    replayer = Replayer(store, stream)
    middle = BEGAN + timedelta(minutes=50)
    assert numbers_of(replayer.entries(middle)) == list(range(50, 100))
    assert numbers_of(replayer.entries(end=middle)) == list(range(50))
    assert numbers_of(replayer.entries(EntryId.at(middle), EntryId.at(middle))) == [50]
    assert numbers_of(replayer.entries(middle, limit=3, reverse=True)) == [99, 98, 97]
    with pytest.raises(InvalidArgument):
        replayer.entries(middle, BEGAN)
    with pytest.raises(InvalidArgument):
        replayer.entries(stream.shards[0].name)
    with pytest.raises(NotAPartition):
        Replayer(store, sharded(store, name, "partitioned")).entries(f"{name}:{{0}}:20250101")


def test_equal_ids_are_all_given(store: Any, name: str) -> None:
    stream = ShardedStream(store, name, shards=["a", "b", "c"], key=customer_of)
    for n in range(30):
        stream.append({"n": n, "customer": "abc"[n % 3]}, at=EntryId(1000 + n // 6, n // 3 % 2))
    replayer = Replayer(store, stream)
    found = [entry for entry in replayer.entries()]
    assert sorted(int(entry.value["n"]) for entry in found) == list(range(30))
    assert [entry.id for entry in found] == sorted(entry.id for entry in found)
    back = [entry.id for entry in replayer.entries(reverse=True)]
    assert back == sorted(back, reverse=True)
    assert len(back) == 30


def test_empty_and_missing_shards_are_no_harm(store: Any, name: str) -> None:
    stream = sharded(store, name)
    assert numbers_of(Replayer(store, stream).entries()) == []
    shard = stream.shards[2].name
    raw(store).xadd(shard, {"n": 5}, id="5-5")
    assert numbers_of(Replayer(store, stream).entries()) == [5]
    assert numbers_of(Replayer(store, stream).entries(reverse=True)) == [5]
    store.set(stream.shards[0].name, "x")
    with pytest.raises(WrongKeyType):
        numbers_of(Replayer(store, stream).entries())


def test_no_more_than_a_page_of_each_shard_is_in_memory(store: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pages, ahead, given = list[int](), list[int](), 0
    real = streamkit._sync.paging.Pages.next

    def counted(self: Any) -> Any:
        page = real(self)
        pages.append(0 if page is None else len(page[1]))
        return page

    stream = sharded(store, name)
    fill(stream, range(10_000))
    monkeypatch.setattr(streamkit._sync.paging.Pages, "next", counted)
    for _ in Replayer(store, stream).entries():
        given += 1
        ahead.append(sum(pages) - given)
    assert given == 10_000
    assert max(pages) <= 500
    assert max(ahead) < SHARDS * 500


def test_what_is_trimmed_meanwhile_stops_nothing(store: Any, name: str) -> None:
    stream, found = sharded(store, name), list[int]()
    dated(stream, 3000, apart=timedelta(milliseconds=500))
    for entry in Replayer(store, stream).entries():
        found.append(int(entry.value["n"]))
        if len(found) == 1000:
            for key in keys_of(stream):
                raw(store).xtrim(key, minid=EntryId.at(BEGAN + timedelta(seconds=1400)).ms, approximate=False)
    assert found[:1000] == list(range(1000))
    assert found == sorted(set(found))
    assert found[-200:] == list(range(2800, 3000))


def test_shards_are_copied_to_one_stream(store: Any, name: str) -> None:
    stream = sharded(store, name)
    dated(stream, 1200)
    replayer = Replayer(store, stream)
    target, progress = Stream(store, f"{name}:all"), list[int]()
    assert replayer.copy(target, progress=progress.append) == 1200
    assert progress == sorted(progress)
    assert len(progress) < 20
    assert numbers_in(store, target.name) == list(range(1200))
    assert replayer.copy(f"{name}:kept", keep_ids=True) == 1200
    ids = [entry_id for entry_id, _ in entries_in(store, f"{name}:kept")]
    assert ids == [EntryId.at(BEGAN + timedelta(minutes=n)) for n in range(1200)]
    with pytest.raises(InvalidArgument, match="would read what it writes"):
        replayer.copy(stream.shards[1])


def test_ids_that_two_shards_have_cannot_be_kept_in_one(store: Any, name: str) -> None:
    stream = ShardedStream(store, name, shards=["a", "b"], key=customer_of)
    for n in range(4):
        stream.append({"n": n, "customer": "ab"[n % 2]}, at=EntryId(1000 + n // 2))
    with pytest.raises(OutOfOrder) as caught:
        Replayer(store, stream).copy(f"{name}:kept", keep_ids=True)
    assert caught.value.appended == len(numbers_in(store, f"{name}:kept"))


def test_shards_become_more_by_writing_them_anew(store: Any, name: str) -> None:
    stream, more = sharded(store, name), sharded(store, f"{name}:more", shards=7)
    dated(stream, 700)
    values = [entry.value for entry in Replayer(store, stream).entries()]
    assert more.append_many(values) == 700
    assert sorted(numbers_of(Replayer(store, more).entries())) == list(range(700))


def test_shards_are_played_in_one_rhythm(store: Any, name: str) -> None:
    stream, played = sharded(store, name), list[int]()
    dated(stream, 100)

    def play(entry: Entry[Fields]) -> None:
        played.append(int(entry.value["n"]))

    began = time.monotonic()
    assert Replayer(store, stream).play(play, speed=60 * 100 / 0.2) == 100
    assert played == list(range(100))
    assert time.monotonic() - began > 0.19


def test_what_cannot_be_decoded_is_passed_over(store: Any, name: str) -> None:
    stream, recorder = sharded(store, name), Recorder()
    dated(stream, 20)
    raw(store).xadd(stream.shards[1].name, {"n": b"\xff"})
    assert numbers_of(Replayer(store, stream, observer=recorder).entries()) == list(range(20))
    assert [error.stream for error in recorder.of("on_undecodable")] == [stream.shards[1].name]


# The live view ------------------------------------------------------------------------------------------------------


def follow(replayer: Replayer[Fields], numbers: list[int], start: Any = NEW) -> None:
    with closing(replayer.tail(start=start)) as entries:
        for entry in entries:
            numbers.append(int(entry.value["n"]))  # noqa: PERF401 - seen one by one


@pytest.mark.steady
@pytest.mark.parametrize("kind", KINDS)
def test_a_live_view_is_of_all_shards(store: Any, name: str, kind: str) -> None:
    stream, recorder, numbers = sharded(store, name, kind), Recorder(), list[int]()
    fill(stream, range(100))
    replayer = Replayer(store, stream, observer=recorder)
    with running(follow, replayer, numbers, stop=replayer.stop) as run:
        until(lambda: len(recorder.of("on_start")) == SHARDS)
        fill(stream, range(100, 1100))
        until(lambda: len(numbers) == 1000)
        fill(stream, range(1100, 1101))
        until(lambda: len(numbers) == 1001)
        asked = time.monotonic()
        replayer.stop()
        run.result()
    assert time.monotonic() - asked < LIMIT
    assert sorted(numbers) == list(range(100, 1101))


def test_a_live_view_begins_where_it_is_told_to(store: Any, name: str) -> None:
    stream, numbers = sharded(store, name), list[int]()
    dated(stream, 60)
    replayer = Replayer(store, stream)
    with running(follow, replayer, numbers, BEGAN + timedelta(minutes=20), stop=replayer.stop):
        until(lambda: len(numbers) == 40)
    assert sorted(numbers) == list(range(20, 60))


def test_a_live_view_takes_shards_in_turn(store: Any, name: str) -> None:
    stream = ShardedStream(store, name, shards=["a", "b"], key=customer_of)
    stream.append_many({"n": n, "customer": "a"} for n in range(3000))
    stream.append({"n": 3000, "customer": "b"})
    replayer, numbers = Replayer(store, stream), list[int]()
    with running(follow, replayer, numbers, None, stop=replayer.stop):
        until(lambda: len(numbers) == 3001)
    assert numbers.index(3000) <= 2000


def test_a_live_view_of_shards_waits_out_an_outage(redis_url: str, client: redis.Redis, name: str) -> None:
    stream, recorder, numbers = sharded(client, name), Recorder(), list[int]()
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as shaky:
            replayer = Replayer(shaky, sharded(shaky, name), observer=recorder)
            with running(follow, replayer, numbers, stop=replayer.stop):
                until(lambda: len(recorder.of("on_start")) == SHARDS)
                fill(stream, range(20))
                until(lambda: len(numbers) == 20)
                proxy.down()
                until(lambda: len(recorder.of("on_unavailable")) >= 2)
                fill(stream, range(20, 40))
                proxy.up()
                until(lambda: len(numbers) == 40)
    assert sorted(numbers) == list(range(40))
    assert recorder.of("on_available")


@pytest.mark.steady
def test_stopped_in_the_middle_it_ends_at_once(store: Any, name: str) -> None:
    stream, found = ShardedStream(store, name, shards=3, key=customer_of, of=daily), list[int]()
    fill(stream, range(3000))
    replayer = Replayer(store, stream)
    for entry in replayer.entries():
        found.append(int(entry.value["n"]))
        if len(found) == 50:
            replayer.stop()
    assert len(found) == 50

    def play(entry: Entry[Fields]) -> None:
        found.append(int(entry.value["n"]))

    with running(replayer.play, play) as run:
        pause(0.1)
        asked = time.monotonic()
        replayer.stop()
        run.result()
    assert time.monotonic() - asked < LIMIT
