"""A worker: one consumer of a group in a loop of its own steps, which can be told to crash."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from examples.orders.events import OrderEvent
from streamkit import ServerUnavailable, StreamkitError
from streamkit.asyncio import Delivery, GroupConsumer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.orders.noticing import Log, Narrator, Tally

AT_ONCE = 10
WAIT = timedelta(milliseconds=250)
TAKES = 0.005
"""Seconds that an event takes to handle."""


class Worker:
    """Runs a consumer by single steps.

    `GroupConsumer.run` would do for the work itself. The steps are here for what a person may ask for meanwhile: a
    crash, a reap, a removal.

    Args:
        consumer: Whose steps.
        narrator: Its observer.
        handle: What to do with an event; what it raises counts as a failed attempt.
        tally: Counts acks.
        log: Told of crashes.
    """

    def __init__(
        self,
        consumer: GroupConsumer[OrderEvent],
        narrator: Narrator,
        handle: Callable[[OrderEvent], None],
        tally: Tally,
        log: Log,
    ) -> None:
        self.consumer = consumer
        self.narrator = narrator
        self.processed = 0
        self.crashes = 0
        """How many of the next deliveries are dropped."""
        self._handle = handle
        self._tally = tally
        self._log = log
        self._leaving = False
        self._heir: GroupConsumer[OrderEvent] | None = None
        self._moved = 0
        self._reaps: deque[asyncio.Future[int]] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The consumer's name."""
        return self.consumer.name

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._work(), name=self.name)

    async def reap(self) -> int:
        """Have the worker take over what nobody handles; how many events it got."""
        if self._task is None or self._task.done():
            return 0
        asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reaps.append(asked)
        return await asked

    async def stop(self, heir: GroupConsumer[OrderEvent] | None = None) -> int:
        """End after the events in hand; an heir gets what is pending, and the number of that is returned."""
        self._heir, self._leaving = heir, True
        if self._task is not None:
            if heir is None:
                self.consumer.stop()  # so that it does not wait for a server that is away
            with suppress(StreamkitError):  # it was told when it happened
                await self._task
        return self._moved

    async def _work(self) -> None:
        try:
            while True:
                try:
                    async with self.consumer:
                        if await self._until_crash():
                            self.narrator.retries.clear()
                            continue  # as a new process would: the same name, nothing in hand
                        if self._heir is not None:
                            self._moved = await self._heir.take_over(self.name)
                        return
                except ServerUnavailable as error:
                    if self._leaving:
                        return
                    self._log.add(f"{self.name}: the server is away ({error})")
                    await asyncio.sleep(1)
        except Exception as error:
            self._log.add(f"{self.name} has ended: {error}")
            raise
        finally:
            self._answer(0)

    async def _until_crash(self) -> bool:
        """Handle events until told to leave (False), or until some were dropped as if the process had died (True)."""
        while not self._leaving:
            try:
                if self._reaps:
                    deliveries = await self.consumer.reap()
                    self._answer(len(deliveries))
                else:
                    deliveries = await self.consumer.read(count=AT_ONCE, wait=WAIT)
                if await self._handle_all(deliveries):
                    return True
            except ServerUnavailable:
                await asyncio.sleep(0.5)
        return False

    async def _handle_all(self, deliveries: Sequence[Delivery[OrderEvent]]) -> bool:
        handled: list[Delivery[OrderEvent]] = []
        dropped: list[str] = []
        succeeded = 0
        for delivery in deliveries:
            self.narrator.retries.pop(str(delivery.id), None)
            if self.crashes:
                self.crashes -= 1
                dropped.append(str(delivery.id))
                continue
            await asyncio.sleep(TAKES)
            try:
                self._handle(delivery.value)
            except Exception as error:  # noqa: BLE001 - whatever the handler raises is for the retry policy
                delivery.fail(error)
            else:
                succeeded += 1
            handled.append(delivery)
        if handled:
            await self.consumer.ack(*handled)
            self.processed += succeeded
            self._tally.acked += succeeded
        if dropped:
            self._log.add(f"{self.name} crashed with {len(dropped)} unacked: {', '.join(dropped)}")
        return bool(dropped)

    def _answer(self, count: int) -> None:
        while self._reaps:
            asked = self._reaps.popleft()
            if not asked.done():
                asked.set_result(count)
