"""How a reader follows its source: what is lost, when a partition is left, and for which one. Decides, sends nothing.

The rules, each with its reason:

* A reader leaves a partition only after it has *first* seen that the period is over by ``grace`` (by the newest ID of
  the next partition, or by the server's clock), and *then* found this one drained. In the other order an entry could
  slip in between.
* Drained means ``last-generated-id == position``, never an empty reply to a blocking read: Redis 7.0 wakes a reader of
  two keys with the new one only.
* It goes to the next period by name. Periods without a key are passed over once the clock is past their end + grace.
* A key whose newest ID, or number of entries ever added, is below what was read from it was deleted and made anew.
* What was removed from the head of a stream is ``entries-added - length``, as long as nothing was deleted by XDEL.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamkit._core.checkpoints import LeftPartition, Place
from streamkit._core.errors import CheckpointMismatch, InvalidArgument, InvalidEntryId, NotAPartition
from streamkit._core.ids import NEW, ZERO, Beginning, EntryId
from streamkit._core.observers import Gap, GapCause, LateEntries
from streamkit._core.times import from_ms, span_ms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from streamkit._core.periods import Partition, Partitioning
    from streamkit._core.replies import StreamFacts


class Move(enum.Enum):
    """What to do when there is nothing to read."""

    STAY = "stay"
    """Wait for entries where we are."""
    NEXT = "next"
    """Go on in the next partition."""
    SEARCH = "search"
    """Look which later partitions exist, then decide with `Follower.after_search`."""
    END = "end"
    """Everything was read, and following is not wanted."""


@dataclass(frozen=True)
class Glance:
    """The server's clock and the keys around a reader; the next partition was asked for before the current one."""

    now: int
    current: StreamFacts | None
    following: StreamFacts | None = None


@dataclass(frozen=True)
class Arrival:
    """Where a search leads: the place to go on at, and what to tell about the way there."""

    place: Place
    gap: Gap | None = None
    skipped: tuple[str, str] | None = None


def reconcile(place: Place, facts: StreamFacts) -> tuple[Place, Gap | None]:
    """Hold a place against what the server says of its key: the place to read from, and what was lost before it."""
    removed = facts.entries_added - facts.length
    read = place.entries_read
    if facts.last_id < place.id or (read is not None and facts.entries_added < read):
        fresh = replace(place, id=ZERO, entries_read=0)
        until = facts.first_id or facts.last_id
        return fresh, _gap(GapCause.RECREATED, place, fresh, lost=None, until=until)
    deleted = facts.max_deleted_id != ZERO
    before_first = facts.first_id is None or place.id < facts.first_id
    if read is None:
        return _first_look(place, facts, removed, before_first=before_first)
    if removed > read and (not deleted or before_first):
        caught_up = replace(place, entries_read=removed)
        until = facts.first_id or facts.last_id
        return caught_up, _gap(GapCause.TRIMMED, place, caught_up, lost=removed - read, exact=not deleted, until=until)
    if facts.last_id == place.id and facts.entries_added > read:
        caught_up = replace(place, entries_read=facts.entries_added)
        lost = facts.entries_added - read
        return caught_up, None if deleted else _gap(
            GapCause.TRIMMED, place, caught_up, lost=lost, exact=True, until=facts.last_id
        )
    return place, None


def _first_look(place: Place, facts: StreamFacts, removed: int, *, before_first: bool) -> tuple[Place, Gap | None]:
    """The same for a place of which it is not known yet how many entries lie before it."""
    if place.id == ZERO:
        return replace(place, entries_read=removed), None
    if facts.last_id == place.id:
        return replace(place, entries_read=facts.entries_added), None
    if before_first and removed:
        caught_up = replace(place, entries_read=removed)
        until = facts.first_id or facts.last_id
        return caught_up, _gap(GapCause.TRIMMED, place, caught_up, lost=removed, exact=False, until=until)
    return (replace(place, entries_read=0), None) if before_first else (place, None)


def _gap(
    cause: GapCause, after: Place, resumes: Place, *, lost: int | None, until: EntryId, exact: bool = False
) -> Gap:
    since = after.id.ms
    return Gap(
        cause=cause,
        after=after.position,
        resumes=resumes.position,
        lost=lost,
        exact=exact and lost is not None,
        since=from_ms(since),
        until=from_ms(max(since, until.ms)),
    )


def late_entries(place: Place, facts: StreamFacts | None) -> tuple[Place, LateEntries | None]:
    """What came to the partition left before this one since it was last looked at."""
    left = place.left
    if left is None:
        return place, None
    if facts is None or facts.last_id < left.id:
        return replace(place, left=None), None
    if facts.last_id == left.id:
        return place, None
    late = LateEntries(left.stream, left.id, facts.last_id, max(1, facts.entries_added - left.entries_added))
    return replace(place, left=LeftPartition(left.stream, facts.last_id, facts.entries_added)), late


def deleted_tail(place: Place, facts: StreamFacts) -> tuple[Place, Gap]:
    """The newest entries of a key were deleted before they were read: pass them."""
    read = place.entries_read
    passed = replace(place, id=facts.last_id, entries_read=facts.entries_added)
    lost = None if read is None else max(0, facts.entries_added - read)
    return passed, _gap(GapCause.DELETED, place, passed, lost=lost, until=facts.last_id)


class Follower:
    """The rules of one source: a single key, or the partitions of a stream.

    Args:
        name: The key of the source, or the name of its partitions.
        partitioning: How it is partitioned; None for a single key.
        grace: How long after its end a partition may still get entries, in ms.
        follow: Whether to wait for more at the end.
    """

    def __init__(self, name: str, partitioning: Partitioning | None, *, grace: int, follow: bool) -> None:
        self.name = name
        self.partitioning = partitioning
        self._grace = grace
        self._follow = follow

    def check(self, place: Place, checkpoint: str) -> None:
        """Raise CheckpointMismatch for a saved place that lies in another stream."""
        try:
            if self.partitioning is not None:
                self.partitioning.parse(place.stream)
                return
        except NotAPartition as error:
            msg = f"checkpoint {checkpoint!r} belongs to another stream: {error}; give this reader one of its own"
            raise CheckpointMismatch(msg) from None
        if place.stream != self.name:
            msg = (
                f"checkpoint {checkpoint!r} stands in {place.stream!r}, this reader reads {self.name!r}; "
                "give it a checkpoint of its own, or reset() this one"
            )
            raise CheckpointMismatch(msg)

    def next_key(self, place: Place) -> str | None:
        """The key of the partition after this one; None for a single key."""
        if self.partitioning is None:
            return None
        return self.partitioning.after(self.partitioning.parse(place.stream)).key

    def move(self, place: Place, glance: Glance) -> Move:
        """What to do at a place where a read that did not block found nothing."""
        if self.partitioning is None:
            return Move.STAY if self._follow else Move.END
        partition = self.partitioning.parse(place.stream)
        if glance.current is None:
            return Move.SEARCH
        if glance.following is not None:
            seen = max(glance.now, glance.following.last_id.ms)
            over = seen >= partition.end + self._grace
            return Move.NEXT if over or not self._follow else Move.STAY
        next_over = glance.now >= self.partitioning.after(partition).end + self._grace
        return Move.SEARCH if next_over or not self._follow else Move.STAY

    def to_next(self, place: Place, facts: StreamFacts) -> Place:
        """The beginning of the next partition, the drained one remembered."""
        key = self.next_key(place)
        assert key is not None  # noqa: S101 - only a partitioned source moves
        return Place(key, ZERO, 0, LeftPartition(place.stream, place.id, facts.entries_added))

    def candidates(self, place: Place, now: int) -> Sequence[str]:
        """The keys worth asking for in a search: later than this place's, within the horizon."""
        assert self.partitioning is not None  # noqa: S101 - only partitions are searched
        here = self.partitioning.parse(place.stream)
        return [partition.key for partition in self.partitioning.horizon(now) if partition.start > here.start]

    def after_search(
        self, place: Place, glance: Glance, existing: Sequence[str], *, drained: bool
    ) -> tuple[Move, Arrival | None]:
        """Where to go, knowing which later partitions exist (oldest first).

        Args:
            place: Where the reader stands.
            glance: What it saw before the search.
            existing: The later keys that exist.
            drained: Whether the current key, now missing, had been found drained a moment before.
        """
        assert self.partitioning is not None  # noqa: S101 - only partitions are searched
        here = self.partitioning.parse(place.stream)
        if existing:
            target = self.partitioning.parse(existing[0])
            if not self._follow or glance.now >= target.start + self._grace:
                return Move.NEXT, self._arrive(place, here, target, glance, drained=drained)
        elif not self._follow:
            return Move.END, self._restart(place, glance, drained=drained)
        return Move.STAY, self._restart(place, glance, drained=drained)

    def _restart(self, place: Place, glance: Glance, *, drained: bool) -> Arrival | None:
        """Stay in a partition whose key is missing: whatever is written there from now on is new."""
        if glance.current is not None or place.untouched:
            return None
        fresh = replace(place, id=ZERO, entries_read=None)
        until = EntryId(max(glance.now, place.id.ms))
        gap = None if drained else _gap(self._why_gone(place, glance.now), place, fresh, lost=None, until=until)
        return Arrival(fresh, gap)

    def _arrive(self, place: Place, here: Partition, target: Partition, glance: Glance, *, drained: bool) -> Arrival:
        assert self.partitioning is not None  # noqa: S101 - only partitions have a target
        current = glance.current
        left = place.left if current is None else LeftPartition(place.stream, place.id, current.entries_added)
        arrived = Place(target.key, ZERO, 0, left)
        missing: list[Partition] = []
        between = self.partitioning.after(here)
        while between.start < target.start and len(missing) < 2:
            missing.append(between)
            between = self.partitioning.after(between)
        last = self.partitioning.at(target.start - 1)
        gone = current is None and not place.untouched and not drained
        # What may have been written and have expired since: everything up to here when the reader was away.
        expired = bool(missing) and missing[0].start + span_ms(self.partitioning.retention) <= glance.now
        if gone or (expired and not place.untouched):
            cause = self._why_gone(place, glance.now) if gone else GapCause.EXPIRED
            after = place if gone else replace(place, id=EntryId(missing[0].start))
            gap = _gap(cause, after, arrived, lost=None, until=EntryId(target.start))
            if place.id == ZERO and gone:
                gap = replace(gap, since=from_ms(here.start))
            return Arrival(arrived, replace(gap, after=place.position))
        if missing and not place.untouched:
            return Arrival(arrived, skipped=(missing[0].key, last.key))
        return Arrival(arrived)

    def _why_gone(self, place: Place, now: int) -> GapCause:
        assert self.partitioning is not None  # noqa: S101 - called for partitions only
        newest = max(place.id.ms, self.partitioning.parse(place.stream).start)
        return GapCause.EXPIRED if newest + span_ms(self.partitioning.retention) <= now else GapCause.GONE

    def gone(self, place: Place, now: int, *, drained: bool) -> tuple[Place, Gap | None]:
        """A single key that is missing: begin anew in whatever is written there next."""
        fresh = replace(place, id=ZERO, entries_read=None)
        if place.untouched or drained:
            return fresh, None
        return fresh, _gap(GapCause.GONE, place, fresh, lost=None, until=EntryId(max(now, place.id.ms)))


@dataclass(frozen=True)
class Start:
    """Where to begin, as the caller gave it: checked, not yet resolved to a key and an ID."""

    at: EntryId | None = None
    key: str | None = None
    new: bool = False


def parse_start(
    start: datetime | EntryId | str | Beginning | None, name: str, partitioning: Partitioning | None
) -> Start:
    """Check a start; raises InvalidEntryId, NotAPartition or NaiveDatetime for one that means nothing."""
    if start is None or (start == name and partitioning is None):
        return Start()
    if isinstance(start, Beginning):
        return Start(new=start is NEW)
    if not isinstance(start, str):
        return Start(at=start if isinstance(start, EntryId) else EntryId.at(start))
    try:
        return Start(at=EntryId.parse(start))
    except InvalidEntryId:
        if partitioning is not None and start not in {"$", ">"}:
            return Start(key=partitioning.parse(start).key)
        if start in {"$", ">"}:
            raise
        msg = f"start {start!r} is neither an entry ID nor the key {name!r}"
        raise InvalidArgument(msg) from None


def resolve_start(
    start: Start, name: str, partitioning: Partitioning | None, now: int, existing: Sequence[str]
) -> tuple[str, EntryId | None]:
    """The key to begin in and the ID behind which; the ID is None where it must still be asked for (NEW)."""
    behind = ZERO if start.at is None else start.at.before()
    if partitioning is None:
        return name, None if start.new else behind
    if start.key is not None:
        return start.key, ZERO
    if start.at is not None:
        partition = partitioning.at(start.at.ms)
        # From the first moment of a partition on is all of it, whether or not it exists.
        return partition.key, ZERO if start.at.ms <= partition.start and start.at.seq == 0 else behind
    if start.new:
        return max([partitioning.at(now).key, *existing[-1:]]), None
    return (existing[0] if existing else next(iter(partitioning.horizon(now))).key), ZERO
