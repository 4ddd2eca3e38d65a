"""State: what a reader keeps in its checkpoint reads back the same, and what cannot is refused with what to do."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.errors import (
    InvalidArgument,
    NewerStateVersion,
    ReservedFieldName,
    StateError,
    UnknownStateFields,
    UnsupportedType,
)
from streamkit._core.states import MOST_FIELDS, RESERVED, Migration, StateSchema


class Phase(enum.Enum):
    WARM = "warm"
    COLD = "cold"


@dataclass
class Totals:
    current_hourly_total: float = 0.0
    current_hourly_count: int = 0
    hour: datetime | None = None
    phase: Phase = Phase.COLD
    seen: bool = False
    exact: Decimal = Decimal(0)
    digest: bytes = b""
    note: str = ""


@dataclass
class Nested:
    inner: list[int] = field(default_factory=list[int])


@dataclass
class Reserved:
    last_message_id: str = ""


def schema_of(state: Any, *, version: int = 1, migrate: Migration | None = None) -> StateSchema[Any]:
    return StateSchema(state, version=version, migrate=migrate, checkpoint="agg_state")


def through(schema: StateSchema[Any], state: object) -> object:
    restored: object = schema.decode(schema.encode(state), schema.version)
    return restored


TOTALS = st.builds(
    Totals,
    current_hourly_total=st.floats(allow_nan=False),
    hour=st.none() | st.datetimes(timezones=st.just(timezone.utc)),
    exact=st.decimals(allow_nan=False),
)
NAMES = st.text().filter(lambda name: name not in RESERVED and not name.startswith("streamkit:"))
VALUES = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.binary() | st.sampled_from(Phase)


class TestRoundTrip:
    @given(TOTALS)
    def test_a_dataclass_comes_back_as_it_was(self, state: Totals) -> None:
        assert through(schema_of(Totals()), state) == state

    @given(st.dictionaries(NAMES, VALUES | st.none()))
    def test_a_dict_comes_back_as_it_was(self, state: dict[str, Any]) -> None:
        schema = schema_of(state)
        restored: dict[str, Any] = schema.decode(schema.encode(state), 1)
        assert restored == state
        assert all(type(restored[name]) is type(value) for name, value in state.items())

    def test_no_state_is_none(self) -> None:
        assert through(schema_of(None), None) is None
        assert schema_of(None).encode(None) == {}

    def test_it_is_saved_as_text_for_people_to_read(self) -> None:
        saved = schema_of(Totals()).encode(
            Totals(41.5, 3, datetime(2025, 1, 1, tzinfo=timezone.utc), Phase.WARM, seen=True)
        )
        assert saved == {
            "current_hourly_total": b"41.5",
            "current_hourly_count": b"3",
            "hour": b"2025-01-01T00:00:00+00:00",
            "phase": b"warm",
            "seen": b"true",
            "exact": b"0",
            "digest": b"",
            "note": b"",
        }

    def test_none_is_left_out(self) -> None:
        assert "hour" not in schema_of(Totals()).encode(Totals())


DICTS: list[dict[str, int]] = [Counter(a=1), defaultdict(int, a=1), OrderedDict(b=1, a=2)]


class TestDicts:
    def test_a_number_may_become_a_fraction(self) -> None:
        schema = schema_of({"total": 0})
        assert through(schema, {"total": 41.5}) == {"total": 41.5}
        assert through(schema, {"total": 42}) == {"total": 42}

    def test_a_field_that_the_program_added_since_begins_as_it_does_for_everybody(self) -> None:
        assert schema_of({"total": 0, "count": 7, "hour": None}).decode({"total": b"5"}, 1) == {
            "total": 5,
            "count": 7,
            "hour": None,
        }

    def test_a_field_added_while_running_comes_back_as_text(self) -> None:
        assert through(schema_of({"total": 0}), {"total": 0, "sensor:7": "warm"}) == {"total": 0, "sensor:7": "warm"}

    @pytest.mark.parametrize("state", DICTS, ids=lambda state: type(state).__name__)
    def test_other_kinds_of_dict_stay_what_they_are(self, state: dict[str, int]) -> None:
        schema = schema_of(state)
        restored = schema.decode(schema.encode(state), 1)
        assert restored == state
        assert type(restored) is type(state)
        assert schema.encode(restored) == schema.encode(state)

    def test_a_field_that_became_none_is_refused_since_it_would_come_back(self) -> None:
        with pytest.raises(UnsupportedType, match="the state's field 'total' became None"):
            schema_of({"total": 0}).encode({"total": None})

    def test_bytes_in_a_field_added_while_running_are_a_state_error(self) -> None:
        schema = schema_of({})
        with pytest.raises(StateError, match="'agg_state' is not UTF-8"):
            schema.decode({"raw": b"\xff"}, 1)

    @pytest.mark.parametrize("state", [{1: "a"}, {None: 1}, {b"a": 1}])
    def test_names_are_str_at_the_beginning_and_later(self, state: Any) -> None:
        with pytest.raises(InvalidArgument):
            schema_of(state)
        with pytest.raises(InvalidArgument):
            schema_of({}).encode(state)


class TestCopies:
    def test_the_initial_state_is_copied_when_it_is_given(self) -> None:
        given_state = {"total": 0}
        schema = schema_of(given_state)
        given_state["total"] = 5
        assert schema.initial() == {"total": 0}

    def test_and_each_time_it_is_asked_for(self) -> None:
        schema = schema_of(Totals())
        first = schema.initial()
        first.current_hourly_count = 5
        assert schema.initial() == Totals()
        assert schema.initial() is not schema.initial()

    def test_a_restored_dict_is_no_other_readers(self) -> None:
        schema = schema_of({"total": 0})
        restored = schema.decode({}, 1)
        restored["total"] = 5
        assert schema.decode({}, 1) == {"total": 0}


class TestRefusedAtConstruction:
    @pytest.mark.parametrize("name", ["current_stream_key", "last_message_id", "streamkit:token", "streamkit:"])
    def test_names_that_the_checkpoint_needs(self, name: str) -> None:
        with pytest.raises(ReservedFieldName, match=r"uses the reserved field names .*; rename them") as caught:
            schema_of({"total": 0, name: 1})
        assert caught.value.names == (name,)
        assert "'current_stream_key', 'last_message_id', 'streamkit:*'" in str(caught.value)

    def test_in_a_dataclass_too(self) -> None:
        with pytest.raises(ReservedFieldName, match="'last_message_id'"):
            schema_of(Reserved())

    @pytest.mark.parametrize("state", [5, "text", [], Totals, object()])
    def test_what_is_neither_dataclass_nor_dict(self, state: object) -> None:
        with pytest.raises(InvalidArgument, match="state must be a dataclass instance, a flat dict or None, not"):
            schema_of(state)

    @pytest.mark.parametrize("state", [{"a": []}, {"a": {}}, {"a": object()}, Nested()])
    def test_what_is_not_flat(self, state: object) -> None:
        with pytest.raises(UnsupportedType, match=r"field '(a|inner)' has the type"):
            schema_of(state)

    def test_a_value_that_is_not_of_its_type(self) -> None:
        with pytest.raises(UnsupportedType, match="list cannot be written as text"):
            schema_of(Totals(note=[]))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @pytest.mark.parametrize("version", [0, -1])
    def test_a_version_below_one(self, version: int) -> None:
        with pytest.raises(InvalidArgument, match="state_version must be 1 or more"):
            schema_of({}, version=version)


class TestRefusedAtTheSave:
    @pytest.mark.parametrize("name", ["current_stream_key", "streamkit:sequence"])
    def test_a_reserved_name_that_a_dict_got_later(self, name: str) -> None:
        with pytest.raises(ReservedFieldName, match=name):
            schema_of({}).encode({name: 1})

    def test_a_value_without_text_form(self) -> None:
        with pytest.raises(UnsupportedType, match="set cannot be written as text"):
            schema_of({}).encode({"a": {1}})

    @pytest.mark.parametrize("state", [{"a": "\ud800"}, {"\ud800": "a"}])
    def test_text_with_half_a_character(self, state: dict[str, str]) -> None:
        with pytest.raises(InvalidArgument):
            schema_of({}).encode(state)

    def test_more_fields_than_the_script_can_pass_on(self) -> None:
        state = {str(number): 1 for number in range(MOST_FIELDS + 1)}
        with pytest.raises(InvalidArgument, match=f"has {MOST_FIELDS + 1} fields; a checkpoint takes {MOST_FIELDS}"):
            schema_of({}).encode(state)
        del state["0"]
        assert len(schema_of({}).encode(state)) == MOST_FIELDS

    @pytest.mark.parametrize(
        ("initial", "state"), [(None, {"a": 1}), (Totals(), {"a": 1}), ({"a": 1}, Totals()), (Totals(), Nested())]
    )
    def test_a_state_of_another_kind_than_the_first(self, initial: object, state: object) -> None:
        with pytest.raises(InvalidArgument):
            schema_of(initial).encode(state)


class TestRestoring:
    def test_fields_that_were_never_saved_are_the_programs_own(self) -> None:
        mine = Totals(current_hourly_count=7, note="mine")
        assert schema_of(mine).decode({}, 1) == mine

    def test_fields_that_the_program_lacks_are_refused_by_name(self) -> None:
        with pytest.raises(
            UnknownStateFields, match="'agg_state' holds the fields 'a', 'b', which the state"
        ) as caught:
            schema_of(Totals()).decode({"b": b"1", "a": b"2", "note": b""}, 1)
        assert "add them, raise state_version and give migrate=, or reset() the checkpoint" in str(caught.value)

    def test_a_reader_without_state_does_not_take_one_that_has(self) -> None:
        with pytest.raises(UnknownStateFields, match="'total'"):
            schema_of(None).decode({"total": b"1"}, 1)

    @pytest.mark.parametrize(
        ("name", "raw"),
        [
            ("current_hourly_count", b"1.5"),
            ("seen", b"yes"),
            ("phase", b"hot"),
            ("exact", b"x"),
            ("hour", b"noon"),
            ("note", b"\xff"),
        ],
    )
    def test_a_field_that_does_not_read_is_refused_with_what_to_do(self, name: str, raw: bytes) -> None:
        with pytest.raises(
            StateError, match=r"'agg_state' does not read as the state's type.*or reset\(\) the checkpoint"
        ):
            schema_of(Totals()).decode({name: raw}, 1)


class TestVersions:
    def test_a_newer_version_is_refused_whatever_it_holds(self) -> None:
        for fields in ({}, {"note": b""}):
            with pytest.raises(
                NewerStateVersion, match=r"state version 3, this program knows only 2; run the newer program"
            ):
                schema_of(Totals(), version=2).decode(fields, 3)

    def test_an_older_one_needs_a_migration(self) -> None:
        with pytest.raises(StateError, match=r"state version 1, this program's is 2; give migrate= a function"):
            schema_of(Totals(), version=2).decode({"note": b""}, 1)

    def test_unless_nothing_was_saved(self) -> None:
        assert schema_of(Totals(), version=2).decode({}, 1) == Totals()

    @pytest.mark.parametrize(
        "state", [Totals(), dataclasses.asdict(Totals(phase=Phase.WARM))], ids=["dataclass", "dict"]
    )
    def test_the_migration_gets_text_and_version_and_gives_todays_fields(self, state: object) -> None:
        asked: list[tuple[dict[str, str], int]] = []

        def migrate(fields: dict[str, str], version: int) -> Mapping[str, str]:
            asked.append((dict(fields), version))
            return {"current_hourly_count": fields["count"]}

        restored = schema_of(state, version=3, migrate=migrate).decode({"count": b"7", "gone": b"x"}, 1)
        assert asked == [({"count": "7", "gone": "x"}, 1)]
        if isinstance(restored, dict):
            assert restored == {**dataclasses.asdict(Totals(phase=Phase.WARM)), "current_hourly_count": 7}
        else:
            assert restored == Totals(current_hourly_count=7)

    def test_it_is_not_asked_about_todays_version(self) -> None:
        def migrate(fields: dict[str, str], version: int) -> Mapping[str, str]:
            raise AssertionError

        assert schema_of({"a": 1}, version=2, migrate=migrate).decode({"a": b"2"}, 2) == {"a": 2}

    def test_fields_that_it_leaves_behind_are_still_refused(self) -> None:
        with pytest.raises(UnknownStateFields, match="'gone'"):
            schema_of(Totals(), version=2, migrate=lambda fields, _: fields).decode({"gone": b"x"}, 1)

    def test_bytes_that_are_no_text_cannot_be_migrated(self) -> None:
        with pytest.raises(StateError, match="is not UTF-8"):
            schema_of(Totals(), version=2, migrate=lambda fields, _: fields).decode({"digest": b"\xff"}, 1)
