"""Clients of a cluster that are made before they look for the nodes, which those of the synchronous half are not."""

from __future__ import annotations

import time

import pytest
import redis.asyncio

from streamkit.asyncio import CheckpointedReader, ServerUnavailable, Stream
from streamkit.testing import Cluster
from tests.integration.asyncio._clusters import keys_apart


async def test_no_node_at_all_is_an_error_of_ours(word: str) -> None:
    away = redis.asyncio.RedisCluster(host="127.0.0.1", port=1)
    with pytest.raises(ServerUnavailable, match="could not be reached while connecting"):
        async with CheckpointedReader(away, word, f"{word}:state"):
            pass
    await away.aclose()


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
