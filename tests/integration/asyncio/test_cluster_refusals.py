"""What one step cannot touch on a cluster is refused before anything is sent, with keys that would do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis.asyncio

from streamkit._core.slots import slot_of
from streamkit.asyncio import (
    CappedStream,
    CheckpointedReader,
    DeadLetterQueue,
    Delivery,
    GroupConsumer,
    InvalidArgument,
    PartitionedStream,
    Reject,
    RetryPolicy,
    Stream,
)
from tests.integration.asyncio._groups import GROUP, Fields, consuming, settled
from tests.integration.asyncio._readers import numbers_in, write
from tests.integration.asyncio._runtime import until


@contextmanager
def refused(what: str, key: str, other: str) -> Iterator[None]:
    """What is done is refused for these keys, and the keys that are proposed lie together."""
    with pytest.raises(InvalidArgument) as caught:
        yield
    check(caught.value, what, key, other)


def check(error: Exception, what: str, key: str, other: str) -> None:
    """An error names the keys, and those that it proposes lie together."""
    message = str(error)
    assert isinstance(error, InvalidArgument)
    assert message.startswith(f"{what}: on a Redis Cluster one atomic step touches keys of one slot, and '{other}")
    assert f" than {key!r};" in message
    proposed = re.findall(r"such as '(.*)' and '(.*)'$", message)[0]
    assert slot_of(proposed[0]) == slot_of(proposed[1])
    assert all("{" in each for each in proposed)


async def read_one(client: Any, word: str, use: Any, checkpoint: str) -> None:
    """Read an entry, and do something with the reader while it is in hand."""
    await write(client, word, 1)
    reader = CheckpointedReader(client, word, checkpoint, follow=False)
    async with reader:
        async for _ in reader:
            use(reader)


def to_a_key(word: str) -> Any:
    def use(loop: Any) -> None:
        loop.emit(f"{word}:out", {"n": "1"})

    return use


def to_partitions(client: Any, word: str) -> Any:
    def use(loop: Any) -> None:
        loop.emit(PartitionedStream(client, f"{word}:out"), {"n": "1"})

    return use


def to_a_counter(word: str) -> Any:
    def use(loop: Any) -> None:
        loop.execute("HINCRBY", f"{word}:counts", "seen", 1)

    return use


async def test_what_belongs_to_another_server_is_refused_with_both_addresses(
    client: redis.asyncio.Redis, nodes: Any, word: str
) -> None:
    here, there = "a client of 127.0.0.1:", "the cluster of 127.0.0.1:"
    with pytest.raises(InvalidArgument, match=f"the source '{word}' belongs to {here}.*, not of {there}.*, 127"):
        CheckpointedReader(nodes, Stream(client, word), f"{word}:state")
    with pytest.raises(InvalidArgument, match=f"the source '{word}' belongs to a client of {there}.*, not of 127"):
        CheckpointedReader(client, Stream(nodes, word), f"{word}:state")


async def test_a_readers_steps_touch_the_slot_of_its_checkpoint(nodes: Any, word: str) -> None:
    state = f"{word}:state"
    with refused(f"emit to '{word}:out'", state, f"{word}:out"):
        await read_one(nodes, word, to_a_key(word), state)
    with refused(f"emit to '{word}:out'", state, f"{word}:out:"):
        await read_one(nodes, word, to_partitions(nodes, word), state)
    with refused(f"HINCRBY of '{word}:counts'", state, f"{word}:counts"):
        await read_one(nodes, word, to_a_counter(word), state)
    with refused(f"dead_letters of checkpoint '{state}'", state, "letters"):
        CheckpointedReader(nodes, word, state, dead_letters="letters")
    assert await nodes.exists(f"{word}:out") == 0
    CheckpointedReader(nodes, word, state, dead_letters=f"{{{state}}}:letters")


async def test_a_reader_of_a_standalone_server_is_not_refused(client: redis.asyncio.Redis, name: str) -> None:
    state = f"{name}:state"
    for use in (to_a_key(name), to_partitions(client, name), to_a_counter(name)):
        await read_one(client, name, use, state)
    CheckpointedReader(client, name, state, dead_letters="letters")
    assert await numbers_in(client, f"{name}:out") == [1]
    assert await PartitionedStream(client, f"{name}:out").length() == 1


async def handle_one(client: Any, word: str, use: Any) -> Exception:
    """Have an entry handled by something that is done with its delivery; what that raised."""
    await write(client, word, 1)
    errors = list[Exception]()

    async def handle(delivery: Delivery[Fields]) -> None:
        try:
            use(delivery)
        except Exception as error:
            errors.append(error)
            raise

    consumer = GroupConsumer(client, word, GROUP, "a", retry=RetryPolicy(max_deliveries=1))
    async with consuming(consumer, handle):
        await until(settled(client, word))
    return errors[0] if errors else Exception("nothing was raised")


async def test_a_deliverys_effects_touch_the_slot_of_its_stream(nodes: Any, word: str) -> None:
    check(await handle_one(nodes, word, to_a_key(word)), f"emit to '{word}:out'", word, f"{word}:out")
    partitions = to_partitions(nodes, word)
    check(await handle_one(nodes, word, partitions), f"emit to '{word}:out'", word, f"{word}:out:")
    counter = to_a_counter(word)
    check(await handle_one(nodes, word, counter), f"HINCRBY of '{word}:counts'", word, f"{word}:counts")
    assert await DeadLetterQueue(nodes, f"{{{word}}}:dead-letters").length() == 3


async def test_a_delivery_of_a_standalone_server_is_not_refused(client: redis.asyncio.Redis, name: str) -> None:
    for use in (to_a_key(name), to_partitions(client, name), to_a_counter(name)):
        assert str(await handle_one(client, name, use)) == "nothing was raised"


def test_dead_letters_of_a_group_lie_in_the_slot_of_all_its_sources(nodes: Any, word: str) -> None:
    what = f"dead_letters of group '{GROUP}'"
    with refused(what, "letters", word):
        GroupConsumer(nodes, word, GROUP, dead_letters="letters")
    with refused(what, f"{{{word}}}:letters", "other"):
        GroupConsumer(nodes, [word, "other"], GROUP, dead_letters=f"{{{word}}}:letters")
    with refused(what, f"{{{word}}}:letters", f"{word}:"):
        GroupConsumer(nodes, PartitionedStream(nodes, word), GROUP, dead_letters=f"{{{word}}}:letters")
    GroupConsumer(nodes, [word, f"{{{word}}}:2"], GROUP, dead_letters=f"{{{word}}}:letters")
    tagged = PartitionedStream(nodes, f"{{{word}}}:temps")
    GroupConsumer(nodes, tagged, GROUP, dead_letters=f"{{{word}}}:letters")


def test_dead_letters_of_a_standalone_server_may_lie_anywhere(client: redis.asyncio.Redis, name: str) -> None:
    GroupConsumer(client, [name, f"{name}:2", f"{name}:3"], GROUP, dead_letters="letters")


async def test_an_idempotency_key_lies_in_the_slot_of_all_partitions(nodes: Any, word: str) -> None:
    stream = PartitionedStream(nodes, word)
    with refused("idempotency_key", f"{{{word}}}:once:k", f"{word}:"):
        await stream.append({"n": 1}, idempotency_key="k")
    assert await stream.length() == 0
    await PartitionedStream(nodes, f"{{{word}}}:temps").append({"n": 1}, idempotency_key="k")
    for key in (word, f"a{{{word}}}b", f"{word}{{", f"{word}{{x"):
        await Stream(nodes, key).append({"n": 1}, idempotency_key="k")


async def test_letters_are_moved_back_within_their_slot(nodes: Any, word: str) -> None:
    await write(nodes, word, 1)

    async def handle(delivery: Delivery[Fields]) -> None:
        raise Reject("ill")

    async with consuming(GroupConsumer(nodes, word, GROUP, "a"), handle):
        await until(settled(nodes, word))
    queue = DeadLetterQueue(nodes, f"{{{word}}}:dead-letters")
    for to in (f"{word}:out", Stream(nodes, f"{word}:out"), PartitionedStream(nodes, f"{word}:out")):
        with refused("redrive", queue.key, f"{word}:out"):
            await queue.redrive(to=to)
    assert await queue.length() == 1
    assert await queue.redrive(to=f"{{{word}}}:out") == 1


async def test_letters_of_a_reader_go_back_only_where_one_step_can_take_them(nodes: Any, word: str) -> None:
    for source, state in ((word, f"{word}:state"), (f"{{{word}}}:temps", f"{{{word}}}:state")):
        await nodes.xadd(source, {"n": b"\xff"})
        reader = CheckpointedReader(nodes, source, state, follow=False)
        async with reader:
            assert [entry async for entry in reader] == []
    apart = DeadLetterQueue(nodes, f"{{{word}:state}}:dead-letters")
    with refused("redrive", apart.key, word):
        await apart.redrive()
    with refused("redrive", apart.key, word):
        await apart.redrive([letter.id async for letter in apart])
    assert await apart.length() == 1
    assert await DeadLetterQueue(nodes, f"{{{word}}}:state:dead-letters").redrive() == 1


@pytest.mark.parametrize("braces", ["}", "{}", "}{", "{}{tag}"])
async def test_a_name_with_braces_that_are_no_tag_is_refused_at_once(nodes: Any, word: str, braces: str) -> None:
    name = f"{word}{braces}"
    for what, make in (
        ("a stream", lambda: Stream(nodes, name)),
        ("a stream", lambda: CappedStream(nodes, name, maxlen=1)),
        ("a stream", lambda: PartitionedStream(nodes, name)),
        ("a source", lambda: GroupConsumer(nodes, name, GROUP)),
    ):
        with refused(f"keys beside {what}", name, "{"):
            make()


async def test_braces_that_are_no_tag_do_no_harm_on_a_standalone_server(client: redis.asyncio.Redis, name: str) -> None:
    stream = Stream(client, f"{name}}}")
    assert await stream.append_many([{"n": 1}, {"n": 2}]) == 2
    assert await stream.length() == 2
