"""The memory of producers and readers does not grow with the data: ten days of readings, one a second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer

READINGS = {"sync": 864_000, "asyncio": 200_000}
"""Ten days for one half; for the other as many as show that it does not grow."""
MOST = 80.0
"""MiB that a process may have resident."""
GROWTH = 3.0
"""MiB that may come on top after the first 50,000 readings: what allocators do, not a leak."""
ROOT = Path(__file__).parents[2]


def measure(half: Half, what: str, url: str) -> None:
    """Run `remembering`, and judge the memory it took."""
    command = [sys.executable, "-m", "tests.endurance.remembering", half.name, what, url, str(READINGS[half.name])]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, timeout=600, check=True)
    early, last = map(float, done.stdout.split())
    assert last < MOST
    assert last - early < GROWTH


def test_producer_and_reader_stay_small(half: Half, server: PrivateServer) -> None:
    measure(half, "produce", server.url)
    measure(half, "consume", server.url)
    assert server.admin.xlen("averages") == READINGS[half.name] // 3600
