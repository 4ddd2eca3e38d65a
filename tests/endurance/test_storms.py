"""Connections killed and commands held up, again and again, while reading and appending."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial

from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer
from tests.endurance.streams import Copy, numbers
from tests.endurance.waiting import background

ROUNDS = 12


def test_counts_are_exact_through_storms_of_kills_and_pauses(half: Half, server: PrivateServer) -> None:
    over = threading.Event()

    def values() -> Iterator[dict[str, int]]:
        n = 0
        while not over.is_set():
            yield {"n": n}
            n += 1
            if n % 20 == 0:
                time.sleep(0.001)

    producing, reading = half.client(server.url), half.client(server.url)
    stream = half.lib.Stream(producing, "in")
    copy = Copy(half, reading, half.lib.Stream(reading, "in"), to="out")
    kills = 0

    def further(enough: int) -> bool:
        return server.admin.xlen("out") >= enough

    with (
        background(copy.main, stop=copy.stop) as reader,
        background(half.run, producing, [lambda: stream.append_many(values())], stop=over.set) as producer,
    ):
        for storm in range(ROUNDS):
            enough = server.admin.xlen("out") + 300
            reader.until(partial(further, enough), "the reader gets on")
            assert not producer.done or producer.result()
            match storm % 4:
                case 0:  # a gust: whoever connects again at once is killed again
                    for _ in range(5):
                        kills += server.cut()
                case 1:
                    server.admin.client_pause(60, all=False)  # writes only: what was read cannot be saved
                    kills += server.cut()
                case 2:
                    server.admin.script_flush()
                    server.admin.client_pause(60)
                case _:
                    for client in server.admin.client_list():
                        server.admin.client_unblock(int(client["id"]), error=True)
        over.set()
        (appended,) = producer.result()
        reader.until(lambda: server.admin.xlen("out") == appended, "everything is read")

    assert kills > ROUNDS // 2
    assert numbers(server.admin, "in") == list(range(appended))
    assert numbers(server.admin, "out") == list(range(appended))
    assert server.admin.hget(copy.checkpoint, "copied") == str(appended).encode()
    assert copy.told.of("on_gap") == copy.told.of("on_rewound") == copy.told.of("on_unsaved") == []
