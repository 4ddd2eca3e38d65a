# Generated from tests/integration/asyncio/_permitted_spread.py by tools/generate_sync.py: do not edit.
"""The whole work of the blocks that have other keys on a cluster, as in `_permitted`."""

from __future__ import annotations

from datetime import timedelta

import redis

from streamkit import DeadLetterQueue, EntryId, PartitionedStream
from streamkit._core.keys import companion
from tests.integration._sync._letters import bury_many
from tests.integration._sync._permitted import (
    Block,
    Places,
    Scene,
    charge_once,
    consume,
    keys_of,
    write_days,
)
from tests.integration._sync._readers import key_of, midnight, raw

LETTERS = 4
"""In each of three partitions."""


def consume_apart(client: redis.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"))
    places = Places(lambda key: companion(key, "invoices"), lambda key: companion(key, "dead-letters"))
    consume(client, scene, temps, keys_of(scene, "temps"), places, max_hold=timedelta(0))


def write_letters_apart(scene: Scene) -> None:
    """Three days with letters, and one that is gone with all it had."""
    index = companion(scene.key("temps"), "dead-letter-partitions")
    for days in range(4):
        key = key_of(scene.key("temps"), midnight(-days))
        raw(scene.admin).sadd(index, key)
        if days < 3:
            scene.write(key, 1)
            bury_many(scene.admin, companion(key, "dead-letters"), key, LETTERS)


def queue_of(client: redis.Redis, scene: Scene) -> DeadLetterQueue:
    return DeadLetterQueue(client, PartitionedStream(client, scene.key("temps")))


def look_at_letters_apart(client: redis.Redis, scene: Scene) -> None:
    letters = queue_of(client, scene)
    assert len([letter.id for letter in letters]) == letters.length() == letters.count() == 12
    assert [letter.id for letter in letters.letters(reverse=True, limit=1)] == [EntryId(LETTERS)]


def mend_letters_apart(client: redis.Redis, scene: Scene) -> None:
    letters = queue_of(client, scene)
    assert letters.redrive(dry_run=True) == 12
    assert letters.redrive([each for each in letters if each.id.ms == 1]) == 3
    assert letters.redrive(limit=3) == 3
    assert letters.discard([each for each in letters if each.id.ms == 3]) == 2
    assert letters.discard(end="4-0") == 4
    assert letters.trim() == 0


SPREAD = {
    "analyst": Block(consume_apart, write_days, resumes=True),
    "viewer": Block(look_at_letters_apart, write_letters_apart),
    "support": Block(mend_letters_apart, write_letters_apart),
    "cashier": Block(charge_once),
}
"""By the users that the docs give the blocks."""
