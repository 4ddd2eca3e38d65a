"""A group and its workers: who is in it, who joins, who leaves and hands over."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis.asyncio

from examples.orders.events import OrderEvent
from examples.orders.noticing import Log, Narrator, Tally
from examples.orders.worker import Worker
from streamkit.asyncio import CappedStream, GroupConsumer

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.orders.settings import Settings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
MOST = 8
"""Workers of one group, at most."""


def text(word: bytes | str) -> str:
    """What the server says: bytes, unless the URL asks redis-py for text."""
    return word.decode() if isinstance(word, bytes) else word


class Refused(Exception):
    """What a person asked for can't be done; says why, and whether it was not found."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True)
class Member:
    """A consumer as the server and its worker know it; ``running`` is False if no worker of ours has this name."""

    name: str
    pending: int
    idle_ms: int
    processed: int
    crashes: int
    running: bool


class Team:
    """The workers of one group.

    Args:
        client: Where to.
        stream: What they consume.
        group: The group's name.
        handle: What they do with an event.
        settings: Their times.
        tally: Counts for all of them.
        log: What happens to them.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        stream: CappedStream[OrderEvent],
        group: str,
        *,
        handle: Callable[[OrderEvent], None],
        settings: Settings,
        tally: Tally,
        log: Log,
    ) -> None:
        self.group = group
        self.workers: dict[str, Worker] = {}
        self.outside = GroupConsumer(client, stream, group, "page")  # never reads: it looks, and hands over
        self._client = client
        self._stream = stream
        self._handle = handle
        self._settings = settings
        self._tally = tally
        self._log = log

    def add(self, name: str) -> None:
        """Have another worker join."""
        if not NAME.fullmatch(name):
            raise Refused(
                "a name has 1 to 32 letters, digits, dots, hyphens or underscores, and begins with one of the first two"
            )
        if name in self.workers:
            raise Refused(f"{self.group} has a consumer {name} already; choose another name")
        if len(self.workers) >= MOST:
            raise Refused(f"{self.group} has {MOST} consumers; that is enough for a demo")
        narrator = Narrator(name, self._tally, self._log)
        consumer = GroupConsumer(
            self._client,
            self._stream,
            self.group,
            name,
            min_idle_time=self._settings.min_idle_time,
            retry=self._settings.retry,
            observer=narrator,
        )
        worker = self.workers[name] = Worker(consumer, narrator, self._handle, self._tally, self._log)
        worker.start()

    def worker(self, name: str) -> Worker:
        """The worker of this name."""
        if name not in self.workers:
            raise Refused(f"{self.group} has no consumer {name} at work here", missing=True)
        return self.workers[name]

    async def remove(self, name: str) -> tuple[int, str]:
        """Have a consumer hand what it has pending to a peer, and leave; how many events, and which peer."""
        peer = next((each for each in self.workers.values() if each.name != name), None)
        if peer is None:
            raise Refused(f"{name} is the last consumer of {self.group}: add another one first, to hand over to")
        if name in self.workers:
            worker = self.workers.pop(name)
            moved = await worker.stop(heir=peer.consumer)
        elif name in {member.name for member in await self.members()}:
            moved = await peer.consumer.take_over(name)  # left by a process that ended
        else:
            raise Refused(f"{self.group} has no consumer {name}", missing=True)
        self._log.add(f"{name} left {self.group}; {moved} pending went to {peer.name}")
        if moved:
            await peer.reap()  # taken over, they are pending with the peer; this hands them to its handler
        return moved, peer.name

    async def stop(self) -> None:
        """End all workers."""
        workers, self.workers = list(self.workers.values()), {}
        await asyncio.gather(*(worker.stop() for worker in workers))

    async def members(self) -> list[Member]:
        """Everybody in the group, as the server lists them."""
        try:
            found = await self._client.xinfo_consumers(self._stream.key, self.group)
        except redis.ResponseError:  # no such key, or no such group yet
            found = list[dict[str, Any]]()
        rows = {text(each["name"]): each for each in found}
        members: list[Member] = []
        for name in sorted({*rows, *self.workers}):
            row, worker = rows.get(name, {}), self.workers.get(name)
            members.append(
                Member(
                    name=name,
                    pending=int(row.get("pending", 0)),
                    # Since it was last given something, where the server tells (Redis 7.2), or since it last asked.
                    idle_ms=int(row.get("inactive", row.get("idle", -1))),
                    processed=worker.processed if worker else 0,
                    crashes=worker.crashes if worker else 0,
                    running=worker is not None,
                )
            )
        return members
