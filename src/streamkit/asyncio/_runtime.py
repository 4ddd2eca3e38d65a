"""What differs between tasks and threads. Hand-written; its twin is `streamkit._sync._runtime`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator
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
    async def read_response(self, *, disable_decoding: bool = ..., disconnect_on_error: bool = ...) -> Any: ...


def no_retries() -> Retry:
    """The retry policy of a connection that leaves retrying to us."""
    return Retry(NoBackoff(), 0)


async def reply_of(connection: Connection, *, text: bool = False) -> Any:
    """The next raw reply of a connection, as bytes or as text; errors are raised as redis-py raises them."""
    if text:
        # Bytes that are no text are found when the reply has been read to its end: the connection stays good.
        return await connection.read_response(disable_decoding=False, disconnect_on_error=False)
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


def relax(connection: Connection, seconds: float) -> None:
    """Give a connection this timeout once it is made; it was made under a shorter one."""
    connection.socket_timeout = seconds


class Stopping:
    """A flag that a loop looks at and can be woken by; set from any thread, task or signal handler."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self.requested = False
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._working: asyncio.Task[Any] | None = None
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
        if self._timer is not None:
            self._timer.cancel()

    async def wait(self, seconds: float) -> None:
        """Sleep so long, or until the stop is requested."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return

    async def reply(self, connection: Connection, patience: float, *, text: bool = False) -> Any:  # noqa: ARG002
        """The next raw reply; TimeoutError if a stop was requested and the reply is overdue."""
        return await self._in_time(reply_of(connection, text=text))

    async def write(self, connection: Connection, data: bytes) -> None:
        """Write packed commands; TimeoutError if a stop was requested and the server does not take them."""
        await self._in_time(connection.send_packed_command([data], check_health=False))

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        if self.requested and time.monotonic() > self._since + STOP_PATIENCE:
            try:
                return await asyncio.wait_for(work, 0.05)
            except asyncio.TimeoutError as error:  # Python 3.10 has two kinds of TimeoutError
                raise TimeoutError(OVERDUE) from error
        # No task of its own, no timer: a stop that finds the work overdue cancels it from outside.
        self._working = task = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError:
            # Python 3.11 counts cancellations: one of them was ours, and no other may be swallowed.
            if not self._overdue or getattr(task, "uncancel", int)() > 0:
                raise
            raise TimeoutError(OVERDUE) from None
        finally:
            self._working = None
            self._overdue = False

    def _wake(self) -> None:
        self._event.set()
        if self._loop is not None:
            self._timer = self._loop.call_later(STOP_PATIENCE, self._cut)

    def _cut(self) -> None:
        overdue = time.monotonic() >= self._since + STOP_PATIENCE - 0.01
        if self._working is not None and self.requested and overdue:
            self._overdue = True
            self._working.cancel()
