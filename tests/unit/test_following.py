"""Following a source: what is lost, when a partition is left and for which one; situations and their outcome."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit._core.checkpoints import Mark, Place
from streamkit._core.errors import CheckpointMismatch, InvalidArgument, InvalidEntryId, NaiveDatetime, NotAPartition
from streamkit._core.following import (
    Arrival,
    Follower,
    Glance,
    Move,
    Start,
    deleted_tail,
    late_entries,
    parse_start,
    reconcile,
    resolve_start,
)
from streamkit._core.ids import LARGEST, NEW, ZERO, EntryId
from streamkit._core.observers import Gap, GapCause, LateEntries
from streamkit._core.periods import Partitioning, Period
from streamkit._core.replies import StreamFacts
from streamkit._core.times import from_ms, to_ms

HOUR = 3_600_000
DAY = 24 * HOUR
GRACE = 10_000
TEMPS = Partitioning.of("temps", Period.DAY, timedelta(days=2), timedelta(days=1))


def start_of(day: int) -> int:
    """The first millisecond of a day of January 2025."""
    return to_ms(datetime(2025, 1, 1, tzinfo=timezone.utc)) + (day - 1) * DAY


def key(day: int) -> str:
    return f"temps:202501{day:02d}"


def facts(
    last: int | EntryId = 0, *, first: int | EntryId | None = None, added: int = 0, length: int = 0, deleted: int = 0
) -> StreamFacts:
    return StreamFacts(
        length=length,
        last_id=last if isinstance(last, EntryId) else EntryId(last),
        first_id=EntryId(first) if isinstance(first, int) else first,
        entries_added=added,
        max_deleted_id=EntryId(deleted),
        groups=0,
        window=None,
    )


def follower(*, follow: bool = True, grace: int = GRACE) -> Follower:
    return Follower("temps", TEMPS, grace=grace, follow=follow)


def single(*, follow: bool = True) -> Follower:
    return Follower("s", None, grace=GRACE, follow=follow)


def at(ms: int, read: int | None, **more: Any) -> Place:
    """A place in the stream ``s``."""
    return Place("s", EntryId(ms), read, **more)


class TestReconciling:
    """A place held against what the server says of its key."""

    @pytest.mark.parametrize(
        ("place", "found", "known"),
        [
            pytest.param(at(0, 0), facts(9, first=1, added=9, length=9), at(0, 0), id="nothing read yet"),
            pytest.param(at(4, 4), facts(9, first=1, added=9, length=9), at(4, 4), id="in the middle"),
            pytest.param(at(9, 9), facts(9, first=1, added=9, length=9), at(9, 9), id="drained"),
            pytest.param(at(4, 4), facts(9, first=5, added=9, length=5), at(4, 4), id="trimmed up to the position"),
            pytest.param(at(4, 4), facts(9, first=3, added=9, length=7), at(4, 4), id="trimmed before the position"),
            pytest.param(at(9, 9), facts(9, added=9), at(9, 9), id="trimmed to nothing after all was read"),
            pytest.param(
                at(9, 8), facts(9, first=1, added=9, length=8, deleted=5), at(9, 9), id="one deleted on the way"
            ),
            pytest.param(
                at(7, 6), facts(9, first=1, added=9, length=8, deleted=5), at(7, 6), id="one deleted behind us"
            ),
            pytest.param(
                at(4, 4), facts(9, first=1, added=9, length=7, deleted=8), at(4, 4), id="two deleted ahead of us"
            ),
            pytest.param(
                at(6, 5),
                facts(9, first=3, added=9, length=3, deleted=8),
                at(6, 5),
                id="more deleted than read, not trimmed past us",
            ),
            pytest.param(at(0, None), facts(9, first=1, added=9, length=9), at(0, 0), id="a key that was not there"),
            pytest.param(at(9, None), facts(9, first=1, added=9, length=9), at(9, 9), id="first look, at the end"),
            pytest.param(
                at(4, None), facts(9, first=5, added=5, length=5), at(4, 0), id="first look, before all there ever was"
            ),
            pytest.param(
                at(4, None), facts(9, first=1, added=9, length=9), at(4, None), id="first look, in the middle"
            ),
            pytest.param(
                at(20, None, bound=True),
                facts(9, first=1, added=9, length=9),
                at(20, None, bound=True),
                id="to begin in the future",
            ),
            pytest.param(
                at(20, None, bound=True),
                facts(9, added=9),
                at(20, None, bound=True),
                id="to begin in the future of an emptied stream",
            ),
            pytest.param(
                at(20, None, bound=True),
                facts(),
                at(20, None, bound=True),
                id="to begin in the future of a stream without entries",
            ),
        ],
    )
    def test_finds_no_loss(self, place: Place, found: StreamFacts, known: Place) -> None:
        assert reconcile(place, found) == (known, None)

    @pytest.mark.parametrize(
        ("place", "found", "known", "cause", "amount"),
        [
            pytest.param(
                at(4, 4),
                facts(9, first=7, added=9, length=3),
                at(4, 6),
                GapCause.TRIMMED,
                "2 entries",
                id="trimmed past us",
            ),
            pytest.param(
                at(4, 4),
                facts(9, first=6, added=9, length=4),
                at(4, 5),
                GapCause.TRIMMED,
                "1 entry",
                id="by a single entry",
            ),
            pytest.param(at(4, 4), facts(9, added=9), at(4, 9), GapCause.TRIMMED, "5 entries", id="trimmed to nothing"),
            pytest.param(
                at(0, 0),
                facts(9, first=7, added=9, length=3),
                at(0, 6),
                GapCause.TRIMMED,
                "6 entries",
                id="before we came",
            ),
            pytest.param(
                at(0, None),
                facts(9, first=7, added=9, length=3),
                at(0, 6),
                GapCause.TRIMMED,
                "6 entries",
                id="of a key that was not there before",
            ),
            pytest.param(
                at(4, 4),
                facts(9, first=7, added=9, length=2, deleted=8),
                at(4, 7),
                GapCause.TRIMMED,
                "at most 3 entries",
                id="trimmed past us where some were deleted",
            ),
            pytest.param(
                at(9, 6),
                facts(9, first=9, added=9, length=1),
                at(9, 8),
                GapCause.TRIMMED,
                "2 entries",
                id="trimmed between two looks, noticed later",
            ),
            pytest.param(
                at(9, 6),
                facts(9, first=4, added=9, length=6),
                at(9, 9),
                GapCause.TRIMMED,
                "3 entries",
                id="noticed at the end",
            ),
            pytest.param(
                at(4, None, bound=True),
                facts(9, first=7, added=9, length=3),
                at(4, 6, bound=True),
                GapCause.TRIMMED,
                "at most 6 entries",
                id="trimmed past where we are to begin",
            ),
            pytest.param(
                at(9, 9),
                facts(5, first=1, added=5, length=5),
                at(0, 0),
                GapCause.RECREATED,
                "possibly entries",
                id="anew",
            ),
            pytest.param(
                at(4, 9),
                facts(9, first=5, added=5, length=5),
                at(4, None),
                GapCause.RECREATED,
                "possibly entries",
                id="anew, later IDs",
            ),
            pytest.param(
                at(9, 9),
                facts(9, first=5, added=5, length=5),
                at(9, 5),
                GapCause.RECREATED,
                "possibly entries",
                id="anew, later IDs, all read",
            ),
            pytest.param(
                at(9, None),
                facts(5, first=1, added=5, length=5),
                at(0, 0),
                GapCause.RECREATED,
                "possibly entries",
                id="anew, unknown",
            ),
            pytest.param(at(9, 9), facts(0), at(0, 0), GapCause.RECREATED, "possibly entries", id="anew, and empty"),
        ],
    )
    def test_finds_what_was_lost(
        self, place: Place, found: StreamFacts, known: Place, cause: GapCause, amount: str
    ) -> None:
        known_place, gap = reconcile(place, found)
        assert known_place == known
        assert gap is not None
        assert (gap.cause, gap.amount) == (cause, amount)
        assert (gap.after, gap.resumes) == (place.position, known.position)
        assert gap.since <= gap.until

    def test_a_loss_is_told_once(self) -> None:
        found = facts(9, first=7, added=9, length=3)
        place, gap = reconcile(at(4, 4), found)
        assert gap is not None
        assert reconcile(place, found) == (place, None)

    def test_the_span_reaches_from_the_position_to_the_oldest_left(self) -> None:
        _, gap = reconcile(at(4, 4), facts(9, first=7, added=9, length=3))
        assert gap is not None
        assert (gap.since, gap.until) == (from_ms(4), from_ms(7))

    def test_of_a_key_made_anew_the_span_does_not_end_before_it_begins(self) -> None:
        _, gap = reconcile(at(9, 9), facts(5, first=1, added=5, length=5))
        assert gap is not None
        assert (gap.since, gap.until) == (from_ms(9), from_ms(9))

    def test_ids_that_are_no_times_can_be_told_too(self) -> None:
        place, found = at(1, 1), facts(EntryId(LARGEST), first=EntryId(2**63), added=9, length=3)
        _, gap = reconcile(place, found)
        assert gap is not None
        assert gap.until == datetime.max.replace(microsecond=999_000, tzinfo=timezone.utc)

    def test_a_place_keeps_what_else_it_knows(self) -> None:
        left, ahead = Mark("r", EntryId(1), 1), (Mark("t", EntryId(2), 2),)
        for found in (facts(9, first=7, added=9, length=3), facts(3, first=1, added=3, length=3)):
            known, _ = reconcile(at(4, 4, left=left, ahead=ahead, seen=5), found)
            assert (known.left, known.ahead, known.seen) == (left, ahead, 5)


@dataclass
class Model:
    """A stream that is appended to and trimmed, and a reader of it that looks before it reads."""

    added: int = 0
    entries: list[int] = field(default_factory=list[int])
    place: Place = field(default_factory=lambda: at(0, 0))
    read: list[int] = field(default_factory=list[int])
    gaps: list[Gap] = field(default_factory=list[Gap])

    def append(self, number: int) -> None:
        self.entries += range(self.added + 1, self.added + number + 1)
        self.added += number

    def trim(self, length: int) -> None:
        self.entries = self.entries[max(0, len(self.entries) - length) :]

    def look(self) -> StreamFacts:
        first = self.entries[0] if self.entries else None
        return facts(self.added, first=first, added=self.added, length=len(self.entries))

    def receive(self, seen: StreamFacts, count: int) -> None:
        found = [entry for entry in self.entries if entry > self.place.id.ms][:count]
        self.note(*reconcile(self.place, seen))
        if found:
            assert self.place.entries_read is not None
            self.place = at(found[-1], self.place.entries_read + len(found))
            self.read += found
        elif seen.last_id > self.place.id:
            self.note(*deleted_tail(self.place, seen))

    def note(self, place: Place, gap: Gap | None) -> None:
        self.place = place
        if gap is not None:
            assert gap.lost is not None
            assert gap.lost > 0
            self.gaps.append(gap)


WRITES = st.lists(
    st.tuples(st.just("append"), st.integers(1, 9)) | st.tuples(st.just("trim"), st.integers(0, 9)), max_size=3
)


class TestCounting:
    @given(st.lists(st.tuples(WRITES, WRITES, st.integers(1, 9)), max_size=15))
    def test_what_was_read_and_what_was_lost_is_all_there_ever_was(
        self, rounds: list[tuple[list[tuple[str, int]], list[tuple[str, int]], int]]
    ) -> None:
        model = Model()
        for before, between, count in rounds:
            for write, number in before:
                getattr(model, write)(number)
            seen = model.look()
            for write, number in between:
                getattr(model, write)(number)
            model.receive(seen, count)
        for _ in range(2):
            model.receive(model.look(), 1000)
        assert model.read == sorted(set(model.read))
        assert len(model.read) + sum(gap.lost or 0 for gap in model.gaps) == model.added
        assert model.place == at(model.added, model.added)


class TestDeletedTail:
    def test_is_passed_with_its_number_at_most(self) -> None:
        passed, gap = deleted_tail(at(4, 4), facts(9, first=1, added=9, length=4, deleted=9))
        assert passed == at(9, 9)
        assert gap is not None
        assert (gap.cause, gap.amount) == (GapCause.DELETED, "at most 5 entries")
        assert (gap.since, gap.until) == (from_ms(4), from_ms(9))

    def test_of_unknown_number_is_possibly_lost(self) -> None:
        passed, gap = deleted_tail(at(4, None, bound=True), facts(9, first=1, added=9, length=4, deleted=9))
        assert passed == at(9, 9)
        assert gap is not None
        assert gap.amount == "possibly entries"

    def test_that_was_told_already_is_passed_in_silence(self) -> None:
        place, gap = reconcile(at(4, 4), facts(9, added=9))
        assert gap is not None
        assert deleted_tail(place, facts(9, added=9)) == (at(9, 9), None)


class TestLateEntries:
    LEFT = Mark("temps:20250101", EntryId(5), 3)
    PLACE = Place("temps:20250102", EntryId(7), 2, LEFT)

    def test_none_left_none_late(self) -> None:
        place = replace(self.PLACE, left=None)
        assert late_entries(place, None) == (place, None)

    def test_nothing_came(self) -> None:
        assert late_entries(self.PLACE, facts(5, added=3)) == (self.PLACE, None)

    def test_some_came_and_are_told_once(self) -> None:
        found = facts(9, added=5)
        place, late = late_entries(self.PLACE, found)
        assert late == LateEntries("temps:20250101", EntryId(5), EntryId(9), 2)
        assert place == replace(self.PLACE, left=Mark("temps:20250101", EntryId(9), 5))
        assert late_entries(place, found) == (place, None)

    def test_an_expired_one_is_watched_no_longer(self) -> None:
        assert late_entries(self.PLACE, None) == (replace(self.PLACE, left=None), None)

    def test_one_that_never_existed_may_still_come(self) -> None:
        place = replace(self.PLACE, left=Mark("temps:20250101", ZERO, 0))
        assert late_entries(place, None) == (place, None)
        _, late = late_entries(place, facts(5, added=2))
        assert late == LateEntries("temps:20250101", ZERO, EntryId(5), 2)

    def test_one_made_anew_holds_only_late_ones(self) -> None:
        place, late = late_entries(self.PLACE, facts(4, added=2))
        assert late == LateEntries("temps:20250101", ZERO, EntryId(4), 2)
        assert place.left == Mark("temps:20250101", EntryId(4), 2)

    def test_one_made_anew_and_empty_holds_none(self) -> None:
        assert late_entries(self.PLACE, facts(0))[1] is None

    def test_an_id_that_was_moved_counts_for_one_at_least(self) -> None:
        _, late = late_entries(self.PLACE, facts(9, added=3))
        assert late is not None
        assert late.count == 1


def day(number: int, read: int | None = 3, *, ms: int = HOUR, **more: Any) -> Place:
    """A place an hour into a partition."""
    return Place(key(number), EntryId(start_of(number) + ms), read, **more)


HERE = facts(start_of(5) + HOUR, added=3)
END = start_of(6)
NEXT_END = start_of(7)


class TestMoving:
    """The reader stands in the fifth of January, and found nothing to read."""

    @pytest.mark.parametrize(
        ("current", "following", "now", "expected"),
        [
            pytest.param(HERE, None, start_of(5), Move.STAY, id="in the middle of the day"),
            pytest.param(HERE, None, END, Move.STAY, id="the day is over"),
            pytest.param(HERE, None, END + GRACE, Move.STAY, id="and grace is, but there is no next day yet"),
            pytest.param(HERE, None, NEXT_END + GRACE - 1, Move.STAY, id="the next day may still come"),
            pytest.param(HERE, None, NEXT_END + GRACE, Move.SEARCH, id="the next day has no data"),
            pytest.param(HERE, END, END, Move.STAY, id="the next day has begun"),
            pytest.param(HERE, END + GRACE - 1, END + GRACE - 1, Move.STAY, id="a millisecond before grace is over"),
            pytest.param(HERE, END, END + GRACE, Move.NEXT, id="grace is over by the clock"),
            pytest.param(
                HERE, END + GRACE, END - DAY, Move.NEXT, id="grace is over by the newest entry, ahead of the clock"
            ),
            pytest.param(HERE, END + GRACE - 1, END - DAY, Move.STAY, id="not yet by the newest entry"),
            pytest.param(HERE, 0, END, Move.STAY, id="the next key exists, but is empty"),
            pytest.param(HERE, 0, END + GRACE, Move.NEXT, id="and grace is over by the clock"),
            pytest.param(None, None, start_of(5), Move.SEARCH, id="the key is gone"),
            pytest.param(None, END + GRACE, END + GRACE, Move.SEARCH, id="the key is gone, the next one is there"),
        ],
    )
    def test_follows_the_rules(
        self, current: StreamFacts | None, following: int | None, now: int, expected: Move
    ) -> None:
        glance = Glance(now, current, None if following is None else facts(following, added=1))
        assert follower().move(day(5), glance) is expected

    @pytest.mark.parametrize("now", [END, END + GRACE])
    def test_without_grace_the_end_is_enough(self, now: int) -> None:
        assert follower(grace=0).move(day(5), Glance(now, HERE, facts(END, added=1))) is Move.NEXT

    @pytest.mark.parametrize(
        ("following", "expected"), [(None, Move.SEARCH), (0, Move.NEXT), (END, Move.NEXT), (END + GRACE, Move.NEXT)]
    )
    def test_not_following_ignores_grace(self, following: int | None, expected: Move) -> None:
        glance = Glance(start_of(5), HERE, None if following is None else facts(following, added=1))
        assert follower(follow=False).move(day(5), glance) is expected

    def test_a_single_key_is_never_left(self) -> None:
        for found in (HERE, None):
            assert single().move(at(5, 1), Glance(END, found)) is Move.STAY
            assert single(follow=False).move(at(5, 1), Glance(END, found)) is Move.END

    def test_the_next_key_goes_by_name(self) -> None:
        assert follower().next_key(day(5)) == key(6)
        assert single().next_key(at(5, 1)) is None
        assert follower().next_key(Place("temps:20241231", ZERO)) == key(1)

    def test_the_next_partition_is_read_from_its_beginning_and_the_left_one_remembered(self) -> None:
        place = follower().to_next(day(5, seen=7), HERE)
        # What is in it was never all read, so `seen` begins anew.
        assert place == Place(key(6), ZERO, 0, Mark(key(5), EntryId(start_of(5) + HOUR), 3), seen=0)

    def test_what_a_start_at_new_passed_over_is_not_read_on_the_way(self) -> None:
        tomorrow, later = Mark(key(6), EntryId(start_of(6) + 5), 2), Mark(key(8), EntryId(start_of(8)), 1)
        place = follower().to_next(day(5, ahead=(tomorrow, later)), HERE)
        assert (place.stream, place.id, place.entries_read) == (key(6), tomorrow.id, 2)
        assert place.ahead == (later,)


class TestCandidates:
    def test_are_all_later_keys_up_to_the_horizon(self) -> None:
        assert follower().candidates(day(5), start_of(6)) == [key(6), key(7), key(8)]

    def test_however_far_behind_the_reader_is(self) -> None:
        names = follower().candidates(day(5), start_of(25))
        assert names[0] == key(6)
        assert names[-1] == key(27)
        assert len(names) == 22

    def test_are_none_behind_the_horizon(self) -> None:
        assert follower().candidates(day(20), start_of(5)) == []


class TestSearching:
    """The reader stands in the fifth of January; later keys were asked for."""

    def search(
        self, place: Place, glance: Glance, *existing: int, drained: bool = False, follow: bool = True
    ) -> tuple[Move, Arrival | None]:
        return follower(follow=follow).after_search(
            place, glance, [key(number) for number in existing], drained=drained
        )

    def arrival(self, place: Place, glance: Glance, *existing: int, drained: bool = False) -> Arrival:
        move, arrival = self.search(place, glance, *existing, drained=drained)
        assert move is Move.NEXT
        assert arrival is not None
        return arrival

    # -- the current partition is there, and drained ------------------------------------------------------------------

    def test_a_day_without_data_is_skipped_and_told(self) -> None:
        now = start_of(7) + GRACE
        arrival = self.arrival(day(5, seen=now), Glance(now, HERE), 7)
        assert arrival.place == Place(key(7), ZERO, 0, Mark(key(6), ZERO, 0))
        assert (arrival.gap, arrival.skipped) == (None, (key(6), key(6)))

    def test_several_days_are_told_from_the_first_to_the_last(self) -> None:
        now = start_of(9) + GRACE
        arrival = self.arrival(day(5, seen=now), Glance(now, HERE), 9, 10)
        assert (arrival.place.stream, arrival.skipped, arrival.gap) == (key(9), (key(6), key(8)), None)

    def test_the_day_after_the_gap_is_not_entered_before_grace(self) -> None:
        assert self.search(day(5), Glance(start_of(7) + GRACE - 1, HERE), 7) == (Move.STAY, None)

    def test_one_dated_far_ahead_is_waited_for(self) -> None:
        assert self.search(day(5), Glance(start_of(7) + GRACE, HERE), 20) == (Move.STAY, None)

    def test_the_next_day_may_have_come_meanwhile(self) -> None:
        now = start_of(7) + GRACE
        arrival = self.arrival(day(5), Glance(now, HERE), 6, 7)
        assert arrival.place == Place(key(6), ZERO, 0, Mark(key(5), EntryId(start_of(5) + HOUR), 3))
        assert (arrival.gap, arrival.skipped) == (None, None)

    def test_no_later_day_means_to_wait(self) -> None:
        assert self.search(day(5), Glance(start_of(9), HERE)) == (Move.STAY, None)

    def test_or_to_end_where_nobody_follows(self) -> None:
        assert self.search(day(5), Glance(start_of(9), HERE), follow=False) == (Move.END, None)

    def test_where_nobody_follows_the_clock_does_not_matter(self) -> None:
        move, arrival = self.search(day(5, seen=1), Glance(start_of(5) + HOUR, HERE), 7, follow=False)
        assert move is Move.NEXT
        assert arrival is not None
        assert arrival.place.stream == key(7)

    def test_days_that_may_have_come_and_expired_while_the_reader_was_away_are_told(self) -> None:
        now = start_of(10)
        arrival = self.arrival(day(5, seen=start_of(5) + HOUR), Glance(now, HERE), 9)
        gap = arrival.gap
        assert gap is not None
        assert (gap.cause, gap.amount) == (GapCause.EXPIRED, "possibly entries")
        assert (gap.since, gap.until) == (from_ms(start_of(6)), from_ms(start_of(9)))
        assert (gap.after.stream, gap.resumes.stream) == (key(5), key(9))
        assert arrival.skipped is None

    def test_to_the_millisecond(self) -> None:
        retention = 2 * DAY
        # What comes within grace may be dated so much before it is written.
        for seen, told in ((start_of(10) - retention + GRACE, True), (start_of(10) - retention + GRACE + 1, False)):
            arrival = self.arrival(day(5, seen=seen), Glance(start_of(10), HERE), 9)
            assert (arrival.gap is not None) is told
        for now, told in ((start_of(6) + retention, True), (start_of(6) + retention - 1, False)):
            move, found = self.search(day(5), Glance(now, HERE), 7, follow=False)
            assert move is Move.NEXT
            assert found is not None
            assert (found.gap is not None) is told

    # -- its key is missing -------------------------------------------------------------------------------------------

    def test_one_that_expired_unread_is_told_with_its_span(self) -> None:
        now = start_of(5) + HOUR + 2 * DAY
        arrival = self.arrival(day(5), Glance(now, None), 6)
        gap = arrival.gap
        assert gap is not None
        assert (gap.cause, gap.amount) == (GapCause.EXPIRED, "possibly entries")
        assert (gap.since, gap.until) == (from_ms(start_of(5) + HOUR), from_ms(start_of(6)))
        assert (gap.after, gap.resumes) == (day(5).position, arrival.place.position)

    def test_one_that_cannot_have_expired_is_gone(self) -> None:
        arrival = self.arrival(day(5), Glance(start_of(5) + HOUR + 2 * DAY - 1, None), 6)
        assert arrival.gap is not None
        assert arrival.gap.cause is GapCause.GONE

    def test_one_that_had_been_read_and_then_expired_by_itself_is_no_loss(self) -> None:
        # Whatever was written after it had been read would have kept the key until then + retention, less grace.
        seen = start_of(6) + HOUR
        arrival = self.arrival(day(5, seen=seen), Glance(seen + 2 * DAY - GRACE - 1, None), 6)
        assert (arrival.gap, arrival.skipped) == (None, None)
        arrival = self.arrival(day(5, seen=seen), Glance(seen + 2 * DAY - GRACE, None), 6)
        assert arrival.gap is not None
        assert arrival.gap.cause is GapCause.EXPIRED

    def test_one_that_had_been_read_and_is_gone_before_its_time_may_be(self) -> None:
        arrival = self.arrival(day(5, seen=start_of(6)), Glance(start_of(7), None), 6)
        assert arrival.gap is not None
        assert arrival.gap.cause is GapCause.GONE

    def test_with_the_days_behind_it_that_are_missing_too(self) -> None:
        arrival = self.arrival(day(5), Glance(start_of(12), None), 11)
        gap = arrival.gap
        assert gap is not None
        assert (gap.since, gap.until) == (from_ms(start_of(5) + HOUR), from_ms(start_of(11)))
        assert arrival.skipped is None

    def test_one_that_was_drained_a_moment_before_is_no_loss(self) -> None:
        now = start_of(8)
        arrival = self.arrival(day(5, seen=now), Glance(now, None), 7, drained=True)
        assert (arrival.gap, arrival.skipped) == (None, (key(6), key(6)))

    def test_one_that_never_was_is_no_loss(self) -> None:
        now = start_of(6) + GRACE
        for place in (Place(key(5), ZERO, seen=now), day(5, None, bound=True, seen=now)):
            arrival = self.arrival(place, Glance(now, None), 6)
            assert (arrival.gap, arrival.skipped) == (None, None)

    def test_unless_nobody_looked_for_longer_than_the_retention(self) -> None:
        now = start_of(9)
        place = Place(key(5), ZERO, seen=start_of(5))
        arrival = self.arrival(place, Glance(now, None), 8)
        assert arrival.gap is not None
        assert arrival.gap.cause is GapCause.EXPIRED

    def test_what_lies_ahead_of_the_retention_cannot_have_expired_however_long_nobody_looked(self) -> None:
        # Begun in a day to come: nothing of it is old enough to have expired.
        now = start_of(9)
        place = Place(key(8), ZERO, seen=start_of(5))
        move, arrival = follower(follow=False).after_search(place, Glance(now, None), [key(9)], drained=False)
        assert move is Move.NEXT
        assert arrival is not None
        assert arrival.gap is None

    def test_the_next_day_is_entered_by_its_newest_entry_ahead_of_the_clock(self) -> None:
        # As `move` does while the key is there: producers' times may run ahead of the server's clock.
        glance = Glance(start_of(1), None, facts(END + GRACE, added=1))
        assert self.arrival(day(5), glance, 6).place.stream == key(6)
        early = Glance(start_of(1), None, facts(END + GRACE - 1, added=1))
        assert self.search(day(5), early, 6)[0] is Move.STAY

    def test_a_later_day_is_not_entered_by_the_entry_of_another(self) -> None:
        glance = Glance(start_of(1), None, facts(END + GRACE, added=1))
        assert self.search(day(5), glance, 7)[0] is Move.STAY

    def test_with_no_later_day_the_reader_begins_anew_where_it_stands(self) -> None:
        now = start_of(5) + 2 * HOUR
        for follow, expected in ((True, Move.STAY), (False, Move.END)):
            move, arrival = self.search(day(5), Glance(now, None), follow=follow)
            assert move is expected
            assert arrival is not None
            assert arrival.place == Place(key(5), ZERO, seen=now)
            assert arrival.gap is not None
            assert (arrival.gap.cause, arrival.gap.since, arrival.gap.until) == (
                GapCause.GONE,
                from_ms(start_of(5) + HOUR),
                from_ms(now),
            )

    def test_and_says_so_once(self) -> None:
        now = start_of(5) + 2 * HOUR
        _, first = self.search(day(5), Glance(now, None))
        assert first is not None
        _, second = self.search(first.place, Glance(now + 1000, None))
        assert second is None or second.gap is None

    def test_one_drained_a_moment_before_begins_anew_in_silence(self) -> None:
        _, arrival = self.search(day(5), Glance(start_of(7) + HOUR, None), drained=True)
        assert arrival is not None
        assert arrival.place.untouched
        assert arrival.gap is None

    def test_where_to_begin_stays_while_there_is_nothing(self) -> None:
        place = day(5, None, bound=True, seen=start_of(5))
        _, arrival = self.search(place, Glance(start_of(5) + 2 * HOUR, None))
        kept = place if arrival is None else arrival.place
        assert (kept.id, kept.bound) == (place.id, True)

    def test_the_partition_left_before_is_still_watched(self) -> None:
        left = Mark(key(4), EntryId(5), 1)
        arrival = self.arrival(day(5, left=left), Glance(start_of(6) + GRACE, None), 6)
        assert arrival.place.left == left

    def test_what_a_start_at_new_passed_over_is_not_read_when_a_day_is_missing(self) -> None:
        passed = Mark(key(7), EntryId(start_of(7)), 1)
        now = start_of(7) + GRACE
        arrival = self.arrival(day(5, ahead=(passed,), seen=now), Glance(now, HERE), 7)
        assert (arrival.place.id, arrival.place.entries_read, arrival.place.ahead) == (passed.id, 1, ())


class TestAGoneKey:
    """A single key that is missing."""

    def test_is_told_and_begun_anew(self) -> None:
        place, gap = single().gone(at(5, 1), 9, drained=False)
        assert place == Place("s", ZERO, seen=9)
        assert gap is not None
        assert (gap.cause, gap.amount) == (GapCause.GONE, "possibly entries")
        assert (gap.since, gap.until) == (from_ms(5), from_ms(9))

    def test_with_ids_ahead_of_the_clock_too(self) -> None:
        _, gap = single().gone(at(50, 1), 9, drained=False)
        assert gap is not None
        assert (gap.since, gap.until) == (from_ms(50), from_ms(50))

    @pytest.mark.parametrize(
        ("place", "drained"), [(at(5, 1), True), (at(0, None), False), (at(5, None, bound=True), False)]
    )
    def test_is_no_loss_if_it_was_drained_or_never_there(self, place: Place, *, drained: bool) -> None:
        fresh, gap = single().gone(place, 9, drained=drained)
        assert gap is None
        assert fresh.untouched

    def test_where_to_begin_stays(self) -> None:
        place, _ = single().gone(at(5, None, bound=True), 9, drained=False)
        assert (place.id, place.bound) == (EntryId(5), True)


class TestDating:
    def gap(self, stream: str, ms: int) -> Gap:
        _, gap = single().gone(Place(stream, EntryId(ms), 1), start_of(9), drained=False)
        assert gap is not None
        return gap

    def test_a_loss_before_anything_was_read_begins_with_the_partition(self) -> None:
        assert follower().dated(self.gap(key(5), 0)).since == from_ms(start_of(5))

    def test_any_other_begins_where_reading_stopped(self) -> None:
        gap = self.gap(key(5), start_of(5) + HOUR)
        assert follower().dated(gap) == gap

    def test_of_a_single_key_nothing_better_is_known(self) -> None:
        gap = self.gap("s", 0)
        assert single().dated(gap) == gap

    def test_one_that_is_dated_already_stays(self) -> None:
        gap = replace(self.gap(key(5), 0), since=from_ms(start_of(6)))
        assert follower().dated(gap) == gap


class TestChecking:
    def test_a_place_of_ones_own_is_let_through(self) -> None:
        follower().check(Place(key(5), ZERO), "agg")
        single().check(at(5, 1), "agg")

    @pytest.mark.parametrize("stream", ["temps:averages", "other:20250105", "temps:2025010500"])
    def test_a_place_in_another_stream_is_refused(self, stream: str) -> None:
        with pytest.raises(
            CheckpointMismatch, match=f"checkpoint 'agg' belongs to another stream: '{stream}' is no partition"
        ):
            follower().check(Place(stream, ZERO), "agg")

    def test_and_of_a_single_key(self) -> None:
        with pytest.raises(
            CheckpointMismatch, match=r"stands in 'r', this reader reads 's'; give it a checkpoint of its own"
        ):
            single().check(Place("r", ZERO), "agg")


class TestParsingAStart:
    MOMENT = datetime(2025, 1, 5, 1, tzinfo=timezone.utc)

    @pytest.mark.parametrize(
        ("start", "parsed"),
        [
            (None, Start()),
            (NEW, Start(new=True)),
            (EntryId(5, 1), Start(at=EntryId(5, 1))),
            ("5-1", Start(at=EntryId(5, 1))),
            ("5", Start(at=EntryId(5))),
            (MOMENT, Start(at=EntryId(to_ms(MOMENT)))),
        ],
    )
    def test_what_any_source_takes(self, start: Any, parsed: Start) -> None:
        assert parse_start(start, "s", None) == parsed
        assert parse_start(start, "temps", TEMPS) == parsed

    def test_the_key_itself_means_all_of_it(self) -> None:
        assert parse_start("s", "s", None) == Start()
        assert parse_start("5", "5", None) == Start()

    def test_a_partition_is_taken_of_partitioned_streams_only(self) -> None:
        assert parse_start(key(5), "temps", TEMPS) == Start(key=key(5))
        with pytest.raises(InvalidArgument, match=f"start '{key(5)}' is neither an entry ID nor the key 's'"):
            parse_start(key(5), "s", None)

    @pytest.mark.parametrize("start", ["temps", "temps:averages", "temps:20250132", ""])
    def test_what_is_no_partition_is_refused(self, start: str) -> None:
        with pytest.raises(NotAPartition):
            parse_start(start, "temps", TEMPS)

    @pytest.mark.parametrize("sign", ["$", ">"])
    def test_signs_point_to_new(self, sign: str) -> None:
        for partitioning in (None, TEMPS):
            with pytest.raises(InvalidEntryId, match=r"streamkit\.NEW"):
                parse_start(sign, "temps", partitioning)

    def test_a_naive_datetime_is_refused(self) -> None:
        with pytest.raises(NaiveDatetime):
            parse_start(datetime(2025, 1, 5), "s", None)  # noqa: DTZ001 - the point

    def test_a_moment_that_no_partition_has_is_refused_before_anything_is_sent(self) -> None:
        with pytest.raises(InvalidArgument):
            parse_start(EntryId(2**63), "temps", TEMPS)
        assert parse_start(EntryId(2**63), "s", None) == Start(at=EntryId(2**63))


class TestResolvingAStart:
    NOW = start_of(5) + HOUR

    def resolve(self, start: Start, *existing: int) -> tuple[str, EntryId | None]:
        return resolve_start(start, "temps", TEMPS, self.NOW, [key(number) for number in existing])

    def test_the_beginning_is_the_oldest_partition(self) -> None:
        assert self.resolve(Start(), 3, 4, 5) == (key(3), ZERO)

    def test_or_the_first_that_could_still_come(self) -> None:
        assert self.resolve(Start()) == (key(2), ZERO)

    def test_new_is_the_partition_of_the_clock_behind_its_newest(self) -> None:
        # Not one dated ahead: what is written from now on goes to today's.
        for existing in ((), (3, 4), (5,), (5, 6)):
            assert self.resolve(Start(new=True), *existing) == (key(5), None)

    def test_a_partition_is_read_from_its_beginning_whether_or_not_it_exists(self) -> None:
        assert self.resolve(Start(key=key(4)), 3, 5) == (key(4), ZERO)

    @pytest.mark.parametrize(
        ("first", "behind"),
        [
            (EntryId(start_of(4)), ZERO),
            (EntryId(start_of(4), 1), EntryId(start_of(4), 0)),
            (EntryId(start_of(4) + 1), EntryId(start_of(4), LARGEST)),
            (EntryId(start_of(5) - 1, 7), EntryId(start_of(5) - 1, 6)),
        ],
    )
    def test_an_id_is_included(self, first: EntryId, behind: EntryId) -> None:
        assert self.resolve(Start(at=first), 3, 5) == (key(4), behind)

    def test_of_a_single_key_nothing_must_be_known(self) -> None:
        assert resolve_start(Start(), "s", None, 0, []) == ("s", ZERO)
        assert resolve_start(Start(new=True), "s", None, 0, []) == ("s", None)
        assert resolve_start(Start(at=EntryId(5, 1)), "s", None, 0, []) == ("s", EntryId(5, 0))
        assert resolve_start(Start(at=EntryId(5)), "s", None, 0, []) == ("s", EntryId(4, LARGEST))
        assert resolve_start(Start(at=ZERO), "s", None, 0, []) == ("s", ZERO)


@dataclass
class World:
    """A server with an hourly stream that is kept for two hours, and a reader of it, as `Reading` drives the rules."""

    partitioning = Partitioning.of("temps", Period.HOUR, timedelta(hours=2), timedelta(hours=1))
    rules = Follower("temps", partitioning, grace=10 * 60_000, follow=True)
    now: int = start_of(5)
    keys: dict[str, list[EntryId]] = field(default_factory=dict[str, list[EntryId]])
    expiry: dict[str, int] = field(default_factory=dict[str, int])
    written: list[tuple[str, EntryId]] = field(default_factory=list[tuple[str, EntryId]])
    read: list[tuple[str, EntryId]] = field(default_factory=list[tuple[str, EntryId]])
    gaps: list[Gap] = field(default_factory=list[Gap])
    drained: bool = False
    place: Place = field(init=False)

    def __post_init__(self) -> None:
        stream, behind = resolve_start(Start(), "temps", self.partitioning, self.now, [])
        assert behind is not None
        self.place = Place(stream, behind, seen=self.now)

    # -- what happens -------------------------------------------------------------------------------------------------

    def write(self, late: int) -> None:
        """An entry of this moment, or of up to five minutes ago, which is within grace."""
        ms = self.now - late
        stream = self.partitioning.at(ms).key
        entries = self.keys.get(stream, [])
        if late and not entries:
            return
        newest = entries[-1] if entries else ZERO
        # Numbered through, so that an entry of a key made anew is told from an older one.
        entry = EntryId(max(ms, newest.ms), len(self.written) + 1)
        self.keys[stream] = [*entries, entry]
        self.expiry[stream] = max(self.expiry.get(stream, 0), ms + 2 * HOUR)
        self.written.append((stream, entry))

    def wait(self, ms: int) -> None:
        """Time passes; a reader that does not look for an hour has been away."""
        self.now += ms
        self.drained = self.drained and ms < HOUR
        for stream in [stream for stream, expiry in self.expiry.items() if expiry <= self.now]:
            self.evict(stream)

    def evict(self, stream: str) -> None:
        del self.keys[stream], self.expiry[stream]

    def cross(self, late: int) -> None:
        """An hour ends with an entry that is so late that the next hour's first one is read before it is written."""
        self.write(0)
        self.wait(HOUR - self.now % HOUR + late)
        self.write(0)
        self.look(0)
        self.write(late + 1)

    def lose(self, _: int) -> None:
        """The key that is being read is deleted; the reader notices before anything is written there again."""
        if self.place.stream in self.keys and not self.place.untouched and self.now < self.place.id.ms + 2 * HOUR:
            self.evict(self.place.stream)
            self.drained = False
            self.look(0)

    def look(self, _: int) -> None:
        """The reader reads all there is, and goes as far as the rules let it."""
        for _ in range(200):
            if not self.step():
                return
        raise AssertionError("the reader does not come to rest")

    # -- the reader ---------------------------------------------------------------------------------------------------

    def facts(self, stream: str | None) -> StreamFacts | None:
        entries = self.keys.get(stream or "")
        if entries is None:
            return None
        return facts(entries[-1], first=entries[0], added=len(entries), length=len(entries))

    def report(self, gap: Gap | None) -> None:
        if gap is not None:
            self.gaps.append(self.rules.dated(gap))

    def step(self) -> bool:
        glance = Glance(self.now, self.facts(self.place.stream), self.facts(self.rules.next_key(self.place)))
        if glance.current is not None:
            self.place, gap = reconcile(self.place, glance.current)
            self.report(gap)
            new = [entry for entry in self.keys[self.place.stream] if entry > self.place.id]
            if new:
                count = None if self.place.entries_read is None else self.place.entries_read + len(new)
                self.read += [(self.place.stream, entry) for entry in new]
                self.place = replace(self.place, id=new[-1], entries_read=count, bound=False)
                return True
            self.place = replace(self.place, seen=self.now)
        before, move = self.place, self.rules.move(self.place, glance)
        if move is Move.NEXT and glance.current is not None:
            self.place = self.rules.to_next(self.place, glance.current)
        elif move is Move.SEARCH:
            existing = [name for name in self.rules.candidates(before, self.now) if name in self.keys]
            move, arrival = self.rules.after_search(before, glance, existing, drained=self.drained)
            if arrival is not None:
                self.place = arrival.place
                self.report(arrival.gap)
        self.drained = glance.current is not None and self.place.stream == before.stream
        return move is Move.NEXT

    def told(self, entry: EntryId) -> bool:
        return any(gap.since <= entry.time <= gap.until for gap in self.gaps)


HAPPENINGS = st.one_of(
    st.tuples(st.just("write"), st.just(0)),
    st.tuples(st.just("write"), st.integers(0, 5 * 60_000)),
    st.tuples(st.just("wait"), st.integers(1, 30 * 60_000)),
    st.tuples(st.just("wait"), st.integers(HOUR, 9 * HOUR)),
    st.tuples(st.just("cross"), st.integers(0, 5 * 60_000)),
    st.tuples(st.just("look"), st.just(0)),
)


def lived(happenings: list[tuple[str, int]]) -> World:
    world = World()
    for what, amount in happenings:
        getattr(world, what)(amount)
    world.look(0)
    return world


class TestNothingIsLostInSilence:
    # An entry within grace, written after its hour had been read to the end, expires before "read + retention".
    @example([("cross", 1), ("wait", HOUR), ("cross", 0)])
    @given(st.lists(HAPPENINGS | st.tuples(st.just("lose"), st.just(0)), max_size=30))
    def test_whatever_happens_each_entry_is_read_or_told(self, happenings: list[tuple[str, int]]) -> None:
        world = lived(happenings)
        world.wait(2 * HOUR + 11 * 60_000)
        world.write(0)
        world.wait(1)
        world.look(0)
        read = set(world.read)
        assert [entry for entry in world.written if entry not in read and not world.told(entry[1])] == []

    @given(st.lists(HAPPENINGS | st.tuples(st.just("lose"), st.just(0)), max_size=30))
    def test_nothing_is_read_twice_or_out_of_order(self, happenings: list[tuple[str, int]]) -> None:
        world = lived(happenings)
        assert world.read == sorted(set(world.read))

    @given(st.lists(HAPPENINGS, max_size=30))
    def test_a_reader_that_keeps_looking_reads_everything_and_never_cries_wolf(
        self, happenings: list[tuple[str, int]]
    ) -> None:
        world = World()
        for what, amount in happenings:
            for _ in range(1 + amount // (30 * 60_000) if what == "wait" else 1):
                getattr(world, what)(min(amount, 30 * 60_000))
                world.look(0)
        for _ in range(3):
            world.wait(30 * 60_000)
            world.look(0)
        assert (world.read, world.gaps) == (sorted(world.written), [])
