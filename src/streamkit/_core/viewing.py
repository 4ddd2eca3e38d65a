"""What a live view looks at: the partitions that may still get entries, and how far each was read.

The rules, each with its reason:

* A partition may get entries until its end and a grace, by the server's clock. Until then it is looked at together
  with the ones after it: the current one, and those ahead, for entries may be dated ahead.
* One that is over is left when it was found empty *after* the clock had said so. In the other order an entry could
  slip in between.
* What is long over, for a view that begins in the past, is read one partition after the other, oldest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit._core.ids import ZERO, EntryId
from streamkit._core.replaying import blocks, not_too_far
from streamkit._core.times import span_ms

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from streamkit._core.following import Start
    from streamkit._core.periods import Partition, Partitioning

GRACE_MS = 10_000
"""How long after its end a partition may still get entries, in ms."""
AHEAD = 100
"""Partitions ahead of the next one that one look takes in, at most; if there are more, in turn."""


class View:
    """Which keys a live view looks at, and what it has read of each.

    Args:
        name: The key, or the name of the partitions.
        partitioning: How it is partitioned; None for a single key.
        start: Where it begins.
        now: The server's clock, in ms.
    """

    def __init__(self, name: str, partitioning: Partitioning | None, start: Start, now: int) -> None:
        self._behind = ZERO if start.at is None else start.at.before()
        self._read: dict[str, EntryId] = {}
        self._keys: _Single | _Partitions = (
            _Single(name) if partitioning is None else _Partitions(partitioning, start, now)
        )

    def behind(self, key: str) -> EntryId:
        """The ID behind which to read a key."""
        return self._read.get(key, self._behind)

    def took(self, key: str, newest: EntryId) -> None:
        """Note that a key is read up to this ID."""
        self._read[key] = newest

    def made_anew(self, key: str, newest: EntryId) -> bool:
        """Whether a key with this newest ID was deleted and made anew since it was read: then it is begun anew."""
        if newest >= self._read.get(key, ZERO):
            return False
        self._read[key] = ZERO
        return True

    def living(self, now: int) -> Sequence[str]:
        """Every key that may still get entries, oldest first."""
        return self._keys.living(now)

    def keys(self, now: int) -> Sequence[str]:
        """The keys to look at next, oldest first."""
        return self._keys.next(now)

    def current(self, now: int) -> tuple[str, int | None]:
        """The key to wait at, and how many ms it stays the current one; None: for ever."""
        return self._keys.current(now)

    def leave(self, now: int, empty: Container[str]) -> None:
        """Leave the oldest partitions if they are over and were found empty by a look that began with this clock."""
        for key in self._keys.leave(now, empty):
            self._read.pop(key, None)

    def over(self, now: int) -> bool:
        """Whether the oldest partition that was not left yet is over."""
        return self._keys.over(now)

    def search(self, now: int) -> Iterator[Sequence[str]]:
        """The names of all partitions that are over, oldest first, in blocks: `go_to` the first that exists."""
        return self._keys.search(now)

    def go_to(self, key: str | None, now: int) -> None:
        """Leave everything older than this partition; None: everything that is over."""
        self._keys.go_to(key, now)


class _Single:
    """A single key, which is never over."""

    def __init__(self, key: str) -> None:
        self._key = key

    def living(self, _now: int) -> Sequence[str]:
        return (self._key,)

    def next(self, _now: int) -> Sequence[str]:
        return (self._key,)

    def current(self, _now: int) -> tuple[str, int | None]:
        return self._key, None

    def leave(self, _now: int, _empty: Container[str]) -> Sequence[str]:
        return ()

    def over(self, _now: int) -> bool:
        return False

    def search(self, _now: int) -> Iterator[Sequence[str]]:
        return iter(())

    def go_to(self, key: str | None, now: int) -> None:
        """There is nowhere to go."""


class _Partitions:
    """Partitions, from the oldest that was not left yet."""

    def __init__(self, partitioning: Partitioning, start: Start, now: int) -> None:
        self._partitioning = partitioning
        today = partitioning.at(now)
        if start.new:
            first = self._oldest_living(now)
        elif start.key is not None:
            first = partitioning.parse(start.key)
        elif start.at is not None:
            first = partitioning.at(start.at.ms)
        else:
            first = next(partitioning.horizon(now))
        self._oldest = not_too_far(partitioning, first, today)
        self._turn = self._oldest

    def living(self, now: int) -> Sequence[str]:
        first = _later(self._oldest, self._oldest_living(now))
        last = _later(first, self._newest(now))
        return [each.key for block in blocks(self._partitioning, first, last) for each in block]

    def next(self, now: int) -> Sequence[str]:
        if self.over(now):
            return (self._oldest.key,)
        here, last = self._oldest, self._partitioning.after(self._current(now))
        near = [here.key]
        while here.start < last.start:
            here = self._partitioning.after(here)
            near.append(here.key)
        # Further ahead there may be too many for every look.
        turn, newest, further = self._turn, self._newest(now), list[str]()
        if not here.start < turn.start <= newest.start:
            turn = self._partitioning.after(here)
        while turn.start <= newest.start and len(further) < AHEAD:
            further.append(turn.key)
            turn = self._partitioning.after(turn)
        self._turn = turn
        return near + further

    def current(self, now: int) -> tuple[str, int | None]:
        partition = self._current(now)
        return partition.key, partition.end - now

    def leave(self, now: int, empty: Container[str]) -> Sequence[str]:
        left: list[str] = []
        while self.over(now) and self._oldest.key in empty:
            left.append(self._oldest.key)
            self._oldest = self._partitioning.after(self._oldest)
        return left

    def over(self, now: int) -> bool:
        return self._oldest.end + GRACE_MS <= now

    def search(self, now: int) -> Iterator[Sequence[str]]:
        last = self._partitioning.at(self._oldest_living(now).start - 1)
        for block in blocks(self._partitioning, self._oldest, last):
            yield [each.key for each in block]

    def go_to(self, key: str | None, now: int) -> None:
        self._oldest = self._oldest_living(now) if key is None else self._partitioning.parse(key)

    def _current(self, now: int) -> Partition:
        return _later(self._oldest, self._partitioning.at(now))

    def _oldest_living(self, now: int) -> Partition:
        return self._partitioning.at(max(0, now - GRACE_MS))

    def _newest(self, now: int) -> Partition:
        return self._partitioning.after(self._partitioning.at(now + span_ms(self._partitioning.max_ahead)))


def _later(one: Partition, other: Partition) -> Partition:
    return one if one.start >= other.start else other
