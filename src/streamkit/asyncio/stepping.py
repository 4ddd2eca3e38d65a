"""Single steps for those who write their own loop: read, ack, nack, reject, reap."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from streamkit._core.errors import ServerUnavailable
from streamkit._core.groups import Reject, Retry
from streamkit.asyncio.batches import Batch
from streamkit.asyncio.consuming import Consuming
from streamkit.asyncio.deliveries import Delivery
from streamkit.asyncio.keeping import Refused
from streamkit.asyncio.lanes import GroupMissing
from streamkit.asyncio.looking import SLICE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from streamkit.asyncio.links import Link


class Stepping(Consuming):
    """A consumer without a loop: each delivery is held, and kept fresh, until it is settled."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._begun: list[Delivery[Any]] = []
        """Held, and not handed out yet: a call that fails, or is cancelled, leaves it to the next one."""

    async def read(self, count: int, wait: float) -> list[Delivery[Any]]:
        """Retries that are due, then new entries; waits for the first of them if there are none."""
        until = time.monotonic() + wait
        try:
            while True:
                link = await self.line.link()
                if self.courses.look_again():
                    self.taking.search_own()
                await self.courses.join(link)
                if self._holding is not None:
                    await self._holding.look(link)
                await self.taking.recover(link)
                await self._late(link, count)
                await self._new(link, count, 0.0)
                left = until - time.monotonic()
                if self._begun or self.stopping.requested or left <= 0:
                    self.line.answered()
                    return self._hand_out(count)
                await self._new(link, count, min(self.settling.until_due(left), SLICE))
                if self._begun:
                    return self._hand_out(count)
        except GroupMissing as event:
            await self.overcome(event)
            return self._hand_out(count)
        except (ServerUnavailable, Refused) as event:
            raise await self._failed(event) from None

    async def _late(self, link: Link, count: int) -> None:
        while len(self._begun) < count and (due := self.settling.due()) is not None:
            self._take(await self.taking.begin(link, *due))

    async def _new(self, link: Link, count: int, wait: float) -> None:
        again = not wait
        while len(self._begun) < count:
            batch = self.taking.next_ready()
            if batch is None:
                # What was sent by a call that was cancelled, or in another slot, says what there was then: it is due
                # first, and only then is everything looked at that may have something now.
                if not self.taking.looking.count:
                    lane, again = self.taking.looking.choose(again=again), False
                    if lane is not None:
                        self.taking.looking.look(link, lane, count - len(self._begun))
                    elif wait > 0 and not self._begun:
                        if not self.courses.newest:
                            await self.stopping.wait(min(wait, 0.1))
                            break
                        self.taking.looking.look_waiting(link, count, wait)
                        wait = 0.0
                    else:
                        break
                await link.flush()
                await self.taking.receive(link)
                batch = self.taking.next_ready()
            self._take(batch)
        if self.settling.owes:  # what could not be decoded
            await self.settling.flush(link)

    async def reap(self, count: int) -> list[Delivery[Any]]:
        """Take over what nobody is handling, up to so many, and begin it."""
        try:
            link = await self.line.link()
            await self.courses.join(link)
            await self.taking.sweep_all(link, count)
            while len(self._begun) < count and (suspect := self.taking.next_suspect()) is not None:
                self._take(await self.taking.begin(link, suspect.lane, suspect.entry_id))
            if self.settling.owes:
                await self.settling.flush(link)
        except GroupMissing as event:
            await self.overcome(event)
        except (ServerUnavailable, Refused) as event:
            raise await self._failed(event) from None
        return self._hand_out(count)

    def _take(self, batch: Batch | None) -> None:
        if batch is None:
            return
        deliveries = self.taking.deliveries(batch)
        for delivery in deliveries:
            self.leases.keep(batch.lane, delivery._id)  # noqa: SLF001
        self.leases.release(batch.hand)
        self._begun += deliveries

    def _hand_out(self, count: int) -> list[Delivery[Any]]:
        """What was begun, in this call or in one that failed, and is held still."""
        begun, self._begun = self._begun[:count], self._begun[count:]
        return [each for each in begun if self.leases.holds(each._batch.lane, each._id)]  # noqa: SLF001

    async def ack(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Settle deliveries as their handlers' return would."""
        for delivery in deliveries:
            self.leases.forgo(delivery._batch.lane, delivery._id)  # noqa: SLF001
            self.finish(delivery)
        await self._flush()

    async def nack(self, deliveries: Sequence[Delivery[Any]], delay: timedelta | None) -> None:
        """Have deliveries handled again."""
        for delivery in deliveries:
            self.leases.forgo(delivery._batch.lane, delivery._id)  # noqa: SLF001
            self.settling.fail(delivery._batch.lane, delivery._id, Retry(delay=delay), delivery.attempt)  # noqa: SLF001
        await self._flush()

    async def reject(self, delivery: Delivery[Any], reason: str) -> None:
        """Dead-letter a delivery."""
        self.leases.forgo(delivery._batch.lane, delivery._id)  # noqa: SLF001
        self.settling.fail(delivery._batch.lane, delivery._id, Reject(reason), delivery.attempt)  # noqa: SLF001
        await self._flush()

    async def _flush(self) -> None:
        self.tell()
        try:
            await self.settling.flush(await self.line.link())
            self.line.answered()
        except GroupMissing as event:
            await self.overcome(event)
        except (ServerUnavailable, Refused) as event:
            raise await self._failed(event) from None

    async def _failed(self, event: ServerUnavailable | Refused) -> ServerUnavailable:
        """Keep what is owed for the next step; the error to raise."""
        await self.cut_off(event)
        return event.error if isinstance(event, Refused) else event
