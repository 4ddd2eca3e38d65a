"""A server that is killed and started again, over and over, under a producer and a reader."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from streamkit import AppendUncertain, ServerUnavailable
from tests.endurance.halves import Half
from tests.endurance.servers import DURABLE, PrivateServer
from tests.endurance.streams import Copy, numbers
from tests.endurance.waiting import Background, background, until

KILLS = 6
AHEAD = 5000
"""So many values come before what is read, at most: with a slow disk there would be no end to reading."""


class Crashes:
    """Kills of a server, each after its reader has got on by some entries."""

    def __init__(self, server: PrivateServer, output: str, stride: int) -> None:
        self.over = threading.Event()
        self._stride = stride
        self._server = server
        self._output = output
        self._reached = 0

    def happen(self, *survivors: Background) -> None:
        """Kill and restart; fail when something that is to survive it has ended."""
        moments = random.Random()
        for _ in range(KILLS):
            enough = self._server.admin.xlen(self._output) + moments.randrange(1, self._stride)

            def further(enough: int = enough) -> bool:
                self._reached = self._server.admin.xlen(self._output)
                return self._reached >= enough

            until(lambda: any(each.done for each in survivors) or further(), "it gets on")
            for each in survivors:
                each.until(further, "it gets on")
            self._server.kill()
            self._server.start()

    def numbers(self) -> Iterator[dict[str, int]]:
        """Values without end, until all kills are done; at a pace that leaves some for the next kill."""
        n = 0
        while not self.over.is_set():
            yield {"n": n}
            n += 1
            if n % 20 == 0:
                time.sleep(0.001)
            while n > self._reached + AHEAD and not self.over.is_set():
                time.sleep(0.001)


def test_what_was_confirmed_survives_a_servers_crashes_once_and_the_reader_resumes(half: Half) -> None:
    with PrivateServer(**DURABLE) as server:
        crashes = Crashes(server, "out", 1500)
        client = half.client(server.url)
        stream = half.lib.Stream(client, "in")
        reading = half.client(server.url)
        copy = Copy(half, reading, half.lib.Stream(reading, "in"), to="out")
        with (
            background(copy.main, stop=copy.stop) as reader,
            background(
                half.run, client, [lambda: stream.append_many(crashes.numbers())], stop=crashes.over.set
            ) as producer,
        ):
            crashes.happen(reader, producer)
            crashes.over.set()
            (confirmed,) = producer.result()
            reader.until(lambda: server.admin.xlen("out") >= confirmed, "everything is read")

        assert confirmed > KILLS
        assert numbers(server.admin, "in") == list(range(confirmed))
        assert numbers(server.admin, "out") == list(range(confirmed))
        assert server.admin.hget(copy.checkpoint, "copied") == str(confirmed).encode()
        assert copy.told.of("on_unavailable")
        assert copy.told.of("on_available")
        for event in ("on_gap", "on_rewound", "on_late", "on_unsaved"):
            assert copy.told.of(event) == []
        # Told in turns: available only after unavailable, and never twice.
        told = [event for event, _ in copy.told.events if event in {"on_unavailable", "on_available"}]
        assert told[-1] == "on_available"
        assert "on_available" not in {b for a, b in itertools.pairwise(told) if a == "on_available"}


def test_single_appends_survive_a_servers_crashes_as_they_say(half: Half) -> None:
    with PrivateServer(**DURABLE) as server:
        crashes = Crashes(server, "once", 150)
        client = half.client(server.url)
        once = half.lib.Stream(client, "once")
        plain = half.lib.Stream(client, "plain")
        confirmed: list[int] = []
        doubtful: list[int] = []

        def steps() -> Iterator[Callable[[], Any]]:
            for value in crashes.numbers():
                yield partial(once.append, value, idempotency_key=f"key {value['n']}")

        def plainly() -> None:
            other = half.client(server.url)
            stream = half.lib.Stream(other, plain.name)
            n = -1

            def one() -> Any:
                return stream.append({"n": n})

            while not crashes.over.is_set():
                n += 1
                try:
                    half.run(other, [one])
                    confirmed.append(n)
                except (AppendUncertain, ServerUnavailable):
                    doubtful.append(n)

        with (
            background(plainly, stop=crashes.over.set) as careless,
            background(half.run, client, steps(), stop=crashes.over.set) as careful,
        ):
            crashes.happen(careless, careful)
            crashes.over.set()
            appended = len(careful.result())

        assert numbers(server.admin, "once") == list(range(appended))
        written = numbers(server.admin, "plain")
        assert len(written) == len(set(written)), "an append without a key was sent twice"
        assert set(confirmed) <= set(written)
        assert set(written) <= set(confirmed) | set(doubtful)
