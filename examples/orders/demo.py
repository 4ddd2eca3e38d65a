"""The demo itself: the stream, the producer, both teams, the timer, and everything a person may ask for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from examples.orders.ending import end
from examples.orders.events import CODEC, OrderEvent, Work
from examples.orders.noticing import Log, Tally
from examples.orders.producing import Producer
from examples.orders.settings import ANALYTICS, CONSUMERS, NOTIFICATIONS, Settings
from examples.orders.team import Refused, Team
from streamkit import EntryId, StreamkitError
from streamkit.asyncio import CappedStream, DeadLetterQueue, Replayer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import redis.asyncio
    from typing_extensions import Self

    from streamkit import Entry


class Demo:
    """Everything that runs behind the page; work begins on entering it.

    Args:
        client: The server; replies as bytes.
        settings: Names and times.
    """

    def __init__(self, client: redis.asyncio.Redis, settings: Settings) -> None:
        self.settings = settings
        self.tally, self.log, self.work = Tally(), Log(), Work()
        self.sweeping = True
        """Whether the timer reaps."""
        self.sweep_due = 0.0
        self.client = client
        self.stream: CappedStream[OrderEvent] = CappedStream(
            client, settings.stream_key, maxlen=settings.maxlen, codec=CODEC
        )
        self.dead_letters = DeadLetterQueue(client, settings.dead_letters)
        # By its key, not by the stream: whatever stands there is shown, events or not.
        self.history = Replayer(client, settings.stream_key)
        self.producer = Producer(self.stream, self.tally, self.log)
        self._timer: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        handlers = {NOTIFICATIONS: self.work.notify, ANALYTICS: self.work.analyse}
        self.teams = {
            group: Team(client, self.stream, group, handle=handle, settings=settings, tally=self.tally, log=self.log)
            for group, handle in handlers.items()
        }

    async def __aenter__(self) -> Self:
        """Begin: on an empty stream, unless the settings say otherwise."""
        await self.client.ping()
        if self.settings.reset:
            await self.client.unlink(*self.settings.keys)
        self._start()
        self._timer = asyncio.create_task(self._sweep(), name="timer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything; what was fetched and not handled is given back."""
        await end(self._timer)
        await self._stop()

    def _start(self) -> None:
        for group, names in CONSUMERS.items():
            for name in names:
                self.teams[group].add(name)
        self.producer.start()

    async def _stop(self) -> None:
        await self.producer.stop()
        await asyncio.gather(*(team.stop() for team in self.teams.values()))

    # -- what a person may ask for ------------------------------------------------------------------------------------

    def team(self, group: str) -> Team:
        """The team of a group."""
        if group not in self.teams:
            raise Refused(f"there is no group {group!r}; there are {' and '.join(self.teams)}", missing=True)
        return self.teams[group]

    def crash(self, group: str, name: str, count: int) -> None:
        """Have a worker drop its next deliveries."""
        self.team(group).worker(name).crashes += count
        self.log.add(f"{name} is going to crash: it drops its next {count}")

    async def reap(self, group: str, name: str) -> int:
        """Have a worker take over what nobody handles."""
        return await self.team(group).worker(name).reap()

    async def add(self, group: str, name: str) -> None:
        """Have another worker join a group."""
        async with self._changing:
            self.team(group).add(name)
            self.log.add(f"{name} joined {group}")

    async def remove(self, group: str, name: str) -> tuple[int, str]:
        """Have a consumer leave a group; how many pending events went to which peer."""
        async with self._changing:
            return await self.team(group).remove(name)

    async def redrive(self, ids: Sequence[str]) -> int:
        """Move dead letters back to the stream."""
        moved = await self.dead_letters.redrive(ids)
        self.log.add(f"{moved} redriven: back in the stream, with new IDs, for both groups")
        return moved

    async def discard(self, ids: Sequence[str]) -> int:
        """Drop dead letters for good."""
        dropped = await self.dead_letters.discard(ids)
        self.log.add(f"{dropped} dead letters discarded")
        return dropped

    async def replay(
        self, start: str, end: str, limit: int, *, reverse: bool
    ) -> tuple[list[Entry[dict[str, str]]], bool]:
        """The entries of a range of IDs, no group touched; whether there are more than that."""
        first, last = (EntryId.parse(each) if each else None for each in (start, end))
        entries = [each async for each in self.history.entries(first, last, limit=limit + 1, reverse=reverse)]
        return entries[:limit], len(entries) > limit

    async def trim(self, length: int) -> int:
        """Keep the newest entries only; how many were removed."""
        shorter = CappedStream(self.client, self.settings.stream_key, maxlen=length, approximate=False)
        removed = await shorter.trim()
        self.log.add(f"trimmed to {length}: {removed} removed")
        return removed

    async def reset(self) -> None:
        """Begin anew: no events, no groups, no dead letters, the consumers of the start."""
        async with self._changing:
            await self._stop()
            await self.client.unlink(*self.settings.keys)
            self.tally.produced = self.tally.acked = self.tally.claimed = 0
            self.work.mended, self.work.turnover = False, type(self.work.turnover)(0)
            self.sweeping, self.producer.rate = True, 0
            self.log.lines.clear()
            self.log.add("reset")
            self._start()

    # -- the timer ----------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """What `GroupConsumer.run` does by itself: look, now and then, for what nobody handles any more."""
        clock = asyncio.get_running_loop()
        every = self.settings.sweep_every.total_seconds()
        while True:
            self.sweep_due = clock.time() + every
            await asyncio.sleep(every)
            if self.sweeping:
                with suppress(StreamkitError):
                    for team in self.teams.values():
                        await self._sweep_one(team)

    async def _sweep_one(self, team: Team) -> None:
        holders = {
            pending.consumer async for pending in team.outside.pending() if pending.idle >= self.settings.min_idle_time
        }
        if not holders or not team.workers:
            return
        # Rather a peer than the one that crashed with it.
        names = sorted(team.workers, key=lambda name: name in holders)
        taken = await team.workers[names[0]].reap()
        self.log.add(f"the timer had {names[0]} reap {taken} of {team.group}")
