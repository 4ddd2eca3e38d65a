# Generated from tests/integration/asyncio/test_letters_of_streams.py by tools/generate_sync.py: do not edit.
"""A dead-letter queue of a stream: those of its partitions or shards, seen as one."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from streamkit import DeadLetterQueue, Delivery, GroupConsumer, InvalidArgument, Reject, Stream
from tests.integration._sync._groups import GROUP, Fields, consuming, settled
from tests.integration._sync._runtime import until
from tests.integration._sync._shards import sharded
from tests.integration._sync.test_cluster_streams import DAYS, partitions


def reject(delivery: Delivery[Fields]) -> None:
    raise Reject(delivery.value["n"])


def all_rejected(client: Any, stream: Any, keys: Any) -> None:
    with consuming(GroupConsumer(client, stream, GROUP, "a"), reject):
        for key in keys:
            until(settled(client, key))


def test_of_partitions_on_other_nodes(nodes: Any, word: str) -> None:
    stream = partitions(nodes, word)
    keys = stream.keys()
    all_rejected(nodes, stream, keys)
    queue = DeadLetterQueue(nodes, stream)
    assert queue.key == f"{{{word}}}:dead-letters"
    assert queue.length() == DAYS
    assert [letter.stream for letter in queue] == list(keys)
    assert [letter.stream for letter in queue.letters(reverse=True, limit=2)] == list(keys[:-3:-1])
    assert queue.redrive(limit=3) == 3
    assert queue.redrive(dry_run=True) == DAYS - 3
    fourth, *_ = [letter for letter in queue]
    assert queue.redrive([fourth]) == 1
    fifth, *_ = [letter for letter in queue]
    assert queue.discard([fifth]) == 1
    assert queue.discard(group=GROUP) == DAYS - 5
    assert queue.trim() == 0
    assert queue.length() == 0
    assert stream.length() == DAYS + 4


def test_of_two_letters_with_one_id_only_the_one_that_is_meant_goes(nodes: Any, word: str) -> None:
    stream = partitions(nodes, word)
    keys = stream.keys()
    all_rejected(nodes, stream, keys)
    queue = DeadLetterQueue(nodes, stream)
    first, second, third, *_ = [letter for letter in queue]
    assert first.key == f"{{{first.stream}}}:dead-letters"
    # Nodes number their letters each by its own clock, so that two of one millisecond may be alike.
    for letter in (second, third):
        ((_, fields),) = nodes.xrange(letter.key, str(letter.id), str(letter.id))
        nodes.unlink(letter.key)
        nodes.xadd(letter.key, fields, id=str(first.id))
    first, second, third, *_ = [letter for letter in queue]
    assert first.id == second.id == third.id
    for call in (queue.discard, queue.redrive):
        with pytest.raises(InvalidArgument, match=f"{first.id} is the ID of 3 letters"):
            call([first.id])
    assert queue.length() == DAYS
    assert queue.discard([second]) == 1
    assert queue.redrive([third]) == 1
    left = [letter.stream for letter in queue]
    assert left == [keys[0], *keys[3:]]
    assert stream.length() == DAYS + 1
    assert queue.discard([first.id]) == 1
    with pytest.raises(InvalidArgument, match="lies in"):
        DeadLetterQueue(nodes, first.key).discard([second])


def test_partitions_that_have_none_any_more_are_forgotten(nodes: Any, word: str) -> None:
    stream = partitions(nodes, word)
    first, *rest = stream.keys()
    all_rejected(nodes, stream, [first, *rest])
    queue, index = DeadLetterQueue(nodes, stream), f"{{{word}}}:dead-letter-partitions"
    assert nodes.scard(index) == DAYS
    nodes.unlink(first)
    assert queue.length() == DAYS  # its letters are left
    nodes.unlink(f"{{{first}}}:dead-letters")
    assert queue.length() == DAYS - 1
    assert {bytes(key).decode() for key in nodes.smembers(index)} == set(rest)


def test_a_partition_whose_letters_are_gone_is_not_forgotten_while_more_may_come(nodes: Any, word: str) -> None:
    stream = partitions(nodes, word)
    first, *rest = keys = stream.keys()
    all_rejected(nodes, stream, keys)
    queue, index = DeadLetterQueue(nodes, stream), f"{{{word}}}:dead-letter-partitions"
    nodes.unlink(f"{{{first}}}:dead-letters")
    assert [letter.stream for letter in queue] == rest
    assert {bytes(key).decode() for key in nodes.smembers(index)} == set(keys)
    nodes.xadd(first, {"n": 9})
    all_rejected(nodes, stream, keys)
    assert [letter.stream for letter in queue] == list(keys)


def test_no_letters_are_moved_to_where_one_step_cannot(nodes: Any, word: str) -> None:
    stream = partitions(nodes, word)
    all_rejected(nodes, stream, stream.keys())
    with pytest.raises(InvalidArgument, match="one slot"):
        DeadLetterQueue(nodes, stream).redrive(to=f"{word}:elsewhere")
    assert DeadLetterQueue(nodes, stream).length() == DAYS


def test_of_shards(store: Any, name: str) -> None:
    stream = sharded(store, name)
    stream.append_many({"n": n, "customer": f"c{n % 7}"} for n in range(20))
    all_rejected(store, stream, [shard.name for shard in stream.shards if shard.length()])
    queue = DeadLetterQueue(store, stream)
    assert queue.length() == 20
    assert sorted([int(letter.reason) for letter in queue]) == list(range(20))
    assert queue.redrive() == 20
    assert (queue.length(), stream.length()) == (0, 40)


def test_of_a_stream_on_one_server(client: redis.Redis, name: str) -> None:
    stream = partitions(client, name)
    all_rejected(client, stream, stream.keys())
    queue = DeadLetterQueue(client, stream)
    assert queue.length() == DeadLetterQueue(client, f"{{{name}}}:dead-letters").length() == DAYS
    assert queue.redrive() == DAYS
    with pytest.raises(InvalidArgument, match="itself"):
        queue.redrive(to=f"{{{name}}}:dead-letters")
    with pytest.raises(InvalidArgument, match="client of"):
        DeadLetterQueue(redis.Redis(port=1), Stream(client, name))
