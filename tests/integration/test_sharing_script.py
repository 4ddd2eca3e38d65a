"""share.lua as a model: whatever members come and go, no shard has two, and what they hold comes to rest evenly."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from streamkit._core.scripts import SHARE
from streamkit._core.sharding import MOST_SHARDS
from streamkit._core.sharing import Share, read_share, share_arguments

LEASE = 600_000
PATIENCE = 12
"""Rounds in which everybody asks, after which nothing moves any more."""


class Members:
    """What each member believes to hold, and the readers of shards that it is ending."""

    def __init__(self, client: redis.Redis, key: str, shards: int, dice: random.Random) -> None:
        self.client: Any = client
        self.key = key
        self.shards = [str(number) for number in range(shards)]
        self.dice = dice
        self.held: dict[str, list[str]] = {}
        self.ending: dict[str, set[str]] = {}

    def call(self, member: str, *, leave: bool = False) -> Share:
        """Ask for a member's share; the readers that have ended meanwhile are given up."""
        ended = sorted(shard for shard in self.ending[member] if self.dice.random() < 0.6)
        words = share_arguments(member, LEASE, self.shards, giving_up=ended, leave=leave)
        share = read_share(self.key, self.client.eval(SHARE.source, 1, self.key, *words))
        self.held[member] = list(share.shards)
        self.ending[member] -= set(ended)
        self.ending[member] |= set(share.shards[len(share.shards) - share.surplus :])
        everything = [shard for shards in self.held.values() for shard in shards]
        assert len(set(everything)) == len(everything)
        return share

    def join(self, member: str) -> None:
        """Begin; the first question comes with the next round."""
        self.held[member], self.ending[member] = [], set()

    def leave(self, member: str) -> None:
        """End well."""
        assert self.call(member, leave=True) == Share([], 0)
        del self.held[member], self.ending[member]

    def die(self, member: str) -> None:
        """End without a word, a lease ago."""
        past = int(time.time() * 1000) - 1
        for field, value in self.client.hgetall(self.key).items():
            if field.decode() == f"member:{member}":
                self.client.hset(self.key, field, past)
            elif value.decode().startswith(f"{member} until "):
                self.client.hset(self.key, field, f"{member} until {past}")
        del self.held[member], self.ending[member]

    def round(self) -> bool:
        """Everybody asks once, in any order; whether anything moved."""
        before = {member: list(shards) for member, shards in self.held.items()}
        order = sorted(self.held)
        self.dice.shuffle(order)
        shares = [self.call(member) for member in order]
        return any(share.surplus for share in shares) or before != self.held

    def check(self) -> None:
        """Everything is held, evenly, and stays where it is."""
        counts = [len(shards) for shards in self.held.values()]
        assert sum(counts) == len(self.shards)
        assert max(counts) - min(counts) <= 1


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.mark.parametrize("shards", range(1, 9))
def test_what_members_hold_comes_to_rest(client: redis.Redis, name: str, shards: int) -> None:
    dice = random.Random(shards)
    members = Members(client, name, shards, dice)
    for number in range(30):
        alive = sorted(members.held)
        event = dice.choice(["join", "join", "leave", "die"])
        if len(alive) < 2 or (event == "join" and len(alive) < 5):
            members.join(f"m{number}")
        elif event == "die":
            members.die(dice.choice(alive))
        else:
            members.leave(dice.choice(alive))
        for _ in range(dice.randrange(3)):
            members.round()  # the next one comes before it has come to rest
        if dice.random() < 0.5:
            for _ in range(PATIENCE):
                members.round()
            assert not any(members.round() for _ in range(3))
            members.check()


def test_there_may_be_as_many_as_a_cluster_has_slots(client: redis.Redis, name: str) -> None:
    members = Members(client, name, MOST_SHARDS, random.Random(1))
    members.join("a")
    assert len(members.call("a").shards) == MOST_SHARDS
    members.join("b")
    assert members.call("b") == Share([], 0)
    assert members.call("a").surplus == MOST_SHARDS // 2


def test_what_nobody_took_is_still_its_holders(client: redis.Redis, name: str) -> None:
    members = Members(client, name, 4, random.Random(2))
    members.join("a")
    members.call("a")
    held = members.held["a"]
    members.die("a")
    members.join("b")
    members.join("a")
    client.hset(name, "member:b", int(time.time() * 1000) + LEASE)
    # Two of four are its share by now, and it is to end the others itself.
    share = members.call("a")
    assert (list(share.shards), share.surplus) == (held, 2)


def test_a_member_that_was_away_gets_nothing_that_others_took(client: redis.Redis, name: str) -> None:
    members = Members(client, name, 3, random.Random(3))
    for member in ("a", "b"):
        members.join(member)
        members.call(member)
    members.die("a")
    members.call("b")
    assert len(members.held["b"]) == 3
    members.join("a")
    assert members.call("a") == Share([], 0)
    assert members.call("b").surplus == 1
