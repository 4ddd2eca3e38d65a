"""Replies: the same values whatever the protocol, RESP2's flat lists and RESP3's maps alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.ids import EntryId
from streamkit._core.replies import (
    ServerFacts,
    StreamFacts,
    entries_of_one,
    mapping,
    milliseconds,
    raise_error,
    server_facts,
    stream_facts,
    text,
    texts,
)

XINFO: dict[bytes, Any] = {
    b"length": 2,
    b"radix-tree-keys": 1,
    b"last-generated-id": b"5-1",
    b"max-deleted-entry-id": b"3-0",
    b"entries-added": 4,
    b"groups": 1,
    b"first-entry": [b"4-0", [b"temp_f", b"41"]],
    b"last-entry": [b"5-1", [b"temp_f", b"42"]],
}


def shapes(fields: dict[bytes, Any]) -> list[Any]:
    """The reply under RESP3, and under RESP2."""
    return [fields, [word for pair in fields.items() for word in pair]]


@pytest.mark.parametrize("reply", shapes(XINFO))
class TestStreamFacts:
    def test_are_read_in_both_shapes(self, reply: Any) -> None:
        assert stream_facts(reply) == StreamFacts(
            length=2,
            last_id=EntryId(5, 1),
            first_id=EntryId(4),
            entries_added=4,
            max_deleted_id=EntryId(3),
            groups=1,
            window=None,
        )


@pytest.mark.parametrize("reply", shapes({**XINFO, b"length": 0, b"first-entry": None, b"last-entry": None}))
def test_an_empty_stream_has_no_first_entry(reply: Any) -> None:
    facts = stream_facts(reply)
    assert facts is not None
    assert (facts.length, facts.first_id, facts.last_id) == (0, None, EntryId(5, 1))


@pytest.mark.parametrize("reply", shapes({**XINFO, b"idmp-duration": 600, b"idmp-maxsize": 10_000}))
def test_a_server_with_native_idempotency_shows_its_window(reply: Any) -> None:
    facts = stream_facts(reply)
    assert facts is not None
    assert facts.window == (600, 10_000)


def test_a_key_that_does_not_exist_has_no_facts() -> None:
    assert stream_facts(RuntimeError("no such key")) is None
    assert stream_facts(RuntimeError("ERR no such key")) is None


def test_another_error_is_raised() -> None:
    with pytest.raises(RuntimeError, match="WRONGTYPE"):
        stream_facts(RuntimeError("WRONGTYPE Operation against a key holding the wrong kind of value"))


@given(st.dictionaries(st.binary(), st.binary()))
def test_a_map_is_the_same_in_both_shapes(fields: dict[bytes, bytes]) -> None:
    assert [mapping(shape) for shape in shapes(fields)] == [fields, fields]


def test_a_list_that_is_no_map_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        mapping([b"a"])


class TestEntries:
    ENTRIES = [(b"5-0", [b"a", b"1"]), (b"5-1", [b"a", b"2"])]  # noqa: RUF012 - not changed

    def test_of_one_stream_are_read_in_both_shapes(self) -> None:
        for reply in ([[b"s", self.ENTRIES]], {b"s": self.ENTRIES}):
            assert entries_of_one(reply) == self.ENTRIES

    @pytest.mark.parametrize("reply", [None, [], {}])
    def test_a_read_that_found_nothing_gives_none(self, reply: Any) -> None:
        assert entries_of_one(reply) == []

    def test_two_streams_are_not_one(self) -> None:
        for reply in ([[b"a", self.ENTRIES], [b"b", self.ENTRIES]], {b"a": self.ENTRIES, b"b": self.ENTRIES}):
            with pytest.raises(ValueError, match="too many values"):
                entries_of_one(reply)

    def test_an_error_is_raised(self) -> None:
        with pytest.raises(RuntimeError):
            entries_of_one(RuntimeError("WRONGTYPE"))


@pytest.mark.parametrize(
    ("reply", "ms"),
    [([b"1735689600", b"999"], 1_735_689_600_000), ([b"1735689600", b"1999"], 1_735_689_600_001), ([5, 0], 5000)],
)
def test_the_clock_is_read_in_whole_milliseconds(reply: list[Any], ms: int) -> None:
    assert milliseconds(reply) == ms


@pytest.mark.parametrize(("reply", "read"), [(b"OK", "OK"), ("OK", "OK"), (5, "5")])
def test_text_is_text_in_every_shape(reply: Any, read: str) -> None:
    assert text(reply) == read
    assert texts([reply, reply]) == [read, read]


@pytest.mark.parametrize("read", [raise_error, text, texts, milliseconds, mapping])
def test_an_error_reply_is_never_taken_for_a_value(read: Any) -> None:
    with pytest.raises(RuntimeError, match="ERR x"):
        read(RuntimeError("ERR x"))


def test_a_value_is_no_error() -> None:
    assert raise_error([b"OK"]) == [b"OK"]


class TestServers:
    def test_redis_is_known_by_its_version(self) -> None:
        facts = server_facts(
            b"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n", b"maxmemory_policy:allkeys-lru\r\n"
        )
        assert facts == ServerFacts("7.0.15", 7, "allkeys-lru")

    def test_valkey_by_its_own_and_by_the_one_it_is_compatible_with(self) -> None:
        facts = server_facts(
            "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n", "maxmemory_policy:noeviction"
        )
        assert facts == ServerFacts("9.1.2", 7, "noeviction")

    def test_what_does_not_say_is_taken_for_the_oldest(self) -> None:
        assert server_facts(b"", b"").major == 0

    def test_a_value_may_hold_a_colon(self) -> None:
        assert server_facts(b"executable:C:\\redis\r\nredis_version:8.2.3\r\n", b"").version == "8.2.3"

    def test_an_error_is_raised(self) -> None:
        with pytest.raises(RuntimeError):
            server_facts(RuntimeError("NOPERM"), b"")
