"""Keys beside a stream's own lie in its cluster slot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from streamkit._core.errors import InvalidArgument
from streamkit._core.keys import companion, require_key


def test_a_plain_key_becomes_the_tag() -> None:
    assert companion("temps:averages", "dead-letters") == "{temps:averages}:dead-letters"


def test_a_tag_of_its_own_is_kept() -> None:
    assert companion("{user1}:orders", "dead-letters") == "{user1}:orders:dead-letters"
    assert companion("orders:{user1}", "appends") == "orders:{user1}:appends"


@given(st.text("ab{:", min_size=1), st.sampled_from(["appends", "once:x", "dead-letters"]))
@example("a{b", "appends")
@example("{", "appends")
def test_a_companion_of_a_key_without_closing_brace_lies_in_its_slot(key: str, suffix: str) -> None:
    assert key_slot(companion(key, suffix).encode()) == key_slot(key.encode())


@given(st.text("ab{}:"), st.text("abc", min_size=1), st.text("ab{}:"))
def test_a_companion_of_a_tagged_key_lies_in_its_slot(before: str, tag: str, after: str) -> None:
    key = f"{before.replace('{', '')}{{{tag}}}{after}"
    assert key_slot(companion(key, "appends").encode()) == key_slot(key.encode())


def test_companions_of_different_keys_differ() -> None:
    assert companion("a", "x") != companion("b", "x")
    assert companion("a", "x") != companion("a", "y")


def test_a_key_is_given_back() -> None:
    assert require_key("checkpoint", "state") == "state"


@pytest.mark.parametrize("key", ["", None, b"bytes", 5])
def test_what_is_no_key_is_refused_by_the_arguments_name(key: Any) -> None:
    with pytest.raises(InvalidArgument, match="checkpoint must be a non-empty str, not"):
        require_key("checkpoint", key)
