"""Replaying: what bounds mean, which partitions lie between them, when entries are due, how copies are cut."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.appends import Guard, Target
from streamkit._core.codecs import Encoded
from streamkit._core.errors import EncodeError, InvalidArgument, InvalidEntryId, NaiveDatetime, NotAPartition
from streamkit._core.ids import LARGEST, NEW, ZERO, EntryId
from streamkit._core.periods import FIRST_BEYOND, PROBES, Partition, Partitioning, Period
from streamkit._core.replaying import (
    FIRST_BLOCK,
    GREATEST,
    LARGEST_BLOCK,
    Pace,
    Scope,
    as_they_are,
    blocks,
    check_limit,
    chunks_of,
    not_too_far,
    parse_scope,
    require_callable,
    share_keys,
)
from streamkit._core.times import to_ms

HOUR = 3_600_000
DAY = 24 * HOUR
TEMPS = Partitioning.of("temps", Period.DAY, timedelta(days=2), timedelta(days=1))
SECONDS = Partitioning.of(
    "s", Period("SECOND", "%Y%m%d%H%M%S", timedelta(seconds=1)), timedelta(minutes=1), timedelta(seconds=1)
)


def moment(day: int, hour: int = 0) -> datetime:
    """A moment of January 2025."""
    return datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(days=day - 1, hours=hour)


def ms(day: int, hour: int = 0) -> int:
    return to_ms(moment(day, hour))


def partition(day: int) -> Partition:
    return TEMPS.at(ms(day))


def names(scope: Scope, now: int, here: Partition | None = None, *, reverse: bool = False) -> list[str]:
    """Every name that would be asked for, without the part that they share."""
    return [
        each.key.removeprefix("temps:202501") for block in scope.names(now, here, reverse=reverse) for each in block
    ]


# Bounds -------------------------------------------------------------------------------------------------------------


def test_without_bounds_everything_is_meant() -> None:
    assert parse_scope(None, None, "temps", None) == Scope("temps", None, ZERO, GREATEST)
    assert parse_scope("temps", "temps", "temps", None) == Scope("temps", None, ZERO, GREATEST)
    assert parse_scope(None, None, "temps", TEMPS) == Scope("temps", TEMPS, ZERO, GREATEST)


@pytest.mark.parametrize(
    ("bound", "as_start", "as_end"),
    [
        (EntryId(5, 1), EntryId(5, 1), EntryId(5, 1)),
        (EntryId(5), EntryId(5, 0), EntryId(5, 0)),
        ("5-1", EntryId(5, 1), EntryId(5, 1)),
        ("5-0", EntryId(5, 0), EntryId(5, 0)),
        ("5", EntryId(5, 0), EntryId(5, LARGEST)),
        (datetime(1970, 1, 1, 0, 0, 5, tzinfo=timezone.utc), EntryId(5000), EntryId(4999, LARGEST)),
        (datetime(1970, 1, 1, 0, 0, 5, 900, tzinfo=timezone.utc), EntryId(5000), EntryId(4999, LARGEST)),
        (datetime(1970, 1, 1, tzinfo=timezone.utc), ZERO, ZERO),
    ],
)
def test_ids_are_included_and_a_datetime_ends_before_itself(bound: Any, as_start: EntryId, as_end: EntryId) -> None:
    assert parse_scope(bound, None, "temps", None).first == as_start
    assert parse_scope(None, bound, "temps", None).last == as_end


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - UTC is put on
def test_ranges_that_meet_share_no_id_and_leave_none_out(naive: datetime) -> None:
    time = naive.replace(tzinfo=timezone.utc)
    before, after = parse_scope(None, time, "temps", None), parse_scope(time, None, "temps", None)
    assert before.last.after() == after.first


def test_bounds_of_a_partitioned_source_are_partitions_too() -> None:
    scope = parse_scope(moment(2, 6), moment(4), "temps", TEMPS)
    assert (scope.first, scope.last) == (EntryId(ms(2, 6)), EntryId(ms(4) - 1, LARGEST))
    assert (scope.earliest, scope.latest) == (partition(2), partition(3))


def test_the_key_of_a_partition_means_all_of_it() -> None:
    scope = parse_scope("temps:20250102", "temps:20250103", "temps", TEMPS)
    assert scope == Scope("temps", TEMPS, ZERO, GREATEST, partition(2), partition(3))
    assert parse_scope("temps:20250103", "temps:20250103", "temps", TEMPS).latest == partition(3)


def test_an_end_that_no_partition_has_is_none() -> None:
    assert parse_scope(None, EntryId(LARGEST), "temps", TEMPS).latest is None
    assert parse_scope(None, EntryId(FIRST_BEYOND), "temps", TEMPS).last == EntryId(FIRST_BEYOND)
    with pytest.raises(InvalidArgument, match="no partition of 'temps' has it"):
        parse_scope(EntryId(FIRST_BEYOND), None, "temps", TEMPS)


@pytest.mark.parametrize("partitioning", [None, TEMPS], ids=["key", "partitions"])
@pytest.mark.parametrize("which", ["start", "end"])
class TestRefused:
    def parse(self, which: str, bound: Any, partitioning: Partitioning | None) -> Scope:
        start, end = (bound, None) if which == "start" else (None, bound)
        return parse_scope(start, end, "temps", partitioning)

    @pytest.mark.parametrize("bound", ["$", ">", NEW])
    def test_what_is_still_to_come(self, which: str, bound: Any, partitioning: Partitioning | None) -> None:
        with pytest.raises(InvalidEntryId, match=rf"^{which} cannot be .*tail\(start=streamkit\.NEW\)"):
            self.parse(which, bound, partitioning)

    def test_a_naive_datetime(self, which: str, partitioning: Partitioning | None) -> None:
        with pytest.raises(NaiveDatetime):
            self.parse(which, datetime(2025, 1, 1), partitioning)  # noqa: DTZ001 - the subject

    def test_a_moment_before_1970(self, which: str, partitioning: Partitioning | None) -> None:
        with pytest.raises(InvalidEntryId):
            self.parse(which, datetime(1969, 1, 1, tzinfo=timezone.utc), partitioning)

    @pytest.mark.parametrize("bound", [5, 5.0, b"5-0", True, ["5"], ("5",)])
    def test_other_types(self, which: str, bound: Any, partitioning: Partitioning | None) -> None:
        with pytest.raises(InvalidArgument, match=f"{which} must be a datetime, an EntryId, a str or None, not"):
            self.parse(which, bound, partitioning)

    @pytest.mark.parametrize(
        "bound", ["", "-", "+", "5-", "(5-0", "other", "temps:x", "temps:2025010", "other:20250101"]
    )
    def test_other_words(self, which: str, bound: Any, partitioning: Partitioning | None) -> None:
        error = InvalidArgument if partitioning is None else NotAPartition
        with pytest.raises(error, match=r"is neither an entry ID nor the key|is no partition of"):
            self.parse(which, bound, partitioning)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (moment(3), moment(2)),
        (EntryId(5, 1), EntryId(5, 0)),
        ("5-1", "5-0"),
        ("6", "5"),
        (EntryId(ms(3), 1), moment(3)),
        ("temps:20250103", "temps:20250102"),
        ("temps:20250103", moment(2, 23)),
        (moment(3), "temps:20250102"),
    ],
)
def test_bounds_the_wrong_way_round_are_refused(start: Any, end: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"is later than end .* also with reverse=True"):
        parse_scope(start, end, "temps", TEMPS)


def test_a_range_may_be_empty() -> None:
    scope = parse_scope(moment(3), moment(3), "temps", TEMPS)
    assert scope.first > scope.last
    assert names(scope, ms(5)) == []
    assert names(scope, ms(5), reverse=True) == []


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", True])
def test_a_limit_is_a_number_of_entries(limit: Any) -> None:
    with pytest.raises(InvalidArgument, match="limit must be 1 or more"):
        check_limit(limit)


@pytest.mark.parametrize("limit", [None, 1, 10**9])
def test_any_number_of_entries_will_do(limit: int | None) -> None:
    check_limit(limit)


def test_what_is_to_be_called_is_callable() -> None:
    require_callable("handler", print)
    with pytest.raises(InvalidArgument, match="handler must be a function, not None"):
        require_callable("handler", None)


# Partitions ---------------------------------------------------------------------------------------------------------


def test_without_bounds_names_are_asked_for_over_the_horizon() -> None:
    scope = parse_scope(None, None, "temps", TEMPS)
    asked = [partition.key.removeprefix("temps:202501") for partition in TEMPS.horizon(ms(10, 12))]
    assert names(scope, ms(10, 12)) == asked == ["07", "08", "09", "10", "11", "12"]
    assert names(scope, ms(10, 12), reverse=True) == asked[::-1]


def test_a_start_reaches_further_back_than_the_horizon_and_no_end_further_ahead() -> None:
    scope = parse_scope(moment(2, 5), moment(30), "temps", TEMPS)
    assert names(scope, ms(10, 12)) == [f"{day:02d}" for day in range(2, 13)]
    scope = parse_scope("temps:20250102", moment(4), "temps", TEMPS)
    assert names(scope, ms(10, 12)) == ["02", "03"]
    assert names(scope, ms(10, 12), reverse=True) == ["03", "02"]


def test_after_a_partition_only_what_lies_behind_it_is_asked_for() -> None:
    scope = parse_scope(None, "temps:20250111", "temps", TEMPS)
    assert names(scope, ms(10, 12), partition(9)) == ["10", "11"]
    assert names(scope, ms(10, 12), partition(11)) == []
    assert names(scope, ms(10, 12), partition(9), reverse=True) == ["08", "07"]
    assert names(scope, ms(10, 12), partition(7), reverse=True) == []


def test_time_goes_on_during_a_replay() -> None:
    scope = parse_scope(None, None, "temps", TEMPS)
    assert names(scope, ms(12, 1), partition(11)) == ["12", "13", "14"]
    assert names(scope, ms(12, 1), partition(9), reverse=True) == []


def test_a_far_start_costs_no_more_than_the_latest_names() -> None:
    now = to_ms(datetime(2030, 5, 5, tzinfo=timezone.utc))
    scope = parse_scope(EntryId(0), None, "s", SECONDS)
    asked = [each for block in scope.names(now, None, reverse=False) for each in block]
    assert len(asked) == PROBES
    assert asked[-1].start == now // 1000 * 1000 + 2000
    months = Partitioning.of("m", Period.MONTH, timedelta(days=60), timedelta(0))
    first = months.at(0)
    assert not_too_far(months, first, months.at(now)) is first


def test_a_start_in_the_future_has_no_names() -> None:
    assert names(parse_scope(moment(20), None, "temps", TEMPS), ms(10)) == []


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_blocks_grow_and_leave_nothing_out(first: int, last: int) -> None:
    found = list(blocks(TEMPS, TEMPS.at(first * DAY), TEMPS.at(last * DAY)))
    step = 1 if last >= first else -1
    assert [each.start // DAY for block in found for each in block] == list(range(first, last + step, step))
    grown = itertools.accumulate(itertools.repeat(2), lambda size, _: min(2 * size, LARGEST_BLOCK), initial=FIRST_BLOCK)
    assert all(len(block) == size for block, size in zip(found[:-1], grown, strict=False))


@pytest.mark.parametrize(
    ("name", "partitioning", "other", "others", "shared"),
    [
        ("temps", None, "temps", None, True),
        ("temps", None, "other", None, False),
        ("temps", TEMPS, "temps", SECONDS, True),
        ("temps", TEMPS, "s", SECONDS, False),
        ("temps", TEMPS, "temps:20250101", None, True),
        ("temps", TEMPS, "temps:averages", None, False),
        ("temps:20250101", None, "temps", TEMPS, True),
        ("temps", None, "temps", TEMPS, False),
    ],
)
def test_what_would_read_what_it_writes_is_found(
    name: str, partitioning: Partitioning | None, other: str, others: Partitioning | None, *, shared: bool
) -> None:
    assert share_keys(name, partitioning, other, others) is shared


# Pace ---------------------------------------------------------------------------------------------------------------


def test_entries_are_due_as_their_ids_say_from_the_first_on() -> None:
    pace = Pace(1.0)
    assert [pace.due(ms) for ms in (5000, 5250, 8000, 4000)] == [0, 0.25, 3, -1]


@pytest.mark.parametrize(("speed", "due"), [(1, 3600), (60, 60), (0.5, 7200), (float("inf"), 0)])
def test_speed_divides_the_gaps(speed: float, due: float) -> None:
    pace = Pace(speed)
    pace.due(5)
    assert pace.due(5 + HOUR) == due


@pytest.mark.parametrize("speed", [0, -1, 0.0, float("nan"), float("-inf"), None, "1", True])
def test_a_speed_is_above_zero(speed: Any) -> None:
    with pytest.raises(InvalidArgument, match="speed must be a number above 0"):
        Pace(speed)


# Copying ------------------------------------------------------------------------------------------------------------


def always(target: Target) -> Callable[[int | None], Target]:
    def route(_ms: int | None) -> Target:
        return target

    return route


REPEATED = [b"a", b"1", b"b", b"2", b"a", b"3"]


def test_fields_are_written_as_they_lie() -> None:
    assert as_they_are([b"a", b"1", b"b", b"2"]) == {b"a": b"1", b"b": b"2"}
    repeated = as_they_are(REPEATED)
    assert [bytes(word) for pair in repeated.items() for word in pair] == REPEATED
    assert [repeated[name] for name in repeated] == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "flats",
    [
        [REPEATED],
        [REPEATED] * 20,
        [[b"a", b"1", b"b", b"2"]] * 2,
        [[b"a", b"1"], REPEATED, [b"b", b"\xff"]],
    ],
    ids=["one", "repeated", "alike", "different"],
)
def test_a_chunk_of_them_holds_them_all(flats: list[list[bytes]]) -> None:
    (chunk,) = chunks_of(list(map(as_they_are, flats)), None, always(Target("to")), lambda: 100)
    packed = chunk.pack(Guard(), known=False)
    count, shared, joined, *rest = chunk.arguments(Guard())[17:]
    assert (count, joined) == (len(flats), "")
    assert isinstance(shared, int)
    names, words = rest[:shared], iter(rest[shared:])
    for flat in flats:
        size = 2 * shared if shared else next(words)
        assert isinstance(size, int)
        assert size == len(flat)
        found = [word for name in names for word in (name, next(words))] if shared else list(islice(words, size))
        assert [bytes(cast("bytes", word)) for word in found] == flat
    assert packed.count(b"$1\r\na\r\n") >= 1


def test_an_entry_with_more_fields_than_a_script_takes_is_an_error_that_says_so() -> None:
    (chunk,) = chunks_of([as_they_are([b"a", b"1"] * 3001)], None, always(Target("to")), lambda: 1)
    with pytest.raises(EncodeError, match="has 3001 fields"):
        chunk.arguments(Guard())


def test_chunks_are_as_large_as_is_said_when_their_turn_comes() -> None:
    sizes = iter([2, 1, 5])
    entries: Sequence[Encoded] = [{"n": n} for n in range(5)]
    chunks = list(chunks_of(entries, None, always(Target("to")), lambda: next(sizes)))
    assert [[entry["n"] for entry in cast("Any", chunk.entries)] for chunk in chunks] == [[0, 1], [2], [3, 4]]
    assert all(chunk.ids is None for chunk in chunks)
    assert list(chunks_of([], None, always(Target("to")), lambda: 1)) == []


def test_kept_ids_are_cut_where_the_partition_changes() -> None:
    ids = [EntryId(ms(1), 7), EntryId(ms(2) - 1, LARGEST), EntryId(ms(2)), EntryId(ms(4), 1)]
    entries: Sequence[Encoded] = [{"n": n} for n in range(4)]
    chunks = list(chunks_of(entries, ids, days, lambda: 100))
    assert [(chunk.target.key, chunk.ids) for chunk in chunks] == [
        ("temps:20250101", [f"{ms(1)}-7", f"{ms(2) - 1}-{LARGEST}"]),
        ("temps:20250102", [f"{ms(2)}-0"]),
        ("temps:20250104", [f"{ms(4)}-1"]),
    ]
    assert [(chunk.first_ms, chunk.last_ms) for chunk in chunks] == [
        (ms(1), ms(2) - 1),
        (ms(2), ms(2)),
        (ms(4), ms(4)),
    ]
    # A stream that numbers anew what is out of order would not keep them.
    assert not any(chunk.target.bump for chunk in chunks)


def days(at: int | None) -> Target:
    assert at is not None
    found = TEMPS.at(at)
    return Target(found.key, found, TEMPS, bump=True)


def test_kept_ids_of_a_single_key_are_cut_by_size_alone() -> None:
    ids = [EntryId(n) for n in (1, ms(1), ms(2))]
    entries: Sequence[Encoded] = [{"n": n} for n in range(3)]
    chunks = list(chunks_of(entries, ids, always(Target("to")), lambda: 2))
    assert [chunk.ids for chunk in chunks] == [["1-0", f"{ms(1)}-0"], [f"{ms(2)}-0"]]
