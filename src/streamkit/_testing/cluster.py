"""A Redis Cluster of private servers that does what tests ask of it: fails over, moves slots, loses nodes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

import redis
from redis.crc import key_slot

from streamkit._core.errors import InvalidArgument
from streamkit._testing.forming import form, unsettled, views_of, wait_for
from streamkit._testing.nodes import Node
from streamkit._testing.servers import DEADLINE, HOST, Server

SETTINGS = {
    "cluster-enabled": "yes",
    "cluster-announce-ip": HOST,
    "cluster-node-timeout": "1000",
    "cluster-require-full-coverage": "no",
    # A replica stays with its master, also where that one has no slot left.
    "cluster-allow-replica-migration": "no",
    "repl-diskless-sync-delay": "0",
}
FAIL_OVER_AGAIN = 2.5
BATCH = 100


class Cluster:
    """A private Redis Cluster, given by `redis_cluster`.

    What changes the cluster returns when all nodes that run agree about it. That takes 15 s at most; then it raises
    `ClusterNotReady`. A refusal by a server is raised as redis-py's error.

    Attributes:
        nodes: All nodes: the masters it began with, then their replicas. They keep their places, whatever they become.
    """

    nodes: tuple[Node, ...]

    def __init__(self, binary: str | Path | None, directory: Path, count: int, settings: Mapping[str, str]) -> None:
        self._password = settings.get("requirepass", "")
        own = SETTINGS | ({"masterauth": self._password} if self._password else {}) | dict(settings)
        self._servers: dict[Node, Server] = {}
        for number in range(count):
            place = directory / str(number)
            place.mkdir()
            server = Server(binary, place, own, bus=True)
            self._servers[Node(server, self._password)] = server
        self.nodes = tuple(self._servers)
        self._moving: dict[int, Node] = {}

    @property
    def url(self) -> str:
        """The URL of the first node that runs, for ``redis.RedisCluster.from_url``."""
        return next((node for node in self.nodes if node.running), self.nodes[0]).url

    @staticmethod
    def slot_of(key: str | bytes) -> int:
        """The slot of a key, 0 to 16383."""
        return key_slot(key.encode() if isinstance(key, str) else key)

    def masters(self) -> list[Node]:
        """The masters that answer, in the order of ``nodes``."""
        return [node for node, view in views_of(self.nodes).items() if view.master is None]

    def replicas_of(self, node: Node) -> list[Node]:
        """The replicas of a master that answer and have its data, in the order of ``nodes``."""
        return [other for other, view in views_of(self.nodes).items() if view.master == node.id and view.linked]

    def master_of(self, key: str | bytes | int) -> Node:
        """The master that serves a key; after a crash, waits for the replica that takes over.

        Args:
            key: The key, or the number of a slot.

        Returns:
            The node that all nodes that answer take for the owner, and that answers itself.

        Raises:
            ClusterNotReady: There was none within 15 s.
        """
        slot = key if isinstance(key, int) else self.slot_of(key)
        found: list[Node] = []

        def problem() -> str | None:
            views = views_of(self.nodes)
            owners = {view.owner(slot) for view in views.values()}
            found[:] = [node for node, view in views.items() if {node.id} == owners and view.ok]
            return None if found else f"slot {slot} has no master that answers"

        wait_for(problem)
        return found[0]

    def wait(self) -> None:
        """Wait until the nodes that run agree, say ``cluster_state:ok``, and all replicas among them have their data.

        Raises:
            ClusterNotReady: They did not within 15 s.
        """
        wait_for(lambda: unsettled(self.nodes))

    def kill(self, node: Node) -> None:
        """End a node by SIGKILL, as a crash does, and don't wait for what the others make of it.

        In a cluster of three masters or more a replica takes over from a master one to three seconds later;
        `master_of` waits for that.
        """
        self._servers[node].kill()
        node.hang_up()

    def restart(self, *nodes: Node) -> None:
        """Start nodes that were killed again, under the same address and ID, and wait as `wait` does.

        A node comes back with what it had saved to disk: nothing, unless `redis_cluster` was given settings that save.
        As a replica it then copies its master; as a master that no replica replaced it is empty.

        Args:
            nodes: Which; none named: all that don't run.

        Raises:
            ServerNotStarted: A server did not answer.
            ClusterNotReady: The nodes that run did not come together within 15 s.
        """
        down = [node for node in nodes or self.nodes if not node.running]
        for node in down:
            node.hang_up()
            self._servers[node].launch()
        for node in down:
            self._servers[node].wait_until_it_answers()
        self.wait()

    def fail_over(self, node: Node) -> Node:
        """Make a replica of a master that runs the master, without losing anything (``CLUSTER FAILOVER``).

        Args:
            node: The master; it becomes a replica of the new one.

        Returns:
            The new master.

        Raises:
            InvalidArgument: The node is no master, or has no replica that answers.
            ClusterNotReady: The replica did not take over within 15 s.
        """
        replicas = self.replicas_of(node)
        if not replicas:
            msg = f"{node} has no replica that could take over; give a master that has one"
            raise InvalidArgument(msg)
        chosen = replicas[0]
        asked = float("-inf")

        def problem() -> str | None:
            nonlocal asked
            views = views_of((chosen, node))
            if chosen in views and views[chosen].master is None and node in views and views[node].master == chosen.id:
                return unsettled(self.nodes)
            if time.monotonic() > asked + FAIL_OVER_AGAIN:
                asked = time.monotonic()
                # The other masters refuse for a while after another failover, and this replica if it just took over.
                with suppress(redis.ResponseError):
                    chosen.call("CLUSTER", "FAILOVER")
            return f"{chosen} did not take over from {node}"

        wait_for(problem)
        return chosen

    def migrate_slot(self, slot: int, to: Node) -> None:
        """Move a slot with all its keys to another master, while clients use it.

        `begin_migration`, `move_keys` and `end_migration` are its parts, for a test that stands in the middle.

        Args:
            slot: The slot, see `slot_of`.
            to: The master to move it to.

        Raises:
            InvalidArgument: The slot is there already.
        """
        self.begin_migration(slot, to)
        self.end_migration(slot)

    def begin_migration(self, slot: int, to: Node) -> None:
        """Open a slot for its move: from now on its master sends clients on (``ASK``) for keys that it doesn't have.

        Args:
            slot: The slot, see `slot_of`.
            to: The master to move it to.

        Raises:
            InvalidArgument: The slot is there already.

        Commands:
            ``CLUSTER SETSLOT ... IMPORTING``, ``CLUSTER SETSLOT ... MIGRATING``.
        """
        source = self.master_of(slot)
        if source is to:
            msg = f"slot {slot} is at {to} already; give another master"
            raise InvalidArgument(msg)
        to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        self._moving[slot] = to

    def move_keys(
        self, slot: int, *, count: int | None = None, keys: Iterable[str | bytes] | None = None
    ) -> list[bytes]:
        """Move keys of a slot that is open since `begin_migration`.

        A command with several keys of which only some have moved is then refused with ``TRYAGAIN``.

        Args:
            slot: The slot.
            count: How many keys to move at most; None: all.
            keys: Which keys to move, if they are there; None: any.

        Returns:
            The keys that were moved.

        Raises:
            InvalidArgument: The slot is not being moved.

        Commands:
            ``CLUSTER COUNTKEYSINSLOT``, ``CLUSTER GETKEYSINSLOT``, ``MIGRATE``.
        """
        to = self._target(slot)
        source = self.master_of(slot)
        wanted = None if keys is None else {key.encode() if isinstance(key, str) else key for key in keys}
        total = cast("int", source.call("CLUSTER", "COUNTKEYSINSLOT", slot))
        present = cast("list[bytes]", source.call("CLUSTER", "GETKEYSINSLOT", slot, total))
        chosen = [key for key in present if wanted is None or key in wanted][:count]
        timeout_ms = int(DEADLINE * 1000)
        password = ("AUTH", self._password) if self._password else ()
        for start in range(0, len(chosen), BATCH):
            batch = chosen[start : start + BATCH]
            source.call("MIGRATE", to.host, to.port, "", 0, timeout_ms, *password, "KEYS", *batch)
        return chosen

    def end_migration(self, slot: int) -> None:
        """Move what is left of a slot that is open since `begin_migration`, and make it its new master's.

        Args:
            slot: The slot.

        Raises:
            InvalidArgument: The slot is not being moved.

        Commands:
            Those of `move_keys`, ``CLUSTER SETSLOT ... NODE``.
        """
        to = self._target(slot)
        source = self.master_of(slot)
        self.move_keys(slot)
        # The new master first: the old one then never lets go of a slot that nobody has.
        to.call("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        source.call("CLUSTER", "SETSLOT", slot, "NODE", to.id)
        del self._moving[slot]
        self.wait()

    def start(self, masters: int) -> None:
        """Start the servers and make them a cluster; `redis_cluster` does that."""
        for server in self._servers.values():
            server.launch()
        for server in self._servers.values():
            server.wait_until_it_answers()
        form(self.nodes, masters)

    def stop(self) -> None:
        """Kill all servers; `redis_cluster` does that. What they would save is deleted anyway."""
        for node, server in self._servers.items():
            node.hang_up()
            server.kill()

    def _target(self, slot: int) -> Node:
        if slot not in self._moving:
            msg = f"slot {slot} is not being moved; call begin_migration() first"
            raise InvalidArgument(msg)
        return self._moving[slot]
