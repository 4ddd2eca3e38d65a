"""What differs between tasks and threads. Hand-written; its twin is `streamkit.asyncio._runtime`."""

from __future__ import annotations

import inspect
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeAlias, cast

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import TypeVar

from streamkit._core.errors import InvalidArgument

Client: TypeAlias = "redis.Redis | redis.RedisCluster"
CLIENT: type = redis.Redis
CLUSTER: type = redis.RedisCluster
OTHER_CLIENTS: tuple[type, ...] = (redis.asyncio.Redis, redis.asyncio.RedisCluster)
HALF, OTHER_HALF = "streamkit", "streamkit.asyncio"
# redis-py before 5.3 wants a command name here, later ones warn about it.
_GET: Any = inspect.unwrap(cast("Any", redis.ConnectionPool).get_connection)
_NAME = inspect.signature(_GET).parameters["command_name"]
POOL_ARGUMENTS: tuple[str, ...] = ("_",) if _NAME.default is inspect.Parameter.empty else ()
IO_TIMEOUT = 5.0
"""Seconds a reply may take on a connection of our own, if the client sets no timeout."""
STOP_PATIENCE = 0.7
"""Seconds after stop() that a reply may still take: with the slice of a blocking read, under a second."""
_LOOK = 0.05
"""Seconds between two looks at the flag while nothing else happens."""

_PIECE = 64 * 1024
OVERDUE = "stopped while the server did not answer"

T = TypeVar("T")
Values: TypeAlias = Iterable[T]
"""What append_many takes."""


class Connection(Protocol):
    """What streamkit uses of a redis-py connection."""

    socket_timeout: float | None

    def connect(self) -> Any: ...
    def disconnect(self) -> None: ...
    def send_packed_command(self, command: Any, *, check_health: bool = ...) -> None: ...
    def read_response(self, *, disable_decoding: bool = ..., disconnect_on_error: bool = ...) -> Any: ...
    def can_read(self, timeout: float = ...) -> bool: ...


def no_retries() -> Retry:
    """The retry policy of a connection that leaves retrying to us."""
    return Retry(NoBackoff(), 0)


def reply_of(connection: Connection, *, text: bool = False) -> Any:
    """The next raw reply of a connection, as bytes or as text; errors are raised as redis-py raises them."""
    if text:
        # Bytes that are no text are found when the reply has been read to its end: the connection stays good.
        return connection.read_response(disable_decoding=False, disconnect_on_error=False)
    return connection.read_response(disable_decoding=True)


def take(values: Iterator[T], count: int, seconds: float) -> tuple[list[T], bool, Exception | None]:
    """The next values, whether there may be more, and what the iterator raised.

    At most ``count``, collected for no longer than about ``seconds``. An error is returned, not raised, so that what
    came before it can still be written.
    """
    taken: list[T] = []
    until = time.monotonic() + seconds
    try:
        for value in values:
            taken.append(value)
            if len(taken) >= count or time.monotonic() > until:
                return taken, True, None
    except Exception as error:  # noqa: BLE001 - raised again by the caller, after what came before it
        return taken, False, error
    return taken, False, None


def iterator(values: Values[T]) -> Iterator[T]:
    """The one iterator of these values."""
    return iter(values)


def heeding(result: T) -> tuple[T, bool]:
    """Threads are not cancelled."""
    return result, False


def check_cancelled(_cancelled: bool) -> None:  # noqa: FBT001 - as the twin's
    """Nothing to check."""


def send(connection: Connection, data: bytes) -> None:
    """Write packed commands."""
    connection.send_packed_command([data], check_health=False)


def transport_of(_connection: Connection) -> Any:
    """Nothing to remember: a socket holds back nothing that it has not sent."""
    return None


def cut(connection: Connection, _transport: Any) -> None:
    """End a connection at once."""
    connection.disconnect()


def relax(connection: Connection) -> None:
    """Nothing to do: the short timeout of the socket stays, and `Stopping` is as patient as it is asked to be."""


class Stopping:
    """A flag that a loop looks at; set from any thread or signal handler.

    Only a bool, looked at every few hundredths of a second: an Event's lock, taken in a signal handler while the same
    thread waits on it, would deadlock.
    """

    def __init__(self) -> None:
        self.requested: bool = False
        self._since = 0.0

    def bind(self) -> None:
        """Nothing to bind: threads need no event loop."""

    def request(self) -> None:
        """Ask the loop to stop."""
        if not self.requested:
            self._since = time.monotonic()
            self.requested = True

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

    def wait(self, seconds: float) -> None:
        """Sleep so long, or until the stop is requested."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))

    def reply(self, connection: Connection, patience: float, *, text: bool = False) -> Any:
        """The next raw reply; TimeoutError if it takes longer than that, or is overdue after a stop."""
        until = time.monotonic() + patience
        while not connection.can_read(timeout=_LOOK if self.requested else 4 * _LOOK):
            now = time.monotonic()
            if self.requested and now > self._since + STOP_PATIENCE:
                raise TimeoutError(OVERDUE)
            if now > until:
                msg = f"no answer within {patience} s"
                raise TimeoutError(msg)
        return reply_of(connection, text=text)

    def write(self, connection: Connection, data: bytes, patience: float) -> None:  # noqa: ARG002 - as the twin's
        """Write packed commands, in pieces: the connection's short timeout holds for each of them."""
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        connection.send_packed_command(pieces, check_health=False)


class Bell:
    """Wakes a waiting loop, from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        """Wake who waits now, or next."""
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Sleep so long, or until it rings."""
        self._event.wait(seconds)
        self._event.clear()


class Background:
    """Work that goes on beside a loop, in a thread of its own, until it ends by itself."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._work, name="streamkit", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Nothing to do: threads cannot be cancelled."""

    def join(self) -> None:
        """Wait for its end."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.join()


def join_all(works: Sequence[Background]) -> None:
    """Wait for the end of all; an interruption leaves them alone, since threads cannot be cancelled."""
    for each in works:
        each.join()


class Workers(Generic[T]):
    """Threads that handle items beside one another."""

    def __init__(self, count: int, work: Callable[[T], None]) -> None:
        self._work = work
        self._items: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._handle, name=f"streamkit-worker-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, item: T) -> None:
        """Have an item handled."""
        self._items.put((item,))

    def close(self, seconds: float | None) -> None:
        """Wait so long for what is being handled (None: as long as it takes); threads cannot be cancelled."""
        for _ in self._threads:
            self._items.put(None)
        until = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))

    def _handle(self) -> None:
        while (item := self._items.get()) is not None:
            self._work(*item)


def refuse_result(result: object) -> None:
    """Raise InvalidArgument for a result that somebody would have to await."""
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        msg = (
            "the handler returned an awaitable, which the synchronous half cannot await: its entry was not handled; "
            "use streamkit.asyncio, or give a plain function"
        )
        raise InvalidArgument(msg)


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
    pool = client.get_redis_connection(node).connection_pool
    # Whatever the client does with a new connection beyond logging in is about its own way of reading replies.
    return pool.connection_class, {**pool.connection_kwargs, "redis_connect_func": None}


def seeds(client: Any) -> list[tuple[str, int]]:
    """The nodes that a cluster client has heard of."""
    manager = client.nodes_manager
    nodes = [*manager.nodes_cache.values(), *manager.startup_nodes.values()]
    return [(node.host, int(node.port)) for node in nodes]


def borrowed_from_node(client: Any, address: tuple[str, int]) -> tuple[Any, Any]:
    """A connection of the client's to a node, with its pool; None, None: the client does not know the node."""
    node = client.get_node(host=address[0], port=address[1])
    if node is None:
        return None, None
    pool = client.get_redis_connection(node).connection_pool
    return pool.get_connection(*POOL_ARGUMENTS), pool


def give_back_to_node(_client: Any, pool: Any, connection: Any) -> None:
    """Give a connection back to its node's pool."""
    pool.release(connection)
