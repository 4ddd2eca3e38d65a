"""Timing a contest: A B C, A B C, …, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.contest import Contest, Contestant, Result


@dataclass(frozen=True)
class _Run:
    """What one run took an entry, in seconds: on the wall, and of this process's CPU time."""

    wall: float
    cpu: float


def _timed(contestant: Contestant, *, thorough: bool) -> _Run:
    """One run, its result checked."""
    contestant.reset()
    gc.collect()
    start, start_cpu = time.perf_counter(), time.process_time()
    contestant.run()
    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    contestant.check(thorough)
    return _Run(wall / contestant.entries, cpu / contestant.entries)


def hold(contest: Contest, rounds: int) -> Iterator[Result]:
    """Let everybody run once for nothing, then so many times in turn; the results come at the end."""
    everybody = (contest.ours, *(rival.contestant for rival in contest.rivals))
    for contestant in everybody:
        _timed(contestant, thorough=True)
    # The readings are nobody's garbage: keep the collector from going through them in the middle of a run.
    gc.freeze()
    runs = [[_timed(contestant, thorough=False) for contestant in everybody] for _ in range(rounds)]
    gc.unfreeze()
    ours = [row[0] for row in runs]
    for column, rival in enumerate(contest.rivals, start=1):
        theirs = [row[column] for row in runs]
        ratios = [their.wall / our.wall for our, their in zip(ours, theirs, strict=True)]
        yield Result(
            title=contest.title,
            rival=rival.contestant.name,
            promised=rival.promised,
            ratio=median(ratios),
            lowest=min(ratios),
            highest=max(ratios),
            our_rate=1 / median(run.wall for run in ours),
            rival_rate=1 / median(run.wall for run in theirs),
            our_cpu=median(run.cpu for run in ours),
            rival_cpu=median(run.cpu for run in theirs),
        )
