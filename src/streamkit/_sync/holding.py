# Generated from src/streamkit/asyncio/holding.py by tools/generate_sync.py: do not edit.
"""Keeping partitions from expiring while a group has not done with them, up to a limit."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from streamkit._core.members import PAGE
from streamkit._core.replies import text
from streamkit._core.scripts import HOLD, REST
from streamkit._core.times import span_ms
from streamkit._sync.keeping import Refused
from streamkit._sync.lanes import GroupMissing

if TYPE_CHECKING:
    from streamkit._core.observers import Observer
    from streamkit._sync.joining import Joining
    from streamkit._sync.lanes import Courses, Lane
    from streamkit._sync.links import Link

LONGEST_MARGIN = 60.0
"""Seconds for which a partition is held each time, at most."""


class Holding:
    """Pushes back the expiry of partitions that still have unhandled entries.

    Args:
        courses: The consumer's lanes.
        max_hold: Seconds past its own expiry that a partition is held at most; then its rest is dead-lettered.
        observer: Told of such a rest.
    """

    def __init__(self, courses: Courses, max_hold: float, observer: Observer) -> None:
        self._courses = courses
        self._max_hold_ms = int(max_hold * 1000)
        self._observer = observer
        self.every: float = min(_margin(joining) for _, joining in courses.partitioned) / 3
        """Seconds between two looks."""
        self._due = 0.0

    def until_due(self, most: float) -> float:
        """Seconds until the next look, at most so many."""
        return max(0.0, min(most, self._due - time.monotonic()))

    def look(self, link: Link) -> bool:
        """If it is time: hold what is unhandled, bury the rest of what was held for too long, note what there is.

        Gives whether anything was buried.
        """
        if time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + self.every
        total = 0
        for course, joining in self._courses.partitioned:
            unhandled = list[str]()
            for lane in [lane for lane in course.lanes if not lane.away]:
                state = self._hold(link, joining, lane)
                if state == "OVER":
                    total += self._bury_rest(link, lane)
                elif state == "HELD":
                    unhandled.append(lane.key)
                elif state == "NONE":
                    self._courses.vanished(link, course, lane)
            joining.note(link, unhandled)
        return total > 0

    def look_last(self, link: Link) -> None:
        """Note what there is at the end of a loop, for whoever starts next."""
        self._due = 0.0
        self.look(link)

    def keep(self, link: Link) -> None:
        """Hold what is unhandled, beside a handler that keeps the loop from looking; everything else waits for it."""
        if time.monotonic() < self._due:
            return
        for course, joining in self._courses.partitioned:
            for lane in [lane for lane in course.lanes if not lane.away]:
                with suppress(GroupMissing, Refused):  # the loop finds out by itself
                    self._hold(link, joining, lane)

    def _hold(self, link: Link, joining: Joining, lane: Lane) -> str:
        assert lane.partition is not None  # noqa: S101 - only partitions expire by themselves
        retention = span_ms(joining.partitioning.retention)
        arguments = (lane.partition.end, retention, self._max_hold_ms, int(_margin(joining) * 1000))
        reply = lane.run(link, HOLD, arguments)
        return text(reply[0])

    def _bury_rest(self, link: Link, lane: Lane) -> int:
        total = 0
        while True:
            dropped, buried = lane.run(link, REST, (PAGE,))
            if dropped:
                self._observer.on_letters_dropped(lane.member.letters, dropped)
            if not buried:
                break
            total += buried
        if total:
            self._observer.on_expired_rest(lane.key, lane.member.group, total)
        return total


def _margin(joining: Joining) -> float:
    """For how many seconds partitions are held each time."""
    return min(LONGEST_MARGIN, joining.partitioning.retention.total_seconds() / 2)
