# Generated from src/streamkit/asyncio/joining.py by tools/generate_sync.py: do not edit.
"""A group's partitions: finding them as they come, and the record of where it began and what it is not done with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamkit._core import commands
from streamkit._core.joining import Origin, gone, missed, read_keys, write_keys
from streamkit._core.keys import companion
from streamkit._core.replies import milliseconds, text
from streamkit._sync.probing import checked, existing, marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.following import Start
    from streamkit._core.observers import Observer
    from streamkit._core.periods import Partition, Partitioning
    from streamkit._sync.links import Link

PROBE_EVERY = 60.0
"""Seconds between two looks at every partition that may exist."""


class Joining:
    """What a group knows of one partitioned source.

    The record is a hash beside the stream: ``origin`` (where the group began; `start` counts only where there is none),
    ``last_partition``, ``unhandled`` (partitions that still have something for it) and ``seen`` (when that was looked
    at, in ms).

    Args:
        name: The source.
        partitioning: How it is cut.
        group: The group.
        start: Where it begins if it is new.
        observer: Told of what expired while nobody was alive, or was deleted.
    """

    def __init__(self, name: str, partitioning: Partitioning, group: str, start: Start, observer: Observer) -> None:
        self.partitioning = partitioning
        self._name = name
        self._record = companion(name, f"group:{group}")
        self._start = start
        self._observer = observer
        self._origin: Origin | None = None
        self._last = ""
        self._unhandled: list[str] = []
        self._probe_due = 0.0

    def find(self, link: Link, newest: Partition | None) -> list[Partition]:
        """The partitions that exist: all of them now and then, otherwise those behind the newest that is known."""
        now = self._now(link)
        candidates: Sequence[Partition]
        if time.monotonic() >= self._probe_due:
            self._probe_due = time.monotonic() + PROBE_EVERY
            candidates = self.candidates(link, now)
        else:
            partitioning = self.partitioning
            first = partitioning.at(max(0, partitioning.at(now).start - 1)) if newest is None else None
            candidates = partitioning.between(first or partitioning.after(newest or partitioning.at(now)), now)
        keys = set(existing(link, [partition.key for partition in candidates]))
        found = [partition for partition in candidates if partition.key in keys]
        if self._origin is None:
            self._origin = self._join(link, [partition.key for partition in found], now)
        origin = self._origin
        return [partition for partition in found if partition.key >= origin.first]

    def begins(self, key: str) -> tuple[str, int | None]:
        """The ID behind which the group begins in a partition that is new to it, and how many entries lie before."""
        found = None if self._origin is None else self._origin.behind.get(key)
        return ("0", None) if found is None else found

    def candidates(self, link: Link, now: int) -> list[Partition]:
        """Every partition that the group may have: those of the stream's horizon, and older ones that it has held."""
        (reply,) = link.exchange(commands.hmget(self._record, "origin", "unhandled"))
        origin, unhandled = checked(self._record, reply)
        first = "" if origin is None else Origin.parse(text(origin)).first
        found = {partition.key: partition for partition in self.partitioning.horizon(now)}
        found |= {key: self.partitioning.parse(key) for key in read_keys(text(unhandled or b""))}
        return sorted((each for key, each in found.items() if key >= first), key=lambda partition: partition.start)

    def _join(self, link: Link, found: Sequence[str], now: int) -> Origin:
        fields = ("origin", "last_partition", "unhandled", "seen")
        (reply,) = link.exchange(commands.hmget(self._record, *fields))
        origin, last, unhandled, seen = checked(self._record, reply)
        for gap in missed(
            self.partitioning, found, read_keys(text(unhandled or b"")), None if seen is None else int(seen), now
        ):
            self._observer.on_gap(gap)
        if origin is None:
            # Of several that start at once, the first one's counts; a record that was lost and begun anew has a `last`.
            newest = marks(link, found) if last is None else []
            fresh = Origin.of(self._start, self._name, self.partitioning, now, newest) if last is None else Origin()
            noted, reply = link.exchange(
                commands.hsetnx(self._record, "origin", str(fresh)), commands.hmget(self._record, "origin")
            )
            checked(self._record, noted)
            (origin,) = checked(self._record, reply)
        return Origin.parse(text(origin))

    def note_last(self, link: Link, key: str) -> None:
        """Remember the newest partition."""
        if key != self._last:
            self._note(link, "last_partition", key)
            self._last = key

    def note(self, link: Link, unhandled: Sequence[str]) -> None:
        """Remember which partitions still have something for the group, for whoever starts next."""
        self._note(link, "unhandled", write_keys(unhandled), "seen", self._now(link))
        self._unhandled = list(unhandled)

    def vanished(self, link: Link, key: str, found: Sequence[str], *, held: bool) -> None:
        """Tell of a partition that is gone, if it had something for the group; ``held``: some of it is in hand."""
        if held or key in self._unhandled:
            self._unhandled = [each for each in self._unhandled if each != key]
            self._observer.on_gap(gone(self.partitioning, key, found, self._now(link)))

    def _note(self, link: Link, *pairs: str | int) -> None:
        (reply,) = link.exchange(commands.hset(self._record, *pairs))
        checked(self._record, reply)

    def _now(self, link: Link) -> int:
        (reply,) = link.exchange(commands.TIME)
        return milliseconds(checked(self._name, reply))
