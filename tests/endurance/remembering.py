"""A program whose memory is measured. Started as ``-m tests.endurance.remembering HALF WHAT URL COUNT``.

It prints the most memory that it ever had resident, in MiB: first after a part of the work, then after all of it.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tests.endurance.halves import HALVES, Half

FIRST_LOOK = 50_000
STATUS = Path("/proc/self/status")


def peak() -> float:
    """The most memory this process ever had resident, in MiB."""
    if STATUS.exists():
        # Linux hands getrusage's figure on from the process that started this one.
        (line,) = [line for line in STATUS.read_text("ascii").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1024 * 1024 if sys.platform == "darwin" else 1024)


def look(done: int) -> None:
    """Print the memory, at the first look."""
    if done == FIRST_LOOK:
        print(peak(), flush=True)  # noqa: T201 - the result


def produce(half: Half, url: str, count: int) -> None:
    """Append readings, one a second, over as many days as it takes."""
    client = half.client(url)
    stream = half.lib.PartitionedStream(client, "temps", max_ahead=timedelta(days=20))
    start = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)

    def values() -> Iterator[dict[str, float]]:
        for n in range(count):
            look(n)
            yield {"temp_f": (n * 7) % 1000 / 10}

    times = (start + timedelta(seconds=n) for n in range(count))
    assert half.run(client, [lambda: stream.append_many(values(), times=times)]) == [count]


def consume(half: Half, url: str, count: int) -> None:
    """Average the readings by the hour, as an effect each hour and a state."""
    client = half.client(url)
    source = half.lib.PartitionedStream(client, "temps", max_ahead=timedelta(days=20))
    state: dict[str, Any] = {"total": 0.0, "seen": 0}
    reader: Any = half.lib.CheckpointedReader(client, source, "consumer", state=state, follow=False)

    def handle(entry: Any) -> None:
        state = reader.state
        state["total"] += float(entry.value["temp_f"])
        state["seen"] += 1
        if state["seen"] % 3600 == 0:
            reader.emit("averages", {"average": state["total"] / 3600})
            state["total"] = 0.0
        look(state["seen"])

    half.read(client, reader, handle)
    assert reader.state["seen"] == count


def main() -> None:
    """Do it, and print the memory it took."""
    half, what, url, count = sys.argv[1:]
    {"produce": produce, "consume": consume}[what](HALVES[half], url, int(count))
    print(peak())  # noqa: T201 - the result


if __name__ == "__main__":
    main()
