"""Private servers that are killed, frozen, and started again with their data, under an address that stays."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import psutil
import redis
from typing_extensions import Self

from streamkit.testing import redis_server
from tests.endurance.waiting import until

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
"""What is confirmed survives a kill."""
REPLICATED = {"repl-diskless-sync-delay": "0"}
"""A replica need not wait for others."""


def port_of(url: str) -> int:
    """The port in a URL."""
    return int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])


def follow(replica: redis.Redis, url: str) -> None:
    """Make a server a replica of the one at ``url``, and wait until it is in step."""
    replica.replicaof("127.0.0.1", str(port_of(url)))
    until(lambda: replica.info("replication").get("master_link_status") == "up", "the replica is in step")


class PrivateServer:
    """A server with an address that survives it: a unix socket, since a TCP port may be taken between two starts.

    Attributes:
        url: Its address.
        admin: A client of the test's own, for looking at it and bothering it.
    """

    def __init__(self, **settings: str) -> None:
        self._home = ExitStack()
        self._running = ExitStack()
        self._directory = Path(self._home.enter_context(tempfile.TemporaryDirectory(prefix="sk-")))
        socket = self._directory / "socket"
        self._settings = {"dir": str(self._directory), "unixsocket": str(socket), **settings}
        self._process: psutil.Process | None = None
        self.url = f"unix://{socket}"
        self.tcp_url = ""
        self.admin = redis.Redis.from_url(self.url)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thaw()
        self.admin.close()
        self._running.close()
        self._home.close()

    def start(self) -> None:
        """Start it, or start it again with the data that it has on disk."""
        self.tcp_url = self._running.enter_context(redis_server(settings=self._settings))
        self._process = psutil.Process(self.admin.info("server")["process_id"])

    def kill(self) -> None:
        """Kill it as a crash would, and clean up behind it."""
        assert self._process is not None
        self._process.kill()
        self._running.close()
        self._process = None

    def cut(self) -> int:
        """Cut every connection but the test's own, and give their number."""
        return int(self.admin.client_kill_filter(_type="normal", skipme=True))

    def freeze(self) -> None:
        """Make it hang: connections stay open, and nothing is answered."""
        assert self._process is not None
        process = self._process
        process.suspend()
        until(lambda: process.status() == psutil.STATUS_STOPPED, "the server is frozen")

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None and self._process.is_running():
            self._process.resume()
