"""Appends: values become chunks that lose and reorder nothing, and the server's answers become errors that say why."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit._core.appends import (
    CHUNK,
    CHUNK_BYTES,
    FIRST_CHUNK,
    NATIVE_BOUND,
    PACKED,
    Answer,
    Chunk,
    Chunker,
    Guard,
    Sizer,
    Target,
    with_progress,
)
from streamkit._core.codecs import MOST_FIELDS, TEXT, Encoded, JsonCodec
from streamkit._core.errors import (
    AheadOfTime,
    EncodeError,
    InvalidArgument,
    NaiveDatetime,
    OutOfOrder,
    RetentionExceeded,
    ServerUnavailable,
    WrongKeyType,
)
from streamkit._core.periods import Partitioning, Period
from streamkit._core.protocol import to_bytes
from streamkit._core.scripts import APPEND
from streamkit._core.times import from_ms, to_ms
from streamkit._core.trimming import Trimming

MIDNIGHT = to_ms(datetime(2025, 1, 2, tzinfo=timezone.utc))
HOUR = 3_600_000
TEMPS = Partitioning.of("temps", Period.HOUR, timedelta(days=2), timedelta(hours=6))


def temps_at(ms: int, *, bump: bool = False) -> Target:
    partition = TEMPS.at(ms)
    return Target(partition.key, partition, TEMPS, bump=bump)


def route(*, bump: bool = False) -> Callable[[int | None], Target]:
    return lambda ms: temps_at(MIDNIGHT if ms is None else ms, bump=bump)


def numbered(*entries: Encoded, key: str = "s") -> Chunk:
    return Chunk(Target(key), entries, None, 0, 0)


class Arguments:
    """What append.lua reads from its arguments, read in the same way."""

    def __init__(self, arguments: Sequence[object]) -> None:
        self.guard = arguments[:5]
        self.partition = arguments[5:9]
        self.trimming = arguments[9:13]
        self.given = arguments[13] == "given"
        self.bump = arguments[14] == "bump"
        self.span = arguments[15:17]
        count, shared = arguments[17:19]
        assert isinstance(count, int)
        assert isinstance(shared, int)
        assert arguments[19] in {"packed", ""}
        self.packed = arguments[19] == "packed"
        names = arguments[20 : 20 + shared]
        words = iter(self.unpacked(*arguments[20 + shared :]) if self.packed else arguments[20 + shared :])
        self.ids: list[object] = []
        self.entries: list[list[tuple[object, object]]] = []
        for _ in range(count):
            if self.given:
                self.ids.append(next(words))
            if shared:
                self.entries.append([(name, next(words)) for name in names])
            else:
                size = next(words)
                assert isinstance(size, int)
                own = list(itertools.islice(words, size))
                self.entries.append(list(zip(own[::2], own[1::2], strict=True)))
        assert list(words) == []

    @staticmethod
    def unpacked(sizes: object, text: object) -> Iterator[str]:
        assert isinstance(sizes, bytes)
        assert isinstance(text, (str, bytes))
        stored = to_bytes(text)
        ends = list(itertools.accumulate(sizes, initial=0))
        assert ends[-1] == len(stored)
        return (stored[start:end].decode() for start, end in itertools.pairwise(ends))


SCALARS = st.sampled_from(["", "é", b"\xff", 0, -1, 1.5]) | st.text(max_size=3)
ENTRIES = st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS, min_size=1), min_size=1, max_size=5)
WORDS = st.text(max_size=3) | st.sampled_from(["x" * 255, "é" * 127])
ALIKE = st.lists(
    st.tuples(WORDS, WORDS).map(lambda pair: {"a": pair[0], "b": pair[1]}), min_size=1, max_size=2 * PACKED
)


class TestArguments:
    @given(ENTRIES | ALIKE, st.booleans())
    def test_the_script_reads_what_was_written(self, entries: list[dict[str, Any]], given_ids: bool) -> None:  # noqa: FBT001
        ids = [f"{5 + place}-*" for place in range(len(entries))] if given_ids else None
        read = Arguments(Chunk(Target("s"), entries, ids, 5, 4 + len(entries)).arguments(Guard()))
        assert read.entries == [list(entry.items()) for entry in entries]
        assert read.ids == (ids or [])
        assert read.span == ((5, 4 + len(entries)) if given_ids else ("", ""))

    def test_names_that_all_entries_share_are_sent_once(self) -> None:
        arguments = numbered({"temp_f": 1, "n": 2}, {"temp_f": 3, "n": 4}).arguments(Guard())
        assert arguments[-9:] == (2, 2, "", "temp_f", "n", 1, 2, 3, 4)

    def test_names_in_another_order_are_not_shared(self) -> None:
        read = Arguments(numbered({"a": 1, "b": 2}, {"b": 3, "a": 4}).arguments(Guard()))
        assert read.entries == [[("a", 1), ("b", 2)], [("b", 3), ("a", 4)]]

    def test_guard_partition_and_trimming_come_first(self) -> None:
        target = temps_at(MIDNIGHT, bump=True)
        chunk = Chunk(target, [{"a": 1}], [f"{MIDNIGHT}-*"], MIDNIGHT, MIDNIGHT)
        read = Arguments(chunk.arguments(Guard("chunk", "guard", "token:2", "token:1", 60_000)))
        assert read.guard == ("chunk", "token:2", "token:1", 60_000, NATIVE_BOUND)
        assert read.partition == (MIDNIGHT, MIDNIGHT + HOUR, 48 * HOUR, 6 * HOUR)
        assert read.trimming == ("", "", "", "")
        assert read.bump

    def test_a_capped_stream_has_trimming_and_no_partition(self) -> None:
        chunk = Chunk(Target("s", trimming=Trimming(maxlen=120)), [{"a": 1}], None, 0, 0)
        read = Arguments(chunk.arguments(Guard()))
        assert read.partition == ("", "", "", "")
        assert read.trimming == ("MAXLEN", "~", 120, "")
        assert not read.bump

    @pytest.mark.parametrize(
        "entries",
        [
            [{}],
            [{"a": 1}, {}],
            [{}, {"a": 1}],
            [{"a": 1}, {"a": None}],
            [{"a": 1}, {"b": None}],
            [{"a": True}],
            [{"a": 1}, {1: "a"}],
            [{1: "a"}],
            [{"a": 1}, {str(number): 1 for number in range(MOST_FIELDS + 1)}],
        ],
    )
    def test_what_redis_cannot_store_is_refused_wherever_it_is(self, entries: list[Any]) -> None:
        with pytest.raises(EncodeError, match="an entry for 's'"):
            numbered(*entries).arguments(Guard())

    def test_numbers_of_subclasses_are_written_as_numbers(self) -> None:
        class Reading(float):
            __slots__ = ()

            def __repr__(self) -> str:
                return "warm"

        (((_, value),),) = Arguments(numbered({"temp_f": Reading(41.5)}).arguments(Guard())).entries
        assert isinstance(value, (bytes, float))
        assert to_bytes(value) == b"41.5"


def followed_by(value: Any, *, entries: int = PACKED) -> Chunk:
    """Entries of a short text each, the last of which has another value."""
    return numbered(*[{"a": "x"}] * (entries - 1), {"a": value})


class TestPacked:
    @given(ALIKE, st.booleans())
    def test_entries_alike_are_packed_where_they_are_enough(self, entries: list[Encoded], given_ids: bool) -> None:  # noqa: FBT001
        ids = [f"{5 + place}-*" for place in range(len(entries))] if given_ids else None
        read = Arguments(Chunk(Target("s"), entries, ids, 5, 4 + len(entries)).arguments(Guard()))
        assert read.packed == (len(entries) >= PACKED)

    def test_ascii_travels_as_one_text_behind_its_lengths(self) -> None:
        chunk = Chunk(Target("s"), [{"n": "x", "m": ""}] * PACKED, ["5-*"] * PACKED, 5, 5)
        assert chunk.arguments(Guard())[-6:] == (
            2,
            "packed",
            "n",
            "m",
            bytes([3, 1, 0] * PACKED),
            "5-*x" * PACKED,
        )

    def test_lengths_are_those_of_the_bytes(self) -> None:
        lengths, words = followed_by("çö€").arguments(Guard())[-2:]
        assert lengths == bytes([1] * (PACKED - 1) + [7])
        assert words == b"x" * (PACKED - 1) + "çö€".encode()

    @pytest.mark.parametrize("value", ["", "x" * 255, "é" * 127, "x" + "é" * 127])
    def test_words_as_long_as_a_byte_can_say_are_packed(self, value: str) -> None:
        read = Arguments(followed_by(value).arguments(Guard()))
        assert read.packed
        assert read.entries[-1] == [("a", value)]

    @pytest.mark.parametrize("value", ["x" * 256, "é" * 128, b"x", 1, 1.5])
    def test_longer_ones_and_what_is_no_text_are_not(self, value: object) -> None:
        read = Arguments(followed_by(value).arguments(Guard()))
        assert not read.packed
        assert read.entries == [[("a", "x")]] * (PACKED - 1) + [[("a", value)]]

    def test_a_few_are_not(self) -> None:
        assert not Arguments(followed_by("x", entries=PACKED - 1).arguments(Guard())).packed

    def test_entries_that_differ_in_their_names_are_not(self) -> None:
        assert not Arguments(numbered(*[{"a": "x"}, {"b": "x"}] * PACKED).arguments(Guard())).packed

    def test_names_may_be_bytes(self) -> None:
        read = Arguments(numbered(*[{b"\xff": "x"}] * PACKED).arguments(Guard()))
        assert read.packed
        assert read.entries == [[(b"\xff", "x")]] * PACKED

    @pytest.mark.parametrize("entry", [{}, {1: "x"}, {str(number): "x" for number in range(MOST_FIELDS + 1)}])
    def test_entries_that_redis_cannot_store_are_refused_though_they_are_alike(self, entry: Any) -> None:
        with pytest.raises(EncodeError, match="an entry for 's'"):
            numbered(*[entry] * PACKED).arguments(Guard())

    @pytest.mark.parametrize("value", [None, True, ["x"]])
    def test_a_value_that_redis_cannot_store_is_refused_among_texts(self, value: object) -> None:
        with pytest.raises(EncodeError, match="the field 'a' of an entry for 's'"):
            followed_by(value).arguments(Guard())

    def test_text_of_subclasses_is_written_as_text(self) -> None:
        class Room(str, enum.Enum):
            ATTIC = "attic"

        entries: list[dict[str, str]] = [{Room.ATTIC: Room.ATTIC}] * PACKED
        packed = numbered(*entries).pack(Guard(), known=True)
        assert packed.endswith(b"$5\r\nattic\r\n$8\r\n" + b"\x05" * 8 + b"\r\n$40\r\n" + b"attic" * 8 + b"\r\n")


class TestCalls:
    def test_a_chunk_with_a_guard_declares_both_keys(self) -> None:
        guard = Guard("chunk", "{s}:appends", "token:1", "", 60_000)
        command = numbered({"a": 1}).command(guard, known=True)
        assert command[:5] == ("EVALSHA", APPEND.sha, 2, "s", "{s}:appends")

    def test_one_without_declares_the_streams(self) -> None:
        assert numbered({"a": 1}).command(Guard(), known=False)[:4] == ("EVAL", APPEND.source, 1, "s")

    def test_it_is_packed_to_be_sent(self) -> None:
        packed = numbered({"a": "x"}).pack(Guard(), known=True)
        assert packed.startswith(b"*")
        assert packed.endswith(b"$1\r\na\r\n$1\r\nx\r\n")

    def test_text_with_half_a_character_is_refused_before_anything_is_sent(self) -> None:
        with pytest.raises(EncodeError, match="'b' of an entry for 's'"):
            numbered({"a": "x", "b": "\ud800"}).pack(Guard(), known=True)
        with pytest.raises(EncodeError, match="'a' of an entry for 's'"):
            followed_by("\ud800").pack(Guard(), known=True)

    def test_a_key_with_half_a_character_is_an_error_too(self) -> None:
        with pytest.raises(UnicodeEncodeError):
            numbered({"a": "x"}, key="\ud800").pack(Guard(), known=True)


class TestAnswers:
    CHUNK = Chunk(temps_at(MIDNIGHT), [{"a": 1}], [f"{MIDNIGHT}-*"], MIDNIGHT, MIDNIGHT + 5)

    @pytest.mark.parametrize(
        ("reply", "answer"),
        [
            ([b"OK", b"5-1"], (Answer.WRITTEN, "5-1")),
            ([b"OK", b""], (Answer.WRITTEN, "")),
            ([b"CHAIN"], (Answer.CHAIN, "")),
            ([b"PERIOD", b"1735776000000"], (Answer.PERIOD, "1735776000000")),
        ],
    )
    def test_what_is_no_refusal_is_given_back(self, reply: list[bytes], answer: tuple[Answer, str]) -> None:
        assert self.CHUNK.answer(reply, Guard(), appended=0) == answer

    def test_a_key_of_another_type_is_named_with_what_it_holds(self) -> None:
        with pytest.raises(WrongKeyType, match="'temps:2025010200' holds a list, not a stream; use another name"):
            self.CHUNK.answer([b"TYPE", b"list"], Guard(), appended=0)

    def test_an_entry_out_of_order_names_both_ids_and_what_was_written(self) -> None:
        with pytest.raises(OutOfOrder) as caught:
            self.CHUNK.answer([b"ORDER", b"1735776000009-0"], Guard(), appended=7)
        assert (caught.value.entry_id, caught.value.newest) == ("1735776000000", "1735776000009-0")
        assert str(caught.value).startswith("entry 1735776000000 is not above 1735776000009-0, the newest entry of")
        assert str(caught.value).endswith("(entries of this call written before it: 7)")

    def test_an_entry_with_an_id_of_its_own_is_named_by_it(self) -> None:
        with pytest.raises(OutOfOrder, match="entry 5-3 is not above 5-4"):
            Chunk(Target("s"), [{"a": 1}], ["5-3"], 5, 5).answer([b"ORDER", b"5-4"], Guard(), appended=0)

    def test_one_that_the_server_numbers_is_named_by_a_star(self) -> None:
        with pytest.raises(OutOfOrder, match=r"entry \* is not above 5-4"):
            numbered({"a": 1}).answer([b"ORDER", b"5-4"], Guard(), appended=0)

    def test_an_entry_older_than_the_retention_is_told_where_to_begin(self) -> None:
        now = MIDNIGHT + 72 * HOUR
        with pytest.raises(RetentionExceeded, match="older than the retention of 2 days") as caught:
            self.CHUNK.answer([b"OLD", str(now).encode()], Guard(), appended=3)
        assert "the entry of 2025-01-02T00:00:00+00:00 for 'temps:2025010200'" in str(caught.value)
        assert "begin later than 2025-01-03T00:00:00+00:00 or raise retention" in str(caught.value)
        assert (caught.value.stream, caught.value.appended) == ("temps:2025010200", 3)

    def test_an_entry_too_far_ahead_is_told_the_servers_clock(self) -> None:
        with pytest.raises(AheadOfTime, match="more than 6:00:00 ahead") as caught:
            self.CHUNK.answer([b"AHEAD", str(MIDNIGHT - 7 * HOUR).encode()], Guard(), appended=0)
        assert "2025-01-02T00:00:00.005000+00:00" in str(caught.value)
        assert "2025-01-01T17:00:00+00:00" in str(caught.value)
        assert "mend the clock, or raise max_ahead" in str(caught.value)

    def test_a_guard_of_another_type_is_named_too(self) -> None:
        with pytest.raises(
            WrongKeyType, match=r"'\{s\}:appends' holds a string, not a guard of streamkit's own"
        ) as caught:
            numbered({"a": 1}).answer([b"GUARD", b"string"], Guard("chunk", "{s}:appends"), appended=0)
        assert caught.value.key == "{s}:appends"

    def test_an_error_reply_is_raised(self) -> None:
        with pytest.raises(RuntimeError, match="ERR x"):
            self.CHUNK.answer(RuntimeError("ERR x"), Guard(), appended=0)


def fed(values: Sequence[Any], chunker: Chunker[Any], sizes: Sequence[int]) -> Iterator[tuple[int, Chunk]]:
    """The chunks of values that come a few at a time, as append_many takes them, each with the number of its call."""
    cycle = itertools.cycle(sizes)
    at = 0
    for call in itertools.count():
        if at >= len(values):
            return
        size = next(cycle)
        yield from ((call, chunk) for chunk in chunker.chunks(values[at : at + size]))
        at += size


STEPS = st.lists(st.integers(0, 2 * HOUR) | st.integers(0, 3), max_size=40)
SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=3)


class TestChunker:
    @given(STEPS, SIZES)
    def test_loses_and_reorders_nothing_and_keeps_to_partitions(self, steps: list[int], sizes: list[int]) -> None:
        moments = [MIDNIGHT + ms for ms in itertools.accumulate(steps)]
        values = [{"n": str(number)} for number in range(len(moments))]
        chunker = Chunker(TEXT, route(), map(from_ms, moments))
        chunks = list(fed(values, chunker, sizes))
        assert [entry for _, chunk in chunks for entry in chunk.entries] == values
        assert [entry_id for _, chunk in chunks for entry_id in chunk.ids or ()] == [f"{ms}-*" for ms in moments]
        for _, chunk in chunks:
            assert chunk.target.partition is not None
            assert chunk.target.partition.start <= chunk.first_ms <= chunk.last_ms < chunk.target.partition.end
            assert chunk.ids is not None
            assert (f"{chunk.first_ms}-*", f"{chunk.last_ms}-*") == (chunk.ids[0], chunk.ids[-1])
        for (call, chunk), (next_call, following) in itertools.pairwise(chunks):
            assert call != next_call or chunk.target.key != following.target.key

    @given(st.lists(st.integers(0, 3 * HOUR), max_size=40), SIZES)
    def test_bumping_moves_what_is_late_behind_the_newest_and_keeps_the_order(
        self, offsets: list[int], sizes: list[int]
    ) -> None:
        moments = [MIDNIGHT + ms for ms in offsets]
        values = [{"ms": str(ms)} for ms in moments]
        chunker = Chunker(TEXT, route(bump=True), lambda value: from_ms(int(value["ms"])))
        chunks = [chunk for _, chunk in fed(values, chunker, sizes)]
        assert [entry for chunk in chunks for entry in chunk.entries] == values
        assert [entry_id for chunk in chunks for entry_id in chunk.ids or ()] == [
            f"{ms}-*" for ms in itertools.accumulate(moments, max)
        ]

    @given(st.lists(st.integers(0, 3 * HOUR), max_size=20), SIZES)
    def test_without_bumping_the_first_that_is_late_is_an_error(self, offsets: list[int], sizes: list[int]) -> None:
        moments = [MIDNIGHT + ms for ms in offsets]
        late = next((pair for pair in itertools.pairwise(moments) if pair[1] < pair[0]), None)
        chunks = fed(moments, Chunker(JsonCodec(), route(), from_ms), sizes)
        if late is None:
            assert sum(len(chunk.entries) for _, chunk in chunks) == len(moments)
            return
        with pytest.raises(OutOfOrder) as caught:
            list(chunks)
        assert (caught.value.entry_id, caught.value.newest) == (str(late[1]), f"{late[0]}-0")

    def test_cuts_where_the_next_partition_begins(self) -> None:
        moments = [MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + HOUR - 1, MIDNIGHT + HOUR]
        chunks = list(Chunker(JsonCodec(), route(), from_ms).chunks(moments))
        assert [(chunk.target.key, len(chunk.entries)) for chunk in chunks] == [
            ("temps:2025010123", 1),
            ("temps:2025010200", 2),
            ("temps:2025010201", 1),
        ]

    def test_without_times_the_server_numbers_in_one_chunk(self) -> None:
        (chunk,) = Chunker(TEXT, route(), None).chunks([{"a": "1"}, {"a": "2"}])
        assert (chunk.ids, list(chunk.entries), chunk.target.key) == (
            None,
            [{"a": "1"}, {"a": "2"}],
            "temps:2025010200",
        )

    def test_no_values_make_no_chunk(self) -> None:
        assert list(Chunker(TEXT, route(), None).chunks([])) == []
        assert list(Chunker(JsonCodec(), route(), from_ms).chunks([])) == []

    def test_a_stream_without_partitions_is_asked_for_once(self) -> None:
        asked: list[int | None] = []

        def single(ms: int | None) -> Target:
            asked.append(ms)
            return Target("s")

        (chunk,) = Chunker(JsonCodec(), single, from_ms).chunks([1, 2, 10**12])
        assert chunk.ids == ["1-*", "2-*", f"{10**12}-*"]
        assert asked == [1]

    def test_a_codec_makes_the_fields(self) -> None:
        (chunk,) = Chunker(JsonCodec(), route(), None).chunks([1, [2]])
        assert list(chunk.entries) == [{"data": "1"}, {"data": "[2]"}]

    def test_times_that_end_before_the_values_are_an_error(self) -> None:
        chunker = Chunker(JsonCodec(), route(), iter([from_ms(MIDNIGHT)]))
        with pytest.raises(InvalidArgument, match="the times ended before the values; give one for each"):
            list(chunker.chunks([1, 2]))

    def test_times_may_go_on_without_end(self) -> None:
        chunker = Chunker(JsonCodec(), route(), (from_ms(ms) for ms in itertools.count(MIDNIGHT)))
        chunks = [*chunker.chunks([1, 2]), *chunker.chunks([3])]
        assert [chunk.ids for chunk in chunks] == [[f"{MIDNIGHT}-*", f"{MIDNIGHT + 1}-*"], [f"{MIDNIGHT + 2}-*"]]

    def test_a_time_before_1970_is_an_error(self) -> None:
        with pytest.raises(InvalidArgument, match=r"an entry cannot be dated datetime.*: IDs begin in 1970"):
            list(Chunker(JsonCodec(), route(), [from_ms(-1)]).chunks([1]))

    def test_a_time_without_zone_is_an_error(self) -> None:
        with pytest.raises(NaiveDatetime):
            list(Chunker(JsonCodec(), route(), [datetime(2025, 1, 2)]).chunks([1]))  # noqa: DTZ001 - the point


class TestSizer:
    def packed(self, entries: int, size: int) -> int:
        sizer = Sizer()
        sizer.packed(numbered(*[{"a": 1}] * entries), b"x" * size)
        return sizer.entries

    def test_begins_small(self) -> None:
        assert Sizer().entries == FIRST_CHUNK

    @pytest.mark.parametrize(
        ("entries", "size", "following"),
        [
            (250, 250 * 10, CHUNK),
            (250, 250 * 1024, CHUNK_BYTES // 1024),
            (1, CHUNK_BYTES * 3, 1),
            (250, 0, CHUNK),
        ],
    )
    def test_follows_the_size_of_what_was_packed(self, entries: int, size: int, following: int) -> None:
        assert self.packed(entries, size) == following

    @given(st.integers(1, CHUNK), st.integers(0, 10_000_000))
    def test_keeps_its_bounds(self, entries: int, size: int) -> None:
        following = self.packed(entries, size)
        assert 1 <= following <= CHUNK
        assert following == 1 or following * (size // entries) <= CHUNK_BYTES


class TestProgress:
    def test_an_append_error_counts_what_was_written(self) -> None:
        error = OutOfOrder(stream="s", entry_id="1", newest="2-0")
        assert with_progress(error, 5) is error
        assert error.appended == 5
        assert str(error).endswith("written before it: 5)")

    def test_another_error_says_so_in_its_message(self) -> None:
        assert (
            str(with_progress(EncodeError("no fields"), 5)) == "no fields (entries of this call written before it: 5)"
        )
        assert str(with_progress(ServerUnavailable("away"), 1)).startswith("away (entries of this call")

    def test_nothing_written_is_not_worth_a_word(self) -> None:
        assert str(with_progress(EncodeError("no fields"), 0)) == "no fields"

    def test_the_last_word_counts(self) -> None:
        error = with_progress(with_progress(EncodeError("no fields"), 5), 7)
        assert str(error) == "no fields (entries of this call written before it: 7)"
        assert str(with_progress(error, 0)) == "no fields"
