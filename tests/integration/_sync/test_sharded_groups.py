# Generated from tests/integration/asyncio/test_sharded_groups.py by tools/generate_sync.py: do not edit.
"""A group over a sharded stream: all shards as one, what belongs to a shard beside it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from streamkit import (
    Cause,
    DeadLetterQueue,
    Delivery,
    GroupConsumer,
    InvalidArgument,
    Reject,
    Retry,
    ShardedStream,
    Stream,
)
from tests.integration._sync._groups import GROUP, LEASE, QUICK, Fields, Seen, consuming, letters_in, settled, strand
from tests.integration._sync._readers import midnight, numbers_in
from tests.integration._sync._runtime import running, until
from tests.integration._sync._shards import (
    KINDS,
    SHARDS,
    customer_of,
    daily,
    fill,
    in_order,
    keys_of,
    sharded,
    value_of,
)

pytestmark = pytest.mark.usefixtures("short_waits")


def consumer_of(client: Any, stream: ShardedStream[Fields], name: str = "a", **options: Any) -> GroupConsumer[Fields]:
    """A consumer that is quick to retry and to take over."""
    return GroupConsumer(client, stream, GROUP, name, retry=QUICK, min_idle_time=LEASE, **options)


def all_settled(client: Any, stream: ShardedStream[Fields]) -> None:
    """Wait until every key is read to its end, and nothing is pending."""
    for key in keys_of(stream):
        until(settled(client, key))


@pytest.mark.parametrize("kind", KINDS)
def test_all_shards_are_consumed_as_one(store: Any, name: str, kind: str) -> None:
    stream, seen = sharded(store, name, kind), Seen()
    fill(stream, range(200))
    consumer = consumer_of(store, stream)
    assert consumer.lag() == 200
    with consuming(consumer, seen):
        until(lambda: len(seen.handled) == 200)
        fill(stream, range(200, 300))
        until(lambda: len(seen.handled) == 300)
        all_settled(store, stream)
    assert sorted(seen.handled) == list(range(300))
    assert in_order(seen.handled)
    assert consumer.lag() == 0
    assert [each for each in consumer.pending()] == []
    assert consumer.leave()


def test_the_lag_is_that_of_all_shards(store: Any, name: str) -> None:
    stream = sharded(store, name)
    fill(stream, range(50))
    consumer = consumer_of(store, stream)
    with consumer:
        taken = consumer.read(count=20, wait=timedelta(seconds=5))
        consumer.ack(*taken)
    assert consumer.lag() == 50 - len(taken)
    assert len(taken) > 0


def test_two_consumers_share_the_shards(store: Any, name: str) -> None:
    stream, first, second = sharded(store, name), Seen(), Seen()
    with (
        consuming(consumer_of(store, stream, "a", count=5), first),
        consuming(consumer_of(store, stream, "b", count=5), second),
    ):
        fill(stream, range(1000))
        until(lambda: len(first.numbers) + len(second.numbers) >= 1000)
        all_settled(store, stream)
    assert sorted(first.numbers + second.numbers) == list(range(1000))
    assert first.numbers
    assert second.numbers


def test_what_another_left_is_taken_over_in_every_shard(store: Any, name: str) -> None:
    stream, seen = sharded(store, name), Seen()
    fill(stream, range(80))
    for key in keys_of(stream):
        strand(store, key, "dead", 2)
    with consuming(consumer_of(store, stream, "b"), seen):
        until(lambda: len(seen.handled) == 80)
        all_settled(store, stream)
    assert sorted(seen.numbers) == list(range(80))
    assert len([number for number, attempt in seen.tries if attempt == 2]) == 2 * SHARDS


@pytest.mark.parametrize("concurrency", [1, 4])
def test_letters_lie_beside_their_shard(store: Any, name: str, concurrency: int) -> None:
    stream = sharded(store, name)
    fill(stream, range(40))

    def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number % 4 == 1:
            raise Reject("ill")
        if number % 4 == 2 and delivery.attempt == 1:
            raise Retry("once more")
        if number % 4 == 3:
            raise ValueError("always")

    seen = Seen(handle)
    consumer = consumer_of(store, stream)
    with running(partial(consumer.run, seen, concurrency=concurrency), stop=consumer.stop):
        until(lambda: len(seen.tries) == 10 + 10 + 20 + 30)
        all_settled(store, stream)
    assert sorted(seen.handled) == [n for n in range(40) if n % 4 in {0, 2}]
    for shard in stream.shards:
        key = f"{shard.name}:dead-letters"
        letters = letters_in(store, key)
        mine = [n for n in range(40) if stream.shard_of({"customer": f"c{n % 10}"}) is shard]
        assert sorted(int(letter.fields[b"n"]) for letter in letters) == [n for n in mine if n % 4 in {1, 3}]
        assert {letter.stream for letter in letters} <= {shard.name}
        queue = DeadLetterQueue(store, key)
        rejected = queue.count(cause=Cause.REJECTED)
        assert queue.redrive(cause=Cause.REJECTED) == rejected
        assert shard.length() == len(mine) + rejected


def test_effects_go_to_the_shard_of_the_same_name(store: Any, name: str) -> None:
    stream, out = sharded(store, name), sharded(store, f"{name}:out")
    fill(stream, range(100))

    def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(out.shard_of(delivery.value), delivery.value)
        delivery.execute("HINCRBY", delivery.stream.replace(name, f"{name}:counts"), "seen", 1)

    with consuming(consumer_of(store, stream), handle):
        all_settled(store, stream)
    for shard, target in zip(stream.shards, out.shards, strict=True):
        assert numbers_in(store, target.name) == numbers_in(store, shard.name)
        counts = shard.name.replace(name, f"{name}:counts")
        assert int(store.hget(counts, "seen")) == shard.length()


def test_effects_in_another_slot_are_refused_on_a_cluster(nodes: Any, name: str) -> None:
    stream, errors = sharded(nodes, name), list[Exception]()
    fill(stream, range(1))

    def handle(delivery: Delivery[Fields]) -> None:
        for shard in stream.shards:
            try:
                delivery.emit(shard, delivery.value)
            except InvalidArgument as error:
                errors.append(error)

    with consuming(consumer_of(nodes, stream), handle):
        until(lambda: len(errors) >= SHARDS - 1)
    assert all("one atomic step touches keys of one slot" in str(error) for error in errors)


def test_partitions_of_all_shards_are_consumed(store: Any, name: str) -> None:
    stream, seen = ShardedStream(store, name, shards=["a", "b"], key=customer_of, of=daily), Seen()
    values: list[Any] = [{"n": n, "customer": "ab"[n % 2]} for n in range(8)]
    stream.append_many(values, times=[midnight(-3 + n // 2) for n in range(8)])
    with consuming(consumer_of(store, stream), seen):
        until(lambda: len(seen.handled) == 8)
        stream.append({"n": 8, "customer": "a"}, at=midnight(1))
        until(lambda: len(seen.handled) == 9)
        all_settled(store, stream)
    assert sorted(seen.handled) == list(range(9))


def test_a_sharded_stream_is_one_source_of_several(store: Any, name: str) -> None:
    stream, other, seen = sharded(store, name), Stream(store, f"{name}:other"), Seen()
    fill(stream, range(20))
    other.append(value_of(20))
    with consuming(GroupConsumer(store, [stream, other], GROUP, "a"), seen):
        until(lambda: len(seen.handled) == 21)
    assert sorted(seen.handled) == list(range(21))
    with pytest.raises(InvalidArgument, match="must not name the same stream twice"):
        GroupConsumer(store, [stream, stream.shards[1]], GROUP)
