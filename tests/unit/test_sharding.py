"""Which shard an entry belongs to, and what the keys of shards are called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.errors import InvalidArgument
from streamkit._core.keys import companion
from streamkit._core.sharding import MOST_SHARDS, parse_shards, require_name, shard_key
from streamkit._core.slots import slot_of

KEYS = st.one_of(st.text(), st.binary(), st.integers(), st.floats())


class TestNumbered:
    def test_the_keys_have_the_number_in_braces(self) -> None:
        sharding = parse_shards("orders", 3)
        assert sharding.names == ("0", "1", "2")
        assert sharding.keys == ["orders:{0}", "orders:{1}", "orders:{2}"]

    @given(KEYS, st.integers(1, 64))
    def test_an_entry_has_one_place(self, key: Any, count: int) -> None:
        sharding = parse_shards("orders", count)
        assert 0 <= sharding.place(key) < count
        assert parse_shards("others", count).place(key) == sharding.place(key)

    def test_the_place_is_the_same_in_every_process(self) -> None:
        sharding = parse_shards("orders", 8)
        assert [sharding.place(key) for key in ("ann", "bob", b"ann", 17, 2.5, "17")] == [3, 0, 3, 2, 3, 2]

    def test_keys_are_spread_evenly(self) -> None:
        sharding = parse_shards("orders", 8)
        places = [sharding.place(f"customer-{number}") for number in range(8000)]
        assert all(800 < places.count(place) < 1200 for place in range(8))

    @pytest.mark.parametrize("key", [None, True, ["a"], object()])
    def test_a_key_that_is_nothing_to_hash_is_refused(self, key: object) -> None:
        with pytest.raises(InvalidArgument, match="key of an entry of 'orders' must be a str, bytes, int or float"):
            parse_shards("orders", 3).place(key)

    def test_text_that_is_no_text_is_refused(self) -> None:
        with pytest.raises(InvalidArgument, match=r"cannot be written as UTF-8: '\\ud800'"):
            parse_shards("orders", 3).place("\ud800")

    @pytest.mark.parametrize("count", [0, -1, MOST_SHARDS + 1, True, False])
    def test_there_are_some_and_no_more_than_slots(self, count: int) -> None:
        with pytest.raises(InvalidArgument, match=f"shards must be 1 to {MOST_SHARDS}, not {count}"):
            parse_shards("orders", count)
        assert len(parse_shards("orders", MOST_SHARDS).keys) == MOST_SHARDS


class TestNamed:
    def test_the_key_of_an_entry_is_the_name_of_its_shard(self) -> None:
        sharding = parse_shards("orders", ["tenant_b", "tenant_ä", "7"])
        assert sharding.keys == ["orders:{tenant_b}", "orders:{tenant_ä}", "orders:{7}"]
        assert [sharding.place(key) for key in ("tenant_b", "tenant_ä", "tenant_ä".encode(), 7)] == [0, 1, 1, 2]

    @pytest.mark.parametrize("key", ["tenant_c", b"\xff", "", 0])
    def test_a_name_that_no_shard_has_is_refused(self, key: Any) -> None:
        with pytest.raises(InvalidArgument, match=r"'orders' has no shard '.*'; it has tenant_a, tenant_b$"):
            parse_shards("orders", ["tenant_a", "tenant_b"]).place(key)

    def test_of_many_names_some_are_told(self) -> None:
        with pytest.raises(InvalidArgument, match=r"it has t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, …$"):
            parse_shards("orders", [f"t{number}" for number in range(11)]).place("u")

    @pytest.mark.parametrize("names", [[], "abc", "", ["a", "b", "a"], None, 2.5])
    def test_names_are_a_list_without_repetition(self, names: Any) -> None:
        with pytest.raises(InvalidArgument, match="or so many names of which none comes twice, not"):
            parse_shards("orders", names)

    @pytest.mark.parametrize("name", ["", b"a", 5, None])
    def test_a_name_is_text(self, name: Any) -> None:
        with pytest.raises(InvalidArgument, match="the name of a shard must be a non-empty str"):
            parse_shards("orders", ["a", name])


@pytest.mark.parametrize("name", ["{a", "a}", "{a}", "a{b}c"])
def test_braces_are_for_the_shards(name: str) -> None:
    with pytest.raises(InvalidArgument, match="the name of a sharded stream must have no braces"):
        parse_shards(name, 2)
    with pytest.raises(InvalidArgument, match="the name of a shard must have no braces"):
        parse_shards("orders", ["a", name])
    with pytest.raises(InvalidArgument, match="name must have no braces"):
        require_name(name)


@pytest.mark.parametrize("name", ["", None, b"orders"])
def test_a_name_is_a_key(name: Any) -> None:
    with pytest.raises(InvalidArgument, match="the name of a sharded stream must be a non-empty str"):
        parse_shards(name, 2)
    with pytest.raises(InvalidArgument, match="name must be a non-empty str"):
        require_name(name)
    assert require_name("totals") == "totals"


@given(st.text("abc:1", min_size=1), st.text("xyz:2", min_size=1))
def test_everything_about_a_shard_lies_in_one_slot(shard: str, other: str) -> None:
    key, checkpoint = shard_key("orders", shard), shard_key(other, shard)
    slots = {slot_of(each) for each in (key, checkpoint, f"{key}:20250101", companion(key, "dead-letters"))}
    assert slots == {slot_of(shard)}
