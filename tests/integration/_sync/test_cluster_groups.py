# Generated from tests/integration/asyncio/test_cluster_groups.py by tools/generate_sync.py: do not edit.
"""Consumers of a group on a cluster: keys, partitions, and several keys on different nodes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from streamkit import (
    Cause,
    DeadLetterQueue,
    Delivery,
    Entry,
    GroupConsumer,
    PartitionedStream,
    Reject,
    Replayer,
    Retry,
    Stream,
    once,
)
from streamkit.testing import Cluster
from tests.integration._sync._clusters import keys_apart
from tests.integration._sync._groups import (
    GROUP,
    LEASE,
    QUICK,
    Batches,
    Fields,
    Seen,
    consumer_of,
    consumers_in,
    consuming,
    letters_in,
    numbers_of,
    pending_in,
    settled,
    strand,
)
from tests.integration._sync._readers import midnight, numbers_in, write
from tests.integration._sync._replays import days_of
from tests.integration._sync._runtime import running, until
from tests.integration._sync.test_cluster_streams import DAYS, partitions
from tests.integration.recording import Recorder

SOURCES = ["key", "partitions", "keys"]


def source_of(kind: str, cluster: Cluster, nodes: Any, word: str) -> tuple[Any, list[str]]:
    """A source with the numbers from 0 to 7, and its keys."""
    if kind == "key":
        write(nodes, word, *range(DAYS))
        return word, [word]
    if kind == "partitions":
        stream = partitions(nodes, word)
        return stream, list(stream.keys())
    keys = keys_apart(cluster, word)
    for n in range(DAYS):
        write(nodes, keys[n % len(keys)], n)
    return keys, keys


def add(source: Any, nodes: Any, *numbers: int) -> None:
    """Write more to a source: to the newest partition, or to its keys in turn."""
    for n in numbers:
        if isinstance(source, PartitionedStream):
            source.append({"n": n})
        else:
            keys: list[str] = [source] if isinstance(source, str) else source
            write(nodes, keys[n % len(keys)], n)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("kind", SOURCES)
def test_a_consumer_handles_a_source(cluster: Cluster, nodes: Any, word: str, kind: str, concurrency: int) -> None:
    source, keys = source_of(kind, cluster, nodes, word)
    recorder = Recorder()

    def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{{{delivery.stream}}}:out", delivery.value)
        delivery.execute("HINCRBY", f"{{{delivery.stream}}}:counts", "seen", 1)
        if delivery.value["n"] in {"3", "10"} and delivery.attempt == 1:
            raise Retry("once more")
        if delivery.value["n"] in {"5", "11"}:
            raise Reject("ill")

    seen = Seen(handle)
    consumer = GroupConsumer(nodes, source, GROUP, "a", retry=QUICK, observer=recorder)
    with running(consumer.run, seen, stop=consumer.stop) as run:
        until(lambda: len(seen.tries) == DAYS + 1)
        add(source, nodes, *range(DAYS, 12))
        until(lambda: len(seen.tries) == 12 + 2 or run.done)
        for key in keys:
            until(settled(nodes, key))
    assert sorted(seen.numbers) == sorted([*range(12), 3, 10])
    assert sorted(seen.handled) == [n for n in range(12) if n not in {5, 11}]
    passed = [n for key in keys for n in numbers_in(nodes, f"{{{key}}}:out")]
    assert sorted(passed) == sorted(seen.handled)
    assert sum([int(nodes.hget(f"{{{key}}}:counts", "seen") or 0) for key in keys]) == 10
    buried = [letter.fields[b"n"] for key in keys for letter in letters_in(nodes, key)]
    assert sorted(buried) == [b"11", b"5"]
    for event in ("on_unavailable", "on_gap", "on_unread", "on_group_missing", "on_lease_lost"):
        assert recorder.of(event) == []
    assert [each for each in consumer.pending()] == []
    assert consumer.lag() == 0
    assert consumer.leave()


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("kind", SOURCES)
def test_a_consumer_handles_batches_of_a_source(
    cluster: Cluster, nodes: Any, word: str, kind: str, concurrency: int
) -> None:
    source, keys = source_of(kind, cluster, nodes, word)
    batches = Batches()
    consumer = GroupConsumer(nodes, source, GROUP, "a", retry=QUICK)

    def run() -> None:
        consumer.run_batches(batches, concurrency=concurrency)

    with running(run, stop=consumer.stop):
        until(lambda: len(batches.tries) == DAYS)
        add(source, nodes, *range(DAYS, 12))
        until(lambda: len(batches.tries) == 12)
        for key in keys:
            until(settled(nodes, key))
    assert sorted(batches.tries) == [(n, 1) for n in range(12)]


@pytest.mark.parametrize("kind", SOURCES)
def test_an_own_loop_over_a_source(cluster: Cluster, nodes: Any, word: str, kind: str) -> None:
    source, keys = source_of(kind, cluster, nodes, word)
    consumer = GroupConsumer(nodes, source, GROUP, "a", retry=QUICK)
    found = list[int]()
    with consumer:
        while len(found) < DAYS - 1:
            deliveries = consumer.read(wait=timedelta(seconds=5))
            for delivery in deliveries:
                if delivery.value["n"] == "4" and delivery.attempt == 1:
                    consumer.nack(delivery)
                elif delivery.value["n"] == "6":
                    consumer.reject(delivery, "ill")
                else:
                    found.append(int(delivery.value["n"]))
                    delivery.emit(f"{{{delivery.stream}}}:out", delivery.value)
                    consumer.ack(delivery)
        add(source, nodes, DAYS)
        assert numbers_of(consumer.read(wait=timedelta(seconds=5))) == [(DAYS, 1)]
        # Nothing more for a while: every key is looked at.
        assert consumer.read(wait=timedelta(milliseconds=300)) == []
    assert sorted(found) == [n for n in range(DAYS) if n != 6]
    assert sorted([n for key in keys for n in numbers_in(nodes, f"{{{key}}}:out")]) == sorted(found)
    assert [letter.reason for key in keys for letter in letters_in(nodes, key)] == ["ill"]


@pytest.mark.parametrize("kind", SOURCES)
def test_what_another_left_is_taken_over(cluster: Cluster, nodes: Any, word: str, kind: str) -> None:
    source, keys = source_of(kind, cluster, nodes, word)
    for key in keys:
        strand(nodes, key, "dead", 2)
    seen = Seen()
    consumer: GroupConsumer[Fields] = consumer_of(nodes, source, "b")
    held = [entry for entry in consumer.pending()]
    assert len(held) == sum([len(pending_in(nodes, key)) for key in keys])
    assert {entry.consumer for entry in held} == {"dead"}
    with consuming(consumer, seen):
        until(lambda: sorted(seen.numbers) == list(range(DAYS)))
        for key in keys:
            until(settled(nodes, key))
    again = [number for number, attempt in seen.tries if attempt == 2]
    assert len(again) == len(held)


def test_a_consumer_takes_over_and_leaves(cluster: Cluster, nodes: Any, word: str) -> None:
    keys = keys_apart(cluster, word)
    for n, key in enumerate(keys):
        write(nodes, key, n, n + 10)
        strand(nodes, key, "old", 2)
    consumer = consumer_of(nodes, keys, "new")
    assert consumer.lag() == 0
    assert consumer.take_over("old") == 6
    assert {entry.consumer for entry in [each for each in consumer.pending()]} == {"new"}
    assert consumer.leave()
    for key in keys:
        assert consumers_in(nodes, key) == {"streamkit:released"}
    with consumer:
        assert sorted(number for number, _ in numbers_of(consumer.reap(count=10))) == [0, 1, 2, 10, 11, 12]


def test_two_consumers_share_keys_on_all_nodes(cluster: Cluster, nodes: Any, word: str) -> None:
    keys = keys_apart(cluster, word)
    first, second = Seen(), Seen()
    with (
        consuming(consumer_of(nodes, keys, "a", count=5), first),
        consuming(consumer_of(nodes, keys, "b", count=5), second),
    ):
        for key in keys:
            Stream(nodes, key).append_many({"n": n} for n in range(500))
        until(lambda: len(first.numbers) + len(second.numbers) == 1500)
        for key in keys:
            until(settled(nodes, key))
    assert sorted(first.numbers + second.numbers) == sorted(3 * list(range(500)))


@pytest.mark.usefixtures("short_waits")
def test_a_partition_that_begins_on_another_node_is_found(nodes: Any, word: str) -> None:
    stream, seen = days_of(nodes, word), Seen()
    with consuming(GroupConsumer(nodes, stream, GROUP, "a"), seen):
        for n in range(4):
            write(nodes, stream.key_for(midnight(n)), n)
            until(lambda: len(seen.handled) == n + 1)  # noqa: B023 - waited for here
    assert seen.numbers == [0, 1, 2, 3]


# Pills --------------------------------------------------------------------------------------------------------------


def test_letters_of_a_partition_lie_beside_it(cluster: Cluster, nodes: Any, word: str) -> None:
    stream, recorder = partitions(nodes, word), Recorder()
    keys = stream.keys()
    for key in keys:
        nodes.xadd(key, {"n": b"\xff"})

    def handle(delivery: Delivery[Fields]) -> None:
        raise ValueError(delivery.value["n"])

    seen = Seen(handle)
    with consuming(GroupConsumer(nodes, stream, GROUP, "a", retry=QUICK, observer=recorder), seen):
        for key in keys:
            until(settled(nodes, key))
    assert sorted(seen.numbers) == sorted(3 * list(range(DAYS)))
    assert len(recorder.of("on_buried")) == 2 * DAYS
    for n, key in enumerate(keys):
        undecodable, failed = letters_in(nodes, key)
        assert (undecodable.cause, undecodable.stream) == (Cause.UNDECODABLE, key)
        assert (failed.cause, failed.attempt, failed.fields) == (Cause.EXHAUSTED, 3, {b"n": b"%d" % n})
        queue = DeadLetterQueue(nodes, f"{{{key}}}:dead-letters")
        assert queue.count(cause=Cause.UNDECODABLE) == 1
        assert queue.redrive(cause=Cause.EXHAUSTED) == 1
        assert queue.discard(cause=Cause.UNDECODABLE) == 1
        assert queue.length() == 0
        assert (numbers_in_last(nodes, key)) == n


def numbers_in_last(nodes: Any, key: str) -> int:
    """The number of the newest entry."""
    ((_, fields),) = nodes.xrevrange(key, count=1)
    return int(fields[b"n"])


def test_letters_of_a_tagged_stream_lie_together(nodes: Any, word: str) -> None:
    stream = partitions(nodes, f"{{{word}}}:temps")

    def handle(delivery: Delivery[Fields]) -> None:
        raise Reject(delivery.value["n"])

    with consuming(GroupConsumer(nodes, stream, GROUP, "a"), handle):
        for key in stream.keys():
            until(settled(nodes, key))
    queue = DeadLetterQueue(nodes, f"{{{word}}}:temps:dead-letters")
    assert [letter.reason for letter in queue] == [str(n) for n in range(DAYS)]
    assert queue.redrive(to=stream, limit=3) == 3
    assert queue.redrive(to=f"{{{word}}}:elsewhere", limit=2) == 2
    assert queue.redrive() == 3
    assert stream.length() == DAYS + 6
    assert numbers_in(nodes, f"{{{word}}}:elsewhere") == [3, 4]


def handed_out(consumer: GroupConsumer[Fields]) -> Callable[[], bool]:
    """A condition: nothing is left to be handed out or acked."""

    def found() -> bool:
        return consumer.lag() == 0 and [each for each in consumer.pending()] == []

    return found


@pytest.mark.parametrize("effects", [False, True])
def test_a_guarded_handler_runs_once(nodes: Any, word: str, effects: bool) -> None:  # noqa: FBT001
    write(nodes, word, *range(20))
    handled = list[int]()

    @once(nodes, "charge-card")
    def handle(delivery: Delivery[Fields]) -> None:
        handled.append(int(delivery.value["n"]))
        if effects:
            delivery.emit(f"{{{word}}}:out", delivery.value)

    for group in ("g", "h"):
        consumer = GroupConsumer(nodes, word, group, "a", min_idle_time=LEASE)
        with consuming(consumer, handle):
            until(handed_out(consumer))
    assert handled == list(range(20))
    assert numbers_in(nodes, f"{{{word}}}:out") == (handled if effects else [])
    assert nodes.exists(f"{{{word}}}:once:charge-card:{(nodes.xrange(word))[0][0].decode()}")

    def count(entry: Entry[Fields]) -> None:
        handled.append(int(entry.value["n"]))

    for entry in Replayer(nodes, word).entries():
        once(nodes, "charge-card")(count)(entry)
    assert len(handled) == 20
