"""A dead-letter queue of a stream: those of its partitions or shards, seen as one."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import DeadLetterQueue, Delivery, GroupConsumer, InvalidArgument, Reject, Stream
from tests.integration.asyncio._groups import GROUP, Fields, consuming, settled
from tests.integration.asyncio._runtime import until
from tests.integration.asyncio._shards import sharded
from tests.integration.asyncio.test_cluster_streams import DAYS, partitions


async def reject(delivery: Delivery[Fields]) -> None:
    raise Reject(delivery.value["n"])


async def all_rejected(client: Any, stream: Any, keys: Any) -> None:
    async with consuming(GroupConsumer(client, stream, GROUP, "a"), reject):
        for key in keys:
            await until(settled(client, key))


async def test_of_partitions_on_other_nodes(nodes: Any, word: str) -> None:
    stream = await partitions(nodes, word)
    keys = await stream.keys()
    await all_rejected(nodes, stream, keys)
    queue = DeadLetterQueue(nodes, stream)
    assert queue.key == f"{{{word}}}:dead-letters"
    assert await queue.length() == DAYS
    assert [letter.stream async for letter in queue] == list(keys)
    assert [letter.stream async for letter in queue.letters(reverse=True, limit=2)] == list(keys[:-3:-1])
    assert await queue.redrive(limit=3) == 3
    assert await queue.redrive(dry_run=True) == DAYS - 3
    fourth, *_ = [letter async for letter in queue]
    assert await queue.redrive([fourth]) == 1
    fifth, *_ = [letter async for letter in queue]
    assert await queue.discard([fifth]) == 1
    assert await queue.discard(group=GROUP) == DAYS - 5
    assert await queue.trim() == 0
    assert await queue.length() == 0
    assert await stream.length() == DAYS + 4


async def test_of_two_letters_with_one_id_only_the_one_that_is_meant_goes(nodes: Any, word: str) -> None:
    stream = await partitions(nodes, word)
    keys = await stream.keys()
    await all_rejected(nodes, stream, keys)
    queue = DeadLetterQueue(nodes, stream)
    first, second, third, *_ = [letter async for letter in queue]
    assert first.key == f"{{{first.stream}}}:dead-letters"
    # Nodes number their letters each by its own clock, so that two of one millisecond may be alike.
    for letter in (second, third):
        ((_, fields),) = await nodes.xrange(letter.key, str(letter.id), str(letter.id))
        await nodes.unlink(letter.key)
        await nodes.xadd(letter.key, fields, id=str(first.id))
    first, second, third, *_ = [letter async for letter in queue]
    assert first.id == second.id == third.id
    for call in (queue.discard, queue.redrive):
        with pytest.raises(InvalidArgument, match=f"{first.id} is the ID of 3 letters"):
            await call([first.id])
    assert await queue.length() == DAYS
    assert await queue.discard([second]) == 1
    assert await queue.redrive([third]) == 1
    left = [letter.stream async for letter in queue]
    assert left == [keys[0], *keys[3:]]
    assert await stream.length() == DAYS + 1
    assert await queue.discard([first.id]) == 1
    with pytest.raises(InvalidArgument, match="lies in"):
        await DeadLetterQueue(nodes, first.key).discard([second])


async def test_partitions_that_have_none_any_more_are_forgotten(nodes: Any, word: str) -> None:
    stream = await partitions(nodes, word)
    first, *rest = await stream.keys()
    await all_rejected(nodes, stream, [first, *rest])
    queue, index = DeadLetterQueue(nodes, stream), f"{{{word}}}:dead-letter-partitions"
    assert await nodes.scard(index) == DAYS
    await nodes.unlink(first)
    assert await queue.length() == DAYS  # its letters are left
    await nodes.unlink(f"{{{first}}}:dead-letters")
    assert await queue.length() == DAYS - 1
    assert {bytes(key).decode() for key in await nodes.smembers(index)} == set(rest)


async def test_a_partition_whose_letters_are_gone_is_not_forgotten_while_more_may_come(nodes: Any, word: str) -> None:
    stream = await partitions(nodes, word)
    first, *rest = keys = await stream.keys()
    await all_rejected(nodes, stream, keys)
    queue, index = DeadLetterQueue(nodes, stream), f"{{{word}}}:dead-letter-partitions"
    await nodes.unlink(f"{{{first}}}:dead-letters")
    assert [letter.stream async for letter in queue] == rest
    assert {bytes(key).decode() for key in await nodes.smembers(index)} == set(keys)
    await nodes.xadd(first, {"n": 9})
    await all_rejected(nodes, stream, keys)
    assert [letter.stream async for letter in queue] == list(keys)


async def test_no_letters_are_moved_to_where_one_step_cannot(nodes: Any, word: str) -> None:
    stream = await partitions(nodes, word)
    await all_rejected(nodes, stream, await stream.keys())
    with pytest.raises(InvalidArgument, match="one slot"):
        await DeadLetterQueue(nodes, stream).redrive(to=f"{word}:elsewhere")
    assert await DeadLetterQueue(nodes, stream).length() == DAYS


async def test_of_shards(store: Any, name: str) -> None:
    stream = sharded(store, name)
    await stream.append_many({"n": n, "customer": f"c{n % 7}"} for n in range(20))
    await all_rejected(store, stream, [shard.name for shard in stream.shards if await shard.length()])
    queue = DeadLetterQueue(store, stream)
    assert await queue.length() == 20
    assert sorted([int(letter.reason) async for letter in queue]) == list(range(20))
    assert await queue.redrive() == 20
    assert (await queue.length(), await stream.length()) == (0, 40)


async def test_of_a_stream_on_one_server(client: redis.asyncio.Redis, name: str) -> None:
    stream = await partitions(client, name)
    await all_rejected(client, stream, await stream.keys())
    queue = DeadLetterQueue(client, stream)
    assert await queue.length() == await DeadLetterQueue(client, f"{{{name}}}:dead-letters").length() == DAYS
    assert await queue.redrive() == DAYS
    with pytest.raises(InvalidArgument, match="itself"):
        await queue.redrive(to=f"{{{name}}}:dead-letters")
    with pytest.raises(InvalidArgument, match="client of"):
        DeadLetterQueue(redis.asyncio.Redis(port=1), Stream(client, name))
