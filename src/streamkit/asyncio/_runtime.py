"""What differs between tasks and threads. Hand-written; its twin is `streamkit._sync._runtime`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from typing_extensions import TypeVar

Client: TypeAlias = redis.asyncio.Redis
CLIENT: type = redis.asyncio.Redis
OTHER_CLIENT: type = redis.Redis
HALF, OTHER_HALF = "streamkit.asyncio", "streamkit"
IO_TIMEOUT = 5.0
"""Seconds a reply may take on a connection of our own, if the client sets no timeout."""
STOP_PATIENCE = 0.7
"""Seconds after stop() that a reply may still take: with the slice of a blocking read, under a second."""

OVERDUE = "stopped while the server did not answer"

T = TypeVar("T")
Values: TypeAlias = Iterable[T] | AsyncIterable[T]
"""What append_many takes: any iterable, also an asynchronous one."""


class Connection(Protocol):
    """What streamkit uses of a redis-py connection."""

    socket_timeout: float | None

    async def connect(self) -> None: ...
    async def disconnect(self) -> None: ...
    async def send_packed_command(self, command: Any, *, check_health: bool = ...) -> None: ...
    async def read_response(self, *, disable_decoding: bool = ...) -> Any: ...


def no_retries() -> Retry:
    """The retry policy of a connection that leaves retrying to us."""
    return Retry(NoBackoff(), 0)


async def reply_of(connection: Connection) -> Any:
    """The next raw reply of a connection; errors are raised as redis-py raises them."""
    return await connection.read_response(disable_decoding=True)


async def take(
    values: AsyncIterator[T] | Iterator[T], count: int, seconds: float
) -> tuple[list[T], bool, Exception | None]:
    """The next values, whether there may be more, and what the iterator raised.

    At most ``count``, collected for no longer than about ``seconds``. An error is returned, not raised, so that what
    came before it can still be written.
    """
    taken: list[T] = []
    until = time.monotonic() + seconds
    try:
        if isinstance(values, AsyncIterator):
            async for value in values:
                taken.append(value)
                if len(taken) >= count or time.monotonic() > until:
                    return taken, True, None
        else:
            for value in values:
                taken.append(value)
                if len(taken) >= count or time.monotonic() > until:
                    return taken, True, None
    except Exception as error:  # noqa: BLE001 - raised again by the caller, after what came before it
        return taken, False, error
    return taken, False, None


def iterator(values: Values[T]) -> AsyncIterator[T] | Iterator[T]:
    """The one iterator of these values."""
    return aiter(values) if isinstance(values, AsyncIterable) else iter(values)


class Stopping:
    """A flag that a loop looks at and can be woken by; set from any thread, task or signal handler."""

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._reading: asyncio.Task[Any] | None = None
        self._overdue = False

    def bind(self) -> None:
        """Make the running event loop the one to wake; called by the loop as it starts."""
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        if self.requested:
            self._wake()

    def request(self) -> None:
        """Ask the loop to stop."""
        if self.requested:
            return
        self._since = time.monotonic()
        self.requested = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def clear(self) -> None:
        """Forget the request: the loop has ended."""
        self.requested = False
        self._loop = None

    async def wait(self, seconds: float) -> None:
        """Sleep so long, or until the stop is requested."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return

    async def reply(self, connection: Connection) -> Any:
        """The next raw reply; TimeoutError if a stop was requested and the reply is overdue."""
        if self.requested and time.monotonic() > self._since + STOP_PATIENCE:
            try:
                return await asyncio.wait_for(reply_of(connection), 0.05)
            except asyncio.TimeoutError as error:  # Python 3.10 has two kinds of TimeoutError
                raise TimeoutError(OVERDUE) from error
        # No task of its own, no timer: a stop that finds the reply overdue cancels the read from outside.
        self._reading = asyncio.current_task()
        try:
            return await reply_of(connection)
        except asyncio.CancelledError:
            if not self._overdue or self._reading is None:
                raise
            # Python 3.11 counts cancellations; this one was ours.
            getattr(self._reading, "uncancel", int)()
            raise TimeoutError(OVERDUE) from None
        finally:
            self._reading = None
            self._overdue = False

    def _wake(self) -> None:
        self._event.set()
        if self._loop is not None:
            self._loop.call_later(STOP_PATIENCE, self._cut)

    def _cut(self) -> None:
        overdue = time.monotonic() >= self._since + STOP_PATIENCE - 0.01
        if self._reading is not None and self.requested and overdue:
            self._overdue = True
            self._reading.cancel()
