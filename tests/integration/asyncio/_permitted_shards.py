"""The whole work of the blocks over a sharded stream, as in `_permitted`."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from streamkit._core.keys import companion
from streamkit.asyncio import (
    CappedStream,
    CheckpointedReader,
    DeadLetterQueue,
    Entry,
    EntryId,
    PartitionedStream,
    ShardedReader,
    ShardedStream,
)
from tests.integration.asyncio._groups import letters_in
from tests.integration.asyncio._letters import bury_many
from tests.integration.asyncio._permitted import (
    Block,
    Fields,
    Picky,
    Places,
    Scene,
    append_in_every_way,
    consume,
    look_at_history,
)
from tests.integration.asyncio._readers import limited, midnight, numbers_in, raw

SHARDS = ("0", "1")


def sharded(client: redis.asyncio.Redis, scene: Scene, **options: Any) -> ShardedStream[Fields]:
    """The stream that the docs shard, here by whether a number is odd."""
    return ShardedStream(
        client, scene.key("orders"), shards=len(SHARDS), key=lambda value: shard_of(value["n"]), **options
    )


def shard_of(number: object) -> str:
    """A key that is hashed to the first shard for even numbers, to the second for odd ones."""
    return "da"[int(str(number)) % 2]


def keys_of(scene: Scene, name: str) -> list[str]:
    """The keys of this name, one for each shard."""
    return [scene.key(f"{name}:{{{shard}}}") for shard in SHARDS]


async def write_shards(scene: Scene) -> None:
    for day, key in enumerate(keys_of(scene, "orders")):
        await scene.write(key, 6, midnight(day - 1))


# Streams --------------------------------------------------------------------------------------------------------------


async def append_to_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    stream = sharded(client, scene)
    await append_in_every_way(stream)
    assert sum(info.length for info in await stream.info()) == 5


async def append_to_capped_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    def capped(client: redis.asyncio.Redis, key: str) -> CappedStream:
        return CappedStream(client, key, maxlen=9)

    await append_in_every_way(sharded(client, scene, of=capped))


async def append_to_partitioned_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    await append_in_every_way(sharded(client, scene, of=PartitionedStream))


# Groups, readers, history ---------------------------------------------------------------------------------------------


def beside(scene: Scene) -> Places:
    """Each shard's invoices in its slot, and its dead letters."""

    def invoices(stream: str) -> str:
        return scene.key(f"invoices:{{{stream.partition('{')[2].partition('}')[0]}}}")

    return Places(invoices, lambda stream: companion(stream, "dead-letters"))


async def consume_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    await consume(client, scene, sharded(client, scene), keys_of(scene, "orders"), beside(scene))


async def read_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    """One member, after another that died."""
    stream, totals = sharded(client, scene, codec=Picky()), scene.key("totals")
    await raw(scene.admin).hset(companion(totals, "shards"), "member:gone", "1")
    good = [number for number in scene.written if number % 5 != 2]
    seen: list[int] = []

    def make(shard: Any, checkpoint: str) -> Any:
        return CheckpointedReader(client, shard, checkpoint, state={"seen": 0}, count=5)

    async def handle(entry: Entry[Fields], reader: Any) -> None:
        seen.append(int(entry.value["n"]))
        reader.state["seen"] += 1
        reader.emit(entry.stream.replace("orders", "shipped"), entry.value)
        if len(seen) == len(good):
            member.stop()

    member: Any = ShardedReader(client, stream, totals, make)
    with limited(member):
        await member.run(handle)
    shipped = [number for key in keys_of(scene, "shipped") for number in await numbers_in(scene.admin, key)]
    assert shipped == good
    letters = [await letters_in(scene.admin, companion(key, "dead-letters")) for key in keys_of(scene, "totals")]
    assert sum(map(len, letters)) == len(scene.written) - len(good)


async def replay_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    await look_at_history(client, scene, sharded(client, scene), keys_of(scene, "orders")[-1], len(SHARDS))


# Dead letters ---------------------------------------------------------------------------------------------------------


async def write_letters(scene: Scene) -> None:
    for key in keys_of(scene, "orders"):
        await scene.write(key, 1)
        await bury_many(scene.admin, companion(key, "dead-letters"), key, 4)


async def look_at_letters_of_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, sharded(client, scene))
    assert len([letter.id async for letter in letters]) == await letters.length() == await letters.count() == 8
    assert [letter.id async for letter in letters.letters(reverse=True, limit=1)] == [EntryId(4)]


async def mend_letters_of_shards(client: redis.asyncio.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, sharded(client, scene))
    assert await letters.redrive([each async for each in letters if each.id.ms == 1]) == 2
    assert await letters.redrive(limit=3) == 3
    assert await letters.discard(["4-0"]) == 1
    assert await letters.trim() == 0


SHARDED = {
    "market": Block(append_to_shards),
    "packer": Block(consume_shards, write_shards),
    "adder": Block(read_shards, write_shards),
    "historian": Block(replay_shards, write_shards),
}
"""By the users that the docs give the blocks."""

LIKE_PLAIN = {
    "gauge": Block(append_to_capped_shards),
    "station": Block(append_to_partitioned_shards),
    "viewer": Block(look_at_letters_of_shards, write_letters),
    "support": Block(mend_letters_of_shards, write_letters),
}
"""By the users whose rules hold for shards, too, with the keys of shards."""
