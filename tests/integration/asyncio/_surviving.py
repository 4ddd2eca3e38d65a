"""Work that goes on while the nodes of a cluster change: written, read with a checkpoint, consumed by a group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from redis.exceptions import RedisClusterException, RedisError

from streamkit._core.keys import companion
from streamkit.asyncio import CheckpointedReader, Delivery, GroupConsumer, RetryPolicy, Stream
from streamkit.testing import Cluster, Node
from tests.integration.asyncio._groups import GROUP, Fields, pending_in
from tests.integration.asyncio._jobs import Sum
from tests.integration.asyncio._readers import numbers_in
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

PATIENT = RetryPolicy(max_deliveries=1000)
LONG = timedelta(seconds=60)
REDIRECTS = pytest.mark.parametrize("kind", ["MOVED", "ASK"])


async def replicated(node: Node) -> None:
    """Wait until a replica of a node has everything that was written to it, by whichever connection."""
    role: Any = node.call("ROLE")
    written = int(role[1])

    async def acked() -> bool:
        # There are never so many: it asks replicas how far they are. (That it speaks of this connection's own writes
        # only, and also of replicas that still load what was before, does not matter here.)
        node.call("WAIT", 99, 10)
        now: Any = node.call("ROLE")
        return any(int(offset) >= written for _, _, offset in now[2])

    await until(acked)


@dataclass
class Work:
    """A stream that is written, and what reads it.

    Attributes:
        nodes: The client.
        source: The key that is written.
        state: The checkpoint of the reader, which passes everything on in the same step.
        concurrency: Of the group, which passes everything on with the ack.
    """

    nodes: Any
    source: str
    state: str
    concurrency: int = 1
    recorder: Recorder = field(default_factory=Recorder)
    written: int = 0
    writing: bool = False
    ended: bool = False

    def __post_init__(self) -> None:
        self.reader = CheckpointedReader(
            self.nodes, self.source, self.state, state=Sum(), observer=self.recorder, count=50
        )
        self.consumer = GroupConsumer(
            self.nodes, self.source, GROUP, "a", observer=self.recorder, retry=PATIENT, min_idle_time=LONG
        )

    @property
    def read(self) -> str:
        """Where the reader passes entries on to."""
        return companion(self.state, "read")

    @property
    def handled(self) -> str:
        """Where the group does."""
        return companion(self.source, "handled")

    async def values(self) -> AsyncIterator[dict[str, Any]]:
        """Numbers, as long as there is writing."""
        while self.writing:
            self.written += 1
            yield {"n": self.written - 1}
            await pause(0.002)

    async def write(self) -> int:
        """Write all of it, in one call for each time that there is writing."""
        appended = 0
        while not self.ended:
            appended += await Stream(self.nodes, self.source).append_many(self.values())
            await pause(0.01)
        return appended

    async def read_on(self) -> None:
        """Sum up and pass on what is read."""
        async with self.reader:
            async for entry in self.reader:
                self.reader.state.total += int(entry.value["n"])
                self.reader.emit(self.read, entry.value)

    async def consume(self) -> None:
        """Pass on what the group is handed."""

        async def handle(delivery: Delivery[Fields]) -> None:
            delivery.emit(self.handled, delivery.value)

        await self.consumer.run(handle, concurrency=self.concurrency)

    async def counts(self) -> tuple[int, int]:
        """How many were passed on by the reader, and by the group; none are known of while a node is down."""
        try:
            return await self.nodes.xlen(self.read), await self.nodes.xlen(self.handled)
        except (RedisError, OSError, RedisClusterException):
            return 0, 0

    async def caught_up(self) -> bool:
        """Whether everything that was written was passed on."""
        return await self.counts() == (self.written, self.written)

    async def check(self) -> None:
        """Nothing is lost, and nothing doubled."""
        await until(self.caught_up, "everything written was passed on")
        numbers = list(range(self.written))
        assert await numbers_in(self.nodes, self.source) == numbers
        assert await numbers_in(self.nodes, self.read) == numbers
        assert sorted(await numbers_in(self.nodes, self.handled)) == numbers
        assert await self.consumer.lag() == 0

        async def settled() -> bool:
            return await pending_in(self.nodes, self.source) == []

        await until(settled)
        for event in ("on_gap", "on_group_missing", "on_dead_letter", "on_buried", "on_unread"):
            assert self.recorder.of(event) == []


@asynccontextmanager
async def at_work(work: Work) -> AsyncIterator[None]:
    """Have it done beside the test, until its end; then nothing is lost, and nothing doubled."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(work.read_on, stop=work.reader.stop))
        await stack.enter_async_context(running(work.consume, stop=work.consumer.stop))
        writer = await stack.enter_async_context(running(work.write))
        work.writing = True

        async def going_on() -> bool:
            return min(await work.counts()) > begun

        try:
            begun = 0
            await until(going_on)
            yield
            work.writing = True
            begun = work.written
            await until(going_on)
        finally:
            work.writing, work.ended = False, True
        assert await writer.result() == work.written
        await work.check()
    saved = await work.reader.saved()
    assert saved is not None
    assert saved.state == Sum(sum(range(work.written)))


async def rest(work: Work) -> None:
    """Write no more, and wait until everything is passed on: then all of it waits."""
    work.writing = False
    await until(work.caught_up)
    await pause(0.6)


def other_master(cluster: Cluster, node: Node) -> Node:
    """A master that is not this one."""
    return next(master for master in cluster.masters() if master is not node)


@contextmanager
def moved(cluster: Cluster, key: str, kind: str) -> Iterator[tuple[Node, Node]]:
    """Move the slot of a key, or (``"ASK"``) only its keys yet, so that its node redirects; gives both nodes."""
    old, slot = cluster.master_of(key), cluster.slot_of(key)
    new = other_master(cluster, old)
    cluster.begin_migration(slot, new)
    if kind == "ASK":
        cluster.move_keys(slot)
        yield old, new
        cluster.end_migration(slot)
    else:
        cluster.end_migration(slot)
        yield old, new
