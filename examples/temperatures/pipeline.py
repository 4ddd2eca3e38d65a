"""Runs the whole example on a private server: producer, consumers, a crash, the resume, inspect; then checks it.

    python examples/temperatures/pipeline.py [--days 10] [--seed 1] [--plot temperatures.png]

In the middle of its work the aggregating consumer is killed (SIGKILL: it gets no chance to save anything) and started
again. At the end every finished hour must have been averaged over 3600 observations, exactly once.
"""

from __future__ import annotations

import sys

if not __package__:  # run as a file: this directory's inspect.py must not pass for Python's own
    sys.path[0] = sys.path[0].removesuffix("/examples/temperatures")

import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import redis

from examples.temperatures import aggregating_consumer, averages_consumer, common
from examples.temperatures.common import AVERAGES_CODEC, Child, HourlyAverage
from examples.temperatures.producer import day_count
from streamkit import StreamkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

PLOT = Path("temperatures.png")
PATIENCE = 120.0
"""Seconds without any progress after which something must be wrong."""


class Failed(StreamkitError):
    """The pipeline did not do what it should."""


class Witness:
    """Sees every average as it is written, from the first one on, and keeps it.

    At the end the stream itself would not do: it is capped, and holds the last five days only. So this reads along in
    a thread, with redis-py alone: what is checked is not used to check. Had anything been trimmed before it was seen,
    the server's count of all entries ever added would be greater than the number of those seen.
    """

    def __init__(self, url: str) -> None:
        self.seen: list[HourlyAverage] = []
        self._client = redis.Redis.from_url(url)
        self._last = b"0-0"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _watch(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(0.01)  # and then one last look
            fresh = cast(
                "list[tuple[bytes, dict[bytes, bytes]]]", self._client.xrange(common.AVERAGES, b"(" + self._last)
            )
            for self._last, fields in fresh:
                self.seen.append(AVERAGES_CODEC.decode(fields))


def problems(seen: Sequence[HourlyAverage], days: Sequence[str]) -> list[str]:
    """What is wrong with the averages of these days (2025/01/01, …); nothing, if all went well.

    The last hour of the last day is not finished: no reading of the next one has come yet.
    """
    finished = [(day, hour) for day in days for hour in range(24)][:-1]
    times = Counter((average.date, average.hour) for average in seen)
    wrong = [f"{day} at {hour}: {times[day, hour]} averages" for day, hour in finished if times[day, hour] != 1]
    wrong += [f"{day} at {hour}: not a finished hour" for day, hour in times.keys() - set(finished)]
    wrong += [
        f"{average.date} at {average.hour}: {average.num_observations} observations"
        for average in seen
        if average.num_observations != 3600
    ]
    return wrong


def wait_until(condition: Callable[[], bool], progress: Callable[[], object], *children: Child) -> None:
    """Wait for a condition, as long as there is progress and the children live."""
    last, moved = progress(), time.monotonic()
    while not condition():
        for child in children:
            if child.poll() is not None:
                raise Failed(f"{child.script} ended with status {child.returncode}")
        if (now := progress()) != last:
            last, moved = now, time.monotonic()
        if time.monotonic() > moved + PATIENCE:
            raise Failed(f"nothing moved for {PATIENCE:.0f} s; the consumers stand at {last}")
        time.sleep(0.02)


def caught_up(client: redis.Redis) -> bool:
    """Whether both consumers have handled everything there is."""
    *_, newest = common.readings_stream(client).info()
    averages = common.averages_stream(client).info()
    aggregating = aggregating_consumer.make_reader(client).saved()
    printing = averages_consumer.make_reader(client).saved()
    return (
        aggregating is not None
        and (aggregating.position.stream, aggregating.position.id) == (newest.key, newest.last_id)
        and printing is not None
        and printing.position.id == averages.last_id
    )


def headline(message: str) -> None:
    """Say what comes next."""
    print(f"\n--- {message}", flush=True)


def finish(script: str, *arguments: str, url: str) -> None:
    """Run a program to its end."""
    with Child(script, *arguments, url=url) as child:
        if child.wait() != 0:
            raise Failed(f"{script} ended with status {child.returncode}")


def consume(client: redis.Redis, url: str, days: Sequence[str], witness: Witness) -> None:
    """Run both consumers until they have caught up, with a crash of the aggregating one when half is done."""

    def progress() -> object:
        return client.hget(common.AGGREGATING_STATE, "last_message_id"), len(witness.seen)

    half = len(days) * 24 // 2
    with Child("averages_consumer.py", url=url) as averages:
        with Child("aggregating_consumer.py", days[0], url=url) as aggregating:
            wait_until(lambda: len(witness.seen) >= half, progress, averages, aggregating)
            aggregating.kill()
        headline(f"Killed the aggregating consumer after {len(witness.seen)} hours (kill -9). Starting it again")
        with Child("aggregating_consumer.py", url=url) as aggregating:
            wait_until(lambda: caught_up(client), progress, averages, aggregating)


def main() -> int:
    """Run everything, in order."""
    parser = common.argument_parser(__doc__, private=True)
    parser.add_argument("--days", type=day_count, default=10, help="how many days of readings; default: 10")
    parser.add_argument("--seed", type=int, default=1, help="another walk for another number; default: 1")
    parser.add_argument("--plot", type=Path, metavar="FILE", default=PLOT, help="default: %(default)s")
    arguments = parser.parse_args()
    with common.connected(None) as (client, url):
        headline(f"Producing readings, --days {arguments.days}")
        finish("producer.py", f"--days={arguments.days}", f"--seed={arguments.seed}", url=url)
        keys = common.readings_stream(client).keys()
        days = [f"{key[-8:-4]}/{key[-4:-2]}/{key[-2:]}" for key in keys]
        headline("Starting both consumers")
        with Witness(url) as witness:
            consume(client, url, keys, witness)
        headline("Inspecting")
        finish("inspect.py", "--plot", str(arguments.plot), url=url)
        headline("Checking")
        wrong = problems(witness.seen, days)
        if missed := common.averages_stream(client).info().entries_added - len(witness.seen):
            wrong.append(f"{missed} averages were trimmed before they could be checked")
        for problem in wrong:
            print(problem)
        if wrong:
            return 1
        print(f"{len(witness.seen)} finished hours, each averaged once, over 3600 observations.")
        print(f"Plot: {arguments.plot.resolve()}")
    return 0


if __name__ == "__main__":
    common.run(main)
