"""Where a group begins on partitions, and what it is told to have missed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from streamkit._core.checkpoints import Mark
from streamkit._core.following import parse_start
from streamkit._core.ids import NEW, ZERO, EntryId
from streamkit._core.joining import Origin, gone, missed, read_keys, write_keys
from streamkit._core.observers import GapCause, Position
from streamkit._core.periods import Partitioning, Period
from streamkit._core.times import to_ms

DAY = timedelta(days=1)
DAYS = Partitioning.of("temps", Period.DAY, 2 * DAY, DAY)
FIRST = datetime(2025, 1, 1, tzinfo=timezone.utc)
NOON = to_ms(FIRST) + 12 * 3_600_000


def day(n: int) -> str:
    return f"temps:202501{n:02}"


def at(days: float) -> int:
    return to_ms(FIRST + days * DAY)


def origin(start: Any, *newest: Mark) -> Origin:
    return Origin.of(parse_start(start, "temps", DAYS), "temps", DAYS, at(3.5), newest)


class TestOrigin:
    MARKS = (Mark(day(2), EntryId(at(1.9)), 7), Mark(day(3), EntryId(at(2.9), 3), 0))

    def test_without_a_start_it_is_everything(self) -> None:
        assert origin(None, *self.MARKS) == origin(None) == Origin()

    def test_new_is_behind_the_newest_of_every_partition(self) -> None:
        expected = {day(2): (f"{at(1.9)}-0", 7), day(3): (f"{at(2.9)}-3", 0)}
        assert origin(NEW, *self.MARKS) == Origin(behind=expected)

    def test_new_where_there_is_nothing_leaves_out_nothing(self) -> None:
        assert origin(NEW) == Origin()

    @pytest.mark.parametrize("start", [FIRST + 1.5 * DAY, EntryId(at(1.5))])
    def test_a_moment_is_just_before_it_in_its_partition_and_nothing_older(self, start: Any) -> None:
        before = f"{at(1.5) - 1}-{2**64 - 1}"
        assert origin(start, *self.MARKS) == Origin(day(2), {day(2): (before, None)})

    @pytest.mark.parametrize("start", [FIRST + DAY, day(2)])
    def test_the_beginning_of_a_partition_is_all_of_it(self, start: Any) -> None:
        assert origin(start, *self.MARKS) == Origin(day(2))

    def test_a_partition_that_is_still_to_come_can_be_meant(self) -> None:
        assert origin(FIRST + 20.5 * DAY).first == day(21)

    def test_it_is_written_as_text_and_read_again(self) -> None:
        for each in (Origin(), Origin("täglich: 1", {'a "b"\n': ("5-1", None), "c": ("0-0", 3)})):
            assert Origin.parse(str(each)) == each
        assert "täglich" in str(Origin("täglich"))


class TestKeys:
    @pytest.mark.parametrize("keys", [[], ["a"], ["a b:1", 'ü"\n:2']])
    def test_are_written_as_text_and_read_again(self, keys: list[str]) -> None:
        assert read_keys(write_keys(keys)) == keys

    def test_there_are_none_in_a_record_without_them(self) -> None:
        assert read_keys("") == []


class TestGone:
    def test_tells_its_span_and_where_it_goes_on(self) -> None:
        gap = gone(DAYS, day(2), [day(1), day(4), day(5)], at(3))
        assert gap.cause is GapCause.GONE
        assert (gap.after, gap.resumes) == (Position(day(2), ZERO), Position(day(4), ZERO))
        assert (gap.since, gap.until) == (FIRST + DAY, FIRST + 2 * DAY)
        assert (gap.lost, gap.exact) == (None, False)

    def test_it_has_expired_once_its_retention_is_past(self) -> None:
        assert gone(DAYS, day(2), [], at(4) - 1).cause is GapCause.GONE
        gap = gone(DAYS, day(2), [], at(4))
        assert (gap.cause, gap.resumes.stream) == (GapCause.EXPIRED, day(5))


class TestMissed:
    def test_nothing_where_everything_is_there(self) -> None:
        assert missed(DAYS, [day(1), day(2)], [day(1), day(2)], at(1.5), at(1.6)) == []

    def test_a_partition_with_something_in_it_that_is_gone(self) -> None:
        (gap,) = missed(DAYS, [day(3)], [day(1), day(3)], at(2.5), at(3))
        assert (gap.cause, gap.after.stream, gap.resumes.stream) == (GapCause.EXPIRED, day(1), day(3))

    def test_nothing_may_have_come_and_gone_within_the_retention(self) -> None:
        assert missed(DAYS, [], [], at(1.5), at(3.5)) == []
        assert missed(DAYS, [], [], None, at(20)) == []

    def test_what_may_have_come_and_gone_since_the_last_look(self) -> None:
        (gap,) = missed(DAYS, [day(9)], [], at(1.5), at(8.5))
        # Of the 7th, what was written by noon would have expired by now; the 8th would still be there.
        assert (gap.after.stream, gap.resumes.stream) == (day(2), day(9))
        assert (gap.since, gap.until) == (FIRST + 1.5 * DAY, FIRST + 7 * DAY)
        assert (gap.cause, gap.lost) == (GapCause.EXPIRED, None)

    def test_partitions_that_are_there_are_not_missed(self) -> None:
        assert missed(DAYS, [day(2), day(3), day(4)], [], at(1.5), at(5.5)) == []
        (gap,) = missed(DAYS, [day(2), day(4)], [], at(1.5), at(5.5))
        assert (gap.since, gap.until) == (FIRST + 2 * DAY, FIRST + 3 * DAY)

    def test_each_is_told_once(self) -> None:
        gaps = missed(DAYS, [], [day(2), day(3)], at(1.5), at(5.5))
        assert [gap.after.stream for gap in gaps] == [day(2), day(3), day(4)]
