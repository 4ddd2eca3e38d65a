"""A program to be killed: it averages readings by the minute. Started as ``-m tests.endurance.aggregating``.

It is told by lines on its standard input what to do, and answers each with a line: ``start`` forks a life that
aggregates to the end of the source, ``kill`` kills that life, ``wait`` waits for its end; both give its exit code. Only
the parent of a life can know that its process number is still its own.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from streamkit import Period
from tests.endurance.halves import HALVES, Half


@dataclass
class Sums:
    """The minute being summed up."""

    minute: int = 0
    total: float = 0.0
    observations: int = 0


def aggregate(half: Half, url: str, name: str) -> None:
    """Read ``{name}:readings`` to its end; write averages to two streams, and totals to a hash."""
    client = half.client(url)
    reader: Any = half.lib.CheckpointedReader(
        client,
        half.lib.PartitionedStream(client, f"{name}:readings", period=Period.HOUR),
        f"{name}:state",
        state=Sums(),
        count=40,
        commit_interval=timedelta(milliseconds=2),
        follow=False,
    )
    averages = half.lib.CappedStream(client, f"{name}:averages", maxlen=100_000)
    by_time = half.lib.PartitionedStream(client, f"{name}:minutes", period=Period.HOUR)

    def handle(entry: Any) -> None:
        sums: Sums = reader.state
        minute = entry.id.ms // 60_000
        if sums.observations and minute != sums.minute:
            average = {"minute": sums.minute, "average": sums.total / sums.observations, "of": sums.observations}
            reader.emit(averages, average)
            reader.emit(by_time, average, at=entry.time)
            reader.execute("HINCRBY", f"{name}:totals", "observations", sums.observations)
            sums = reader.state = Sums()
        sums.minute = minute
        sums.total += float(entry.value["value"])
        sums.observations += 1

    half.read(client, reader, handle)


def live(half: Half, url: str, name: str) -> NoReturn:
    """Aggregate, and end this process, come what may."""
    status = 1
    try:
        aggregate(half, url, name)
        status = 0
    except Exception:  # noqa: BLE001 - shown
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Do as told until there is nothing more to do."""
    half, url, name = HALVES[sys.argv[1]], *sys.argv[2:]
    life = 0
    for line in sys.stdin:
        match line.strip():
            case "start":
                life = os.fork()
                if not life:
                    live(half, url, name)
                print(life, flush=True)  # noqa: T201 - the answer
            case order:
                if order == "kill":
                    os.kill(life, signal.SIGKILL)
                print(os.waitstatus_to_exitcode(os.waitpid(life, 0)[1]), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
