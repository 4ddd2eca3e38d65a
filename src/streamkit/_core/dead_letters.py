"""How an entry that nobody could handle is written down: its provenance, then its untouched fields.

A dead letter is an entry whose leading pairs tell where it came from, each name with the prefix ``streamkit:`` and the
last of them ``streamkit:at``. Everything behind that is the entry as it was: flat and in order, names may repeat, and
those of an older dead letter stay beside these.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from typing_extensions import TypeVar

from streamkit._core.appends import Target
from streamkit._core.codecs import Codec, flat_decoder, undecodable
from streamkit._core.effects import Emit
from streamkit._core.ids import EntryId
from streamkit._core.times import from_ms
from streamkit._core.trimming import Trimming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamkit._core.errors import DecodeError
    from streamkit._core.protocol import Scalar

V = TypeVar("V")

PREFIX = "streamkit:"
MAXLEN = 100_000
LONGEST = 1000
"""Characters of a reason or an error's text that are kept, so that they cannot fill the stream."""


class Cause(enum.Enum):
    """Why an entry became a dead letter."""

    UNDECODABLE = "undecodable"
    """The codec could not read it."""
    EXHAUSTED = "exhausted"
    """Its handler failed ``max_deliveries`` times."""
    REJECTED = "rejected"
    """Its handler rejected it, or raised an exception that the retry policy calls final."""
    ABANDONED = "abandoned"
    """It was handed out ``max_deliveries`` times, and those who held it went without settling it."""
    TRIMMED = "trimmed"
    """It was gone from its stream before it was handled; only its ID is known."""
    UNREAD = "unread"
    """Entries that were gone from the stream before they were handed out at all; a count and a span, no fields."""
    EXPIRED = "expired"
    """It was still unhandled when its partition had been held past ``max_hold``."""
    EFFECT_FAILED = "effect-failed"
    """Its effects were applied in part, and another try would have doubled those."""


@dataclass(frozen=True)
class Provenance:
    """What a dead letter tells beside the entry itself.

    Attributes:
        stream: The key of the entry's stream.
        entry_id: Its ID there; empty for entries that were never read.
        cause: Why it is a dead letter.
        reason: The same in words, from whoever rejected it.
        error: What was raised.
        group: The consumer group.
        consumer: The consumer that held it last.
        attempt: How many times its handler was started.
        redrives: How many times it was moved back before.
        count: How many entries were never read.
        first: The first ID of their span.
        last: Its last ID.
        reader: The checkpoint of the reader, where there is no group.
    """

    stream: str
    entry_id: str
    cause: Cause
    reason: str = ""
    error: BaseException | None = None
    group: str = ""
    consumer: str = ""
    attempt: int = 0
    redrives: int = 0
    count: int = 0
    first: str = ""
    last: str = ""
    reader: str = ""

    def fields_before_at(self) -> tuple[Scalar, ...]:
        """The pairs without ``at``, flat, for a script that adds ``streamkit:redrives`` and ``streamkit:at`` itself."""
        error = self.error
        pairs: tuple[tuple[str, Scalar], ...] = (
            ("stream", self.stream),
            ("id", self.entry_id),
            ("cause", self.cause.value),
            ("reason", _cut(self.reason)),
            ("error_type", "" if error is None else type(error).__name__),
            ("error", b"" if error is None else _cut(_words_of(error))),
            ("reader", self.reader),
            ("group", self.group),
            ("consumer", self.consumer),
            ("attempt", self.attempt),
            ("count", self.count),
            ("first", self.first),
            ("last", self.last),
            ("redrives", self.redrives),
        )
        return tuple(word for name, value in pairs if value for word in (PREFIX + name, value))

    def fields(self, now_ms: int) -> tuple[Scalar, ...]:
        """All the pairs, flat, with this moment as ``at``; the entry's own fields go behind them."""
        return (*self.fields_before_at(), f"{PREFIX}at", now_ms)


@dataclass(frozen=True)
class DeadLetter:
    """An entry that nobody could handle, as it lies in the dead-letter stream.

    Attributes:
        id: Its ID in the dead-letter stream.
        stream: The key of the stream it came from.
        entry_id: Its ID there; None for entries that were never read (`Cause.UNREAD`).
        cause: Why it is here.
        reason: The same in the words of whoever rejected it; empty if nobody said any.
        error_type: The name of the exception's class; empty if there was none.
        error: The exception's text, its first 1,000 characters.
        group: The consumer group; None if it was a reader's.
        consumer: The consumer that held it last; None if there was none.
        reader: The checkpoint of the reader that could not decode it; None if it was a group's.
        attempt: How many times its handler was started.
        redrives: How many times it was moved back before.
        time: When it was written here, UTC.
        pairs: Its untouched fields and values in turn, flat, so that a name may come twice; empty where the entry was
            gone before it was handled (`Cause.TRIMMED`, `Cause.UNREAD`).
        count: How many entries were never read (`Cause.UNREAD`); 0 for any other cause.
        first: The first ID of those, if the server could know it.
        last: The last ID of those, if the server could know it.
        key: The dead-letter stream it lies in.
    """

    id: EntryId
    stream: str
    entry_id: EntryId | None
    cause: Cause
    reason: str
    error_type: str
    error: str
    group: str | None
    consumer: str | None
    reader: str | None
    attempt: int
    redrives: int
    time: datetime
    pairs: tuple[bytes, ...]
    count: int = 0
    first: EntryId | None = None
    last: EntryId | None = None
    key: str = ""

    @property
    def fields(self) -> dict[bytes, bytes]:
        """The untouched fields as a dict; of a name that comes twice, the last value."""
        words = iter(self.pairs)
        return dict(zip(words, words, strict=True))

    def decode(self, codec: Codec[V]) -> V:
        """The value of the untouched fields.

        Raises:
            DecodeError: The codec cannot read them.
        """
        try:
            return flat_decoder(codec)(list(self.pairs))
        except Exception as error:
            where = "" if self.entry_id is None else str(self.entry_id)
            raise undecodable(self.stream, where.encode(), list(self.pairs), error) from error


def read_letter(entry_id: bytes, flat: Sequence[bytes], key: str = "") -> DeadLetter:
    """The dead letter that an entry of ``key`` is.

    Raises:
        ValueError: It has no provenance, or one that this version does not know.
    """
    found: dict[str, bytes] = {}
    end = 0
    while f"{PREFIX}at" not in found:
        name = flat[end].decode(errors="replace") if end < len(flat) else ""
        if not name.startswith(PREFIX):
            msg = "the entry does not begin with the provenance of a dead letter"
            raise ValueError(msg)
        found[name] = flat[end + 1]
        end += 2
    told = {name.removeprefix(PREFIX): value.decode(errors="replace") for name, value in found.items()}
    if "stream" not in told:
        msg = "the provenance does not say which stream the entry came from"
        raise ValueError(msg)
    return DeadLetter(
        id=EntryId.parse(entry_id),
        stream=told["stream"],
        entry_id=_id_of(told, "id"),
        cause=Cause(told.get("cause")),
        reason=told.get("reason", ""),
        error_type=told.get("error_type", ""),
        error=told.get("error", ""),
        group=told.get("group"),
        consumer=told.get("consumer"),
        reader=told.get("reader"),
        attempt=int(told.get("attempt", 0)),
        redrives=int(told.get("redrives", 0)),
        time=from_ms(int(told["at"])),
        pairs=tuple(flat[end:]),
        count=int(told.get("count", 0)),
        first=_id_of(told, "first"),
        last=_id_of(told, "last"),
        key=key,
    )


def _id_of(told: Mapping[str, str], name: str) -> EntryId | None:
    return EntryId.parse(told[name]) if name in told else None


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - a broken __str__ must not keep the entry from being written down
        return f"<its text could not be had: {type(failure).__name__}>"


def _cut(text: str) -> bytes:
    """Text for a field: not too long, and UTF-8 whatever it holds."""
    return text[:LONGEST].encode(errors="replace")


def undecodable_letter(key: str, error: DecodeError, reader: str, now: int) -> Emit:
    """The dead letter of an entry that the codec could not read."""
    provenance = Provenance(error.stream, error.entry_id, Cause.UNDECODABLE, error=error.__cause__, reader=reader)
    return Emit(Target(key, trimming=Trimming(maxlen=MAXLEN)), "*", (*provenance.fields(now), *error.fields))
