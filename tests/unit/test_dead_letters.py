"""Dead letters: where an entry came from, then its own fields, untouched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from streamkit._core.codecs import JsonCodec, RawCodec, undecodable
from streamkit._core.dead_letters import MAXLEN, Cause, DeadLetter, Provenance, read_letter, undecodable_letter
from streamkit._core.effects import Emit
from streamkit._core.errors import DecodeError
from streamkit._core.ids import EntryId
from streamkit._core.protocol import to_bytes
from streamkit._core.times import from_ms
from streamkit._core.trimming import Trimming


def broken(*flat: bytes, reason: Exception) -> DecodeError:
    error = undecodable("orders", b"5-1", list(flat), reason)
    error.__cause__ = reason
    return error


def pairs(letter: Emit) -> list[tuple[bytes, bytes]]:
    words = iter(map(to_bytes, letter.fields))
    return list(zip(words, words, strict=True))


PROVENANCE = [
    (b"streamkit:stream", b"orders"),
    (b"streamkit:id", b"5-1"),
    (b"streamkit:cause", b"undecodable"),
    (b"streamkit:error_type", b"ValueError"),
    (b"streamkit:error", b"no brace"),
    (b"streamkit:reader", b"agg_state"),
    (b"streamkit:at", b"1735689600000"),
]


def letter_of(error: DecodeError) -> Emit:
    return undecodable_letter("{agg_state}:dead-letters", error, "agg_state", 1_735_689_600_000)


def test_a_letter_tells_its_provenance_and_then_the_entry_as_it_was() -> None:
    letter = letter_of(broken(b"data", b"\xff{", b"n", b"1", reason=ValueError("no brace")))
    assert pairs(letter) == [*PROVENANCE, (b"data", b"\xff{"), (b"n", b"1")]
    assert (letter.key, letter.entry_id) == ("{agg_state}:dead-letters", "*")


def test_fields_that_repeat_are_all_kept() -> None:
    letter = letter_of(broken(b"a", b"1", b"a", b"2", reason=ValueError("no brace")))
    assert pairs(letter)[-2:] == [(b"a", b"1"), (b"a", b"2")]


def test_the_fields_of_an_older_dead_letter_do_not_replace_the_provenance() -> None:
    letter = letter_of(broken(b"streamkit:stream", b"older", reason=ValueError("no brace")))
    assert pairs(letter) == [*PROVENANCE, (b"streamkit:stream", b"older")]


def test_the_reason_is_cut_so_that_it_cannot_fill_the_stream() -> None:
    letter = letter_of(broken(b"a", b"1", reason=ValueError("x" * 5000)))
    assert dict(pairs(letter))[b"streamkit:error"] == b"x" * 1000


def test_a_reason_that_is_no_text_does_not_stop_the_letter() -> None:
    letter = letter_of(broken(b"a", b"1", reason=ValueError("\ud800")))
    assert dict(pairs(letter))[b"streamkit:error"] == b"?"
    assert letter.size > 0


def test_the_stream_of_letters_has_a_bound() -> None:
    assert letter_of(broken(b"a", b"1", reason=ValueError())).target.trimming == Trimming(maxlen=MAXLEN)


# Provenance and back ------------------------------------------------------------------------------------------------

NOW = 1_735_689_600_000
WHOLE = Provenance(
    "orders",
    "5-1",
    Cause.EXHAUSTED,
    reason="no such card",
    error=ValueError("card 7"),
    group="billing",
    consumer="worker-1",
    attempt=5,
    redrives=2,
)


def flat(provenance: Provenance, *fields: bytes) -> list[bytes]:
    return [*map(to_bytes, provenance.fields(NOW)), *fields]


def letter(provenance: Provenance, *fields: bytes) -> DeadLetter:
    return read_letter(b"9-0", flat(provenance, *fields))


def test_provenance_is_written_in_order_and_what_is_absent_is_left_out() -> None:
    assert WHOLE.fields(NOW) == (
        *("streamkit:stream", "orders"),
        *("streamkit:id", "5-1"),
        *("streamkit:cause", "exhausted"),
        *("streamkit:reason", b"no such card"),
        *("streamkit:error_type", "ValueError"),
        *("streamkit:error", b"card 7"),
        *("streamkit:group", "billing"),
        *("streamkit:consumer", "worker-1"),
        *("streamkit:attempt", 5),
        *("streamkit:redrives", 2),
        *("streamkit:at", NOW),
    )
    assert Provenance("orders", "5-1", Cause.TRIMMED).fields(NOW) == (
        *("streamkit:stream", "orders"),
        *("streamkit:id", "5-1"),
        *("streamkit:cause", "trimmed"),
        *("streamkit:at", NOW),
    )


def test_a_script_may_add_the_end_itself() -> None:
    first = Provenance("orders", "5-1", Cause.REJECTED)
    assert (*first.fields_before_at(), "streamkit:at", NOW) == first.fields(NOW)


def test_entries_that_were_never_read_are_a_count_and_a_span() -> None:
    unread = Provenance("orders", "", Cause.UNREAD, group="billing", count=12, first="1-0", last="4-1")
    assert unread.fields_before_at()[6:] == (
        *("streamkit:count", 12),
        *("streamkit:first", "1-0"),
        *("streamkit:last", "4-1"),
    )
    read = letter(unread)
    assert (read.entry_id, read.count, read.first, read.last) == (None, 12, EntryId(1), EntryId(4, 1))
    assert (read.pairs, read.fields) == ((), {})


class Mute(Exception):
    """Has no text."""

    @override
    def __str__(self) -> str:
        msg = "no text"
        raise RuntimeError(msg)


def test_an_error_without_text_does_not_stop_the_letter() -> None:
    read = letter(Provenance("orders", "5-1", Cause.EXHAUSTED, error=Mute()))
    assert (read.error_type, read.error) == ("Mute", "<its text could not be had: RuntimeError>")
    assert letter(Provenance("orders", "5-1", Cause.EXHAUSTED, error=ValueError())).error_type == "ValueError"


def test_a_reason_is_cut_too() -> None:
    assert letter(Provenance("orders", "5-1", Cause.REJECTED, reason="x" * 5000)).reason == "x" * 1000


def test_a_letter_is_read_as_it_was_written() -> None:
    assert letter(WHOLE, b"n", b"1", b"n", b"2") == DeadLetter(
        id=EntryId(9),
        stream="orders",
        entry_id=EntryId(5, 1),
        cause=Cause.EXHAUSTED,
        reason="no such card",
        error_type="ValueError",
        error="card 7",
        group="billing",
        consumer="worker-1",
        reader=None,
        attempt=5,
        redrives=2,
        time=from_ms(NOW),
        pairs=(b"n", b"1", b"n", b"2"),
    )
    assert letter(WHOLE, b"n", b"1", b"n", b"2").fields == {b"n": b"2"}


def test_a_readers_letter_is_read_as_well() -> None:
    words = letter_of(broken(b"data", b"\xff{", reason=ValueError("no brace"))).fields
    read = read_letter(b"9-0", [to_bytes(word) for word in words])
    assert (read.reader, read.group, read.consumer, read.cause) == ("agg_state", None, None, Cause.UNDECODABLE)
    assert (read.error_type, read.error, read.pairs) == ("ValueError", "no brace", (b"data", b"\xff{"))


def test_what_follows_the_time_is_the_entry_even_if_it_was_a_letter_itself() -> None:
    older = flat(WHOLE, b"n", b"1")
    read = letter(Provenance("{orders}:dead-letters", "9-0", Cause.REJECTED), *older)
    assert read.pairs == tuple(older)
    assert (read.stream, read.attempt) == ("{orders}:dead-letters", 0)


def test_the_value_is_decoded_by_a_codec() -> None:
    codec: JsonCodec[dict[str, int]] = JsonCodec()
    assert letter(WHOLE, b"data", b'{"n": 1}').decode(codec) == {"n": 1}
    assert letter(WHOLE, b"\xff", b"\xfe").decode(RawCodec()) == {b"\xff": b"\xfe"}
    with pytest.raises(DecodeError, match="entry 5-1 of 'orders' cannot be decoded: KeyError") as caught:
        letter(WHOLE, b"n", b"1").decode(codec)
    assert caught.value.fields == (b"n", b"1")
    with pytest.raises(DecodeError, match="entry  of 'orders'"):
        letter(Provenance("orders", "", Cause.UNREAD, count=1)).decode(codec)


@pytest.mark.parametrize(
    "words",
    [
        [],
        [b"n", b"1"],
        [b"streamkit:stream", b"orders"],
        [b"streamkit:stream", b"orders", b"n", b"1", b"streamkit:at", b"5"],
        [b"streamkit:at", b"5"],
        [b"streamkit:cause", b"rejected", b"streamkit:at", b"5"],
        [b"streamkit:stream", b"orders", b"streamkit:at", b"5"],
        [b"streamkit:stream", b"orders", b"streamkit:cause", b"boredom", b"streamkit:at", b"5"],
        [b"streamkit:stream", b"orders", b"streamkit:cause", b"rejected", b"streamkit:at", b"noon"],
        [b"streamkit:stream", b"o", b"streamkit:id", b"x", b"streamkit:cause", b"rejected", b"streamkit:at", b"5"],
        [b"\xff", b"\xff"],
    ],
)
def test_what_has_no_provenance_is_no_letter(words: list[bytes]) -> None:
    with pytest.raises(ValueError):
        read_letter(b"9-0", words)


TEXT = st.text(max_size=20)


@given(
    st.builds(
        Provenance,
        TEXT.filter(bool),
        st.just("5-1"),
        st.sampled_from(Cause),
        reason=TEXT,
        group=TEXT,
        consumer=TEXT,
        attempt=st.integers(0, 99),
        redrives=st.integers(0, 99),
    ),
    st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))),
)
def test_any_provenance_comes_back(provenance: Provenance, fields: list[Any]) -> None:
    words = tuple(word for pair in fields for word in pair)
    read = letter(provenance, *words)
    assert read.pairs == words
    assert (read.stream, read.cause, read.reason) == (provenance.stream, provenance.cause, provenance.reason)
    assert (read.group or "", read.consumer or "") == (provenance.group, provenance.consumer)
    assert (read.attempt, read.redrives) == (provenance.attempt, provenance.redrives)
