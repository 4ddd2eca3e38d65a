# Generated from src/streamkit/asyncio/insisting.py by tools/generate_sync.py: do not edit.
"""Single calls that are safe to send again: sent until they are answered, or patience ends."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from streamkit._core.errors import ServerUnavailable
from streamkit._core.replies import raise_error
from streamkit._core.retry import RECONNECT
from streamkit._sync._runtime import Stopping
from streamkit._sync.connections import failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamkit._core.protocol import Command, Scalar
    from streamkit._core.replies import Reply
    from streamkit._core.scripts import Script
    from streamkit._sync.connections import Server
    from streamkit._sync.links import Link

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

    def call(self, *batch: Command, doing: str) -> tuple[list[Reply], bool]:
        """The replies to commands, and whether an earlier try may have been carried out, its replies lost."""

        def send(link: Link) -> list[Reply]:
            return [raise_error(reply) for reply in link.exchange(*batch)]

        return self._insist(send, doing)

    def run(
        self, script: Script, keys: tuple[str, ...], arguments: tuple[Scalar, ...], *, doing: str
    ) -> tuple[Reply, bool]:
        """The reply of a script, and whether an earlier try may have been carried out, its reply lost."""

        def send(link: Link) -> Reply:
            return link.run(script, partial(script.call, keys, arguments))

        return self._insist(send, doing)

    def _insist(self, send: Callable[[Link], Reply], doing: str) -> tuple[Reply, bool]:
        self._server.facts()
        since, failures, lost = 0.0, 0, False
        while True:
            try:
                with self._server.borrow() as link:
                    try:
                        return send(link), lost
                    except ServerUnavailable:
                        lost = True
                        raise
                    except ResponseError as error:
                        raise failed(link, error, doing=doing, key=self._key) from error
            except ServerUnavailable:
                since = since if failures else time.monotonic()
                failures += 1
                if self._stopping.requested or time.monotonic() - since > PATIENCE:
                    raise
            self._stopping.wait(RECONNECT.delay(failures))
