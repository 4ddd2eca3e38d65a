"""Python values as text: what was written reads back the same, and what has no text is refused by name."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core import texts
from streamkit._core.errors import UnsupportedType
from streamkit._core.protocol import to_bytes


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Code(enum.Enum):
    A = b"\xff\x00"
    B = b"b"


class Share(enum.Enum):
    HALF = 0.5


class Pair(enum.Enum):
    BOTH = (1, 2)


ZONES = st.none() | st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
VALUES: dict[type, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(),
    Decimal: st.decimals(allow_nan=False),
    datetime: st.datetimes(timezones=ZONES),
    date: st.dates(),
    uuid.UUID: st.uuids(),
    Colour: st.sampled_from(Colour),
    Level: st.sampled_from(Level),
    Code: st.sampled_from(Code),
    Share: st.sampled_from(Share),
}


@given(st.sampled_from(list(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])))
def test_every_supported_value_reads_back_the_same(typed: tuple[type, Any]) -> None:
    kind, value = typed
    again = texts.column("f", kind).read(to_bytes(texts.write(value)))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (1, 1),
        (Level.HIGH, 2),
        (Colour.RED, "red"),
        (Decimal("1.10"), "1.10"),
        (date(2025, 1, 2), "2025-01-02"),
        (datetime(2025, 1, 2, 3, tzinfo=timezone.utc), "2025-01-02T03:00:00+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_values_are_written_for_people_to_read(value: object, text: object) -> None:
    written = texts.write(value)
    assert written == text
    assert type(written) is type(text)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, object(), 1j, timedelta(1), Pair.BOTH])
def test_a_value_without_text_is_refused_with_what_to_use(value: object) -> None:
    with pytest.raises(UnsupportedType, match=r"cannot be written as text: .*use str, int, float"):
        texts.write(value)


@pytest.mark.parametrize("annotation", [Optional[int], Union[int, None], int | None, None | int])  # noqa: UP007, UP045
def test_optional_is_read_in_every_spelling(annotation: object) -> None:
    column = texts.column("f", annotation)
    assert column.optional
    assert column.read(b"5") == 5


def test_a_plain_field_is_not_optional() -> None:
    assert not texts.column("f", int).optional


@pytest.mark.parametrize("annotation", [list[int], int | str, int | str | None, object, timedelta, "int", None, Any])
def test_a_type_without_text_is_refused_naming_the_field(annotation: object) -> None:
    with pytest.raises(UnsupportedType, match=r"field 'total' has the type .*, which has no text form here; use str"):
        texts.column("total", annotation)


def test_an_enum_whose_values_have_no_text_is_refused() -> None:
    with pytest.raises(UnsupportedType):
        texts.column("f", Pair)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (int, b"five"),
        (int, b"1.5"),
        (float, b""),
        (bool, b"True"),
        (bool, b"1"),
        (datetime, b"yesterday"),
        (date, b"2025-13-01"),
        (uuid.UUID, b"1"),
        (str, b"\xff"),
    ],
)
def test_text_that_is_not_of_the_type_is_a_value_error(kind: type, raw: bytes) -> None:
    with pytest.raises(ValueError):
        texts.column("f", kind).read(raw)


def test_a_name_that_is_no_member_of_the_enum_is_an_error() -> None:
    with pytest.raises((KeyError, ValueError)):
        texts.column("f", Colour).read(b"green")


def test_a_truth_value_says_what_it_should_have_been() -> None:
    with pytest.raises(ValueError, match="'yes' is neither 'true' nor 'false'"):
        texts.column("f", bool).read(b"yes")


@dataclass
class Point:
    x: int
    y: int = 0
    note: str | None = None
    length: float = field(init=False, default=0.0)


def test_the_columns_of_a_dataclass_are_what_its_constructor_takes() -> None:
    columns = texts.columns_of(Point)
    assert list(columns) == ["x", "y", "note"]
    assert [column.name for column in columns.values() if column.optional] == ["note"]


@pytest.mark.parametrize("cls", [int, object, dict])
def test_another_class_has_no_columns(cls: type) -> None:
    with pytest.raises(UnsupportedType, match="is no dataclass"):
        texts.columns_of(cls)


def test_an_absent_field_is_left_out_and_an_absent_optional_one_is_none() -> None:
    columns = texts.columns_of(Point)
    assert texts.read_columns(columns, {b"x": b"5", b"unknown": b"?"}) == {"x": 5, "note": None}


def test_an_empty_text_is_no_absent_one() -> None:
    assert texts.read_columns(texts.columns_of(Point), {b"note": b""}) == {"note": ""}
