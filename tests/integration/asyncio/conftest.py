"""Fixtures of the asyncio half; hand-written, its twin stands in `_sync`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from streamkit.testing import Cluster


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client as a user would make it."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def nodes(cluster: Cluster) -> AsyncIterator[redis.asyncio.RedisCluster]:
    """A client of the cluster, as a user would make it."""
    async with redis.asyncio.RedisCluster.from_url(cluster.url) as nodes:
        yield nodes


@pytest.fixture(params=["server", "cluster"])
async def store(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Any]:
    """A client of the server, then one of the cluster: for what is promised of both."""
    if request.param == "server":
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            yield client
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        async with redis.asyncio.RedisCluster.from_url(cluster.url) as nodes:
            yield nodes
