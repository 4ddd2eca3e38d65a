"""Links to a Redis Cluster: each command goes straight to the node of its key, and follows it when its slot moves."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis import exceptions
from typing_extensions import override

from streamkit._core.errors import ServerUnavailable
from streamkit._core.protocol import pack
from streamkit._core.refusals import typed
from streamkit._core.scripts import by_source
from streamkit._core.slots import ASKING, CLUSTER_SLOTS, Address, Redirect, key_of, redirect_of, slot_map, slot_of
from streamkit.asyncio._runtime import (
    Connection,
    Stopping,
    borrowed_from_node,
    give_back_to_node,
    node_settings,
    remapping,
    seeds,
)
from streamkit.asyncio.links import LOST, Known, Link, Ticket, Wire
from streamkit.asyncio.pools import Pool, connected, connected_at_last, patience_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from streamkit._core.protocol import Command
    from streamkit._core.replies import Reply

MOST_REDIRECTS = 5
"""Redirects that one command follows: more mean that the nodes disagree, which passes."""

NOBODY = "no node of the cluster says which slots it serves; wait for it to form"


@dataclass
class _Part:
    """One command of a ticket: where it goes, and the ticket it has there."""

    slot: int | None
    packed: bytes
    text: bool
    script: Command | None = None
    """The command, if it runs a script by its SHA1."""
    wire: Wire | None = None
    ticket: Ticket | None = None


class ClusterTicket(Ticket):
    """The claim to replies from several nodes."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[_Part]) -> None:
        super().__init__(len(parts))
        self.parts: list[_Part] = parts

    @property
    @override
    def complete(self) -> bool:
        return all(part.ticket is not None and part.ticket.complete for part in self.parts)

    @property
    @override
    def sent(self) -> bool:
        return any(part.ticket is not None for part in self.parts)


class ClusterLink(Link):
    """Links to the nodes of a cluster, made as they are needed.

    A command that is told its slot lies elsewhere (MOVED, ASK) was not run: it is sent there at once.

    Args:
        known: What is known of the cluster.
        connect: Makes a link to a node.
        remap: Gives the address by which a node is reached from here, for one that the nodes know it by.
    """

    def __init__(
        self, known: Known, connect: Callable[[Address], Awaitable[Wire]], remap: Callable[[Address], Address]
    ) -> None:
        super().__init__(known)
        self._connect = connect
        self._remap = remap
        self.wires: dict[Address, Wire] = {}
        self._unsent: list[_Part] = []
        self._home: Address | None = None
        """Where commands without a key go: to the node that was asked last."""

    @override
    def _node_of(self, key: str) -> Address | None:
        return self._known.slots.owner(slot_of(key))

    @override
    def prepare(self, *batch: Command, text: bool = False) -> Ticket:
        parts = list[_Part]()
        keys = [key_of(command) for command in batch]
        slot = next((slot_of(key) for key in keys if key is not None), None)
        for place, (command, key) in enumerate(zip(batch, keys, strict=True)):
            slot = slot if key is None else slot_of(key)
            script = command if command[0] == "EVALSHA" else None
            parts.append(_Part(slot, pack(command), text and place == len(batch) - 1, script))
        return self._queue(parts)

    @override
    def prepare_packed(self, packed: list[bytes], *, key: str = "", text: bool = False) -> Ticket:
        last = len(packed) - 1
        return self._queue([_Part(slot_of(key), each, text and at == last) for at, each in enumerate(packed)])

    def _queue(self, parts: list[_Part]) -> Ticket:
        self._unsent += parts
        return ClusterTicket(parts)

    @override
    async def flush(self) -> None:
        wires = dict[int, Wire]()
        while self._unsent:
            part = self._unsent[0]
            wire = await (self._any_wire() if part.slot is None else self._wire(self._address(part.slot)))
            self._unsent.pop(0)
            part.wire, part.ticket = wire, wire.prepare_packed([part.packed], text=part.text)
            wires[id(wire)] = wire
        for wire in wires.values():
            with self._noting(wire):
                await wire.flush()

    @override
    async def collect(self, ticket: Ticket) -> list[Reply]:
        assert isinstance(ticket, ClusterTicket)  # noqa: S101 - this link's own
        while len(ticket.replies) < ticket.due:
            ticket.replies.append(await self._reply(ticket.parts[len(ticket.replies)]))
        return ticket.replies

    async def _reply(self, part: _Part) -> Reply:
        for _ in range(MOST_REDIRECTS):
            assert part.wire is not None and part.ticket is not None  # noqa: S101, PT018 - it was flushed
            with self._noting(part.wire):
                replies = await part.wire.collect(part.ticket)
            # Where ASKING is not permitted, that is what is to be told: the command behind it is only sent back.
            reply = next((each for each in replies if isinstance(each, Exception)), replies[-1])
            redirect = redirect_of(reply)
            if redirect is None:
                return reply
            await self._follow(part, part.wire, redirect)
        return exceptions.TryAgainError("TRYAGAIN the nodes of the cluster disagree about where a slot is")

    async def _follow(self, part: _Part, told_by: Wire, redirect: Redirect) -> None:
        host, port = redirect.address
        if not host:
            host = self._address_of(told_by)[0]
        address = self._remap((host, port))
        if not redirect.asking:
            self._known.slots.moved(redirect.slot, address)
        wire = await self._wire(address)
        if part.script is not None and (part.script[1], address) not in self._known.scripts:
            # What is sent behind a script may count on it: it must not be told there that nobody knows it.
            part.packed, part.script = pack(by_source(part.script)), None
        asking = [ASKING] if redirect.asking else []
        part.wire, part.ticket = wire, wire.prepare_packed([*asking, part.packed], text=part.text)
        with self._noting(wire):
            await wire.flush()

    def _address(self, slot: int) -> Address:
        self._home = address = self._known.slots.owner(slot)
        if address is None:
            self._known.stale = True
            msg = f"no node of the cluster serves slot {slot}; wait for it to recover, or repair it"
            raise ServerUnavailable(msg)
        return address

    async def _any_wire(self) -> Wire:
        """To the node that was asked last, or to the first that can be reached."""
        home, failure = self._home, None
        for address in [home] if home is not None and home in self.wires else list(self._known.slots.nodes):
            try:
                wire = await self._wire(address)
            except ServerUnavailable as error:
                failure = error
            else:
                self._home = address
                return wire
        raise failure or ServerUnavailable(NOBODY)

    async def _wire(self, address: Address) -> Wire:
        wire = self.wires.get(address)
        if wire is None:
            with self._noting(address):
                self.wires[address] = wire = await self._connect(address)
        return wire

    @contextmanager
    def _noting(self, where: Wire | Address) -> Iterator[None]:
        """Which node failed: it may have been replaced by its replica."""
        try:
            yield
        except ServerUnavailable as error:
            self._known.stale = True
            self._known.failed = error.node = where if isinstance(where, tuple) else self._address_of(where)
            raise

    def _address_of(self, wire: Wire) -> Address:
        return next(address for address, each in self.wires.items() if each is wire)

    @override
    async def close(self) -> None:
        self._unsent.clear()
        for wire in self.wires.values():
            await wire.close()


class ClusterPool(Pool):
    """The connections of a cluster client, by node."""

    def __init__(self, client: Any, known: Known) -> None:
        self._client = client
        self._connection_class, self._settings = node_settings(client)
        self._remap = remapping(client)
        super().__init__(known, patience_of(self._settings))

    @property
    @override
    def address(self) -> str:
        return "the cluster of " + ", ".join(f"{host}:{port}" for host, port in sorted(self.nodes))

    @property
    def nodes(self) -> list[Address]:
        """The nodes that are known, those that serve something first."""
        return list(dict.fromkeys([*self.known.slots.nodes, *seeds(self._client)]))

    @override
    def same(self, other: Pool) -> bool:
        return isinstance(other, ClusterPool) and not set(self.nodes).isdisjoint(other.nodes)

    @override
    @asynccontextmanager
    async def borrow(self, stopping: Stopping | None = None) -> AsyncIterator[Link]:
        await self._refresh(stopping)
        taken = list[tuple[Wire, Connection, Any]]()

        async def connect(address: Address) -> Wire:
            try:
                connection, node = await borrowed_from_node(self._client, address)
            except (*LOST, exceptions.ResponseError) as error:
                raise typed(error, doing=f"connecting to {address[0]}:{address[1]}") from error
            if connection is None:  # a node that the client has not heard of yet
                connection = await connected(self._connection_class, self._at(address))
            wire = Wire(connection, self.known, stopping, self.patience)
            taken.append((wire, connection, node))
            return wire

        link = ClusterLink(self.known, connect, self._remap)
        try:
            yield link
        finally:
            for wire, connection, node in taken:
                if node is None or not wire.clean:
                    await wire.close()
                if node is not None:
                    await give_back_to_node(self._client, node, connection)

    @override
    async def open(self, stopping: Stopping | None) -> Link:
        await self._refresh(stopping)

        async def connect(address: Address) -> Wire:
            return await self._own(address, stopping)

        return ClusterLink(self.known, connect, self._remap)

    async def _own(self, address: Address, stopping: Stopping | None) -> Wire:
        connection = await connected_at_last(
            self._connection_class,
            self._at(address),
            stopping,
            twice=address != self.known.failed,  # that one is not to keep the others waiting
        )
        return Wire(connection, self.known, stopping, self.patience)

    def _at(self, address: Address) -> dict[str, Any]:
        return {**self._settings, "host": address[0], "port": address[1]}

    async def _refresh(self, stopping: Stopping | None) -> None:
        """Ask which node serves what, if that may have changed: the first node that answers."""
        if not self.known.stale:
            return
        failure: ServerUnavailable | None = None
        for address in sorted(self.nodes, key=lambda node: node == self.known.failed):
            if failure is not None and stopping is not None and stopping.overdue:
                break
            try:
                wire = await self._own(address, stopping)
            except ServerUnavailable as error:
                failure = error
                continue
            try:
                (reply,) = await wire.exchange(CLUSTER_SLOTS)
            except ServerUnavailable as error:
                failure = error
                continue
            finally:
                await wire.close()
            if isinstance(reply, Exception):
                raise typed(reply, doing="CLUSTER SLOTS") from reply
            found = slot_map(reply, address, self._remap)
            if found.nodes:
                self.known.slots, self.known.stale = found, False
                return
        raise failure or ServerUnavailable(NOBODY)
