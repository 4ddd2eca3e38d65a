"""How a reader follows its source: what is lost, when a partition is left, and for which one. Decides, sends nothing.

The rules, each with its reason:

* A reader leaves a partition only after it has *first* seen that the period is over by ``grace`` (by the newest ID of
  the next partition, or by the server's clock), and *then* found this one drained. In the other order an entry could
  slip in between.
* Drained means ``last-generated-id == position``, never an empty reply to a blocking read: Redis 7.0 wakes a reader of
  two keys with the new one only.
* It goes to the next period by name. Periods without a key are passed over once the clock is past their end + grace.
* A key whose newest ID, or number of entries ever added, is below what was read from it was deleted and made anew. It
  is read from its beginning only if its IDs are older than what was read: otherwise reading on finds all that is new.
* What was removed from the head of a stream is ``entries-added - length``, as long as nothing was deleted by XDEL.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamkit._core.checkpoints import Mark, Place
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
    until = facts.first_id or facts.last_id
    if facts.last_id < place.id and not place.bound:
        fresh = replace(place, id=ZERO, entries_read=0)
        return fresh, _gap(GapCause.RECREATED, place, fresh, lost=None, until=until)
    if read is not None and facts.entries_added < read:
        # Made anew with newer IDs: what it holds behind our position was read, or is still to be read, from here on.
        counted = facts.entries_added if facts.last_id == place.id else None
        kept = replace(place, entries_read=counted)
        return kept, _gap(GapCause.RECREATED, place, kept, lost=None, until=until)
    deleted = facts.max_deleted_id != ZERO
    before_first = facts.first_id is None or place.id < facts.first_id
    if read is None and place.id == ZERO:
        # The key was not there when it was last looked for: everything it ever got is new.
        read = 0
        place = replace(place, entries_read=0)
    if read is None:
        return _first_look(place, facts, removed, before_first=before_first)
    if removed > read and (not deleted or before_first):
        caught_up = replace(place, entries_read=removed)
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
    if facts.last_id < place.id:
        return place, None  # a bound that nothing has reached yet
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
    if facts is None:
        # One that never existed may still come; one that did has expired, and there is nothing left to watch.
        return (place if left.id == ZERO else replace(place, left=None)), None
    if facts.last_id == left.id:
        return place, None
    if facts.last_id < left.id:  # made anew
        left = Mark(left.stream, ZERO, 0)
        if facts.last_id == ZERO:
            return replace(place, left=left), None
    late = LateEntries(left.stream, left.id, facts.last_id, max(1, facts.entries_added - left.entries_added))
    return replace(place, left=Mark(left.stream, facts.last_id, facts.entries_added)), late


def deleted_tail(place: Place, facts: StreamFacts) -> tuple[Place, Gap | None]:
    """The newest entries of a key were deleted before they were read: pass them."""
    read = place.entries_read
    passed = replace(place, id=facts.last_id, entries_read=facts.entries_added, bound=False)
    lost = None if read is None else max(0, facts.entries_added - read)
    return passed, None if lost == 0 else _gap(GapCause.DELETED, place, passed, lost=lost, until=facts.last_id)


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
        return self._entering(key, place, Mark(place.stream, place.id, facts.entries_added))

    def _entering(self, key: str, place: Place, left: Mark | None) -> Place:
        """The place to begin at in a partition that exists: its beginning, or what a start at ``NEW`` passed over."""
        behind = next((mark for mark in place.ahead if mark.stream == key), Mark(key, ZERO, 0))
        ahead = tuple(mark for mark in place.ahead if mark.stream > key)
        return Place(key, behind.id, behind.entries_added, left, ahead=ahead)

    def candidates(self, place: Place, now: int) -> Sequence[str]:
        """The keys worth asking for in a search: every one later than this place's, up to the end of the horizon."""
        assert self.partitioning is not None  # noqa: S101 - only partitions are searched
        first = self.partitioning.after(self.partitioning.parse(place.stream))
        return [partition.key for partition in self.partitioning.between(first, now)]

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
            seen = glance.now
            if glance.following is not None and target.start == here.end:
                seen = max(seen, glance.following.last_id.ms)
            if not self._follow or seen >= target.start + self._grace:
                return Move.NEXT, self._arrive(place, here, target, glance, drained=drained)
        elif not self._follow:
            return Move.END, self._restart(place, glance, drained=drained)
        return Move.STAY, self._restart(place, glance, drained=drained)

    def _restart(self, place: Place, glance: Glance, *, drained: bool) -> Arrival | None:
        """Stay in a partition whose key is missing: whatever is written there from now on is new."""
        if glance.current is not None:
            return None
        fresh, gap = self.gone(place, glance.now, drained=drained)
        return None if fresh == place else Arrival(fresh, gap)

    def _arrive(self, place: Place, here: Partition, target: Partition, glance: Glance, *, drained: bool) -> Arrival:
        assert self.partitioning is not None  # noqa: S101 - only partitions have a target
        first, last = self.partitioning.after(here), self.partitioning.at(target.start - 1)
        missing = first.start < target.start
        if missing:
            left: Mark | None = Mark(last.key, ZERO, 0)
        elif glance.current is not None:
            left = Mark(place.stream, place.id, glance.current.entries_added)
        else:
            left = place.left
        arrived = self._entering(target.key, place, left)
        gone = glance.current is None and self._possibly_lost(place, glance.now, drained=drained)
        if gone:
            gap = _gap(self._why_gone(place, glance.now), place, arrived, lost=None, until=EntryId(target.start))
            return Arrival(arrived, gap)
        # What can have been written and have expired: only what is older than the retention, and unwatched for as long.
        if missing and self._expired(first.start, glance.now) and self._expired(place.seen - self._grace, glance.now):
            gap = _gap(GapCause.EXPIRED, place, arrived, lost=None, until=EntryId(target.start))
            return Arrival(arrived, replace(gap, since=from_ms(first.start)))
        if missing and not place.untouched:
            return Arrival(arrived, skipped=(first.key, last.key))
        return Arrival(arrived)

    def _expired(self, moment: int, now: int) -> bool:
        """Whether what was written at that moment is past the retention."""
        return self.partitioning is not None and moment + span_ms(self.partitioning.retention) <= now

    def _possibly_lost(self, place: Place, now: int, *, drained: bool) -> bool:
        """Whether the absence of a place's key may have cost entries."""
        if drained or self.partitioning is None:
            return not drained and not place.untouched
        start = self.partitioning.parse(place.stream).start
        # What came after `seen` may be dated up to grace before it.
        if self._expired(max(place.seen - self._grace, start), now):
            return True
        # What was written since everything had been read would still be there, unless the key was deleted or evicted.
        return not place.untouched and not self._expired(max(place.id.ms, start), now)

    def _why_gone(self, place: Place, now: int) -> GapCause:
        if self.partitioning is None:
            return GapCause.GONE
        newest = max(place.id.ms, self.partitioning.parse(place.stream).start)
        return GapCause.EXPIRED if self._expired(newest, now) else GapCause.GONE

    def gone(self, place: Place, now: int, *, drained: bool) -> tuple[Place, Gap | None]:
        """Stay at a key that is missing: begin anew in whatever is written there next."""
        lost = self._possibly_lost(place, now, drained=drained)
        fresh = place if place.untouched else replace(place, id=ZERO, entries_read=None, bound=False)
        fresh = replace(fresh, seen=now)
        if not lost:
            return fresh, None
        return fresh, _gap(self._why_gone(place, now), place, fresh, lost=None, until=EntryId(max(now, place.id.ms)))

    def dated(self, gap: Gap) -> Gap:
        """The gap with a beginning that means something where nothing had been read of its partition."""
        if self.partitioning is None or gap.after.id != ZERO or gap.since > from_ms(0):
            return gap
        return replace(gap, since=from_ms(self.partitioning.parse(gap.after.stream).start))


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
        return _bounded(start if isinstance(start, EntryId) else EntryId.at(start), partitioning)
    try:
        return _bounded(EntryId.parse(start), partitioning)
    except InvalidEntryId:
        if partitioning is not None and start not in {"$", ">"}:
            return Start(key=partitioning.parse(start).key)
        if start in {"$", ">"}:
            raise
        msg = f"start {start!r} is neither an entry ID nor the key {name!r}"
        raise InvalidArgument(msg) from None


def _bounded(at: EntryId, partitioning: Partitioning | None) -> Start:
    if partitioning is not None:
        partitioning.at(at.ms)  # raises for a moment that no partition has
    return Start(at=at)


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
        return partitioning.at(now).key, None
    return (existing[0] if existing else next(iter(partitioning.horizon(now))).key), ZERO
