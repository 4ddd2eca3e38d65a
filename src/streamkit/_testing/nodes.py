"""One node of a private cluster, and what it can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import override

from streamkit._testing.servers import DEADLINE, HOST

if TYPE_CHECKING:
    from streamkit._testing.servers import Server


class Node:
    """One server of a `Cluster`.

    Attributes:
        id: Its ID in the cluster; it stays the same when the node is started again.
        host: Its host, ``"127.0.0.1"``.
    """

    id: str
    host: str = HOST

    def __init__(self, server: Server, password: str) -> None:
        self.id = ""
        self._server = server
        self._password = password
        # By the time they wait for a reply. Any: redis-py doesn't type how it sends a command.
        self._clients: dict[float, Any] = {}

    @property
    def port(self) -> int:
        """The port it listens on; it stays the same when the node is started again."""
        return self._server.port

    @property
    def bus_port(self) -> int:
        """The port on which it talks to the other nodes."""
        return self._server.bus_port

    @property
    def pid(self) -> int:
        """The ID of its process, to send it a signal."""
        return self._server.pid

    @property
    def running(self) -> bool:
        """Whether its process is there; it may be stopped by a signal."""
        return self._server.running

    @property
    def url(self) -> str:
        """The URL of this one server, for ``redis.Redis.from_url``."""
        password = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis://{password}{self.host}:{self.port}/0"

    def call(self, *words: str | bytes | int, within: float = DEADLINE) -> object:
        """Send this node one command, and follow no redirection.

        Args:
            words: The command and its arguments.
            within: For how many seconds to wait for the reply.

        Returns:
            The reply, its texts as bytes.

        Raises:
            redis.RedisError: The node refused the command, or did not answer.
        """
        if within not in self._clients:
            self._clients[within] = redis.Redis(
                host=self.host,
                port=self.port,
                password=self._password or None,
                socket_timeout=within,
                socket_connect_timeout=within,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
            )
        return cast("object", self._clients[within].execute_command(*words))

    def hang_up(self) -> None:
        """Close the connections that `call` made; the next call makes new ones."""
        while self._clients:
            self._clients.popitem()[1].close()

    @override
    def __repr__(self) -> str:
        return f"<Node {self.host}:{self.port}>"
