"""Failovers that a Sentinel makes: every loop of both halves goes on with the other primary by itself."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import pytest

from tests.endurance.halves import HALVES, Half
from tests.endurance.sentinels import Watched, watched
from tests.endurance.streams import Copy, numbers
from tests.endurance.waiting import DEADLINE, Background, background, until
from tests.integration.recording import Recorder

GROUP = "workers"
PAUSE_AT = 2500
"""Where a producer waits: within a chunk."""
AHEAD = 2000
"""Entries that a producer may be ahead of those that handle them: it writes faster than a slow machine handles."""


class Everything:
    """An append_many, a reader, a consumer of a group and a tail of one half, each with a client of its own."""

    def __init__(self, half: Half, servers: Watched, *, pausing: bool) -> None:
        self._half = half
        self._servers = servers
        self._pausing = pausing
        self._running: list[Background] = []
        self.paused, self.go_on, self.over = (threading.Event() for _ in range(3))
        self.tailed: list[int] = []
        self._newest = {"copied": 0, "handled": 0, "tailed": 0}
        self.told = Recorder()
        client = servers.client(half)
        self.copy = Copy(
            half,
            client,
            half.lib.Stream(client, self._key("in")),
            to=self._key("copied"),
            seen=partial(self._saw, "copied"),
        )

    def start(self, stack: ExitStack) -> None:
        """Begin; what runs ends with the stack."""
        half, key = self._half, self._key("in")
        consumer_client, tail_client, producer_client = (self._servers.client(half) for _ in range(3))
        consumer = half.lib.GroupConsumer(consumer_client, key, GROUP, observer=self.told)
        replayer = half.lib.Replayer(tail_client, key)
        steps = [lambda: half.lib.Stream(producer_client, key).append_many(self._values())]
        for run, stop in (
            (self.copy.main, self.copy.stop),
            (partial(half.consume, consumer_client, consumer, self._handle), consumer.stop),
            (partial(half.follow, tail_client, replayer, self._see), replayer.stop),
            (partial(half.run, producer_client, steps), self.end),
        ):
            self._running.append(stack.enter_context(background(run, stop=stop)))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds; an error of anything that runs is raised at once."""

        def found() -> bool:
            for each in self._running:
                if each.done:
                    each.result()
            return condition()

        until(found, f"{self._half}: {what}")

    def until_written(self, more: int) -> None:
        """Wait until so many more entries were written, and handled by all three."""
        start = self._lengths()[0]
        self.until(lambda: min(self._lengths()) >= start + more, "more is written")

    def until_quiet(self) -> None:
        """Wait until all three wait for the next entry."""
        self.until(self.paused.is_set, "the producer pauses")
        self.until(lambda: len(set(self._lengths()[:3])) == 1, "all is handled")
        self.until(lambda: bool(self.copy.told.of("on_waiting")), "the reader waits")

    def end(self) -> None:
        """Let the producer end."""
        self.over.set()
        self.go_on.set()

    def finish(self) -> None:
        """End the producer, and wait until all that it wrote is handled."""
        self.end()
        self._running[-1].join()
        self.until(lambda: len(set(self._lengths()[:3])) == 1, "all is handled")
        last = numbers(self._servers.new, self._key("in"))[-1]
        self.until(lambda: last in self.tailed, "all is seen")
        self.until(lambda: self._pending() == 0, "all is acked")

    def check(self) -> None:
        """What must be true on the primary that is left."""
        server = self._servers.new
        source = numbers(server, self._key("in"))
        assert source == sorted(set(source)), "a chunk was written twice, or out of order"
        assert numbers(server, self._key("copied")) == source
        assert server.hget(self.copy.checkpoint, "copied") == str(len(source)).encode()
        assert sorted(numbers(server, self._key("handled"))) == source
        assert server.hget(self._key("sums"), "seen") == str(len(source)).encode()
        assert set(source) <= set(self.tailed)
        for told in (self.copy.told, self.told):
            assert told.of("on_gap") == []
            assert told.of("on_unavailable")

    def _pending(self) -> int:
        return int(cast("Any", self._servers.new.xpending(self._key("in"), GROUP))["pending"])

    def _key(self, kind: str) -> str:
        return f"{kind} {self._half}"

    def _lengths(self) -> list[int]:
        role = self._servers.new.info("replication")["role"]
        server = self._servers.new if role == "master" else self._servers.old
        return [*(int(server.xlen(self._key(kind))) for kind in ("in", "copied", "handled")), len(self.tailed)]

    def _values(self) -> Iterator[dict[str, int]]:
        for n in itertools.count():
            if self.over.is_set():
                return
            if self._pausing and n == PAUSE_AT:
                self.paused.set()
                assert self.go_on.wait(DEADLINE)
            if n % 100 == 0:
                self._wait_for_the_slowest(n)
            if n % 4 == 0:
                time.sleep(0.001)
            yield {"n": n}

    def _wait_for_the_slowest(self, n: int) -> None:
        end = time.monotonic() + 1.0  # not for ever: what a failover loses is seen by nobody
        while n > min(self._newest.values()) + AHEAD and not self.over.is_set() and time.monotonic() < end:
            time.sleep(0.001)

    def _handle(self, delivery: Any) -> None:
        delivery.emit(self._key("handled"), delivery.value)
        delivery.execute("HINCRBY", self._key("sums"), "seen", 1)
        self._saw("handled", int(delivery.value["n"]))

    def _see(self, entry: Any) -> None:
        self.tailed.append(int(entry.value["n"]))
        self._saw("tailed", self.tailed[-1])

    def _saw(self, kind: str, n: int) -> None:
        self._newest[kind] = max(self._newest[kind], n)


@pytest.mark.parametrize("how", ["asked for", "after a crash"])
@pytest.mark.parametrize("when", ["busy", "waiting"])
def test_every_loop_goes_on_after_a_sentinels_failover(when: str, how: str) -> None:
    """Both halves, in one failover: on the primary that is left, what was read is what was written there."""
    with watched() as servers, ExitStack() as stack:
        halves = [Everything(half, servers, pausing=when == "waiting") for half in HALVES.values()]
        for each in halves:
            each.start(stack)
        for each in halves:
            each.until_quiet() if when == "waiting" else each.until_written(1000)
        servers.fail_over(crash=how == "after a crash")
        for each in halves:
            each.go_on.set()
            each.until_written(1000)
        for each in halves:
            each.finish()
        for each in halves:
            each.check()
