"""What differs between tasks and threads. Hand-written; its twin is `streamkit._sync._runtime`."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeAlias, cast

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from typing_extensions import TypeVar

Client: TypeAlias = "redis.asyncio.Redis | redis.asyncio.RedisCluster"
CLIENT: type = redis.asyncio.Redis
CLUSTER: type = redis.asyncio.RedisCluster
OTHER_CLIENTS: tuple[type, ...] = (redis.Redis, redis.RedisCluster)
HALF, OTHER_HALF = "streamkit.asyncio", "streamkit"
# redis-py before 5.3 wants a command name here, later ones warn about it.
_GET: Any = inspect.unwrap(cast("Any", redis.asyncio.ConnectionPool).get_connection)
_NAME = inspect.signature(_GET).parameters["command_name"]
POOL_ARGUMENTS: tuple[str, ...] = ("_",) if _NAME.default is inspect.Parameter.empty else ()
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

    async def connect(self) -> Any: ...
    async def disconnect(self, *, nowait: bool = ...) -> None: ...
    async def send_packed_command(self, command: Any, *, check_health: bool = ...) -> None: ...
    async def read_response(self, *, disable_decoding: bool = ..., disconnect_on_error: bool = ...) -> Any: ...


def no_retries() -> Retry:
    """The retry policy of a connection that leaves retrying to us."""
    return Retry(NoBackoff(), 0)


async def reply_of(connection: Connection, *, text: bool = False) -> Any:
    """The next raw reply of a connection, as bytes or as text; errors are raised as redis-py raises them."""
    # The connection stays good when a task is cancelled while it waits, since what came of a reply is kept; and when
    # bytes are no text, which is found at a reply's end. After any other error its owner closes it.
    return await connection.read_response(disable_decoding=not text, disconnect_on_error=False)


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


async def heeding(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """What something of redis-py's gave, and whether the task was cancelled meanwhile.

    redis-py connects and writes within asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
    """
    task: Any = asyncio.current_task()
    if hasattr(task, "cancelling"):
        before = task.cancelling()
        return await work, task.cancelling() > before
    # Python 3.10 does not count them: a task of its own takes the waiting on, and this one only waits for its end.
    inner = asyncio.ensure_future(work)
    try:
        await asyncio.wait([inner])
    except asyncio.CancelledError:
        inner.cancel()
        await asyncio.wait([inner])
        if inner.cancelled() or inner.exception() is not None:
            raise
        return inner.result(), True
    return inner.result(), False


def check_cancelled(cancelled: bool) -> None:  # noqa: FBT001 - `heeding`'s word
    """Raise CancelledError if that is so."""
    if cancelled:
        raise asyncio.CancelledError


async def send(connection: Connection, data: bytes) -> None:
    """Write packed commands."""
    writing = connection.send_packed_command([data], check_health=False)
    if connection.socket_timeout is None:
        await writing  # without wait_for
    else:
        check_cancelled((await heeding(writing))[1])


def transport_of(connection: Connection) -> Any:
    """What a connection writes to, remembered while it is good: redis-py drops it before we could cut it."""
    return getattr(getattr(connection, "_writer", None), "transport", None)


async def cut(connection: Connection, transport: Any) -> None:
    """End a connection at once: what it has not sent yet must not arrive after its commands were sent again."""
    if transport is not None:
        transport.abort()
    await connection.disconnect(nowait=True)


def relax(connection: Connection) -> None:
    """Take the timeout under which a connection was made off it: `Stopping` is as patient as it is asked to be."""
    connection.socket_timeout = None


class Stopping:
    """A flag that a loop looks at and can be woken by; set from any thread, task or signal handler."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self.requested: bool = False
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._working: asyncio.Task[Any] | None = None
        self._overdue = False

    def bind(self) -> None:
        """Make the running event loop the one to wake; called by the loop as it starts."""
        self._loop = asyncio.get_running_loop()
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

    @property
    def overdue(self) -> bool:
        """Whether a stop was requested so long ago that nothing more may be waited for."""
        return self.requested and time.monotonic() > self._since + STOP_PATIENCE

    def renew(self) -> None:
        """The loop gets to its end only now: its last replies may take as long as if the stop came now."""
        self._since = time.monotonic()

    def clear(self) -> None:
        """Forget the request: the loop has ended."""
        self.requested = False
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    async def wait(self, seconds: float) -> None:
        """Sleep so long, or until the stop is requested."""
        if self.requested:
            return
        loop = asyncio.get_running_loop()
        self._waiting = waiting = loop.create_future()
        timer = loop.call_later(seconds, _finish, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting = None

    async def reply(self, connection: Connection, patience: float, *, text: bool = False) -> Any:
        """The next raw reply; TimeoutError if it takes longer than that, or is overdue after a stop."""
        return await self._in_time(reply_of(connection, text=text), patience)

    async def write(self, connection: Connection, data: bytes, patience: float) -> None:
        """Write packed commands; TimeoutError if the server does not take them in that time, or after a stop."""
        await self._in_time(send(connection, data), patience)

    async def _in_time(self, work: Coroutine[Any, Any, T], patience: float) -> T:
        if self.requested:
            patience = min(patience, max(0.05, self._since + STOP_PATIENCE - time.monotonic()))
        # Neither wait_for nor a task of its own: the timer, or a stop, cancels the work from outside.
        self._working = task = asyncio.current_task()
        timer = asyncio.get_running_loop().call_later(patience, self._expire)
        try:
            return await work
        except asyncio.CancelledError:
            # Python 3.11 counts cancellations: one of them was ours, and no other may be swallowed.
            if not self._overdue or getattr(task, "uncancel", int)() > 0:
                raise
            raise TimeoutError(OVERDUE if self.requested else f"no answer within {patience:g} s") from None
        finally:
            timer.cancel()
            self._working = None
            self._overdue = False

    def _wake(self) -> None:
        if self._waiting is not None:
            _finish(self._waiting)
        if self._loop is not None:
            self._timer = self._loop.call_later(STOP_PATIENCE, self._cut)

    def _cut(self) -> None:
        if self.requested:
            self._expire()

    def _expire(self) -> None:
        if self._working is not None and not self._overdue:
            self._overdue = True
            self._working.cancel()


def _finish(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class Bell:
    """Wakes a waiting loop of the same event loop."""

    def __init__(self) -> None:
        self._rung = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits now, or next."""
        self._rung = True
        if self._waiting is not None:
            _finish(self._waiting)

    async def wait(self, seconds: float) -> None:
        """Sleep so long, or until it rings."""
        # Not wait_for, which before Python 3.12 may swallow a cancellation.
        if not self._rung:
            loop = asyncio.get_running_loop()
            self._waiting = waiting = loop.create_future()
            timer = loop.call_later(seconds, _finish, waiting)
            try:
                await waiting
            finally:
                timer.cancel()
                self._waiting = None
        self._rung = False


class Background:
    """Work that goes on beside a loop, in a task of its own, until it ends by itself."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    def cancel(self) -> None:
        """Cancel it, wherever it is; threads cannot be cancelled."""
        if self._task is not None:
            self._cancelled = self._task.cancel()

    async def join(self) -> None:
        """Wait for its end, however often this is cancelled meanwhile: nothing goes on behind it."""
        if self._task is None:
            return
        task, self._task = self._task, None
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                # Not left to that task, which may be ending just now, and would swallow it.
                cancelled = error
                task.cancel()
        if cancelled is not None:
            raise cancelled
        if not self._cancelled:
            await task


async def join_all(works: Sequence[Background]) -> None:
    """Wait for the end of all; if this is cancelled, all of them are, and it ends when they have."""
    cancelled: asyncio.CancelledError | None = None
    for each in works:
        try:
            await each.join()
        except asyncio.CancelledError as error:
            cancelled = error
            for other in works:
                other.cancel()
    if cancelled is not None:
        raise cancelled


class Workers(Generic[T]):
    """Tasks that handle items beside one another, one for each item."""

    def __init__(self, count: int, work: Callable[[T], Coroutine[Any, Any, None]]) -> None:
        del count  # the caller never puts in more than it wants handled at once
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, item: T) -> None:
        """Have an item handled."""
        task = asyncio.get_running_loop().create_task(self._work(item))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, seconds: float | None) -> None:
        """Wait so long for what is being handled (None: as long as it takes), then cancel the rest."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)


def refuse_result(result: object) -> None:
    """A coroutine's result is nobody's business."""
    del result


# -- nodes of a cluster -----------------------------------------------------------------------------------------------


def remapping(client: Any) -> Callable[[tuple[str, int]], tuple[str, int]]:
    """How a cluster client turns the addresses that nodes know one another by into those by which it reaches them."""

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        host, port = client.nodes_manager.remap_host_port(*address)
        return host, int(port)

    return remap


def node_settings(client: Any) -> tuple[Any, dict[str, Any]]:
    """The class of a cluster client's connections, and what they are made with."""
    node = next(iter(client.nodes_manager.startup_nodes.values()))
    return node.connection_class, node.connection_kwargs


_UNREACHABLE = (exceptions.RedisClusterException, exceptions.ConnectionError, exceptions.TimeoutError)


def seeds(client: Any) -> list[tuple[str, int]]:
    """The nodes that a cluster client has heard of."""
    manager = client.nodes_manager
    nodes = [*manager.nodes_cache.values(), *manager.startup_nodes.values()]
    return [(node.host, int(node.port)) for node in nodes]


async def borrowed_from_node(client: Any, address: tuple[str, int]) -> tuple[Any, Any]:
    """A connection of the client's to a node, with the node; None, None: the client does not know the node."""
    try:
        _, cancelled = await heeding(client.initialize())
    except (*_UNREACHABLE, OSError):
        # It also asks a node of its own choice, which may be down while ours is not.
        return None, None
    check_cancelled(cancelled)
    node = client.nodes_manager.nodes_cache.get(f"{address[0]}:{address[1]}")
    if node is None:
        return None, None
    connection = node.acquire_connection()
    try:
        # Something to read that nobody asked for: the server has closed it. redis-py 8 renamed the question.
        readable = getattr(connection, "can_read", None) or connection.can_read_destructive
        if connection.is_connected and await readable():
            await connection.disconnect()
        _, cancelled = await heeding(connection.connect())
        check_cancelled(cancelled)
    except BaseException:
        await connection.disconnect(nowait=True)
        await give_back_to_node(client, node, connection)
        raise
    return connection, node


async def give_back_to_node(client: Any, node: Any, connection: Any) -> None:
    """Give a connection back to its node."""
    if client.nodes_manager.nodes_cache.get(node.name) is not node:
        # The client has looked for its nodes anew meanwhile, and will not close this one any more.
        await connection.disconnect(nowait=True)
    release = getattr(node, "release", None)
    if release is None:  # redis-py before 6
        node._free.append(connection)  # noqa: SLF001
    else:
        release(connection)
