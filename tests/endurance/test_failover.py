"""Failovers: READONLY, connections cut, and a new primary that knows less than the old one did."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.endurance.halves import Half
from tests.endurance.servers import REPLICATED, PrivateServer, follow
from tests.endurance.streams import Copy, numbered, numbers
from tests.endurance.waiting import background, until


def lead(replica: redis.Redis) -> None:
    """Make a replica a primary."""
    replica.replicaof("NO", "ONE")


class Pair:
    """A primary and its replica, and an address that leads to one of them, as a DNS name would."""

    def __init__(self, old: PrivateServer, new: PrivateServer) -> None:
        self.old = old
        self.new = new
        self._address = Path(old.url.removeprefix("unix://")).with_name("address")
        self._point_to(old)
        self.url = f"unix://{self._address}"
        follow(new.admin, old.tcp_url)

    def _point_to(self, server: PrivateServer) -> None:
        fresh = self._address.with_name("fresh")
        fresh.symlink_to(server.url.removeprefix("unix://"))
        fresh.replace(self._address)

    def fail_over(self) -> None:
        """The name leads to the new primary from now on; the old one is gone."""
        self._point_to(self.new)
        self.old.kill()

    def switch_over(self) -> None:
        """The two change places; the old primary lives on as a replica."""
        lead(self.new.admin)
        self._point_to(self.new)
        follow(self.old.admin, self.new.tcp_url)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with PrivateServer(**REPLICATED) as old, PrivateServer(**REPLICATED) as new:
        yield Pair(old, new)


def fill(half: Half, url: str, start: int, stop: int) -> None:
    """Append numbers to the source."""
    client = half.client(url)
    half.run(client, [lambda: half.lib.Stream(client, "in").append_many(numbered(start, stop))])


@pytest.mark.parametrize("when", ["waiting", "at work"])
def test_a_checkpoint_rolled_back_by_a_failover_is_told_and_one_goes_on(half: Half, pair: Pair, when: str) -> None:
    detach_at, cut_at = 700, 1900 if when == "at work" else 10**9
    reached, detached, cut, failed_over = (threading.Event() for _ in range(4))

    def seen(n: int) -> None:
        if n == detach_at:
            reached.set()
            assert detached.wait(60)
        if n == cut_at and not cut.is_set():
            cut.set()
            assert failed_over.wait(60)

    fill(half, pair.url, 0, 1000)
    client = half.client(pair.url)
    copy = Copy(half, client, half.lib.Stream(client, "in"), to="out", seen=seen)
    with background(copy.main, stop=copy.stop) as reader:
        reader.until(reached.is_set, "some is read")
        until(lambda: numbers(pair.new.admin, "in") == list(range(1000)), "the source is replicated")
        saved = pair.old.admin.hget(copy.checkpoint, "last_message_id")
        until(lambda: pair.new.admin.hget(copy.checkpoint, "last_message_id") == saved, "the checkpoint is replicated")
        lead(pair.new.admin)  # what is written to the old primary from here on is lost
        fill(half, pair.old.url, 1000, 2000)
        detached.set()
        if when == "waiting":
            reader.until(lambda: bool(copy.told.of("on_waiting")), "all is read")
            assert numbers(pair.old.admin, "out") == list(range(2000))
        else:
            reader.until(cut.is_set, "more is read")
        pair.fail_over()
        failed_over.set()
        reader.until(lambda: pair.new.admin.xlen("out") == 1000, "what the new primary has is read")
        # New entries, in place of those that are lost.
        fill(half, pair.url, 5000, 5500)
        reader.until(lambda: pair.new.admin.xlen("out") == 1500, "what is new is read")

    expected = [*range(1000), *range(5000, 5500)]
    assert numbers(pair.new.admin, "in") == expected
    assert numbers(pair.new.admin, "out") == expected
    assert pair.new.admin.hget(copy.checkpoint, "copied") == b"1500"
    assert len(copy.told.of("on_rewound")) == 1
    assert copy.told.of("on_gap") == []
    assert copy.told.of("on_unavailable")


def test_a_name_that_moves_to_another_primary_is_followed_though_the_old_one_still_answers(
    half: Half, pair: Pair
) -> None:
    fill(half, pair.url, 0, 1000)
    reached, switched = threading.Event(), threading.Event()

    def seen(n: int) -> None:
        if n == 500:
            reached.set()
            assert switched.wait(60)

    client = half.client(pair.url)
    copy = Copy(half, client, half.lib.Stream(client, "in"), to="out", seen=seen)
    with background(copy.main, stop=copy.stop) as reader:
        reader.until(reached.is_set, "some is read")
        saved = pair.old.admin.hget(copy.checkpoint, "last_message_id")
        until(lambda: pair.new.admin.hget(copy.checkpoint, "last_message_id") == saved, "all is replicated")
        pair.switch_over()
        switched.set()
        reader.until(lambda: pair.new.admin.xlen("out") == 1000, "the rest is read")
        fill(half, pair.url, 1000, 1100)
        reader.until(lambda: pair.new.admin.xlen("out") == 1100, "what is new is read")
    assert numbers(pair.new.admin, "out") == list(range(1100))
    assert copy.told.of("on_gap") == []


def test_an_append_follows_a_name_that_moves_to_another_primary(half: Half, pair: Pair) -> None:
    client = half.client(pair.url)
    stream = half.lib.Stream(client, "in")
    took: list[float] = []

    def steps() -> Iterator[Any]:
        yield lambda: stream.append({"n": 0}, idempotency_key="0")
        until(lambda: pair.new.admin.xlen("in") == 1, "it is replicated")
        pair.switch_over()
        took.append(time.monotonic())
        yield lambda: stream.append({"n": 1}, idempotency_key="1")
        yield lambda: stream.append_many(numbered(2, 1000))
        took.append(time.monotonic())

    half.run(client, steps())
    assert numbers(pair.new.admin, "in") == list(range(1000))
    assert took[1] - took[0] < 10
