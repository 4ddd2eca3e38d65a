"""Single calls that are safe to send again: sent until they are answered, or patience ends."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from streamkit._core.errors import ServerUnavailable
from streamkit._core.replies import raise_error
from streamkit._core.retry import RECONNECT
from streamkit.asyncio._runtime import Stopping
from streamkit.asyncio.connections import failed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streamkit._core.protocol import Command, Scalar
    from streamkit._core.replies import Reply
    from streamkit._core.scripts import Script
    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.links import Link

PATIENCE = 15.0
"""Seconds that a call is tried again while the server is away or refuses."""


class Insisting:
    """Sends calls to a server, each until it is answered.

    Args:
        server: Where to.
        key: The key they are about, for errors.
        stopping: Ends the waiting between two tries.
    """

    def __init__(self, server: Server, key: str, stopping: Stopping | None = None) -> None:
        self._server = server
        self._key = key
        self._stopping = Stopping() if stopping is None else stopping

    async def call(self, *batch: Command, doing: str) -> tuple[list[Reply], bool]:
        """The replies to commands, and whether an earlier try may have been carried out, its replies lost."""

        async def send(link: Link) -> list[Reply]:
            return [raise_error(reply) for reply in await link.exchange(*batch)]

        return await self._insist(send, doing)

    async def run(
        self, script: Script, keys: tuple[str, ...], arguments: tuple[Scalar, ...], *, doing: str
    ) -> tuple[Reply, bool]:
        """The reply of a script, and whether an earlier try may have been carried out, its reply lost."""

        async def send(link: Link) -> Reply:
            return await link.run(script, partial(script.call, keys, arguments))

        return await self._insist(send, doing)

    async def _insist(self, send: Callable[[Link], Awaitable[Reply]], doing: str) -> tuple[Reply, bool]:
        await self._server.facts()
        since, failures, lost = 0.0, 0, False
        while True:
            try:
                async with self._server.borrow() as link:
                    try:
                        return await send(link), lost
                    except ServerUnavailable:
                        lost = True
                        raise
                    except ResponseError as error:
                        raise await failed(link, error, doing=doing, key=self._key) from error
            except ServerUnavailable:
                since = since if failures else time.monotonic()
                failures += 1
                if self._stopping.requested or time.monotonic() - since > PATIENCE:
                    raise
            await self._stopping.wait(RECONNECT.delay(failures))
