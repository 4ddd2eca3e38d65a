"""kill -9 at random moments, again and again: what a reader writes is what an undisturbed one writes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import cast

import redis

from streamkit import PartitionedStream, Period
from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer
from tests.endurance.streams import entries, fields, keys

KILLS = 25
READINGS = 9000
ROOT = Path(__file__).parents[2]


def readings(client: redis.Redis, name: str) -> None:
    """Two and a half hours of readings, one a second, in three partitions or four."""
    start = datetime.now(timezone.utc) - timedelta(seconds=READINGS)
    walk = random.Random(7)
    written = PartitionedStream(client, f"{name}:readings", period=Period.HOUR).append_many(
        ({"value": round(walk.uniform(0, 100), 3)} for _ in range(READINGS)),
        times=(start + timedelta(seconds=second) for second in range(READINGS)),
    )
    assert written == READINGS


def outcome(client: redis.Redis, name: str) -> dict[str, object]:
    """Everything that was written, but for the IDs that the server chose and the fence of the checkpoint."""
    found: dict[str, object] = {"averages": fields(client, f"{name}:averages")}
    for key in keys(client, f"{name}:minutes:*"):
        found[key] = entries(client, key)
    found["totals"] = client.hgetall(f"{name}:totals")
    saved = cast("dict[bytes, bytes]", client.hgetall(f"{name}:state"))
    found["state"] = {field: value for field, value in saved.items() if not field.startswith(b"streamkit:")}
    return found


def forget(client: redis.Redis, name: str) -> None:
    """Delete everything but the readings."""
    for key in keys(client, f"{name}:*"):
        if not key.startswith(f"{name}:readings"):
            client.delete(key)


class Program:
    """`aggregating`, which has imported everything and starts a life in a few ms."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, order: str) -> int:
        """Give an order and get the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def program(half: Half, url: str, name: str) -> Iterator[Program]:
    command = [sys.executable, "-m", "tests.endurance.aggregating", half.name, url, name]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Program(process)


def test_a_reader_killed_at_random_moments_writes_what_an_undisturbed_one_writes(
    half: Half, server: PrivateServer
) -> None:
    name, client, moments = "t", server.admin, random.Random()
    readings(client, name)
    places: set[object] = set()
    with program(half, server.url, name) as aggregating:
        began = time.monotonic()
        aggregating.tell("start")
        assert aggregating.tell("wait") == 0
        span = time.monotonic() - began
        expected = outcome(client, name)
        averaged = sum(int(average[b"of"]) for average in fields(client, f"{name}:averages"))
        assert averaged + int(client.hget(f"{name}:state", "observations") or 0) == READINGS

        kills = 0
        while kills < KILLS:
            # A round: killed until there is nothing left to read, or often enough.
            forget(client, name)
            status = -signal.SIGKILL
            while status and kills < KILLS:
                aggregating.tell("start")
                time.sleep(moments.uniform(0, span / 8))
                status = aggregating.tell("kill")
                assert status in {0, -signal.SIGKILL}
                kills += bool(status)
                places.add(client.hget(f"{name}:state", "last_message_id"))
            if status:
                aggregating.tell("start")
                assert aggregating.tell("wait") == 0
            assert outcome(client, name) == expected
    assert len(places) > 3, "killed before it did anything, each time"
