"""A cluster under load whose masters crash one after the other, each replaced by its replica."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
import redis

from streamkit.testing import Cluster, redis_cluster
from tests.endurance.crashing import Marks, crash
from tests.endurance.halves import HALVES, Half
from tests.endurance.streams import numbers
from tests.endurance.waiting import Background, background, until
from tests.integration.recording import Recorder

FAILOVERS = int(os.environ.get("STREAMKIT_SOAK_FAILOVERS", "3"))
GROUP = "workers"
CHUNK = 300
AHEAD = 5000
"""Entries that producers are ahead of the consumers, at most: the end has to wait for them."""


def shards_apart(cluster: Cluster) -> list[str]:
    """Names of shards, one on each master."""
    found = {cluster.master_of(f"{{{name}}}"): name for name in "zyxwvutsrqponmlkjihgfedcba"}
    return [found[master] for master in cluster.masters()]


class Work:
    """Producers and consumers of one half, on one stream with a shard on each master.

    Attributes:
        acknowledged: Numbers whose append returned.
        kept: Those of them that a replica had, too, as WAIT said.
        told: What the consumers' observer was told.
    """

    def __init__(self, half: Half, cluster: Cluster, shards: list[str]) -> None:
        self._half = half
        self._url = cluster.url
        self._shards = shards
        self._numbers = itertools.count()
        self._ending = threading.Event()
        self._admin = cast("Any", redis.RedisCluster.from_url(cluster.url))
        self._running: list[Background] = []
        self._chunk = self._wanted = 0
        self.acknowledged: set[int] = set()
        self.kept: set[int] = set()
        self.told = Recorder()

    def key(self, kind: str, shard: str) -> str:
        """A key of a shard: of its entries (`in`), of what was made of them (`out`), of a count of that (`sums`)."""
        return f"{kind} {self._half}:{{{shard}}}"

    def start(self, stack: ExitStack) -> None:
        """Begin; what runs ends with the stack, producers first."""
        for number in range(2):
            client = self._half.cluster_client(self._url)
            consumer = self._half.lib.GroupConsumer(
                client,
                self._stream(client),
                GROUP,
                f"worker-{number}",
                min_idle_time=timedelta(seconds=5),
                retry=self._half.lib.RetryPolicy(max_deliveries=10, backoff=[timedelta(milliseconds=20)]),
                observer=self.told,
            )
            run = partial(self._half.consume, client, consumer, self._handle, concurrency=1 + 3 * number)
            self._running.append(stack.enter_context(background(run, stop=consumer.stop)))
        for produce in (self._chunks, self._singles):
            client = self._half.cluster_client(self._url)
            steps = produce(self._stream(client))
            self._running.append(stack.enter_context(background(self._half.run, client, steps, stop=self._ending.set)))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds; an error of anything that runs is raised at once."""

        def found() -> bool:
            for each in self._running:
                if each.done:
                    each.result()
            return condition()

        until(found, what)

    def write(self) -> None:
        """Have a chunk written that is not begun yet."""
        self._wanted = self._chunk + 2
        self.until(lambda: self._chunk >= self._wanted, "more is written")

    def progress(self) -> list[int]:
        """By shard, how much was made of it."""
        return [self._admin.xlen(self.key("out", shard)) for shard in self._shards]

    def end_producers(self) -> None:
        """Let the producers finish what they have in hand."""
        self._ending.set()
        for each in self._running[2:]:
            each.join()

    def settled(self) -> bool:
        """Whether everything was handed out, and nothing is pending."""
        for shard in self._shards:
            key = self.key("in", shard)
            newest = self._admin.xinfo_stream(key)["last-generated-id"]
            (group,) = self._admin.xinfo_groups(key)
            if group["last-delivered-id"] != newest or group["pending"]:
                return False
        return True

    def check(self) -> int:
        """What must be true in the end; gives how many acknowledged entries are lost, none of which was kept."""
        present = list[int]()
        for shard in self._shards:
            source = numbers(self._admin, self.key("in", shard))
            made = numbers(self._admin, self.key("out", shard))
            buried = numbers(self._admin, f"{self.key('in', shard)}:dead-letters")
            assert sorted([*made, *buried]) == sorted(source)
            assert all(number % 97 == 0 for number in buried)
            assert int(self._admin.hget(self.key("sums", shard), "seen")) == len(made)
            present += source
        assert len(present) == len(set(present)), "something was written twice"
        assert self.kept <= set(present), "what WAIT had confirmed is lost"
        self._admin.close()
        return len(self.acknowledged.difference(present))

    def _stream(self, client: Any) -> Any:
        return self._half.lib.ShardedStream(client, f"in {self._half}", shards=self._shards, key=self._shard_of)

    def _shard_of(self, value: Any) -> str:
        return self._shards[int(value["n"]) % len(self._shards)]

    def _handle(self, delivery: Any) -> None:
        number = int(delivery.value["n"])
        shard = self._shard_of(delivery.value)
        delivery.emit(self.key("out", shard), {"n": number})
        delivery.execute("HINCRBY", self.key("sums", shard), "seen", 1)
        if number % 97 == 0:
            raise self._half.lib.Reject("every 97th")
        if number % 31 == 0 and delivery.attempt == 1:
            raise self._half.lib.Retry("every 31st, once")

    def _chunks(self, stream: Any) -> Iterator[Callable[[], Any]]:
        """Chunks; what is not kept is not written again, since nobody could tell whether it is there."""
        marks = Marks(self._url)
        while not self._ending.is_set():
            values = [{"n": next(self._numbers)} for _ in range(CHUNK)]
            before = {shard: marks.of(self.key("in", shard)) for shard in self._shards}
            yield partial(stream.append_many, values)
            self._chunk += 1
            self.acknowledged.update(value["n"] for value in values)
            sound = {shard for shard, mark in before.items() if marks.kept(mark, self.key("in", shard))}
            self.kept.update(value["n"] for value in values if self._shard_of(value) in sound)
            self._hold_back()
        marks.close()

    def _singles(self, stream: Any) -> Iterator[Callable[[], Any]]:
        """Single entries, each appended by its name until it is kept."""
        marks = Marks(self._url)
        while not self._ending.is_set():
            number = next(self._numbers)
            value = {"n": number}
            key = self.key("in", self._shard_of(value))
            kept = False
            while not kept:
                before = marks.of(key)
                yield partial(stream.append, value, idempotency_key=str(number))
                self.acknowledged.add(number)
                kept = marks.kept(before, key)
            self.kept.add(number)
        marks.close()

    def _hold_back(self) -> None:
        def close() -> bool:
            try:
                ahead = sum(
                    self._admin.xlen(self.key("in", shard)) - self._admin.xlen(self.key("out", shard))
                    for shard in self._shards
                )
            except redis.RedisError:
                return True  # a master is down: the more is to be written, the better
            return int(ahead) < AHEAD

        until(lambda: self._ending.is_set() or self._chunk < self._wanted or close(), "the consumers keep up")


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    with redis_cluster() as cluster:
        yield cluster


def test_what_wait_confirmed_outlives_every_crash(own_cluster: Cluster) -> None:
    """Both halves at once. In every other crash something that was acknowledged is lost for certain."""
    shards = shards_apart(own_cluster)
    works = [Work(half, own_cluster, shards) for half in HALVES.values()]
    with ExitStack() as stack:
        for work in works:
            work.start(stack)
        for number in range(FAILOVERS + 1):
            before = [work.progress() for work in works]

            def all_at_work(before: list[list[int]] = before) -> bool:
                pairs = zip(works, before, strict=True)
                return all(
                    now > then + 100 for work, old in pairs for now, then in zip(work.progress(), old, strict=True)
                )

            works[number % 2].until(all_at_work, "all shards are worked on")
            if number < FAILOVERS:
                key = works[0].key("in", shards[number % len(shards)])
                crashed = crash(own_cluster, key, unreplicated=[work.write for work in works if number % 2 == 0])
                own_cluster.master_of(key)  # the replica that took over
                own_cluster.restart(crashed)
        for work in works:
            work.end_producers()
            work.until(work.settled, "nothing is left to do")
    for work in works:
        lost = work.check()
        assert lost > 0, "no crash lost anything: nothing was tried"
        print(f"{lost} of {len(work.acknowledged)} acknowledged are lost, none of {len(work.kept)} kept")  # noqa: T201
