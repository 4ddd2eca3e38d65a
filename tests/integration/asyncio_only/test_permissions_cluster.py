"""A cluster client that connects with its first use, as it does in asyncio, and may not do all that takes."""

from __future__ import annotations

import pytest
import redis.asyncio

from streamkit.asyncio import PermissionDenied, Stream
from streamkit.testing import Cluster
from tests.integration.permissions import ClusterUsers, additions, rules


@pytest.mark.parametrize("part", ["+cluster|slots", "+command"])
async def test_what_is_missing_for_connecting_is_named(cluster: Cluster, word: str, part: str) -> None:
    users, (common, *_) = ClusterUsers(cluster), additions().values()
    with users.user(rules()["shop"].joined(common).without(part), word) as url:
        nodes = redis.asyncio.RedisCluster.from_url(url)
        with pytest.raises(PermissionDenied, match=f"(?i){part[1:].partition('|')[0]}"):
            await Stream(nodes, f"{word}orders").append({"n": 1})
        await nodes.aclose()
    users.close()
