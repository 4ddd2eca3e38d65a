"""Consumers of a group on a cluster: keys, partitions, and several keys on different nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from streamkit.asyncio import (
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
from tests.integration.asyncio._clusters import keys_apart
from tests.integration.asyncio._groups import (
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
from tests.integration.asyncio._readers import midnight, numbers_in, write
from tests.integration.asyncio._replays import days_of
from tests.integration.asyncio._runtime import running, until
from tests.integration.asyncio.test_cluster_streams import DAYS, partitions
from tests.integration.recording import Recorder

SOURCES = ["key", "partitions", "keys"]


async def source_of(kind: str, cluster: Cluster, nodes: Any, word: str) -> tuple[Any, list[str]]:
    """A source with the numbers from 0 to 7, and its keys."""
    if kind == "key":
        await write(nodes, word, *range(DAYS))
        return word, [word]
    if kind == "partitions":
        stream = await partitions(nodes, word)
        return stream, list(await stream.keys())
    keys = keys_apart(cluster, word)
    for n in range(DAYS):
        await write(nodes, keys[n % len(keys)], n)
    return keys, keys


async def add(source: Any, nodes: Any, *numbers: int) -> None:
    """Write more to a source: to the newest partition, or to its keys in turn."""
    for n in numbers:
        if isinstance(source, PartitionedStream):
            await source.append({"n": n})
        else:
            keys: list[str] = [source] if isinstance(source, str) else source
            await write(nodes, keys[n % len(keys)], n)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("kind", SOURCES)
async def test_a_consumer_handles_a_source(
    cluster: Cluster, nodes: Any, word: str, kind: str, concurrency: int
) -> None:
    source, keys = await source_of(kind, cluster, nodes, word)
    recorder = Recorder()

    async def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{{{delivery.stream}}}:out", delivery.value)
        delivery.execute("HINCRBY", f"{{{delivery.stream}}}:counts", "seen", 1)
        if delivery.value["n"] in {"3", "10"} and delivery.attempt == 1:
            raise Retry("once more")
        if delivery.value["n"] in {"5", "11"}:
            raise Reject("ill")

    seen = Seen(handle)
    consumer = GroupConsumer(nodes, source, GROUP, "a", retry=QUICK, observer=recorder)
    async with running(consumer.run, seen, stop=consumer.stop) as run:
        await until(lambda: len(seen.tries) == DAYS + 1)
        await add(source, nodes, *range(DAYS, 12))
        await until(lambda: len(seen.tries) == 12 + 2 or run.done)
        for key in keys:
            await until(settled(nodes, key))
    assert sorted(seen.numbers) == sorted([*range(12), 3, 10])
    assert sorted(seen.handled) == [n for n in range(12) if n not in {5, 11}]
    passed = [n for key in keys for n in await numbers_in(nodes, f"{{{key}}}:out")]
    assert sorted(passed) == sorted(seen.handled)
    assert sum([int(await nodes.hget(f"{{{key}}}:counts", "seen") or 0) for key in keys]) == 10
    buried = [letter.fields[b"n"] for key in keys for letter in await letters_in(nodes, key)]
    assert sorted(buried) == [b"11", b"5"]
    for event in ("on_unavailable", "on_gap", "on_unread", "on_group_missing", "on_lease_lost"):
        assert recorder.of(event) == []
    assert [each async for each in consumer.pending()] == []
    assert await consumer.lag() == 0
    assert await consumer.leave()


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("kind", SOURCES)
async def test_a_consumer_handles_batches_of_a_source(
    cluster: Cluster, nodes: Any, word: str, kind: str, concurrency: int
) -> None:
    source, keys = await source_of(kind, cluster, nodes, word)
    batches = Batches()
    consumer = GroupConsumer(nodes, source, GROUP, "a", retry=QUICK)

    async def run() -> None:
        await consumer.run_batches(batches, concurrency=concurrency)

    async with running(run, stop=consumer.stop):
        await until(lambda: len(batches.tries) == DAYS)
        await add(source, nodes, *range(DAYS, 12))
        await until(lambda: len(batches.tries) == 12)
        for key in keys:
            await until(settled(nodes, key))
    assert sorted(batches.tries) == [(n, 1) for n in range(12)]


@pytest.mark.parametrize("kind", SOURCES)
async def test_an_own_loop_over_a_source(cluster: Cluster, nodes: Any, word: str, kind: str) -> None:
    source, keys = await source_of(kind, cluster, nodes, word)
    consumer = GroupConsumer(nodes, source, GROUP, "a", retry=QUICK)
    found = list[int]()
    async with consumer:
        while len(found) < DAYS - 1:
            deliveries = await consumer.read(wait=timedelta(seconds=5))
            for delivery in deliveries:
                if delivery.value["n"] == "4" and delivery.attempt == 1:
                    await consumer.nack(delivery)
                elif delivery.value["n"] == "6":
                    await consumer.reject(delivery, "ill")
                else:
                    found.append(int(delivery.value["n"]))
                    delivery.emit(f"{{{delivery.stream}}}:out", delivery.value)
                    await consumer.ack(delivery)
        await add(source, nodes, DAYS)
        assert numbers_of(await consumer.read(wait=timedelta(seconds=5))) == [(DAYS, 1)]
        # Nothing more for a while: every key is looked at.
        assert await consumer.read(wait=timedelta(milliseconds=300)) == []
    assert sorted(found) == [n for n in range(DAYS) if n != 6]
    assert sorted([n for key in keys for n in await numbers_in(nodes, f"{{{key}}}:out")]) == sorted(found)
    assert [letter.reason for key in keys for letter in await letters_in(nodes, key)] == ["ill"]


@pytest.mark.parametrize("kind", SOURCES)
async def test_what_another_left_is_taken_over(cluster: Cluster, nodes: Any, word: str, kind: str) -> None:
    source, keys = await source_of(kind, cluster, nodes, word)
    for key in keys:
        await strand(nodes, key, "dead", 2)
    seen = Seen()
    consumer: GroupConsumer[Fields] = consumer_of(nodes, source, "b")
    held = [entry async for entry in consumer.pending()]
    assert len(held) == sum([len(await pending_in(nodes, key)) for key in keys])
    assert {entry.consumer for entry in held} == {"dead"}
    async with consuming(consumer, seen):
        await until(lambda: sorted(seen.numbers) == list(range(DAYS)))
        for key in keys:
            await until(settled(nodes, key))
    again = [number for number, attempt in seen.tries if attempt == 2]
    assert len(again) == len(held)


async def test_a_consumer_takes_over_and_leaves(cluster: Cluster, nodes: Any, word: str) -> None:
    keys = keys_apart(cluster, word)
    for n, key in enumerate(keys):
        await write(nodes, key, n, n + 10)
        await strand(nodes, key, "old", 2)
    consumer = consumer_of(nodes, keys, "new")
    assert await consumer.lag() == 0
    assert await consumer.take_over("old") == 6
    assert {entry.consumer for entry in [each async for each in consumer.pending()]} == {"new"}
    assert await consumer.leave()
    for key in keys:
        assert await consumers_in(nodes, key) == {"streamkit:released"}
    async with consumer:
        assert sorted(number for number, _ in numbers_of(await consumer.reap(count=10))) == [0, 1, 2, 10, 11, 12]


async def test_two_consumers_share_keys_on_all_nodes(cluster: Cluster, nodes: Any, word: str) -> None:
    keys = keys_apart(cluster, word)
    first, second = Seen(), Seen()
    async with (
        consuming(consumer_of(nodes, keys, "a", count=5), first),
        consuming(consumer_of(nodes, keys, "b", count=5), second),
    ):
        for key in keys:
            await Stream(nodes, key).append_many({"n": n} for n in range(500))
        await until(lambda: len(first.numbers) + len(second.numbers) == 1500)
        for key in keys:
            await until(settled(nodes, key))
    assert sorted(first.numbers + second.numbers) == sorted(3 * list(range(500)))


@pytest.mark.usefixtures("short_waits")
async def test_a_partition_that_begins_on_another_node_is_found(nodes: Any, word: str) -> None:
    stream, seen = days_of(nodes, word), Seen()
    async with consuming(GroupConsumer(nodes, stream, GROUP, "a"), seen):
        for n in range(4):
            await write(nodes, stream.key_for(midnight(n)), n)
            await until(lambda: len(seen.handled) == n + 1)  # noqa: B023 - waited for here
    assert seen.numbers == [0, 1, 2, 3]


# Pills --------------------------------------------------------------------------------------------------------------


async def test_letters_of_a_partition_lie_beside_it(cluster: Cluster, nodes: Any, word: str) -> None:
    stream, recorder = await partitions(nodes, word), Recorder()
    keys = await stream.keys()
    for key in keys:
        await nodes.xadd(key, {"n": b"\xff"})

    async def handle(delivery: Delivery[Fields]) -> None:
        raise ValueError(delivery.value["n"])

    seen = Seen(handle)
    async with consuming(GroupConsumer(nodes, stream, GROUP, "a", retry=QUICK, observer=recorder), seen):
        for key in keys:
            await until(settled(nodes, key))
    assert sorted(seen.numbers) == sorted(3 * list(range(DAYS)))
    assert len(recorder.of("on_buried")) == 2 * DAYS
    for n, key in enumerate(keys):
        undecodable, failed = await letters_in(nodes, key)
        assert (undecodable.cause, undecodable.stream) == (Cause.UNDECODABLE, key)
        assert (failed.cause, failed.attempt, failed.fields) == (Cause.EXHAUSTED, 3, {b"n": b"%d" % n})
        queue = DeadLetterQueue(nodes, f"{{{key}}}:dead-letters")
        assert await queue.count(cause=Cause.UNDECODABLE) == 1
        assert await queue.redrive(cause=Cause.EXHAUSTED) == 1
        assert await queue.discard(cause=Cause.UNDECODABLE) == 1
        assert await queue.length() == 0
        assert (await numbers_in_last(nodes, key)) == n


async def numbers_in_last(nodes: Any, key: str) -> int:
    """The number of the newest entry."""
    ((_, fields),) = await nodes.xrevrange(key, count=1)
    return int(fields[b"n"])


async def test_letters_of_a_tagged_stream_lie_together(nodes: Any, word: str) -> None:
    stream = await partitions(nodes, f"{{{word}}}:temps")

    async def handle(delivery: Delivery[Fields]) -> None:
        raise Reject(delivery.value["n"])

    async with consuming(GroupConsumer(nodes, stream, GROUP, "a"), handle):
        for key in await stream.keys():
            await until(settled(nodes, key))
    queue = DeadLetterQueue(nodes, f"{{{word}}}:temps:dead-letters")
    assert [letter.reason async for letter in queue] == [str(n) for n in range(DAYS)]
    assert await queue.redrive(to=stream, limit=3) == 3
    assert await queue.redrive(to=f"{{{word}}}:elsewhere", limit=2) == 2
    assert await queue.redrive() == 3
    assert await stream.length() == DAYS + 6
    assert await numbers_in(nodes, f"{{{word}}}:elsewhere") == [3, 4]


def handed_out(consumer: GroupConsumer[Fields]) -> Callable[[], Awaitable[bool]]:
    """A condition: nothing is left to be handed out or acked."""

    async def found() -> bool:
        return await consumer.lag() == 0 and [each async for each in consumer.pending()] == []

    return found


@pytest.mark.parametrize("effects", [False, True])
async def test_a_guarded_handler_runs_once(nodes: Any, word: str, effects: bool) -> None:  # noqa: FBT001
    await write(nodes, word, *range(20))
    handled = list[int]()

    @once(nodes, "charge-card")
    async def handle(delivery: Delivery[Fields]) -> None:
        handled.append(int(delivery.value["n"]))
        if effects:
            delivery.emit(f"{{{word}}}:out", delivery.value)

    for group in ("g", "h"):
        consumer = GroupConsumer(nodes, word, group, "a", min_idle_time=LEASE)
        async with consuming(consumer, handle):
            await until(handed_out(consumer))
    assert handled == list(range(20))
    assert await numbers_in(nodes, f"{{{word}}}:out") == (handled if effects else [])
    assert await nodes.exists(f"{{{word}}}:once:charge-card:{(await nodes.xrange(word))[0][0].decode()}")

    async def count(entry: Entry[Fields]) -> None:
        handled.append(int(entry.value["n"]))

    async for entry in Replayer(nodes, word).entries():
        await once(nodes, "charge-card")(count)(entry)
    assert len(handled) == 20
