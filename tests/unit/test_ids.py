"""Entry IDs: how they are read, written and ordered, by the rules of Redis."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.errors import InvalidEntryId, NaiveDatetime
from streamkit._core.ids import LARGEST, NEW, ZERO, Beginning, EntryId

PARTS = st.integers(0, LARGEST) | st.integers(0, 20)
IDS = st.builds(EntryId, PARTS, PARTS)


@given(IDS)
def test_an_id_reads_back_from_its_text(entry_id: EntryId) -> None:
    assert EntryId.parse(str(entry_id)) == entry_id
    assert EntryId.parse(str(entry_id).encode()) == entry_id


@given(IDS, IDS)
def test_ids_are_ordered_by_time_and_then_by_sequence(a: EntryId, b: EntryId) -> None:
    # What Redis does: two unsigned 64-bit numbers, the first one counts more.
    assert (a < b) == (a.ms * 2**64 + a.seq < b.ms * 2**64 + b.seq)
    assert (a == b) == (str(a) == str(b))
    assert (hash(a) == hash(b)) or a != b


def test_ids_are_not_ordered_as_text() -> None:
    assert EntryId.parse("9-0") < EntryId.parse("10-0")
    assert EntryId.parse("5-9") < EntryId.parse("5-10")


@given(IDS)
def test_before_is_the_greatest_id_below(entry_id: EntryId) -> None:
    below = entry_id.before()
    if entry_id == ZERO:
        assert below == ZERO
    else:
        number, under = (each.ms * 2**64 + each.seq for each in (entry_id, below))
        assert under == number - 1


def test_the_sequence_is_zero_unless_given() -> None:
    assert EntryId.parse("1735689600000") == EntryId(1735689600000) == EntryId(1735689600000, 0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "-1", "1-", "1-2-3", " 1-0", "1-0 ", "1 -0", "1-0\n", "+1-0", "1_000-0", "1.5-0", "0x1-0", "a-b"),
        *("1-*", "*", "+", "\u0663-0", "1-\u0663", "\u00b2-0"),
    ],
)
def test_what_redis_would_not_take_is_no_id(text: str) -> None:
    with pytest.raises(InvalidEntryId, match='is no entry ID; write "<milliseconds>-<sequence>"'):
        EntryId.parse(text)
    with pytest.raises(InvalidEntryId):
        EntryId.parse(text.encode())


def test_bytes_that_are_no_text_are_no_id() -> None:
    with pytest.raises(InvalidEntryId, match=r"b'\\xff-1' is no entry ID"):
        EntryId.parse(b"\xff-1")


@pytest.mark.parametrize("text", ["$", ">", b"$"])
def test_the_signs_for_new_entries_point_to_new(text: str | bytes) -> None:
    with pytest.raises(InvalidEntryId, match=r"use streamkit\.NEW"):
        EntryId.parse(text)


def test_other_signs_do_not_point_there() -> None:
    with pytest.raises(InvalidEntryId) as caught:
        EntryId.parse("+")
    assert "NEW" not in str(caught.value)


@pytest.mark.parametrize(("ms", "seq"), [(-1, 0), (0, -1), (LARGEST + 1, 0), (0, LARGEST + 1)])
def test_each_part_has_64_bits(ms: int, seq: int) -> None:
    with pytest.raises(InvalidEntryId, match=r"between 0 and 2\*\*64 - 1"):
        EntryId(ms, seq)


def test_the_largest_id_is_one() -> None:
    assert str(EntryId(LARGEST, LARGEST)) == "18446744073709551615-18446744073709551615"
    assert EntryId.parse(f"{LARGEST}-{LARGEST}") == EntryId(LARGEST, LARGEST)


def test_text_beyond_64_bits_is_refused_however_long() -> None:
    for text in (f"{LARGEST + 1}-0", f"0-{LARGEST + 1}", "9" * 5000):
        with pytest.raises(InvalidEntryId):
            EntryId.parse(text)


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(timezone.utc)))  # noqa: DTZ001 - made aware
def test_the_id_of_a_moment_has_its_millisecond(moment: datetime) -> None:
    entry_id = EntryId.at(moment)
    assert entry_id.seq == 0
    assert entry_id.time <= moment < entry_id.time + timedelta(milliseconds=1)


def test_a_moment_before_1970_has_no_id() -> None:
    with pytest.raises(InvalidEntryId):
        EntryId.at(datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=timezone.utc))
    with pytest.raises(InvalidEntryId):
        EntryId.at(datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=timezone.utc))


def test_a_moment_without_time_zone_has_no_id() -> None:
    with pytest.raises(NaiveDatetime, match=r"has no time zone; give it one"):
        EntryId.at(datetime(2025, 1, 1))  # noqa: DTZ001 - the point


@pytest.mark.parametrize(
    ("entry_id", "after"),
    [
        (EntryId(0, 0), EntryId(0, 1)),
        (EntryId(5, LARGEST), EntryId(6, 0)),
        (EntryId(LARGEST, LARGEST), EntryId(LARGEST, LARGEST)),
    ],
)
def test_the_next_id(entry_id: EntryId, after: EntryId) -> None:
    assert entry_id.after() == after
    assert entry_id == after or after.before() == entry_id


def test_ids_are_frozen_hashable_and_can_be_pickled() -> None:
    entry_id = EntryId(5, 1)
    with pytest.raises(AttributeError):
        entry_id.ms = 6  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert {entry_id: "x"}[EntryId(5, 1)] == "x"
    assert pickle.loads(pickle.dumps(entry_id)) == entry_id


def test_new_is_the_only_beginning_with_a_name() -> None:
    assert list(Beginning) == [NEW]
