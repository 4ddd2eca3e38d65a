"""Trimming that drops nothing which some consumer group has not handled, and says what held it back."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import CappedStream, EntryId, PermissionDenied, Trimmed, WrongKeyType
from streamkit.testing import redis_server
from tests.integration.asyncio._looking import numbers

HOUR_MS = 3_600_000
NODE = 100
"""Entries in a node of a stream's tree, which approximate trimming takes out whole (the server's default)."""


class Filled:
    """A stream with entries 0, 1, 2, ..., whose IDs are an hour apart and end now, and groups that handle them."""

    def __init__(self, client: redis.asyncio.Redis, key: str) -> None:
        self._client: Any = client
        self.key = key
        self.ids: list[str] = []

    async def fill(self, count: int) -> None:
        """Write the entries."""
        begin = EntryId.at(datetime.now(timezone.utc)).ms - (count - 1) * HOUR_MS
        self.ids = [f"{begin + n * HOUR_MS}-0" for n in range(count)]
        async with self._client.pipeline(transaction=False) as pipe:
            for n, entry_id in enumerate(self.ids):
                pipe.xadd(self.key, {"n": n}, entry_id)
            await pipe.execute()

    async def group(self, group: str | bytes, delivered: int, pending: tuple[int, ...] = ()) -> None:
        """A group that was given the first so many entries, and has handled them but for these."""
        await self._client.xgroup_create(self.key, group, "0")
        if delivered:
            await self._client.xreadgroup(group, "c", {self.key: ">"}, count=delivered)
            done = [self.ids[n] for n in range(delivered) if n not in pending]
            if done:
                await self._client.xack(self.key, group, *done)


async def filled(client: redis.asyncio.Redis, key: str, count: int) -> Filled:
    stream = Filled(client, key)
    await stream.fill(count)
    return stream


async def test_without_groups_it_trims_as_ever(client: redis.asyncio.Redis, name: str) -> None:
    await filled(client, name, 450)
    about = await CappedStream(client, name, maxlen=300).trim(unless_pending=True)
    assert about.removed in {100, 150}
    assert (about.held_back, about.groups) == (0, ())
    exact = CappedStream(client, name, maxlen=200, approximate=False)
    assert await exact.trim(unless_pending=True) == Trimmed(250 - about.removed, 0, ())
    aged = CappedStream(client, name, max_age=timedelta(hours=99.5), approximate=False)
    assert await aged.trim(unless_pending=True) == Trimmed(100, 0, ())
    assert await numbers(client, name) == list(range(350, 450))


async def test_the_plain_call_asks_no_group(client: redis.asyncio.Redis, name: str) -> None:
    stream = await filled(client, name, 10)
    await stream.group("slow", 0)
    capped = CappedStream(client, name, maxlen=3, approximate=False)
    assert await capped.trim(unless_pending=True) == Trimmed(0, 7, ("slow",))
    assert await capped.trim() == 7
    assert await capped.trim(unless_pending=False) == 0


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
async def test_what_a_group_has_not_handled_stays(
    client: redis.asyncio.Redis,
    name: str,
    groups: list[tuple[str, int, tuple[int, ...]]],
    removed: int,
    groups_named: tuple[str, ...],
) -> None:
    # By length, and by an age that three entries have not reached.
    bounds: list[dict[str, Any]] = [{"maxlen": 3}, {"max_age": timedelta(hours=2.5)}]
    for number, bound in enumerate(bounds):
        key = f"{name}:{number}"
        stream = await filled(client, key, 10)
        for group, delivered, pending in groups:
            await stream.group(group, delivered, pending)
        capped = CappedStream(client, key, approximate=False, **bound)
        assert await capped.trim(unless_pending=True) == Trimmed(removed, 7 - removed, groups_named)
        assert await numbers(client, key) == list(range(removed, 10))


async def test_length_zero_keeps_only_what_is_needed(client: redis.asyncio.Redis, name: str) -> None:
    stream = await filled(client, name, 350)
    await stream.group("g", 350, (340,))
    capped = CappedStream(client, name, maxlen=0, approximate=False)
    assert await capped.trim(unless_pending=True) == Trimmed(340, 10, ("g",))
    await client.xack(name, "g", stream.ids[340])
    assert await capped.trim(unless_pending=True) == Trimmed(10, 0, ())
    assert await client.xlen(name) == 0
    assert await capped.trim(unless_pending=True) == Trimmed(0, 0, ())


async def test_a_pending_entry_that_was_deleted_still_counts(client: redis.asyncio.Redis, name: str) -> None:
    stream = await filled(client, name, 10)
    await stream.group("g", 10, (4,))
    await client.xdel(name, stream.ids[4])
    capped = CappedStream(client, name, maxlen=3, approximate=False)
    assert await capped.trim(unless_pending=True) == Trimmed(4, 2, ("g",))


async def test_approximate_trimming_takes_whole_nodes_in_front_of_what_is_needed(
    client: redis.asyncio.Redis, name: str
) -> None:
    for number, needed in enumerate((0, 50, 199, 200, 250, 899)):
        key = f"{name}:{number}"
        stream = await filled(client, key, 1000)
        await stream.group("g", 1000, (needed,))
        trimmed = await CappedStream(client, key, maxlen=100).trim(unless_pending=True)
        assert trimmed == Trimmed(needed // NODE * NODE, 900 - needed, ("g",))
        assert await numbers(client, key) == list(range(needed // NODE * NODE, 1000))
        aged = CappedStream(client, key, max_age=timedelta(hours=499.5))
        held_back = max(0, 500 - needed)
        assert await aged.trim(unless_pending=True) == Trimmed(0, held_back, ("g",) if held_back else ())


async def test_a_limit_bounds_what_is_removed(client: redis.asyncio.Redis, name: str) -> None:
    stream = await filled(client, name, 2000)
    await stream.group("g", 2000, (1750,))
    capped = CappedStream(client, name, maxlen=100, trim_limit=300)
    # What the limit leaves, no group holds back.
    assert await capped.trim(unless_pending=True) == Trimmed(300, 0, ())
    aged = CappedStream(client, name, max_age=timedelta(hours=99.5), trim_limit=200)
    assert await aged.trim(unless_pending=True) == Trimmed(200, 150, ("g",))
    unlimited = CappedStream(client, name, maxlen=100, trim_limit=0)
    assert await unlimited.trim(unless_pending=True) == Trimmed(1200, 150, ("g",))


async def test_many_entries_that_are_held_back(client: redis.asyncio.Redis, name: str) -> None:
    stream = await filled(client, name, 3000)
    await stream.group("first", 100)
    await stream.group("second", 1000)
    await stream.group("third", 1200)
    capped = CappedStream(client, name, maxlen=10, approximate=False)
    assert await capped.trim(unless_pending=True) == Trimmed(100, 2890, ("first", "second"))
    aged = CappedStream(client, name, max_age=timedelta(hours=9.5), approximate=False)
    assert await aged.trim(unless_pending=True) == Trimmed(0, 1000, ("first", "second"))


@pytest.mark.parametrize("seed", range(8))
async def test_any_groups_lose_nothing(client: redis.asyncio.Redis, name: str, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(5):
        key, length = f"{name}:{number}", dice.choice((1, 30, 101, 450))
        stream = await filled(client, key, length)
        needs: dict[str, int] = {}
        for group in "abcd"[: dice.randrange(5)]:
            delivered = dice.choice((0, length, dice.randrange(length + 1)))
            handed = range(delivered)
            pending = tuple(dice.sample(handed, dice.randrange(min(delivered, 3) + 1)))
            await stream.group(group, delivered, pending)
            needs[group] = min((*pending, delivered))
        maxlen, approximate = dice.choice((0, 1, length // 2, length + 5)), dice.random() < 0.4
        over = max(0, length - maxlen)
        trimmed = await CappedStream(client, key, maxlen=maxlen, approximate=approximate).trim(unless_pending=True)
        free = min((*needs.values(), over))
        assert await numbers(client, key) == list(range(trimmed.removed, length))
        assert trimmed.removed == free if not approximate else free - NODE < trimmed.removed <= free
        assert trimmed.held_back == over - free
        holding = [group for group, need in needs.items() if need < over]
        assert trimmed.groups == tuple(sorted(holding, key=needs.__getitem__))


async def test_names_that_are_no_text(client: redis.asyncio.Redis, redis_url: str, name: str) -> None:
    stream = await filled(client, name, 10)
    await stream.group(b"\xff", 0)
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True, protocol=3) as text:
        capped = CappedStream(text, name, maxlen=3, approximate=False)
        assert await capped.trim(unless_pending=True) == Trimmed(0, 7, ("\\xff",))


async def test_what_does_not_exist_or_is_no_stream(client: redis.asyncio.Redis, name: str) -> None:
    capped = CappedStream(client, name, maxlen=3)
    assert await capped.trim(unless_pending=True) == Trimmed(0, 0, ())
    assert await CappedStream(client, name, max_age=timedelta(days=30_000)).trim(unless_pending=True) == Trimmed(
        0, 0, ()
    )
    stream = await filled(client, name, 10)
    await stream.group("g", 0)
    forever = CappedStream(client, name, max_age=timedelta(days=30_000))
    assert await forever.trim(unless_pending=True) == Trimmed(0, 0, ())
    await client.set(f"{name}:text", "x")
    with pytest.raises(WrongKeyType, match=f"the key '{name}:text' holds a string, not a stream"):
        await CappedStream(client, f"{name}:text", maxlen=3).trim(unless_pending=True)


async def test_a_user_who_may_not_trim() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        admin: Any = plain
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-xtrim")
        async with redis.asyncio.Redis.from_url(url, username="app", password="secret") as client:
            stream = await filled(client, "s", 10)
            await stream.group("g", 5)
            with pytest.raises(PermissionDenied):
                await CappedStream(client, "s", maxlen=1).trim(unless_pending=True)
            assert await client.xlen("s") == 10
