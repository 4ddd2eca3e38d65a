"""Entries: frozen, compared by what they hold, hashed by where they stand."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from typing import TypeVar

import pytest

from streamkit._core.entries import Entry, new_entry
from streamkit._core.errors import InvalidEntryId
from streamkit._core.ids import LARGEST, EntryId

T = TypeVar("T")


def read_entry(stream: str, raw_id: str, value: T) -> Entry[T]:
    """An entry as a reader's loop makes it, its ID as it came."""
    entry: Entry[T] = new_entry(Entry)
    entry._stream, entry._id, entry._value = stream, raw_id, value
    return entry


ENTRY = Entry("temps", EntryId(1735689600000, 1), {"temp_f": "41"})


def test_an_entry_says_where_it_stands_and_what_it_holds() -> None:
    assert (ENTRY.stream, ENTRY.id, ENTRY.value) == ("temps", EntryId(1735689600000, 1), {"temp_f": "41"})
    assert ENTRY.time == datetime(2025, 1, 1, tzinfo=timezone.utc)


def test_one_that_was_read_equals_one_that_was_made() -> None:
    read = read_entry("temps", "1735689600000-1", {"temp_f": "41"})
    assert read == ENTRY
    assert hash(read) == hash(ENTRY)
    assert read.id == ENTRY.id


def test_the_id_is_parsed_only_when_asked_for() -> None:
    read = read_entry("temps", "no id", 5)
    assert read.value == 5
    with pytest.raises(InvalidEntryId):
        _ = read.id


@pytest.mark.parametrize(
    "other",
    [
        Entry("other", ENTRY.id, ENTRY.value),
        Entry("temps", EntryId(1735689600000, 2), ENTRY.value),
        Entry("temps", ENTRY.id, {"temp_f": "42"}),
        ("temps", ENTRY.id, ENTRY.value),
    ],
)
def test_entries_that_differ_in_anything_are_not_equal(other: object) -> None:
    assert other != ENTRY


def test_an_entry_of_a_subclass_is_another_thing() -> None:
    class Delivery(Entry[dict[str, str]]):
        __slots__ = ()

    assert Delivery(ENTRY.stream, ENTRY.id, ENTRY.value) != ENTRY


def test_any_value_will_do_in_a_set_of_entries() -> None:
    assert len({ENTRY, Entry("temps", ENTRY.id, ENTRY.value), Entry("temps", EntryId(1), [])}) == 2


@pytest.mark.parametrize("name", ["stream", "id", "value", "time", "ms", "anything"])
def test_an_entry_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(ENTRY, name, "x")
    with pytest.raises(AttributeError):
        delattr(ENTRY, name)
    assert not hasattr(ENTRY, "__dict__")


@pytest.mark.parametrize("raw", ["1735689600000-1", "1735689600000-12", "1735689600000-18446744073709551615"])
def test_the_milliseconds_are_those_of_the_id(raw: str) -> None:
    entry = Entry("temps", EntryId.parse(raw), None)
    assert entry.ms == entry.id.ms == 1735689600000
    assert entry.time == entry.id.time


def test_an_id_beyond_all_calendars_has_the_last_moment() -> None:
    entry = Entry("temps", EntryId(LARGEST), None)
    assert entry.ms == LARGEST
    assert entry.time == entry.id.time


def test_an_entry_shows_itself_readably() -> None:
    assert repr(ENTRY) == "Entry(stream='temps', id='1735689600000-1', value={'temp_f': '41'})"


def test_an_entry_can_be_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(ENTRY)) == ENTRY
    assert copy.copy(ENTRY) == ENTRY
    deep = copy.deepcopy(ENTRY)
    assert deep == ENTRY
    assert deep.value is not ENTRY.value
