# Generated from src/streamkit/asyncio/connections.py by tools/generate_sync.py: do not edit.
"""Connections: borrowed from the user's client for a single step, or a loop's own, with redis-py's retries off.

redis-py retries whole commands, which doubles writes whose reply was lost. So nothing here goes through the client's
own ``execute_command``: a `Link` writes packed commands to a connection and reads raw replies from it, in order.
"""

from __future__ import annotations

import inspect
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import redis
from redis import ConnectionPool, exceptions
from redis.utils import HIREDIS_AVAILABLE

from streamkit._core import commands
from streamkit._core.errors import InvalidArgument, ServerTooOld
from streamkit._core.protocol import pack
from streamkit._core.refusals import Refusal, refusal, typed
from streamkit._core.replies import Reply, ServerFacts, raise_error, server_facts
from streamkit._sync._runtime import (
    CLIENT,
    HALF,
    IO_TIMEOUT,
    OTHER_CLIENT,
    OTHER_HALF,
    Client,
    Connection,
    Stopping,
    check_cancelled,
    cut,
    heeding,
    no_retries,
    relax,
    reply_of,
    send,
    transport_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamkit._core.protocol import Command, Scalar
    from streamkit._core.scripts import Script

LEAST_MAJOR = 7
LEAST_IO_TIMEOUT = 2.0
CONNECT_TIMEOUT = 0.8
"""Seconds that a step of making a loop's own connection may take, at most: stop() waits for it."""
TEXT_REPLIES = HIREDIS_AVAILABLE and int(redis.__version__.partition(".")[0]) >= 8
"""Whether single replies can be had as text: older versions of redis-py decode some ahead of being asked."""
LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, EOFError)


@dataclass
class _Known:
    """What is known of the server behind a pool, by every object that uses it."""

    scripts: set[str] = field(default_factory=set[str])
    facts: ServerFacts | None = None
    native_idempotency: bool = False
    deletes_acked: bool = False


_QUESTIONS = (commands.INFO_SERVER, commands.INFO_MEMORY, commands.HAS_XCFGSET, commands.HAS_XACKDEL)


def _knows(reply: Reply) -> bool:
    """Whether COMMAND INFO found the command."""
    return reply not in (None, [], [None]) and not isinstance(reply, Exception)


_KNOWN: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


class Ticket:
    """The claim to the replies of commands sent together."""

    __slots__ = ("due", "replies", "text")

    def __init__(self, due: int, *, text: bool = False) -> None:
        self.due: int = due
        self.text: bool = text
        """Whether the last of the replies is wanted as text, which hiredis decodes much faster than we could."""
        self.replies: list[Reply] = []

    @property
    def complete(self) -> bool:
        """Whether every reply was read."""
        return len(self.replies) == self.due


class Link:
    """One connection, written and read by hand: commands may be sent long before their replies are collected."""

    def __init__(
        self, connection: Connection, known: _Known, stopping: Stopping | None = None, patience: float = IO_TIMEOUT
    ) -> None:
        self._connection = connection
        self._transport = transport_of(connection)
        self._known = known
        self._stopping = stopping
        self._patience = patience
        self._owed: deque[Ticket] = deque()
        self._unsent: list[bytes] = []
        self._failure: Exception | None = None
        """Why it is of no use any more: redis-py would connect anew, and replies would go to the wrong tickets."""

    @property
    def clean(self) -> bool:
        """Whether every reply was collected, so that others may use the connection."""
        return not self._owed and not self._unsent

    def knows(self, script: Script) -> bool:
        """Whether the server has seen the script, as far as we know."""
        return script.sha in self._known.scripts

    def prepare(self, *batch: Command, text: bool = False) -> Ticket:
        """Queue commands to be written by the next flush; ``text``: the last reply is wanted as str, not bytes."""
        return self.prepare_packed([pack(command) for command in batch], text=text)

    def prepare_packed(self, packed: list[bytes], *, text: bool = False) -> Ticket:
        """Queue commands that are packed already."""
        ticket = Ticket(len(packed), text=text)
        if packed:
            self._unsent += packed
            self._owed.append(ticket)
        return ticket

    def flush(self) -> None:
        """Write everything queued, in one piece."""
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            if self._failure is not None:
                raise self._failure
            try:
                if self._stopping is None:
                    send(self._connection, data)
                else:
                    self._stopping.write(self._connection, data, self._patience)
            except LOST as error:
                self._failure = typed(error, doing="writing")
                raise self._failure from error

    def collect(self, ticket: Ticket) -> list[Reply]:
        """The replies of a ticket, error replies among them as values; those due before it are kept for theirs."""
        while len(ticket.replies) < ticket.due:
            oldest = self._owed[0]
            text = oldest.text and len(oldest.replies) + 1 == oldest.due
            oldest.replies.append(self._next(text=text))
            if len(oldest.replies) == oldest.due:
                self._owed.popleft()
        return ticket.replies

    def exchange(self, *batch: Command) -> list[Reply]:
        """Send commands and wait for their replies."""
        ticket = self.prepare(*batch)
        self.flush()
        return self.collect(ticket)

    def run(self, script: Script, build: Callable[..., Command]) -> Reply:
        """Run a script, by its SHA1 if the server has seen it; ``build(known=...)`` gives the command."""
        (reply,) = self.exchange(build(known=self.knows(script)))
        if self.learn(script, reply):
            (reply,) = self.exchange(build(known=False))
            self.learn(script, reply)
        return raise_error(reply)

    def learn(self, script: Script, reply: Reply) -> bool:
        """Note from a script's reply whether the server knows it; True if it must be sent again by its source."""
        if isinstance(reply, Exception):
            if refusal(reply) is Refusal.SCRIPT:
                self._known.scripts.discard(script.sha)
                return True
            return False
        self._known.scripts.add(script.sha)
        return False

    def close(self) -> None:
        """Cut the connection."""
        self._owed.clear()
        self._unsent.clear()
        with suppress(*LOST):
            cut(self._connection, self._transport)

    def _next(self, *, text: bool = False) -> Reply:
        if self._failure is not None:
            raise self._failure
        try:
            if self._stopping is None:
                return reply_of(self._connection, text=text)
            return self._stopping.reply(self._connection, self._patience, text=text)
        except UnicodeDecodeError as error:
            return error  # what to do about it is the caller's to know
        except exceptions.AuthenticationError as error:
            raise typed(error, doing="connecting") from error
        except LOST as error:
            self._failure = typed(error, doing="waiting for a reply")
            raise self._failure from error
        except exceptions.ResponseError as error:
            return error


class Server:
    """The server behind a client of the user's."""

    def __init__(self, client: Client) -> None:
        if isinstance(client, OTHER_CLIENT):
            msg = f"{type(client).__module__}.{type(client).__name__} belongs to {OTHER_HALF}, and this is {HALF}"
            raise InvalidArgument(msg)
        if not isinstance(client, CLIENT):
            msg = (
                f"client must be a {CLIENT.__module__}.Redis (a Sentinel's master_for() gives one too), "
                f"not {type(client).__name__}; cluster clients are not supported yet"
            )
            raise InvalidArgument(msg)
        self._pool: Any = client.connection_pool
        self._known = _KNOWN.setdefault(self._pool, _Known())
        self._patience: float = max(self._pool.connection_kwargs.get("socket_timeout") or IO_TIMEOUT, LEAST_IO_TIMEOUT)

    @property
    def native_idempotency(self) -> bool:
        """Whether XADD knows IDMP there; after `facts`."""
        return self._known.native_idempotency

    @property
    def deletes_acked(self) -> bool:
        """Whether it has XACKDEL; after `facts`."""
        return self._known.deletes_acked

    def require_same(self, other: Server, what: str) -> None:
        """Raise InvalidArgument if the other client's server, as it is addressed, is not this one."""
        ours, theirs = (_address(server._pool) for server in (self, other))  # noqa: SLF001
        if ours != theirs:
            msg = (
                f"{what} belongs to a client of {theirs}, not of {ours}: one atomic step needs one server and database"
            )
            raise InvalidArgument(msg)

    @contextmanager
    def borrow(self, stopping: Stopping | None = None) -> Iterator[Link]:
        """A connection of the user's pool, given back afterwards, cut if replies are still due on it.

        Args:
            stopping: Ends the waiting for replies; None: only the client's own timeout does.

        Raises:
            ServerUnavailable: There is none to be had.
        """
        try:
            found, cancelled = heeding(self._pool.get_connection(*_POOL_ARGUMENTS))
        except (*LOST, exceptions.ResponseError) as error:
            raise typed(error, doing="connecting") from error
        connection = cast("Connection", found)
        link = Link(connection, self._known, stopping, self._patience)
        try:
            check_cancelled(cancelled)
            yield link
        finally:
            if not link.clean:
                link.close()
            self._pool.release(connection)

    def open(self, stopping: Stopping) -> Link:
        """A connection outside the pool, for a loop to keep; the loop closes it.

        Raises:
            ServerUnavailable: It could not be made.
        """
        settings = dict(self._pool.connection_kwargs)
        for name in tuple(settings):
            if name.startswith(("maint_notifications", "orig_")):
                del settings[name]
        settings |= {
            "encoding": "utf-8",
            "encoding_errors": "strict",
            "decode_responses": TEXT_REPLIES,
            "retry": no_retries(),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "health_check_interval": 0,
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": min(settings.get("socket_connect_timeout") or CONNECT_TIMEOUT, CONNECT_TIMEOUT),
        }
        connection = cast("Connection", self._pool.connection_class(**settings))
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
        return Link(connection, self._known, stopping, self._patience)

    def call(self, *batch: Command, doing: str, key: str = "") -> list[Reply]:
        """Send commands on a borrowed connection; raises a typed error for the first error reply."""
        self.facts()
        with self.borrow() as link:
            replies = link.exchange(*batch)
        for reply in replies:
            if isinstance(reply, Exception):
                raise typed(reply, doing=doing, key=key) from reply
        return replies

    def survey(self, key: str) -> list[Reply]:
        """XINFO STREAM and PEXPIRETIME of a key, an error reply of the first among them as a value."""
        self.facts()
        with self.borrow() as link:
            return link.exchange(commands.xinfo_stream(key), commands.pexpiretime(key))

    def run(self, script: Script, keys: tuple[str, ...], arguments: tuple[Scalar, ...], *, doing: str) -> Reply:
        """Run a script on a borrowed connection; raises a typed error for an error reply."""
        self.facts()
        with self.borrow() as link:
            try:
                return link.run(script, partial(script.call, keys, arguments))
            except exceptions.ResponseError as error:
                raise typed(error, doing=doing, key=keys[0]) from error

    def facts(self, stopping: Stopping | None = None) -> ServerFacts:
        """What kind of server it is; asked once for each client.

        Args:
            stopping: Ends the waiting for replies; None: only the client's own timeout does.

        Raises:
            ServerTooOld: It lacks what streamkit is built on.
            ServerUnavailable: It cannot be reached.
        """
        if self._known.facts is None:
            with self.borrow(stopping) as link:
                replies = link.exchange(*_QUESTIONS)
            self._learn(replies)
        assert self._known.facts is not None  # noqa: S101 - _learn set it or raised
        return self._known.facts

    def _learn(self, replies: Sequence[Reply]) -> None:
        server, memory, native, ackdel = replies
        try:
            facts = server_facts(server, memory)
        except exceptions.NoPermissionError:
            # INFO is a convenience: without it, assume a server that will do; its own errors will tell.
            facts = ServerFacts(version="unknown", major=LEAST_MAJOR, eviction_policy="unknown")
        except exceptions.ResponseError as error:
            raise typed(error, doing="asking for INFO") from error
        if facts.major < LEAST_MAJOR:
            raise ServerTooOld(facts.version, f"{LEAST_MAJOR}.0")
        self._known.native_idempotency = _knows(native)
        self._known.deletes_acked = _knows(ackdel)
        self._known.facts = facts


def _address(pool: Any) -> str:
    settings = pool.connection_kwargs
    where = (
        settings.get("path") or getattr(pool, "service_name", None) or f"{settings.get('host')}:{settings.get('port')}"
    )
    return f"{where}/{settings.get('db', 0)}"


# redis-py before 5.3 wants a command name here, later ones warn about it.
def _pool_arguments(pool_class: Any) -> tuple[str, ...]:
    name = inspect.signature(inspect.unwrap(pool_class.get_connection)).parameters["command_name"]
    return ("_",) if name.default is inspect.Parameter.empty else ()


_POOL_ARGUMENTS = _pool_arguments(ConnectionPool)
