"""The bound of a capped stream: a length or an age, never both."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streamkit._core.errors import InvalidArgument, WrongKeyType
from streamkit._core.trimming import Trimmed, Trimming, read_trimmed


@pytest.mark.parametrize(
    ("bound", "arguments"),
    [
        ({"maxlen": 120}, ("MAXLEN", "~", 120, "")),
        ({"maxlen": 120, "approximate": False}, ("MAXLEN", "=", 120, "")),
        ({"maxlen": 0}, ("MAXLEN", "~", 0, "")),
        ({"maxlen": 120, "limit": 50}, ("MAXLEN", "~", 120, 50)),
        ({"maxlen": 120, "limit": 0}, ("MAXLEN", "~", 120, 0)),
        ({"max_age": timedelta(hours=1)}, ("MINID", "~", 3_600_000, "")),
        ({"max_age": timedelta(milliseconds=1), "approximate": False}, ("MINID", "=", 1, "")),
    ],
)
def test_a_bound_is_passed_to_the_script(bound: dict[str, Any], arguments: tuple[object, ...]) -> None:
    assert Trimming(**bound).script_arguments() == arguments


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ({}, "give exactly one of maxlen"),
        ({"maxlen": 1, "max_age": timedelta(hours=1)}, "give exactly one of maxlen"),
        ({"maxlen": -1}, "maxlen must be zero or more, not -1"),
        ({"max_age": timedelta(0)}, "max_age must be at least a millisecond"),
        ({"max_age": 3600}, "max_age must be a timedelta"),
        ({"maxlen": 1, "limit": 10, "approximate": False}, "with approximate=False leave it out"),
        ({"maxlen": 1, "limit": -1}, r"trim_limit must be zero \(no limit\) or more, not -1"),
    ],
)
def test_a_bound_that_cannot_be_is_refused_saying_what_to_do(bound: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        Trimming(**bound)


def test_what_the_script_answers() -> None:
    assert read_trimmed([b"OK", 5, 0], "s") == Trimmed(removed=5, held_back=0, groups=())
    assert read_trimmed([b"OK", 0, 7, b"slow", b"\xff"], "s") == Trimmed(0, 7, ("slow", "\\xff"))


def test_what_cannot_be_trimmed() -> None:
    with pytest.raises(WrongKeyType, match="the key 's' holds a hash, not a stream"):
        read_trimmed([b"TYPE", b"hash"], "s")
    with pytest.raises(ValueError, match="as it came"):
        read_trimmed(ValueError("as it came"), "s")
