"""Fixtures of the synchronous half; hand-written, its twin stands in `asyncio`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from streamkit.testing import Cluster


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as a user would make it."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[redis.RedisCluster]:
    """A client of the cluster, as a user would make it."""
    with redis.RedisCluster.from_url(cluster.url) as nodes:
        yield nodes


@pytest.fixture(params=["server", "cluster"])
def store(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Any]:
    """A client of the server, then one of the cluster: for what is promised of both."""
    if request.param == "server":
        with redis.Redis.from_url(redis_url) as client:
            yield client
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        with redis.RedisCluster.from_url(cluster.url) as nodes:
            yield nodes
