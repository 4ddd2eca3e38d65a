"""The connections a reader takes: one of its own, and borrowed ones that it gives back, however it is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer

ROOT = Path(__file__).parents[2]
OWN = {"entered", "read"}
"""The moments at which a reader has a connection of its own, beside the one of the client's pool."""


def test_every_way_to_leave_a_reader_leaves_no_connection_behind(half: Half, server: PrivateServer) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.endurance.leaving", half.name, server.url]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=600, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    found = {way: (int(connected), int(in_use)) for way, connected, in_use in map(str.split, done.stdout.splitlines())}
    ways = {"before", "entered", "read", "end", "break", "error", "refused", "appends", "closed"}
    assert set(found) == ways | ({"cancelled-follow", "cancelled-produce"} if half.name == "asyncio" else set())
    for way, (connected, in_use) in found.items():
        expected = 0 if way == "closed" else 2 if way in OWN else 1
        # An append that was cancelled with a reply still due gives its connection back closed.
        assert connected == expected or (way == "cancelled-produce" and connected == 0), way
        assert in_use == 0, way
