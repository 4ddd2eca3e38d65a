"""What share.lua is called with, and what its answer means."""

from __future__ import annotations

import pytest

from streamkit._core.errors import WrongKeyType
from streamkit._core.sharing import Share, read_share, share_arguments


def test_a_member_asks_for_its_share() -> None:
    assert share_arguments("a", 10_000, ["0", "1"]) == ("a", 10_000, "share", 0, "0", "1")


def test_what_it_gives_up_stands_before_all_shards() -> None:
    assert share_arguments("a", 5, ["0", "1"], giving_up=["1"]) == ("a", 5, "share", 1, "1", "0", "1")


def test_leaving_gives_up_everything() -> None:
    assert share_arguments("a", 5, ["0", "1"], leave=True) == ("a", 5, "leave", 0, "0", "1")


def test_the_answer_is_what_it_holds_and_how_much_of_it_is_too_much() -> None:
    assert read_share("k", [0]) == Share([], 0)
    assert read_share("k", [1, b"0", b"t\xc3\xa4"]) == Share(["0", "tä"], 1)


def test_a_key_of_another_type_is_an_error() -> None:
    with pytest.raises(WrongKeyType, match=r"'\{totals\}:shards'.*list.*who holds which shard"):
        read_share("{totals}:shards", [b"TYPE", b"list"])
