# Generated from tests/integration/asyncio/test_group_steps.py by tools/generate_sync.py: do not edit.
"""An own loop: read, ack, nack, reject, reap one step at a time; what is held is kept fresh, and nothing gets lost."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import redis

from streamkit import (
    Cause,
    Delivery,
    GroupConsumer,
    LeaseLost,
    PartitionedStream,
    Reject,
    Retry,
    RetryPolicy,
    ServerUnavailable,
)
from tests.integration._sync._groups import (
    GROUP,
    LEASE,
    Seen,
    consumer_of,
    consumers_in,
    consuming,
    letters_in,
    milliseconds,
    numbers_of,
    pending_in,
)
from tests.integration._sync._readers import numbers_in, told, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LONG = timedelta(seconds=10)
RELEASED = "streamkit:released"


# Reading and settling -----------------------------------------------------------------------------------------------


def test_what_is_read_is_pending_until_it_is_acked(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(10))
    with consumer_of(client, name) as consumer:
        first = consumer.read(count=3)
        assert numbers_of(first) == [(0, 1), (1, 1), (2, 1)]
        rest = consumer.read()
        assert numbers_of(rest) == [(n, 1) for n in range(3, 10)]
        assert consumer.read() == []
        assert pending_in(client, name) == [(entry_id, "a", 1) for entry_id in ids]
        consumer.ack(*rest, first[1])
        assert [entry_id for entry_id, _, _ in pending_in(client, name)] == [ids[0], ids[2]]
        consumer.ack()
        consumer.ack(first[1])  # once more does no harm
        consumer.ack(first[0], first[2])
        assert pending_in(client, name) == []
        assert consumers_in(client, name) == {"a"}
    assert consumers_in(client, name) == set()


def test_a_read_that_does_not_wait_sees_what_came_since_the_last(client: redis.Redis, name: str) -> None:
    with consumer_of(client, name) as consumer:
        for number in range(3):
            assert consumer.read() == []
            write(client, name, number)
            assert numbers_of(consumer.read()) == [(number, 1)]


def test_a_read_waits_for_the_first_entry_as_long_as_it_is_told(client: redis.Redis, name: str) -> None:
    with consumer_of(client, name) as consumer:
        began = time.monotonic()
        assert consumer.read(wait=timedelta(milliseconds=250)) == []
        assert 0.2 <= time.monotonic() - began < 5
        found = list[Any]()

        def read() -> None:
            found.extend(consumer.read(wait=LONG))

        with running(read) as run:
            pause(0.2)
            assert not run.done
            write(client, name, 1)
            run.result()
        assert numbers_of(found) == [(1, 1)]


@pytest.mark.steady
def test_stop_ends_a_read_that_waits(client: redis.Redis, name: str) -> None:
    with consumer_of(client, name) as consumer:

        def read() -> list[Any]:
            return list(consumer.read(wait=LONG))

        with running(read) as run:
            pause(0.15)
            asked = time.monotonic()
            thread = threading.Thread(target=consumer.stop)
            thread.start()
            thread.join()
            assert run.result() == []
            assert time.monotonic() - asked < 1
    write(client, name, 1)
    with consumer:  # what was stopped may be entered again
        assert numbers_of(consumer.read(wait=LONG)) == [(1, 1)]


@pytest.mark.steady
def test_what_is_nacked_comes_again_in_its_time_before_anything_new(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    recorder = Recorder()
    with consumer_of(client, name, observer=recorder) as consumer:
        one, two, three = consumer.read()
        began = time.monotonic()
        consumer.nack(one, three, delay=timedelta(milliseconds=300))
        consumer.nack(two)
        write(client, name, 4)
        pause(0.03)
        assert numbers_of(consumer.read()) == [(2, 2), (4, 1)]
        assert time.monotonic() - began >= 0.02
        found = list[Any]()
        while len(found) < 2:
            found += consumer.read(wait=LONG)
        assert sorted(numbers_of(found)) == [(1, 2), (3, 2)]
        assert time.monotonic() - began >= 0.3
        assert [(event[1], event[2]) for event in recorder.of("on_retry")] == [(1, 0.3), (1, 0.3), (1, 0.02)]


def test_after_max_deliveries_a_nack_dead_letters(client: redis.Redis, name: str) -> None:
    (entry_id,) = write(client, name, 1)
    with consumer_of(client, name) as consumer:
        for attempt in (1, 2, 3):
            (delivery,) = consumer.read(wait=LONG)
            assert delivery.attempt == attempt
            consumer.nack(delivery, delay=timedelta(0))
        assert consumer.read() == []
    (letter,) = letters_in(client, name)
    assert (letter.entry_id, letter.cause, letter.attempt) == (entry_id, Cause.EXHAUSTED, 3)
    assert pending_in(client, name) == []


def test_what_is_rejected_or_failed_goes_where_its_error_says(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3, 4)
    with consumer_of(client, name) as consumer:
        one, two, three, four = consumer.read()
        consumer.reject(one, "no such card")
        two.fail(Reject("two"))
        three.fail(Retry(delay=timedelta(0)))
        four.emit(f"{name}:out", four.value)
        three.emit(f"{name}:out", three.value)
        consumer.ack(two, three, four)
        assert numbers_of(consumer.read(wait=LONG)) == [(3, 2)]
        assert numbers_in(client, f"{name}:out") == [4]
    letters = letters_in(client, name)
    assert [(letter.fields[b"n"], letter.cause, letter.reason) for letter in letters] == [
        (b"1", Cause.REJECTED, "no such card"),
        (b"2", Cause.REJECTED, "two"),
    ]


def test_what_is_left_unsettled_is_left_to_age_and_retries_are_given_back(client: redis.Redis, name: str) -> None:
    held, failed = write(client, name, 1, 2)
    with consumer_of(client, name) as consumer:
        _, second = consumer.read()
        consumer.nack(second)
    assert pending_in(client, name) == [(held, "a", 1), (failed, RELEASED, 1)]
    seen = Seen()
    with consuming(consumer_of(client, name, "b"), seen):
        until(lambda: len(seen.handled) == 2)
    assert sorted(seen.tries) == [(1, 2), (2, 2)]


# Leases -------------------------------------------------------------------------------------------------------------


@pytest.mark.steady
def test_what_is_held_is_kept_fresh_and_no_peer_takes_it(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    recorder, seen = Recorder(), Seen()
    with consumer_of(client, name) as consumer:
        held = consumer.read()
        with consuming(consumer_of(client, name, "b", observer=recorder), seen):
            pause(2.5 * LEASE.total_seconds())
            assert [entry.idle < LEASE for entry in consumer.pending()] == [True, True]
        consumer.ack(*held)
    assert seen.tries == []
    assert recorder.of("on_claimed") == []
    assert pending_in(client, name) == []


def test_extend_tells_who_has_lost_an_entry(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    with consumer_of(client, name, min_idle_time=timedelta(minutes=1)) as consumer:
        one, two, three = consumer.read()
        pause(0.05)
        one.extend()
        idle = [entry.idle for entry in consumer.pending()]
        # Younger than the others by what passed before, however long it took to look.
        assert idle[0] + timedelta(milliseconds=49) <= min(idle[1:])
        client.xclaim(name, GROUP, "thief", 0, [str(two.id)])
        client.xack(name, GROUP, str(three.id))
        with pytest.raises(LeaseLost, match=f"entry {two.id} of '{name}' is lost to this consumer of group 'g'"):
            two.extend()
        with pytest.raises(LeaseLost, match="it is not pending any more"):
            three.extend()


def test_an_ack_of_what_was_lost_is_told_where_effects_hang_on_it(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    recorder = Recorder()
    with consumer_of(client, name, min_idle_time=timedelta(minutes=1), observer=recorder) as consumer:
        one, two = consumer.read()
        client.xclaim(name, GROUP, "thief", 0, [str(one.id)])
        for delivery in (one, two):
            delivery.emit(f"{name}:out", delivery.value)
        consumer.ack(one, two)
    assert [error.entry_id for error in recorder.of("on_lease_lost")] == [str(one.id)]
    assert numbers_in(client, f"{name}:out") == [2]
    assert pending_in(client, name) == [(one.id, "thief", 2)]


# Failures -----------------------------------------------------------------------------------------------------------


def test_what_a_lost_reply_brought_comes_with_a_later_read(redis_url: str, client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(6))
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as shaky, consumer_of(shaky, name) as consumer:
            first, _ = consumer.read(count=2)
            proxy.cut_after_request(matching=b"XREADGROUP")
            with pytest.raises(ServerUnavailable):
                consumer.read(count=2)
            found = [*consumer.read(), *consumer.read()]
            assert sorted(numbers_of(found)) == [(n, 1) for n in range(2, 6)]
            proxy.cut_after_request(matching=b"XACK")
            with pytest.raises(ServerUnavailable):
                consumer.ack(first)
            proxy.cut_before_request(matching=b"XACK")
            with pytest.raises(ServerUnavailable):
                consumer.ack(*found[:2])
            assert consumer.reap() == []
            consumer.ack(*found[2:])
    assert pending_in(client, name) == [(ids[1], "a", 1)]


def test_stepping_through_partitions(client: redis.Redis, name: str) -> None:
    days = PartitionedStream(client, name, retention=timedelta(days=3))
    days.append({"n": 1})
    with GroupConsumer(client, days, GROUP, "a", min_idle_time=LEASE) as consumer:
        (delivery,) = consumer.read(wait=LONG)
        assert isinstance(delivery, Delivery)
        assert [delivery.stream] == days.keys()
        consumer.ack(delivery)
        assert consumer.read() == []


def test_before_any_partition_exists_a_read_waits_too(client: redis.Redis, name: str) -> None:
    days = PartitionedStream(client, name, retention=timedelta(days=3))
    with GroupConsumer(client, days, GROUP, "a") as consumer:
        assert consumer.read(wait=timedelta(milliseconds=50)) == []
        days.append({"n": 1})
        assert numbers_of(consumer.read(wait=LONG)) == [(1, 1)]


def test_a_group_that_is_gone_is_made_anew(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    recorder = Recorder()
    with consumer_of(client, name, observer=recorder) as consumer:
        (delivery,) = consumer.read()
        client.delete(name)
        consumer.nack(delivery)
        write(client, name, 2)
        found = list[Any]()

        def read() -> bool:
            found.extend(consumer.read())
            return bool(found)

        until(read)
        assert numbers_of(found) == [(2, 1)]
        consumer.ack(*found)
    assert told(recorder, "on_group_missing")()
    assert pending_in(client, name) == []


def test_effects_of_a_policy_that_never_waits(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    with consumer_of(client, name, retry=RetryPolicy(max_deliveries=2, backoff=milliseconds(0))) as consumer:
        (delivery,) = consumer.read()
        consumer.nack(delivery)
        (delivery,) = consumer.read()
        assert delivery.attempt == 2
        consumer.nack(delivery)
        assert consumer.read() == []
    assert [letter.attempt for letter in letters_in(client, name)] == [2]
