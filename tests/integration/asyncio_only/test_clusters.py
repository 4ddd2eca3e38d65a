"""Clients of a cluster that are made before they look for the nodes, which those of the synchronous half are not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import CheckpointedReader, ServerUnavailable, Stream
from streamkit.testing import Cluster, Node, redis_server
from tests.integration.asyncio._clusters import keys_apart
from tests.integration.asyncio._readers import numbers_in
from tests.integration.asyncio._runtime import until


async def test_no_node_at_all_is_an_error_of_ours(word: str) -> None:
    away = redis.asyncio.RedisCluster(host="127.0.0.1", port=1)
    with pytest.raises(ServerUnavailable, match="could not be reached while connecting"):
        async with CheckpointedReader(away, word, f"{word}:state"):
            pass
    await away.aclose()


async def test_a_cluster_that_is_not_formed_yet_is_named_as_such(word: str) -> None:
    with redis_server(settings={"cluster-enabled": "yes"}) as url:
        client = redis.asyncio.RedisCluster.from_url(url)
        with pytest.raises(ServerUnavailable, match="no node of the cluster says which slots it serves; wait for it"):
            async with CheckpointedReader(client, word, f"{word}:state"):
                pass
        await client.aclose()


async def test_a_client_that_looks_for_its_nodes_anew_amid_an_append_neither_loses_nor_doubles(
    cluster: Cluster, word: str
) -> None:
    async with redis.asyncio.RedisCluster.from_url(cluster.url, client_name=word) as client:

        async def values() -> AsyncIterator[dict[str, int]]:
            for n in range(3000):
                if n == 1500:
                    # As redis-py does by itself when a command of another task fails.
                    await client.aclose()
                    assert await client.initialize() is client
                yield {"n": n}

        assert await Stream(client, word).append_many(values()) == 3000
        plain: Any = client
        assert await numbers_in(plain, word) == [*range(3000)]
    # Nor is a connection left that nobody closes.
    await until(lambda: not any(named(node, word) for node in cluster.masters()))


def named(node: Node, name: str) -> bool:
    """Whether a client of this name is connected."""
    clients: Any = node.call("CLIENT", "LIST")
    return f" name={name} ".encode() in clients


@pytest.mark.steady
async def test_a_new_client_needs_no_node_but_that_of_the_key(cluster: Cluster, word: str) -> None:
    keys = keys_apart(cluster, word)
    lost = cluster.master_of(keys[0])
    cluster.kill(lost)
    try:
        began = time.monotonic()
        for key in keys[1:]:
            client = redis.asyncio.RedisCluster.from_url(cluster.url)
            await Stream(client, key).append({"n": 1})
            assert await Stream(client, key).length() == 1
            await client.aclose()
        assert time.monotonic() - began < 5
    finally:
        cluster.restart()
