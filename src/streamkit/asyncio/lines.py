"""A loop's own connection: made when needed, made again when lost, with growing pauses that a stop cuts short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit._core.errors import ServerUnavailable
from streamkit._core.retry import RECONNECT

if TYPE_CHECKING:
    from streamkit._core.observers import Observer
    from streamkit.asyncio._runtime import Stopping
    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.links import Link


class Line:
    """One connection of a loop's own, and the patience to get it back.

    Args:
        server: Where to.
        observer: Told when the server is away and when it is back.
        stopping: Cuts every wait short.
    """

    def __init__(self, server: Server, observer: Observer, stopping: Stopping) -> None:
        self._server = server
        self._observer = observer
        self._stopping = stopping
        self._link: Link | None = None
        self._failures = 0

    async def link(self) -> Link:
        """The connection, made if there is none; raises ServerUnavailable."""
        if self._link is None:
            self._link = await self._server.open(self._stopping)
        return self._link

    def answered(self) -> None:
        """Note that the server did what it was asked."""
        if self._failures:
            self._failures = 0
            self._observer.on_available()

    async def pause(self, error: ServerUnavailable, *, lost: bool = True) -> None:
        """After a failure: drop the connection if it is lost, tell the observer, wait a little."""
        if lost:
            await self.close()
        self._failures += 1
        delay = RECONNECT.delay(self._failures)
        self._observer.on_unavailable(error, self._failures, delay)
        await self._stopping.wait(delay)

    async def close(self) -> None:
        """Cut the connection; the next use makes another."""
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()
