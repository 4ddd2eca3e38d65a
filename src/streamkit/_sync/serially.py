# Generated from src/streamkit/asyncio/serially.py by tools/generate_sync.py: do not edit.
"""One handler at a time, in the thread or task that runs the loop."""

from __future__ import annotations

import time
from operator import length_hint
from typing import TYPE_CHECKING, Any

from streamkit._core.entries import new_entry
from streamkit._core.errors import ServerUnavailable
from streamkit._sync._runtime import refuse_result
from streamkit._sync.batches import Batch
from streamkit._sync.consuming import Consuming
from streamkit._sync.deliveries import Delivery
from streamkit._sync.keeping import Refused
from streamkit._sync.lanes import GroupMissing
from streamkit._sync.taking import BURIED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamkit._sync.links import Link

ACK_EVERY = 0.5
"""Seconds that acks wait at most for the end of a batch."""
LATE_FOR = 0.05
"""Seconds in a turn for retries and for what was taken over, so that new entries go on."""


class Serially(Consuming):
    """Handles entries one after the other, or batches.

    Acks and the next read but one go out in one write before the next is collected, and handled while the server is at
    the other. A blocking read is sent only when nothing is owed.
    """

    def run(self, handle: Callable[[Any], object], *, batches: bool) -> None:
        """Until stopped: ``handle`` takes a delivery, or with ``batches`` a list of them."""
        unfinished = list[Batch]()
        each = self._handle_together if batches else self._handle

        def work(link: Link, batch: Batch) -> None:
            unfinished.append(batch)
            try:
                each(link, batch, handle)
            except (ServerUnavailable, Refused):
                if batch.taken < len(batch.ids):
                    self.taking.put_back(batch.rest())
                unfinished.pop()
                raise
            except GroupMissing as event:
                if event.lane is not batch.lane:
                    self.taking.put_back(batch.rest())
                unfinished.pop()
                raise
            unfinished.pop()

        try:
            while not self.stopped():
                try:
                    link = self.line.link()
                    self.between(link)
                    self._late(link, work)
                    if not self.stopped():
                        self._turn(link, work)
                    self.line.answered()
                except (ServerUnavailable, Refused, GroupMissing) as event:
                    if self.stopped():
                        self.cut_off(event)
                        break
                    self.overcome(event)
        finally:
            self.close(unfinished)

    def _turn(self, link: Link, work: Callable[[Link, Batch], None]) -> None:
        batch, ahead = self.taking.next_ready(), True
        if batch is None and not self.taking.looking.count and not self._look(link):
            self.settling.prepare(link)
            link.flush()
            self.settling.collect(link)
            seconds = self.pause_for()
            if self.full or not self.courses.newest:
                self.stopping.wait(max(seconds, 0.01))
                return
            if seconds < 0.001 or self.settling.owes:
                return
            self.taking.looking.look_waiting(link, self.pace.size, seconds)
            ahead = False
        ahead = ahead and self.pace.ahead
        if batch is None:
            if self.taking.looking.count > 1:
                self.settling.prepare(link)  # behind reads that waited in several slots
            elif ahead and self.taking.plenty:
                self._look(link)  # the server is at it while the one before is read here, and handled
            link.flush()
            self.taking.receive(link)
            self.settling.collect(link, answered=True)
            batch = self.taking.next_ready()
        if batch is None:
            return
        if ahead and not self.taking.looking.count:
            self._look(link)
        self.settling.prepare(link)  # nobody keeps fresh what is handled: its acks must not wait for the next handler
        try:
            link.flush()
        except BaseException:
            self.taking.put_back(batch)  # held and not begun: nobody else would come back to it
            raise
        work(link, batch)

    def _look(self, link: Link) -> bool:
        """Queue acks and a read that does not wait; False: there is nothing to read, for all we know."""
        if self.full or self.taking.looking.count > 1:
            return False
        # While there is other work, nothing is waited for: new entries are looked for all the same.
        lane = self.taking.looking.choose() or (
            self.taking.looking.choose(again=True) if self.pause_for() < 0.001 else None
        )
        if lane is None:
            return False
        self.settling.prepare(link)
        self.taking.looking.look(link, lane, self.pace.size)
        return True

    def _until(self, batch: Batch, now: float) -> None:
        self.due: float = min(batch.hand.confirmed + self.leases.patience, now + ACK_EVERY)
        if self.stopped():  # looked at after it was set: stop() sets both, in the other order
            self.due = 0.0

    def _handle(  # noqa: PLR0912 - every entry goes through here: no calls that can be spared
        self, link: Link, batch: Batch, handle: Callable[[Any], object]
    ) -> None:
        clock, lane, hand, works, ids = time.monotonic, batch.lane, batch.hand, batch.works, batch.ids
        began, stream, settling = clock(), lane.key, self.settling
        self._until(batch, began)
        rest, acked, settled = iter(ids), 0, set[str]()
        try:
            for entry_id, value in zip(rest, self.taking.values(batch), strict=False):
                if clock() >= self.due:
                    # Not begun yet: up to here everything is handled.
                    batch.taken = len(ids) - length_hint(rest) - 1
                    settling.ack(lane, _without(ids[acked : batch.taken], settled))
                    acked = batch.taken
                    if self.stopped() or not self._midway(link, batch):
                        break
                if value is BURIED or entry_id in hand.lost:
                    settled.add(entry_id)
                    continue
                # Inline, since a call would cost as much as all of it.
                delivery: Delivery[Any] = new_entry(Delivery)
                delivery._stream = stream  # noqa: SLF001
                delivery._id = entry_id  # noqa: SLF001
                delivery._value = value  # noqa: SLF001
                delivery._batch = batch  # noqa: SLF001
                try:
                    result: object = handle(delivery)
                except Exception as error:  # noqa: BLE001 - whatever a handler raises
                    works.pop(entry_id, None)
                    settled.add(entry_id)
                    settling.fail(lane, entry_id, error, batch.attempt)
                else:
                    if result is not None:
                        refuse_result(result)
                    if works:
                        settled.add(entry_id)
                        self.finish(delivery)
            else:
                batch.taken = len(ids)
        except (ServerUnavailable, Refused, GroupMissing):
            raise
        except BaseException:
            # A handler ended the loop: its entry is given back as it is.
            batch.taken, batch.interrupted = len(ids) - length_hint(rest), True
            settling.ack(lane, _without(ids[acked : batch.taken - 1], settled))
            raise
        settling.ack(lane, _without(ids[acked : batch.taken], settled))
        if self.stopped() and batch.taken < len(ids):
            self.taking.put_back(batch.rest())  # to be given back
        self.leases.release(hand)
        self.pace.handled(batch.taken, clock() - began)
        if batch.alone:
            settling.flush(link)

    def _midway(self, link: Link, batch: Batch) -> bool:
        """In the middle of a batch: acks on their way, leases confirmed; whether to go on."""
        self.tell()
        self.settling.prepare(link)
        link.flush()
        confirmed = self.confirm(link, batch)
        self.settling.collect(link)
        self._until(batch, time.monotonic())
        return confirmed

    def _handle_together(self, link: Link, batch: Batch, handle: Callable[[Any], object]) -> None:
        began = time.monotonic()
        if began >= batch.hand.confirmed + self.leases.patience and not self.confirm(link, batch):
            self.leases.release(batch.hand)
            return
        deliveries = self.taking.deliveries(batch)
        if deliveries:
            try:
                self._handle_batch(batch, deliveries, handle)
            except BaseException:
                # The handler ended the loop: all of its batch is given back as it is, and counts as tried.
                batch.taken, batch.attempt = 0, max(2, batch.attempt)
                raise
        self.leases.release(batch.hand)
        self.pace.handled(batch.taken, time.monotonic() - began)
        if batch.alone:
            self.settling.flush(link)

    def _handle_batch(self, batch: Batch, deliveries: Sequence[Delivery[Any]], handle: Callable[[Any], object]) -> None:
        """Have a batch handled and settled; what is raised counts for all that did not fail by themselves."""
        works = batch.works
        try:
            result: object = handle(deliveries)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises
            for delivery in deliveries:
                work = works.get(delivery._id)  # noqa: SLF001
                if work is None or work.error is None:
                    delivery.fail(error)
        else:
            if result is not None:
                refuse_result(result)
        self.settling.ack(batch.lane, [each._id for each in deliveries if each._id not in works])  # noqa: SLF001
        if works:
            for delivery in [each for each in deliveries if each._id in works]:  # noqa: SLF001
                self.finish(delivery)

    def _late(self, link: Link, work: Callable[[Link, Batch], None]) -> None:
        """Retries that are due, and what was taken over, for a little while."""
        until = time.monotonic() + LATE_FOR
        while not self.stopped() and time.monotonic() < until:
            due, before, alone = self.settling.due(), 1, False
            if due is None:
                suspect = self.taking.peek_suspect()
                if suspect is None:
                    return
                due, before, alone = (suspect.lane, suspect.entry_id), suspect.deliveries, suspect.alone
                # One that may have ended the process of its holder is settled before anything else begins.
                if alone:
                    self.settling.flush(link)
                self.taking.next_suspect()
            self.settling.prepare(link)  # acks go with it
            batch = self.taking.begin(link, *due, before)
            if batch is not None:
                batch.alone = batch.alone or alone
                work(link, batch)


def _without(ids: Sequence[str], settled: set[str]) -> Sequence[str]:
    return [entry_id for entry_id in ids if entry_id not in settled] if settled else ids
