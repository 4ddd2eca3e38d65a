# Generated from src/streamkit/asyncio/links.py by tools/generate_sync.py: do not edit.
"""One connection, written and read by hand: commands go out long before their replies are collected.

redis-py retries whole commands, which doubles writes whose reply was lost. So nothing here goes through a client's own
``execute_command``: a `Link` writes packed commands to a connection and reads raw replies from it, in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis
from redis import exceptions
from redis.utils import HIREDIS_AVAILABLE
from typing_extensions import override

from streamkit._core.protocol import pack
from streamkit._core.refusals import Refusal, refusal, typed
from streamkit._core.replies import Reply, ServerFacts, raise_error
from streamkit._core.slots import Address, SlotMap
from streamkit._sync._runtime import IO_TIMEOUT, Connection, Stopping, cut, reply_of, send, transport_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamkit._core.protocol import Command
    from streamkit._core.scripts import Script
    from streamkit._core.slots import Address

TEXT_REPLIES = HIREDIS_AVAILABLE and int(redis.__version__.partition(".")[0]) >= 8
"""Whether single replies can be had as text: older versions of redis-py decode some ahead of being asked."""
LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, EOFError)


@dataclass
class Known:
    """What is known of the server behind a pool, by every object that uses it."""

    scripts: set[tuple[str, Address | None]] = field(default_factory=set["tuple[str, Address | None]"])
    """By their SHA1s; of a cluster, for each node."""
    facts: ServerFacts | None = None
    native_idempotency: bool = False
    deletes_acked: bool = False
    slots: SlotMap = field(default_factory=SlotMap)
    """Of a cluster: which node serves what."""
    stale: bool = True
    """Whether that is to be asked again."""
    failed: Address | None = None
    """The node that failed last: others are asked first."""


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

    @property
    def sent(self) -> bool:
        """Whether any of it may have been written, once it was flushed."""
        return True


class Link(ABC):
    """A way to a server, or to the nodes of a cluster: commands are queued, written together, replies collected."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def knows(self, script: Script, key: str) -> bool:
        """Whether the server, or the node of the key, has seen the script, as far as we know."""
        return (script.sha, self._node_of(key)) in self._known.scripts

    @abstractmethod
    def _node_of(self, key: str) -> Address | None:
        """Which node of a cluster has the key; None: there is only one server."""

    def prepare(self, *batch: Command, text: bool = False) -> Ticket:
        """Queue commands to be written by the next flush; ``text``: the last reply is wanted as str, not bytes."""
        return self.prepare_packed([pack(command) for command in batch], text=text)

    @abstractmethod
    def prepare_packed(self, packed: list[bytes], *, key: str = "", text: bool = False) -> Ticket:
        """Queue commands that are packed already, all about one key."""

    @abstractmethod
    def flush(self) -> None:
        """Write everything queued, in one piece."""

    @abstractmethod
    def collect(self, ticket: Ticket) -> list[Reply]:
        """The replies of a ticket, error replies among them as values; those due before it are kept for theirs."""

    def exchange(self, *batch: Command) -> list[Reply]:
        """Send commands and wait for their replies."""
        ticket = self.prepare(*batch)
        self.flush()
        return self.collect(ticket)

    def run(self, script: Script, build: Callable[..., Command]) -> Reply:
        """Run a script, by its SHA1 if the server has seen it; ``build(known=...)`` gives the command."""
        command = build(known=True)
        key = str(command[3])
        (reply,) = self.exchange(command if self.knows(script, key) else build(known=False))
        if self.learn(script, key, reply):
            (reply,) = self.exchange(build(known=False))
            self.learn(script, key, reply)
        return raise_error(reply)

    def learn(self, script: Script, key: str, reply: Reply) -> bool:
        """Note from a script's reply whether its server knows it; True if it must be sent again by its source."""
        if isinstance(reply, Exception):
            if refusal(reply) is Refusal.SCRIPT:
                self._known.scripts.discard((script.sha, self._node_of(key)))
                return True
            return False
        self._known.scripts.add((script.sha, self._node_of(key)))
        return False

    @abstractmethod
    def close(self) -> None:
        """Cut the connection."""


class Wire(Link):
    """A link of one connection."""

    def __init__(
        self, connection: Connection, known: Known, stopping: Stopping | None = None, patience: float = IO_TIMEOUT
    ) -> None:
        super().__init__(known)
        self._connection = connection
        self._transport = transport_of(connection)
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

    @override
    def _node_of(self, key: str) -> None:
        return None

    @override
    def prepare_packed(self, packed: list[bytes], *, key: str = "", text: bool = False) -> Ticket:
        ticket = Ticket(len(packed), text=text)
        if packed:
            self._unsent += packed
            self._owed.append(ticket)
        return ticket

    @override
    def flush(self) -> None:
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

    @override
    def collect(self, ticket: Ticket) -> list[Reply]:
        while len(ticket.replies) < ticket.due:
            oldest = self._owed[0]
            text = oldest.text and len(oldest.replies) + 1 == oldest.due
            oldest.replies.append(self._next(text=text))
            if len(oldest.replies) == oldest.due:
                self._owed.popleft()
        return ticket.replies

    @override
    def close(self) -> None:
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
