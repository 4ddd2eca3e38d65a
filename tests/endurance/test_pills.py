"""Poison pills that kill the process: each buries itself, and none of its neighbours."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer
from tests.endurance.streams import numbers
from tests.endurance.waiting import until
from tests.endurance.workers import buried, pending, settled, workers, write
from tests.endurance.working import Plan

COUNT = 1000
PILL = 650
"""By then reads are as large as they get, and another one is on its way."""


@dataclass(frozen=True)
class Pill:
    """How it kills, whether the next process has the same name, and how many handlers there are."""

    way: str
    same_name: bool
    concurrency: int
    neighbours: int
    """As many as it takes with it, at least."""
    max_deliveries: int = 3


@pytest.mark.parametrize(
    "pill",
    [
        Pill("exit", same_name=True, concurrency=1, neighbours=100),
        Pill("abort", same_name=False, concurrency=1, neighbours=100),
        Pill("kill", same_name=True, concurrency=4, neighbours=0),
        Pill("exit", same_name=False, concurrency=4, neighbours=0),
        Pill("exit", same_name=True, concurrency=1, neighbours=100, max_deliveries=2),
        Pill("exit", same_name=False, concurrency=4, neighbours=0, max_deliveries=2),
    ],
    ids=str,
)
def test_a_pill_ends_in_the_dead_letters_and_its_neighbours_are_handled(
    half: Half, server: PrivateServer, tmp_path: Path, pill: Pill
) -> None:
    plan = Plan(
        half.name,
        server.url,
        str(tmp_path),
        min_idle=0.5,
        deadly={pill.way: [PILL]},
        effects=7,
        max_deliveries=pill.max_deliveries,
    )
    write(server.admin, 0, COUNT)
    deaths = 0
    with workers(plan) as program:
        names = itertools.repeat("worker") if pill.same_name else (f"worker{n}" for n in itertools.count())
        life = program.start(next(names), pill.concurrency)
        while not settled(server.admin)():
            until(lambda: bool(program.ended()) or settled(server.admin)(), "it dies, or gets through")
            if settled(server.admin)():
                break
            deaths += 1
            if deaths == 1:
                assert len(pending(server.admin)) > pill.neighbours
            life = program.start(next(names), pill.concurrency)
        assert program.stop(life) == 0
        starts = [start for start in program.started if start.number == PILL]
        assert sorted(start.attempt for start in starts) == [*range(1, pill.max_deliveries + 1)]
        assert program.handled == set(range(COUNT)) - {PILL}
    assert deaths == plan.max_deliveries
    assert buried(server.admin) == {PILL: "abandoned"}
    assert sorted(numbers(server.admin, "out")) == [n for n in range(0, COUNT, 7) if n != PILL]


def test_a_pill_among_what_was_taken_over_runs_alone(half: Half, server: PrivateServer, tmp_path: Path) -> None:
    """Neighbours of a pill's second start were settled before it, or not begun: at most one start of each is lost."""
    plan = Plan(half.name, server.url, str(tmp_path), min_idle=0.5, deadly={"kill": [PILL]}, max_deliveries=5)
    write(server.admin, 0, COUNT)
    with workers(plan) as program:
        life = program.start("worker0", 4)
        for n in itertools.count(1):
            until(lambda: bool(program.ended()) or settled(server.admin)(), "it dies, or gets through")
            if settled(server.admin)():
                break
            life = program.start(f"worker{n}", 4)
        assert program.stop(life) == 0
        starts = program.started
    # The first life had neighbours in hand, and the second, to which nobody is suspicious yet.
    assert max(start.attempt for start in starts if start.number != PILL) <= 3
    assert buried(server.admin) == {PILL: "abandoned"}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_succeeded_at_its_last_attempt_is_not_buried_by_a_pill_behind_it(
    half: Half, server: PrivateServer, tmp_path: Path, concurrency: int
) -> None:
    first, pill = range(8), 8
    plan = Plan(
        half.name,
        server.url,
        str(tmp_path),
        min_idle=0.5,
        max_deliveries=2,
        failing_once=[*first, pill],
        deadly={"exit": [pill]},
    )
    write(server.admin, 0, 10)
    with workers(plan) as program:
        program.start("worker", concurrency)
        until(lambda: bool(program.ended()), "it dies")
        life = program.start("worker", concurrency)
        until(settled(server.admin), "the rest is handled")
        assert program.stop(life) == 0
        handled = program.handled
    if concurrency == 1:
        # Each was settled before the next one began. Beside others, what ran with the pill goes the same way.
        assert buried(server.admin) == {pill: "abandoned"}
        assert handled == {*range(10)} - {pill}
    assert pill in buried(server.admin)
    assert handled | set(buried(server.admin)) == set(range(10))
