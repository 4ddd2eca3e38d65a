"""What a task that is cancelled gives back; a thread can be interrupted amid a reply, which is lost by that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

import streamkit.asyncio.looking
from streamkit.testing import Cluster
from tests.integration.asyncio._groups import Seen, consumer_of, consuming, pending_in
from tests.integration.asyncio._runtime import running, until
from tests.integration.asyncio.test_cluster_waiting import (
    ALL,
    COUNT,
    RELEASED,
    add_at_once,
    all_settled,
    runs,
    shards_of,
    wait_everywhere,
)


@pytest.mark.parametrize("way", ["run", "key"])
async def test_cancelled_while_reads_wait_it_gives_back_what_they_bring(
    cluster: Cluster, word: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit.asyncio.looking, "IN_TURN", 0.3)
    seen, peer = Seen(), Seen()
    nodes: Any = redis.asyncio.RedisCluster.from_url(cluster.url, client_name=word)
    async with nodes as named:
        stream, keys = shards_of(named, word)
        consumer = consumer_of(named, stream, min_idle_time=timedelta(seconds=50))
        async with running(runs(consumer, seen, way)) as run:
            await wait_everywhere(cluster, word)
            async with running(run.interrupt):
                add_at_once(cluster, keys)
        left = [each for key in keys for each in await pending_in(named, key)]
        assert {(holder, deliveries) for _, holder, deliveries in left} <= {(RELEASED, 0)}
        async with consuming(consumer_of(named, stream, "b"), peer):
            await until(lambda: len(peer.handled) + len(seen.handled) == COUNT)
            await all_settled(named, keys)
    assert sorted(seen.tries + peer.tries) == [(n, 1) for n in ALL]
