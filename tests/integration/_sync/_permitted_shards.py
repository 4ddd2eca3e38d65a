# Generated from tests/integration/asyncio/_permitted_shards.py by tools/generate_sync.py: do not edit.
"""The whole work of the blocks over a sharded stream, as in `_permitted`."""

from __future__ import annotations

from typing import Any

import redis

from streamkit import (
    CappedStream,
    CheckpointedReader,
    DeadLetterQueue,
    Entry,
    EntryId,
    PartitionedStream,
    ShardedReader,
    ShardedStream,
)
from streamkit._core.keys import companion
from tests.integration._sync._groups import letters_in
from tests.integration._sync._letters import bury_many
from tests.integration._sync._permitted import (
    Block,
    Fields,
    Picky,
    Places,
    Scene,
    append_in_every_way,
    consume,
    look_at_history,
)
from tests.integration._sync._readers import limited, midnight, numbers_in, raw

SHARDS = ("0", "1")


def sharded(client: redis.Redis, scene: Scene, **options: Any) -> ShardedStream[Fields]:
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


def write_shards(scene: Scene) -> None:
    for day, key in enumerate(keys_of(scene, "orders")):
        scene.write(key, 6, midnight(day - 1))


# Streams --------------------------------------------------------------------------------------------------------------


def append_to_shards(client: redis.Redis, scene: Scene) -> None:
    stream = sharded(client, scene)
    append_in_every_way(stream)
    assert sum(info.length for info in stream.info()) == 5


def append_to_capped_shards(client: redis.Redis, scene: Scene) -> None:
    def capped(client: redis.Redis, key: str) -> CappedStream:
        return CappedStream(client, key, maxlen=9)

    append_in_every_way(sharded(client, scene, of=capped))


def append_to_partitioned_shards(client: redis.Redis, scene: Scene) -> None:
    append_in_every_way(sharded(client, scene, of=PartitionedStream))


# Groups, readers, history ---------------------------------------------------------------------------------------------


def beside(scene: Scene) -> Places:
    """Each shard's invoices in its slot, and its dead letters."""

    def invoices(stream: str) -> str:
        return scene.key(f"invoices:{{{stream.partition('{')[2].partition('}')[0]}}}")

    return Places(invoices, lambda stream: companion(stream, "dead-letters"))


def consume_shards(client: redis.Redis, scene: Scene) -> None:
    consume(client, scene, sharded(client, scene), keys_of(scene, "orders"), beside(scene))


def read_shards(client: redis.Redis, scene: Scene) -> None:
    """One member, after another that died."""
    stream, totals = sharded(client, scene, codec=Picky()), scene.key("totals")
    raw(scene.admin).hset(companion(totals, "shards"), "member:gone", "1")
    good = [number for number in scene.written if number % 5 != 2]
    seen: list[int] = []

    def make(shard: Any, checkpoint: str) -> Any:
        return CheckpointedReader(client, shard, checkpoint, state={"seen": 0}, count=5)

    def handle(entry: Entry[Fields], reader: Any) -> None:
        seen.append(int(entry.value["n"]))
        reader.state["seen"] += 1
        reader.emit(entry.stream.replace("orders", "shipped"), entry.value)
        if len(seen) == len(good):
            member.stop()

    member: Any = ShardedReader(client, stream, totals, make)
    with limited(member):
        member.run(handle)
    shipped = [number for key in keys_of(scene, "shipped") for number in numbers_in(scene.admin, key)]
    assert shipped == good
    letters = [letters_in(scene.admin, companion(key, "dead-letters")) for key in keys_of(scene, "totals")]
    assert sum(map(len, letters)) == len(scene.written) - len(good)


def replay_shards(client: redis.Redis, scene: Scene) -> None:
    look_at_history(client, scene, sharded(client, scene), keys_of(scene, "orders")[-1], len(SHARDS))


# Dead letters ---------------------------------------------------------------------------------------------------------


def write_letters(scene: Scene) -> None:
    for key in keys_of(scene, "orders"):
        scene.write(key, 1)
        bury_many(scene.admin, companion(key, "dead-letters"), key, 4)


def look_at_letters_of_shards(client: redis.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, sharded(client, scene))
    assert len([letter.id for letter in letters]) == letters.length() == letters.count() == 8
    assert [letter.id for letter in letters.letters(reverse=True, limit=1)] == [EntryId(4)]


def mend_letters_of_shards(client: redis.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, sharded(client, scene))
    assert letters.redrive([each for each in letters if each.id.ms == 1]) == 2
    assert letters.redrive(limit=3) == 3
    assert letters.discard(["4-0"]) == 1
    assert letters.trim() == 0


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
