"""Masters of a cluster that crash while it is written to, and what of that is on a replica by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import psutil
import redis

from streamkit.testing import Cluster, Node

WAIT_MS = 100


@dataclass(frozen=True)
class Mark:
    """What a master said, about a key's slot, of all that was written there before.

    Attributes:
        history: The name of the history of writes that it goes on with; another master begins another one.
        replicas: How many replicas have everything.
    """

    history: str
    replicas: int


class Marks:
    """Asks the masters of keys how far their replicas are.

    WAIT speaks of what its own connection wrote, and an append goes over another one. So something is written first.
    """

    def __init__(self, url: str) -> None:
        self._client = cast("Any", redis.RedisCluster.from_url(url))

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def of(self, key: str) -> Mark | None:
        """The mark of a key's master; None: it did not answer."""
        try:
            node = self._client.get_node_from_key(key)
            with self._client.get_redis_connection(node).pipeline(transaction=False) as pipe:
                pipe.set(f"{key}:mark", 1)
                pipe.execute_command("WAIT", 1, WAIT_MS)
                pipe.info("replication")
                _, replicas, replication = pipe.execute()
        except redis.RedisError:
            self._look_around()
            return None
        return Mark(replication["master_replid"], replicas)

    def kept(self, before: Mark | None, key: str) -> bool:
        """Whether all that was acknowledged since an earlier mark is on a replica, too: no crash of one loses it."""
        after = self.of(key)
        return before is not None and after is not None and before.history == after.history and after.replicas > 0

    def _look_around(self) -> None:
        try:
            self._client.nodes_manager.initialize()
        except redis.RedisError:
            return  # not yet: the next mark tries again


@contextmanager
def cut_off(cluster: Cluster, master: Node) -> Iterator[None]:
    """What the master writes meanwhile reaches no replica, if the master is killed in the end."""
    processes = [psutil.Process(replica.pid) for replica in cluster.replicas_of(master)]
    assert processes
    for process in processes:
        process.suspend()
    try:
        master.call("CLIENT", "KILL", "TYPE", "replica")
        yield
    finally:
        for process in processes:
            process.resume()


def crash(cluster: Cluster, key: str, *, unreplicated: Sequence[Callable[[], None]] = ()) -> Node:
    """Kill the master of a key and give it; what is done by ``unreplicated`` reaches no replica before."""
    master = cluster.master_of(key)
    with cut_off(cluster, master) if unreplicated else nullcontext():
        for write in unreplicated:
            write()
        cluster.kill(master)
    return master
