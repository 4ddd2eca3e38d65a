"""Slots: which node a command goes to, and where a reply sends it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import exceptions
from redis.crc import key_slot

from streamkit._core import commands, scripts
from streamkit._core.errors import InvalidArgument
from streamkit._core.ids import EntryId
from streamkit._core.protocol import Command
from streamkit._core.slots import Address, Redirect, key_of, redirect_of, require_one_slot, slot_map, slot_of

HERE = ("10.0.0.1", 7000)


def same(address: Address) -> Address:
    return address


KEYS = st.text("ab:{}", min_size=1, max_size=8)


# Keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["orders", "{orders}:out", "a{b}c{d}", "{}x", "a{b", "ключ", "{ключ}:x"])
def test_a_slot_is_that_of_the_key_or_of_its_tag(key: str) -> None:
    assert slot_of(key) == key_slot(key.encode())


def test_keys_of_one_tag_share_a_slot() -> None:
    require_one_slot("emit", "orders", "{orders}:out", "{orders}:errors")
    require_one_slot("emit", "{a}:x")


def test_keys_of_several_slots_are_refused_with_a_way_out() -> None:
    message = (
        "emit to 'totals': on a Redis Cluster one atomic step touches keys of one slot, and 'totals' is in another one "
        "than 'orders:eu'; give all of them the same tag in braces, such as '{orders}:eu' and '{orders}:totals'"
    )
    with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}$"):
        require_one_slot("emit to 'totals'", "orders:eu", "totals")
    with pytest.raises(InvalidArgument, match=r"and 'b', 'c' are in another one than '{a}:x'.*'{a}:x' and '{a}:b'$"):
        require_one_slot("emit", "{a}:x", "b", "{a}:y", "c")


def test_a_partition_gets_its_own_name_as_its_tag() -> None:
    with pytest.raises(InvalidArgument, match=r"such as '{temps}:once:k' and '{temps}:20250101'$"):
        require_one_slot("idempotency_key", "{temps}:once:k", "temps:20250101")


@given(KEYS, KEYS)
@example(":x", "b")
@example("{}x", "}")
@example("a{b}", "c{d}{b}")
@example("{a", "b")
@example("orders:eu", "{orders}:out")
def test_what_is_proposed_shares_a_slot(key: str, other: str) -> None:
    if slot_of(key) == slot_of(other):
        require_one_slot("emit", key, other)
        return
    with pytest.raises(InvalidArgument) as refused:
        require_one_slot("emit", key, other)
    first, second = re.findall(r"such as '(.*)' and '(.*)'$", str(refused.value))[0]
    assert slot_of(first) == slot_of(second)
    for proposed, given_key in ((first, key), (second, other)):
        assert "{" in proposed
        assert proposed.replace("{", "").replace("}", "").endswith(given_key.replace("{", "").replace("}", ""))


# Commands -----------------------------------------------------------------------------------------------------------

ZERO = EntryId(0)
COMMANDS: list[tuple[Command, str | None]] = [
    (commands.TIME, None),
    (commands.INFO_SERVER, None),
    (commands.HAS_XACKDEL, None),
    (("CLUSTER", "SLOTS"), None),
    (("ASKING",), None),
    (commands.xlen("k"), "k"),
    (commands.unlink("k"), "k"),
    (commands.xinfo_stream("k"), "k"),
    (commands.xgroup_create("k", "g", "$"), "k"),
    (commands.xread("k", ZERO, 10), "k"),
    (commands.xread("STREAMS", ZERO, 10, block_ms=5), "STREAMS"),
    (commands.xreadgroup(["k"], "g", "c", 10), "k"),
    (commands.xreadgroup(["k", "{k}"], "STREAMS", "STREAMS", 10, 5), "k"),
    (scripts.APPEND.call(("k", "{k}:appends"), (1, 2), known=True), "k"),
    (scripts.APPEND.call(("k",), (), known=False), "k"),
    (("XLEN", b"\xd0\xba"), "к"),
]


@pytest.mark.parametrize(("command", "key"), COMMANDS, ids=lambda each: str(each)[:30])
def test_the_key_of_each_command_is_found(command: Command, key: str | None) -> None:
    assert key_of(command) == key


# Redirects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "redirect"),
    [
        (exceptions.MovedError("3999 10.0.0.2:7001"), Redirect(3999, ("10.0.0.2", 7001), asking=False)),
        (exceptions.AskError("3999 10.0.0.2:7001"), Redirect(3999, ("10.0.0.2", 7001), asking=True)),
        (exceptions.ResponseError("MOVED 3999 10.0.0.2:7001"), Redirect(3999, ("10.0.0.2", 7001), asking=False)),
        (exceptions.ResponseError("ASK 1 node-2.example:7001"), Redirect(1, ("node-2.example", 7001), asking=True)),
        (exceptions.MovedError("MOVED 1 ::1:7001"[6:]), Redirect(1, ("::1", 7001), asking=False)),
        (exceptions.MovedError("1 :7001"), Redirect(1, ("", 7001), asking=False)),
        (exceptions.MovedError("1 ?:7001"), Redirect(1, ("", 7001), asking=False)),
    ],
)
def test_a_redirect_is_read_from_an_error(reply: Any, redirect: Redirect) -> None:
    assert redirect_of(reply) == redirect


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"MOVED 3999 10.0.0.2:7001",
        [b"x"],
        exceptions.ResponseError(""),
        exceptions.ResponseError("MOVED to a better place"),
        exceptions.ResponseError("MOVED on"),
        exceptions.ResponseError("WRONGTYPE 1 x:1"),
        exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    ],
)
def test_anything_else_is_none(reply: Any) -> None:
    assert redirect_of(reply) is None


# Who serves what ----------------------------------------------------------------------------------------------------


def test_a_map_says_who_serves_a_slot() -> None:
    reply: Any = [
        [5461, 10922, [b"10.0.0.2", 7001, b"id", []], [b"10.0.0.9", 7009, b"id", []]],
        [0, 5459, [b"", 7000, b"id"]],
        [10923, 16382, [b"10.0.0.2", 7001, b"id"]],
        [16383, 16383, [None, 7003, b"id"]],
        [5460, 5460, ["?", 7004, "id"]],
    ]
    found = slot_map(reply, HERE, same)
    assert found.nodes == [HERE, ("10.0.0.1", 7004), ("10.0.0.2", 7001), ("10.0.0.1", 7003)]
    owners = [found.owner(slot) for slot in (0, 5459, 5460, 5461, 16382, 16383)]
    assert owners == [HERE, HERE, ("10.0.0.1", 7004), ("10.0.0.2", 7001), ("10.0.0.2", 7001), ("10.0.0.1", 7003)]


def test_nobody_may_serve_a_slot() -> None:
    reply: Any = [[10, 20, [b"a", 1]], [30, 40, [b"b", 2]]]
    found = slot_map(reply, HERE, same)
    assert [found.owner(slot) for slot in (0, 9, 10, 20, 21, 29, 30, 40, 41)] == [
        *(None, None),
        *(("a", 1), ("a", 1)),
        *(None, None),
        *(("b", 2), ("b", 2)),
        None,
    ]
    nothing: Any = None
    assert slot_map(nothing, HERE, same).nodes == []
    assert slot_map([], HERE, same).owner(0) is None


def test_a_redirect_is_remembered() -> None:
    reply: Any = [[0, 16383, [b"a", 1]]]
    found = slot_map(reply, HERE, same)
    found.moved(7, ("b", 2))
    found.moved(8, ("b", 2))
    assert found.nodes == [("a", 1), ("b", 2)]
    assert [found.owner(slot) for slot in (6, 7, 8, 9)] == [("a", 1), ("b", 2), ("b", 2), ("a", 1)]


def test_a_client_may_reach_nodes_by_other_addresses() -> None:
    reply: Any = [[0, 10, [b"172.17.0.2", 6379]], [11, 20, [b"", 6380]]]
    found = slot_map(reply, HERE, lambda address: ("127.0.0.1", address[1] + 1))
    assert found.nodes == [("127.0.0.1", 6380), ("127.0.0.1", 6381)]
