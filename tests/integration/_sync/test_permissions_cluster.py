# Generated from tests/integration/asyncio/test_permissions_cluster.py by tools/generate_sync.py: do not edit.
"""On a cluster each block works under its rule with what the docs add, and says so when a part of that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, RedisClusterException

from streamkit import PermissionDenied
from streamkit.testing import Cluster
from tests.integration._sync import _permitted
from tests.integration._sync._permitted import Scene
from tests.integration._sync._permitted_shards import SHARDED
from tests.integration._sync._permitted_spread import SPREAD
from tests.integration._sync._surviving import other_master
from tests.integration._sync.test_permissions import names
from tests.integration.permissions import ClusterUsers, Rule, additions, rules

pytestmark = pytest.mark.usefixtures("short_waits")

ADDED = additions()
EVERYBODY = next(iter(ADDED))
RULES = {user: rule.joined(ADDED[EVERYBODY]) for user, rule in rules().items()}
TAGGED = {user: block for user, block in _permitted.BLOCKS.items() if user != "cashier"}


@pytest.fixture
def users(cluster: Cluster) -> Iterator[ClusterUsers]:
    """Users with the rights that a test gives them."""
    users = ClusterUsers(cluster)
    yield users
    users.close()


@contextmanager
def permitted(users: ClusterUsers, rule: Rule, scene: Scene) -> Iterator[Any]:
    """A client of a user with this rule; it asks the servers what they know, since redis-py needs that right."""
    newer = users.newer(rule, "newer")
    with users.user(rule, scene.prefix, *newer) as url:
        with redis.RedisCluster.from_url(url) as nodes:
            yield nodes


def test_every_addition_is_tried_and_explained() -> None:
    assert {*ADDED} == {EVERYBODY, *SPREAD}
    assert sorted(ADDED[EVERYBODY].commands) == sorted(ADDED[EVERYBODY].explained)


@pytest.mark.parametrize("user", [*TAGGED, *SHARDED])
def test_a_block_does_its_whole_work_under_its_rule(nodes: Any, users: ClusterUsers, word: str, user: str) -> None:
    block = {**TAGGED, **SHARDED}[user]
    scene = Scene(nodes, word if user in SHARDED else f"{{{word}}}:")
    block.prepare(scene)
    with permitted(users, RULES[user], scene) as limited_nodes:
        block.work(limited_nodes, scene)


@pytest.mark.parametrize("user", SPREAD)
def test_what_lies_apart_needs_the_additions_and_no_part_of_them_can_be_spared(
    nodes: Any, users: ClusterUsers, word: str, user: str
) -> None:
    block, rule = SPREAD[user], RULES[user].joined(ADDED[user])
    scene = Scene(nodes, word)
    block.prepare(scene)
    with permitted(users, rule, scene) as limited_nodes:
        block.work(limited_nodes, scene)
    for number, part in enumerate((*ADDED[user].commands, *ADDED[user].keys)):
        scene = Scene(nodes, f"{word}-{number}-")
        block.prepare(scene)
        with permitted(users, rule.without(part), scene) as limited_nodes:
            with pytest.raises(PermissionDenied) as caught:
                block.work(limited_nodes, scene)
        assert names(caught.value, part, scene), part


@pytest.mark.parametrize(("part", "told"), [("+cluster|slots", "Cluster mode"), ("+command", "'command'")])
def test_redis_py_itself_does_not_connect_without(
    nodes: Any, users: ClusterUsers, word: str, part: str, told: str
) -> None:
    with pytest.raises((RedisClusterException, NoPermissionError), match=told):
        with permitted(users, RULES[EVERYBODY].without(part), Scene(nodes, word)):
            pass


def test_a_client_that_may_not_ask_any_more_is_told_so(nodes: Any, users: ClusterUsers, word: str) -> None:
    scene = Scene(nodes, word)
    with permitted(users, RULES["shop"], scene) as limited_nodes:
        users.withdraw(scene.prefix, "+cluster|slots")
        with pytest.raises(PermissionDenied) as caught:
            TAGGED["shop"].work(limited_nodes, scene)
    assert names(caught.value, "+cluster|slots", scene)


@contextmanager
def moving(cluster: Cluster, word: str) -> Iterator[None]:
    """A slot with all keys it has is elsewhere already, but nobody knows yet."""
    slot = cluster.slot_of(word)
    cluster.begin_migration(slot, other_master(cluster, cluster.master_of(slot)))
    cluster.move_keys(slot)
    yield
    cluster.end_migration(slot)


@pytest.mark.parametrize("user", TAGGED)
def test_a_slot_that_moves_is_not_followed_without_asking(
    cluster: Cluster, nodes: Any, users: ClusterUsers, word: str, user: str
) -> None:
    block, scene = TAGGED[user], Scene(nodes, f"{{{word}}}:")
    block.prepare(scene)
    with moving(cluster, word):
        with permitted(users, RULES[user].without("+asking"), scene) as limited_nodes:
            with pytest.raises(PermissionDenied) as caught:
                block.work(limited_nodes, scene)
    assert names(caught.value, "+asking", scene)
    if block.resumes:
        with permitted(users, RULES[user].without("+asking"), scene) as limited_nodes:
            block.work(limited_nodes, scene)


@pytest.mark.parametrize("user", ["auditor", "viewer"])
def test_a_slot_that_moves_is_followed(cluster: Cluster, nodes: Any, users: ClusterUsers, word: str, user: str) -> None:
    """By those that touch one key at a time; steps of several keys wait until all are there."""
    block, scene = TAGGED[user], Scene(nodes, f"{{{word}}}:")
    block.prepare(scene)
    with moving(cluster, word):
        with permitted(users, RULES[user], scene) as limited_nodes:
            block.work(limited_nodes, scene)
