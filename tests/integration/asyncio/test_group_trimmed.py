"""Entries that are gone before they were handled: each is on record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis
import redis.asyncio

from streamkit._core.scripts import UNREAD
from streamkit.asyncio import Delivery, PartitionedStream, Retry, RetryPolicy
from tests.integration.asyncio._failing import LEASE, calls_of, consumer_of, through
from tests.integration.asyncio._groups import (
    GROUP,
    Fields,
    Seen,
    consuming,
    letters_in,
    milliseconds,
    pending_in,
    settled,
    strand,
)
from tests.integration.asyncio._readers import raw, told, write
from tests.integration.asyncio._runtime import until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


async def nobody_waits(client: redis.asyncio.Redis) -> bool:
    """Whether the server has no client in a blocking read: one that was cut off may still be given an entry."""
    clients: Any = await client.info("clients")
    return bool(clients["blocked_clients"] == 0)


async def test_what_was_trimmed_while_a_dead_consumer_held_it_is_recorded_by_its_id(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2, 3)
    ids = await strand(client, name, "dead", 3)
    await raw(client).xdel(name, *ids[:2])
    recorder, seen = Recorder(), Seen()
    async with consuming(consumer_of(client, name, recorder, lease=LEASE), seen):
        await until(settled(client, name))
    assert seen.tries == [(3, 2)]
    found = [(letter.cause.value, str(letter.entry_id), letter.pairs) for letter in await letters_in(client, name)]
    assert found == [("trimmed", entry_id, ()) for entry_id in ids[:2]]
    assert [(entry.id, cause.value) for entry, cause, _, _ in recorder.of("on_buried")] == [
        (entry_id, "trimmed") for entry_id in ids[:2]
    ]


async def test_what_was_trimmed_while_it_waited_for_a_retry_is_recorded(client: redis.asyncio.Redis, name: str) -> None:
    async def fail(_: Delivery[Fields]) -> None:
        raise ValueError

    recorder, seen = Recorder(), Seen(fail)
    (entry_id,) = await write(client, name, 1)
    retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(200))
    async with consuming(consumer_of(client, name, recorder, lease=LEASE, retry=retry), seen):
        await until(told(recorder, "on_retry"))
        await raw(client).xtrim(name, maxlen=0, approximate=False)
        await until(told(recorder, "on_buried"))
    assert seen.tries == [(1, 1)]
    (letter,) = await letters_in(client, name)
    assert (letter.cause.value, letter.entry_id, letter.attempt) == ("trimmed", entry_id, 1)
    assert await pending_in(client, name) == []


async def test_what_was_trimmed_before_its_lost_reply_was_asked_for_again_is_recorded(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    async with through(redis_url) as (proxy, cut):
        with redis.Redis.from_url(redis_url) as plain:
            # The reply with the entries is lost; when the consumer looks for them, one of them is gone.
            proxy.cut_after_request(matching=b"XREADGROUP")
            gone: Callable[[], Any] = lambda: plain.xdel(name, str(ids[0]))  # noqa: E731
            proxy.call_before(gone, matching=b"XPENDING")
            ids = await write(client, name, 1, 2)
            options: dict[str, Any] = {"count": 10}
            async with consuming(consumer_of(cut, name, recorder, **options), seen):
                await until(settled(client, name))
    assert proxy.cuts == 1
    found = [(letter.cause.value, letter.entry_id) for letter in await letters_in(client, name)]
    assert (seen.numbers, found) in (([2], [("trimmed", ids[0])]), ([1, 2], []))


async def test_what_was_trimmed_before_it_was_handed_out_is_one_letter_with_its_number_and_span(
    client: redis.asyncio.Redis, name: str
) -> None:
    async def trim(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] in {"0", "1000"}:
            # Behind the consumer's back, more than it can have fetched.
            ids.extend(await write(client, name, *range(len(ids), len(ids) + 500)))
            await raw(client).xtrim(name, maxlen=20, approximate=False)

    ids = await write(client, name, 0)
    recorder, seen = Recorder(), Seen(trim)
    async with consuming(consumer_of(client, name, recorder), seen):
        await until(settled(client, name))
        assert [(letter.cause.value, letter.count) for letter in await letters_in(client, name)] == [("unread", 480)]
        # Not told again, whatever is read after it.
        ids += await write(client, name, *range(501, 600))
        await until(settled(client, name))
        assert len(await letters_in(client, name)) == 1
        ids += await write(client, name, *range(600, 1001))
        await until(settled(client, name))
    first, *more = await letters_in(client, name)
    assert [letter.cause.value for letter in (first, *more)] == ["unread"] * (1 + len(more))
    assert (first.first, first.last) == (ids[0], ids[481])
    assert first.group == GROUP
    lost = sum(letter.count for letter in (first, *more))
    assert len(seen.numbers) == len(set(seen.numbers)) == len(ids) - lost
    assert [(key, group, count) for key, group, count, _, _ in recorder.of("on_unread")] == [
        (name, GROUP, letter.count) for letter in (first, *more)
    ]


async def test_what_was_trimmed_while_the_connection_was_away_is_recorded(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    async with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        await write(client, name, 0)
        await until(settled(client, name))
        before = proxy.counts[b"XREADGROUP"]
        # It waits in a blocking read.
        await until(lambda: proxy.counts[b"XREADGROUP"] > before + 1)
        proxy.down()
        await until(told(recorder, "on_unavailable"))
        await until(lambda: nobody_waits(client))
        await write(client, name, *range(1, 101))
        await raw(client).xtrim(name, maxlen=10, approximate=False)
        proxy.up()
        await until(settled(client, name))
    assert seen.numbers == [0, *range(91, 101)]
    (letter,) = await letters_in(client, name)
    assert (letter.cause.value, letter.count) == ("unread", 90)
    assert [count for _, _, count, _, _ in recorder.of("on_unread")] == [90]


async def test_a_stream_trimmed_to_nothing_is_recorded_too(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    async with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        await write(client, name, 0)
        await until(settled(client, name))
        proxy.down()
        await until(told(recorder, "on_unavailable"))
        await until(lambda: nobody_waits(client))
        await write(client, name, *range(1, 11))
        await raw(client).xtrim(name, maxlen=0, approximate=False)
        proxy.up()
        await until(told(recorder, "on_unread"))
        looks = proxy.counts[b"XREADGROUP"]
        await until(lambda: proxy.counts[b"XREADGROUP"] > looks + 3)
        await write(client, name, 11)
        await until(lambda: 11 in seen.numbers)
    assert seen.numbers == [0, 11]
    assert [(letter.cause.value, letter.count) for letter in await letters_in(client, name)] == [("unread", 10)]
    assert len(recorder.of("on_unread")) == 1


async def test_a_lost_record_of_unread_entries_is_not_written_twice(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    async with through(redis_url) as (proxy, cut):
        async with consuming(consumer_of(cut, name, recorder), seen):
            await write(client, name, 0)
            await until(settled(client, name))
            proxy.down()
            await until(told(recorder, "on_unavailable"))
            await until(lambda: nobody_waits(client))
            await write(client, name, *range(1, 11))
            await raw(client).xtrim(name, maxlen=1, approximate=False)
            proxy.cut_after_request(matching=calls_of(UNREAD))
            proxy.up()
            await until(settled(client, name))
        assert proxy.cuts == 1
    assert seen.numbers == [0, 10]
    assert [(letter.cause.value, letter.count) for letter in await letters_in(client, name)] == [("unread", 9)]


# What the cap drops for them ----------------------------------------------------------------------------------------


async def fill(client: redis.asyncio.Redis, name: str) -> str:
    """Have so many dead letters that the next one drops a hundred of them (whole nodes); their key."""
    letters = f"{{{name}}}:dead-letters"
    fill = "for n = 1, 150 do redis.call('XADD', KEYS[1], '*', 'n', n) end"
    await raw(client).eval(fill, 1, letters)
    return letters


async def fail(_: Delivery[Fields]) -> None:
    """A handler of no use."""
    raise Retry


async def test_letters_dropped_for_what_is_trimmed_unread_are_told(client: redis.asyncio.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    async with consuming(consumer_of(client, name, Recorder()), seen):
        await write(client, name, 0)
        await until(settled(client, name))
    letters = await fill(client, name)
    await write(client, name, *range(1, 11))
    await raw(client).xtrim(name, maxlen=4, approximate=False)
    async with consuming(consumer_of(client, name, recorder, dead_letters_maxlen=1), seen):
        await until(settled(client, name))
    assert seen.numbers == [0, 7, 8, 9, 10]
    assert [count for _, _, count, _, _ in recorder.of("on_unread")] == [6]
    assert recorder.of("on_letters_dropped") == [(letters, 100)]


async def test_letters_dropped_for_what_was_delivered_too_often_are_told(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    ids = await strand(client, name, "dead", 1)
    await raw(client).xclaim(name, GROUP, "dead", 0, ids, retrycount=3, idle=100_000, justid=True)
    letters = await fill(client, name)
    recorder, seen = Recorder(), Seen()
    async with consuming(consumer_of(client, name, recorder, dead_letters_maxlen=1), seen):
        await until(told(recorder, "on_buried"))
        await until(told(recorder, "on_letters_dropped"))
    assert seen.numbers == []
    assert [entry.id for entry, _, _, _ in recorder.of("on_buried")] == ids
    assert recorder.of("on_letters_dropped") == [(letters, 100)]


async def test_letters_dropped_for_what_is_trimmed_while_it_waits_for_a_retry_are_told(
    client: redis.asyncio.Redis, name: str
) -> None:
    letters = await fill(client, name)
    recorder, seen = Recorder(), Seen(fail)
    await write(client, name, 1)
    retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(200))
    async with consuming(consumer_of(client, name, recorder, retry=retry, dead_letters_maxlen=1), seen):
        await until(told(recorder, "on_retry"))
        await raw(client).xtrim(name, maxlen=0, approximate=False)
        await until(told(recorder, "on_buried"))
    assert seen.tries == [(1, 1)]
    assert recorder.of("on_letters_dropped") == [(letters, 100)]


async def test_letters_dropped_for_the_rest_of_a_partition_are_told(client: redis.asyncio.Redis, name: str) -> None:
    retention = timedelta(seconds=20)
    source, now = PartitionedStream(client, name, retention=retention), datetime.now(timezone.utc)
    letters, key = await fill(client, name), source.key_for(now)
    # Its time is over, though it is there for some seconds more.
    await write(client, key, 1, at=now - 1.5 * retention)
    await raw(client).pexpire(key, 8000)
    recorder, seen = Recorder(), Seen()
    options: dict[str, Any] = {"dead_letters_maxlen": 1, "max_hold": timedelta(0)}
    async with consuming(consumer_of(client, source, recorder, **options), seen):
        await until(told(recorder, "on_expired_rest"))
    assert seen.numbers == []
    assert recorder.of("on_expired_rest") == [(key, GROUP, 1)]
    assert recorder.of("on_letters_dropped") == [(letters, 100)]
