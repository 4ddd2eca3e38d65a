"""How many entries to read at once: what was asked for, less where entries are large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.pages import FIRST, MOST, PAGE_BYTES, Page
from streamkit._core.replies import RawEntry


def entries(number: int, size: int) -> list[RawEntry]:
    return [(b"%d-0" % place, [b"f", b"x" * (size - 1)]) for place in range(number)]


@pytest.mark.parametrize(("count", "first"), [(1, 1), (FIRST, FIRST), (1000, FIRST)])
def test_the_first_read_is_small_until_sizes_are_known(count: int, first: int) -> None:
    assert Page(count).entries == first


def test_small_entries_are_read_as_many_as_a_read_may_hold() -> None:
    page = Page(1000)
    page.received(entries(100, 50))
    assert page.entries == MOST


def test_large_entries_are_read_a_few_at_a_time() -> None:
    page = Page(1000)
    page.received(entries(20, 64 * 1024))
    assert page.entries == PAGE_BYTES // (64 * 1024)


def test_an_entry_larger_than_a_page_is_read_all_the_same() -> None:
    page = Page(1000)
    page.received([(b"1-0", [b"f", b"x" * (PAGE_BYTES + 1)])])
    assert page.entries == 1


def test_a_read_of_empty_values_teaches_no_nonsense() -> None:
    page = Page(1000)
    page.received([(b"1-0", [b"", b""])])
    assert page.entries == MOST


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 2000))
def test_a_page_of_even_entries_keeps_its_bound(count: int, number: int, size: int) -> None:
    page = Page(count)
    page.received(entries(number, size))
    assert 1 <= page.entries <= min(count, MOST)
    assert page.entries == 1 or page.entries * size <= PAGE_BYTES


def test_the_size_follows_the_entries_down_and_up_again() -> None:
    page = Page(1000)
    page.received(entries(8, 1024 * 1024))
    assert page.entries == 4
    page.received(entries(4, 10))
    assert page.entries == MOST
