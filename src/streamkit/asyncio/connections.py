"""A user's client, as the blocks see it: steps on a borrowed connection, links for loops, facts about the server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redis import exceptions

from streamkit._core import commands
from streamkit._core.errors import InvalidArgument, ServerTooOld
from streamkit._core.keys import companion
from streamkit._core.refusals import Refusal, refusal, typed
from streamkit._core.replies import Reply, ServerFacts, server_facts
from streamkit._core.slots import require_one_slot, slot_of
from streamkit.asyncio._runtime import CLIENT, CLUSTER, HALF, OTHER_CLIENTS, OTHER_HALF, Client, Stopping
from streamkit.asyncio.clusters import ClusterPool
from streamkit.asyncio.keeping import Refused
from streamkit.asyncio.links import Known
from streamkit.asyncio.pools import Pool, ServerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from streamkit._core.protocol import Command, Scalar
    from streamkit._core.scripts import Script
    from streamkit.asyncio.links import Link

LEAST_MAJOR = 7

_QUESTIONS = (commands.INFO_SERVER, commands.INFO_MEMORY, commands.HAS_XCFGSET, commands.HAS_XACKDEL)


def _knows(reply: Reply) -> bool:
    """Whether COMMAND INFO found the command."""
    return reply not in (None, [], [None]) and not isinstance(reply, Exception)


_KNOWN: WeakKeyDictionary[Any, Known] = WeakKeyDictionary()
"""By a pool of connections, which clients may share, or by a cluster client."""


async def failed(link: Link, error: Exception, *, doing: str, key: str) -> Exception:
    """What to raise for an error reply; a link to a former master is closed: a new one finds the next."""
    if refusal(error) is Refusal.MOVED:
        await link.close()
    return typed(error, doing=doing, key=key)


class Server:
    """The server, or the cluster, behind a client of the user's."""

    def __init__(self, client: Client) -> None:
        if isinstance(client, OTHER_CLIENTS):
            msg = f"{type(client).__module__}.{type(client).__name__} belongs to {OTHER_HALF}, and this is {HALF}"
            raise InvalidArgument(msg)
        shared: Any = client if isinstance(client, CLUSTER) else getattr(client, "connection_pool", None)
        if isinstance(client, CLUSTER):
            self._pool: Pool = ClusterPool(client, _KNOWN.setdefault(shared, Known()))
        elif isinstance(client, CLIENT):
            self._pool = ServerPool(shared, _KNOWN.setdefault(shared, Known()))
        else:
            msg = (
                f"client must be a {CLIENT.__module__}.Redis (a Sentinel's master_for() gives one too) or a "
                f"{CLUSTER.__module__}.RedisCluster, not {type(client).__name__}"
            )
            raise InvalidArgument(msg)

    @property
    def clustered(self) -> bool:
        """Whether keys lie in slots, and one step can only touch those of one."""
        return isinstance(self._pool, ClusterPool)

    @property
    def native_idempotency(self) -> bool:
        """Whether XADD knows IDMP there; after `facts`."""
        return self._pool.known.native_idempotency

    @property
    def deletes_acked(self) -> bool:
        """Whether it has XACKDEL; after `facts`."""
        return self._pool.known.deletes_acked

    def require_one_slot(self, what: str, key: str, *others: str) -> None:
        """Raise InvalidArgument if one step cannot touch all of these keys."""
        if self.clustered:
            require_one_slot(what, key, *others)

    def require_companions(self, what: str, key: str) -> None:
        """Raise InvalidArgument if no key can stand beside this one: it has braces that are no tag."""
        self.require_one_slot(f"keys beside {what}", key, companion(key, "appends"))

    def node_of(self, key: str) -> tuple[str, int] | None:
        """Which node of a cluster has a key, as far as is known; None: there is only one server."""
        return self._pool.known.slots.owner(slot_of(key)) if self.clustered else None

    def letters_of(self, name: str, key: str) -> str:
        """Where the dead letters of a key lie: beside its stream, or beside the key if that is another slot."""
        return companion(key if self.letters_apart(name, key) else name, "dead-letters")

    def letters_apart(self, name: str, key: str) -> bool:
        """Whether the dead letters of a key cannot lie beside its stream."""
        return self.clustered and slot_of(companion(name, "dead-letters")) != slot_of(key)

    def require_same(self, other: Server, what: str) -> None:
        """Raise InvalidArgument if the other client's server, as it is addressed, is not this one."""
        if not self._pool.same(other._pool):
            theirs, ours = other._pool.address, self._pool.address
            msg = (
                f"{what} belongs to a client of {theirs}, not of {ours}: one atomic step needs one server and database"
            )
            raise InvalidArgument(msg)

    def borrow(self, stopping: Stopping | None = None) -> AbstractAsyncContextManager[Link]:
        """A link over the client's connections; see `Pool.borrow`."""
        return self._pool.borrow(stopping)

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Link]:
        """The same for a call outside of any loop: nobody waits, so a refusal is raised as a typed error."""
        async with self.borrow() as link:
            try:
                yield link
            except Refused as event:
                if event.moved:
                    await link.close()
                raise event.error from None

    async def open(self, stopping: Stopping) -> Link:
        """A link for a loop to keep; see `Pool.open`."""
        return await self._pool.open(stopping)

    async def call(self, *batch: Command, doing: str, key: str = "", stopping: Stopping | None = None) -> list[Reply]:
        """Send commands on a borrowed connection; raises a typed error for the first error reply."""
        await self.facts(stopping)
        async with self.borrow(stopping) as link:
            replies = await link.exchange(*batch)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise await failed(link, reply, doing=doing, key=key) from reply
        return replies

    async def survey(self, key: str) -> list[Reply]:
        """XINFO STREAM and PEXPIRETIME of a key, an error reply of the first among them as a value."""
        await self.facts()
        async with self.borrow() as link:
            return await link.exchange(commands.xinfo_stream(key), commands.pexpiretime(key))

    async def run(self, script: Script, keys: tuple[str, ...], arguments: tuple[Scalar, ...], *, doing: str) -> Reply:
        """Run a script on a borrowed connection; raises a typed error for an error reply."""
        await self.facts()
        async with self.borrow() as link:
            try:
                return await link.run(script, partial(script.call, keys, arguments))
            except exceptions.ResponseError as error:
                raise await failed(link, error, doing=doing, key=keys[0]) from error

    async def facts(self, stopping: Stopping | None = None) -> ServerFacts:
        """What kind of server it is; asked once for each client.

        Args:
            stopping: Ends the waiting for replies; None: only the client's own timeout does.

        Raises:
            ServerTooOld: It lacks what streamkit is built on.
            ServerUnavailable: It cannot be reached.
        """
        if self._pool.known.facts is None:
            async with self.borrow(stopping) as link:
                replies = await link.exchange(*_QUESTIONS)
            self._learn(replies)
        assert self._pool.known.facts is not None  # noqa: S101 - _learn set it or raised
        return self._pool.known.facts

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
        self._pool.known.native_idempotency = _knows(native)
        self._pool.known.deletes_acked = _knows(ackdel)
        self._pool.known.facts = facts
