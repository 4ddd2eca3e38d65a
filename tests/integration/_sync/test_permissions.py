# Generated from tests/integration/asyncio/test_permissions.py by tools/generate_sync.py: do not edit.
"""Each block works under the rule that the docs give for it, and says so when a part of that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from streamkit import Delivery, GroupConsumer, PermissionDenied
from tests.integration._sync import _permitted
from tests.integration._sync._groups import LEASE, consuming, settled
from tests.integration._sync._permitted import GROUP, Scene
from tests.integration._sync._permitted_shards import LIKE_PLAIN, SHARDED
from tests.integration._sync._readers import limited
from tests.integration._sync._runtime import pause, until
from tests.integration.permissions import OPTIONAL, Rule, Users, rules

pytestmark = pytest.mark.usefixtures("short_waits")

RULES = rules()
BLOCKS = {**_permitted.BLOCKS, **SHARDED}


@pytest.fixture
def users(redis_url: str) -> Iterator[Users]:
    """Users with the rights that a test gives them."""
    users = Users(redis_url)
    yield users
    users.close()


@contextmanager
def permitted(users: Users, rule: Rule, scene: Scene, *more: str) -> Iterator[redis.Redis]:
    """A client of a user with this rule."""
    with users.user(rule, scene.prefix, *more) as url:
        with redis.Redis.from_url(url) as client:
            yield client


def test_every_rule_is_tried_and_explained() -> None:
    assert set(RULES) == set(BLOCKS)
    for user, rule in RULES.items():
        assert (user, sorted(rule.commands)) == (user, sorted(rule.explained))


@pytest.mark.parametrize("user", BLOCKS)
def test_a_block_does_its_whole_work_under_its_rule(client: redis.Redis, users: Users, name: str, user: str) -> None:
    block, rule, scene = BLOCKS[user], RULES[user], Scene(client, name)
    block.prepare(scene)
    with permitted(users, rule, scene) as limited_client:
        block.work(limited_client, scene)


@pytest.mark.parametrize("user", LIKE_PLAIN)
def test_the_same_rules_hold_for_shards_with_their_keys(
    client: redis.Redis, users: Users, name: str, user: str
) -> None:
    block, rule, scene = LIKE_PLAIN[user], RULES[user].of_shards("orders"), Scene(client, name)
    block.prepare(scene)
    with permitted(users, rule, scene) as limited_client:
        block.work(limited_client, scene)


@pytest.mark.parametrize("user", BLOCKS)
def test_what_it_may_ask_for_besides_needs_no_more_but_on_newer_servers(
    client: redis.Redis, users: Users, name: str, user: str
) -> None:
    block, rule, scene = BLOCKS[user], RULES[user], Scene(client, name)
    block.prepare(scene)
    newer = users.newer(rule, name)
    with permitted(users, rule, scene, *OPTIONAL, *newer) as limited_client:
        block.work(limited_client, scene)
    for number, word in enumerate(newer):
        scene = Scene(client, f"{name}-{number}-")
        block.prepare(scene)
        rest = [each for each in newer if each != word]
        with permitted(users, rule, scene, *OPTIONAL, *rest) as limited_client:
            with pytest.raises(PermissionDenied) as caught:
                block.work(limited_client, scene)
        assert names(caught.value, word, scene)


@pytest.mark.parametrize("user", BLOCKS)
def test_no_part_of_a_rule_can_be_spared_and_the_one_that_is_missing_is_named(
    client: redis.Redis, users: Users, name: str, user: str
) -> None:
    block, rule = BLOCKS[user], RULES[user]
    for number, word in enumerate((*rule.commands, *rule.keys)):
        scene = Scene(client, f"{name}-{number}-")
        block.prepare(scene)
        with permitted(users, rule.without(word), scene) as limited_client:
            with pytest.raises(PermissionDenied) as caught:
                block.work(limited_client, scene)
        assert names(caught.value, word, scene), word
        if block.resumes:
            with permitted(users, rule, scene) as limited_client:
                block.work(limited_client, scene)


def names(error: PermissionDenied, word: str, scene: Scene) -> bool:
    """Whether an error names the command that is missing, or what was being done with keys that are not permitted."""
    told = str(error).lower()
    command = word.removeprefix("+").split("|")
    wanted = command if word.startswith("+") else [scene.prefix]
    return "the server refused" in told and "grant the user" in told and all(each in told for each in wanted)


def test_a_heartbeat_that_is_not_permitted_ends_the_loop(client: redis.Redis, users: Users, name: str) -> None:
    scene = Scene(client, name)
    scene.write(scene.key("orders"), 2)
    handled: list[str] = []

    def handle(delivery: Delivery) -> None:
        handled.append(delivery.value["n"])
        if len(handled) == 1:
            pause(LEASE.total_seconds())

    with permitted(users, RULES["clerk"].without("+xclaim"), scene) as limited_client:
        consumer = GroupConsumer(limited_client, scene.key("orders"), GROUP, "a", min_idle_time=LEASE)
        with limited(consumer), pytest.raises(PermissionDenied, match=r"(?i)xclaim"):
            consumer.run(handle)
    assert handled == ["0"]
    with permitted(users, RULES["clerk"], scene) as limited_client:
        consumer = GroupConsumer(limited_client, scene.key("orders"), GROUP, "a", min_idle_time=LEASE)
        with consuming(consumer, handle):
            until(settled(client, scene.key("orders"), GROUP))
    assert handled == ["0", "1"]
