# Generated from tests/integration/asyncio/test_cluster_waiting.py by tools/generate_sync.py: do not edit.
"""A consumer of many slots waits for all of them at once: nothing is late, lost or handed out twice by that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis

import streamkit._sync.looking
from streamkit import Delivery, GroupConsumer
from streamkit.testing import Cluster, Node
from tests.integration._sync._groups import (
    GROUP,
    Fields,
    Seen,
    consumer_of,
    consumers_in,
    consuming,
    includes,
    numbers_of,
    of_size,
    pending_in,
    settled,
)
from tests.integration._sync._readers import told, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration._sync._shards import sharded
from tests.integration._sync._surviving import replicated
from tests.integration.recording import Recorder

COUNT = 12
"""Shards: by their names, 0 to 11, some lie on each of three masters."""
RELEASED = "streamkit:released"
LIMIT = 1.0
LEASE = timedelta(seconds=1)
"""A min_idle_time for tests in which what is not kept fresh is taken over."""
SOON = timedelta(seconds=5)
ALL, SOME = list(range(COUNT)), [0, 3, 5, 7, 10]
ADD = """#!lua flags=allow-cross-slot-keys
for i = 1, #ARGV, 2 do
  redis.call('XADD', ARGV[i], '*', 'n', ARGV[i + 1])
end"""


def shards_of(nodes: Any, word: str) -> tuple[Any, list[str]]:
    """A stream of many shards, and their keys."""
    stream = sharded(nodes, word, shards=COUNT)
    return stream, [shard.name for shard in stream.shards]


def add_at_once(cluster: Cluster, keys: list[str], *, first: int = 0) -> None:
    """Append an entry to each key, with numbers from the first on.

    Those of a node in one step: none of them is read before all are there.
    """
    on = dict[Node, list[str]]()
    for n, key in enumerate(keys, first):
        on.setdefault(cluster.master_of(key), []).extend((key, str(n)))
    for node, words in on.items():
        node.call("EVAL", ADD, 0, *words)


def runs(consumer: GroupConsumer[Fields], handler: Any, way: str) -> Any:
    """A way to run it, with a handler of single entries."""

    def each_of(deliveries: Any) -> None:
        for delivery in deliveries:
            handler(delivery)

    if way == "run_batches":
        return partial(consumer.run_batches, each_of)
    if way == "key":
        return partial(consumer.run, handler, concurrency=4, key=lambda delivery: delivery.stream)
    return partial(consumer.run, handler, concurrency=4 if way == "concurrency" else 1)


def waiting_on(node: Node, name: str) -> int:
    """How many clients of this name wait there."""
    reply: Any = node.call("CLIENT", "LIST")
    clients = [dict(each.split("=", 1) for each in line.split() if "=" in each) for line in reply.decode().splitlines()]
    return sum(each["name"] == name and "b" in each["flags"] for each in clients)


def wait_everywhere(cluster: Cluster, name: str) -> None:
    """Wait until clients of this name wait on every master at the same moment."""
    masters = cluster.masters()
    until(lambda: all(waiting_on(node, name) == 1 for node in masters))


def all_settled(nodes: Any, keys: list[str]) -> None:
    """Wait until every key is read to its end, and nothing is pending."""
    for key in keys:
        until(settled(nodes, key))


@pytest.fixture
def named(cluster: Cluster, word: str) -> Any:
    """A client whose connections bear the name of the test."""
    return redis.RedisCluster.from_url(cluster.url, client_name=word)


# Waiting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "key"])
def test_every_node_is_waited_for_at_once(cluster: Cluster, named: Any, word: str, way: str) -> None:
    stream, keys = shards_of(named, word)
    assert {cluster.master_of(key) for key in keys} == set(cluster.masters())
    seen, consumer = Seen(), consumer_of(named, stream)
    with named, running(runs(consumer, seen, way), stop=consumer.stop):
        wait_everywhere(cluster, word)
        for n in SOME:
            write(named, keys[n], n)
            until(includes(seen.handled, n))
        wait_everywhere(cluster, word)
        add_at_once(cluster, keys, first=COUNT)
        until(of_size(seen.handled, len(SOME) + COUNT))
        all_settled(named, keys)
    assert seen.tries[: len(SOME)] == [(n, 1) for n in SOME]
    assert sorted(seen.tries[len(SOME) :]) == [(n + COUNT, 1) for n in ALL]


def test_every_node_is_waited_for_by_an_own_loop(cluster: Cluster, named: Any, word: str) -> None:
    stream, keys = shards_of(named, word)
    consumer, found = consumer_of(named, stream), list[Any]()

    def read() -> None:
        found.extend(consumer.read(wait=10 * SOON))

    with named, consumer:
        for n in SOME:
            with running(read) as run:
                wait_everywhere(cluster, word)
                write(named, keys[n], n)
                run.result()
            consumer.ack(found[-1])
        all_settled(named, keys)
    assert numbers_of(found) == [(n, 1) for n in SOME]


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, and whole again after the test."""
    yield cluster
    cluster.restart()


def test_a_node_that_is_down_is_not_waited_for(whole: Cluster, nodes: Any, word: str) -> None:
    seen, recorder = {"run": Seen(), "concurrency": Seen()}, Recorder()
    sources = {way: shards_of(nodes, f"{word}:{way}") for way in seen}
    one = sources["run"][1]  # all of them have their shards in the same slots
    gone = whole.master_of(one[0])
    there = [n for n in ALL if whole.master_of(one[n]) is not gone]
    with ExitStack() as stack:
        for way, (stream, keys) in sources.items():
            consumer = consumer_of(nodes, stream, observer=recorder, min_idle_time=10 * SOON)
            stack.enter_context(running(runs(consumer, seen[way], way), stop=consumer.stop))
            add_at_once(whole, keys)
            until(of_size(seen[way].handled, COUNT))
            all_settled(nodes, keys)
        replicated(gone)
        whole.kill(gone)
        until(told(recorder, "on_unavailable", 2))
        for n in there:
            node = whole.master_of(one[n])
            for way, (_, keys) in sources.items():
                node.call("XADD", keys[n], "*", "n", str(n + COUNT))
                until(includes(seen[way].handled, n + COUNT))
        whole.restart()
        for way, (_, keys) in sources.items():
            add_at_once(whole, keys, first=2 * COUNT)
            until(of_size(seen[way].handled, 2 * COUNT + len(there)))
            all_settled(nodes, keys)
    expected = ALL + [n + COUNT for n in there] + [n + 2 * COUNT for n in ALL]
    for each in seen.values():
        assert sorted(each.tries) == [(n, 1) for n in expected]


@pytest.mark.parametrize("way", ["run_batches", "concurrency"])
def test_a_group_that_is_deleted_while_it_is_waited_for(cluster: Cluster, named: Any, word: str, way: str) -> None:
    stream, keys = shards_of(named, word)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(named, stream, observer=recorder)
    with named, running(runs(consumer, seen, way), stop=consumer.stop):
        for turn in range(3):
            wait_everywhere(cluster, word)
            cluster.master_of(keys[turn]).call("XGROUP", "DESTROY", keys[turn], GROUP)
            # It is made anew at the beginning: nothing was in that key before.
            add_at_once(cluster, [keys[turn], *keys[3:]], first=turn * COUNT)
            until(of_size(seen.handled, (turn + 1) * (COUNT - 2)))
        all_settled(named, keys)
    assert sorted(seen.tries) == [(turn * COUNT + n, 1) for turn in range(3) for n in range(COUNT - 2)]
    assert recorder.of("on_group_missing") == [(key, GROUP) for key in keys[:3]]
    assert recorder.of("on_lease_lost") == []


# Slow handlers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "key"])
def test_what_slow_handlers_keep_from_being_collected_is_kept_fresh(
    cluster: Cluster, named: Any, word: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.looking, "IN_TURN", 0.5)
    stream, keys = shards_of(named, word)
    over, peer, recorder = list[bool](), Seen(), Recorder()

    def dawdle(_: Delivery[Fields]) -> None:
        until(lambda: bool(over))

    seen = Seen(dawdle)
    a = consumer_of(named, stream, "a", observer=recorder, min_idle_time=LEASE)
    b = consumer_of(named, stream, "b", observer=recorder, min_idle_time=LEASE)
    with named, running(runs(a, seen, way), stop=a.stop):
        wait_everywhere(cluster, word)
        add_at_once(cluster, keys)  # each of the reads that wait gets one
        until(lambda: bool(seen.tries))
        with consuming(b, peer):
            pause(1.8 * LEASE.total_seconds())
            over.append(True)
            all_settled(named, keys)
    assert sorted(seen.tries + peer.tries) == [(n, 1) for n in ALL]
    assert recorder.of("on_lease_lost") == recorder.of("on_claimed") == []


def test_what_an_own_loop_has_not_collected_is_kept_fresh(
    cluster: Cluster, named: Any, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.looking, "IN_TURN", 0.5)
    stream, keys = shards_of(named, word)
    seen, recorder = Seen(), Recorder()
    consumer = consumer_of(named, stream, "a", min_idle_time=LEASE)
    peer = consumer_of(named, stream, "b", observer=recorder, min_idle_time=LEASE)
    with named, consumer:
        with running(partial(consumer.read, count=1, wait=SOON)) as run:
            wait_everywhere(cluster, word)
            add_at_once(cluster, keys)  # each of the reads that wait gets one
            found = list(run.result())
        with consuming(peer, seen):
            pause(1.8 * LEASE.total_seconds())
        while deliveries := consumer.read(count=5):
            assert len(deliveries) <= 5
            found += deliveries
        consumer.ack(*found)
        all_settled(named, keys)
    assert sorted(numbers_of(found) + seen.tries) == [(n, 1) for n in ALL]
    assert recorder.of("on_claimed") == []


# An own loop --------------------------------------------------------------------------------------------------------


def test_an_own_loop_is_given_no_more_than_it_asks_for(cluster: Cluster, nodes: Any, word: str) -> None:
    stream, keys = shards_of(nodes, word)
    found = list[tuple[int, int]]()
    consumer = consumer_of(nodes, stream, min_idle_time=10 * SOON)
    with consumer:
        for first in (0, COUNT, 2 * COUNT):
            with running(partial(consumer.read, count=5, wait=SOON)) as run:
                pause(0.06)
                add_at_once(cluster, keys, first=first)
                deliveries = run.result()
            while deliveries:
                assert len(deliveries) <= 5
                found += numbers_of(deliveries)
                consumer.ack(*deliveries)
                deliveries = consumer.read(count=5)
            assert len(found) == first + COUNT
        all_settled(nodes, keys)
    assert sorted(found) == [(n, 1) for n in range(3 * COUNT)]


def test_an_own_loop_that_does_not_wait_is_given_what_is_there(
    cluster: Cluster, named: Any, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.looking, "IN_TURN", 0.2)
    stream, keys = shards_of(named, word)
    masters = {key: cluster.master_of(key) for key in keys}
    with named, consumer_of(named, stream, min_idle_time=10 * SOON) as consumer:
        for node in cluster.masters():
            with running(partial(consumer.read, count=1, wait=SOON)) as run:
                wait_everywhere(cluster, word)
                add_at_once(cluster, [key for key in keys if masters[key] is node])
                assert len(run.result()) == 1
            # What reads of other nodes say is that there was nothing then.
            pause(0.25)
            add_at_once(cluster, [key for key in keys if masters[key] is not node])
            assert len(consumer.read(count=2 * COUNT)) == COUNT - 1


# Ending -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "concurrency"])
def test_stopped_while_it_waits_it_ends_within_a_second(cluster: Cluster, named: Any, word: str, way: str) -> None:
    stream, keys = shards_of(named, word)
    consumer = consumer_of(named, stream)
    with named, running(runs(consumer, Seen(), way), stop=consumer.stop) as run:
        wait_everywhere(cluster, word)
        asked = time.monotonic()
        consumer.stop()
        run.result()
        assert time.monotonic() - asked < LIMIT
        assert [consumers_in(named, key) for key in keys] == COUNT * [set()]


@pytest.mark.parametrize(
    ("end", "way"),
    # Threads cannot be interrupted: the handlers of several at once would go on.
    [("stopped", "run"), ("stopped", "concurrency"), ("interrupted", "run"), ("interrupted", "run_batches")],
)
def test_what_was_fetched_and_not_begun_is_given_back(
    cluster: Cluster, named: Any, word: str, end: str, way: str
) -> None:
    stream, keys = shards_of(named, word)
    ended, peer, recorder = list[bool](), Seen(), Recorder()

    def hold(_: Delivery[Fields]) -> None:
        until(lambda: bool(ended))

    seen, consumer = Seen(hold), consumer_of(named, stream, observer=recorder, min_idle_time=10 * SOON)
    with named:
        with running(runs(consumer, seen, way), stop=consumer.stop) as run:
            wait_everywhere(cluster, word)
            add_at_once(cluster, keys)
            until(lambda: bool(seen.tries))
            if end == "interrupted":
                run.interrupt()
            else:
                consumer.stop()
                ended.append(True)
                run.result()
        left = [each for key in keys for each in pending_in(named, key)]
        begun = [] if end == "stopped" else [n for n, _ in seen.tries]
        assert {holder for _, holder, _ in left} <= {RELEASED}
        assert sum(deliveries for _, _, deliveries in left) == len(begun)
        with consuming(consumer_of(named, stream, "b"), peer):
            until(lambda: len(peer.handled) + len(seen.handled) == COUNT)
            all_settled(named, keys)
    assert sorted(peer.tries) == sorted((n, 2 if n in begun else 1) for n in ALL if n not in seen.handled)
    assert recorder.of("on_unsettled") == []
