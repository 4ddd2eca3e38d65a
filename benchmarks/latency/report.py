"""The latencies as a table."""

from __future__ import annotations

import statistics

import redis

from benchmarks.latency import appends, deliveries
from benchmarks.latency.sample import percentile
from benchmarks.names import clear
from benchmarks.table import show_rows

APPENDS = 1000
DELIVERIES = 100
_HEAD = ("one entry", "beside", "ours p50", "p99", "theirs p50", "p99", "ours/theirs p50", "p99")


def _row(names: tuple[str, str], ours: list[list[float]], theirs: list[list[float]]) -> tuple[str, ...]:
    ratios = [
        statistics.median(
            percentile(our, share) / percentile(their, share) for our, their in zip(ours, theirs, strict=True)
        )
        for share in (50, 99)
    ]
    cells = [
        f"{percentile([second for run in runs for second in run], share):,.0f} us"
        for runs in (ours, theirs)
        for share in (50, 99)
    ]
    return (*names, *cells, *(f"{ratio:.2f}" for ratio in ratios))


def show_latencies(client: redis.Redis, rounds: int) -> None:
    """Measure in turn, ours and theirs, and print."""
    rows: list[tuple[str, ...]] = []
    for names, (our, their) in appends.pairs(client).items():
        clear(client)
        runs = [(appends.durations(our, APPENDS), appends.durations(their, APPENDS)) for _ in range(rounds + 1)][1:]
        rows.append(_row(names, [run[0] for run in runs], [run[1] for run in runs]))
    for names, (our_loop, their_loop) in {
        ("XADD until CheckpointedReader's loop has it", "XREAD BLOCK, nothing saved"): (
            deliveries.streamkit_loop,
            deliveries.bare_loop,
        ),
        ("XADD until GroupConsumer's handler has it", "XREADGROUP BLOCK, XACK"): (
            deliveries.group_loop,
            deliveries.bare_group_loop,
        ),
    }.items():
        clear(client)
        runs = [
            (deliveries.durations(our_loop, client, DELIVERIES), deliveries.durations(their_loop, client, DELIVERIES))
            for _ in range(rounds)
        ]
        rows.append(_row(names, [run[0] for run in runs], [run[1] for run in runs]))
    show_rows(_HEAD, rows)
