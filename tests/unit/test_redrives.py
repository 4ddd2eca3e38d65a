"""Redrives: which letters are meant, the call that moves them, what became of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from streamkit._core.appends import Target
from streamkit._core.dead_letters import Cause, Provenance, read_letter
from streamkit._core.errors import InvalidArgument, InvalidEntryId, NaiveDatetime, RedriveFailed, WrongKeyType
from streamkit._core.ids import ZERO, EntryId
from streamkit._core.periods import Partitioning, Period
from streamkit._core.protocol import to_bytes
from streamkit._core.redrives import (
    MEMORY_MS,
    MOVES,
    Move,
    Selection,
    Tally,
    Terms,
    ids_of,
    places_of,
    read_outcomes,
    redrive_call,
    require_one_choice,
)
from streamkit._core.replaying import GREATEST
from streamkit._core.trimming import Trimming

NOON = datetime(2025, 1, 1, 12, tzinfo=timezone.utc)
NOON_MS = 1_735_732_800_000


def letter(group: str, cause: Cause) -> Any:
    return read_letter(b"9-0", [to_bytes(word) for word in Provenance("orders", "5-1", cause, group=group).fields(5)])


class TestSelection:
    @pytest.mark.parametrize(
        ("start", "end", "first", "last"),
        [
            (None, None, ZERO, GREATEST),
            (EntryId(5, 1), EntryId(6), EntryId(5, 1), EntryId(6)),
            ("5-1", "6-0", EntryId(5, 1), EntryId(6)),
            ("5", "6", EntryId(5), EntryId(7).before()),
            (NOON, NOON, EntryId(NOON_MS), EntryId(NOON_MS).before()),
            (None, datetime(1970, 1, 1, tzinfo=timezone.utc), ZERO, ZERO),
        ],
    )
    def test_an_end_that_is_an_id_is_included_and_a_time_is_not(
        self, start: Any, end: Any, first: EntryId, last: EntryId
    ) -> None:
        selection = Selection.of("letters", None, None, start, end)
        assert (selection.first, selection.last) == (first, last)
        assert selection.everything is (start is end is None)

    def test_ends_where_it_is_told_to(self) -> None:
        assert Selection.of("letters", None, None, None, "7-0").until(EntryId(5)).last == EntryId(5)
        assert Selection.of("letters", None, None, None, "7-0").until(EntryId(9)).last == EntryId(7)

    def test_takes_what_was_asked_for(self) -> None:
        both = Selection.of("letters", "billing", Cause.REJECTED, None, None)
        assert both.takes(letter("billing", Cause.REJECTED))
        assert not both.takes(letter("shipping", Cause.REJECTED))
        assert not both.takes(letter("billing", Cause.EXHAUSTED))
        assert Selection.of("letters", "billing", None, None, None).takes(letter("billing", Cause.EXHAUSTED))
        assert Selection.of("letters", None, Cause.REJECTED, None, None).takes(letter("shipping", Cause.REJECTED))
        assert Selection().takes(letter("shipping", Cause.EXHAUSTED))

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ((None, "rejected", None, None), InvalidArgument, "cause must be a Cause, such as Cause.REJECTED"),
            ((None, None, 5, None), InvalidArgument, "start must be a datetime, an EntryId, a str or None, not 5"),
            ((None, None, None, 5.0), InvalidArgument, "end must be a datetime"),
            ((None, None, "$", None), InvalidEntryId, "what is still to come"),
            ((None, None, "noon", None), InvalidArgument, "neither an entry ID nor the key 'letters'"),
            ((None, None, "6", "5"), InvalidArgument, "start '6' is later than end '5'"),
            ((None, None, None, datetime(2025, 1, 1)), NaiveDatetime, "no time zone"),  # noqa: DTZ001 - the point
        ],
    )
    def test_refuses_what_it_cannot_understand(self, arguments: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            Selection.of("letters", *arguments)

    def test_is_not_combined_with_ids(self) -> None:
        require_one_choice(None, Selection.of("letters", "billing", None, None, None))
        require_one_choice(["5-1"], Selection.of("letters", None, None, None, None))
        with pytest.raises(InvalidArgument, match="give either ids or group, cause, start and end"):
            require_one_choice([], Selection.of("letters", "billing", None, None, None))


def test_ids_are_sorted_and_each_comes_once() -> None:
    assert ids_of(["9-1", EntryId(5), "5-0", "9"]) == [(EntryId(5), ""), (EntryId(9), ""), (EntryId(9, 1), "")]
    assert ids_of([]) == []
    lying = replace(letter("billing", Cause.REJECTED), key="a")
    assert ids_of([lying, "9-0", lying]) == [(EntryId(9), ""), (EntryId(9), "a")]
    for single in ("5-1", b"5-1", lying):
        with pytest.raises(InvalidArgument, match=r"for a single one write \[(b?'5-1'|DeadLetter\(.*)\]"):
            ids_of(single)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidEntryId):
        ids_of(["x"])


class TestPlaces:
    def test_of_one_key(self) -> None:
        assert places_of(ids_of(["9", "5"]), {"a": {EntryId(9), EntryId(5)}}) == {"a": [EntryId(5), EntryId(9)]}

    def test_of_several_keys(self) -> None:
        lying = replace(letter("billing", Cause.REJECTED), key="b")
        found = {"a": {EntryId(5)}, "b": set[EntryId](), "c": {EntryId(7)}}
        assert places_of(ids_of(["7", lying, "5", "4"]), found) == {
            "a": [EntryId(5)],
            "b": [EntryId(9)],
            "c": [EntryId(7)],
        }

    def test_an_id_of_several_letters_is_refused(self) -> None:
        with pytest.raises(
            InvalidArgument, match="5-0 is the ID of 2 letters, in 'a', 'b'; give the letters themselves"
        ):
            places_of(ids_of(["5"]), {"a": {EntryId(5)}, "b": {EntryId(5)}})

    def test_a_letter_of_another_queue_is_refused(self) -> None:
        lying = replace(letter("billing", Cause.REJECTED), key="b")
        with pytest.raises(InvalidArgument, match="letter 9-0 lies in 'b', and this queue has 'a', 'c'"):
            places_of(ids_of([lying]), {"a": set(), "c": set()})
        with pytest.raises(InvalidArgument, match="and this queue has no key"):
            places_of(ids_of([lying]), {})


class TestTerms:
    @pytest.mark.parametrize(
        ("terms", "message"),
        [
            ({"limit": -1}, "limit must be zero or more, not -1"),
            ({"rate": 0}, "rate must be above zero letters per second, not 0"),
            ({"rate": float("nan")}, "rate must be above zero"),
            ({"max_redrives": 0}, "max_redrives must be 1 or more, not 0"),
        ],
    )
    def test_out_of_range_are_refused(self, terms: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidArgument, match=message):
            Terms(**terms)

    def test_leave_room_for_a_page_or_up_to_the_limit(self) -> None:
        assert Terms().room(12_345) == MOVES
        assert Terms(limit=150).room(100) == 50
        assert Terms(limit=0).room(0) == 0

    def test_with_a_rate_call_often_for_few(self) -> None:
        assert [Terms(rate=rate).room(0) for rate in (0.5, 9, 50, 100_000)] == [1, 1, 5, MOVES]
        assert Terms(rate=50).due(0) == 0
        assert Terms(rate=50).due(100) == 2
        assert Terms().due(100) == 0

    def test_of_a_dry_run_need_no_rate(self) -> None:
        dry = Terms(rate=1, dry_run=True)
        assert (dry.room(0), dry.due(100)) == (MOVES, 0)


def test_the_call_names_each_target_once() -> None:
    days = Partitioning.of("days", Period.DAY, timedelta(days=2), None)
    today = days.at(NOON_MS)
    moves = [
        Move(EntryId(1), Target("orders"), create=False),
        Move(EntryId(2), Target("clicks", trimming=Trimming(maxlen=5)), create=True),
        Move(EntryId(3), Target("orders"), create=False),
        Move(EntryId(4), Target(today.key, today, days), create=True),
    ]
    keys, words = redrive_call("letters", moves, dry_run=False)
    assert keys == (
        "letters",
        *("orders", "{orders}:redrives"),
        *("clicks", "{clicks}:redrives"),
        *("days:20250101", "{days:20250101}:redrives"),
    )
    assert words == (
        *("", MEMORY_MS, 3),
        *("", "", "", "", "", "", "", "", ""),
        *("create", "", "", "", "", "MAXLEN", "~", 5, ""),
        *("create", today.start, today.end, 172_800_000, 86_400_000, "", "", "", ""),
        *("1-0", 1, "2-0", 2, "3-0", 1, "4-0", 3),
    )
    assert redrive_call("letters", moves, dry_run=True)[1][0] == "dry"


def test_what_the_script_answers() -> None:
    assert read_outcomes([b"OK", b"MOVED", b"GONE"]) == ["MOVED", "GONE"]
    assert read_outcomes([b"PERIOD", b"1735732800000"]) == NOON_MS
    with pytest.raises(WrongKeyType, match="the key 'orders' holds a hash, not a stream"):
        read_outcomes([b"TYPE", b"orders", b"hash"])
    with pytest.raises(WrongKeyType, match=r"the key '{orders}:redrives' holds a string, not a zset"):
        read_outcomes([b"RECORD", b"{orders}:redrives", b"string"])
    with pytest.raises(ValueError, match="as it came"):
        read_outcomes(ValueError("as it came"))


class TestTally:
    def moves(self, *streams: str) -> list[Move]:
        return [Move(EntryId(n), Target(stream), create=False) for n, stream in enumerate(streams, start=1)]

    def test_counts_what_was_moved(self) -> None:
        tally = Tally()
        tally.settle(self.moves("a", "a", "b"), ["MOVED", "GONE", "EMPTY"], repeated=False)
        assert tally.result() == 1

    def test_counts_what_is_gone_if_an_earlier_try_may_have_moved_it(self) -> None:
        tally = Tally()
        tally.settle(self.moves("a", "a"), ["GONE", "GONE"], repeated=True)
        assert tally.result() == 2

    def test_tells_which_streams_are_gone(self) -> None:
        tally = Tally()
        tally.settle(self.moves("a", "b", "a", "c"), ["NONE", "MOVED", "NONE", "ERR full"], repeated=False)
        tally.fail("a", "")
        with pytest.raises(
            RedriveFailed, match=r"the stream 'a' does not exist any more.*say where.* with to="
        ) as caught:
            tally.result()
        assert "the stream 'c' refused an entry: ERR full" in str(caught.value)
        error = caught.value
        assert (error.streams, error.left, error.redriven) == (("a", "c"), 4, 1)
        assert str(error).endswith("(dead letters left so: 4; moved by this call: 1)")

    def test_does_not_tell_all_of_many(self) -> None:
        tally = Tally()
        for n in range(7):
            tally.fail(f"s{n}", "is full")
        with pytest.raises(RedriveFailed, match="the stream 's2' is full; and 4 streams more"):
            tally.result()

    def test_tells_which_letters_have_nothing_to_move(self) -> None:
        tally = Tally(moved=2, empty=[EntryId(5), EntryId(6)])
        with pytest.raises(RedriveFailed, match="5-0, 6-0 have no fields to move back") as caught:
            tally.result()
        assert (caught.value.left, caught.value.redriven, caught.value.streams) == (2, 2, ())
        tally.empty += [EntryId(7), EntryId(8)]
        with pytest.raises(RedriveFailed, match="5-0, 6-0, 7-0 and more have no fields"):
            tally.result()
