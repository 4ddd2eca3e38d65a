# Generated from src/streamkit/asyncio/paging.py by tools/generate_sync.py: do not edit.
"""Reading history page by page, each page over a connection borrowed for it, asked for again if its reply is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamkit._core import commands
from streamkit._core.errors import ServerUnavailable
from streamkit._core.ids import EntryId
from streamkit._core.pages import MOST, Page
from streamkit._core.refusals import untrusted
from streamkit._core.replaying import GREATEST
from streamkit._core.replies import milliseconds
from streamkit._core.retry import RECONNECT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.observers import Observer
    from streamkit._core.periods import Partition
    from streamkit._core.protocol import Command
    from streamkit._core.replaying import Scope
    from streamkit._core.replies import RawEntry, Reply
    from streamkit._sync._runtime import Stopping
    from streamkit._sync.connections import Server

PATIENCE = 15.0
"""Seconds that a page is asked for again while the server is away or refuses."""


class Pages:
    """The entries of a scope, a page at a time; between two of them no connection is held.

    A page begins at the ID next to the last one read, so that nothing is given twice or passed over, whatever is
    trimmed, deleted or written meanwhile. A key is done with when nothing is left in it, a scope when no partition is.

    Args:
        server: Whom to ask.
        scope: What to read.
        observer: Told when the server is away and when it is back.
        stopping: Ends it.
        count: How many entries are wanted; no page is larger.
        reverse: Whether to read from the newest to the oldest.
    """

    def __init__(
        self,
        server: Server,
        scope: Scope,
        observer: Observer,
        stopping: Stopping,
        *,
        count: int | None = None,
        reverse: bool = False,
    ) -> None:
        self._server = server
        self._scope = scope
        self._observer = observer
        self._stopping = stopping
        self._reverse = reverse
        self._page = Page(MOST if count is None else count)
        self._partition: Partition | None = None
        self._key: str | None = scope.name if scope.partitioning is None else None
        """The key being read; None: the next partition is to be looked for."""
        self._first, self._last = scope.first, scope.last
        self._failures = 0
        self._failing_since = 0.0

    def next(self) -> tuple[str, Sequence[RawEntry]] | None:
        """The next entries and the key they stand in; None at the end of the scope, or when it is to stop."""
        while True:
            if self._key is None:
                self._key = self._next_partition()
                self._first, self._last = self._scope.first, self._scope.last
            if self._key is None:
                return None
            key = self._key
            entries = self._read(key)
            if entries is None:
                return None
            if entries:
                self._page.received(entries)
                self._pass(EntryId.parse(entries[-1][0]))
                return key, entries
            if self._scope.partitioning is None:
                return None
            self._key = None

    def _read(self, key: str) -> Sequence[RawEntry] | None:
        if self._first > self._last:
            return ()
        read = commands.xrevrange if self._reverse else commands.xrange
        command = read(key, self._first, self._last, self._page.entries)
        replies = self._ask(command, doing=f"reading {key!r}", key=key)
        return None if replies is None else replies[0]

    def _pass(self, read: EntryId) -> None:
        if not self._reverse:
            self._first = read.after()
        if self._reverse or read == GREATEST:  # which has none after it
            self._last = read.before()

    def _next_partition(self) -> str | None:
        """The next partition that exists. Sends TIME, then EXISTS for names from the last one on, some at a time."""
        clock = self._ask(commands.TIME, doing="TIME", key=self._scope.name)
        if clock is None:
            return None
        now = milliseconds(clock[0])
        for block in self._scope.names(now, self._partition, reverse=self._reverse):
            found = self._ask(
                *[commands.exists(partition.key) for partition in block],
                doing=f"EXISTS of {self._scope.name}:*",
                key=self._scope.name,
            )
            if found is None:
                return None
            for partition, exists in zip(block, found, strict=True):
                if exists:
                    self._partition = partition
                    return partition.key
        return None

    def _ask(self, *batch: Command, doing: str, key: str) -> list[Reply] | None:
        """The replies to commands that only read, asked for until they come; None when it is to stop.

        Raises:
            ServerUnavailable: They did not come for 15 s.
            ServerError: The server refuses them for good.
        """
        while not self._stopping.requested:
            try:
                replies = self._server.call(*batch, doing=doing, key=key, stopping=self._stopping)
            except ServerUnavailable as error:
                self._overcome(error)
            else:
                if self._failures:
                    self._failures = 0
                    self._observer.on_available()
                return replies
        return None

    def _overcome(self, error: ServerUnavailable) -> None:
        if self._stopping.requested:
            return
        now = time.monotonic()
        self._failing_since = self._failing_since if self._failures else now
        self._failures += 1
        if now - self._failing_since > PATIENCE or untrusted(error):
            raise error
        delay = RECONNECT.delay(self._failures)
        self._observer.on_unavailable(error, self._failures, delay)
        self._stopping.wait(delay)
