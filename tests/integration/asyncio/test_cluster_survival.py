"""Failovers, crashes and moving slots under way: nothing is lost or doubled, and every loop goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import RedisCluster

from streamkit.asyncio import CheckpointedReader, Delivery, GroupConsumer, Replayer, Stream
from streamkit.testing import Cluster
from tests.integration.asyncio._clusters import keys_apart
from tests.integration.asyncio._groups import GROUP, Fields, Seen, consuming, settled
from tests.integration.asyncio._readers import collect, numbers_in, write
from tests.integration.asyncio._replays import follow
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.asyncio._surviving import LONG, PATIENT, Work, at_work, other_master, replicated, rest
from tests.integration.recording import Recorder
from tests.integration.suspended import suspended


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, and whole again after the test."""
    yield cluster
    cluster.restart()


CONCURRENCY = pytest.mark.parametrize("concurrency", [1, 4])


# Failovers ----------------------------------------------------------------------------------------------------------


@CONCURRENCY
async def test_a_failover_while_everything_is_at_work(
    cluster: Cluster, nodes: Any, word: str, concurrency: int
) -> None:
    work = Work(nodes, word, f"{{{word}}}:state", concurrency)
    async with at_work(work):
        replica = cluster.fail_over(cluster.master_of(word))
        await pause(0.1)
        before = work.written
        await until(lambda: work.written > before + 50)
    assert cluster.master_of(word) is replica


async def test_a_failover_while_everything_waits(cluster: Cluster, nodes: Any, word: str) -> None:
    work = Work(nodes, word, f"{{{word}}}:state")
    async with at_work(work):
        await rest(work)
        cluster.fail_over(cluster.master_of(word))
        await pause(0.2)


async def test_a_failover_of_the_checkpoints_node(cluster: Cluster, nodes: Any, word: str) -> None:
    source, state, _ = keys_apart(cluster, word)
    async with at_work(Work(nodes, source, state)):
        cluster.fail_over(cluster.master_of(state))
        await pause(0.2)


# Crashes ------------------------------------------------------------------------------------------------------------


async def test_a_crash_while_everything_waits(whole: Cluster, nodes: Any, word: str) -> None:
    work = Work(nodes, word, f"{{{word}}}:state")
    async with at_work(work):
        await rest(work)
        master = whole.master_of(word)
        await replicated(master)
        whole.kill(master)


@CONCURRENCY
async def test_a_crash_while_everything_is_at_work(whole: Cluster, nodes: Any, word: str, concurrency: int) -> None:
    """What is written lies on another node, or was replicated: what a crash loses of it is Redis's own affair."""
    source, state, _ = keys_apart(whole, word)
    old = Work(nodes, f"{{{state}}}:old", f"{{{state}}}:old-state", concurrency)
    assert await Stream(nodes, old.source).append_many({"n": n} for n in range(1000)) == 1000
    await nodes.xgroup_create(old.source, GROUP, "0")
    old.written, master = 1000, whole.master_of(state)
    await replicated(master)
    async with (
        at_work(Work(nodes, source, state)),
        running(old.read_on, stop=old.reader.stop),
        running(old.consume, stop=old.consumer.stop),
    ):

        async def amid() -> bool:
            return min(await old.counts()) > 100

        await until(amid)
        whole.kill(master)
        await old.check()


async def test_an_append_waits_for_the_replica(whole: Cluster, nodes: Any, word: str) -> None:
    stream, master = Stream(nodes, word), whole.master_of(word)
    await stream.append({"n": 0})
    await replicated(master)
    whole.kill(master)
    began = time.monotonic()
    assert await stream.append_many({"n": n} for n in range(1, 10)) == 9
    assert await stream.append({"n": 10}, idempotency_key="k") == await stream.append({"n": 10}, idempotency_key="k")
    assert await numbers_in(nodes, word) == list(range(11))
    assert time.monotonic() - began < 10


@pytest.mark.steady
async def test_other_nodes_are_used_while_one_is_down(whole: Cluster, nodes: Any, word: str) -> None:
    whole.restart()  # what another try left down
    keys = keys_apart(whole, word)
    for key in keys:
        await Stream(nodes, key).append({"n": 1})
    # The one that commands without a key go to, such as TIME.
    lost = whole.master_of(0)
    served = [key for key in keys if whole.master_of(key) is not lost]
    whole.kill(lost)
    for key in served:
        began = time.monotonic()
        await Stream(nodes, key).append({"n": 2})
        assert [entry.value["n"] async for entry in Replayer(nodes, key).entries(limit=1)] == ["1"]
        async with CheckpointedReader(nodes, key, f"{{{key}}}:state", follow=False) as reader:
            assert [entry.value["n"] async for entry in reader] == ["1", "2"]
        assert time.monotonic() - began < 1


@pytest.mark.steady
@CONCURRENCY
async def test_a_consumer_goes_on_with_other_nodes_while_one_is_down(
    whole: Cluster, nodes: Any, word: str, concurrency: int
) -> None:
    whole.restart()  # what another try left down
    keys, seen = keys_apart(whole, word), Seen()
    consumer = GroupConsumer(nodes, keys, GROUP, retry=PATIENT, min_idle_time=LONG, observer=Recorder())

    async def consume() -> None:
        await consumer.run(seen, concurrency=concurrency)

    async with running(consume, stop=consumer.stop):
        for n, key in enumerate(keys):
            await write(nodes, key, n)
        await until(lambda: sorted(seen.handled) == [0, 1, 2])
        lost = whole.master_of(keys[0])
        await replicated(lost)
        whole.kill(lost)
        began = time.monotonic()
        for n in range(3, 13):
            await Stream(nodes, keys[1 + n % 2]).append({"n": n})
            await until(lambda: n in seen.handled)  # noqa: B023 - waited for here
        assert time.monotonic() - began < 1.5
        await Stream(nodes, keys[0]).append({"n": 13}, idempotency_key="13")
        await until(lambda: 13 in seen.handled)
        for key in keys:
            await until(settled(nodes, key))
    assert set(seen.handled) == set(range(14))


async def test_a_node_that_is_frozen_is_tried_seldom(cluster: Cluster, nodes: Any, word: str) -> None:
    """Each try stands still for most of a second: the others have four times that in between."""
    keys, seen, recorder = keys_apart(cluster, word), Seen(), Recorder()
    for key in keys:
        await write(nodes, key, 0)
    async with RedisCluster.from_url(cluster.url, socket_timeout=2) as hasty:
        consumer = GroupConsumer(hasty, keys, GROUP, observer=recorder)
        async with consuming(consumer, seen):
            await until(lambda: len(seen.handled) == 3)
            with unwatched(cluster), suspended(cluster.master_of(keys[0]).pid):
                await until(lambda: len(recorder.of("on_unavailable")) == 2)
                for key in keys[1:]:
                    await write(nodes, key, 1)
                await until(lambda: len(seen.handled) == 5)
            await write(nodes, keys[0], 1)
            await until(lambda: len(seen.handled) == 6)
    (_, tries, delay) = recorder.of("on_unavailable")[1]
    assert tries == 2
    assert delay > 3


@CONCURRENCY
async def test_what_was_fetched_from_a_frozen_node_keeps_nobody_waiting(
    cluster: Cluster, nodes: Any, word: str, concurrency: int
) -> None:
    """Its leases cannot be confirmed any more, so that nothing of it may begin: others may."""
    keys, handled = keys_apart(cluster, word), list[int]()

    async def slowly(delivery: Delivery[Fields]) -> None:
        await pause(0.02)
        handled.append(int(delivery.value["n"]))

    assert await Stream(nodes, keys[0]).append_many({"n": n} for n in range(300)) == 300
    async with RedisCluster.from_url(cluster.url, socket_timeout=2) as hasty:
        lease = timedelta(seconds=1)
        consumer = GroupConsumer(hasty, keys, GROUP, retry=PATIENT, min_idle_time=lease, observer=Recorder())

        async def consume() -> None:
            await consumer.run(slowly, concurrency=concurrency)

        async with running(consume, stop=consumer.stop):
            await until(lambda: len(handled) > 60)
            with unwatched(cluster), suspended(cluster.master_of(keys[0]).pid):
                await pause(lease.total_seconds())
                for n, key in enumerate(keys[1:], 1000):
                    await write(nodes, key, n)
                await until(lambda: {1000, 1001} <= set(handled))
                assert len(set(handled)) < 302
            await until(lambda: len(set(handled)) == 302)
            for key in keys:
                await until(settled(nodes, key))


@contextmanager
def unwatched(cluster: Cluster) -> Iterator[None]:
    """No replica takes over meanwhile."""
    try:
        _watch(cluster, 60_000)
        yield
    finally:
        _watch(cluster, 1_000)


def _watch(cluster: Cluster, milliseconds: int) -> None:
    for node in cluster.nodes:
        node.call("CONFIG", "SET", "cluster-node-timeout", milliseconds)


# Moving slots -------------------------------------------------------------------------------------------------------


@CONCURRENCY
@pytest.mark.parametrize("first", ["source", "rest"])
async def test_a_slot_moves_while_everything_is_at_work(
    cluster: Cluster, nodes: Any, word: str, concurrency: int, first: str
) -> None:
    work = Work(nodes, word, f"{{{word}}}:state", concurrency)
    async with at_work(work):
        slot, master = cluster.slot_of(word), cluster.master_of(word)
        target = other_master(cluster, master)
        cluster.begin_migration(slot, target)
        await pause(0.2)
        keys = [word, work.read] if first == "source" else [work.state, work.handled, f"{{{word}}}:appends"]
        assert len(cluster.move_keys(slot, keys=keys)) == len(keys)
        await pause(0.5)
        cluster.end_migration(slot)
    assert cluster.master_of(word) is target


async def test_a_slot_moves_while_everything_waits(cluster: Cluster, nodes: Any, word: str) -> None:
    work = Work(nodes, word, f"{{{word}}}:state")
    async with at_work(work):
        await rest(work)
        slot = cluster.slot_of(word)
        cluster.begin_migration(slot, other_master(cluster, cluster.master_of(word)))
        await pause(0.2)
        cluster.move_keys(slot, keys=[word])
        await pause(0.7)
        cluster.move_keys(slot)
        await pause(0.2)
        cluster.end_migration(slot)


async def test_single_keys_are_followed_in_the_middle_of_a_move(cluster: Cluster, nodes: Any, word: str) -> None:
    stream, slot = Stream(nodes, word), cluster.slot_of(word)
    await stream.append_many({"n": n} for n in range(3))
    cluster.begin_migration(slot, other_master(cluster, cluster.master_of(word)))
    cluster.move_keys(slot)
    assert await stream.length() == 3
    await stream.append({"n": 3})
    assert (await stream.info()).length == 4
    assert [int(entry.value["n"]) async for entry in Replayer(nodes, word).entries()] == [0, 1, 2, 3]
    cluster.end_migration(slot)
    assert await numbers_in(nodes, word) == [0, 1, 2, 3]


# Stopping -----------------------------------------------------------------------------------------------------------


# A node that is frozen takes connections, and is waited for a little.
@pytest.mark.steady
@pytest.mark.parametrize(("down", "limit"), [("killed", 1.0), ("frozen", 1.5)])
async def test_stop_is_heeded_while_a_node_is_down(
    whole: Cluster, nodes: Any, word: str, down: str, limit: float
) -> None:
    whole.restart()  # what another try left down
    keys, recorder = keys_apart(whole, word), Recorder()
    for key in keys:
        await write(nodes, key, 0)
    seen, read, followed = Seen(), list[int](), list[int]()
    consumer = GroupConsumer(nodes, keys, GROUP, observer=recorder, min_idle_time=timedelta(seconds=60))
    reader = CheckpointedReader(nodes, keys[0], f"{{{keys[0]}}}:state", observer=recorder)
    replayer = Replayer(nodes, keys[0])
    async with (
        consuming(consumer, seen) as consuming_on,
        running(collect, reader, read, stop=reader.stop) as reading,
        running(follow, replayer, followed, stop=replayer.stop) as following,
    ):
        await until(lambda: len(seen.handled) == 3 and read == [0])
        master = whole.master_of(keys[0])
        with ExitStack() as stack:
            if down == "killed":
                whole.kill(master)
            else:
                stack.enter_context(suspended(master.pid))
            await pause(0.4)
            began = time.monotonic()
            for loop in (consumer, reader, replayer):
                loop.stop()
            await until(lambda: consuming_on.done and reading.done and following.done)
            assert time.monotonic() - began < limit
    whole.wait()
