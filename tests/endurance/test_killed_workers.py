"""kill -9 at random moments, under load, with handlers that fail and pills: nothing is lost, no effect is doubled."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from pathlib import Path

from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer
from tests.endurance.streams import numbers
from tests.endurance.waiting import background, until
from tests.endurance.workers import Workers, buried, pending, settled, workers, write
from tests.endurance.working import Plan

COUNT = 200_000
KILLS = 24
WORKERS = 4
SECONDS = 20.0
"""For so long entries come in and workers are killed."""
EFFECTS = 10
FAILING = 17
DEADLY = {"exit": 1, "abort": 1, "kill": 1}
MAX_DELIVERIES = 6


class Crew:
    """Four workers, of which one or another is killed, and all of which are started again."""

    def __init__(self, program: Workers, dice: random.Random) -> None:
        self.kills = 0
        self.deaths = 0
        self._program = program
        self._dice = dice
        self._numbers = itertools.count()
        self._lives: dict[int, tuple[str, int]] = {}
        for number in range(WORKERS):
            # Two that handle one at a time, two with several handlers.
            self._start(f"worker{number}", 1 if number % 2 else 4)

    def kill_one(self) -> None:
        """Kill one of them, at this moment, and start another."""
        self.revive()
        life = self._dice.choice(sorted(self._lives))
        name, concurrency = self._lives.pop(life)
        self._program.kill(life)
        self.kills += 1
        self._start_again(name, concurrency)

    def revive(self) -> None:
        """Start those again that a pill has killed."""
        for life in self._program.ended():
            self.deaths += 1
            self._start_again(*self._lives.pop(life))

    def stop(self) -> None:
        """Let them come to an end."""
        for life in self._lives:
            assert self._program.stop(life) == 0

    def _start_again(self, name: str, concurrency: int) -> None:
        # As a process manager with fixed names does it, or one with random ones.
        self._start(name if self._dice.random() < 0.5 else f"again{next(self._numbers)}", concurrency)

    def _start(self, name: str, concurrency: int) -> None:
        self._lives[self._program.start(name, concurrency)] = name, concurrency


def test_workers_killed_at_random_moments_lose_nothing_and_double_no_effect(
    half: Half, server: PrivateServer, tmp_path: Path
) -> None:
    dice = random.Random()
    pills = dice.sample(range(COUNT), FAILING + len(DEADLY))
    failing, deadly = pills[:FAILING], dict(zip(DEADLY, ([pill] for pill in pills[FAILING:]), strict=True))
    plan = Plan(
        half.name,
        server.url,
        str(tmp_path),
        max_deliveries=MAX_DELIVERIES,
        deadly=deadly,
        failing=failing,
        chance=0.05,
        effects=EFFECTS,
    )
    began = time.monotonic()
    written = threading.Event()

    def produce() -> None:
        chunk = COUNT // 100
        for first in range(0, COUNT, chunk):
            write(server.admin, first, first + chunk)
            due = began + SECONDS * (first + chunk) / COUNT
            time.sleep(max(0.0, due - time.monotonic()))
        written.set()

    with workers(plan) as program, background(produce) as producer:
        until(lambda: bool(server.admin.exists("in")), "the first entries are there")
        crew = Crew(program, dice)
        while crew.kills < KILLS:
            time.sleep(dice.uniform(0, 2 * SECONDS / KILLS))
            crew.kill_one()
        producer.until(written.is_set, "everything is written")

        def through() -> bool:
            crew.revive()
            return settled(server.admin)()

        until(through, "everything is settled")
        crew.stop()
        handled, starts = program.handled, program.started

    assert pending(server.admin) == {}
    letters = buried(server.admin)
    assert set(letters) == set(pills)
    # A kill may come between the last failure and its dead letter.
    assert {letters[number] for number in failing} <= {"exhausted", "abandoned"}
    assert {letters[pill] for (pill,) in deadly.values()} == {"abandoned"}
    assert crew.deaths > len(DEADLY)
    assert Counter(start.number for start in starts if start.number in pills).most_common(1)[0][1] <= MAX_DELIVERIES
    assert handled == set(range(COUNT)) - set(pills)
    output = Counter(numbers(server.admin, "out"))
    assert set(output) == {n for n in handled if n % EFFECTS == 0}
    assert set(output.values()) == {1}
    assert int(server.admin.hget("sums", "seen") or 0) == len(output)
    # What a pill or a kill took with it was handled again, and not much more than that.
    again = sum(start.attempt > 1 for start in starts)
    assert COUNT * 0.04 < again < COUNT * 0.12 + 300 * (crew.kills + crew.deaths)
