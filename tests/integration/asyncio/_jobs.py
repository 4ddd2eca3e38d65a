"""A short job for each block, from end to end, for every kind of client; a plain one looks at the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import redis.asyncio

from streamkit.asyncio import (
    CheckpointedReader,
    DeadLetterQueue,
    Delivery,
    Entry,
    GroupConsumer,
    Reject,
    Replayer,
    Retry,
    Stream,
    once,
)
from tests.integration.asyncio._groups import GROUP, QUICK, Fields, Seen, consuming, letters_in, settled
from tests.integration.asyncio._readers import numbers_in, write
from tests.integration.asyncio._replays import numbers_of
from tests.integration.asyncio._runtime import until

Client: TypeAlias = redis.asyncio.Redis


@dataclass
class Sum:
    """A state."""

    total: int = 0
    word: str = "grün"


async def read(client: Client, plain: Client, name: str) -> None:
    """Read with a checkpoint in two goes, keep a sum, and pass on what was read in the same step."""
    source, target = f"{{{name}}}", f"{{{name}}}:out"
    reader = CheckpointedReader(client, source, f"{{{name}}}:state", state=Sum(), follow=False)
    for numbers, total in (((1, 2, 3), 6), ((4,), 10)):
        await write(plain, source, *numbers)
        async with reader:
            async for entry in reader:
                reader.state.total += int(entry.value["n"])
                reader.emit(target, entry.value)
        saved = await reader.saved()
        assert saved is not None
        assert saved.state == Sum(total)
    assert await numbers_in(plain, target) == [1, 2, 3, 4]
    await reader.reset()
    assert await reader.saved() is None


async def consume(client: Client, plain: Client, name: str) -> None:
    """Handle, retry, pass on with the ack, bury what is rejected, and dig it up again."""
    source, target, letters = f"{{{name}}}", f"{{{name}}}:out", f"{{{name}}}:dead-letters"
    cured = False

    async def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number == 1 and delivery.attempt == 1:
            raise Retry("once more")
        if number == 2 and not cured:
            raise Reject("ill")
        delivery.emit(target, delivery.value)

    seen = Seen(handle)
    await write(plain, source, 0, 1, 2)
    consumer = GroupConsumer(client, source, GROUP, "a", retry=QUICK)
    async with consuming(consumer, seen):
        handled = settled(plain, source)
        await until(handled)
        assert sorted(await numbers_in(plain, target)) == [0, 1]
        assert [letter.reason for letter in await letters_in(plain, letters)] == ["ill"]
        queue = DeadLetterQueue(client, letters)
        assert [letter.fields async for letter in queue.letters()] == [{b"n": b"2"}]
        cured = True
        assert await queue.redrive() == 1
        await until(lambda: len(seen.handled) == 3)
        await until(handled)
    assert sorted(await numbers_in(plain, target)) == [0, 1, 2]
    assert await queue.length() == 0
    assert await consumer.leave()


async def replay(client: Client, plain: Client, name: str) -> None:
    """Look at history forwards and backwards, play it, copy it."""
    source, target = f"{{{name}}}", f"{{{name}}}:copy"
    await write(plain, source, 0, 1, 2)
    replayer = Replayer(client, source)
    assert await numbers_of(replayer.entries()) == [0, 1, 2]
    assert await numbers_of(replayer.entries(reverse=True, limit=2)) == [2, 1]
    played: list[int] = []

    async def play(entry: Entry[Fields]) -> None:
        played.append(int(entry.value["n"]))

    assert await replayer.play(play, speed=1000.0) == 3
    assert played == [0, 1, 2]
    assert await replayer.copy(Stream(client, target)) == 3
    assert await numbers_in(plain, target) == [0, 1, 2]


async def guard(client: Client, plain: Client, name: str) -> None:
    """Handle an entry once that comes twice."""
    await write(plain, name, 7)
    entry = await anext(Replayer(client, name).entries())
    handled: list[str] = []

    async def handle(entry: object) -> None:
        handled.append("once")

    for _ in range(2):
        await once(client, f"{name}:handler")(handle)(entry)
    assert handled == ["once"]


JOBS = {"read": read, "consume": consume, "replay": replay, "guard": guard}
