"""Looking at a group from outside: what is pending, and how far it lags behind."""

from __future__ import annotations

from datetime import timedelta

import redis.asyncio

from streamkit.asyncio import GroupConsumer, PartitionedStream, PendingEntry, Stream
from tests.integration.asyncio._groups import GROUP, strand
from tests.integration.asyncio._readers import key_of, midnight, raw, write


async def test_pending_entries_are_listed_oldest_first_whoever_holds_them(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(250))
    await strand(client, name, "a", 120)
    await strand(client, name, "b", 120)
    await client.xclaim(name, GROUP, "b", 0, [str(ids[0])])
    found = list[PendingEntry]()
    async for entry in GroupConsumer(client, name, GROUP).pending():
        assert entry.idle >= timedelta(0)
        found.append(entry)
    assert [entry.id for entry in found] == ids[:240]
    assert [entry.consumer for entry in found] == ["b"] + ["a"] * 119 + ["b"] * 120
    assert [entry.deliveries for entry in found] == [2] + [1] * 239
    assert {entry.stream for entry in found} == {name}
    assert max(entry.idle for entry in found) < timedelta(seconds=20)


async def test_where_there_is_no_group_nothing_is_pending_and_looking_makes_none(
    client: redis.asyncio.Redis, name: str
) -> None:
    consumer = GroupConsumer(client, name, GROUP)
    assert [entry.id async for entry in consumer.pending()] == []
    assert await consumer.lag() == 0
    assert await client.exists(name) == 0
    await write(client, name, 1, 2)
    assert [entry.id async for entry in consumer.pending()] == []
    assert await consumer.lag() == 2
    assert await raw(client).xinfo_groups(name) == []


async def test_the_lag_counts_what_was_not_handed_out_yet(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(10))
    consumer = GroupConsumer(client, name, GROUP)
    await strand(client, name, "a", 4)
    assert await consumer.lag() == 6
    await strand(client, name, "a", 6)
    assert await consumer.lag() == 0
    await write(client, name, 10)
    assert await consumer.lag() == 1


async def test_where_the_server_does_not_know_it_says_so(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(10))
    await strand(client, name, "a", 4)
    await client.xdel(name, str(ids[6]))
    consumer = GroupConsumer(client, name, GROUP)
    assert await consumer.lag() is None
    # At the newest ID there is nothing to know.
    await strand(client, name, "a", 6)
    assert await consumer.lag() == 0
    await raw(client).xgroup_create(name, "middle", str(ids[3]))
    assert await GroupConsumer(client, name, "middle").lag() is None
    other = f"{name}:other"
    await write(client, other, 1)
    assert await GroupConsumer(client, [other, name], "middle").lag() is None


async def test_the_lag_is_never_more_than_there_is(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(100))
    await strand(client, name, "a", 10)
    await client.xtrim(name, maxlen=5, approximate=False)
    assert await GroupConsumer(client, name, GROUP).lag() == 5
    await client.xtrim(name, maxlen=0, approximate=False)
    assert await GroupConsumer(client, name, GROUP).lag() == 0


async def test_over_several_sources_and_partitions_it_is_the_sum(client: redis.asyncio.Redis, name: str) -> None:
    days = PartitionedStream(client, name, retention=timedelta(days=3))
    for ago in (1, 0):
        await write(client, key_of(name, midnight(-ago)), 1, 2, at=midnight(-ago))
    plain = Stream(client, f"{name}:plain")
    await plain.append({"n": 1})
    await strand(client, key_of(name, midnight(-1)), "a", 1)
    consumer = GroupConsumer(client, [days, plain], GROUP)
    assert await consumer.lag() == 4
    assert [entry.stream async for entry in consumer.pending()] == [key_of(name, midnight(-1))]
