"""Dead letters: where an entry came from, then its own fields, untouched."""

from __future__ import annotations

from streamkit._core.codecs import undecodable
from streamkit._core.dead_letters import MAXLEN, undecodable_letter
from streamkit._core.effects import Emit
from streamkit._core.errors import DecodeError
from streamkit._core.protocol import to_bytes
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
