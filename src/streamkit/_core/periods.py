"""Periods and the names of partitions: which key a moment belongs to, and which moments a key covers."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from streamkit._core.errors import InvalidArgument, NotAPartition
from streamkit._core.times import from_ms, require_positive, span_ms, to_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROBES: int = 20_000
"""The most names that a search for partitions asks for; retention + max_ahead must not span more periods."""


FIRST_BEYOND: int = 253_370_764_800_000
"""The beginning of the year 9999, in ms: partitions end before it, so that each has a next one."""


@dataclass(frozen=True)
class Period:
    """How long one partition of a stream lasts, and how its key is named; always UTC.

    Use ``Period.HOUR``, ``Period.DAY`` or ``Period.MONTH``. Others can be made, for tests above all, as long as every
    suffix of the format has the same length and sorts as time does.

    Args:
        name: What to call it.
        suffix: The ``strftime`` format of the part of the key behind the last colon.
        length: How long it lasts, a divisor of a day; None: a calendar month.
    """

    HOUR: ClassVar[Period]
    DAY: ClassVar[Period]
    MONTH: ClassVar[Period]

    name: str
    suffix: str
    length: timedelta | None

    def start_of(self, time: datetime) -> datetime:
        """The beginning of the period that ``time`` lies in."""
        if self.length is None:
            time = time.astimezone(timezone.utc)
            return datetime(time.year, time.month, 1, tzinfo=timezone.utc)
        length = span_ms(self.length)
        return from_ms(to_ms(time) // length * length)

    def after(self, start: datetime) -> datetime:
        """The beginning of the period that follows the one beginning at ``start``."""
        if self.length is None:
            return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        return start + self.length

    @override
    def __repr__(self) -> str:
        return f"Period.{self.name}"


Period.HOUR = Period("HOUR", "%Y%m%d%H", timedelta(hours=1))
Period.DAY = Period("DAY", "%Y%m%d", timedelta(days=1))
Period.MONTH = Period("MONTH", "%Y%m", None)


@dataclass(frozen=True)
class Partition:
    """One partition: its key and the moments it covers, in milliseconds, the end not included."""

    key: str
    start: int
    end: int


@dataclass(frozen=True)
class Partitioning:
    """How a stream is cut into keys, and how long each is kept."""

    name: str
    period: Period
    retention: timedelta
    max_ahead: timedelta

    @classmethod
    def of(cls, name: str, period: Period, retention: timedelta, max_ahead: timedelta | None) -> Partitioning:
        """Check the arguments of a stream and fill in the default of ``max_ahead``: one period."""
        if not name:
            msg = "the name of a partitioned stream must not be empty"
            raise InvalidArgument(msg)
        require_positive("retention", retention)
        length = period.length or timedelta(days=31)
        ahead = length if max_ahead is None else require_positive("max_ahead", max_ahead, zero=True)
        if (retention + ahead) / length > PROBES:
            msg = (
                f"retention and max_ahead span more than {PROBES} periods of {period!r}; "
                "choose a longer period or a shorter retention"
            )
            raise InvalidArgument(msg)
        return cls(name, period, retention, ahead)

    def at(self, ms: int) -> Partition:
        """The partition that a moment belongs to; raises InvalidArgument for one that no datetime can express."""
        if not 0 <= ms < FIRST_BEYOND:
            msg = (
                f"{ms} ms since 1970 is no moment between the years 1970 and 9998: no partition of {self.name!r} has it"
            )
            raise InvalidArgument(msg)
        start = self.period.start_of(from_ms(ms))
        return self._starting(start)

    def after(self, partition: Partition) -> Partition:
        """The partition that follows."""
        return self._starting(from_ms(partition.end))

    def parse(self, key: str) -> Partition:
        """The partition of this key; raises NotAPartition for a name that is none, however close."""
        prefix = f"{self.name}:"
        partition = None
        if key.startswith(prefix):
            with suppress(ValueError, OverflowError):
                start = datetime.strptime(key[len(prefix) :], self.period.suffix).replace(tzinfo=timezone.utc)
                partition = self._starting(start)
        # strptime takes "2025011" for the 1st: only a name that we would write ourselves counts.
        if partition is None or partition.key != key or partition.start < 0 or partition.start >= FIRST_BEYOND:
            raise NotAPartition(key, self.name, self._starting(from_ms(1_735_689_600_000)).key)
        return partition

    def horizon(self, now: int) -> Iterator[Partition]:
        """Every partition that may exist now, oldest first: retention back, max_ahead forward, a period spare each."""
        first = self.at(max(0, now - span_ms(self.retention)))
        partition = self.at(max(0, first.start - 1))
        last = self.after(self.at(now + span_ms(self.max_ahead)))
        while partition.start <= last.start:
            yield partition
            partition = self.after(partition)

    def between(self, first: Partition, now: int) -> Sequence[Partition]:
        """Every partition from ``first`` to the end of the horizon, the latest 20,000 if there are more."""
        last = self.after(self.at(now + span_ms(self.max_ahead)))
        found: deque[Partition] = deque(maxlen=PROBES)
        partition = first
        while partition.start <= last.start:
            found.append(partition)
            partition = self.after(partition)
        return tuple(found)

    def _starting(self, start: datetime) -> Partition:
        return Partition(
            key=f"{self.name}:{start.strftime(self.period.suffix)}",
            start=to_ms(start),
            end=to_ms(self.period.after(start)),
        )
