# Generated from tests/integration/asyncio/test_trim_unless_pending.py by tools/generate_sync.py: do not edit.
"""Trimming that drops nothing which some consumer group has not handled, and says what held it back."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

from streamkit import CappedStream, EntryId, PermissionDenied, Trimmed, WrongKeyType
from streamkit.testing import redis_server
from tests.integration._sync._looking import numbers

HOUR_MS = 3_600_000
NODE = 100
"""Entries in a node of a stream's tree, which approximate trimming takes out whole (the server's default)."""


class Filled:
    """A stream with entries 0, 1, 2, ..., whose IDs are an hour apart and end now, and groups that handle them."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client: Any = client
        self.key = key
        self.ids: list[str] = []

    def fill(self, count: int) -> None:
        """Write the entries."""
        begin = EntryId.at(datetime.now(timezone.utc)).ms - (count - 1) * HOUR_MS
        self.ids = [f"{begin + n * HOUR_MS}-0" for n in range(count)]
        with self._client.pipeline(transaction=False) as pipe:
            for n, entry_id in enumerate(self.ids):
                pipe.xadd(self.key, {"n": n}, entry_id)
            pipe.execute()

    def group(self, group: str | bytes, delivered: int, pending: tuple[int, ...] = ()) -> None:
        """A group that was given the first so many entries, and has handled them but for these."""
        self._client.xgroup_create(self.key, group, "0")
        if delivered:
            self._client.xreadgroup(group, "c", {self.key: ">"}, count=delivered)
            done = [self.ids[n] for n in range(delivered) if n not in pending]
            if done:
                self._client.xack(self.key, group, *done)


def filled(client: redis.Redis, key: str, count: int) -> Filled:
    stream = Filled(client, key)
    stream.fill(count)
    return stream


def test_without_groups_it_trims_as_ever(client: redis.Redis, name: str) -> None:
    filled(client, name, 450)
    about = CappedStream(client, name, maxlen=300).trim(unless_pending=True)
    assert about.removed in {100, 150}
    assert (about.held_back, about.groups) == (0, ())
    exact = CappedStream(client, name, maxlen=200, approximate=False)
    assert exact.trim(unless_pending=True) == Trimmed(250 - about.removed, 0, ())
    aged = CappedStream(client, name, max_age=timedelta(hours=99.5), approximate=False)
    assert aged.trim(unless_pending=True) == Trimmed(100, 0, ())
    assert numbers(client, name) == list(range(350, 450))


def test_the_plain_call_asks_no_group(client: redis.Redis, name: str) -> None:
    stream = filled(client, name, 10)
    stream.group("slow", 0)
    capped = CappedStream(client, name, maxlen=3, approximate=False)
    assert capped.trim(unless_pending=True) == Trimmed(0, 7, ("slow",))
    assert capped.trim() == 7
    assert capped.trim(unless_pending=False) == 0


@pytest.mark.parametrize(
    ("groups", "removed", "groups_named"),
    [
        ([("all", 10, ())], 7, ()),
        ([("pending", 10, (4,))], 4, ("pending",)),
        ([("undelivered", 4, ())], 4, ("undelivered",)),
        ([("both", 6, (2, 4))], 2, ("both",)),
        ([("nothing", 0, ())], 0, ("nothing",)),
        ([("just behind", 6, ())], 6, ("just behind",)),
        ([("just enough", 7, ())], 7, ()),
        ([("newer", 10, (8,))], 7, ()),
        ([("a", 6, ()), ("b", 10, (3,)), ("c", 10, ()), ("d", 9, ()), ("e", 5, ())], 3, ("b", "e", "a")),
    ],
)
def test_what_a_group_has_not_handled_stays(
    client: redis.Redis,
    name: str,
    groups: list[tuple[str, int, tuple[int, ...]]],
    removed: int,
    groups_named: tuple[str, ...],
) -> None:
    # By length, and by an age that three entries have not reached.
    bounds: list[dict[str, Any]] = [{"maxlen": 3}, {"max_age": timedelta(hours=2.5)}]
    for number, bound in enumerate(bounds):
        key = f"{name}:{number}"
        stream = filled(client, key, 10)
        for group, delivered, pending in groups:
            stream.group(group, delivered, pending)
        capped = CappedStream(client, key, approximate=False, **bound)
        assert capped.trim(unless_pending=True) == Trimmed(removed, 7 - removed, groups_named)
        assert numbers(client, key) == list(range(removed, 10))


def test_length_zero_keeps_only_what_is_needed(client: redis.Redis, name: str) -> None:
    stream = filled(client, name, 350)
    stream.group("g", 350, (340,))
    capped = CappedStream(client, name, maxlen=0, approximate=False)
    assert capped.trim(unless_pending=True) == Trimmed(340, 10, ("g",))
    client.xack(name, "g", stream.ids[340])
    assert capped.trim(unless_pending=True) == Trimmed(10, 0, ())
    assert client.xlen(name) == 0
    assert capped.trim(unless_pending=True) == Trimmed(0, 0, ())


def test_a_pending_entry_that_was_deleted_still_counts(client: redis.Redis, name: str) -> None:
    stream = filled(client, name, 10)
    stream.group("g", 10, (4,))
    client.xdel(name, stream.ids[4])
    capped = CappedStream(client, name, maxlen=3, approximate=False)
    assert capped.trim(unless_pending=True) == Trimmed(4, 2, ("g",))


def test_approximate_trimming_takes_whole_nodes_in_front_of_what_is_needed(client: redis.Redis, name: str) -> None:
    for number, needed in enumerate((0, 50, 199, 200, 250, 899)):
        key = f"{name}:{number}"
        stream = filled(client, key, 1000)
        stream.group("g", 1000, (needed,))
        trimmed = CappedStream(client, key, maxlen=100).trim(unless_pending=True)
        assert trimmed == Trimmed(needed // NODE * NODE, 900 - needed, ("g",))
        assert numbers(client, key) == list(range(needed // NODE * NODE, 1000))
        aged = CappedStream(client, key, max_age=timedelta(hours=499.5))
        held_back = max(0, 500 - needed)
        assert aged.trim(unless_pending=True) == Trimmed(0, held_back, ("g",) if held_back else ())


def test_a_limit_bounds_what_is_removed(client: redis.Redis, name: str) -> None:
    stream = filled(client, name, 2000)
    stream.group("g", 2000, (1750,))
    capped = CappedStream(client, name, maxlen=100, trim_limit=300)
    # What the limit leaves, no group holds back.
    assert capped.trim(unless_pending=True) == Trimmed(300, 0, ())
    aged = CappedStream(client, name, max_age=timedelta(hours=99.5), trim_limit=200)
    assert aged.trim(unless_pending=True) == Trimmed(200, 150, ("g",))
    unlimited = CappedStream(client, name, maxlen=100, trim_limit=0)
    assert unlimited.trim(unless_pending=True) == Trimmed(1200, 150, ("g",))


def test_many_entries_that_are_held_back(client: redis.Redis, name: str) -> None:
    stream = filled(client, name, 3000)
    stream.group("first", 100)
    stream.group("second", 1000)
    stream.group("third", 1200)
    capped = CappedStream(client, name, maxlen=10, approximate=False)
    assert capped.trim(unless_pending=True) == Trimmed(100, 2890, ("first", "second"))
    aged = CappedStream(client, name, max_age=timedelta(hours=9.5), approximate=False)
    assert aged.trim(unless_pending=True) == Trimmed(0, 1000, ("first", "second"))


@pytest.mark.parametrize("seed", range(8))
def test_any_groups_lose_nothing(client: redis.Redis, name: str, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(5):
        key, length = f"{name}:{number}", dice.choice((1, 30, 101, 450))
        stream = filled(client, key, length)
        needs: dict[str, int] = {}
        for group in "abcd"[: dice.randrange(5)]:
            delivered = dice.choice((0, length, dice.randrange(length + 1)))
            handed = range(delivered)
            pending = tuple(dice.sample(handed, dice.randrange(min(delivered, 3) + 1)))
            stream.group(group, delivered, pending)
            needs[group] = min((*pending, delivered))
        maxlen, approximate = dice.choice((0, 1, length // 2, length + 5)), dice.random() < 0.4
        over = max(0, length - maxlen)
        trimmed = CappedStream(client, key, maxlen=maxlen, approximate=approximate).trim(unless_pending=True)
        free = min((*needs.values(), over))
        assert numbers(client, key) == list(range(trimmed.removed, length))
        assert trimmed.removed == free if not approximate else free - NODE < trimmed.removed <= free
        assert trimmed.held_back == over - free
        holding = [group for group, need in needs.items() if need < over]
        assert trimmed.groups == tuple(sorted(holding, key=needs.__getitem__))


def test_names_that_are_no_text(client: redis.Redis, redis_url: str, name: str) -> None:
    stream = filled(client, name, 10)
    stream.group(b"\xff", 0)
    with redis.Redis.from_url(redis_url, decode_responses=True, protocol=3) as text:
        capped = CappedStream(text, name, maxlen=3, approximate=False)
        assert capped.trim(unless_pending=True) == Trimmed(0, 7, ("\\xff",))


def test_what_does_not_exist_or_is_no_stream(client: redis.Redis, name: str) -> None:
    capped = CappedStream(client, name, maxlen=3)
    assert capped.trim(unless_pending=True) == Trimmed(0, 0, ())
    assert CappedStream(client, name, max_age=timedelta(days=30_000)).trim(unless_pending=True) == Trimmed(0, 0, ())
    stream = filled(client, name, 10)
    stream.group("g", 0)
    forever = CappedStream(client, name, max_age=timedelta(days=30_000))
    assert forever.trim(unless_pending=True) == Trimmed(0, 0, ())
    client.set(f"{name}:text", "x")
    with pytest.raises(WrongKeyType, match=f"the key '{name}:text' holds a string, not a stream"):
        CappedStream(client, f"{name}:text", maxlen=3).trim(unless_pending=True)


def test_a_user_who_may_not_trim() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        admin: Any = plain
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-xtrim")
        with redis.Redis.from_url(url, username="app", password="secret") as client:
            stream = filled(client, "s", 10)
            stream.group("g", 5)
            with pytest.raises(PermissionDenied):
                CappedStream(client, "s", maxlen=1).trim(unless_pending=True)
            assert client.xlen("s") == 10
