"""Appends as script calls: chunks of entries, their tokens, and what the server answers."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, cast

from streamkit._core.codecs import MOST_FIELDS, T, check_fields, is_text
from streamkit._core.errors import (
    AheadOfTime,
    AppendError,
    InvalidArgument,
    OutOfOrder,
    RetentionExceeded,
    StreamkitError,
    WrongKeyType,
)
from streamkit._core.protocol import SCALARS, pack, plain
from streamkit._core.replies import Reply, raise_error, texts
from streamkit._core.scripts import APPEND
from streamkit._core.times import all_ms, from_ms, span_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from streamkit._core.codecs import Codec, Encoded
    from streamkit._core.periods import Partition, Partitioning
    from streamkit._core.protocol import Command, Scalar
    from streamkit._core.trimming import Trimming

CHUNK = 1000
"""Entries in a chunk, at most."""
CHUNK_BYTES = 512 * 1024
"""Where chunks stop growing: the next one is cut to stay about here."""
FIRST_CHUNK = 250
_PROGRESS = re.compile(r" \(entries of this call written before it: \d+\)$")
PACKED = 8
"""From how many entries on their words are sent as one."""
GUARD_WINDOW = 60_000
"""How long, in ms, the token of a chunk is remembered: longer than an append goes on trying."""
NATIVE_BOUND = 10_000
"""The most idempotency keys a server with native support remembers for a stream: the greatest it allows."""


class Answer(enum.Enum):
    """What the append script did."""

    WRITTEN = "OK"
    CHAIN = "CHAIN"
    """The chunk before this one is not there: send both again, in order."""
    PERIOD = "PERIOD"
    """By the server's clock another partition's turn has come: choose the key again."""


@dataclass(frozen=True)
class Guard:
    """How a repeated append is known for what it is."""

    mode: str = ""
    key: str = ""
    token: str = ""
    required: str = ""
    window_ms: int = 0


@dataclass(frozen=True)
class Target:
    """Where a chunk goes: the key, its partition if it has one, and how it is trimmed."""

    key: str
    partition: Partition | None = None
    partitioning: Partitioning | None = None
    trimming: Trimming | None = None
    bump: bool = False

    def header(self) -> tuple[Scalar, ...]:
        """The partition's and the trimming's arguments of append.lua and commit.lua, in order."""
        trimming = self.trimming.script_arguments() if self.trimming else ("", "", "", "")
        if self.partition is None or self.partitioning is None:
            return ("", "", "", "", *trimming)
        return (
            self.partition.start,
            self.partition.end,
            span_ms(self.partitioning.retention),
            span_ms(self.partitioning.max_ahead),
            *trimming,
        )


def _packed(words: Sequence[Scalar]) -> tuple[Scalar, ...] | None:
    """Words as two, the length of each in a byte and all of them joined; None if they do not fit that."""
    parts = cast("Sequence[str]", words)
    try:
        text = "".join(parts)
        if text.isascii():
            return bytes(map(len, parts)), text
        encoded = list(map(str.encode, parts))
        return bytes(map(len, encoded)), b"".join(encoded)
    except (TypeError, ValueError):
        return None  # something that is no text, or is longer than a byte can say


@dataclass
class Chunk:
    """Entries for one key, encoded; with IDs (ascending) or for the server to number."""

    target: Target
    entries: Sequence[Encoded]
    ids: Sequence[str] | None
    first_ms: int
    last_ms: int

    def arguments(self, guard: Guard) -> tuple[Scalar, ...]:
        """The keys' count aside, everything append.lua takes.

        Raises:
            EncodeError: A field or value is nothing that Redis can store.
        """
        names: tuple[Scalar, ...] = tuple(self.entries[0])
        alike = all(map(names.__eq__, map(tuple, self.entries)))
        words: list[Scalar] = []
        if alike:
            columns = [map(itemgetter(name), self.entries) for name in names]
            rows = zip(*columns, strict=True) if self.ids is None else zip(self.ids, *columns, strict=True)
            words.extend(chain.from_iterable(rows))
        else:
            for index, entry in enumerate(self.entries):
                if self.ids is not None:
                    words.append(self.ids[index])
                words.append(2 * len(entry))
                for pair in entry.items():
                    words.extend(pair)
        packed = _packed(words) if alike and len(self.entries) >= PACKED else None
        # One look at all the types is cheap; only if something is odd is it worth finding out where.
        sizes = {len(names)} if alike else set(map(len, self.entries))
        labels = {type(name) for entry in ((names,) if alike else self.entries) for name in entry}
        odd = not (labels <= {str, bytes} and (packed or set(map(type, words)) <= SCALARS))
        if odd or min(sizes) == 0 or max(sizes) > MOST_FIELDS:
            self._check()
            words, names = list(map(plain, words)), tuple(map(plain, names))
        shared = names if alike else ()
        return (
            guard.mode,
            guard.token,
            guard.required,
            guard.window_ms,
            NATIVE_BOUND,
            *self.target.header(),
            "auto" if self.ids is None else "given",
            "bump" if self.target.bump else "",
            "" if self.ids is None else self.first_ms,
            "" if self.ids is None else self.last_ms,
            len(self.entries),
            len(shared),
            "packed" if packed else "",
            *shared,
            *(packed or words),
        )

    def _check(self) -> None:
        """Raise EncodeError for the first entry that Redis cannot store as it is."""
        for entry in self.entries:
            check_fields(entry, self.target.key)

    def pack(self, guard: Guard, *, known: bool) -> bytes:
        """The script call that writes the chunk, as bytes to send; raises EncodeError as `arguments` does."""
        try:
            return pack(self.command(guard, known=known))
        except UnicodeEncodeError:
            self._check()
            raise

    def command(self, guard: Guard, *, known: bool) -> Command:
        """The script call that writes the chunk."""
        keys = (self.target.key, guard.key) if guard.key else (self.target.key,)
        return APPEND.call(keys, self.arguments(guard), known=known)

    def answer(self, reply: Reply, guard: Guard, *, appended: int) -> tuple[Answer, str]:
        """What became of the chunk: the answer, with the last ID written or the server's clock in ms.

        Raises:
            AppendError: The script refused the chunk; the error says why.
        """
        status, *rest = texts(raise_error(reply))
        if status == "TYPE":
            raise WrongKeyType(self.target.key, rest[0], "stream")
        if status == "GUARD":
            raise WrongKeyType(guard.key, rest[0], "guard of streamkit's own against repeated appends")
        if status == "ORDER":
            first = self.ids[0] if self.ids else "*"
            raise OutOfOrder(
                stream=self.target.key, entry_id=first.replace("-*", ""), newest=rest[0], appended=appended
            )
        if status in {"OLD", "AHEAD"}:
            raise self.misdated(status, int(rest[0]), appended=appended)
        return Answer(status), rest[0] if rest else ""

    def misdated(self, status: str, now: int, *, appended: int) -> AppendError:
        """The error for a chunk that its partition's retention, or the clock, forbids."""
        assert self.target.partitioning is not None  # noqa: S101 - only such a target can be refused so
        retention, ahead = self.target.partitioning.retention, self.target.partitioning.max_ahead
        if status == "OLD":
            message = (
                f"the entry of {from_ms(self.first_ms).isoformat()} for {self.target.key!r} is older than the "
                f"retention of {retention}: Redis deletes a key at once whose expiry is past; begin later than "
                f"{from_ms(now - span_ms(retention)).isoformat()} or raise retention"
            )
            return RetentionExceeded(message, stream=self.target.key, appended=appended)
        message = (
            f"the entry of {from_ms(self.last_ms).isoformat()} for {self.target.key!r} is more than {ahead} ahead of "
            f"the server's clock ({from_ms(now).isoformat()}); mend the clock, or raise max_ahead"
        )
        return AheadOfTime(message, stream=self.target.key, appended=appended)


class Chunker(Generic[T]):
    """Turns values into chunks: cut where the partition changes, IDs ascending, nothing sent.

    Args:
        codec: How values become fields.
        route: Gives the target for a moment (ms since 1970), or for the server's own numbering (None).
        times: The entries' times: one for each value in turn, or taken from the value; None: the server numbers.
    """

    def __init__(
        self,
        codec: Codec[T],
        route: Callable[[int | None], Target],
        times: Iterable[datetime] | Callable[[T], datetime] | None,
    ) -> None:
        self._encode = codec.encode
        self._identity = is_text(codec)
        self._route = route
        self._time_of: Callable[[T], datetime] | None
        self._times: Iterator[datetime] | None
        self._time_of, self._times = (
            (times, None) if callable(times) else (None, None if times is None else iter(times))
        )
        self._target: Target | None = None
        self._newest_ms = 0

    def chunks(self, values: Sequence[T]) -> Iterator[Chunk]:
        """The chunks for these values, in order.

        Raises:
            OutOfOrder: A time lies before the one in front of it, and the stream does not bump.
            NaiveDatetime: A time has no time zone.
            InvalidArgument: The times ended before the values.
        """
        entries = cast("Sequence[Encoded]", values) if self._identity else [self._encode(value) for value in values]
        if self._time_of is None and self._times is None:
            if entries:
                yield Chunk(self._route(None), entries, None, 0, 0)
            return
        start = 0
        moments = self._moments(values)
        partition = self._target.partition if self._target else None
        if (
            moments
            and self._target
            and (partition is None or partition.start <= moments[0] <= moments[-1] < partition.end)
        ):
            yield self._timed(entries, moments)  # nearly always a chunk lies in one partition, as its ends show
            return
        for index, ms in enumerate(moments):
            partition = self._target.partition if self._target else None
            if self._target is None or (partition and not partition.start <= ms < partition.end):
                if index > start:
                    yield self._timed(entries[start:index], moments[start:index])
                start = index
                self._target = self._route(ms)
        if len(moments) > start:
            yield self._timed(entries[start:], moments[start:])

    def _moments(self, values: Sequence[T]) -> list[int]:
        if self._time_of is not None:
            times = list(map(self._time_of, values))
        else:
            assert self._times is not None  # noqa: S101 - one of both is set
            times = list(islice(self._times, len(values)))
            if len(times) < len(values):
                msg = "the times ended before the values; give one for each, or a function that takes it from the value"
                raise InvalidArgument(msg)
        moments = all_ms(times)
        newest = self._newest_ms
        # Sorting what is sorted is one pass in C.
        if moments and moments[0] >= newest and sorted(moments) == moments:
            self._newest_ms = moments[-1]
            return moments
        for index, ms in enumerate(moments):
            if ms < 0:
                msg = f"an entry cannot be dated {times[index]!r}: IDs begin in 1970"
                raise InvalidArgument(msg)
            if ms < newest:
                target = self._route(ms)
                if not target.bump:
                    raise OutOfOrder(stream=target.key, entry_id=str(ms), newest=f"{newest}-0")
                # A bumped entry stays in the partition of the one it is numbered after.
                moments[index] = newest
            else:
                newest = ms
        self._newest_ms = newest
        return moments

    def _timed(self, entries: Sequence[Encoded], moments: Sequence[int]) -> Chunk:
        assert self._target is not None  # noqa: S101 - chunks() chose it
        return Chunk(self._target, entries, [f"{ms}-*" for ms in moments], moments[0], moments[-1])


class Sizer:
    """How many entries the next chunk may hold, from how large the last ones came out."""

    def __init__(self) -> None:
        self.entries = FIRST_CHUNK

    def packed(self, chunk: Chunk, packed: bytes) -> None:
        """Learn from a packed chunk."""
        per_entry = max(1, len(packed) // len(chunk.entries))
        self.entries = max(1, min(CHUNK, CHUNK_BYTES // per_entry))


def with_progress(error: StreamkitError, appended: int) -> StreamkitError:
    """Note on an error how many entries of the same call were written before it; the last word counts."""
    if isinstance(error, AppendError):
        error.appended = appended
        return error
    message = _PROGRESS.sub("", str(error))
    if appended:
        message = f"{message} (entries of this call written before it: {appended})"
    if message != str(error):
        error.args = (message, *error.args[1:])
    return error
