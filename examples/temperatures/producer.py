"""Writes days of temperature readings: a random walk between 0 and 100 F, one step a second.

    python examples/temperatures/producer.py [--days 10] [--start 2025-01-01] [--seed 1] [--redis-url URL]

Shows `PartitionedStream`: a generator of any length is written in little memory, and every day's partition gets its
expiry in the same step as its readings. Whatever earlier runs left is removed first.
"""

from __future__ import annotations

import sys

if not __package__:  # run as a file: this directory's inspect.py must not pass for Python's own
    sys.path[0] = sys.path[0].removesuffix("/examples/temperatures")

import argparse
import random
import time
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from examples.temperatures import common
from examples.temperatures.progress import tracked

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from streamkit import PartitionedStream

SECOND = timedelta(seconds=1)
SECONDS_A_DAY = 86_400


def random_walk(count: int, seed: int | None) -> Iterator[dict[str, int]]:
    """So many readings, each a step of one degree from the one before."""
    chance = random.Random(seed)
    temperature = chance.randint(20, 80)
    for _ in range(count):
        temperature = max(0, min(100, temperature + chance.choice((-1, 1))))
        yield {"temp_f": temperature}


def clock(start: datetime, count: int) -> Iterator[datetime]:
    """A moment for each reading, a second apart."""
    return (start + second * SECOND for second in range(count))


def check_times(client: redis.Redis, first: datetime, last: datetime) -> None:
    """Have readings that the stream would refuse refused now, with nothing touched: on a stream just for this."""
    trial = common.readings_stream(client, f"{common.READINGS}:trial")
    try:
        for moment in (first, last):
            trial.append({"temp_f": 0}, at=moment)
    finally:
        for key in {trial.key_for(first), trial.key_for(last)}:
            client.unlink(key)


def reset(client: redis.Redis, stream: PartitionedStream) -> list[str]:
    """Remove what earlier runs left, and give the keys that were there."""
    partitions = stream.keys()
    # Beside each partition, for a minute, a key by which chunks that are sent again are known.
    guards = [f"{{{key}}}:appends" for key in partitions]
    keys = [*partitions, *guards, common.AVERAGES, common.AGGREGATING_STATE, common.AVERAGES_STATE]
    return [key for key in keys if client.unlink(key)]


def day_count(text: str) -> int:
    """The value of --days."""
    days = int(text)
    if not 1 <= days <= 365:
        raise argparse.ArgumentTypeError("give 1 to 365 days")
    return days


def midnight(text: str) -> datetime:
    """The value of --start."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("give a date such as 2025-01-01") from None
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


def main() -> int:
    """Write the readings."""
    parser = common.argument_parser(__doc__)
    parser.add_argument("--days", type=day_count, default=10, help="how many days of readings; default: 10")
    parser.add_argument("--start", type=midnight, help="the first day, UTC, such as 2025-01-01; default: today")
    parser.add_argument("--seed", type=int, help="a number that makes the walk the same every time")
    arguments = parser.parse_args()
    count: int = arguments.days * SECONDS_A_DAY
    start: datetime = arguments.start or midnight(datetime.now(timezone.utc).date().isoformat())

    with common.connected(arguments.redis_url) as (client, url):
        stream = common.readings_stream(client)
        check_times(client, start, start + (count - 1) * SECOND)
        removed = reset(client, stream)
        print(f"Reset: {', '.join(removed) or 'nothing was left of earlier runs'}", flush=True)

        began = time.monotonic()
        written = stream.append_many(tracked(random_walk(count, arguments.seed), count), times=clock(start, count))
        seconds = time.monotonic() - began
        days = stream.keys()
        print(f"Wrote {written:,} readings to {days[0]} ... {days[-1]}: {written / seconds:,.0f} rows/s", flush=True)
        if not arguments.redis_url and sys.stdin.isatty():
            common.note(f"Next, in another terminal: consumers.py --redis-url {url} {days[0]}")
            input("Press Enter to end this program and its server. ")
    return 0


if __name__ == "__main__":
    common.run(main)
