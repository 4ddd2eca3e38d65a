"""Moments and spans in milliseconds: exact, rounded down, always with a time zone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from streamkit._core.errors import InvalidArgument, NaiveDatetime
from streamkit._core.times import EPOCH, all_ms, from_ms, require_positive, span_ms, to_ms

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
YEAR_10000 = 253_402_300_800_000


def moments(zones: st.SearchStrategy[timezone]) -> st.SearchStrategy[datetime]:
    return st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=zones)  # noqa: DTZ001


@given(moments(ZONES))
def test_milliseconds_are_exact_and_rounded_down(moment: datetime) -> None:
    assert to_ms(moment) == (moment - EPOCH) // timedelta(milliseconds=1)


@given(st.integers(0, YEAR_10000 - 1))
def test_milliseconds_come_back(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


@pytest.mark.parametrize(
    ("moment", "ms"),
    [
        (datetime(2025, 1, 1, 0, 0, 0, 999, tzinfo=timezone.utc), 1_735_689_600_000),
        (datetime(2025, 1, 1, 0, 0, 0, 1000, tzinfo=timezone.utc), 1_735_689_600_001),
        (datetime(2025, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 1_735_689_600_000),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc), -1),
    ],
)
def test_some_milliseconds_to_check_by_hand(moment: datetime, ms: int) -> None:
    assert to_ms(moment) == ms


def test_a_naive_datetime_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(NaiveDatetime, match=r"datetime\.now\(timezone\.utc\)"):
        to_ms(datetime(2025, 1, 1))  # noqa: DTZ001 - the point


@given(st.lists(moments(st.just(timezone.utc))) | st.lists(moments(ZONES | st.just(timezone.utc))))
def test_many_at_once_are_what_each_is(times: list[datetime]) -> None:
    assert all_ms(times) == [to_ms(time) for time in times]


class Zone(tzinfo):
    """A zone that is no `timezone`, as those of zoneinfo are not; one that does not know its offset is none."""

    def __init__(self, offset: timedelta | None) -> None:
        self.offset = offset

    @override
    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        return self.offset

    @override
    def dst(self, dt: datetime | None, /) -> timedelta | None:
        return None

    @override
    def tzname(self, dt: datetime | None, /) -> str | None:
        return None


@pytest.mark.parametrize(
    ("zone", "ms"),
    [
        (timezone(timedelta(0)), 1_735_689_600_000),
        (timezone(timedelta(hours=1)), 1_735_686_000_000),
        (Zone(timedelta(0)), 1_735_689_600_000),
        (Zone(timedelta(hours=-1)), 1_735_693_200_000),
    ],
)
def test_many_may_be_of_any_zone(zone: tzinfo, ms: int) -> None:
    time = datetime(2025, 1, 1, tzinfo=zone)
    assert all_ms([time, time]) == [ms, ms]
    assert all_ms([time, EPOCH]) == [ms, 0]
    assert all_ms([EPOCH, time]) == [0, ms]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("zone", [None, Zone(None)])
def test_a_naive_one_among_many_is_refused_wherever_it_is(place: int, zone: tzinfo | None) -> None:
    times = [EPOCH, EPOCH]
    times.insert(place, datetime(2025, 1, 1, tzinfo=zone))
    with pytest.raises(NaiveDatetime, match="2025"):
        all_ms(times)


def test_moments_come_back_in_utc() -> None:
    assert from_ms(0) == EPOCH
    assert from_ms(1).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("span", "ms"),
    [
        (timedelta(microseconds=999), 0),
        (timedelta(milliseconds=1), 1),
        (timedelta(seconds=1, microseconds=999), 1000),
        (timedelta(days=2), 172_800_000),
    ],
)
def test_spans_are_rounded_down(span: timedelta, ms: int) -> None:
    assert span_ms(span) == ms


def test_a_positive_span_is_given_back() -> None:
    span = timedelta(milliseconds=1)
    assert require_positive("retention", span) is span
    assert require_positive("grace", timedelta(0), zero=True) == timedelta(0)


def test_a_span_below_a_millisecond_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="retention must be at least a millisecond"):
        require_positive("retention", timedelta(microseconds=999))
    with pytest.raises(InvalidArgument, match="retention must be at least a millisecond"):
        require_positive("retention", timedelta(0))


def test_a_span_below_zero_is_refused_even_where_zero_will_do() -> None:
    with pytest.raises(InvalidArgument, match="grace must be zero or more"):
        require_positive("grace", timedelta(microseconds=-1), zero=True)


@pytest.mark.parametrize("span", [5, 5.0, "5s", None])
def test_a_number_is_no_span(span: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"retention must be a timedelta, not .*timedelta\(seconds=\.\.\.\)"):
        require_positive("retention", span)
