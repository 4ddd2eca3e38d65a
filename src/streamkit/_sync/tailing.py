# Generated from src/streamkit/asyncio/tailing.py by tools/generate_sync.py: do not edit.
"""A live view of a stream: what is written from some point on, across partitions, whatever becomes of the server."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from streamkit._core import commands
from streamkit._core.errors import ServerUnavailable
from streamkit._core.ids import EntryId
from streamkit._core.observers import Observer, Position
from streamkit._core.pages import MOST, Page
from streamkit._core.refusals import passing
from streamkit._core.replies import entries_of_one, milliseconds
from streamkit._core.viewing import View
from streamkit._sync.keeping import Refused
from streamkit._sync.lines import Line
from streamkit._sync.probing import checked, existing, facts_of, marks
from streamkit._sync.reading import SLICE_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.following import Start
    from streamkit._core.periods import Partitioning
    from streamkit._core.replies import RawEntry, Reply
    from streamkit._sync._runtime import Stopping
    from streamkit._sync.connections import Server
    from streamkit._sync.links import Link


class Tail:
    """Reads on and on, over a connection of its own, until it is stopped.

    One look goes over all the keys that may have something new, in one write, without blocking; when there is nothing,
    a slice of time is waited for at the current one.

    Args:
        server: Whom to ask.
        name: The key, or the name of the partitions.
        partitioning: How it is partitioned; None for a single key.
        start: Where to begin.
        observer: Told of waiting, of partitions, of outages.
        stopping: Ends it.
    """

    def __init__(
        self,
        server: Server,
        *,
        name: str,
        partitioning: Partitioning | None,
        start: Start,
        observer: Observer,
        stopping: Stopping,
    ) -> None:
        self._server = server
        self._name = name
        self._partitioning = partitioning
        self._start = start
        self._observer = observer
        self._stopping = stopping
        self._line = Line(server, observer, stopping)
        self._page = Page(MOST)
        self._view: View | None = None
        self._now = 0
        self._ready: deque[tuple[str, Sequence[RawEntry]]] = deque()
        self._position: Position | None = None
        """Where it waits, and did so last."""
        self._told = False

    def next(self) -> tuple[str, Sequence[RawEntry]] | None:
        """The next entries and the key they stand in; None when it is to stop.

        Raises:
            ServerUnavailable: The server could not be reached at the very beginning; later it is waited for.
        """
        while not self._stopping.requested:
            if self._ready:
                return self._ready.popleft()
            try:
                self._advance(self._line.link())
            except (ServerUnavailable, Refused) as event:
                self._overcome(event)
        return None

    def now(self) -> tuple[str, Sequence[RawEntry]] | None:
        """The next entries, if there are any without waiting; raises as `next` does."""
        if not self._ready:
            try:
                self._advance(self._line.link(), wait=False)
            except (ServerUnavailable, Refused) as event:
                self._overcome(event)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Disconnect."""
        self._line.close()

    def _advance(self, link: Link, *, wait: bool = True) -> None:
        view = self._view
        if view is None:
            self._server.facts(self._stopping)
            view = self._view = self._begin(link)
        empty = self._look(link, view)
        self._line.answered()
        if self._ready:
            self._told = False
            return
        view.leave(self._now, empty)
        if view.over(self._now):
            self._search(link, view)
        elif wait:
            self._wait(link, view)

    def _begin(self, link: Link) -> View:
        """Turn the start into IDs, before the first wait, so that nothing written in between is missed."""
        (clock,) = link.exchange(commands.TIME)
        self._now = milliseconds(checked(self._name, clock))
        view = View(self._name, self._partitioning, self._start, self._now)
        if self._start.new:
            for mark in marks(link, existing(link, view.living(self._now))):
                view.took(mark.stream, mark.id)
        key, _ = view.current(self._now)
        self._observer.on_start(Position(key, view.behind(key)))
        return view

    def _look(self, link: Link, view: View) -> Sequence[str]:
        """Read behind every key that may have something; those that had nothing."""
        keys, count, empty = view.keys(self._now), self._page.entries, list[str]()
        reads = [commands.xread(key, view.behind(key), count) for key in keys]
        clock, *replies = link.exchange(commands.TIME, *reads)
        self._now = milliseconds(checked(self._name, clock))
        for key, reply in zip(keys, replies, strict=True):
            taken = self._take(view, key, reply)
            if not taken:
                empty.append(key)
            if taken >= count:
                break  # there may be more in this one, which is older than what is in the next
        return empty

    def _search(self, link: Link, view: View) -> None:
        """Go to the oldest partition that exists, or to the oldest that may still come into being."""
        for names in view.search(self._now):
            if found := existing(link, names):
                view.go_to(found[0], self._now)
                return
        view.go_to(None, self._now)

    def _wait(self, link: Link, view: View) -> None:
        """Wait a slice of time at the current key."""
        key, left = view.current(self._now)
        position = Position(key, view.behind(key))
        if self._position is not None and self._position.stream != key:
            self._observer.on_partition(position, self._position)
        self._position = position
        if not self._told:
            self._told = True
            self._observer.on_waiting(position)
        block_ms = SLICE_MS if left is None else max(1, min(SLICE_MS, left))
        info, reply = link.exchange(
            commands.xinfo_stream(key), commands.xread(key, position.id, self._page.entries, block_ms)
        )
        if isinstance(reply, Exception) and str(reply).startswith("UNBLOCKED"):
            # The key was deleted, or the server is no master any more: another connection finds the one that is.
            self._line.close()
            return
        facts = facts_of(key, info)
        if facts is None or not view.made_anew(key, facts.last_id):
            self._take(view, key, reply)

    def _take(self, view: View, key: str, reply: Reply) -> int:
        entries = entries_of_one(checked(key, reply))
        if entries:
            self._page.received(entries)
            newest = EntryId.parse(entries[-1][0])
            view.took(key, newest)
            if self._position is not None and self._position.stream == key:
                self._position = Position(key, newest)
            self._ready.append((key, entries))
        return len(entries)

    def _overcome(self, event: ServerUnavailable | Refused) -> None:
        error = event.error if isinstance(event, Refused) else event
        if self._stopping.requested:
            return
        if self._view is None and isinstance(event, ServerUnavailable) and not passing(event.__cause__):
            raise error
        self._line.pause(error, lost=not isinstance(event, Refused) or event.moved)
