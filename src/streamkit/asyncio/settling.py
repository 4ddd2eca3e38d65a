"""What becomes of handled entries: acks in batches, effects and dead letters in steps of their own, retries in time."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from streamkit._core import commands
from streamkit._core.dead_letters import Provenance
from streamkit._core.effects import STEP_BYTES, STEP_EFFECTS
from streamkit._core.errors import LeaseLost, PermissionDenied
from streamkit._core.groups import Fate, RetryPolicy, verdict
from streamkit._core.members import Settled, Settlement, settle_arguments, settle_results
from streamkit._core.observers import EntryOfGroup
from streamkit._core.scripts import SETTLE
from streamkit.asyncio.lanes import GroupMissing, group_checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamkit._core.effects import Emit, Execute
    from streamkit._core.observers import Observer
    from streamkit._core.replies import Reply
    from streamkit.asyncio.lanes import Lane
    from streamkit.asyncio.leasing import Leases
    from streamkit.asyncio.links import Link, Ticket

AFTER_AWAY = 0.05
"""Seconds after a lane is tried again that its retries are."""
ACKS = 1000
"""IDs in one XACK."""


@dataclass
class Sent:
    """Settlements of a lane on their way."""

    lane: Lane
    acks: list[str]
    settlements: list[Settlement]
    ticket: Ticket


class Settling:
    """Settles entries of every lane; what is on its way is kept until the server has answered.

    Args:
        leases: What is held.
        retry: What failures lead to.
        observer: Told of retries, dead letters and lost leases.
        delete: Whether entries are deleted with their ack.
    """

    def __init__(self, leases: Leases, retry: RetryPolicy, observer: Observer, *, delete: bool) -> None:
        self._leases = leases
        self._retry = retry
        self._observer = observer
        self._delete = delete
        self._lanes: dict[Lane, None] = {}
        self._sent: list[Sent] = []
        self._waiting: list[tuple[float, int, Lane, str]] = []
        self._numbers = count()

    # -- what is to be done -------------------------------------------------------------------------------------------

    def ack(self, lane: Lane, ids: Sequence[str]) -> None:
        """Ack entries with the next flush."""
        lane.acks += ids
        self._lanes[lane] = None

    def apply(self, lane: Lane, entry_id: str, effects: Sequence[Emit | Execute], attempt: int) -> None:
        """Ack an entry with its effects, in one step."""
        self._settle(lane, Settlement(entry_id, effects, attempt=attempt))

    def bury(self, lane: Lane, letter: Provenance) -> None:
        """Dead-letter an entry."""
        self._settle(lane, Settlement(letter.entry_id, letter=letter, attempt=letter.attempt))

    def fail(self, lane: Lane, entry_id: str, error: BaseException, attempt: int) -> None:
        """See to a failure: a retry in time, or a dead letter."""
        decided = verdict(self._retry, error, attempt)
        if decided.fate is Fate.RETRY:
            self.defer(lane, entry_id, decided.delay)
            self._observer.on_retry(self.entry(lane, entry_id), attempt, decided.delay, error)
            return
        member = lane.member
        self.bury(
            lane,
            Provenance(
                member.stream,
                entry_id,
                decided.cause,
                reason=decided.reason,
                error=decided.error,
                group=member.group,
                consumer=member.consumer,
                attempt=attempt,
            ),
        )

    def defer(self, lane: Lane, entry_id: str, delay: float) -> None:
        """Have an entry handled again in so many seconds; its lease is kept, its body is not."""
        heapq.heappush(self._waiting, (time.monotonic() + delay, next(self._numbers), lane, entry_id))
        self._leases.keep(lane, entry_id)

    def _settle(self, lane: Lane, settlement: Settlement) -> None:
        lane.settlements.append(settlement)
        self._lanes[lane] = None

    @staticmethod
    def entry(lane: Lane, entry_id: str) -> EntryOfGroup:
        """How the observer is told of an entry."""
        return EntryOfGroup(lane.key, entry_id, lane.member.group, lane.member.consumer)

    # -- retries ------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many entries wait for another try."""
        return len(self._waiting)

    def until_due(self, most: float) -> float:
        """Seconds until the next retry, at most so many."""
        return max(0.0, min(most, self._waiting[0][0] - time.monotonic())) if self._waiting else most

    def due(self) -> tuple[Lane, str] | None:
        """The next entry whose time has come; those lost meanwhile are passed over."""
        while self._waiting and self._waiting[0][0] <= (now := time.monotonic()):
            _, _, lane, entry_id = heapq.heappop(self._waiting)
            if lane.away:
                # Later than now: its while may be over, and only a look between two turns notes that.
                later = max(lane.away, now) + AFTER_AWAY
                heapq.heappush(self._waiting, (later, next(self._numbers), lane, entry_id))
            elif self._leases.holds(lane, entry_id):
                return lane, entry_id
        return None

    def take_waiting(self) -> list[tuple[Lane, str, float]]:
        """Everything that waits, with the seconds until it is due; nothing waits any more."""
        now = time.monotonic()
        waiting, self._waiting = self._waiting, []
        return [(lane, entry_id, max(0.0, due - now)) for due, _, lane, entry_id in waiting]

    # -- doing it -----------------------------------------------------------------------------------------------------

    @property
    def owes(self) -> bool:
        """Whether anything is to be sent, or on its way."""
        return bool(self._sent) or not all(lane.away for lane in self._lanes)

    def prepare(self, link: Link) -> None:
        """Queue everything, to be written by the link's next flush."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes:
            if lane.away:
                self._lanes[lane] = None
                continue
            self._prepare_acks(link, lane)
            for batch in _cut(lane.settlements):
                keys, words = settle_arguments(batch, delete=self._delete)
                command = lane.member.call(SETTLE, words, known=link.knows(SETTLE, lane.key), effect_keys=keys)
                self._sent.append(Sent(lane, [], batch, link.prepare(command)))
            lane.settlements = []

    def _prepare_acks(self, link: Link, lane: Lane) -> None:
        ids, lane.acks = lane.acks, []
        if self._delete and ids and not lane.server.deletes_acked:
            # The script looks whether every group is done with an entry before it deletes it.
            lane.settlements = [*map(Settlement, ids), *lane.settlements]
            return
        for first in range(0, len(ids), ACKS):
            part = ids[first : first + ACKS]
            ack = commands.xackdel if self._delete else commands.xack
            command = ack(lane.key, lane.member.group, part)
            self._sent.append(Sent(lane, part, [], link.prepare(command)))

    async def collect(self, link: Link, *, answered: bool = False) -> None:
        """Read what became of everything on its way; ``answered``: of what the server has answered by now.

        Raises:
            GroupMissing: The group is gone, and with it everything that was pending.
            Refused: The server refuses for now; what it refused is sent again.
        """
        refused, first = list[Sent](), None
        try:
            while self._sent:
                sent = self._sent[0]
                if answered and first is None and not sent.ticket.complete:
                    break
                (reply,) = await link.collect(sent.ticket)
                self._sent.pop(0)
                if sent.settlements and link.learn(SETTLE, sent.lane.key, reply):
                    refused.append(sent)
                    continue
                error = _passing(sent.lane, reply)
                if error is not None:
                    refused.append(sent)
                    first = first or error  # raised when what was sent behind it is known, too
                elif sent.settlements:
                    self._settled(sent, reply)
        except BaseException:
            self._sent[:0] = refused
            raise
        for sent in reversed(refused):  # in front of what is to be sent next, in their order
            self._again(sent)
        if first is not None:
            raise first

    async def flush(self, link: Link) -> None:
        """Send everything, and wait until it is settled."""
        while self.owes:
            self.prepare(link)
            await link.flush()
            await self.collect(link)

    def lost(self) -> None:
        """The connection is gone: whatever was on its way is sent again, and may have arrived."""
        sent, self._sent = self._sent, []
        for each in reversed(sent):
            for settlement in each.settlements:
                settlement.sent = True
            self._again(each)

    def forget(self, lane: Lane | None = None) -> None:
        """The group of a lane, or of all, is gone: there is nothing to settle any more."""
        for each in [each for each in self._lanes if lane is None or each is lane]:
            each.acks, each.settlements = [], []
            del self._lanes[each]
        self._sent = [each for each in self._sent if lane is not None and each.lane is not lane]
        self._waiting = [each for each in self._waiting if lane is not None and each[2] is not lane]
        heapq.heapify(self._waiting)

    def _again(self, sent: Sent) -> None:
        sent.lane.acks[:0] = sent.acks
        sent.lane.settlements[:0] = sent.settlements
        self._lanes[sent.lane] = None

    def _settled(self, sent: Sent, reply: object) -> None:
        dropped, results = settle_results(reply, sent.settlements)
        lane, denied = sent.lane, None
        for settlement, result in zip(sent.settlements, results, strict=True):
            entry_id = settlement.entry_id
            if isinstance(result.error, PermissionDenied):
                denied = result.error  # no fault of the entry's: it stays pending, and the loop ends
            elif result.outcome is Settled.FAILED and result.error is not None:
                self.fail(lane, entry_id, result.error, settlement.attempt)
            elif result.outcome is Settled.PERIOD:
                self._settle(
                    lane,
                    Settlement(
                        entry_id,
                        [effect.moved(result.now) for effect in settlement.effects],
                        attempt=settlement.attempt,
                    ),
                )
            elif result.outcome is Settled.LOST or (result.outcome is Settled.GONE and not settlement.sent):
                if settlement.effects or settlement.letter:
                    group = lane.member.group
                    self._observer.on_lease_lost(
                        LeaseLost(stream=lane.key, entry_id=entry_id, group=group, owner=result.owner)
                    )
            elif settlement.letter is not None:
                letter = settlement.letter
                self._observer.on_buried(self.entry(lane, entry_id), letter.cause, lane.member.letters, letter.error)
        if dropped:
            self._observer.on_letters_dropped(lane.member.letters, dropped)
        if denied is not None:
            raise denied


def _passing(lane: Lane, reply: Reply) -> Exception | None:
    """What is to be raised for an error reply, unless it is GroupMissing, which is raised at once."""
    try:
        group_checked(lane, reply)
    except GroupMissing:
        raise
    except Exception as error:  # noqa: BLE001 - a typed error, or Refused
        return error
    return None


def _cut(settlements: Sequence[Settlement]) -> Iterator[list[Settlement]]:
    """Settlements in steps of bounded size, cut between entries."""
    batch, effects, size = list[Settlement](), 0, 0
    for each in settlements:
        own = sum(effect.size for effect in each.effects)
        if batch and (effects + len(each.effects) + 1 > STEP_EFFECTS or size + own > STEP_BYTES):
            yield batch
            batch, effects, size = [], 0, 0
        batch.append(each)
        effects += len(each.effects) + 1
        size += own
    if batch:
        yield batch
