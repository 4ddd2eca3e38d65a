"""The checkpoint hash: readable by people, read back as it was, and guarded by its fence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core import effects
from streamkit._core.appends import Target
from streamkit._core.checkpoints import (
    FENCE,
    LAST_ID,
    STREAM,
    Mark,
    Place,
    Session,
    Step,
    decode_hash,
    judge_fence,
    state_fields,
)
from streamkit._core.errors import EffectFailed, StateError, UnknownStateFields, WrongKeyType
from streamkit._core.ids import LARGEST, EntryId
from streamkit._core.observers import Position
from streamkit._core.protocol import Scalar, to_bytes
from streamkit._core.scripts import COMMIT, OPEN
from streamkit._core.states import StateSchema

IDS = st.builds(EntryId, st.integers(0, LARGEST), st.integers(0, LARGEST))
KEYS = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)
COUNTS = st.integers(0, 2**63)
MARKS = st.builds(Mark, KEYS, IDS, COUNTS)
PLACES = st.builds(
    Place,
    KEYS,
    IDS,
    entries_read=st.none() | COUNTS,
    left=st.none() | MARKS,
    bound=st.booleans(),
    ahead=st.lists(MARKS, max_size=3).map(tuple),
    seen=COUNTS,
)
NO_STATE: StateSchema[None] = StateSchema(None, version=1, migrate=None, checkpoint="agg")
TOTALS: StateSchema[dict[str, int]] = StateSchema({"total": 0}, version=2, migrate=None, checkpoint="agg")


def stored(fields: Mapping[str, Scalar]) -> dict[bytes, bytes]:
    return {to_bytes(name): to_bytes(value) for name, value in fields.items()}


def flat(fields: Mapping[bytes, bytes]) -> list[bytes]:
    return [word for pair in fields.items() for word in pair]


class TestHash:
    @given(PLACES)
    def test_a_place_comes_back_as_it_was(self, place: Place) -> None:
        saved = stored(place.fields())
        for reply in (saved, flat(saved)):
            found = decode_hash(reply, NO_STATE, "agg")
            assert found is not None
            assert found.place == place

    @given(PLACES, st.integers())
    def test_with_the_state_beside_it_and_the_fence_left_out(self, place: Place, total: int) -> None:
        fence = dict.fromkeys(FENCE, 1)
        fields = {**place.fields(), **state_fields(TOTALS, {"total": total}), **fence}
        found = decode_hash(stored(fields), TOTALS, "agg")
        assert found is not None
        assert (found.place, found.state) == (place, {"total": total})
        assert found.names == set(fields)

    def test_people_find_position_and_state_under_plain_names(self) -> None:
        place = Place("temps:20250101", EntryId(5, 1), 7, Mark("temps:20241231", EntryId(4), 9))
        assert {**place.fields(), **state_fields(TOTALS, {"total": 3})} == {
            "current_stream_key": "temps:20250101",
            "last_message_id": "5-1",
            "total": b"3",
            "streamkit:entries_read": 7,
            "streamkit:left": "4-0 9 temps:20241231",
            "streamkit:state_version": 2,
        }

    def test_what_is_not_known_takes_no_field(self) -> None:
        assert set(Place("s", EntryId(0)).fields()) == {STREAM, LAST_ID}
        assert state_fields(NO_STATE, None) == {}

    @pytest.mark.parametrize("fields", [{}, {"current_stream_key": "s"}, {"last_message_id": "5-1"}, {"other": "x"}])
    def test_without_a_position_nothing_is_saved(self, fields: dict[str, str]) -> None:
        assert decode_hash(stored(fields), NO_STATE, "agg") is None
        assert decode_hash(flat(stored(fields)), NO_STATE, "agg") is None

    @pytest.mark.parametrize(
        "broken",
        [
            {"last_message_id": "yesterday"},
            {"last_message_id": "$"},
            {"current_stream_key": b"\xff"},
            {"streamkit:entries_read": "many"},
            {"streamkit:left": "5-1 temps"},
            {"streamkit:left": "5-1 many temps"},
            {"streamkit:ahead": "temps"},
            {"streamkit:seen": "never"},
            {"streamkit:state_version": "new"},
            {b"\xff": "x"},
        ],
    )
    def test_what_does_not_read_is_refused_with_what_to_do(self, broken: dict[Any, Any]) -> None:
        fields = {**stored({STREAM: "s", LAST_ID: "5-1"}), **stored(broken)}
        with pytest.raises(
            StateError, match=r"checkpoint 'agg' does not read as one: .*; mend it by hand, or reset\(\) it"
        ):
            decode_hash(fields, NO_STATE, "agg")

    def test_state_that_does_not_fit_is_refused(self) -> None:
        with pytest.raises(UnknownStateFields):
            decode_hash(stored({STREAM: "s", LAST_ID: "5-1", "total": 1}), NO_STATE, "agg")

    def test_state_without_version_is_of_the_first(self) -> None:
        with pytest.raises(StateError, match="state version 1, this program's is 2"):
            decode_hash(stored({STREAM: "s", LAST_ID: "5-1", "total": 1}), TOTALS, "agg")

    def test_a_key_of_another_type_is_said_to_be_one(self) -> None:
        with pytest.raises(WrongKeyType, match="'agg' holds a value of another type, not a hash"):
            decode_hash(RuntimeError("WRONGTYPE Operation against a key"), NO_STATE, "agg")

    def test_another_error_is_raised_as_it_is(self) -> None:
        with pytest.raises(RuntimeError, match="LOADING"):
            decode_hash(RuntimeError("LOADING"), NO_STATE, "agg")


class TestPlace:
    def test_shows_the_part_for_people(self) -> None:
        assert Place("s", EntryId(5), 3).position == Position("s", EntryId(5))

    @pytest.mark.parametrize(
        ("place", "untouched"),
        [
            (Place("s", EntryId(0)), True),
            (Place("s", EntryId(5), bound=True), True),
            (Place("s", EntryId(0), 0), False),
            (Place("s", EntryId(5)), False),
            (Place("s", EntryId(5), 0, bound=True), False),
        ],
    )
    def test_is_untouched_while_nothing_was_ever_seen_of_its_key(self, place: Place, *, untouched: bool) -> None:
        assert place.untouched is untouched


class TestSession:
    SESSION = Session("agg", "token", 7)

    def test_takes_the_checkpoint_with_a_first_position(self) -> None:
        command = self.SESSION.open({STREAM: "s", LAST_ID: "0-0"}, again=False, known=True)
        assert command == ("EVALSHA", OPEN.sha, 1, "agg", "token", "take", 7, STREAM, "s", LAST_ID, "0-0")

    def test_takes_it_back(self) -> None:
        assert self.SESSION.open({}, again=True, known=True)[-3:] == ("token", "retake", 7)


def step(*held: effects.Emit | effects.Execute) -> Step:
    return Step(Session("agg", "token", 7), Place("s", EntryId(5)), {LAST_ID: "5-0"}, ("old",), held)


class TestStep:
    EMIT = effects.emit(Target("out"), "*", {"x": 1})
    COUNT = effects.execute(("INCR", "n"))

    def test_sends_fence_fields_and_effects_with_every_key_declared_once(self) -> None:
        command = step(self.EMIT, self.COUNT, self.EMIT).command(known=True)
        assert command[:6] == ("EVALSHA", COMMIT.sha, 3, "agg", "out", "n")
        assert command[6:9] == ("token", 7, 8)
        assert command[9:12] == (2, LAST_ID, "5-0")
        assert command[12:14] == (1, "old")
        assert command[14:] == (3, *self.EMIT.words(1), *self.COUNT.words(2), *self.EMIT.words(1))

    def test_is_the_same_each_time_it_is_sent(self) -> None:
        once = step(self.EMIT)
        assert once.command(known=True) == once.command(known=True)

    @pytest.mark.parametrize("outcome", ["OK", "CONFLICT", "REWOUND", "PERIOD"])
    def test_reads_its_outcome(self, outcome: str) -> None:
        assert step().outcome([outcome.encode(), b"5"]) == outcome

    def test_a_failed_effect_is_an_error_that_names_it(self) -> None:
        with pytest.raises(EffectFailed, match="INCR on 'n' failed: ERR overflow; 1 effects before it") as caught:
            step(self.EMIT, self.COUNT).outcome([b"FAILED", 2, 1, b"ERR overflow"])
        assert caught.value.applied == 1

    def test_an_error_reply_is_raised(self) -> None:
        with pytest.raises(RuntimeError, match="OOM"):
            step().outcome(RuntimeError("OOM"))


class TestFence:
    @pytest.mark.parametrize(
        ("token", "sequence", "verdict"),
        [
            (b"mine", b"7", "OK"),
            (b"mine", b"6", "REWOUND"),  # rolled back, by a failover say
            (b"mine", b"8", "CONFLICT"),  # nobody else has our token, but this is not what we saved
            (b"theirs", b"7", "CONFLICT"),
            (b"theirs", b"8", "CONFLICT"),
            (b"theirs", b"6", "REWOUND"),  # rolled back to another's time: nobody newer is known to live
            (None, None, "REWOUND"),
            (b"mine", None, "REWOUND"),
            (None, b"7", "CONFLICT"),
            (None, b"6", "REWOUND"),
            (b"mine", b"", "REWOUND"),
            (b"mine", b"x", "REWOUND"),
        ],
    )
    def test_each_situation_has_its_verdict(self, token: bytes | None, sequence: bytes | None, verdict: str) -> None:
        assert judge_fence([token, sequence], Session("agg", "mine", 7)) == verdict

    def test_sequences_compare_as_numbers(self) -> None:
        assert judge_fence([b"mine", b"10"], Session("agg", "mine", 9)) == "CONFLICT"
        assert judge_fence([b"mine", b"9"], Session("agg", "mine", 10)) == "REWOUND"

    def test_an_error_reply_is_raised(self) -> None:
        with pytest.raises(RuntimeError):
            judge_fence(RuntimeError("WRONGTYPE"), Session("agg", "mine", 7))
