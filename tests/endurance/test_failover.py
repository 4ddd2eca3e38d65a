"""Failovers: READONLY, connections cut, and a new primary that knows less than the old one did."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamkit.testing import redis_server
from tests.endurance.halves import ASYNCIO, HALVES, SYNC, Half
from tests.endurance.servers import REPLICATED, PrivateServer
from tests.endurance.streams import Copy, numbered, numbers
from tests.endurance.waiting import Background, background, until
from tests.integration.sentinel import MASTER, sentinel_of


def port_of(url: str) -> int:
    """The port in a URL."""
    return int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])


def follow(replica: redis.Redis, url: str) -> None:
    """Make a server a replica of the one at ``url``, and wait until it is in step."""
    replica.replicaof("127.0.0.1", str(port_of(url)))
    until(lambda: replica.info("replication").get("master_link_status") == "up", "the replica is in step")


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


def test_a_sentinels_failover_is_ridden_through() -> None:
    """Both halves, in one failover: on the primary that is left, what was read is what was written there."""
    with ExitStack() as stack:
        url, other = (stack.enter_context(redis_server(settings=REPLICATED)) for _ in range(2))
        # A Sentinel cuts the connections of a server whose role it changes: those of the test as well.
        stubborn = Retry(NoBackoff(), 5)
        clients = [stack.enter_context(redis.Redis.from_url(each, retry=stubborn)) for each in (url, other)]
        follow(clients[1], url)
        host, port = stack.enter_context(sentinel_of(url))
        watcher = stack.enter_context(redis.Redis(host=host, port=port))
        for period in ("INFO-PERIOD", "ASK-PERIOD", "PING-PERIOD", "PUBLISH-PERIOD"):
            watcher.execute_command("SENTINEL", "DEBUG", period, "100")  # instead of 1 to 10 s
        until(lambda: len(watcher.sentinel_slaves(MASTER)) == 1, "the Sentinel knows the replica")

        def primary(half: Half) -> Any:
            return half.sentinels.Sentinel([(host, port)]).master_for(MASTER)

        over = threading.Event()

        def values() -> Iterator[dict[str, int]]:
            for n in itertools.count():
                if over.is_set():
                    return
                if n % 20 == 0:
                    time.sleep(0.001)
                yield {"n": n}

        def append(stream: Any) -> Any:
            return stream.append_many(values())

        copies: list[Copy] = []
        works: list[Background] = []
        producers: list[Background] = []
        for half in HALVES.values():
            producing, reading = primary(half), primary(half)
            stream = half.lib.Stream(producing, f"in {half}")
            copy = Copy(half, reading, half.lib.Stream(reading, stream.name), to=f"out {half}")
            copies.append(copy)
            works.append(stack.enter_context(background(copy.main, stop=copy.stop)))
            steps = [partial(append, stream)]
            producers.append(stack.enter_context(background(half.run, producing, steps, stop=over.set)))

        def written(client: redis.Redis, atleast: int) -> bool:
            for work in (*works, *producers):
                if work.done:
                    work.result()
            return all(client.xlen(f"out {half}") >= atleast for half in (SYNC, ASYNCIO))

        until(lambda: written(clients[0], 1000), "all are at work")
        watcher.execute_command("SENTINEL", "FAILOVER", MASTER)
        until(lambda: clients[1].info("replication")["role"] == "master", "the failover")
        before = min(clients[1].xlen(f"in {half}") for half in HALVES)
        until(lambda: written(clients[1], before + 1000), "all are at work again")
        over.set()
        for producer in producers:
            producer.join()

        def all_read(name: str) -> bool:
            return int(clients[1].xlen(f"out {name}")) == int(clients[1].xlen(f"in {name}"))

        for name, work in zip(HALVES, works, strict=True):
            work.until(partial(all_read, name), "all is read")
        for name, copy in zip(HALVES, copies, strict=True):
            source = numbers(clients[1], f"in {name}")
            assert source == sorted(set(source)), "a chunk was written twice, or out of order"
            assert numbers(clients[1], f"out {name}") == source
            assert clients[1].hget(copy.checkpoint, "copied") == str(len(source)).encode()
            assert copy.told.of("on_gap") == []
            assert copy.told.of("on_unavailable")
            assert copy.told.of("on_available")
