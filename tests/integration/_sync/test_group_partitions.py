# Generated from tests/integration/asyncio/test_group_partitions.py by tools/generate_sync.py: do not edit.
"""Groups on partitioned streams: every living partition, where they begin, and what is held back from expiry."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

import streamkit._sync.joining
import streamkit._sync.lanes
from streamkit import (
    NEW,
    Delivery,
    EntryId,
    GapCause,
    GroupConsumer,
    Observer,
    PartitionedStream,
    Retry,
    RetryPolicy,
)
from tests.integration._sync._groups import (
    GROUP,
    QUICK,
    Fields,
    Seen,
    letters_in,
    milliseconds,
    pending_in,
    settled,
    side_by_side,
    strand,
)
from tests.integration._sync._looking import keys_like
from tests.integration._sync._readers import DAY, MONTH_OF_DAYS, SECONDS, key_of, midnight, raw, told, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LONG = timedelta(seconds=60)
SHORT = timedelta(seconds=1)
"""A retention for tests that wait for its end."""
BOTH = pytest.mark.parametrize("concurrency", [1, 4])


def consumer_of(source: PartitionedStream, client: redis.Redis, **options: Any) -> GroupConsumer[Fields]:
    """A consumer that is silent unless it has an observer."""
    terms: dict[str, Any] = {"retry": QUICK, "observer": Observer(), "min_idle_time": LONG, **options}
    return GroupConsumer(client, source, GROUP, **terms)


def loop(consumer: GroupConsumer[Any], handler: Any, concurrency: int = 1) -> Callable[[], None]:
    """Running a consumer with so many handlers."""

    def run() -> None:
        consumer.run(handler, concurrency=concurrency)

    return run


def days_of(client: redis.Redis, name: str) -> PartitionedStream:
    """A stream of many days."""
    return PartitionedStream(client, name, retention=MONTH_OF_DAYS, max_ahead=MONTH_OF_DAYS)


def seconds_of(client: redis.Redis, name: str, retention: timedelta = LONG) -> PartitionedStream:
    """A stream of a partition a second."""
    return PartitionedStream(client, name, period=SECONDS, retention=retention)


def write_days(client: redis.Redis, name: str, *days: int, at: timedelta = timedelta(0)) -> list[EntryId]:
    """Write ten entries to each of these days, numbered from ten times the day (counted from the first) on."""
    ids: list[EntryId] = []
    for n, day in enumerate(days):
        moment = midnight(day) + at
        ids += write(client, key_of(name, moment), *range(10 * n, 10 * n + 10), at=moment)
    return ids


def all_settled(client: redis.Redis, *keys: str) -> bool:
    """Whether everything in these partitions was handed out, and nothing of it is pending."""
    done = [settled(client, key)() for key in keys]
    return all(done)


def partitions_of(client: redis.Redis, name: str) -> list[str]:
    """The partitions that exist."""
    return sorted(keys_like(client, f"{name}:[0-9]*"))


# Every living partition ---------------------------------------------------------------------------------------------


def test_every_living_partition_is_consumed_oldest_first(client: redis.Redis, name: str) -> None:
    days = [-20, -5, -4, 0]
    write_days(client, name, *days)
    keys: list[str] = []

    def note(delivery: Delivery[Fields]) -> None:
        keys.append(delivery.stream)

    seen = Seen(note)
    consumer = consumer_of(days_of(client, name), client)
    with running(loop(consumer, seen), stop=consumer.stop):
        until(lambda: len(seen.handled) == 40)
    assert seen.tries == [(n, 1) for n in range(40)]
    assert keys == [key_of(name, midnight(day)) for day in days for _ in range(10)]


@pytest.mark.steady
def test_the_next_partition_is_found_within_a_second(client: redis.Redis, name: str) -> None:
    side_by_side([(roll_over, client, f"{name}-{n}", n) for n in (1, 4)])


def roll_over(client: redis.Redis, name: str, concurrency: int) -> None:
    """Write one partition after the other."""
    source = seconds_of(client, name)
    seen = Seen()
    consumer = consumer_of(source, client)
    waits: list[float] = []
    with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        for n in range(3):
            source.append({"n": n})
            began = time.monotonic()
            until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            waits.append(time.monotonic() - began)
            pause(max(0.0, 1.0 - waits[-1]))
    assert seen.tries == [(n, 1) for n in range(3)]
    assert len(partitions_of(client, name)) >= 3
    assert max(waits) < 1


def test_times_ahead_of_the_clock_are_handled_as_they_come(client: redis.Redis, name: str) -> None:
    source = days_of(client, name)
    seen = Seen()
    consumer = consumer_of(source, client)
    with running(loop(consumer, seen), stop=consumer.stop):
        for n in range(4):
            source.append({"n": n}, at=midnight(n))
            until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
    assert seen.tries == [(n, 1) for n in range(4)]


@pytest.mark.steady
def test_late_entries_of_old_partitions_are_handled_too(client: redis.Redis, name: str) -> None:
    side_by_side([(write_late, client, f"{name}-{n}", n) for n in (1, 4)])


def write_late(client: redis.Redis, name: str, concurrency: int) -> None:
    """Write to old partitions, with several handlers while one of them is slow."""
    write_days(client, name, -3, -2, 0)
    days = [key_of(name, midnight(day)) for day in (-3, -2, 0)]
    doors: list[bool] = []

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "100":
            until(lambda: bool(doors))

    seen = Seen(handle)
    consumer = consumer_of(days_of(client, name), client)
    with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        until(lambda: len(seen.handled) == 30)
        if concurrency > 1:
            write(client, days[1], 100)  # is being handled from now on
            until(lambda: 100 in seen.numbers)
        for n, key in enumerate(days, 101):
            write(client, key, n)
            began = time.monotonic()
            until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            assert time.monotonic() - began < 2.5
        doors.append(True)
        until(lambda: all_settled(client, *days))
    assert {attempt for _, attempt in seen.tries} == {1}


@pytest.mark.steady
def test_the_newest_partition_is_prompt_while_a_handler_is_slow(client: redis.Redis, name: str) -> None:
    write_days(client, name, *range(-12, 1))
    doors: list[bool] = []

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "0":
            until(lambda: bool(doors))

    seen = Seen(handle)
    consumer = consumer_of(days_of(client, name), client)
    with running(loop(consumer, seen, 3), stop=consumer.stop):
        until(lambda: len(seen.handled) == 129)
        waits: list[float] = []
        for n in range(1000, 1005):
            pause(0.1)
            write(client, key_of(name, midnight()), n)
            began = time.monotonic()
            until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            waits.append(time.monotonic() - began)
        doors.append(True)
        assert sorted(waits)[-2] < 0.5


def test_a_partition_that_comes_late_before_others_is_found(
    client: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.joining, "PROBE_EVERY", 0.5)
    write_days(client, name, 0)
    seen = Seen()
    consumer = consumer_of(days_of(client, name), client)
    with running(loop(consumer, seen), stop=consumer.stop):
        until(lambda: len(seen.handled) == 10)
        write(client, key_of(name, midnight(-7)), 100, at=midnight(-7))
        until(lambda: 100 in seen.handled)


def test_pending_entries_of_old_days_are_taken_over(client: redis.Redis, name: str) -> None:
    write_days(client, name, -2, -1)
    old, newer = key_of(name, midnight(-2)), key_of(name, midnight(-1))
    strand(client, old, "dead", 10)
    strand(client, newer, "dead", 4)
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(days_of(client, name), client, min_idle_time=timedelta(seconds=0.4), observer=recorder)
    with running(loop(consumer, seen), stop=consumer.stop):
        write(client, key_of(name, midnight()), 100)
        until(lambda: len(seen.handled) == 21)
        until(lambda: all_settled(client, old, newer))
    assert dict(seen.tries) == {**dict.fromkeys(range(14), 2), **dict.fromkeys(range(14, 20), 1), 100: 1}
    assert dict(recorder.of("on_claimed")) == {old: 10, newer: 4}


def test_lag_and_pending_are_those_of_all_partitions(client: redis.Redis, name: str) -> None:
    write_days(client, name, -2, -1, 0)
    consumer = consumer_of(days_of(client, name), client)
    assert consumer.lag() == 30
    keys = [key_of(name, midnight(day)) for day in (-2, -1, 0)]
    for key in keys:
        strand(client, key, "a", 2)
    assert consumer.lag() == 24
    assert [entry.stream for entry in consumer.pending()] == [key for key in keys for _ in range(2)]


# What is left as it is ----------------------------------------------------------------------------------------------


def test_no_partition_is_made_by_reading_and_none_loses_its_expiry(client: redis.Redis, name: str) -> None:
    source = days_of(client, name)
    for day in (-3, 0, 2):
        source.append({"n": day}, at=midnight(day))
    expiries = {key: client.pexpiretime(key) for key in partitions_of(client, name)}
    seen = Seen()
    consumer = consumer_of(source, client)
    with running(loop(consumer, seen), stop=consumer.stop):
        until(lambda: len(seen.handled) == 3)
        pause(0.7)
    assert {key: client.pexpiretime(key) for key in partitions_of(client, name)} == expiries
    assert len(expiries) == 3
    assert min(expiries.values()) > 0


def test_an_empty_stream_is_waited_for_without_making_a_key(client: redis.Redis, name: str) -> None:
    source = seconds_of(client, name)
    seen = Seen()
    consumer = consumer_of(source, client)
    with running(loop(consumer, seen), stop=consumer.stop):
        pause(0.7)
        assert partitions_of(client, name) == []
        source.append({"n": 1})
        until(lambda: seen.handled == [1])


def test_what_never_expires_is_never_given_up(client: redis.Redis, name: str) -> None:
    # Another program's: plain XADD, no expiry, older than the retention by more than max_hold.
    source = PartitionedStream(client, name, retention=DAY)
    key = key_of(name, midnight(-2))
    write(client, key, 1, 2, at=midnight(-2))
    recorder, tries = Recorder(), list[int]()

    def handle(delivery: Delivery[Fields]) -> None:
        tries.append(delivery.attempt)
        if delivery.attempt < 3:
            raise Retry

    seen = Seen(handle)
    policy = RetryPolicy(max_deliveries=5, backoff=milliseconds(300))
    consumer = consumer_of(source, client, retry=policy, max_hold=timedelta(seconds=1), observer=recorder)
    with running(loop(consumer, seen), stop=consumer.stop):
        until(lambda: sorted(seen.handled) == [1, 2])
        until(settled(client, key))
    assert recorder.of("on_expired_rest") == recorder.of("on_buried") == []
    assert client.ttl(key) == -1


# Where it begins ----------------------------------------------------------------------------------------------------

STARTS: list[tuple[Any, range]] = [
    (None, range(30)),
    (NEW, range(0)),
    ("datetime", range(15, 30)),
    ("id", range(15, 30)),
    ("key", range(10, 30)),
    ("midnight", range(10, 30)),
    ("future", range(0)),
]
"""Where a group begins, as `start_of` reads it, and which of the entries of `write_apart` it is given."""


def start_of(start: Any, name: str, ids: list[EntryId]) -> Any:
    """What the parameter means, for days written by `write_days`."""
    meanings: dict[Any, Any] = {
        "datetime": ids[15].time,
        "id": ids[15],
        "key": key_of(name, midnight(-2)),
        "midnight": midnight(-2),
        "future": midnight(1),
    }
    return meanings.get(start, start)


def write_apart(client: redis.Redis, name: str, *days: int) -> list[EntryId]:
    """The same as `write_days`, an hour between any two entries."""
    ids: list[EntryId] = []
    for n in range(10 * len(days)):
        moment = midnight(days[n // 10]) + timedelta(hours=n % 10)
        ids += write(client, key_of(name, moment), n, at=moment)
    return ids


def test_a_new_group_begins_where_start_says_and_later_partitions_at_0(
    client: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.joining, "PROBE_EVERY", 0.1)
    monkeypatch.setattr(streamkit._sync.lanes, "DISCOVER_EVERY", 0.1)
    side_by_side([(begin, client, f"{name}-{n}", *case) for n, case in enumerate(STARTS)])


def begin(client: redis.Redis, name: str, start: Any, expected: range) -> None:
    """Begin a group there, then go on with it."""
    ids = write_apart(client, name, -3, -2, -1)
    source = days_of(client, name)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, start=start_of(start, name, ids), observer=recorder)

    def joined() -> bool:
        return raw(client).hget(f"{{{name}}}:group:{GROUP}", "origin") is not None

    with running(loop(consumer, seen), stop=consumer.stop):
        until(lambda: len(seen.handled) == len(expected))
        until(joined)
        write(client, key_of(name, midnight(1)), 100, 101, at=midnight(1))
        until(lambda: len(seen.handled) == len(expected) + 2)
        # Long enough to look again at every partition that exists.
        pause(0.4)
    assert seen.numbers == [*expected, 100, 101]

    # From then on `start` has nothing to say, whatever it is.
    write(client, key_of(name, midnight(1)), 102)
    write(client, key_of(name, midnight(2)), 103, at=midnight(2))
    again = Seen()
    for later in (start_of(start, name, ids), None, NEW):
        consumer = consumer_of(source, client, start=later, observer=recorder)
        with running(loop(consumer, again), stop=consumer.stop):
            until(lambda: len(again.handled) == 2)
            pause(0.2)
    assert again.numbers == [102, 103]
    assert recorder.of("on_gap") == []


def test_new_skips_what_there_is_and_loses_nothing_written_since(client: redis.Redis, name: str) -> None:
    write_days(client, name, -3, -1)
    source = days_of(client, name)
    first = consumer_of(source, client, start=NEW)
    with running(loop(first, Seen()), stop=first.stop):
        until(settled(client, key_of(name, midnight(-1))))
    # Nobody is there: entries in known partitions, in a new one, and in an old one that was not there before.
    write(client, key_of(name, midnight(-3)), 100)
    write(client, key_of(name, midnight(-1)), 101)
    write(client, key_of(name, midnight()), 102)
    write(client, key_of(name, midnight(-2)), 103, at=midnight(-2))
    seen = Seen()
    again = consumer_of(source, client, start=NEW)
    with running(loop(again, seen), stop=again.stop):
        until(lambda: len(seen.handled) == 4)
    assert sorted(seen.tries) == [(n, 1) for n in range(100, 104)]


@pytest.mark.parametrize("start", [NEW, "datetime"])
def test_several_consumers_that_start_together_agree_where_to_begin(client: redis.Redis, name: str, start: Any) -> None:
    ids = write_apart(client, name, -3, -2, -1)
    expected = 0 if start is NEW else 15
    for attempt in range(5):
        group = f"{GROUP}{attempt}"
        seen = Seen()
        consumers = [
            GroupConsumer(
                client, days_of(client, name), group, start=start_of(start, name, ids), observer=Observer(), count=1
            )
            for _ in range(4)
        ]
        with ExitStack() as stack:
            for consumer in consumers:
                stack.enter_context(running(loop(consumer, seen), stop=consumer.stop))
            until(settled_in(client, key_of(name, midnight(-1)), group))
            until(lambda: len(seen.handled) >= expected)  # noqa: B023 - asked before it changes
            for consumer in consumers:
                consumer.stop()
        assert sorted(seen.numbers) == list(range(30 - expected, 30))


def settled_in(client: redis.Redis, key: str, group: str) -> Callable[[], bool]:
    """A condition: one of several groups is done with a stream."""

    def found() -> bool:
        newest = (raw(client).xinfo_stream(key))["last-generated-id"]
        for each in raw(client).xinfo_groups(key):
            if each["name"].decode() == group:
                return bool(each["last-delivered-id"] == newest and each["pending"] == 0)
        return False

    return found


def test_a_group_that_was_wiped_out_remembers_to_miss_nothing(client: redis.Redis, name: str) -> None:
    write_days(client, name, -1)
    source = days_of(client, name)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, start=NEW, observer=recorder)
    with running(loop(consumer, seen), stop=consumer.stop):
        until(settled(client, key_of(name, midnight(-1))))
        # As FLUSHALL does, and the stream goes on.
        client.delete(*keys_like(client, f"*{name}*"))
        write(client, key_of(name, midnight()), 100)
        until(lambda: seen.handled == [100])
    write(client, key_of(name, midnight()), 101)
    write(client, key_of(name, midnight(1)), 102, at=midnight(1))
    again = consumer_of(source, client, start=NEW)
    with running(loop(again, seen), stop=again.stop):
        until(lambda: len(seen.handled) == 3)
    assert seen.numbers == [100, 101, 102]


# Held back from expiry ----------------------------------------------------------------------------------------------


@pytest.mark.steady
def test_what_is_unhandled_is_held_while_somebody_is_alive(client: redis.Redis, name: str) -> None:
    ways = ("fails", "fails beside others", "slow", "slow beside others", "slow batch")
    side_by_side([(handle_late, client, f"{name}-{n}", way) for n, way in enumerate(ways)])


@pytest.mark.steady
def test_what_is_held_is_found_given_up_or_let_go_in_time(client: redis.Redis, name: str) -> None:
    ends = (find_at_next_start, give_up, give_up_unread, let_go)
    side_by_side([(end, client, f"{name}-{n}") for n, end in enumerate(ends)])


def handle_late(client: redis.Redis, name: str, way: str) -> None:
    """Handle entries no sooner than their partition would have expired."""
    source = seconds_of(client, name, SHORT)
    began = time.monotonic()

    def fail(_: Delivery[Fields]) -> None:
        if time.monotonic() < began + 2.5:
            raise Retry

    def dawdle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "1":
            pause(2.5)

    def dawdle_over_all(deliveries: Any) -> None:
        if not seen.handled:
            pause(2.5)
        seen.handled.extend(int(delivery.value["n"]) for delivery in deliveries)

    seen = Seen(fail if way.startswith("fails") else dawdle)
    recorder = Recorder()
    policy = RetryPolicy(max_deliveries=100, backoff=milliseconds(200))
    consumer = consumer_of(source, client, retry=policy, observer=recorder, count=2)

    def run() -> None:
        if way == "slow batch":
            consumer.run_batches(dawdle_over_all)
        else:
            consumer.run(seen, concurrency=2 if "beside" in way else 1)

    with running(run, stop=consumer.stop):
        for n in range(1, 6):
            source.append({"n": n})
        until(lambda: sorted(seen.handled) == [1, 2, 3, 4, 5])
    assert recorder.of("on_expired_rest") == recorder.of("on_buried") == recorder.of("on_gap") == []
    assert letters_in(client, name) == []


def find_at_next_start(client: redis.Redis, name: str) -> None:
    """A partition held for longer than its retention is found by the consumer that comes next."""
    source = seconds_of(client, name, SHORT)

    def fail(_: Delivery[Fields]) -> None:
        raise Retry

    policy = RetryPolicy(max_deliveries=100, backoff=milliseconds(200))
    first = consumer_of(source, client, retry=policy)
    failing = Seen(fail)
    with running(loop(first, failing), stop=first.stop):
        key = source.key_for((source.append({"n": 1})).time)
        pause(2.6)
        assert client.exists(key)
    recorder, seen = Recorder(), Seen()
    second = consumer_of(source, client, retry=policy, observer=recorder, min_idle_time=timedelta(seconds=0.4))
    with running(loop(second, seen), stop=second.stop):
        until(lambda: seen.handled == [1])
    assert recorder.of("on_gap") == []


def give_up(client: redis.Redis, name: str) -> None:
    """What was held for too long is dead-lettered with its fields."""
    source = seconds_of(client, name, SHORT)

    def fail(_: Delivery[Fields]) -> None:
        raise Retry

    seen, recorder = Seen(fail), Recorder()
    policy = RetryPolicy(max_deliveries=1000, backoff=milliseconds(100))
    consumer = consumer_of(source, client, retry=policy, max_hold=timedelta(seconds=1), observer=recorder)
    with running(loop(consumer, seen), stop=consumer.stop):
        began = time.time()
        ids = [source.append({"n": n, "more": "x"}) for n in range(3)]
        until(lambda: sum(count for _, _, count in recorder.of("on_expired_rest")) == 3)
        assert time.time() - began >= 2
        letters = letters_in(client, name)
        assert sorted((letter.entry_id, letter.cause.value, letter.pairs) for letter in letters if letter.entry_id) == [
            (entry_id, "expired", (b"n", b"%d" % n, b"more", b"x")) for n, entry_id in enumerate(ids)
        ]
        key = source.key_for(ids[0].time)
        assert recorder.of("on_expired_rest")[0][:2] == (key, GROUP)

        def gone() -> bool:
            return not client.exists(key)

        until(gone)
        # It goes on with what comes.
        source.append({"n": 100})
        until(lambda: 100 in seen.numbers)
    assert recorder.of("on_gap") == []


def give_up_unread(client: redis.Redis, name: str) -> None:
    """What was not even handed out by then is dead-lettered as well, and not begun any more."""
    source = seconds_of(client, name, SHORT)
    doors: list[bool] = []

    def block(_: Delivery[Fields]) -> None:
        until(lambda: bool(doors))

    seen, recorder = Seen(block), Recorder()
    consumer = consumer_of(source, client, max_hold=timedelta(seconds=1), observer=recorder)
    with running(loop(consumer, seen, 2), stop=consumer.stop):
        assert source.append_many({"n": n} for n in range(150)) == 150
        until(lambda: sum(count for _, _, count in recorder.of("on_expired_rest")) == 150)
        doors.append(True)
        pause(0.3)
    # What was waiting to be begun is not begun any more.
    assert len(seen.numbers) == 2
    letters = letters_in(client, name)
    assert sum(count for _, _, count in recorder.of("on_expired_rest")) == len(letters) == 150
    assert [letter.pairs for letter in letters] == [(b"n", b"%d" % n) for n in range(150)]


def let_go(client: redis.Redis, name: str) -> None:
    """A partition that was handled is not held."""
    source = seconds_of(client, name, SHORT)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, observer=recorder)
    with running(loop(consumer, seen), stop=consumer.stop):
        entry_id = source.append({"n": 1})
        key = source.key_for(entry_id.time)
        expiry = client.pexpiretime(key)
        assert expiry == entry_id.ms + 1000
        until(lambda: seen.handled == [1])
        while client.exists(key):
            # Held once at most: where the ack of what was handled takes half a second.
            assert client.pexpiretime(key) <= expiry + 500
            pause(0.05)
        pause(0.5)
        source.append({"n": 2})
        until(lambda: seen.handled == [1, 2])
    assert recorder.of("on_gap") == recorder.of("on_expired_rest") == recorder.of("on_unavailable") == []


# Lost all the same --------------------------------------------------------------------------------------------------


@pytest.mark.steady
def test_what_was_lost_while_nobody_was_alive_is_reported_at_the_next_start(client: redis.Redis, name: str) -> None:
    ways = (lose_unhandled, lose_unseen, lose_nothing)
    side_by_side([(way, client, f"{name}-{n}") for n, way in enumerate(ways)])


def lose_unhandled(client: redis.Redis, name: str) -> None:
    """What had entries for the group, and expired then, is reported at the next start."""
    source = seconds_of(client, name, SHORT)

    def fail(_: Delivery[Fields]) -> None:
        raise Retry

    first = consumer_of(source, client)
    failing = Seen(fail)
    entry_id = source.append({"n": 1})
    key = source.key_for(entry_id.time)
    with running(loop(first, failing), stop=first.stop):
        until(lambda: bool(failing.tries))

        def noted() -> bool:
            return key.encode() in (raw(client).hget(f"{{{name}}}:group:{GROUP}", "unhandled") or b"")

        until(noted)
    while client.exists(key) or datetime.now(timezone.utc) < entry_id.time + timedelta(seconds=2):
        pause(0.05)
    recorder, seen = Recorder(), Seen()
    second = consumer_of(source, client, observer=recorder)
    with running(loop(second, seen), stop=second.stop):
        until(told(recorder, "on_gap"))
        source.append({"n": 2})
        until(lambda: seen.handled == [2])
    gap, *since = recorder.of("on_gap")
    assert all(each.since > gap.since for each in since)
    assert (gap.cause, gap.after.stream, gap.lost, gap.exact) == (GapCause.EXPIRED, key, None, False)
    assert gap.since == entry_id.time.replace(microsecond=0)
    assert gap.until == gap.since + timedelta(seconds=1)
    # Told once.
    again = Recorder()
    third = consumer_of(source, client, observer=again)
    with running(loop(third, seen), stop=third.stop):
        source.append({"n": 3})
        until(lambda: seen.handled == [2, 3])
    assert again.of("on_gap") == []


def lose_unseen(client: redis.Redis, name: str) -> None:
    """Partitions that came and went meanwhile are reported."""
    source = seconds_of(client, name, SHORT)
    seen = Seen()
    first = consumer_of(source, client)
    with running(loop(first, seen), stop=first.stop):
        source.append({"n": 1})
        until(lambda: seen.handled == [1])
    pause(1)
    lost = source.append({"n": 2})

    def gone() -> bool:
        return partitions_of(client, name) == []

    until(gone)
    pause(1)
    source.append({"n": 3})
    recorder = Recorder()
    second = consumer_of(source, client, observer=recorder)
    with running(loop(second, seen), stop=second.stop):
        until(lambda: 3 in seen.handled)
    assert seen.numbers == [1, 3]
    gaps = recorder.of("on_gap")
    assert [gap.cause for gap in gaps] == [GapCause.EXPIRED]
    assert gaps[0].since <= lost.time <= gaps[0].until
    assert (gaps[0].lost, gaps[0].exact) == (None, False)


def lose_nothing(client: redis.Redis, name: str) -> None:
    """Where everything was handled nothing is reported."""
    source = seconds_of(client, name, timedelta(seconds=2))
    seen, recorder = Seen(), Recorder()
    for n in range(3):
        consumer = consumer_of(source, client, observer=recorder)
        with running(loop(consumer, seen), stop=consumer.stop):
            source.append({"n": n})
            until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            if n == 1:
                pause(2.5)  # it sees its partition go
    assert recorder.of("on_gap") == []


@BOTH
def test_a_partition_deleted_while_it_is_read_is_told_and_the_others_go_on(
    client: redis.Redis, name: str, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.joining, "PROBE_EVERY", 0.5)
    write_days(client, name, -2, -1)
    old, newer = key_of(name, midnight(-2)), key_of(name, midnight(-1))
    doors: list[bool] = []

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "3":
            until(lambda: bool(doors))

    seen, recorder = Seen(handle), Recorder()
    consumer = consumer_of(days_of(client, name), client, observer=recorder, count=2)

    def noted() -> bool:
        return old.encode() in (raw(client).hget(f"{{{name}}}:group:{GROUP}", "unhandled") or b"")

    with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        until(lambda: 3 in seen.numbers)
        until(noted)
        client.delete(old)
        doors.append(True)
        until(settled(client, newer))
        until(told(recorder, "on_gap"))
        # Made anew, it is consumed from its beginning.
        write(client, old, 100, 101, at=midnight(-2))
        write(client, newer, 102)
        until(lambda: {100, 101, 102} <= set(seen.handled))
    assert set(range(10, 20)) <= set(seen.handled)
    (gap,) = recorder.of("on_gap")
    assert (gap.cause, gap.after.stream) == (GapCause.GONE, old)


def test_a_partition_deleted_and_made_anew_at_once_is_consumed_anew(client: redis.Redis, name: str) -> None:
    source = days_of(client, name)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, observer=recorder)
    key = key_of(name, midnight())
    with running(loop(consumer, seen), stop=consumer.stop):
        write(client, key, 1)
        until(lambda: seen.handled == [1])
        with client.pipeline(transaction=True) as pipe:
            queue: Any = pipe
            queue.delete(key)
            queue.xadd(key, {"n": 2})
            pipe.execute()
        until(lambda: seen.handled == [1, 2])
        until(settled(client, key))
    assert recorder.of("on_group_missing") == [(key, GROUP)]
    assert pending_in(client, key) == []
