"""Stream entry IDs: a time in milliseconds and a sequence number."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamkit._core.errors import InvalidEntryId
from streamkit._core.times import from_ms, to_ms

if TYPE_CHECKING:
    from datetime import datetime

LARGEST: Final = 2**64 - 1


@dataclass(frozen=True, order=True, slots=True)
class EntryId:
    """The ID of a stream entry: the time it stands for and its place within that millisecond.

    IDs compare and sort as Redis orders them, and ``str(id)`` is what Redis shows.

    Args:
        ms: Milliseconds since 1970, UTC; 0 to 2**64 - 1.
        seq: The sequence number within the millisecond; 0 to 2**64 - 1.

    Raises:
        InvalidEntryId: A part is negative or too large.

    Example:
        >>> from streamkit import EntryId
        >>> str(EntryId(1735689600000, 1))
        '1735689600000-1'
        >>> EntryId.parse("1735689600000-1").time.isoformat()
        '2025-01-01T00:00:00+00:00'
    """

    ms: int
    seq: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.ms <= LARGEST and 0 <= self.seq <= LARGEST):
            msg = f"{self.ms}-{self.seq} is no entry ID: both parts must lie between 0 and 2**64 - 1"
            raise InvalidEntryId(msg)

    @classmethod
    def parse(cls, text: str | bytes) -> EntryId:
        """Read an ID from ``"ms-seq"`` or ``"ms"``.

        Raises:
            InvalidEntryId: The text is neither; ``"$"`` and ``">"`` are none, use ``NEW``.
        """
        word = text.decode("ascii", "replace") if isinstance(text, bytes) else text
        ms, _, seq = word.partition("-")
        if len(word) > 41:  # two numbers below 2**64 and the hyphen; more digits would take int() long
            msg = f"an entry ID has at most 41 characters, not {len(word)}"
            raise InvalidEntryId(msg)
        # int() would take " 1", "1_000" and "+1" as well; Redis does not.
        if not (ms.isascii() and ms.isdigit() and (seq.isascii() and seq.isdigit() if seq else word == ms)):
            hint = "; to begin with entries written from now on, use streamkit.NEW" if word in {"$", ">"} else ""
            msg = f'{text!r} is no entry ID; write "<milliseconds>-<sequence>" or "<milliseconds>"{hint}'
            raise InvalidEntryId(msg)
        return cls(int(ms), int(seq) if seq else 0)

    @classmethod
    def at(cls, time: datetime) -> EntryId:
        """The first ID of the millisecond of ``time``.

        Raises:
            NaiveDatetime: ``time`` has no time zone.
            InvalidEntryId: ``time`` is before 1970.
        """
        return cls(to_ms(time))

    @property
    def time(self) -> datetime:
        """The moment the ID stands for, UTC; IDs beyond the year 9999 give its last millisecond."""
        return from_ms(self.ms)

    def before(self) -> EntryId:
        """The greatest ID below this one; ``0-0`` has none below and gives itself."""
        if self.seq:
            return EntryId(self.ms, self.seq - 1)
        return EntryId(self.ms - 1, LARGEST) if self.ms else self

    def after(self) -> EntryId:
        """The least ID above this one; the greatest has none above and gives itself."""
        if self.seq < LARGEST:
            return EntryId(self.ms, self.seq + 1)
        return EntryId(self.ms + 1) if self.ms < LARGEST else self

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


ZERO: Final = EntryId(0, 0)


class Beginning(enum.Enum):
    """Where to begin when no position is saved, other than at a time, an ID or a partition."""

    NEW = "new"
    """Only entries written from now on."""


NEW: Final = Beginning.NEW
"""Begin with the entries written from now on (what a bare ``"$"`` means, without the race)."""
