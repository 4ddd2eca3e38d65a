"""One stream object used by many threads, and by processes forked from one that used it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from streamkit import CappedStream, PartitionedStream, Stream
from tests.endurance.halves import SYNC
from tests.endurance.servers import PrivateServer
from tests.endurance.streams import fields
from tests.endurance.waiting import Background

ROOT = Path(__file__).parents[2]
THREADS = 8
COUNT = 300


def test_a_stream_shared_by_threads_writes_every_entry_once(server: PrivateServer) -> None:
    client = SYNC.client(server.url)
    plain = Stream(client, "plain")
    capped = CappedStream(client, "capped", maxlen=10**6)
    partitioned = PartitionedStream(client, "partitioned")
    together = threading.Barrier(THREADS)

    def append(who: int) -> None:
        together.wait()
        for n in range(COUNT):
            value = {"who": who, "n": n}
            plain.append(value)
            capped.append(value, idempotency_key=f"{who} {n}")
            partitioned.append(value)
        for stream in (plain, capped, partitioned):
            assert stream.append_many({"who": who, "n": n} for n in range(COUNT, 5 * COUNT)) == 4 * COUNT

    for work in [Background(append, (who,)) for who in range(THREADS)]:
        work.result()

    everything = Counter((who, n) for who in range(THREADS) for n in range(5 * COUNT))
    partitions = partitioned.keys()
    days = [entry for key in partitions for entry in fields(server.admin, key)]
    for written in (fields(server.admin, "plain"), fields(server.admin, "capped"), days):
        assert Counter((int(entry[b"who"]), int(entry[b"n"])) for entry in written) == everything
        # Each thread's own are in the order in which it wrote them.
        for who in range(THREADS):
            own = [int(entry[b"n"]) for entry in written if int(entry[b"who"]) == who]
            assert own == sorted(own)
    client.close()


def test_a_stream_survives_a_fork(server: PrivateServer) -> None:
    children, count = 4, 50
    command = [sys.executable, "-m", "tests.endurance.sharing", server.url, str(children), str(count)]
    subprocess.run(command, cwd=ROOT, timeout=600, check=True)
    written = Counter((int(entry[b"who"]), int(entry[b"n"])) for entry in fields(server.admin, "forked"))
    assert written == Counter((who, n) for who in range(children + 2) for n in range(2 * count))
