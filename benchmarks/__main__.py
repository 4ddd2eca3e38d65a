"""Run the benchmarks: ``python -m benchmarks [--check] [--redis-url URL]``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import redis
import redis.asyncio

from benchmarks.aggregating import contests as aggregating
from benchmarks.appending import contests as appending
from benchmarks.consuming import contests as consuming
from benchmarks.consuming.libraries import show_libraries
from benchmarks.contest import Contest, Result
from benchmarks.latency.report import show_latencies
from benchmarks.machine import describe, require_hiredis
from benchmarks.names import clear
from benchmarks.readings import make_readings
from benchmarks.table import show
from benchmarks.timing import hold
from streamkit.testing import redis_server

SUBJECTS = ("append", "aggregate", "group", "libraries", "latency")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--redis-url", help="a server to use; an embedded one is started unless given")
    parser.add_argument("--readings", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="how often everybody runs (%(default)s)")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="leave the others out; may be repeated")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promised ratio was missed")
    return parser.parse_args()


@contextmanager
def _event_loop(url: str) -> Iterator[tuple[asyncio.AbstractEventLoop, redis.asyncio.Redis]]:
    loop = asyncio.new_event_loop()
    client = redis.asyncio.Redis.from_url(url, decode_responses=True)
    try:
        yield loop, client
    finally:
        loop.run_until_complete(client.aclose())
        loop.close()


def _contests(url: str, client: redis.Redis, count: int, subjects: Sequence[str]) -> Iterator[Contest]:
    readings = make_readings(count)
    with _event_loop(url) as (loop, own):
        if "append" in subjects:
            yield appending.synchronous(client, readings)
            yield appending.asynchronous(client, loop, own, readings)
        if "aggregate" in subjects:
            work = aggregating.Aggregation(client, readings)
            yield aggregating.synchronous(client, work)
            yield aggregating.asynchronous(loop, own, work)
        if "group" in subjects:
            events = consuming.Events(client, 2 * count)
            yield consuming.synchronous(client, events)
            yield consuming.asynchronous(loop, own, events)


def _run(url: str, arguments: argparse.Namespace) -> list[Result]:
    subjects: Sequence[str] = arguments.only or SUBJECTS
    results: list[Result] = []
    with redis.Redis.from_url(url, decode_responses=True) as client:
        print(
            describe(client), f"{'work':>10}: {arguments.readings:,} readings, {arguments.rounds} rounds", "", sep="\n"
        )
        try:
            for contest in _contests(url, client, arguments.readings, subjects):
                print(f"{contest.title} …", flush=True)
                results += hold(contest, arguments.rounds)
            if results:
                print()
                show(results)
            if "libraries" in subjects:
                print()
                show_libraries(client, url, rounds=3)
            if "latency" in subjects:
                print()
                show_latencies(client, arguments.rounds)
        finally:
            clear(client)
    return results


def main() -> int:
    """Run what was asked for; 1 if a promise was missed and that is to be an error."""
    arguments = _arguments()
    require_hiredis()
    with nullcontext(arguments.redis_url) if arguments.redis_url else redis_server() as url:
        results = _run(url, arguments)
    missed = [result for result in results if not result.kept]
    for result in missed:
        print(f"MISSED: {result.title} against {result.rival}: {result.ratio:.2f}, promised {result.promised:g}")
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
