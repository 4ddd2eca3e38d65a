"""A worker that is stopped for longer than min_idle_time and goes on: what was taken over stays with its new holder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer
from tests.endurance.streams import numbers
from tests.endurance.waiting import background, until
from tests.endurance.workers import buried, pending, settled, workers, write
from tests.endurance.working import GROUP, Plan
from tests.integration.recording import Recorder
from tests.integration.suspended import suspended

COUNT = 400
SLOW = 300
"""The number whose handler is frozen; by then many are fetched behind it."""
SECONDS = 2.0
"""What its handler takes: long enough to be frozen in the middle of it."""
MIN_IDLE = 0.6
LONGER = 1.5
"""One within which this process keeps an entry fresh, even if it is slow itself."""


class Peer:
    """Another consumer, in this process, whose handler of the slow number waits until it is told to go on."""

    def __init__(self, half: Half, url: str) -> None:
        self.told = Recorder()
        self.handled: list[int] = []
        self.holding = threading.Event()
        self.go_on = threading.Event()
        self._half = half
        self._client = half.client(url)
        self._consumer = half.lib.GroupConsumer(
            self._client, "in", GROUP, "peer", min_idle_time=timedelta(seconds=MIN_IDLE), observer=self.told
        )

    def main(self) -> None:
        """Consume until `stop`."""
        self._half.consume(self._client, self._consumer, self._handle)

    def stop(self) -> None:
        """End `main`."""
        self.go_on.set()
        self._consumer.stop()

    def _handle(self, delivery: Any) -> None:
        number = int(delivery.value["n"])
        if number == SLOW:
            self.holding.set()
            # For no longer than a lease lasts: in the asyncio half this holds up the heartbeat.
            self.go_on.wait(MIN_IDLE / 2)
        delivery.emit("out", {"n": number})
        delivery.execute("HINCRBY", "sums", "seen", 1)
        self.handled.append(number)


@contextmanager
def frozen(life: int) -> Iterator[None]:
    """Stop a process, and let it go on at the end."""
    process = psutil.Process(life)
    with suspended(life):
        until(lambda: process.status() == psutil.STATUS_STOPPED, "the worker is frozen")
        yield


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_frozen_worker_neither_steals_back_nor_settles_nor_starts_what_it_lost(
    half: Half, server: PrivateServer, tmp_path: Path, concurrency: int
) -> None:
    plan = Plan(half.name, server.url, str(tmp_path), min_idle=MIN_IDLE, slow={str(SLOW): SECONDS})
    write(server.admin, 0, COUNT)
    peer = Peer(half, server.url)
    with workers(plan) as program:
        life = program.start("worker", concurrency)
        until(lambda: any(start.number == SLOW for start in program.started), "the slow one is started")
        with frozen(life):
            held = {entry_id for entry_id, (holder, _) in pending(server.admin).items() if holder == "worker"}
            before = program.started
            assert held
            with background(peer.main, stop=peer.stop) as taking:
                taking.until(peer.holding.is_set, "the peer has taken the slow one over")
                taking.until(settled(server.admin), "the peer has handled everything")
        until(lambda: SLOW in program.handled, "the frozen handler ends")
        until(lambda: bool(program.told(life, "lost")), "the loss is told")
        # It is as good as before.
        write(server.admin, COUNT, COUNT + 20)
        until(settled(server.admin), "new ones are handled")
        assert program.stop(life) == 0
        after = program.started[len(before) :]
        lost = program.told(life, "lost")

    assert sorted(start.number for start in after) == list(range(COUNT, COUNT + 20))
    (slow,) = [start for start in before if start.number == SLOW]
    assert slow.entry_id in lost
    assert set(lost) <= held
    assert len(lost) == len(set(lost)), "a loss was told twice"
    assert sorted(numbers(server.admin, "out")) == list(range(COUNT + 20))
    assert server.admin.hget("sums", "seen") == str(COUNT + 20).encode()
    assert buried(server.admin) == {}
    assert peer.told.of("on_lease_lost") == []


def test_what_a_peer_still_holds_is_not_stolen_back(half: Half, server: PrivateServer, tmp_path: Path) -> None:
    plan = Plan(half.name, server.url, str(tmp_path), min_idle=LONGER, slow={str(SLOW): SECONDS})

    def kept() -> bool:
        """Somebody who took it over by plain commands keeps it fresh, and never settles it."""
        return bool(server.admin.xclaim("in", GROUP, "holder", 0, [slow], idle=0, retrycount=2, justid=True))

    write(server.admin, 0, COUNT)
    with workers(plan) as program:
        life = program.start("worker")
        until(lambda: any(start.number == SLOW for start in program.started), "the slow one is started")
        with frozen(life):
            (slow,) = [start.entry_id for start in program.started if start.number == SLOW]
            until(lambda: bool(server.admin.xclaim("in", GROUP, "holder", int(LONGER * 1000), [slow])), "it is taken")
            assert kept()
        until(lambda: kept() and bool(program.told(life, "lost")), "the loss is told")
        until(lambda: kept() and len(pending(server.admin)) == 1, "all but this one is settled")
        assert pending(server.admin) == {slow: ("holder", 2)}
        assert SLOW in program.handled
        assert slow in program.told(life, "lost")
        assert sorted(numbers(server.admin, "out")) == [n for n in range(COUNT) if n != SLOW]
        program.kill(life)
