"""Groups on partitioned streams: every living partition, where they begin, and what is held back from expiry."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

import streamkit.asyncio.joining
import streamkit.asyncio.lanes
from streamkit.asyncio import (
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
from tests.integration.asyncio._groups import (
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
from tests.integration.asyncio._looking import keys_like
from tests.integration.asyncio._readers import DAY, MONTH_OF_DAYS, SECONDS, key_of, midnight, raw, told, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LONG = timedelta(seconds=60)
SHORT = timedelta(seconds=1)
"""A retention for tests that wait for its end."""
BOTH = pytest.mark.parametrize("concurrency", [1, 4])


def consumer_of(source: PartitionedStream, client: redis.asyncio.Redis, **options: Any) -> GroupConsumer[Fields]:
    """A consumer that is silent unless it has an observer."""
    terms: dict[str, Any] = {"retry": QUICK, "observer": Observer(), "min_idle_time": LONG, **options}
    return GroupConsumer(client, source, GROUP, **terms)


def loop(consumer: GroupConsumer[Any], handler: Any, concurrency: int = 1) -> Callable[[], Coroutine[Any, Any, None]]:
    """Running a consumer with so many handlers."""

    async def run() -> None:
        await consumer.run(handler, concurrency=concurrency)

    return run


def days_of(client: redis.asyncio.Redis, name: str) -> PartitionedStream:
    """A stream of many days."""
    return PartitionedStream(client, name, retention=MONTH_OF_DAYS, max_ahead=MONTH_OF_DAYS)


def seconds_of(client: redis.asyncio.Redis, name: str, retention: timedelta = LONG) -> PartitionedStream:
    """A stream of a partition a second."""
    return PartitionedStream(client, name, period=SECONDS, retention=retention)


async def write_days(client: redis.asyncio.Redis, name: str, *days: int, at: timedelta = timedelta(0)) -> list[EntryId]:
    """Write ten entries to each of these days, numbered from ten times the day (counted from the first) on."""
    ids: list[EntryId] = []
    for n, day in enumerate(days):
        moment = midnight(day) + at
        ids += await write(client, key_of(name, moment), *range(10 * n, 10 * n + 10), at=moment)
    return ids


async def all_settled(client: redis.asyncio.Redis, *keys: str) -> bool:
    """Whether everything in these partitions was handed out, and nothing of it is pending."""
    done = [await settled(client, key)() for key in keys]
    return all(done)


async def partitions_of(client: redis.asyncio.Redis, name: str) -> list[str]:
    """The partitions that exist."""
    return sorted(await keys_like(client, f"{name}:[0-9]*"))


# Every living partition ---------------------------------------------------------------------------------------------


async def test_every_living_partition_is_consumed_oldest_first(client: redis.asyncio.Redis, name: str) -> None:
    days = [-20, -5, -4, 0]
    await write_days(client, name, *days)
    keys: list[str] = []

    async def note(delivery: Delivery[Fields]) -> None:
        keys.append(delivery.stream)

    seen = Seen(note)
    consumer = consumer_of(days_of(client, name), client)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 40)
    assert seen.tries == [(n, 1) for n in range(40)]
    assert keys == [key_of(name, midnight(day)) for day in days for _ in range(10)]


@pytest.mark.steady
async def test_the_next_partition_is_found_within_a_second(client: redis.asyncio.Redis, name: str) -> None:
    await side_by_side([(roll_over, client, f"{name}-{n}", n) for n in (1, 4)])


async def roll_over(client: redis.asyncio.Redis, name: str, concurrency: int) -> None:
    """Write one partition after the other."""
    source = seconds_of(client, name)
    seen = Seen()
    consumer = consumer_of(source, client)
    waits: list[float] = []
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        for n in range(3):
            await source.append({"n": n})
            began = time.monotonic()
            await until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            waits.append(time.monotonic() - began)
            await pause(max(0.0, 1.0 - waits[-1]))
    assert seen.tries == [(n, 1) for n in range(3)]
    assert len(await partitions_of(client, name)) >= 3
    assert max(waits) < 1


async def test_times_ahead_of_the_clock_are_handled_as_they_come(client: redis.asyncio.Redis, name: str) -> None:
    source = days_of(client, name)
    seen = Seen()
    consumer = consumer_of(source, client)
    async with running(loop(consumer, seen), stop=consumer.stop):
        for n in range(4):
            await source.append({"n": n}, at=midnight(n))
            await until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
    assert seen.tries == [(n, 1) for n in range(4)]


@pytest.mark.steady
async def test_late_entries_of_old_partitions_are_handled_too(client: redis.asyncio.Redis, name: str) -> None:
    await side_by_side([(write_late, client, f"{name}-{n}", n) for n in (1, 4)])


async def write_late(client: redis.asyncio.Redis, name: str, concurrency: int) -> None:
    """Write to old partitions, with several handlers while one of them is slow."""
    await write_days(client, name, -3, -2, 0)
    days = [key_of(name, midnight(day)) for day in (-3, -2, 0)]
    doors: list[bool] = []

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "100":
            await until(lambda: bool(doors))

    seen = Seen(handle)
    consumer = consumer_of(days_of(client, name), client)
    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 30)
        if concurrency > 1:
            await write(client, days[1], 100)  # is being handled from now on
            await until(lambda: 100 in seen.numbers)
        for n, key in enumerate(days, 101):
            await write(client, key, n)
            began = time.monotonic()
            await until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            assert time.monotonic() - began < 2.5
        doors.append(True)
        await until(lambda: all_settled(client, *days))
    assert {attempt for _, attempt in seen.tries} == {1}


@pytest.mark.steady
async def test_the_newest_partition_is_prompt_while_a_handler_is_slow(client: redis.asyncio.Redis, name: str) -> None:
    await write_days(client, name, *range(-12, 1))
    doors: list[bool] = []

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "0":
            await until(lambda: bool(doors))

    seen = Seen(handle)
    consumer = consumer_of(days_of(client, name), client)
    async with running(loop(consumer, seen, 3), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 129)
        waits: list[float] = []
        for n in range(1000, 1005):
            await pause(0.1)
            await write(client, key_of(name, midnight()), n)
            began = time.monotonic()
            await until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            waits.append(time.monotonic() - began)
        doors.append(True)
        assert sorted(waits)[-2] < 0.5


async def test_a_partition_that_comes_late_before_others_is_found(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit.asyncio.joining, "PROBE_EVERY", 0.5)
    await write_days(client, name, 0)
    seen = Seen()
    consumer = consumer_of(days_of(client, name), client)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 10)
        await write(client, key_of(name, midnight(-7)), 100, at=midnight(-7))
        await until(lambda: 100 in seen.handled)


async def test_pending_entries_of_old_days_are_taken_over(client: redis.asyncio.Redis, name: str) -> None:
    await write_days(client, name, -2, -1)
    old, newer = key_of(name, midnight(-2)), key_of(name, midnight(-1))
    await strand(client, old, "dead", 10)
    await strand(client, newer, "dead", 4)
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(days_of(client, name), client, min_idle_time=timedelta(seconds=0.4), observer=recorder)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await write(client, key_of(name, midnight()), 100)
        await until(lambda: len(seen.handled) == 21)
        await until(lambda: all_settled(client, old, newer))
    assert dict(seen.tries) == {**dict.fromkeys(range(14), 2), **dict.fromkeys(range(14, 20), 1), 100: 1}
    assert dict(recorder.of("on_claimed")) == {old: 10, newer: 4}


async def test_lag_and_pending_are_those_of_all_partitions(client: redis.asyncio.Redis, name: str) -> None:
    await write_days(client, name, -2, -1, 0)
    consumer = consumer_of(days_of(client, name), client)
    assert await consumer.lag() == 30
    keys = [key_of(name, midnight(day)) for day in (-2, -1, 0)]
    for key in keys:
        await strand(client, key, "a", 2)
    assert await consumer.lag() == 24
    assert [entry.stream async for entry in consumer.pending()] == [key for key in keys for _ in range(2)]


# What is left as it is ----------------------------------------------------------------------------------------------


async def test_no_partition_is_made_by_reading_and_none_loses_its_expiry(
    client: redis.asyncio.Redis, name: str
) -> None:
    source = days_of(client, name)
    for day in (-3, 0, 2):
        await source.append({"n": day}, at=midnight(day))
    expiries = {key: await client.pexpiretime(key) for key in await partitions_of(client, name)}
    seen = Seen()
    consumer = consumer_of(source, client)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 3)
        await pause(0.7)
    assert {key: await client.pexpiretime(key) for key in await partitions_of(client, name)} == expiries
    assert len(expiries) == 3
    assert min(expiries.values()) > 0


async def test_an_empty_stream_is_waited_for_without_making_a_key(client: redis.asyncio.Redis, name: str) -> None:
    source = seconds_of(client, name)
    seen = Seen()
    consumer = consumer_of(source, client)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await pause(0.7)
        assert await partitions_of(client, name) == []
        await source.append({"n": 1})
        await until(lambda: seen.handled == [1])


async def test_what_never_expires_is_never_given_up(client: redis.asyncio.Redis, name: str) -> None:
    # Another program's: plain XADD, no expiry, older than the retention by more than max_hold.
    source = PartitionedStream(client, name, retention=DAY)
    key = key_of(name, midnight(-2))
    await write(client, key, 1, 2, at=midnight(-2))
    recorder, tries = Recorder(), list[int]()

    async def handle(delivery: Delivery[Fields]) -> None:
        tries.append(delivery.attempt)
        if delivery.attempt < 3:
            raise Retry

    seen = Seen(handle)
    policy = RetryPolicy(max_deliveries=5, backoff=milliseconds(300))
    consumer = consumer_of(source, client, retry=policy, max_hold=timedelta(seconds=1), observer=recorder)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(lambda: sorted(seen.handled) == [1, 2])
        await until(settled(client, key))
    assert recorder.of("on_expired_rest") == recorder.of("on_buried") == []
    assert await client.ttl(key) == -1


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


async def write_apart(client: redis.asyncio.Redis, name: str, *days: int) -> list[EntryId]:
    """The same as `write_days`, an hour between any two entries."""
    ids: list[EntryId] = []
    for n in range(10 * len(days)):
        moment = midnight(days[n // 10]) + timedelta(hours=n % 10)
        ids += await write(client, key_of(name, moment), n, at=moment)
    return ids


async def test_a_new_group_begins_where_start_says_and_later_partitions_at_0(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit.asyncio.joining, "PROBE_EVERY", 0.1)
    monkeypatch.setattr(streamkit.asyncio.lanes, "DISCOVER_EVERY", 0.1)
    await side_by_side([(begin, client, f"{name}-{n}", *case) for n, case in enumerate(STARTS)])


async def begin(client: redis.asyncio.Redis, name: str, start: Any, expected: range) -> None:
    """Begin a group there, then go on with it."""
    ids = await write_apart(client, name, -3, -2, -1)
    source = days_of(client, name)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, start=start_of(start, name, ids), observer=recorder)

    async def joined() -> bool:
        return await raw(client).hget(f"{{{name}}}:group:{GROUP}", "origin") is not None

    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(lambda: len(seen.handled) == len(expected))
        await until(joined)
        await write(client, key_of(name, midnight(1)), 100, 101, at=midnight(1))
        await until(lambda: len(seen.handled) == len(expected) + 2)
        # Long enough to look again at every partition that exists.
        await pause(0.4)
    assert seen.numbers == [*expected, 100, 101]

    # From then on `start` has nothing to say, whatever it is.
    await write(client, key_of(name, midnight(1)), 102)
    await write(client, key_of(name, midnight(2)), 103, at=midnight(2))
    again = Seen()
    for later in (start_of(start, name, ids), None, NEW):
        consumer = consumer_of(source, client, start=later, observer=recorder)
        async with running(loop(consumer, again), stop=consumer.stop):
            await until(lambda: len(again.handled) == 2)
            await pause(0.2)
    assert again.numbers == [102, 103]
    assert recorder.of("on_gap") == []


async def test_new_skips_what_there_is_and_loses_nothing_written_since(client: redis.asyncio.Redis, name: str) -> None:
    await write_days(client, name, -3, -1)
    source = days_of(client, name)
    first = consumer_of(source, client, start=NEW)
    async with running(loop(first, Seen()), stop=first.stop):
        await until(settled(client, key_of(name, midnight(-1))))
    # Nobody is there: entries in known partitions, in a new one, and in an old one that was not there before.
    await write(client, key_of(name, midnight(-3)), 100)
    await write(client, key_of(name, midnight(-1)), 101)
    await write(client, key_of(name, midnight()), 102)
    await write(client, key_of(name, midnight(-2)), 103, at=midnight(-2))
    seen = Seen()
    again = consumer_of(source, client, start=NEW)
    async with running(loop(again, seen), stop=again.stop):
        await until(lambda: len(seen.handled) == 4)
    assert sorted(seen.tries) == [(n, 1) for n in range(100, 104)]


@pytest.mark.parametrize("start", [NEW, "datetime"])
async def test_several_consumers_that_start_together_agree_where_to_begin(
    client: redis.asyncio.Redis, name: str, start: Any
) -> None:
    ids = await write_apart(client, name, -3, -2, -1)
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
        async with AsyncExitStack() as stack:
            for consumer in consumers:
                await stack.enter_async_context(running(loop(consumer, seen), stop=consumer.stop))
            await until(settled_in(client, key_of(name, midnight(-1)), group))
            await until(lambda: len(seen.handled) >= expected)  # noqa: B023 - asked before it changes
            for consumer in consumers:
                consumer.stop()
        assert sorted(seen.numbers) == list(range(30 - expected, 30))


def settled_in(client: redis.asyncio.Redis, key: str, group: str) -> Callable[[], Coroutine[Any, Any, bool]]:
    """A condition: one of several groups is done with a stream."""

    async def found() -> bool:
        newest = (await raw(client).xinfo_stream(key))["last-generated-id"]
        for each in await raw(client).xinfo_groups(key):
            if each["name"].decode() == group:
                return bool(each["last-delivered-id"] == newest and each["pending"] == 0)
        return False

    return found


async def test_a_group_that_was_wiped_out_remembers_to_miss_nothing(client: redis.asyncio.Redis, name: str) -> None:
    await write_days(client, name, -1)
    source = days_of(client, name)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, start=NEW, observer=recorder)
    async with running(loop(consumer, seen), stop=consumer.stop):
        await until(settled(client, key_of(name, midnight(-1))))
        # As FLUSHALL does, and the stream goes on.
        await client.delete(*await keys_like(client, f"*{name}*"))
        await write(client, key_of(name, midnight()), 100)
        await until(lambda: seen.handled == [100])
    await write(client, key_of(name, midnight()), 101)
    await write(client, key_of(name, midnight(1)), 102, at=midnight(1))
    again = consumer_of(source, client, start=NEW)
    async with running(loop(again, seen), stop=again.stop):
        await until(lambda: len(seen.handled) == 3)
    assert seen.numbers == [100, 101, 102]


# Held back from expiry ----------------------------------------------------------------------------------------------


@pytest.mark.steady
async def test_what_is_unhandled_is_held_while_somebody_is_alive(client: redis.asyncio.Redis, name: str) -> None:
    ways = ("fails", "fails beside others", "slow", "slow beside others", "slow batch")
    await side_by_side([(handle_late, client, f"{name}-{n}", way) for n, way in enumerate(ways)])


@pytest.mark.steady
async def test_what_is_held_is_found_given_up_or_let_go_in_time(client: redis.asyncio.Redis, name: str) -> None:
    ends = (find_at_next_start, give_up, give_up_unread, let_go)
    await side_by_side([(end, client, f"{name}-{n}") for n, end in enumerate(ends)])


async def handle_late(client: redis.asyncio.Redis, name: str, way: str) -> None:
    """Handle entries no sooner than their partition would have expired."""
    source = seconds_of(client, name, SHORT)
    began = time.monotonic()

    async def fail(_: Delivery[Fields]) -> None:
        if time.monotonic() < began + 2.5:
            raise Retry

    async def dawdle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "1":
            await pause(2.5)

    async def dawdle_over_all(deliveries: Any) -> None:
        if not seen.handled:
            await pause(2.5)
        seen.handled.extend(int(delivery.value["n"]) for delivery in deliveries)

    seen = Seen(fail if way.startswith("fails") else dawdle)
    recorder = Recorder()
    policy = RetryPolicy(max_deliveries=100, backoff=milliseconds(200))
    consumer = consumer_of(source, client, retry=policy, observer=recorder, count=2)

    async def run() -> None:
        if way == "slow batch":
            await consumer.run_batches(dawdle_over_all)
        else:
            await consumer.run(seen, concurrency=2 if "beside" in way else 1)

    async with running(run, stop=consumer.stop):
        for n in range(1, 6):
            await source.append({"n": n})
        await until(lambda: sorted(seen.handled) == [1, 2, 3, 4, 5])
    assert recorder.of("on_expired_rest") == recorder.of("on_buried") == recorder.of("on_gap") == []
    assert await letters_in(client, name) == []


async def find_at_next_start(client: redis.asyncio.Redis, name: str) -> None:
    """A partition held for longer than its retention is found by the consumer that comes next."""
    source = seconds_of(client, name, SHORT)

    async def fail(_: Delivery[Fields]) -> None:
        raise Retry

    policy = RetryPolicy(max_deliveries=100, backoff=milliseconds(200))
    first = consumer_of(source, client, retry=policy)
    failing = Seen(fail)
    async with running(loop(first, failing), stop=first.stop):
        key = source.key_for((await source.append({"n": 1})).time)
        await pause(2.6)
        assert await client.exists(key)
    recorder, seen = Recorder(), Seen()
    second = consumer_of(source, client, retry=policy, observer=recorder, min_idle_time=timedelta(seconds=0.4))
    async with running(loop(second, seen), stop=second.stop):
        await until(lambda: seen.handled == [1])
    assert recorder.of("on_gap") == []


async def give_up(client: redis.asyncio.Redis, name: str) -> None:
    """What was held for too long is dead-lettered with its fields."""
    source = seconds_of(client, name, SHORT)

    async def fail(_: Delivery[Fields]) -> None:
        raise Retry

    seen, recorder = Seen(fail), Recorder()
    policy = RetryPolicy(max_deliveries=1000, backoff=milliseconds(100))
    consumer = consumer_of(source, client, retry=policy, max_hold=timedelta(seconds=1), observer=recorder)
    async with running(loop(consumer, seen), stop=consumer.stop):
        began = time.time()
        ids = [await source.append({"n": n, "more": "x"}) for n in range(3)]
        await until(lambda: sum(count for _, _, count in recorder.of("on_expired_rest")) == 3)
        assert time.time() - began >= 2
        letters = await letters_in(client, name)
        assert sorted((letter.entry_id, letter.cause.value, letter.pairs) for letter in letters if letter.entry_id) == [
            (entry_id, "expired", (b"n", b"%d" % n, b"more", b"x")) for n, entry_id in enumerate(ids)
        ]
        key = source.key_for(ids[0].time)
        assert recorder.of("on_expired_rest")[0][:2] == (key, GROUP)

        async def gone() -> bool:
            return not await client.exists(key)

        await until(gone)
        # It goes on with what comes.
        await source.append({"n": 100})
        await until(lambda: 100 in seen.numbers)
    assert recorder.of("on_gap") == []


async def give_up_unread(client: redis.asyncio.Redis, name: str) -> None:
    """What was not even handed out by then is dead-lettered as well, and not begun any more."""
    source = seconds_of(client, name, SHORT)
    doors: list[bool] = []

    async def block(_: Delivery[Fields]) -> None:
        await until(lambda: bool(doors))

    seen, recorder = Seen(block), Recorder()
    consumer = consumer_of(source, client, max_hold=timedelta(seconds=1), observer=recorder)
    async with running(loop(consumer, seen, 2), stop=consumer.stop):
        assert await source.append_many({"n": n} for n in range(150)) == 150
        await until(lambda: sum(count for _, _, count in recorder.of("on_expired_rest")) == 150)
        doors.append(True)
        await pause(0.3)
    # What was waiting to be begun is not begun any more.
    assert len(seen.numbers) == 2
    letters = await letters_in(client, name)
    assert sum(count for _, _, count in recorder.of("on_expired_rest")) == len(letters) == 150
    assert [letter.pairs for letter in letters] == [(b"n", b"%d" % n) for n in range(150)]


async def let_go(client: redis.asyncio.Redis, name: str) -> None:
    """A partition that was handled is not held."""
    source = seconds_of(client, name, SHORT)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, observer=recorder)
    async with running(loop(consumer, seen), stop=consumer.stop):
        entry_id = await source.append({"n": 1})
        key = source.key_for(entry_id.time)
        expiry = await client.pexpiretime(key)
        assert expiry == entry_id.ms + 1000
        await until(lambda: seen.handled == [1])
        while await client.exists(key):
            # Held once at most: where the ack of what was handled takes half a second.
            assert await client.pexpiretime(key) <= expiry + 500
            await pause(0.05)
        await pause(0.5)
        await source.append({"n": 2})
        await until(lambda: seen.handled == [1, 2])
    assert recorder.of("on_gap") == recorder.of("on_expired_rest") == recorder.of("on_unavailable") == []


# Lost all the same --------------------------------------------------------------------------------------------------


@pytest.mark.steady
async def test_what_was_lost_while_nobody_was_alive_is_reported_at_the_next_start(
    client: redis.asyncio.Redis, name: str
) -> None:
    ways = (lose_unhandled, lose_unseen, lose_nothing)
    await side_by_side([(way, client, f"{name}-{n}") for n, way in enumerate(ways)])


async def lose_unhandled(client: redis.asyncio.Redis, name: str) -> None:
    """What had entries for the group, and expired then, is reported at the next start."""
    source = seconds_of(client, name, SHORT)

    async def fail(_: Delivery[Fields]) -> None:
        raise Retry

    first = consumer_of(source, client)
    failing = Seen(fail)
    entry_id = await source.append({"n": 1})
    key = source.key_for(entry_id.time)
    async with running(loop(first, failing), stop=first.stop):
        await until(lambda: bool(failing.tries))

        async def noted() -> bool:
            return key.encode() in (await raw(client).hget(f"{{{name}}}:group:{GROUP}", "unhandled") or b"")

        await until(noted)
    while await client.exists(key) or datetime.now(timezone.utc) < entry_id.time + timedelta(seconds=2):
        await pause(0.05)
    recorder, seen = Recorder(), Seen()
    second = consumer_of(source, client, observer=recorder)
    async with running(loop(second, seen), stop=second.stop):
        await until(told(recorder, "on_gap"))
        await source.append({"n": 2})
        await until(lambda: seen.handled == [2])
    gap, *since = recorder.of("on_gap")
    assert all(each.since > gap.since for each in since)
    assert (gap.cause, gap.after.stream, gap.lost, gap.exact) == (GapCause.EXPIRED, key, None, False)
    assert gap.since == entry_id.time.replace(microsecond=0)
    assert gap.until == gap.since + timedelta(seconds=1)
    # Told once.
    again = Recorder()
    third = consumer_of(source, client, observer=again)
    async with running(loop(third, seen), stop=third.stop):
        await source.append({"n": 3})
        await until(lambda: seen.handled == [2, 3])
    assert again.of("on_gap") == []


async def lose_unseen(client: redis.asyncio.Redis, name: str) -> None:
    """Partitions that came and went meanwhile are reported."""
    source = seconds_of(client, name, SHORT)
    seen = Seen()
    first = consumer_of(source, client)
    async with running(loop(first, seen), stop=first.stop):
        await source.append({"n": 1})
        await until(lambda: seen.handled == [1])
    await pause(1)
    lost = await source.append({"n": 2})

    async def gone() -> bool:
        return await partitions_of(client, name) == []

    await until(gone)
    await pause(1)
    await source.append({"n": 3})
    recorder = Recorder()
    second = consumer_of(source, client, observer=recorder)
    async with running(loop(second, seen), stop=second.stop):
        await until(lambda: 3 in seen.handled)
    assert seen.numbers == [1, 3]
    gaps = recorder.of("on_gap")
    assert [gap.cause for gap in gaps] == [GapCause.EXPIRED]
    assert gaps[0].since <= lost.time <= gaps[0].until
    assert (gaps[0].lost, gaps[0].exact) == (None, False)


async def lose_nothing(client: redis.asyncio.Redis, name: str) -> None:
    """Where everything was handled nothing is reported."""
    source = seconds_of(client, name, timedelta(seconds=2))
    seen, recorder = Seen(), Recorder()
    for n in range(3):
        consumer = consumer_of(source, client, observer=recorder)
        async with running(loop(consumer, seen), stop=consumer.stop):
            await source.append({"n": n})
            await until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            if n == 1:
                await pause(2.5)  # it sees its partition go
    assert recorder.of("on_gap") == []


@BOTH
async def test_a_partition_deleted_while_it_is_read_is_told_and_the_others_go_on(
    client: redis.asyncio.Redis, name: str, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit.asyncio.joining, "PROBE_EVERY", 0.5)
    await write_days(client, name, -2, -1)
    old, newer = key_of(name, midnight(-2)), key_of(name, midnight(-1))
    doors: list[bool] = []

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "3":
            await until(lambda: bool(doors))

    seen, recorder = Seen(handle), Recorder()
    consumer = consumer_of(days_of(client, name), client, observer=recorder, count=2)

    async def noted() -> bool:
        return old.encode() in (await raw(client).hget(f"{{{name}}}:group:{GROUP}", "unhandled") or b"")

    async with running(loop(consumer, seen, concurrency), stop=consumer.stop):
        await until(lambda: 3 in seen.numbers)
        await until(noted)
        await client.delete(old)
        doors.append(True)
        await until(settled(client, newer))
        await until(told(recorder, "on_gap"))
        # Made anew, it is consumed from its beginning.
        await write(client, old, 100, 101, at=midnight(-2))
        await write(client, newer, 102)
        await until(lambda: {100, 101, 102} <= set(seen.handled))
    assert set(range(10, 20)) <= set(seen.handled)
    (gap,) = recorder.of("on_gap")
    assert (gap.cause, gap.after.stream) == (GapCause.GONE, old)


async def test_a_partition_deleted_and_made_anew_at_once_is_consumed_anew(
    client: redis.asyncio.Redis, name: str
) -> None:
    source = days_of(client, name)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(source, client, observer=recorder)
    key = key_of(name, midnight())
    async with running(loop(consumer, seen), stop=consumer.stop):
        await write(client, key, 1)
        await until(lambda: seen.handled == [1])
        async with client.pipeline(transaction=True) as pipe:
            queue: Any = pipe
            queue.delete(key)
            queue.xadd(key, {"n": 2})
            await pipe.execute()
        await until(lambda: seen.handled == [1, 2])
        await until(settled(client, key))
    assert recorder.of("on_group_missing") == [(key, GROUP)]
    assert await pending_in(client, key) == []
