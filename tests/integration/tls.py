"""TLS in front of a server that has none: what clients send is decrypted and passed on, and answered encrypted."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from tests.integration.proxy import HOST, PIECE

DEADLINE = 60.0


@contextmanager
def tls_in_front_of(url: str, context: ssl.SSLContext) -> Iterator[str]:
    """Serve the server at ``url`` with this certificate; gives the ``rediss://`` URL to connect to instead."""
    loop = asyncio.new_event_loop()
    # A thread of its own: the tests of the synchronous half have no loop.
    thread = threading.Thread(target=loop.run_forever, name="tls", daemon=True)
    thread.start()
    front = _Front(url, context)
    try:
        port = asyncio.run_coroutine_threadsafe(front.open(), loop).result(DEADLINE)
        yield urlunsplit(urlsplit(url)._replace(scheme="rediss", netloc=f"{HOST}:{port}"))
    finally:
        asyncio.run_coroutine_threadsafe(front.close(), loop).result(DEADLINE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE)
        loop.close()


class _Front:
    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or HOST, parts.port or 6379)
        self._context = context
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        """Listen; gives the port."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, ssl=self._context)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        writers = [writer]
        try:
            upstream, to_upstream = await asyncio.open_connection(*self._upstream)
            writers.append(to_upstream)
            pumps = [asyncio.ensure_future(_pump(reader, to_upstream)), asyncio.ensure_future(_pump(upstream, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for each in writers:
                each.transport.abort()
            self._serving.discard(task)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass everything on, to the end of one of them."""
    with suppress(OSError):
        while piece := await source.read(PIECE):
            target.write(piece)
            await target.drain()
