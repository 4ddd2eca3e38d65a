"""How servers become a cluster, and how it is told that they are one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import redis

from streamkit._core.errors import StreamkitError
from streamkit._testing.nodes import Node
from streamkit._testing.servers import DEADLINE
from streamkit._testing.views import View, look

SLOTS = 16384
# A node that is frozen is told from one that is slow.
ANSWER_WITHIN = 0.5
PAUSE = 0.02


class ClusterNotReady(StreamkitError):
    """The private cluster did not come to the state that was waited for; the message says what is missing."""


def form(nodes: Sequence[Node], masters: int) -> None:
    """Make a cluster of servers that run: the first are its masters, the others replicas of them in turn.

    Commands:
        ``CLUSTER MYID``, ``CLUSTER SET-CONFIG-EPOCH``, ``CLUSTER MEET``, ``CLUSTER ADDSLOTSRANGE``,
        ``CLUSTER REPLICATE``.
    """
    for number, node in enumerate(nodes):
        node.id = cast("bytes", node.call("CLUSTER", "MYID")).decode()
        # Different ones from the start, so that the nodes have no collision to sort out.
        node.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for number, node in enumerate(nodes[:masters]):
        first, end = number * SLOTS // masters, (number + 1) * SLOTS // masters
        node.call("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
    for number, node in enumerate(nodes):
        for other in nodes[number + 1 :]:
            # Each to each: word of mouth takes longer.
            node.call("CLUSTER", "MEET", other.host, other.port, other.bus_port)
    wait_for(lambda: _strangers(nodes))
    for number, node in enumerate(nodes[masters:]):
        node.call("CLUSTER", "REPLICATE", nodes[number % masters].id)
    wait_for(lambda: unsettled(nodes))


def wait_for(problem: Callable[[], str | None]) -> None:
    """Wait until ``problem`` finds none.

    Raises:
        ClusterNotReady: It still finds one after 15 s.
    """
    deadline = time.monotonic() + DEADLINE
    while (missing := problem()) is not None:
        if time.monotonic() > deadline:
            msg = f"the private cluster was not ready within {DEADLINE:g} s: {missing}"
            raise ClusterNotReady(msg)
        time.sleep(PAUSE)


def views_of(nodes: Iterable[Node]) -> dict[Node, View]:
    """What those nodes say that answer; one that is frozen doesn't."""
    views: dict[Node, View] = {}
    for node in nodes:
        if node.running:
            try:
                views[node] = look(node, within=ANSWER_WITHIN)
            except redis.RedisError:
                node.hang_up()
    return views


def unsettled(nodes: Iterable[Node]) -> str | None:
    """What is missing until the nodes that run are one cluster that serves; None: nothing."""
    running = [node for node in nodes if node.running]
    views = views_of(running)
    opinions: set[frozenset[object]] = set()
    for node in running:
        if node not in views:
            return f"{node} does not answer"
        view = views[node]
        others = [view.nodes[other.id] for other in running if other.id in view.nodes]
        if len(others) < len(running) or not all(other.well for other in others):
            return f"{node} misses another node"
        if not view.ok:
            return f"{node} says that the cluster is down"
        if not view.linked:
            return f"{node} does not have its master's data yet"
        opinions.add(frozenset((other.id, other.master, other.slots) for other in others))
    return None if len(opinions) <= 1 else "the nodes do not agree who owns which slots"


def _strangers(nodes: Sequence[Node]) -> str | None:
    everybody = {node.id for node in nodes}
    views = views_of(nodes)
    for node in nodes:
        known = views[node].nodes if node in views else {}
        if set(known) != everybody or not all(seen.well for seen in known.values()):
            return f"{node} does not know all {len(everybody)} nodes"
    return None
