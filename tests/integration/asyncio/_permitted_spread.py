"""The whole work of the blocks that have other keys on a cluster, as in `_permitted`."""

from __future__ import annotations

from datetime import timedelta

import redis.asyncio

from streamkit._core.keys import companion
from streamkit.asyncio import DeadLetterQueue, EntryId, PartitionedStream
from tests.integration.asyncio._letters import bury_many
from tests.integration.asyncio._permitted import (
    Block,
    Places,
    Scene,
    charge_once,
    consume,
    keys_of,
    write_days,
)
from tests.integration.asyncio._readers import key_of, midnight, raw

LETTERS = 4
"""In each of three partitions."""


async def consume_apart(client: redis.asyncio.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"))
    places = Places(lambda key: companion(key, "invoices"), lambda key: companion(key, "dead-letters"))
    await consume(client, scene, temps, await keys_of(scene, "temps"), places, max_hold=timedelta(0))


async def write_letters_apart(scene: Scene) -> None:
    """Three days with letters, and one that is gone with all it had."""
    index = companion(scene.key("temps"), "dead-letter-partitions")
    for days in range(4):
        key = key_of(scene.key("temps"), midnight(-days))
        await raw(scene.admin).sadd(index, key)
        if days < 3:
            await scene.write(key, 1)
            await bury_many(scene.admin, companion(key, "dead-letters"), key, LETTERS)


def queue_of(client: redis.asyncio.Redis, scene: Scene) -> DeadLetterQueue:
    return DeadLetterQueue(client, PartitionedStream(client, scene.key("temps")))


async def look_at_letters_apart(client: redis.asyncio.Redis, scene: Scene) -> None:
    letters = queue_of(client, scene)
    assert len([letter.id async for letter in letters]) == await letters.length() == await letters.count() == 12
    assert [letter.id async for letter in letters.letters(reverse=True, limit=1)] == [EntryId(LETTERS)]


async def mend_letters_apart(client: redis.asyncio.Redis, scene: Scene) -> None:
    letters = queue_of(client, scene)
    assert await letters.redrive(dry_run=True) == 12
    assert await letters.redrive([each async for each in letters if each.id.ms == 1]) == 3
    assert await letters.redrive(limit=3) == 3
    assert await letters.discard([each async for each in letters if each.id.ms == 3]) == 2
    assert await letters.discard(end="4-0") == 4
    assert await letters.trim() == 0


SPREAD = {
    "analyst": Block(consume_apart, write_days, resumes=True),
    "viewer": Block(look_at_letters_apart, write_letters_apart),
    "support": Block(mend_letters_apart, write_letters_apart),
    "cashier": Block(charge_once),
}
"""By the users that the docs give the blocks."""
