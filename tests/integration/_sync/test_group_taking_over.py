# Generated from tests/integration/asyncio/test_group_taking_over.py by tools/generate_sync.py: do not edit.
"""Taking over and leaving, by hand: reap, take_over, leave, and what they count."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis

from streamkit import Cause, Stream
from tests.integration._sync._groups import (
    LEASE,
    Seen,
    consumer_of,
    consumers_in,
    consuming,
    letters_in,
    numbers_of,
    pending_in,
    strand,
)
from tests.integration._sync._readers import write
from tests.integration._sync._runtime import pause, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

RELEASED = "streamkit:released"


@pytest.mark.steady
def test_reap_takes_what_nobody_is_handling_and_counts_it(client: redis.Redis, name: str) -> None:
    write(client, name, *range(6))
    strand(client, name, "a", 2)  # this consumer's own, from before
    strand(client, name, "dead", 2)
    recorder = Recorder()
    with consumer_of(client, name, observer=recorder) as consumer:
        assert numbers_of(consumer.read()) == [(4, 1), (5, 1)]
        assert sorted(numbers_of(consumer.reap())) == [(0, 2), (1, 2)]
        assert consumer.reap() == []  # the others' are not idle for long enough
        pause(LEASE.total_seconds())
        assert numbers_of(consumer.reap(count=1)) == [(2, 2)]
        assert numbers_of(consumer.reap()) == [(3, 2)]
        assert consumer.reap() == []
    assert recorder.of("on_claimed") == [(name, 2), (name, 2)] or recorder.of("on_claimed") == [
        (name, 2),
        (name, 1),
        (name, 1),
    ]


def test_reap_dead_letters_what_was_handed_out_too_often(client: redis.Redis, name: str) -> None:
    (entry_id,) = write(client, name, 1)
    for attempt in (1, 2, 3):
        with consumer_of(client, name) as consumer:
            read = consumer.reap if attempt > 1 else consumer.read
            assert numbers_of(read()) == [(1, attempt)]
    recorder = Recorder()
    with consumer_of(client, name, observer=recorder) as consumer:
        assert consumer.reap() == []
    ((entry, cause, _, _),) = recorder.of("on_buried")
    assert (entry.id, cause) == (str(entry_id), Cause.ABANDONED)
    (letter,) = letters_in(client, name)
    assert (letter.cause, letter.consumer, letter.attempt, letter.pairs) == (Cause.ABANDONED, "a", 3, (b"n", b"1"))
    assert pending_in(client, name) == []


def test_take_over_moves_everything_and_counts_nothing(client: redis.Redis, name: str) -> None:
    Stream(client, name).append_many({"n": n} for n in range(250))
    ids = strand(client, name, "old", 250)
    consumer = consumer_of(client, name, "new")
    assert consumer.take_over("old") == 250
    assert consumer.take_over("old") == 0
    assert consumers_in(client, name) == {"new"}
    assert [(str(each), holder, count) for each, holder, count in pending_in(client, name)] == [
        (entry_id, "new", 1) for entry_id in ids
    ]
    seen = Seen()
    with consuming(consumer, seen):
        until(lambda: len(seen.handled) == 250)
    assert sorted(seen.tries) == [(n, 2) for n in range(250)]
    assert pending_in(client, name) == []


def test_a_loop_handles_next_what_it_takes_over(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    strand(client, name, "old", 2)
    seen, consumer = Seen(), consumer_of(client, name, min_idle_time=timedelta(minutes=1))
    with consuming(consumer, seen):
        until(lambda: seen.handled == [3])
        assert consumer.take_over("old") == 2
        until(lambda: len(seen.handled) == 3)
    assert seen.tries == [(3, 1), (1, 2), (2, 2)]
    assert pending_in(client, name) == []


def test_leave_gives_back_what_is_not_in_hand(client: redis.Redis, name: str) -> None:
    Stream(client, name).append_many({"n": n} for n in range(250))
    strand(client, name, "a", 240)
    with consumer_of(client, name) as consumer:
        held = consumer.read(count=5)
        assert consumer.leave() is False
        pending = pending_in(client, name)
        assert [holder for _, holder, _ in pending] == [RELEASED] * 240 + ["a"] * 5
        assert {count for _, _, count in pending} == {1}
        consumer.ack(*held)
        assert consumer.leave() is True
        assert consumers_in(client, name) == {RELEASED}
    assert consumer_of(client, name, "nobody").leave() is True
    assert consumer_of(client, f"{name}:none").leave() is True
    assert consumer_of(client, f"{name}:none").take_over("nobody") == 0
