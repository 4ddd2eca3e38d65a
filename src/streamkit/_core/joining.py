"""Where a group began on a partitioned source, and which partitions it missed: what it records for its next start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import override

from streamkit._core.following import Start, resolve_start
from streamkit._core.ids import ZERO
from streamkit._core.observers import Gap, GapCause, Position
from streamkit._core.times import from_ms, span_ms

if TYPE_CHECKING:
    from streamkit._core.checkpoints import Mark
    from streamkit._core.periods import Partition, Partitioning


@dataclass(frozen=True)
class Origin:
    """Where a group began; in partitions that are not named here, at 0.

    Attributes:
        first: The oldest partition that it consumes; empty: whichever there are.
        behind: The IDs behind which it began in some partitions, and how many entries lay before (None: not known).
    """

    first: str = ""
    behind: Mapping[str, tuple[str, int | None]] = field(default_factory=dict[str, "tuple[str, int | None]"])

    @classmethod
    def of(cls, start: Start, name: str, partitioning: Partitioning, now: int, newest: Sequence[Mark]) -> Origin:
        """What ``start`` means now; ``newest``: the partitions that exist, and what is newest in them."""
        if start.new:
            return cls(behind={mark.stream: (str(mark.id), mark.entries_added) for mark in newest})
        if start.at is None and start.key is None:
            return cls()
        key, behind = resolve_start(start, name, partitioning, now, [mark.stream for mark in newest])
        return cls(key, {} if behind is None or behind == ZERO else {key: (str(behind), None)})

    @classmethod
    def parse(cls, text: str) -> Origin:
        """The origin that `__str__` wrote."""
        found = json.loads(text)
        return cls(found["first"], {key: (entry_id, read) for key, (entry_id, read) in found["behind"].items()})

    @override
    def __str__(self) -> str:
        return json.dumps({"first": self.first, "behind": dict(self.behind)}, ensure_ascii=False)


def write_keys(keys: Sequence[str]) -> str:
    """Keys as one field of the record."""
    return json.dumps(list(keys), ensure_ascii=False)


def read_keys(text: str) -> list[str]:
    """The keys that `write_keys` wrote; none for an empty text."""
    return [str(key) for key in json.loads(text)] if text else []


def missed(
    partitioning: Partitioning, found: Sequence[str], unhandled: Sequence[str], seen: int | None, now: int
) -> list[Gap]:
    """What a group may have lost while none of its consumers was alive.

    Args:
        partitioning: How the source is cut.
        found: The partitions that exist.
        unhandled: Those that had something for the group when a consumer looked last.
        seen: When that was, in ms.
        now: The server's clock.
    """
    gaps = [gone(partitioning, key, found, now) for key in unhandled if key not in found]
    if seen is None or seen + span_ms(partitioning.retention) >= now:
        return gaps
    # Partitions may have come, and expired, since then; nothing tells whether they did.
    until = now - span_ms(partitioning.retention)
    lost = [each for each in partitioning.between(partitioning.at(seen), until) if each.key not in {*found, *unhandled}]
    lost = [each for each in lost if each.start < until]
    if lost:
        gaps.append(_gap(partitioning, lost[0], found, now, since=max(seen, lost[0].start), until=lost[-1].end))
    return gaps


def gone(partitioning: Partitioning, key: str, found: Sequence[str], now: int) -> Gap:
    """A partition that is gone, and had something for the group."""
    partition = partitioning.parse(key)
    return _gap(partitioning, partition, found, now, since=partition.start, until=partition.end)


def _gap(
    partitioning: Partitioning, partition: Partition, found: Sequence[str], now: int, *, since: int, until: int
) -> Gap:
    expired = partition.end + span_ms(partitioning.retention) <= now
    resumes = next((key for key in found if key > partition.key), partitioning.at(now).key)
    return Gap(
        cause=GapCause.EXPIRED if expired else GapCause.GONE,
        after=Position(partition.key, ZERO),
        resumes=Position(resumes, ZERO),
        lost=None,
        exact=False,
        since=from_ms(since),
        until=from_ms(max(since, until)),
    )
