"""What consumers of a group agree on: when to try again, what a failure leads to, how much to hold, whose turn."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.dead_letters import Cause
from streamkit._core.errors import EffectFailed, InvalidArgument, StreamkitError
from streamkit._core.groups import (
    Fate,
    Pace,
    PendingEntry,
    Reject,
    Retry,
    RetryPolicy,
    Turns,
    Verdict,
    exponential,
    verdict,
)
from streamkit._core.ids import EntryId

SECOND = timedelta(seconds=1)
SPANS = st.timedeltas(timedelta(milliseconds=1), timedelta(days=30))


# Backoff ------------------------------------------------------------------------------------------------------------


class TestExponential:
    def test_grows_by_its_factor_up_to_its_maximum(self) -> None:
        backoff = exponential(5 * SECOND, factor=4, maximum=timedelta(minutes=10), jitter=0)
        assert [backoff(attempt).total_seconds() for attempt in range(1, 7)] == [5, 20, 80, 320, 600, 600]

    def test_doubles_unless_told_otherwise(self) -> None:
        backoff = exponential(SECOND, maximum=timedelta(minutes=1), jitter=0)
        assert [backoff(attempt).total_seconds() for attempt in (1, 2, 3)] == [1, 2, 4]

    def test_stays_as_it_is_with_a_factor_of_one_or_a_maximum_at_its_base(self) -> None:
        for backoff in (
            exponential(SECOND, factor=1, maximum=timedelta(minutes=1), jitter=0),
            exponential(SECOND, factor=9, maximum=SECOND, jitter=0),
            exponential(9 * SECOND, factor=9, maximum=SECOND, jitter=0),
        ):
            assert {backoff(attempt) for attempt in (1, 2, 100, 10**9)} == {SECOND}

    @given(SPANS, st.floats(1, 1e6), SPANS, st.floats(0, 1), st.integers(1, 10**9))
    def test_a_wait_lies_within_its_jitter(
        self, base: timedelta, factor: float, maximum: timedelta, jitter: float, attempt: int
    ) -> None:
        whole = exponential(base, factor=factor, maximum=maximum, jitter=0)(attempt)
        assert min(base, maximum) <= whole <= maximum
        drawn = exponential(base, factor=factor, maximum=maximum, jitter=jitter)(attempt)
        assert whole * (1 - jitter) - timedelta(microseconds=1) <= drawn <= whole

    @given(SPANS, st.floats(1, 1e6), SPANS)
    def test_waits_never_shrink(self, base: timedelta, factor: float, maximum: timedelta) -> None:
        backoff = exponential(base, factor=factor, maximum=maximum, jitter=0)
        waits = [backoff(attempt) for attempt in range(1, 40)]
        assert waits == sorted(waits)

    def test_waits_differ_so_that_what_failed_together_does_not_come_back_together(self) -> None:
        backoff = exponential(SECOND, maximum=timedelta(minutes=1))
        assert len({backoff(3) for _ in range(20)}) > 1

    @pytest.mark.parametrize(
        "arguments",
        [
            {"base": timedelta(0)},
            {"maximum": timedelta(0)},
            {"factor": 0.5},
            {"factor": float("nan")},
            {"jitter": -0.1},
            {"jitter": 1.1},
            {"base": 5},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, arguments: dict[str, Any]) -> None:
        whole: dict[str, Any] = {"base": SECOND, "maximum": SECOND, **arguments}
        with pytest.raises(InvalidArgument):
            exponential(whole.pop("base"), **whole)


class TestPolicy:
    def test_by_default_it_rides_out_seven_minutes(self) -> None:
        policy = RetryPolicy()
        assert policy.max_deliveries == 5
        waits = [policy.delay(attempt) for attempt in (1, 2, 3, 4)]
        assert all(0.9 * most <= wait <= most for wait, most in zip(waits, (5, 20, 80, 320), strict=True))

    def test_a_table_s_last_wait_counts_for_all_further_attempts(self) -> None:
        policy = RetryPolicy(backoff=[SECOND, 3 * SECOND])
        assert [policy.delay(attempt) for attempt in (1, 2, 3, 99)] == [1, 3, 3, 3]
        assert RetryPolicy(backoff=(timedelta(0),)).delay(7) == 0

    def test_a_function_is_asked_with_the_attempt_that_failed_and_never_waits_backwards(self) -> None:
        policy = RetryPolicy(backoff=lambda attempt: (3 - attempt) * SECOND)
        assert [policy.delay(attempt) for attempt in (1, 2, 3, 4)] == [2, 1, 0, 0]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"max_deliveries": 0}, "max_deliveries must be 1 or more, not 0"),
            ({"backoff": []}, r"backoff must not be an empty table; for no wait at all write \[timedelta\(0\)\]"),
            ({"backoff": [SECOND, timedelta(-1)]}, "a wait of backoff must be zero or more"),
            ({"backoff": [5]}, "a wait of backoff must be a timedelta"),
        ],
    )
    def test_one_that_can_never_work_is_refused(self, arguments: dict[str, Any], words: str) -> None:
        with pytest.raises(InvalidArgument, match=words):
            RetryPolicy(**arguments)


# What a failure leads to --------------------------------------------------------------------------------------------

POLICY = RetryPolicy(max_deliveries=3, backoff=[SECOND, 2 * SECOND], reject_on=(KeyError, TypeError))
ERROR = ValueError("no such card")
APPLIED = EffectFailed(command="INCR", key="n", reason="x", applied=2)
REFUSED = EffectFailed(command="INCR", key="n", reason="x", applied=0)
LATER = Retry("busy", delay=7 * SECOND)
BUSY = Retry("busy")
GIVEN_UP = Retry()
WRONG = KeyError("x")


class TestVerdict:
    @pytest.mark.parametrize(
        ("error", "attempt", "expected"),
        [
            (ERROR, 1, Verdict(Fate.RETRY, 1.0, error=ERROR)),
            (ERROR, 2, Verdict(Fate.RETRY, 2.0, error=ERROR)),
            (ERROR, 3, Verdict(Fate.BURY, cause=Cause.EXHAUSTED, error=ERROR)),
            (ERROR, 9, Verdict(Fate.BURY, cause=Cause.EXHAUSTED, error=ERROR)),
            (BUSY, 1, Verdict(Fate.RETRY, 1.0, reason="busy", error=BUSY)),
            (LATER, 2, Verdict(Fate.RETRY, 7.0, reason="busy", error=LATER)),
            (LATER, 3, Verdict(Fate.BURY, cause=Cause.EXHAUSTED, reason="busy")),
            (GIVEN_UP, 3, Verdict(Fate.BURY, cause=Cause.EXHAUSTED, error=GIVEN_UP)),
            (Reject("no"), 1, Verdict(Fate.BURY, cause=Cause.REJECTED, reason="no")),
            (WRONG, 1, Verdict(Fate.BURY, cause=Cause.REJECTED, error=WRONG)),
            (REFUSED, 1, Verdict(Fate.RETRY, 1.0, error=REFUSED)),
            (REFUSED, 3, Verdict(Fate.BURY, cause=Cause.EXHAUSTED, error=REFUSED)),
            (APPLIED, 1, Verdict(Fate.BURY, cause=Cause.EFFECT_FAILED, reason=str(APPLIED), error=APPLIED)),
        ],
    )
    def test_of_a_failure(self, error: BaseException, attempt: int, expected: Verdict) -> None:
        assert verdict(POLICY, error, attempt) == expected

    def test_what_was_applied_in_part_is_never_tried_again_whatever_the_policy_says(self) -> None:
        assert verdict(RetryPolicy(reject_on=EffectFailed), APPLIED, 1).cause is Cause.EFFECT_FAILED

    def test_a_retry_may_be_final_for_a_policy(self) -> None:
        assert verdict(RetryPolicy(reject_on=Retry), BUSY, 1).cause is Cause.REJECTED

    @given(st.integers(1, 10), st.integers(1, 20), st.sampled_from([ERROR, BUSY, LATER, GIVEN_UP, REFUSED]))
    def test_exactly_max_deliveries_attempts_are_made(self, most: int, attempt: int, error: Exception) -> None:
        decided = verdict(RetryPolicy(max_deliveries=most, backoff=[SECOND]), error, attempt)
        assert decided.fate is (Fate.RETRY if attempt < most else Fate.BURY)


class TestOutcomes:
    @pytest.mark.parametrize("outcome", [Retry(), Retry("busy", delay=SECOND), Reject("no")])
    def test_come_through_pickle_as_they_were(self, outcome: StreamkitError) -> None:
        again = pickle.loads(pickle.dumps(outcome))
        assert type(again) is type(outcome)
        assert (str(again), vars(again)) == (str(outcome), vars(outcome))

    def test_say_what_their_raiser_said(self) -> None:
        assert (str(Reject("no")), str(Retry("busy")), str(Retry())) == ("no", "busy", "")

    @pytest.mark.parametrize("delay", [timedelta(-1), 5])
    def test_a_delay_that_is_none_is_refused(self, delay: Any) -> None:
        with pytest.raises(InvalidArgument, match="delay must be"):
            Retry(delay=delay)


def test_a_pending_entry_is_a_value() -> None:
    entry = PendingEntry("s", EntryId(1), "a", SECOND, 2)
    assert entry == PendingEntry("s", EntryId(1), "a", SECOND, 2)
    assert hash(entry) == hash(PendingEntry("s", EntryId(1), "a", SECOND, 2))


# How much to hold ---------------------------------------------------------------------------------------------------


class TestPace:
    def test_begins_with_what_is_handled_at_once_and_reads_no_further(self) -> None:
        assert (Pace(1, 100).size, Pace(8, 100).size, Pace(8, 5).size) == (1, 8, 5)
        assert not Pace(8, 100).ahead

    def test_grows_step_by_step_to_what_is_handled_in_half_a_second(self) -> None:
        pace, sizes = Pace(1, 100), list[int]()
        for _ in range(6):
            pace.handled(pace.size, pace.size / 100)
            sizes.append(pace.size)
        assert sizes == [4, 13, 40, 50, 50, 50]
        assert pace.ahead

    def test_shrinks_at_once_when_handling_is_slow(self) -> None:
        pace = Pace(1, 100)
        for _ in range(6):
            pace.handled(100, 0.001)
        assert pace.size == 100
        pace.handled(10, 10.0)
        assert pace.size == 1
        assert not pace.ahead

    @given(
        st.integers(1, 50),
        st.integers(1, 1000),
        st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1e6)), max_size=20),
    )
    def test_is_never_less_than_least_nor_more_than_most(
        self, least: int, most: int, batches: list[tuple[int, float]]
    ) -> None:
        pace = Pace(least, most)
        for count, seconds in batches:
            before = pace.size
            pace.handled(count, seconds)
            assert min(least, most) <= pace.size <= most
            assert pace.size <= max(3 * before + 1, least)


# Whose turn it is ---------------------------------------------------------------------------------------------------


class TestTurns:
    def test_nothing_is_held_back_while_nothing_waits(self) -> None:
        turns = Turns()
        assert not turns.mine(100.0, wanted=False)

    def test_what_waits_has_a_second_then_the_others_four_then_it_has_two(self) -> None:
        turns = Turns()
        held = [second / 2 for second in range(60) if turns.mine(100 + second / 2, wanted=True)]
        assert held[:2] == [0.0, 0.5]
        assert held[2:6] == [5.0, 5.5, 6.0, 6.5]
        assert held[6:14] == [15.0, 15.5, 16.0, 16.5, 17.0, 17.5, 18.0, 18.5]

    def test_it_begins_anew_once_nothing_waited(self) -> None:
        turns = Turns()
        assert turns.mine(0.0, wanted=True)
        assert not turns.mine(1.0, wanted=True)
        assert not turns.mine(2.0, wanted=False)
        assert not turns.mine(4.9, wanted=True)
        assert turns.mine(5.0, wanted=True)
        assert turns.mine(5.9, wanted=True)
        assert not turns.mine(6.0, wanted=True)

    def test_after_one_ran_alone_the_others_have_as_long_as_it_took(self) -> None:
        turns = Turns()
        assert turns.mine(0.0, wanted=True)
        turns.begin(0.5)
        turns.end(3.5)
        assert not turns.mine(3.5, wanted=True)
        assert not turns.mine(6.4, wanted=True)
        assert turns.mine(6.5, wanted=True)
