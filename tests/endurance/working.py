"""A program whose lives are killed, each a process with one consumer. Started as ``-m tests.endurance.working PLAN``.

It is told by lines on its standard input what to do, and answers each with a line: ``start NAME CONCURRENCY`` forks a
life and gives its process number; ``kill LIFE`` and ``stop LIFE`` (which lets it finish) give its exit code; ``ended``
gives the lives that ended by themselves since it was last asked. Only the parent of a life can know that its process
number is still its own.

A life writes down, at once and unbuffered, in files of its own, what it starts, has handled, and is told.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

import streamkit
from tests.endurance.halves import HALVES

GROUP = "workers"


@dataclass(frozen=True)
class Plan:
    """What lives do.

    Attributes:
        half: Which half of the library.
        url: The server; the source is the key ``in``, the output ``out``, the sums ``sums``.
        directory: Where they write down what they do.
        min_idle: Seconds.
        max_deliveries: As in the retry policy.
        deadly: Numbers whose handling ends the process, by the way in which it does: exit, abort or kill.
        failing: Numbers whose handling fails each time.
        failing_once: Numbers whose handling fails the first time, before anything else.
        chance: How probable it is that the handling of any other fails, at its first three attempts.
        effects: Numbers divisible by this are copied to the output and counted in the sums.
        slow: Numbers (as text, as JSON has it) whose handling takes so many seconds.
    """

    half: str
    url: str
    directory: str
    min_idle: float = 1.0
    max_deliveries: int = 3
    deadly: dict[str, list[int]] = field(default_factory=dict[str, "list[int]"])
    failing: list[int] = field(default_factory=list[int])
    failing_once: list[int] = field(default_factory=list[int])
    chance: float = 0.0
    effects: int = 1
    slow: dict[str, float] = field(default_factory=dict[str, float])

    def written(self) -> str:
        """The plan as text."""
        return json.dumps(asdict(self))


class Diary:
    """What one life does, in files that survive it."""

    def __init__(self, directory: str) -> None:
        mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._files = {
            kind: os.open(f"{directory}/{os.getpid()}.{kind}", mode) for kind in ("started", "handled", "told")
        }

    def write(self, kind: str, *words: object) -> None:
        """Write a line."""
        os.write(self._files[kind], f"{' '.join(map(str, words))}\n".encode())


class Telling(streamkit.Observer):
    """Writes down what concerns the lives' entries."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    @override
    def on_lease_lost(self, error: streamkit.LeaseLost) -> None:
        self._diary.write("told", "lost", error.entry_id)

    @override
    def on_claimed(self, stream: str, count: int) -> None:
        self._diary.write("told", "claimed", count)


def die(way: str) -> None:
    """End this process without a word."""
    if way == "exit":
        os._exit(7)
    if way == "abort":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.abort()
    os.kill(os.getpid(), signal.SIGKILL)


def consume(plan: Plan, name: str, concurrency: int) -> None:
    """Handle entries as planned, until SIGTERM."""
    diary, dice = Diary(plan.directory), random.Random()
    deadly = {number: way for way, numbers in plan.deadly.items() for number in numbers}
    failing, failing_once = set(plan.failing), set(plan.failing_once)

    def handle(delivery: Any) -> None:
        number = int(delivery.value["n"])
        diary.write("started", number, delivery.attempt, delivery.id)
        if number in failing_once and delivery.attempt == 1:
            raise ValueError(number)
        if number in deadly:
            die(deadly[number])
        if str(number) in plan.slow:
            time.sleep(plan.slow[str(number)])
        if number in failing or (delivery.attempt < 4 and dice.random() < plan.chance):
            raise ValueError(number)
        if number % plan.effects == 0:
            delivery.emit("out", {"n": number})
            delivery.execute("HINCRBY", "sums", "seen", 1)
        diary.write("handled", number)

    half = HALVES[plan.half]
    client = half.client(plan.url)
    policy = half.lib.RetryPolicy(
        max_deliveries=plan.max_deliveries, backoff=[timedelta(milliseconds=each) for each in (20, 50, 100)]
    )
    consumer = half.lib.GroupConsumer(
        client,
        "in",
        GROUP,
        name,
        min_idle_time=timedelta(seconds=plan.min_idle),
        retry=policy,
        observer=Telling(diary),
    )

    def stop(_number: int, _frame: object) -> None:
        consumer.stop()

    signal.signal(signal.SIGTERM, stop)
    half.consume(client, consumer, handle, concurrency=concurrency)


def live(plan: Plan, name: str, concurrency: int) -> NoReturn:
    """Consume, and end this process, come what may."""
    status = 1
    try:
        consume(plan, name, concurrency)
        status = 0
    except Exception:  # noqa: BLE001 - shown
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Do as told until there is nothing more to do."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    lives: set[int] = set()
    for line in sys.stdin:
        answer = ""
        match line.split():
            case ["start", name, concurrency]:
                life = os.fork()
                if not life:
                    live(plan, name, int(concurrency))
                lives.add(life)
                answer = str(life)
            case ["ended"]:
                found = [os.waitpid(life, os.WNOHANG)[0] for life in lives]
                lives.difference_update(found)
                answer = " ".join(str(life) for life in found if life)
            case [order, life]:
                if int(life) in lives:
                    os.kill(int(life), signal.SIGKILL if order == "kill" else signal.SIGTERM)
                    answer = str(os.waitstatus_to_exitcode(os.waitpid(int(life), 0)[1]))
                    lives.discard(int(life))
            case _:
                pass
        print(answer, flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
