"""Runs the demo and serves its page on 127.0.0.1, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis.asyncio
import uvicorn

from examples import common
from examples.orders.app import make_app
from examples.orders.demo import Demo
from examples.orders.settings import CONSUMERS, Settings
from examples.orders.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


class PageServer(uvicorn.Server):
    """uvicorn, without its signal handlers: ours end the open event streams first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def listening_socket(port: int) -> socket.socket:
    """A socket on loopback, and nowhere else."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen()  # who comes before the server is ready waits
    except OSError:
        listening.close()
        raise
    return listening


async def serve(client: redis.asyncio.Redis, settings: Settings, listening: socket.socket) -> None:
    """Run everything until a signal."""
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ending.set)
    address = f"http://{LOOPBACK}:{listening.getsockname()[1]}/"
    async with client, Demo(client, settings) as demo, Watch(demo) as watch:
        key = settings.stream_key
        print(
            f"{'Emptied' if settings.reset else 'Going on with'} the stream {key}, dead letters {settings.dead_letters}"
        )
        for group, names in CONSUMERS.items():
            print(f"Group {group}: {', '.join(names)}")
        config = uvicorn.Config(make_app(demo, watch), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        server = PageServer(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        print(f"The page: {address} (Ctrl-C ends everything)", flush=True)
        asked = asyncio.create_task(ending.wait())
        await asyncio.wait([serving, asked], return_when=asyncio.FIRST_COMPLETED)
        await watch.end()
        server.should_exit = True
        asked.cancel()
        await serving
        print("Stopped.", flush=True)


def run(url: str, settings: Settings, port: int) -> int:
    """Run everything; the exit status."""
    try:
        client = redis.asyncio.Redis.from_url(url)
    except ValueError as error:
        common.note(f"error: {url!r} is no URL of a server: {error}")
        return 1
    try:
        listening = listening_socket(port)
    except OSError as error:
        common.note(f"error: port {port} of {LOOPBACK} cannot be used ({error.strerror}); give another --port, or 0")
        return 1
    with listening:
        asyncio.run(serve(client, settings, listening))
    return 0
