"""Codecs: what was appended reads back the same, and what Redis cannot store is refused before it is sent."""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.codecs import (
    MOST_FIELDS,
    TEXT,
    Codec,
    DataclassCodec,
    Encoded,
    JsonCodec,
    RawCodec,
    TextCodec,
    check_fields,
    decode_texts,
    flat_decoder,
    is_text,
    undecodable,
)
from streamkit._core.errors import EncodeError, InvalidArgument, UnsupportedType
from streamkit._core.protocol import to_bytes


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Order:
    number: int
    customer: str
    price: Decimal
    weight: float
    urgent: bool
    digest: bytes
    placed: datetime
    due: date
    token: uuid.UUID
    colour: Colour
    level: Level
    note: str | None = None
    discount: float | None = None
    source: str = "web"


ORDERS = st.builds(
    Order,
    price=st.decimals(allow_nan=False),
    weight=st.floats(allow_nan=False),
    placed=st.datetimes(timezones=st.just(timezone.utc)),
    discount=st.none() | st.floats(allow_nan=False),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def stored(fields: Encoded) -> dict[bytes, bytes]:
    """The fields as the server gives them back."""
    return {to_bytes(name): to_bytes(value) for name, value in fields.items()}


def flat(fields: Encoded) -> list[bytes]:
    return [word for pair in stored(fields).items() for word in pair]


def through(codec: Codec[Any], value: object) -> object:
    """A value written and read back, in both ways of reading."""
    fields = codec.encode(value)
    check_fields(fields, "orders")
    decoded: object = codec.decode(stored(fields))
    assert flat_decoder(codec)(flat(fields)) == decoded
    return decoded


@given(st.dictionaries(st.text(), st.text(), min_size=1))
def test_text_comes_back_as_it_was(value: dict[str, str]) -> None:
    assert through(TEXT, value) == value


def test_without_a_codec_numbers_come_back_as_text() -> None:
    assert through(TEXT, {"temp_f": 41.5, "n": 3, "raw": b"x"}) == {"temp_f": "41.5", "n": "3", "raw": "x"}


@given(st.dictionaries(st.binary(), st.binary(), min_size=1))
def test_raw_bytes_come_back_as_they_were(value: dict[bytes, bytes]) -> None:
    assert through(RawCodec(), value) == value


def test_raw_fields_are_a_dict_of_the_callers_own() -> None:
    fields = {b"a": b"1"}
    decoded = RawCodec().decode(fields)
    decoded[b"b"] = b"2"
    assert fields == {b"a": b"1"}


@given(ORDERS)
def test_a_dataclass_comes_back_as_it_was(order: Order) -> None:
    assert through(DataclassCodec(Order), order) == order


@given(JSON)
def test_json_comes_back_as_it_was(value: object) -> None:
    assert through(JsonCodec(), value) == value


class TestJson:
    def test_holds_the_value_in_one_field_without_blanks(self) -> None:
        assert stored(JsonCodec().encode({"a": [1, 2], "b": None})) == {b"data": b'{"a":[1,2],"b":null}'}

    def test_takes_the_name_of_the_field(self) -> None:
        codec: JsonCodec[Any] = JsonCodec(field="order")
        assert stored(codec.encode(5)) == {b"order": b"5"}
        assert codec.decode({b"order": b"5", b"data": b"6"}) == 5
        assert repr(codec) == "JsonCodec(field='order')"

    def test_refuses_a_field_without_name(self) -> None:
        with pytest.raises(InvalidArgument, match="field must not be empty"):
            JsonCodec(field="")

    def test_takes_other_functions_for_reading_and_writing(self) -> None:
        def write(order: tuple[int, ...]) -> bytes:
            return json.dumps(order).encode()

        def read(raw: bytes) -> tuple[int, ...]:
            return tuple(json.loads(raw))

        assert through(JsonCodec(loads=read, dumps=write), (1, 2)) == (1, 2)

    def test_says_which_field_is_missing(self) -> None:
        with pytest.raises(KeyError, match="data"):
            JsonCodec().decode({b"other": b"5"})

    def test_text_from_elsewhere_with_half_a_character_can_be_stored(self) -> None:
        # json.loads gives such text, so it must be possible to write it again.
        value = json.loads('"\\ud800"')
        assert through(JsonCodec(), value) == value


class TestDataclass:
    def test_leaves_none_out(self) -> None:
        assert dict(DataclassCodec(Reading).encode(Reading(5))) == {"temp_f": 5, "unit": "F"}

    def test_refuses_a_field_without_text_form_by_name(self) -> None:
        with pytest.raises(UnsupportedType, match="field 'tags' has the type list"):
            DataclassCodec(Tagged)

    def test_takes_defaults_for_what_is_missing_and_ignores_what_it_does_not_know(self) -> None:
        assert DataclassCodec(Reading).decode({b"temp_f": b"5", b"added_later": b"?"}) == Reading(5, None, "F")

    def test_says_which_field_is_missing(self) -> None:
        with pytest.raises(TypeError, match="temp_f"):
            DataclassCodec(Reading).decode({b"unit": b"C"})

    def test_does_not_read_text_of_another_type(self) -> None:
        with pytest.raises(ValueError, match="warm"):
            DataclassCodec(Reading).decode({b"temp_f": b"warm"})

    def test_refuses_what_is_no_dataclass(self) -> None:
        with pytest.raises(UnsupportedType, match="is no dataclass"):
            DataclassCodec(dict)

    def test_shows_its_class(self) -> None:
        assert repr(DataclassCodec(Reading)) == "DataclassCodec(Reading)"


@dataclass
class Reading:
    temp_f: int
    sensor: str | None = None
    unit: str = "F"


@dataclass
class Tagged:
    name: str
    tags: list[str]


class TestReadingFlat:
    @pytest.mark.parametrize("codec", [TEXT, RawCodec()])
    def test_an_odd_number_of_words_is_an_error(self, codec: Codec[Any]) -> None:
        with pytest.raises(ValueError, match="shorter"):
            flat_decoder(codec)([b"a", b"1", b"b"])

    @given(st.dictionaries(st.text(), st.text(), max_size=4))
    def test_text_that_came_as_text_reads_the_same(self, value: dict[str, str]) -> None:
        flat = [word for pair in value.items() for word in pair]
        assert decode_texts([("1-0", flat)]) == [value]
        assert decode_texts([("1-0", flat), ("2-0", ["a", "1"])]) == [value, {"a": "1"}]

    @pytest.mark.parametrize("size", range(8))
    def test_entries_alike_read_the_same_however_wide_they_are(self, size: int) -> None:
        value = {f"name{place}": f"{place}" for place in range(size)}
        flat = [word for pair in value.items() for word in pair]
        assert decode_texts([(f"{n}-0", flat) for n in range(3)]) == [value] * 3

    @pytest.mark.parametrize("words", [["a"], ["a", "1", "b"], ["a", "1", "b", "2", "c"]])
    def test_and_an_odd_number_of_words_is_an_error_too(self, words: list[str]) -> None:
        with pytest.raises(ValueError, match="shorter"):
            decode_texts([("1-0", words)])

    def test_a_name_that_comes_twice_has_its_last_value_either_way(self) -> None:
        for size in (2, 3):
            words = ["a", "1"] * (size - 1) + ["a", "2"]
            assert (
                decode_texts([("1-0", words)])
                == [flat_decoder(TEXT)([word.encode() for word in words])]
                == [{"a": "2"}]
            )

    def test_names_made_of_data_do_not_fill_the_memory(self) -> None:
        decode = flat_decoder(TEXT)
        for number in range(3000):
            assert decode([b"n%d" % number, b"x"]) == {f"n{number}": "x"}
        (names,) = (cell.cell_contents for cell in decode.__closure__ or () if hasattr(cell.cell_contents, "items"))
        assert len(names) == 1024

    def test_bytes_that_are_no_text_are_an_error(self) -> None:
        for words in ([b"\xff", b"1"], [b"a", b"\xff"]):
            with pytest.raises(UnicodeDecodeError):
                flat_decoder(TEXT)(words)

    def test_a_codec_of_ones_own_is_asked(self) -> None:
        class Upper(TextCodec):
            def decode(self, fields: Mapping[bytes, bytes], /) -> dict[str, str]:
                return {name.upper(): value for name, value in super().decode(fields).items()}

        assert not is_text(Upper())
        assert flat_decoder(Upper())([b"a", b"1"]) == {"A": "1"}


def test_an_entry_that_cannot_be_read_is_named_with_the_reason_and_its_bytes() -> None:
    error = undecodable("orders", b"5-0", [b"data", b"{"], ValueError("no brace"))
    assert (error.stream, error.entry_id, error.fields) == ("orders", "5-0", (b"data", b"{"))
    assert str(error).startswith(
        "entry 5-0 of 'orders' cannot be decoded: ValueError: no brace; read it with RawCodec()"
    )


class TestFields:
    @pytest.mark.parametrize(
        "fields", [{"a": "x", "b": b"x", "c": 1, "d": 1.5}, {b"a": "x"}, {"a": Level.LOW}, {"a": ""}, {"": "a"}]
    )
    def test_what_redis_stores_is_let_through(self, fields: Any) -> None:
        check_fields(fields, "orders")

    def test_none_at_all_is_refused(self) -> None:
        with pytest.raises(EncodeError, match="an entry for 'orders' has no fields; Redis needs at least one"):
            check_fields({}, "orders")

    @pytest.mark.parametrize("value", [None, True, [], {}, object(), Colour.RED, Decimal(1), bytearray(b"x")])
    def test_another_value_is_refused_naming_field_and_stream(self, value: Any) -> None:
        with pytest.raises(
            EncodeError, match=r"the field 'price' of an entry for 'orders' is .*: convert it, leave it out"
        ):
            check_fields({"a": 1, "price": value}, "orders")

    @pytest.mark.parametrize("name", [1, None, ("a",)])
    def test_another_name_is_refused(self, name: Any) -> None:
        with pytest.raises(EncodeError, match=r"an entry for 'orders' has the field name .*; names are str or bytes"):
            check_fields({name: "x"}, "orders")

    def test_more_fields_than_a_script_can_pass_on_are_refused(self) -> None:
        check_fields({str(number): 1 for number in range(MOST_FIELDS)}, "orders")
        with pytest.raises(EncodeError, match=f"has {MOST_FIELDS + 1} fields; .* take {MOST_FIELDS} at most"):
            check_fields({str(number): 1 for number in range(MOST_FIELDS + 1)}, "orders")

    @pytest.mark.parametrize("fields", [{"a": "\ud800"}, {"\ud800": "a"}])
    def test_text_with_half_a_character_is_refused(self, fields: Any) -> None:
        with pytest.raises(EncodeError):
            check_fields(fields, "orders")
