# Generated from src/streamkit/asyncio/concurrently.py by tools/generate_sync.py: do not edit.
"""Several handlers at once: threads, or tasks."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamkit._core.errors import InvalidArgument, ServerUnavailable
from streamkit._core.groups import Turns
from streamkit._sync._runtime import Bell, Workers, refuse_result
from streamkit._sync.batches import Batch
from streamkit._sync.consuming import Consuming
from streamkit._sync.keeping import Refused
from streamkit._sync.lanes import GroupMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from streamkit._sync.deliveries import Delivery
    from streamkit._sync.lanes import Lane
    from streamkit._sync.leasing import Hand
    from streamkit._sync.links import Link

POLL = 0.05
"""Seconds between two looks for new entries while handlers run and nothing is left to begin."""


@dataclass(eq=False)
class Job:
    """What one handler call is given, and what came of it."""

    batch: Batch
    deliveries: list[Delivery[Any]]
    error: BaseException | None = None
    key: Hashable = None
    leads: bool = False
    """Whether others of its key wait until it is over."""
    stale: bool = False
    """Whether it was held up before it began, for longer than its lease was good for."""

    @property
    def hand(self) -> Hand:
        """What it is held by."""
        return self.batch.hand


class Concurrently(Consuming):
    """Hands out entries, or batches, to several handlers; with a ``key`` those of one key in order."""

    def run(
        self,
        handle: Callable[[Any], object],
        *,
        batches: bool,
        concurrency: int,
        key: Callable[[Any], Hashable] | None,
        patience: Callable[[], float | None],
    ) -> None:
        """Until stopped; ``patience`` says how long running handlers are waited for then."""
        self._handle = handle
        self._batches = batches
        self._concurrency = concurrency
        self._key = key
        self._queue: deque[Job] = deque()
        self._running = 0
        self._done: deque[Job] = deque()
        self._bell = Bell()
        self._open: dict[Hand, int] = {}
        self._behind: dict[Hashable, deque[Job]] = {}
        self._alone: Batch | None = None
        self._turns = Turns()
        self._cut = list[Job]()
        self._fatal: BaseException | None = None
        self._window = time.monotonic()
        self._finished_in_window = 0
        workers: Workers[Job] = Workers(concurrency, self._work)
        patient = True
        try:
            while not self.stopped() and self._fatal is None:
                try:
                    self._turn(self.line.link(), workers)
                    self.line.answered()
                except (ServerUnavailable, Refused, GroupMissing) as event:
                    if self.stopped():
                        self.cut_off(event)
                        break
                    self.overcome(event)
                    if isinstance(event, GroupMissing):
                        self._take_left(event.lane)
        except Exception:
            raise
        except BaseException:
            patient = False  # cancelled, or Ctrl-C: that means now
            raise
        finally:
            # Peers need not wait for handlers that are still at work here.
            self.give_back(self._take_left())
            workers.close(patience() if patient else 0.0)
            self._settle_done()
            self.close([job.batch for job in self._cut])
        if self._fatal is not None:
            raise self._fatal

    def _turn(self, link: Link, workers: Workers[Job]) -> None:
        self._settle_done()
        if self._alone is not None and not self._running:
            self.settling.flush(link)
            self._alone = None
        self.between(link)
        if self._alone is None:
            self._begin(link, workers)
        if self.settling.owes:
            self.settling.prepare(link)
            link.flush()
            self.settling.collect(link)
        if self._done or self._fatal or self.stopped():
            return
        behind = sum(map(len, self._behind.values()))
        room = self._alone is None and not self.full and self._queued() < self.pace.size and behind < self.pace.most
        if room and self._read(link):
            return
        if self._running:
            self._bell.wait(min(POLL, self.pause_for(POLL) or POLL) if room else POLL)
        else:  # too much waits for a retry, or there is nothing yet that could be waited for
            self.stopping.wait(min(POLL, max(self.pause_for(), 0.001)))

    def _read(self, link: Link) -> bool:
        """Read what there is, or wait for it if nothing is running; whether anything came, or was waited for."""
        batch, waited, again = self.taking.next_ready(), False, self._running > 0
        while batch is None and not waited:
            lane, again = None if self.taking.looking.count else self.taking.looking.choose(again=again), False
            if self.taking.looking.count:
                waited = True  # in another slot, beside a read whose reply came before
            elif lane is not None:
                self.taking.looking.look(link, lane, self.pace.size)
            elif self._running or self._queued() or not self.courses.newest:
                return False
            else:
                seconds = self.pause_for()
                if seconds < 0.001:
                    return True
                self.taking.looking.look_waiting(link, self.pace.size, seconds)
                waited = True
            link.flush()
            self.taking.receive(link)
            batch = self.taking.next_ready()
        if batch is not None:
            self._queue += self._jobs(batch)
        return True

    def _queued(self) -> int:
        """How many jobs could begin: those of lanes that are away keep nobody waiting."""
        return sum(not job.batch.lane.away for job in self._queue) if self.courses.absent else len(self._queue)

    def _jobs(self, batch: Batch) -> list[Job]:
        """The handler calls that a batch makes."""
        deliveries = self.taking.deliveries(batch)
        jobs = [Job(batch, deliveries)] if self._batches else [Job(batch, [each]) for each in deliveries]
        jobs = [job for job in jobs if job.deliveries]
        if not jobs:
            self.leases.release(batch.hand)
            return jobs
        self._open[batch.hand] = len(jobs)
        return jobs if self._key is None or self._batches else [job for job in jobs if self._keyed(job, self._key)]

    def _keyed(self, job: Job, key: Callable[[Any], Hashable]) -> bool:
        """Whether it has a key; without one it has failed, as if its handler had."""
        try:
            job.key = key(job.deliveries[0])
            hash(job.key)
        except Exception as error:  # noqa: BLE001 - the user's function: whatever it raises
            job.error = error
            self._running += 1
            self._done.append(job)
            return False
        return True

    # -- beginning ----------------------------------------------------------------------------------------------------

    def _begin(self, link: Link, workers: Workers[Job]) -> None:
        """Start what there is room for; or hold back, so that a suspect gets to run alone."""
        suspect = self.taking.peek_suspect()
        wanted = suspect is not None and suspect.alone
        mine = self._turns.mine(time.monotonic(), wanted=wanted)
        if wanted and not self._running and (mine or not self._queue):
            self._begin_alone(link, workers)
        elif not mine:
            self._begin_late(link)
            self._dispatch(link, workers)

    def _begin_alone(self, link: Link, workers: Workers[Job]) -> None:
        """One that may have ended the process of its holder runs with nothing beside it, everything else settled."""
        self.settling.flush(link)
        suspect = self.taking.next_suspect()
        if suspect is None:
            return
        batch = self.taking.begin(link, suspect.lane, suspect.entry_id, suspect.deliveries)
        if batch is not None:
            self._alone, batch.alone = batch, True
            self._turns.begin(time.monotonic())
            for job in self._jobs(batch):
                self._start(workers, job)

    def _begin_late(self, link: Link) -> None:
        """Retries that are due, and what was taken over, in front of what is new, as far as there is room for them."""
        late = deque[Job]()
        try:
            while self._running + len(late) < self._concurrency and not self.stopped():
                due, deliveries = self.settling.due(), 1
                if due is None:
                    suspect = self.taking.peek_suspect()
                    if suspect is None or suspect.alone:
                        break
                    self.taking.next_suspect()
                    due, deliveries = (suspect.lane, suspect.entry_id), suspect.deliveries
                batch = self.taking.begin(link, *due, deliveries)
                if batch is not None:
                    late += self._jobs(batch)
        finally:
            self._queue.extendleft(reversed(late))

    def _dispatch(self, link: Link, workers: Workers[Job]) -> None:
        away = list[Job]()  # they keep their places, and do not keep others waiting
        try:
            while self._queue and self._running < self._concurrency and not self.stopped():
                job = self._queue[0]
                if job.batch.lane.away:
                    away.append(self._queue.popleft())
                    continue
                stale = time.monotonic() >= job.hand.confirmed + self.leases.patience
                if stale and not self.confirm(link, job.batch):
                    return  # it waits until it is known to be ours
                self._queue.popleft()
                job.deliveries = [each for each in job.deliveries if each._id not in job.hand.lost]  # noqa: SLF001
                if not job.deliveries:
                    self._close(job)
                    continue
                if self._key is not None and not self._batches:
                    if job.key in self._behind:
                        self._behind[job.key].append(job)
                        continue
                    self._behind[job.key], job.leads = deque(), True
                self._start(workers, job)
        finally:
            self._queue.extendleft(reversed(away))

    def _start(self, workers: Workers[Job], job: Job) -> None:
        self._running += 1
        workers.put(job)

    def _work(self, job: Job) -> None:
        """In a thread or task of its own."""
        if time.monotonic() >= job.hand.confirmed + self.leases.patience:
            job.stale = True
            self._done.append(job)
            self._bell.ring()
            return
        result: object = None
        try:
            result = self._handle(job.deliveries if self._batches else job.deliveries[0])
        except Exception as error:  # noqa: BLE001 - whatever a handler raises
            job.error = error
        except BaseException as error:  # noqa: BLE001 - SystemExit, or a cancellation when the loop has ended
            self._cut_off(job, error)
            return
        try:
            refuse_result(result)
        except InvalidArgument as error:
            self._cut_off(job, error)
            return
        self._done.append(job)
        self._bell.ring()

    def _cut_off(self, job: Job, error: BaseException) -> None:
        """A handler ended the loop, or the loop its handler: the entry is given back as it is."""
        job.batch = job.batch.of([delivery._id for delivery in job.deliveries])  # noqa: SLF001
        job.batch.attempt = max(2, job.batch.attempt)
        self._cut.append(job)
        if not self.stopped():
            self._fatal = error
        self._bell.ring()

    # -- ending -------------------------------------------------------------------------------------------------------

    def _settle_done(self) -> None:
        """See to what handlers have finished."""
        while self._done:
            job = self._done.popleft()
            self._running -= 1
            if job.stale:
                # Asked for again with everything of ours that is not in hand, if it is ours still.
                self._let_go(job)
                self.taking.search_own()
                continue
            self._finished_in_window += len(job.deliveries)
            for delivery in job.deliveries:
                work = delivery._batch.works.get(delivery._id)  # noqa: SLF001
                if job.error is not None and (work is None or work.error is None):
                    delivery.fail(job.error)
                self.finish(delivery)
            self._close(job)
            if job.batch is self._alone:
                self._turns.end(time.monotonic())
        now = time.monotonic()
        if now - self._window >= 0.1 and self._finished_in_window:
            self.pace.handled(self._finished_in_window, now - self._window)
            self._window, self._finished_in_window = now, 0

    def _close(self, job: Job) -> None:
        """A job is over: its hand too, with the last of its jobs, and the next one of its key may begin."""
        left = self._open.get(job.hand, 1) - 1
        self._open[job.hand] = left
        if not left:
            del self._open[job.hand]
            self.leases.release(job.hand)
        if job.leads:
            self._queue.extendleft(reversed(self._behind.pop(job.key)))

    def _take_left(self, lane: Lane | None = None) -> list[Batch]:
        """What was not begun, of a lane or of all, each as a batch to give back; it is not held any more."""
        left = list[Batch]()
        for jobs in (self._queue, *self._behind.values()):
            for job in [job for job in jobs if lane is None or job.batch.lane is lane]:
                jobs.remove(job)
                left.append(job.batch.of(self._let_go(job)))
        return left

    def _let_go(self, job: Job) -> list[str]:
        """Hold a job's entries no more; their IDs."""
        ids = [delivery._id for delivery in job.deliveries]  # noqa: SLF001
        job.hand.ids = [entry_id for entry_id in job.hand.ids if entry_id not in ids]
        self._close(job)
        return ids
