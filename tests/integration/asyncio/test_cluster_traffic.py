"""What is sent to the nodes of a cluster: one command where there is one on a single server, to the right node."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import CheckpointedReader, GroupConsumer, PartitionedStream, Replayer, Stream
from streamkit.testing import Cluster, Node
from tests.integration.asyncio._clusters import calls_of, keys_apart, since
from tests.integration.asyncio._groups import GROUP, Seen, consuming, settled
from tests.integration.asyncio._readers import collect, midnight, write
from tests.integration.asyncio._replays import numbers_of
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.asyncio._surviving import replicated

ASKED_BEFORE_EVERYTHING = {"cluster|slots", "command", "command|info", "hello", "client|setinfo"}


async def test_an_append_is_one_call(cluster: Cluster, nodes: Any, word: str) -> None:
    for key in keys_apart(cluster, word):
        stream, node = Stream(nodes, key), cluster.master_of(key)
        await stream.append({"n": 0})  # makes the script known there
        before = calls_of(cluster)
        await stream.append({"n": 1})
        found = since(cluster, before)
        replicated = {other: calls for other, calls in found.items() if other in cluster.replicas_of(node)}
        assert {other: calls for other, calls in found.items() if other not in replicated} == {
            node: {"evalsha": 1, "type": 1, "time": 1, "xadd": 1}
        }


async def test_a_chunk_is_one_call(cluster: Cluster, nodes: Any, word: str) -> None:
    stream = Stream(nodes, word)
    await stream.append_many([{"n": 0}])
    before = calls_of(cluster)
    assert await stream.append_many({"n": n} for n in range(100)) == 100
    found = since(cluster, before)
    assert sum(calls["evalsha"] for calls in found.values()) == found[cluster.master_of(word)]["evalsha"] == 1
    assert sum(calls["eval"] + calls["cluster|slots"] for calls in found.values()) == 0


@pytest.mark.steady
@pytest.mark.usefixtures("short_waits")
async def test_a_reader_waits_with_one_command_on_one_node(cluster: Cluster, nodes: Any, word: str) -> None:
    source, state, _ = keys_apart(cluster, word)
    await write(nodes, source, 0)
    reader, numbers = CheckpointedReader(nodes, source, state), list[int]()
    async with running(collect, reader, numbers, stop=reader.stop):
        await until(lambda: numbers == [0])

        async def saved() -> bool:
            return bool(await nodes.hexists(state, "last_message_id"))

        await until(saved)
        await quiet(cluster)
        found, seconds = await waited(cluster, cluster.master_of(state), "hmget")
    here, there = found[cluster.master_of(source)], found[cluster.master_of(state)]
    # A look around a tenth of a second here; the fence and the clock in front of it.
    waits = there["hmget"]
    assert waits <= seconds / 0.1 + 2
    assert abs(here["xread"] - 2 * waits) <= 2
    assert set(here) <= {"xread", "xinfo|stream", "time"}
    assert set(there) <= {"hmget", "time"}
    assert set(found) == {cluster.master_of(source), cluster.master_of(state)}, found


@pytest.mark.steady
@pytest.mark.usefixtures("short_waits")
async def test_a_consumer_waits_with_one_command_on_one_node(cluster: Cluster, nodes: Any, word: str) -> None:
    await write(nodes, word, 0)
    seen = Seen()
    async with consuming(GroupConsumer(nodes, word, GROUP, "a"), seen):
        await until(lambda: seen.handled == [0])
        await until(settled(nodes, word))
        await quiet(cluster)
        found, seconds = await waited(cluster, cluster.master_of(word), "xreadgroup")
    (calls,) = found.values()
    # The read, and the script in front of it, which looks for what was trimmed unread.
    assert calls["xreadgroup"] <= seconds / 0.1 + 2
    assert abs(calls["evalsha"] - calls["xreadgroup"]) <= 1
    assert calls["eval"] == 0


@pytest.mark.steady
@pytest.mark.usefixtures("short_waits")
async def test_a_consumer_of_keys_waits_for_all_of_them_at_once(cluster: Cluster, nodes: Any, word: str) -> None:
    keys, seen = keys_apart(cluster, word), Seen()
    for key in keys:
        await write(nodes, key, 0)
    async with consuming(GroupConsumer(nodes, keys, GROUP, "a"), seen):
        await until(lambda: seen.handled == [0, 0, 0])
        for key in keys:
            await until(settled(nodes, key))
        await quiet(cluster)
        found, seconds = await waited(cluster, cluster.master_of(keys[0]), "xreadgroup", times=12)
    masters = [cluster.master_of(key) for key in keys]
    assert set(found) == set(masters), found
    reads = [found[node]["xreadgroup"] for node in masters]
    # Each time all three are asked, and each waits a twentieth of a second.
    assert max(reads) - min(reads) <= 2
    assert max(reads) <= seconds / 0.05 + 4
    assert all(found[node]["eval"] == 0 for node in masters)


SETTLING = {"eval", "xack", "xgroup|create"}


async def quiet(cluster: Cluster) -> None:
    """Wait until a loop only waits: no node runs a command that changes anything, and replicas have all of it."""
    while True:
        for node in cluster.masters():
            await replicated(node)
        before = calls_of(cluster)
        await pause(0.25)
        if not any(
            calls[name] for calls in since(cluster, before).values() for name in ("xack", "xgroup|create", "eval")
        ):
            return


async def waited(cluster: Cluster, node: Node, command: str, times: int = 4) -> tuple[dict[Node, Counter[str]], float]:
    """What the nodes were sent until this one had a command so often, and in how many seconds."""
    before, began = calls_of(cluster), time.monotonic()
    await until(lambda: since(cluster, before).get(node, Counter())[command] >= times)
    return since(cluster, before), time.monotonic() - began


async def test_the_nodes_are_asked_once_who_serves_what(cluster: Cluster, word: str) -> None:
    before = calls_of(cluster)
    async with redis.asyncio.RedisCluster.from_url(cluster.url) as nodes:
        for n in range(20):
            await Stream(nodes, f"{word}:{n}").append({"n": n})
        stream = PartitionedStream(nodes, word)
        await stream.append({"n": 1}, at=midnight(-1))
        await stream.append({"n": 2})
        assert await numbers_of(Replayer(nodes, stream).entries()) == [1, 2]
        async with CheckpointedReader(nodes, stream, f"{word}:state", follow=False) as reader:
            assert [entry.value["n"] async for entry in reader] == ["1", "2"]
        async with GroupConsumer(nodes, [f"{word}:{n}" for n in range(20)], GROUP) as consumer:
            assert len(await consumer.read(count=100)) > 0
    found = since(cluster, before)
    asked = sum(calls["cluster|slots"] for calls in found.values())
    # Once by redis-py, when the client is made or first used, and once by us.
    assert asked == 2
    assert sum(calls["command|getkeys"] + calls["cluster|shards"] for calls in found.values()) == 0


async def test_connections_are_the_clients_own_and_given_back(cluster: Cluster, nodes: Any, word: str) -> None:
    keys = keys_apart(cluster, word)
    for key in keys:
        await Stream(nodes, key).append({"n": 1})
    before = made(cluster)
    for _ in range(5):
        for key in keys:
            await Stream(nodes, key).append({"n": 1})
            assert await Stream(nodes, key).length() > 1
        await PartitionedStream(nodes, word).length()
    assert made(cluster) == before


def made(cluster: Cluster) -> list[int]:
    """How many connections each node was asked for."""
    found = list[int]()
    for node in cluster.masters():
        stats: Any = node.call("INFO", "stats")
        found.append(stats["total_connections_received"])
    return found
