# Generated from tests/integration/asyncio/test_group_trimmed.py by tools/generate_sync.py: do not edit.
"""Entries that are gone before they were handled: each is on record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

from streamkit import Delivery, PartitionedStream, Retry, RetryPolicy
from streamkit._core.scripts import UNREAD
from tests.integration._sync._failing import LEASE, calls_of, consumer_of, through
from tests.integration._sync._groups import (
    GROUP,
    Fields,
    Seen,
    consuming,
    letters_in,
    milliseconds,
    pending_in,
    settled,
    strand,
)
from tests.integration._sync._readers import raw, told, write
from tests.integration._sync._runtime import until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def nobody_waits(client: redis.Redis) -> bool:
    """Whether the server has no client in a blocking read: one that was cut off may still be given an entry."""
    clients: Any = client.info("clients")
    return bool(clients["blocked_clients"] == 0)


def test_what_was_trimmed_while_a_dead_consumer_held_it_is_recorded_by_its_id(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    ids = strand(client, name, "dead", 3)
    raw(client).xdel(name, *ids[:2])
    recorder, seen = Recorder(), Seen()
    with consuming(consumer_of(client, name, recorder, lease=LEASE), seen):
        until(settled(client, name))
    assert seen.tries == [(3, 2)]
    found = [(letter.cause.value, str(letter.entry_id), letter.pairs) for letter in letters_in(client, name)]
    assert found == [("trimmed", entry_id, ()) for entry_id in ids[:2]]
    assert [(entry.id, cause.value) for entry, cause, _, _ in recorder.of("on_buried")] == [
        (entry_id, "trimmed") for entry_id in ids[:2]
    ]


def test_what_was_trimmed_while_it_waited_for_a_retry_is_recorded(client: redis.Redis, name: str) -> None:
    def fail(_: Delivery[Fields]) -> None:
        raise ValueError

    recorder, seen = Recorder(), Seen(fail)
    (entry_id,) = write(client, name, 1)
    retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(200))
    with consuming(consumer_of(client, name, recorder, lease=LEASE, retry=retry), seen):
        until(told(recorder, "on_retry"))
        raw(client).xtrim(name, maxlen=0, approximate=False)
        until(told(recorder, "on_buried"))
    assert seen.tries == [(1, 1)]
    (letter,) = letters_in(client, name)
    assert (letter.cause.value, letter.entry_id, letter.attempt) == ("trimmed", entry_id, 1)
    assert pending_in(client, name) == []


def test_what_was_trimmed_before_its_lost_reply_was_asked_for_again_is_recorded(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut):
        with redis.Redis.from_url(redis_url) as plain:
            # The reply with the entries is lost; when the consumer looks for them, one of them is gone.
            proxy.cut_after_request(matching=b"XREADGROUP")
            gone: Callable[[], Any] = lambda: plain.xdel(name, str(ids[0]))  # noqa: E731
            proxy.call_before(gone, matching=b"XPENDING")
            ids = write(client, name, 1, 2)
            options: dict[str, Any] = {"count": 10}
            with consuming(consumer_of(cut, name, recorder, **options), seen):
                until(settled(client, name))
    assert proxy.cuts == 1
    found = [(letter.cause.value, letter.entry_id) for letter in letters_in(client, name)]
    assert (seen.numbers, found) in (([2], [("trimmed", ids[0])]), ([1, 2], []))


def test_what_was_trimmed_before_it_was_handed_out_is_one_letter_with_its_number_and_span(
    client: redis.Redis, name: str
) -> None:
    def trim(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] in {"0", "1000"}:
            # Behind the consumer's back, more than it can have fetched.
            ids.extend(write(client, name, *range(len(ids), len(ids) + 500)))
            raw(client).xtrim(name, maxlen=20, approximate=False)

    ids = write(client, name, 0)
    recorder, seen = Recorder(), Seen(trim)
    with consuming(consumer_of(client, name, recorder), seen):
        until(settled(client, name))
        assert [(letter.cause.value, letter.count) for letter in letters_in(client, name)] == [("unread", 480)]
        # Not told again, whatever is read after it.
        ids += write(client, name, *range(501, 600))
        until(settled(client, name))
        assert len(letters_in(client, name)) == 1
        ids += write(client, name, *range(600, 1001))
        until(settled(client, name))
    first, *more = letters_in(client, name)
    assert [letter.cause.value for letter in (first, *more)] == ["unread"] * (1 + len(more))
    assert (first.first, first.last) == (ids[0], ids[481])
    assert first.group == GROUP
    lost = sum(letter.count for letter in (first, *more))
    assert len(seen.numbers) == len(set(seen.numbers)) == len(ids) - lost
    assert [(key, group, count) for key, group, count, _, _ in recorder.of("on_unread")] == [
        (name, GROUP, letter.count) for letter in (first, *more)
    ]


def test_what_was_trimmed_while_the_connection_was_away_is_recorded(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        write(client, name, 0)
        until(settled(client, name))
        before = proxy.counts[b"XREADGROUP"]
        # It waits in a blocking read.
        until(lambda: proxy.counts[b"XREADGROUP"] > before + 1)
        proxy.down()
        until(told(recorder, "on_unavailable"))
        until(lambda: nobody_waits(client))
        write(client, name, *range(1, 101))
        raw(client).xtrim(name, maxlen=10, approximate=False)
        proxy.up()
        until(settled(client, name))
    assert seen.numbers == [0, *range(91, 101)]
    (letter,) = letters_in(client, name)
    assert (letter.cause.value, letter.count) == ("unread", 90)
    assert [count for _, _, count, _, _ in recorder.of("on_unread")] == [90]


def test_a_stream_trimmed_to_nothing_is_recorded_too(redis_url: str, client: redis.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        write(client, name, 0)
        until(settled(client, name))
        proxy.down()
        until(told(recorder, "on_unavailable"))
        until(lambda: nobody_waits(client))
        write(client, name, *range(1, 11))
        raw(client).xtrim(name, maxlen=0, approximate=False)
        proxy.up()
        until(told(recorder, "on_unread"))
        looks = proxy.counts[b"XREADGROUP"]
        until(lambda: proxy.counts[b"XREADGROUP"] > looks + 3)
        write(client, name, 11)
        until(lambda: 11 in seen.numbers)
    assert seen.numbers == [0, 11]
    assert [(letter.cause.value, letter.count) for letter in letters_in(client, name)] == [("unread", 10)]
    assert len(recorder.of("on_unread")) == 1


def test_a_lost_record_of_unread_entries_is_not_written_twice(redis_url: str, client: redis.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut):
        with consuming(consumer_of(cut, name, recorder), seen):
            write(client, name, 0)
            until(settled(client, name))
            proxy.down()
            until(told(recorder, "on_unavailable"))
            until(lambda: nobody_waits(client))
            write(client, name, *range(1, 11))
            raw(client).xtrim(name, maxlen=1, approximate=False)
            proxy.cut_after_request(matching=calls_of(UNREAD))
            proxy.up()
            until(settled(client, name))
        assert proxy.cuts == 1
    assert seen.numbers == [0, 10]
    assert [(letter.cause.value, letter.count) for letter in letters_in(client, name)] == [("unread", 9)]


# What the cap drops for them ----------------------------------------------------------------------------------------


def fill(client: redis.Redis, name: str) -> str:
    """Have so many dead letters that the next one drops a hundred of them (whole nodes); their key."""
    letters = f"{{{name}}}:dead-letters"
    fill = "for n = 1, 150 do redis.call('XADD', KEYS[1], '*', 'n', n) end"
    raw(client).eval(fill, 1, letters)
    return letters


def fail(_: Delivery[Fields]) -> None:
    """A handler of no use."""
    raise Retry


def test_letters_dropped_for_what_is_trimmed_unread_are_told(client: redis.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    with consuming(consumer_of(client, name, Recorder()), seen):
        write(client, name, 0)
        until(settled(client, name))
    letters = fill(client, name)
    write(client, name, *range(1, 11))
    raw(client).xtrim(name, maxlen=4, approximate=False)
    with consuming(consumer_of(client, name, recorder, dead_letters_maxlen=1), seen):
        until(settled(client, name))
    assert seen.numbers == [0, 7, 8, 9, 10]
    assert [count for _, _, count, _, _ in recorder.of("on_unread")] == [6]
    assert recorder.of("on_letters_dropped") == [(letters, 100)]


def test_letters_dropped_for_what_was_delivered_too_often_are_told(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    ids = strand(client, name, "dead", 1)
    raw(client).xclaim(name, GROUP, "dead", 0, ids, retrycount=3, idle=100_000, justid=True)
    letters = fill(client, name)
    recorder, seen = Recorder(), Seen()
    with consuming(consumer_of(client, name, recorder, dead_letters_maxlen=1), seen):
        until(told(recorder, "on_buried"))
        until(told(recorder, "on_letters_dropped"))
    assert seen.numbers == []
    assert [entry.id for entry, _, _, _ in recorder.of("on_buried")] == ids
    assert recorder.of("on_letters_dropped") == [(letters, 100)]


def test_letters_dropped_for_what_is_trimmed_while_it_waits_for_a_retry_are_told(
    client: redis.Redis, name: str
) -> None:
    letters = fill(client, name)
    recorder, seen = Recorder(), Seen(fail)
    write(client, name, 1)
    retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(200))
    with consuming(consumer_of(client, name, recorder, retry=retry, dead_letters_maxlen=1), seen):
        until(told(recorder, "on_retry"))
        raw(client).xtrim(name, maxlen=0, approximate=False)
        until(told(recorder, "on_buried"))
    assert seen.tries == [(1, 1)]
    assert recorder.of("on_letters_dropped") == [(letters, 100)]


def test_letters_dropped_for_the_rest_of_a_partition_are_told(client: redis.Redis, name: str) -> None:
    retention = timedelta(seconds=20)
    source, now = PartitionedStream(client, name, retention=retention), datetime.now(timezone.utc)
    letters, key = fill(client, name), source.key_for(now)
    # Its time is over, though it is there for some seconds more.
    write(client, key, 1, at=now - 1.5 * retention)
    raw(client).pexpire(key, 8000)
    recorder, seen = Recorder(), Seen()
    options: dict[str, Any] = {"dead_letters_maxlen": 1, "max_hold": timedelta(0)}
    with consuming(consumer_of(client, source, recorder, **options), seen):
        until(told(recorder, "on_expired_rest"))
    assert seen.numbers == []
    assert recorder.of("on_expired_rest") == [(key, GROUP, 1)]
    assert recorder.of("on_letters_dropped") == [(letters, 100)]
