"""Writes events: so many at once, or a steady rate."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from examples.orders.ending import end
from examples.orders.events import Maker, OrderEvent
from streamkit import StreamkitError

if TYPE_CHECKING:
    from examples.orders.noticing import Log, Tally
    from streamkit import EntryId
    from streamkit.asyncio import CappedStream

TICK = 0.1
"""Seconds between two appends at a steady rate."""


class Producer:
    """The one that writes to the stream.

    Args:
        stream: Where to.
        tally: Counts what was written.
        log: Told when writing fails.
    """

    def __init__(self, stream: CappedStream[OrderEvent], tally: Tally, log: Log) -> None:
        self.rate = 0
        """Events in a second."""
        self._stream = stream
        self._tally = tally
        self._log = log
        self._maker = Maker()
        self._task: asyncio.Task[None] | None = None

    async def produce(self, count: int, event_type: str | None, customer: str | None) -> int:
        """Append so many events, each trimming the stream in the same step."""
        made = (self._maker.event(event_type, customer) for _ in range(count))
        written = await self._stream.append_many(made)
        self._tally.produced += written
        return written

    async def poison(self) -> EntryId:
        """Append a poison pill."""
        entry_id = await self._stream.append(self._maker.poison_pill())
        self._tally.produced += 1
        return entry_id

    def start(self) -> None:
        """Begin to produce at `rate`."""
        self._task = asyncio.create_task(self._steadily(), name="producer")

    async def stop(self) -> None:
        """Produce no more."""
        await end(self._task)

    async def _steadily(self) -> None:
        owed, then = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            # After a pause at most one second's worth is made up for.
            owed = min(owed + self.rate * (now - then), self.rate)
            then = now
            if owed >= 1:
                count = int(owed)
                owed -= count
                try:
                    await self.produce(count, None, None)
                except StreamkitError as error:
                    self._log.add(f"producing failed: {error}")
                    await asyncio.sleep(1)
