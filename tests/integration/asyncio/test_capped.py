"""Streams held to a length or an age, as they are written and on demand."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import CappedStream, EntryId, InvalidArgument, WrongKeyType
from streamkit.testing import redis_server
from tests.integration.asyncio._looking import numbers
from tests.integration.asyncio._runtime import until

HOUR = timedelta(hours=1)
NODE = 100
"""Entries in a node of a stream's tree, which approximate trimming takes out whole (the server's default)."""


def now() -> datetime:
    """The moment at hand."""
    return datetime.now(timezone.utc)


async def fill(client: redis.asyncio.Redis, key: str, count: int) -> None:
    """Write entries untrimmed, their IDs a second apart, the newest now."""
    begin = EntryId.at(now()).ms - (count - 1) * 1000
    async with client.pipeline(transaction=False) as pipe:
        queue: Any = pipe
        for n in range(count):
            queue.xadd(key, {"n": n}, f"{begin + n * 1000}-0")
        await pipe.execute()


# On append ----------------------------------------------------------------------------------------------------------


async def test_exact_length_is_held_by_every_append(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, maxlen=3, approximate=False)
    for n in range(6):
        await stream.append({"n": n})
        assert await stream.length() == min(n + 1, 3)
    assert await numbers(client, name) == [3, 4, 5]


async def test_approximate_length_takes_whole_nodes(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, maxlen=120)
    for n in range(450):
        await stream.append({"n": n})
    left = await numbers(client, name)
    assert 120 <= len(left) <= 120 + NODE
    assert left == list(range(450))[-len(left) :]


async def test_length_zero_keeps_nothing(client: redis.asyncio.Redis, name: str) -> None:
    await CappedStream(client, name, maxlen=0, approximate=False).append({"n": 1})
    assert await client.xlen(name) == 0
    assert (await CappedStream(client, name, maxlen=0).info()).entries_added == 1


async def test_exact_age_is_held_by_every_append(client: redis.asyncio.Redis, name: str) -> None:
    await fill(client, name, 200)
    await CappedStream(client, name, max_age=timedelta(seconds=100), approximate=False).append({"n": 200})
    left = await numbers(client, name)
    # As many as there were seconds, less what the test took; the entry just written stays.
    assert 50 <= len(left) <= 101
    assert left == list(range(201))[-len(left) :]


async def test_approximate_age_takes_whole_nodes(client: redis.asyncio.Redis, name: str) -> None:
    await fill(client, name, 450)
    await CappedStream(client, name, max_age=timedelta(seconds=100)).append({"n": 450})
    left = await numbers(client, name)
    assert 50 <= len(left) <= 101 + NODE
    assert left == list(range(451))[-len(left) :]


async def test_age_goes_by_the_servers_clock_and_not_by_the_entrys_time(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, max_age=HOUR, approximate=False)
    await stream.append({"n": 1}, at=now() - HOUR / 2)
    await stream.append({"n": 2}, at=now() + 5 * HOUR)
    assert await numbers(client, name) == [1, 2]


async def test_many_are_trimmed_chunk_by_chunk(client: redis.asyncio.Redis, name: str) -> None:
    exact = CappedStream(client, name, maxlen=10, approximate=False)
    assert await exact.append_many({"n": n} for n in range(3000)) == 3000
    assert await numbers(client, name) == list(range(2990, 3000))
    about = CappedStream(client, f"{name}:about", maxlen=10)
    assert await about.append_many({"n": n} for n in range(3000)) == 3000
    left = await numbers(client, f"{name}:about")
    assert 10 <= len(left) <= 10 + NODE
    assert left == list(range(3000))[-len(left) :]


async def test_many_with_times_are_trimmed_by_age(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, max_age=HOUR, approximate=False)
    begin = now() - 2 * HOUR
    times = (begin + n * timedelta(minutes=1) for n in itertools.count())
    assert await stream.append_many(({"n": n} for n in range(120)), times=times) == 120
    left = await numbers(client, name)
    assert 55 <= len(left) <= 60
    assert left == list(range(120))[-len(left) :]


async def test_a_limit_bounds_what_one_append_removes(client: redis.asyncio.Redis, name: str) -> None:
    await fill(client, name, 1000)
    stream = CappedStream(client, name, maxlen=10, trim_limit=2 * NODE)
    before = length = 1000
    for n in range(6):
        await stream.append({"n": n})
        length = await stream.length()
        assert before + 1 - 2 * NODE <= length
        before = length
    assert length <= 10 + NODE


async def test_without_a_limit_the_servers_default_holds_and_zero_means_none(
    client: redis.asyncio.Redis, name: str
) -> None:
    count = 12_000
    for key, limit, least, most in ((name, None, 1, count - 9000), (f"{name}:0", 0, 1, 1 + NODE)):
        await fill(client, key, count)
        assert await client.xlen(key) == count
        await CappedStream(client, key, maxlen=1, trim_limit=limit).append({"n": count})
        assert least <= await client.xlen(key) <= most


async def test_a_capped_stream_has_no_expiry(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, max_age=HOUR)
    await stream.append({"n": 1})
    assert (await stream.info()).expires_at is None


async def test_trimming_is_the_same_step_as_the_append() -> None:
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            stream = CappedStream(client, "s", maxlen=1, approximate=False)
            await stream.append({"n": 1})
            await client.config_resetstat()
            await stream.append({"n": 2})
            stats: dict[str, Any] = await client.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert "cmdstat_eval" not in stats


# On demand ----------------------------------------------------------------------------------------------------------


async def test_trim_now_to_a_length(client: redis.asyncio.Redis, name: str) -> None:
    await fill(client, name, 450)
    assert await CappedStream(client, name, maxlen=500).trim() == 0
    removed = await CappedStream(client, name, maxlen=300).trim()
    assert removed in {100, 150}
    exact = CappedStream(client, name, maxlen=5, approximate=False)
    assert await exact.trim() == 450 - removed - 5
    assert await exact.trim() == 0
    assert await numbers(client, name) == [445, 446, 447, 448, 449]


async def test_trim_now_to_an_age(client: redis.asyncio.Redis, name: str) -> None:
    await fill(client, name, 450)
    exact = CappedStream(client, name, max_age=timedelta(seconds=100), approximate=False)
    removed = await exact.trim()
    assert 350 <= removed <= 400
    assert await numbers(client, name) == list(range(removed, 450))
    assert await CappedStream(client, name, max_age=timedelta(days=30_000)).trim() == 0


async def test_trim_now_with_a_limit(client: redis.asyncio.Redis, name: str) -> None:
    await fill(client, name, 1000)
    stream = CappedStream(client, name, maxlen=10, trim_limit=3 * NODE)
    assert await stream.trim() == 3 * NODE
    await fill(client, f"{name}:age", 1000)
    aged = CappedStream(client, f"{name}:age", max_age=timedelta(seconds=10), trim_limit=3 * NODE)
    assert await aged.trim() == 3 * NODE


async def test_old_entries_go_by_themselves_when_time_passes(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, max_age=timedelta(milliseconds=200), approximate=False)
    await stream.append({"n": 1})

    async def gone() -> bool:
        return await stream.trim() == 1

    await until(gone)
    assert await stream.length() == 0


async def test_trimming_what_does_not_exist_or_is_no_stream(client: redis.asyncio.Redis, name: str) -> None:
    assert await CappedStream(client, name, maxlen=1).trim() == 0
    assert not await client.exists(name)
    await client.set(name, "text")
    with pytest.raises(WrongKeyType, match=f"the key '{name}' holds a .*, not a stream; use another name, or delete"):
        await CappedStream(client, name, maxlen=1).trim()


# Looking at it ------------------------------------------------------------------------------------------------------


async def test_length_and_info(client: redis.asyncio.Redis, name: str) -> None:
    stream = CappedStream(client, name, maxlen=3, approximate=False)
    assert await stream.length() == 0
    missing = await stream.info()
    assert (missing.key, missing.length, missing.first_id, missing.last_id) == (name, 0, None, None)
    ids = [await stream.append({"n": n}) for n in range(5)]
    await client.xgroup_create(name, "g")
    await client.expire(name, 1000)
    info = await stream.info()
    assert (info.length, info.first_id, info.last_id) == (3, ids[2], ids[4])
    assert (info.entries_added, info.groups) == (5, 1)
    assert info.expires_at is not None
    assert timedelta(seconds=900) < info.expires_at - now() <= timedelta(seconds=1000)
    assert stream.key == stream.name == name
    assert repr(stream) == f"CappedStream({name!r})"


async def test_length_and_info_of_another_type(client: redis.asyncio.Redis, name: str) -> None:
    await client.set(name, "text")
    stream = CappedStream(client, name, maxlen=3)
    with pytest.raises(WrongKeyType, match=name):
        await stream.length()
    with pytest.raises(WrongKeyType, match=name):
        await stream.info()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"give exactly one of maxlen \(a number of entries\) and max_age \(a timedelta\)"),
        ({"maxlen": 1, "max_age": HOUR}, "give exactly one of maxlen"),
        ({"maxlen": -1}, "maxlen must be zero or more, not -1"),
        ({"max_age": timedelta(0)}, "max_age must be at least a millisecond"),
        ({"max_age": 60}, r"max_age must be a timedelta, not 60; for seconds write timedelta\(seconds=\.\.\.\)"),
        ({"maxlen": 1, "approximate": False, "trim_limit": 5}, "with approximate=False leave it out"),
        ({"maxlen": 1, "trim_limit": -5}, r"trim_limit must be zero \(no limit\) or more"),
        ({"maxlen": 1, "idempotency_window": timedelta(0)}, "idempotency_window must be at least a millisecond"),
    ],
)
async def test_a_wrong_bound_is_refused_at_once(name: str, arguments: dict[str, Any], message: str) -> None:
    unreachable = redis.asyncio.Redis(port=1)
    with pytest.raises(InvalidArgument, match=message):
        CappedStream(unreachable, name, **arguments)


async def test_a_key_must_be_a_name() -> None:
    unreachable = redis.asyncio.Redis(port=1)
    wrong: tuple[Any, ...] = ("", b"bytes", None)
    for key in wrong:
        with pytest.raises(InvalidArgument, match="must be a non-empty str"):
            CappedStream(unreachable, key, maxlen=1)
