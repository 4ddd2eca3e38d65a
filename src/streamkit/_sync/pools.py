# Generated from src/streamkit/asyncio/pools.py by tools/generate_sync.py: do not edit.
"""Connections: borrowed from the user's client for a single step, or a loop's own, with redis-py's retries off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from redis import exceptions
from typing_extensions import override

from streamkit._core.errors import ServerUnavailable
from streamkit._core.refusals import typed
from streamkit._sync._runtime import (
    IO_TIMEOUT,
    POOL_ARGUMENTS,
    Connection,
    Stopping,
    check_cancelled,
    cut,
    heeding,
    no_retries,
    relax,
    transport_of,
)
from streamkit._sync.links import LOST, TEXT_REPLIES, Known, Link, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

LEAST_IO_TIMEOUT = 2.0
CONNECT_TIMEOUT = 0.8
"""Seconds that a step of making a loop's own connection may take, at most: stop() waits for it."""
LAST_TIMEOUT = 0.2
"""The same after a stop, when a loop would give back what it holds: a server that is well takes a hundredth of it."""


def patience_of(settings: Mapping[str, Any]) -> float:
    """Seconds that a reply may take, by a client's settings."""
    return max(settings.get("socket_timeout") or IO_TIMEOUT, LEAST_IO_TIMEOUT)


class Pool(ABC):
    """Where links come from.

    Args:
        known: What is known of the server.
        patience: Seconds that a reply may take.
    """

    def __init__(self, known: Known, patience: float) -> None:
        self.known: Known = known
        self.patience: float = patience

    @property
    @abstractmethod
    def address(self) -> str:
        """Which server and database it leads to, as its client names them."""

    def same(self, other: Pool) -> bool:
        """Whether both lead to the same server and database, as far as their addresses tell."""
        return self.address == other.address

    @abstractmethod
    def borrow(self, stopping: Stopping | None = None) -> AbstractContextManager[Link]:
        """A link over the client's own connections, given back afterwards, cut if replies are still due.

        Args:
            stopping: Ends the waiting for replies; None: only the client's own timeout does.

        Raises:
            ServerUnavailable: There is none to be had.
        """

    @abstractmethod
    def open(self, stopping: Stopping | None) -> Link:
        """A link outside the client's pool, for a loop to keep; the loop closes it.

        Raises:
            ServerUnavailable: It could not be made.
        """


class ServerPool(Pool):
    """The connections of a client of one server, be it standalone or a Sentinel's master."""

    def __init__(self, pool: Any, known: Known) -> None:
        super().__init__(known, patience_of(pool.connection_kwargs))
        self._pool = pool

    @property
    @override
    def address(self) -> str:
        settings, name = self._pool.connection_kwargs, getattr(self._pool, "service_name", None)
        where = settings.get("path") or name or f"{settings.get('host')}:{settings.get('port')}"
        return f"{where}/{settings.get('db', 0)}"

    @override
    @contextmanager
    def borrow(self, stopping: Stopping | None = None) -> Iterator[Link]:
        try:
            found, cancelled = heeding(self._pool.get_connection(*POOL_ARGUMENTS))
        except (*LOST, exceptions.ResponseError) as error:
            raise typed(error, doing="connecting") from error
        connection = cast("Connection", found)
        link = Wire(connection, self.known, stopping, self.patience)
        try:
            check_cancelled(cancelled)
            yield link
        finally:
            if not link.clean:
                link.close()
            self._pool.release(connection)

    @override
    def open(self, stopping: Stopping | None) -> Link:
        connection = connected_at_last(self._pool.connection_class, self._pool.connection_kwargs, stopping)
        return Wire(connection, self.known, stopping, self.patience)


def connect_timeout(stopping: Stopping | None) -> float:
    """Seconds that a step of connecting may take: not long once the loop is to end."""
    return LAST_TIMEOUT if stopping is not None and stopping.requested else CONNECT_TIMEOUT


def connected_at_last(
    connection_class: Any, client_settings: Mapping[str, Any], stopping: Stopping | None, *, twice: bool = True
) -> Connection:
    """The same, tried twice if it takes too long: a step is short for `stop`, and any machine stands still for once."""
    try:
        return connected(connection_class, client_settings, connect_timeout(stopping))
    except ServerUnavailable as error:
        late = isinstance(error.__cause__, (exceptions.TimeoutError, TimeoutError))
        if not (twice and late) or (stopping is not None and stopping.requested):
            raise
    return connected(connection_class, client_settings, connect_timeout(stopping))


def connected(
    connection_class: Any, client_settings: Mapping[str, Any], timeout: float = CONNECT_TIMEOUT
) -> Connection:
    """A connection of our own with a client's settings, but for its timeouts and its retries.

    Raises:
        ServerUnavailable: It could not be made.
    """
    settings = {
        name: value
        for name, value in client_settings.items()
        if not name.startswith(("maint_notifications", "orig_", "oss_cluster"))
    }
    settings |= {
        "encoding": "utf-8",
        "encoding_errors": "strict",
        "decode_responses": TEXT_REPLIES,
        "retry": no_retries(),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(settings.get("socket_connect_timeout") or timeout, timeout),
    }
    connection = cast("Connection", connection_class(**settings))
    try:
        _, cancelled = heeding(connection.connect())
        check_cancelled(cancelled)
    except (*LOST, exceptions.ResponseError) as error:
        connection.disconnect()
        raise typed(error, doing="connecting") from error
    except BaseException:
        cut(connection, transport_of(connection))
        raise
    relax(connection)
    return connection
