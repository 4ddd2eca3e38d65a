"""One consumer's part in one group: its scripts are called with what they expect, their replies read as they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from streamkit._core.appends import Target
from streamkit._core.dead_letters import Cause, Provenance
from streamkit._core.effects import Emit, Execute
from streamkit._core.errors import EffectFailed
from streamkit._core.members import (
    PAGE,
    Begun,
    Claimed,
    Member,
    Result,
    Settled,
    Settlement,
    Unread,
    beat_arguments,
    begun,
    claim_arguments,
    claimed,
    settle_arguments,
    settle_results,
    unread,
)
from streamkit._core.scripts import CLAIM, SETTLE

MEMBER = Member("temps:20250101", "g", "a", "{temps}:dead-letters", 50)


class TestCalls:
    def test_every_call_names_its_keys_and_who_makes_it(self) -> None:
        assert MEMBER.call(CLAIM, ("own", 5), known=True) == (
            *("EVALSHA", CLAIM.sha, 3),
            *("temps:20250101", "{temps}:dead-letters", "{temps:20250101}:redrives"),
            *("g", "a", 50),
            *("own", 5),
        )

    def test_one_that_the_server_does_not_know_goes_by_its_source(self) -> None:
        assert MEMBER.call(CLAIM, known=False)[:3] == ("EVAL", CLAIM.source, 3)

    def test_the_keys_of_effects_stand_behind_its_own(self) -> None:
        call = MEMBER.call(SETTLE, ["", 0], known=True, effect_keys=["out", "totals"])
        assert call[2:8] == (5, "temps:20250101", "{temps}:dead-letters", "{temps:20250101}:redrives", "out", "totals")


# Settling -----------------------------------------------------------------------------------------------------------

OUT = Emit(Target("out"), "*", ("n", "1"))
COUNT = Execute(("HINCRBY", "totals", "seen", 1))
AGAIN = Emit(Target("out"), "*", ("n", "2"))
LETTER = Provenance("s", "3-0", Cause.REJECTED, reason="no", group="g", consumer="a", attempt=2)


class Read:
    """The words of settle.lua, read as the script reads them."""

    def __init__(self, keys: Sequence[str], words: Sequence[Any]) -> None:
        self._words = iter(words)
        self._keys = keys
        self.delete = next(self._words) == "delete"
        self.entries = [self._entry() for _ in range(next(self._words))]
        assert list(self._words) == []

    def _many(self) -> list[Any]:
        return [next(self._words) for _ in range(next(self._words))]

    def _entry(self) -> tuple[str, list[Any], list[tuple[str, list[Any]]]]:
        return next(self._words), self._many(), [self._effect() for _ in range(next(self._words))]

    def _effect(self) -> tuple[str, list[Any]]:
        kind = next(self._words)
        place: int = next(self._words)
        for _ in range(10 if kind == "emit" else 1):  # ID, bump, partition and trimming; the type that is needed
            next(self._words)
        return self._keys[place - 1], self._many()


SETTLEMENTS = st.lists(
    st.builds(
        Settlement,
        entry_id=st.integers(1, 99).map(lambda ms: f"{ms}-0"),
        effects=st.lists(st.sampled_from([OUT, COUNT, AGAIN]), max_size=4),
        letter=st.sampled_from([None, LETTER]),
    ),
    max_size=5,
)


class TestSettling:
    @given(SETTLEMENTS, st.booleans())
    def test_the_script_reads_what_was_meant(self, batch: list[Settlement], delete: bool) -> None:  # noqa: FBT001
        keys, words = settle_arguments(batch, delete=delete)
        read = Read(keys, words)
        assert read.delete == delete
        assert sorted(keys) == sorted({effect.key for each in batch for effect in each.effects})
        for each, (entry_id, provenance, effects) in zip(batch, read.entries, strict=True):
            assert entry_id == each.entry_id
            assert tuple(provenance) == (each.letter.fields_before_at() if each.letter else ())
            assert effects == [
                (effect.key, list(effect.fields if isinstance(effect, Emit) else effect.words_of_command))
                for effect in each.effects
            ]

    def test_a_plain_ack_is_an_id_and_two_zeros(self) -> None:
        assert settle_arguments([Settlement("1-0")], delete=False) == ([], ["", 1, "1-0", 0, 0])

    def test_each_outcome_is_read(self) -> None:
        batch = [Settlement(f"{n}-0", [OUT, COUNT]) for n in range(1, 7)]
        reply = [
            7,
            [b"OK"],
            [b"GONE"],
            [b"LOST", b"thief"],
            [b"FAILED", 2, 1, b"WRONGTYPE it holds a string"],
            [b"PERIOD", b"1735689600000"],
            [b"FAILED", 1, 0, b"x"],
        ]
        dropped, (fine, gone, lost, failed, period, nothing) = settle_results(reply, batch)
        assert dropped == 7
        assert (fine, gone, lost) == (Result(Settled.OK), Result(Settled.GONE), Result(Settled.LOST, owner="thief"))
        assert failed.outcome is Settled.FAILED
        assert isinstance(failed.error, EffectFailed)
        assert (failed.error.command, failed.error.key, failed.error.applied) == ("HINCRBY", "totals", 1)
        assert str(failed.error) == (
            "HINCRBY on 'totals' failed: WRONGTYPE it holds a string; 1 effects before it were applied"
        )
        assert period == Result(Settled.PERIOD, now=1_735_689_600_000)
        assert nothing.error is not None
        assert str(nothing.error) == "XADD on 'out' failed: x; nothing of the step was applied"

    def test_as_many_outcomes_as_settlements_or_it_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="longer"):
            settle_results([0, [b"OK"]], [Settlement("1-0"), Settlement("2-0")])


def results_of_nothing(reply: Any) -> object:
    return settle_results(reply, [])


@pytest.mark.parametrize("read", [results_of_nothing, claimed, begun, unread])
def test_an_error_reply_is_raised(read: Callable[[Any], object]) -> None:
    with pytest.raises(ResponseError, match="OOM"):
        read(ResponseError("OOM command not allowed"))


# Taking over --------------------------------------------------------------------------------------------------------


class TestClaiming:
    @pytest.mark.parametrize(
        ("own", "cursor", "words"),
        [(True, "", ("own", 600, 5, "-")), (False, "(5-1", ("idle", 600, 5, "(5-1"))],
    )
    def test_says_what_it_looks_for_and_from_where(self, own: bool, cursor: str, words: tuple[Any, ...]) -> None:  # noqa: FBT001
        arguments = claim_arguments(
            own=own, min_idle_ms=600, max_deliveries=5, cursor=cursor, room=7, in_hand=["1-0", "2-0"]
        )
        assert arguments == (*words, PAGE, 7, "1-0", "2-0")

    def test_reads_what_was_taken_and_what_was_buried(self) -> None:
        reply = [2, b"(3-0", [[b"1-0", 4, b"dead"], [b"2-0", 0, b"streamkit:released"]], [[b"3-0", b"abandoned"]]]
        assert claimed(reply) == Claimed(2, "(3-0", [("1-0", 4), ("2-0", 0)], [("3-0", "abandoned")])
        assert claimed([0, b"", [], []]) == Claimed(0, "", [], [])


def test_beginning_gives_the_deliveries_and_the_body_or_says_why_not() -> None:
    assert begun([0, b"OK", 3, [b"n", b"1"]]) == Begun(0, "OK", 3, [b"n", b"1"])
    assert begun([0, b"GONE"]) == Begun(0, "GONE")
    assert begun([0, b"LOST", b"thief"]) == Begun(0, "LOST")
    assert begun([4, b"TRIMMED"]) == Begun(4, "TRIMMED")


def test_a_heartbeat_names_what_is_held_and_the_read_on_its_way() -> None:
    assert beat_arguments(["1-0", "2-0"]) == ("", 0, "1-0", "2-0")
    assert beat_arguments([], ahead=100) == ("-", 100)
    assert beat_arguments(["1-0"], behind="5-1", ahead=100) == ("(5-1", 100, "1-0")
    assert beat_arguments(["1-0"], behind="5-1") == ("", 0, "1-0")


def test_what_was_trimmed_unread_is_a_count_and_a_span() -> None:
    assert unread([0, 0]) == Unread(0, 0)
    assert unread([3, 12, b"1-0", b"9-0"]) == Unread(3, 12, "1-0", "9-0")
