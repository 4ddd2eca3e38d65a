"""Waits between tries grow, have a bound, and differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.retry import RECONNECT, Backoff


@given(st.integers(1, 10**9))
def test_a_wait_lies_between_half_and_all_of_what_the_attempt_allows(attempt: int) -> None:
    backoff = Backoff(base=0.1, factor=2.0, maximum=5.0)
    whole = min(5.0, 0.1 * 2.0 ** min(attempt - 1, 32))
    assert whole / 2 <= backoff.delay(attempt) <= whole


def test_waits_differ_so_that_clients_do_not_come_back_together() -> None:
    assert len({RECONNECT.delay(10) for _ in range(20)}) > 1


@pytest.mark.parametrize(("attempt", "most"), [(1, 0.05), (2, 0.1), (6, 1.6), (7, 2.0), (1000, 2.0)])
def test_reconnecting_starts_at_once_and_never_waits_longer_than_two_seconds(attempt: int, most: float) -> None:
    assert 0 < RECONNECT.delay(attempt) <= most
