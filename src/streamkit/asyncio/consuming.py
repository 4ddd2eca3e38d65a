"""The loop of a `GroupConsumer`: one turn after the other, failures waited out, everything given back at the end."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from streamkit._core.errors import PermissionDenied, ServerUnavailable, StreamkitError
from streamkit._core.groups import Pace, RetryPolicy
from streamkit._core.members import LONG_AGO, RELEASED
from streamkit._core.refusals import typed
from streamkit._core.retry import RECONNECT
from streamkit._core.scripts import RELEASE
from streamkit.asyncio.batches import Batch
from streamkit.asyncio.holding import Holding
from streamkit.asyncio.keeping import Refused
from streamkit.asyncio.lanes import GroupMissing
from streamkit.asyncio.leasing import Leases
from streamkit.asyncio.lines import Line
from streamkit.asyncio.looking import SLICE
from streamkit.asyncio.settling import Settling
from streamkit.asyncio.taking import Taking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.observers import Observer
    from streamkit.asyncio._runtime import Stopping
    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.deliveries import Delivery
    from streamkit.asyncio.lanes import Courses, Lane
    from streamkit.asyncio.links import Link

FORGIVEN = 10.0
"""Seconds after which a node's next failure counts as its first."""
PATIENCE = 4.0
"""How much longer than it took to fail again a node is left alone."""
MOST_WAITING = 5000
"""Entries waiting for a retry before nothing new is read: each is held, and kept fresh."""


class Consuming:
    """What every way of consuming shares: the connection, the bookkeeping, the turns between handlers.

    Args:
        server: Where to.
        courses: What is consumed.
        observer: Told of everything that cannot be raised.
        stopping: Ends the loop.
        retry: What failures lead to.
        min_idle: Seconds after which an entry nobody keeps fresh is anybody's.
        count: Entries in a read, at most.
        concurrency: Handlers at once.
        delete: Whether entries are deleted with their ack.
        max_hold: Seconds that partitions are kept from expiring.
    """

    def __init__(
        self,
        server: Server,
        courses: Courses,
        observer: Observer,
        stopping: Stopping,
        *,
        retry: RetryPolicy,
        min_idle: float,
        count: int,
        concurrency: int,
        delete: bool,
        max_hold: float,
    ) -> None:
        self.courses = courses
        self.observer = observer
        self.stopping = stopping
        self.pace: Pace = Pace(concurrency, count)
        self.leases: Leases = Leases(server, min_idle)
        self.settling: Settling = Settling(self.leases, retry, observer, delete=delete)
        self.taking: Taking = Taking(
            courses,
            leases=self.leases,
            settling=self.settling,
            retry=retry,
            min_idle=min_idle,
            observer=observer,
        )
        self.line: Line = Line(server, observer, stopping)
        self._server = server
        self._holding = Holding(courses, max_hold, observer) if courses.partitioned else None
        if self._holding is not None:
            self.leases.beside(self._holding.keep, self._holding.every)
        self._min_idle_ms = int(min_idle * 1000)
        self._nodes: dict[tuple[str, int], tuple[int, float]] = {}
        """Nodes of a cluster that were away: how often in a row, and when last."""
        self.due: float = 0.0
        """When a loop over entries looks up: zero after a stop."""
        self._back: dict[Lane, list[str | int]] = {}
        """What is to be given back: ID, deliveries and idle time of each entry, in turn."""

    # -- beginning and ending -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, join the groups, begin to keep leases; raises whatever prevents it."""
        facts = await self._server.facts()
        if facts.eviction_policy not in {"noeviction", "unknown"}:
            self.observer.on_eviction_policy(facts.eviction_policy)
        self.taking.restart()
        try:
            while True:
                try:
                    await self.courses.join(await self.line.link())
                except Refused as refusal:
                    if self.stopping.requested:
                        raise refusal.error from None
                    await self.line.pause(refusal.error, lost=refusal.moved)
                else:
                    break
        except BaseException:
            await self.line.close()
            raise
        self.leases.start()

    async def give_back(self, unfinished: Sequence[Batch]) -> None:
        """Give back what was not begun, at once; what cannot be given back now is tried again by `close`."""
        self._gather(unfinished)
        try:
            link = await self.line.link()
            if self.taking.looking.count:
                await self._receive_last(link)
                self._gather()
            await self._send_back(link)
        except (ServerUnavailable, Refused, GroupMissing) as event:
            await self.cut_off(event)
        except StreamkitError:
            pass  # `close` meets it again, and raises it

    async def close(self, unfinished: Sequence[Batch] = ()) -> bool:
        """Settle what was handled, give back what was not begun, leave the group; whether nothing is left behind."""
        try:
            self.stopping.renew()
            link = await self.line.link()
            await self._settle_last(link)
            if self._holding is not None:
                await self._holding.look_last(link)
            self._gather(unfinished)
            return await self._send_back(link, leave=True)
        except (ServerUnavailable, Refused, GroupMissing) as event:
            if not isinstance(event, GroupMissing):
                self.observer.on_unsettled(event.error if isinstance(event, Refused) else event)
            return False
        finally:
            self.leases.drop()
            self.settling.forget()
            try:
                await self.leases.close()
            finally:
                await self.line.close()
            self.tell()

    async def _settle_last(self, link: Link) -> None:
        await self._receive_last(link)
        for _ in range(3):  # an effect may have to move on to the next partition, and a script to be sent by its source
            if self.settling.owes:
                await self.settling.flush(link)

    async def _receive_last(self, link: Link) -> None:
        """Read what is on its way still, so that it can be given back."""
        if self.taking.looking.count:
            await self.settling.collect(link)
            await self.taking.receive_all(link)

    def _gather(self, unfinished: Sequence[Batch] = ()) -> None:
        """Note everything that is not begun as to be given back; it is not held any more."""
        ready, suspects = self.taking.take_rest()
        for batch in (*unfinished, *ready):
            deliveries = "" if batch.attempt > 1 else 0  # put back what the read had counted
            words = self._back.setdefault(batch.lane, [])
            if batch.interrupted:
                words += (batch.ids[batch.taken - 1], "", LONG_AGO)
            for entry_id in batch.ids[batch.taken :]:
                words += (entry_id, deliveries, LONG_AGO)
        for batch in ready:
            self.leases.release(batch.hand)
        for suspect in suspects:
            self._back.setdefault(suspect.lane, []).extend((suspect.entry_id, "", LONG_AGO))
            self.leases.forgo(suspect.lane, suspect.entry_id)
        for lane, entry_id, delay in self.settling.take_waiting():
            # Anybody's once its wait is over.
            idle = max(0, self._min_idle_ms - int(delay * 1000))
            self._back.setdefault(lane, []).extend((entry_id, "", idle))
            self.leases.forgo(lane, entry_id)

    async def _send_back(self, link: Link, *, leave: bool = False) -> bool:
        """Give back what was gathered; ``leave``: and leave the group, if nothing else is ours."""
        left, denied = True, None
        lanes = {*self.courses.lanes, *self._back} if leave else set(self._back)
        for lane in sorted(lanes, key=lambda lane: lane.away):  # those of a node that is away last
            words = self._back.get(lane, [])
            for first in range(0, max(1, len(words)), 1500):
                last = "leave" if leave and first + 1500 >= len(words) else ""
                arguments = (RELEASED, last, *words[first : first + 1500])
                try:
                    reply = await link.run(RELEASE, partial(lane.member.call, RELEASE, arguments))
                except ResponseError as error:
                    left = False  # the group is gone, or the server refuses: what is ours ages until peers take it
                    found = typed(error, doing=f"giving back entries of {lane.key!r} in group {lane.member.group!r}")
                    denied = found if isinstance(found, PermissionDenied) else denied
                    break
                left = left and (not last or reply[2] == 1)
            else:
                self._back.pop(lane, None)
        if denied is not None:
            raise denied
        return left

    # -- a turn -------------------------------------------------------------------------------------------------------

    async def between(self, link: Link) -> None:
        """What is due between two batches: new partitions, a page of the sweep, what the heartbeat found."""
        self.tell()
        if self.courses.look_again():
            self.taking.search_own()
        await self.courses.join(link)
        await self.taking.sweep(link)
        if self._holding is not None and await self._holding.look(link):
            await self.leases.beat(link)  # what was buried is not begun any more

    def stopped(self) -> bool:
        """Whether the loop is to end."""
        return self.stopping.requested

    def tell(self) -> None:
        """Tell the observer, in the loop's own thread, what the heartbeat found."""
        while self.leases.losses:
            self.observer.on_lease_lost(self.leases.losses.popleft())
        if self.leases.failure is not None:
            failure, self.leases.failure = self.leases.failure, None
            raise failure

    def pause_for(self, most: float = SLICE) -> float:
        """Seconds until something is due."""
        if self.taking.suspects:
            return 0.0
        if self._holding is not None:
            most = self._holding.until_due(most)
        return self.settling.until_due(self.taking.until_sweep(most))

    @property
    def full(self) -> bool:
        """Whether so much waits for a retry that nothing new is to be read."""
        return self.settling.waiting >= MOST_WAITING

    async def overcome(self, event: ServerUnavailable | Refused | GroupMissing) -> None:
        """Wait out a failure."""
        if isinstance(event, GroupMissing):
            held = event.lane is not None and bool(self.leases.held(event.lane))
            self.settling.forget(event.lane)
            self.taking.forget(event.lane)
            self.leases.drop(event.lane)
            self.taking.search_own()  # another consumer may have made the group anew, and this one read from it
            try:
                link = await self.line.link()
                await self.courses.rejoin(link, event.lane, held=held)
            except (ServerUnavailable, Refused) as again:
                await self.overcome(again)
            return
        lost = await self.cut_off(event)
        error = event.error if isinstance(event, Refused) else event
        if error.node is None or not self._leave_alone(error.node, error):
            await self.line.pause(error, lost=lost)

    def _leave_alone(self, node: tuple[str, int], error: ServerUnavailable) -> bool:
        """If only one node of a cluster is away, go on with what the others have; whether that is so."""
        now = time.monotonic()
        failures, since = self._nodes.get(node, (0, now))
        failures = failures + 1 if now - since < FORGIVEN and not self.courses.heard_of(node, since) else 1
        delay = RECONNECT.delay(failures)
        if failures > 1:
            # A node that takes its time to fail again must not take most of it from the others.
            delay = max(delay, PATIENCE * (now - self.courses.looked_again))
        if not self.courses.leave_alone(node, delay):
            return False
        self._nodes[node] = failures, now
        self.observer.on_unavailable(error, failures, delay)
        return True

    async def cut_off(self, event: ServerUnavailable | Refused | GroupMissing) -> bool:
        """If the connection is lost: what was on its way goes over another one, if there is one to be had."""
        lost = isinstance(event, ServerUnavailable) or (isinstance(event, Refused) and event.moved)
        if lost:
            self.settling.lost()
            self.taking.lost()
            await self.line.close()
        return lost

    def finish(self, delivery: Delivery[Any]) -> None:
        """Settle a delivery whose handler left more to do than the ack."""
        batch, entry_id = delivery._batch, delivery._id  # noqa: SLF001
        lane, work = batch.lane, batch.works.pop(entry_id, None)
        if work is None or (work.error is None and not work.effects):
            self.settling.ack(lane, [entry_id])
        elif work.error is not None:
            self.settling.fail(lane, entry_id, work.error, delivery.attempt)
        else:
            self.settling.apply(lane, entry_id, work.effects, delivery.attempt)

    async def confirm(self, link: Link, batch: Batch) -> bool:
        """Ask whether a batch that was held up is still ours; nothing stale is begun."""
        if time.monotonic() >= batch.hand.confirmed + self.leases.patience:
            await self.leases.beat(link)
        if time.monotonic() < batch.hand.confirmed + self.leases.patience:
            return True
        self.taking.search_own()
        return False
