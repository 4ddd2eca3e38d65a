"""Periods and partitions: every moment has one key, every key of ours is a partition, and nothing else is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit._core.errors import InvalidArgument, NotAPartition
from streamkit._core.periods import FIRST_BEYOND, PROBES, Partition, Partitioning, Period
from streamkit._core.times import from_ms, to_ms

DAY = timedelta(days=1)
PERIODS = st.sampled_from([Period.HOUR, Period.DAY, Period.MONTH])
# To the year 9990: what lies behind cannot be reckoned with datetime.
MOMENTS = st.integers(0, 253_000_000_000_000) | st.integers(1_700_000_000_000, 1_900_000_000_000)


def temps(
    period: Period = Period.DAY, *, retention: timedelta = 2 * DAY, max_ahead: timedelta | None = None
) -> Partitioning:
    return Partitioning.of("temps", period, retention, max_ahead)


def at(*parts: int) -> int:
    return to_ms(datetime(*parts, tzinfo=timezone.utc))  # type: ignore[arg-type,misc]


@given(MOMENTS, PERIODS)
@example(at(2024, 2, 29), Period.MONTH)
@example(at(2038, 1, 19, 3, 14, 8), Period.HOUR)
@example(0, Period.DAY)
def test_every_moment_lies_in_the_partition_of_its_key(ms: int, period: Period) -> None:
    partition = temps(period).at(ms)
    assert partition.start <= ms < partition.end
    assert temps(period).parse(partition.key) == partition
    assert partition.key == f"temps:{from_ms(ms).strftime(period.suffix)}"


@given(MOMENTS, PERIODS)
def test_partitions_join_without_gap_or_overlap(ms: int, period: Period) -> None:
    partition = temps(period).at(ms)
    following = temps(period).after(partition)
    assert following.start == partition.end
    assert following == temps(period).at(partition.end)
    assert temps(period).at(partition.end - 1) == partition
    assert temps(period).at(partition.start) == partition


@given(MOMENTS, MOMENTS, PERIODS)
def test_keys_sort_as_time_does(a: int, b: int, period: Period) -> None:
    first, second = temps(period).at(min(a, b)), temps(period).at(max(a, b))
    assert first.key <= second.key
    assert (first.key == second.key) == (first == second)


@pytest.mark.parametrize(
    ("period", "key", "start", "end"),
    [
        (Period.HOUR, "temps:2025010123", at(2025, 1, 1, 23), at(2025, 1, 2)),
        (Period.DAY, "temps:20250101", at(2025, 1, 1), at(2025, 1, 2)),
        (Period.DAY, "temps:20240229", at(2024, 2, 29), at(2024, 3, 1)),
        (Period.DAY, "temps:20251231", at(2025, 12, 31), at(2026, 1, 1)),
        (Period.MONTH, "temps:202402", at(2024, 2, 1), at(2024, 3, 1)),
        (Period.MONTH, "temps:202502", at(2025, 2, 1), at(2025, 3, 1)),
        (Period.MONTH, "temps:202512", at(2025, 12, 1), at(2026, 1, 1)),
        (Period.DAY, "temps:20380119", at(2038, 1, 19), at(2038, 1, 20)),
        (Period.DAY, "temps:99981231", at(9998, 12, 31), at(9999, 1, 1)),
    ],
)
def test_some_partitions_to_check_by_hand(period: Period, key: str, start: int, end: int) -> None:
    assert temps(period).parse(key) == Partition(key, start, end)


@pytest.mark.parametrize(
    "key",
    [
        "temps:averages",
        "temps:2025011",
        "temps:2025111",
        "temps:20251301",
        "temps:20250001",
        "temps:20250100",
        "temps:20250132",
        "temps:20250229",
        "temps:2025010100",
        "temps:202501",
        "temps:",
        "temps",
        "temps20250101",
        "temp:20250101",
        "temps:20250101:dead-letters",
        "{temps:20250101}:appends",
        "other:temps:20250101",
        "temps:temps:20250101",
        "temps: 20250101",
        "temps:20250101 ",
        "temps:20250101\n",
        "temps:2025-01-01",
        "temps:+2025010",
        "temps:\u0662\u0660\u0662\u0665\u0660\u0661\u0660\u0661",
        "temps:2025010\u0661",
        "temps:\uff12\uff10\uff12\uff15\uff10\uff11\uff10\uff11",
        "temps:00010101",
        "temps:09991231",
        "temps:19691231",
        "temps:99991231",
        "",
    ],
)
def test_what_only_looks_like_a_partition_is_none(key: str) -> None:
    with pytest.raises(
        NotAPartition, match=r"is no partition of 'temps'; its partitions are named like 'temps:20250101'"
    ):
        temps().parse(key)


@pytest.mark.parametrize(("period", "key"), [(Period.HOUR, "temps:20250101"), (Period.MONTH, "temps:20250101")])
def test_the_key_of_another_period_is_none_of_this_one(period: Period, key: str) -> None:
    with pytest.raises(NotAPartition) as caught:
        temps(period).parse(key)
    assert caught.value.key == key
    assert temps(period).at(at(2025, 1, 1)).key in str(caught.value)


@given(st.text(), PERIODS)
def test_any_name_is_either_refused_or_comes_back(suffix: str, period: Period) -> None:
    try:
        partition = temps(period).parse(f"temps:{suffix}")
    except NotAPartition:
        return
    assert partition.key == f"temps:{suffix}"
    assert suffix.isascii()


@given(st.text("0123456789", min_size=6, max_size=10), PERIODS)
def test_any_digits_are_either_refused_or_come_back(digits: str, period: Period) -> None:
    try:
        partition = temps(period).parse(f"temps:{digits}")
    except NotAPartition:
        return
    assert temps(period).at(partition.start).key == f"temps:{digits}"


def test_a_name_with_signs_of_its_own_is_taken_as_it_is() -> None:
    partitioning = Partitioning.of("{a.*}:%Y", Period.DAY, DAY, None)
    key = partitioning.at(at(2025, 1, 1)).key
    assert key == "{a.*}:%Y:20250101"
    assert partitioning.parse(key).key == key


def test_the_moments_of_other_time_zones_are_told_apart_in_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert Period.DAY.start_of(datetime(2025, 1, 1, 3, tzinfo=tokyo)) == datetime(2024, 12, 31, tzinfo=timezone.utc)
    assert Period.MONTH.start_of(datetime(2025, 1, 1, 3, tzinfo=tokyo)) == datetime(2024, 12, 1, tzinfo=timezone.utc)


def test_a_period_shows_how_it_is_written() -> None:
    assert [repr(period) for period in (Period.HOUR, Period.DAY, Period.MONTH)] == [
        "Period.HOUR",
        "Period.DAY",
        "Period.MONTH",
    ]


def test_a_period_of_a_second_can_be_made() -> None:
    second = Period("SECOND", "%Y%m%d%H%M%S", timedelta(seconds=1))
    partition = temps(second, retention=timedelta(minutes=1)).at(at(2025, 1, 1) + 59_999)
    assert partition == Partition("temps:20250101000059", at(2025, 1, 1) + 59_000, at(2025, 1, 1) + 60_000)


class TestArguments:
    def test_max_ahead_is_one_period_unless_given(self) -> None:
        assert temps(Period.HOUR).max_ahead == timedelta(hours=1)
        assert temps(Period.DAY).max_ahead == DAY
        assert temps(Period.MONTH).max_ahead == 31 * DAY
        assert temps(max_ahead=timedelta(0)).max_ahead == timedelta(0)

    def test_a_stream_needs_a_name(self) -> None:
        with pytest.raises(InvalidArgument, match="the name of a partitioned stream must not be empty"):
            Partitioning.of("", Period.DAY, DAY, None)

    @pytest.mark.parametrize("retention", [timedelta(0), -DAY])
    def test_retention_must_be_positive(self, retention: timedelta) -> None:
        with pytest.raises(InvalidArgument, match="retention must be at least a millisecond"):
            temps(retention=retention)

    def test_max_ahead_must_not_be_negative(self) -> None:
        with pytest.raises(InvalidArgument, match="max_ahead must be zero or more"):
            temps(max_ahead=-DAY)

    def test_more_periods_than_can_be_asked_for_are_refused(self) -> None:
        hour = timedelta(hours=1)
        assert temps(Period.HOUR, retention=(PROBES - 1) * hour).retention == (PROBES - 1) * hour
        with pytest.raises(
            InvalidArgument, match=r"span more than 20000 periods of Period\.HOUR; choose a longer period"
        ):
            temps(Period.HOUR, retention=PROBES * hour)


class TestTheEndOfTime:
    @pytest.mark.parametrize("ms", [-1, FIRST_BEYOND, 2**63])
    def test_moments_that_no_datetime_has_are_refused(self, ms: int) -> None:
        with pytest.raises(InvalidArgument, match=f"{ms} ms since 1970 .* no partition of 'temps' has it"):
            temps().at(ms)

    @given(PERIODS)
    def test_the_last_partition_has_a_next_one_in_name(self, period: Period) -> None:
        last = temps(period).at(FIRST_BEYOND - 1)
        assert last.end == FIRST_BEYOND
        assert temps(period).after(last).start == FIRST_BEYOND
        with pytest.raises(NotAPartition):
            temps(period).parse(temps(period).after(last).key)


class TestBetween:
    def test_is_every_partition_up_to_the_horizon(self) -> None:
        found = temps().between(temps().at(at(2025, 1, 8)), at(2025, 1, 10, 12))
        assert [partition.key for partition in found] == [f"temps:202501{day:02d}" for day in (8, 9, 10, 11, 12)]

    def test_is_none_behind_it(self) -> None:
        assert list(temps().between(temps().at(at(2025, 2, 1)), at(2025, 1, 10))) == []

    def test_is_the_latest_of_too_many(self) -> None:
        now = at(2025, 1, 10)
        hours = temps(Period.HOUR)
        found = hours.between(hours.at(now - (PROBES + 5) * 3_600_000), now)
        assert len(found) == PROBES
        assert found[-1] == hours.at(now + 2 * 3_600_000)


class TestHorizon:
    NOW = at(2025, 1, 10, 12)

    def test_reaches_from_the_retention_to_max_ahead_with_a_period_to_spare(self) -> None:
        keys = [partition.key for partition in temps().horizon(self.NOW)]
        assert keys == [f"temps:202501{day:02d}" for day in (7, 8, 9, 10, 11, 12)]

    def test_begins_in_1970_at_the_earliest(self) -> None:
        first, *_ = temps(retention=20 * DAY).horizon(at(1970, 1, 2))
        assert first.key == "temps:19700101"

    @given(st.integers(at(1971, 1, 1), at(2400, 1, 1)), PERIODS, st.integers(1, 90), st.integers(0, 90))
    def test_holds_every_partition_that_may_exist(self, now: int, period: Period, kept: int, ahead: int) -> None:
        partitioning = temps(period, retention=kept * DAY, max_ahead=ahead * DAY)
        keys = [partition.key for partition in partitioning.horizon(now)]
        assert keys == sorted(set(keys))
        for ms in (now, now - kept * 86_400_000 + 1, now + ahead * 86_400_000):
            assert partitioning.at(max(0, ms)).key in keys
        assert len(keys) <= PROBES + 4
