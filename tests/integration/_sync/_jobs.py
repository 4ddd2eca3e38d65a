# Generated from tests/integration/asyncio/_jobs.py by tools/generate_sync.py: do not edit.
"""A short job for each block, from end to end, for every kind of client; a plain one looks at the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import redis

from streamkit import (
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
from tests.integration._sync._groups import GROUP, QUICK, Fields, Seen, consuming, letters_in, settled
from tests.integration._sync._readers import numbers_in, write
from tests.integration._sync._replays import numbers_of
from tests.integration._sync._runtime import until

Client: TypeAlias = redis.Redis


@dataclass
class Sum:
    """A state."""

    total: int = 0
    word: str = "grün"


def read(client: Client, plain: Client, name: str) -> None:
    """Read with a checkpoint in two goes, keep a sum, and pass on what was read in the same step."""
    source, target = f"{{{name}}}", f"{{{name}}}:out"
    reader = CheckpointedReader(client, source, f"{{{name}}}:state", state=Sum(), follow=False)
    for numbers, total in (((1, 2, 3), 6), ((4,), 10)):
        write(plain, source, *numbers)
        with reader:
            for entry in reader:
                reader.state.total += int(entry.value["n"])
                reader.emit(target, entry.value)
        saved = reader.saved()
        assert saved is not None
        assert saved.state == Sum(total)
    assert numbers_in(plain, target) == [1, 2, 3, 4]
    reader.reset()
    assert reader.saved() is None


def consume(client: Client, plain: Client, name: str) -> None:
    """Handle, retry, pass on with the ack, bury what is rejected, and dig it up again."""
    source, target, letters = f"{{{name}}}", f"{{{name}}}:out", f"{{{name}}}:dead-letters"
    cured = False

    def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number == 1 and delivery.attempt == 1:
            raise Retry("once more")
        if number == 2 and not cured:
            raise Reject("ill")
        delivery.emit(target, delivery.value)

    seen = Seen(handle)
    write(plain, source, 0, 1, 2)
    consumer = GroupConsumer(client, source, GROUP, "a", retry=QUICK)
    with consuming(consumer, seen):
        handled = settled(plain, source)
        until(handled)
        assert sorted(numbers_in(plain, target)) == [0, 1]
        assert [letter.reason for letter in letters_in(plain, letters)] == ["ill"]
        queue = DeadLetterQueue(client, letters)
        assert [letter.fields for letter in queue.letters()] == [{b"n": b"2"}]
        cured = True
        assert queue.redrive() == 1
        until(lambda: len(seen.handled) == 3)
        until(handled)
    assert sorted(numbers_in(plain, target)) == [0, 1, 2]
    assert queue.length() == 0
    assert consumer.leave()


def replay(client: Client, plain: Client, name: str) -> None:
    """Look at history forwards and backwards, play it, copy it."""
    source, target = f"{{{name}}}", f"{{{name}}}:copy"
    write(plain, source, 0, 1, 2)
    replayer = Replayer(client, source)
    assert numbers_of(replayer.entries()) == [0, 1, 2]
    assert numbers_of(replayer.entries(reverse=True, limit=2)) == [2, 1]
    played: list[int] = []

    def play(entry: Entry[Fields]) -> None:
        played.append(int(entry.value["n"]))

    assert replayer.play(play, speed=1000.0) == 3
    assert played == [0, 1, 2]
    assert replayer.copy(Stream(client, target)) == 3
    assert numbers_in(plain, target) == [0, 1, 2]


def guard(client: Client, plain: Client, name: str) -> None:
    """Handle an entry once that comes twice."""
    write(plain, name, 7)
    entry = next(Replayer(client, name).entries())
    handled: list[str] = []

    def handle(entry: object) -> None:
        handled.append("once")

    for _ in range(2):
        once(client, f"{name}:handler")(handle)(entry)
    assert handled == ["once"]


JOBS = {"read": read, "consume": consume, "replay": replay, "guard": guard}
