"""What a replay covers: its bounds, the partitions between them, when each entry is due, what a copy writes.

The rules, each with its reason:

* ``start`` is included. An ``end`` that is an ID is included too, a datetime is not: of two ranges that meet at
  midnight, only the later one has the entry of midnight.
* The key of a partition stands for the whole of it, whatever the IDs in it. Any other bound is one for IDs, in every
  partition that is read.
* Read are the partitions whose span meets the range: by their names, from that of ``start`` (none: as far back as the
  retention reaches, and a period) to that of ``end``, and never further than entries may be dated ahead, and a period.
  An entry that was written to a partition outside of these is not looked for, whatever its ID.
* Names are asked for a few at a time, next to the partition read last: what comes into being meanwhile is found, and a
  hole of many periods costs little.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from streamkit._core.appends import Chunk
from streamkit._core.errors import InvalidArgument, InvalidEntryId, NotAPartition
from streamkit._core.ids import LARGEST, ZERO, Beginning, EntryId
from streamkit._core.periods import FIRST_BEYOND, PROBES, Partition
from streamkit._core.times import span_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from streamkit._core.appends import Target
    from streamkit._core.codecs import Encoded
    from streamkit._core.periods import Partitioning

GREATEST: Final = EntryId(LARGEST, LARGEST)
FIRST_BLOCK = 8
"""Names asked for first in a search; each further block is twice as large."""
LARGEST_BLOCK = 1024


@dataclass(frozen=True)
class Scope:
    """The part of a source that is to be read: checked, nothing asked yet.

    Attributes:
        name: The key of the source, or the name of its partitions.
        partitioning: How it is partitioned; None for a single key.
        first: The lowest ID.
        last: The highest ID.
        earliest: The partition to begin with; None: the oldest there is.
        latest: The partition to end with; None: the newest there is.
    """

    name: str
    partitioning: Partitioning | None
    first: EntryId = ZERO
    last: EntryId = GREATEST
    earliest: Partition | None = None
    latest: Partition | None = None

    def names(self, now: int, here: Partition | None, *, reverse: bool) -> Iterator[Sequence[Partition]]:
        """Where to look for the partition to read after this one (None: for the first one), nearest first, in blocks.

        Args:
            now: The server's clock, in ms.
            here: The partition that was read last.
            reverse: Whether to go towards the past.
        """
        partitioning = self.partitioning
        assert partitioning is not None  # noqa: S101 - a single key has no names to look for
        last = partitioning.after(partitioning.at(now + span_ms(partitioning.max_ahead)))
        if self.latest is not None and self.latest.start < last.start:
            last = self.latest
        first = not_too_far(partitioning, self.earliest or next(partitioning.horizon(now)), last)
        if here is not None and reverse:
            if here.start <= first.start:
                return
            last = partitioning.at(here.start - 1)
        elif here is not None:
            first = partitioning.after(here)
        if first.start <= last.start:
            yield from blocks(partitioning, *((last, first) if reverse else (first, last)))


def not_too_far(partitioning: Partitioning, first: Partition, last: Partition) -> Partition:
    """The first of two partitions, or a later one, so that no more than 20,000 are asked for."""
    length = partitioning.period.length
    if length is None:
        return first  # there are not as many months since 1970
    least = last.start - (PROBES - 1) * span_ms(length)
    return first if first.start >= least else partitioning.at(least)


def blocks(partitioning: Partitioning, first: Partition, last: Partition) -> Iterator[Sequence[Partition]]:
    """The partitions from one to another, both included, in growing blocks; towards the past if the last is older."""
    backwards = last.start < first.start
    size, block, here = FIRST_BLOCK, list[Partition](), first
    while here.start != last.start:
        block.append(here)
        if len(block) == size:
            yield block
            size, block = min(2 * size, LARGEST_BLOCK), []
        here = partitioning.at(here.start - 1) if backwards else partitioning.after(here)
    yield [*block, last]


def parse_scope(
    start: datetime | EntryId | str | None,
    end: datetime | EntryId | str | None,
    name: str,
    partitioning: Partitioning | None,
) -> Scope:
    """Check two bounds.

    Raises:
        InvalidArgument: A bound means nothing, or ``start`` lies behind ``end``.
        NaiveDatetime: One has no time zone.
        NotAPartition: One is no partition of this source.
    """
    first, earliest = _parse("start", start, name, partitioning)
    last, latest = _parse("end", end, name, partitioning)
    begin = first or (EntryId(earliest.start) if earliest else ZERO)
    until = last or (EntryId(latest.end - 1, LARGEST) if latest else GREATEST)
    if begin > until:
        msg = (
            f"start {start!r} is later than end {end!r}; start is the older bound and end the newer one, also with "
            "reverse=True"
        )
        raise InvalidArgument(msg)
    if isinstance(end, datetime):
        last = until.before()
    if partitioning is not None:
        if first is not None:
            earliest = partitioning.at(first.ms)  # raises for a moment that no partition has
        if last is not None and last.ms < FIRST_BEYOND:
            latest = partitioning.at(last.ms)
    return Scope(name, partitioning, first or ZERO, last or GREATEST, earliest, latest)


def _parse(
    which: str, bound: object, name: str, partitioning: Partitioning | None
) -> tuple[EntryId | None, Partition | None]:
    """A bound as an ID, or as a partition; neither: it is none."""
    if bound is None or (bound == name and partitioning is None):
        return None, None
    if isinstance(bound, EntryId):
        return bound, None
    if isinstance(bound, datetime):
        return EntryId.at(bound), None
    if isinstance(bound, Beginning) or (isinstance(bound, str) and bound in {"$", ">"}):
        msg = f"{which} cannot be {bound!r}; for what is still to come there is Replayer.tail(start=streamkit.NEW)"
        raise InvalidEntryId(msg)
    if not isinstance(bound, str):
        msg = f"{which} must be a datetime, an EntryId, a str or None, not {bound!r}"
        raise InvalidArgument(msg)
    try:
        at = EntryId.parse(bound)
    except InvalidEntryId:
        if partitioning is not None:
            return None, partitioning.parse(bound)
        msg = f"{which} {bound!r} is neither an entry ID nor the key {name!r}; for no bound leave it out"
        raise InvalidArgument(msg) from None
    # As Redis reads it: "5" as an end means all of that millisecond.
    return EntryId(at.ms, LARGEST) if which == "end" and "-" not in bound else at, None


def check_limit(limit: int | None) -> None:
    """Raise InvalidArgument for a limit that is no number of entries."""
    if limit is not None and not (_is_number(limit, int) and limit >= 1):
        msg = f"limit must be 1 or more, not {limit!r}; leave it out for no limit"
        raise InvalidArgument(msg)


def require_callable(name: str, value: object) -> None:
    """Raise InvalidArgument for something that cannot be called."""
    if not callable(value):
        msg = f"{name} must be a function, not {value!r}"
        raise InvalidArgument(msg)


def _is_number(value: object, *types: type) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


class Pace:
    """When the entries of a replay are due, in seconds after the first one.

    Counted from the beginning, not from the entry before: a slow handler makes the entries behind it late, never the
    whole replay slower.

    Args:
        speed: How many times as fast as the entries were written; infinite: at once.

    Raises:
        InvalidArgument: The speed is not above zero.
    """

    def __init__(self, speed: float) -> None:
        if not (_is_number(speed, int, float) and speed > 0):
            msg = f'speed must be a number above 0, not {speed!r}; float("inf") is as fast as possible'
            raise InvalidArgument(msg)
        self._speed = speed
        self._first: int | None = None

    def due(self, ms: int) -> float:
        """When an entry of this time is due; below zero for one that is older than the first."""
        if self._first is None:
            self._first = ms
        return (ms - self._first) / 1000 / self._speed


def share_keys(name: str, partitioning: Partitioning | None, other: str, others: Partitioning | None) -> bool:
    """Whether two sources, each a key or the name of partitions, have a key in common, or may get one."""
    partitions = partitioning or others
    if partitions is None or (partitioning is not None and others is not None):
        return name == other
    try:
        partitions.parse(name if partitioning is None else other)
    except NotAPartition:
        return False
    return True


class _Name(bytes):
    """A field name that is equal to itself alone, so that a dict holds it beside others of the same bytes."""

    __slots__ = ()

    @override
    def __eq__(self, other: object) -> bool:
        return self is other

    @override
    def __hash__(self) -> int:
        return id(self)


def as_they_are(flat: Sequence[bytes]) -> Mapping[bytes, bytes]:
    """An entry's flat fields and values as a mapping to write, in which names may repeat."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    if 2 * len(fields) == len(flat):
        return fields
    return {_Name(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def chunks_of(
    entries: Sequence[Encoded],
    ids: Sequence[EntryId] | None,
    route: Callable[[int | None], Target],
    size: Callable[[], int],
) -> Iterator[Chunk]:
    """The chunks that write copied entries, each as large as ``size`` says when its turn comes.

    With IDs, which ascend, they are cut where the target's partition changes, and nothing is numbered anew: not even
    in a stream that does so with what is out of order.
    """
    at = 0
    while at < len(entries):
        until = min(len(entries), at + size())
        if ids is None:
            yield Chunk(route(None), entries[at:until], None, 0, 0)
        else:
            target = replace(route(ids[at].ms), bump=False)
            if target.partition is not None:
                until = bisect_left(ids, EntryId(target.partition.end), at, until)
            kept = ids[at:until]
            yield Chunk(target, entries[at:until], list(map(str, kept)), kept[0].ms, kept[-1].ms)
        at = until
