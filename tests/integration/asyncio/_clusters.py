"""What the tests of clusters share: keys where they are wanted, and what the nodes were asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

from streamkit.testing import Cluster, Node

# The last two: a key that expires is dropped on replicas by a command.
AMONG_NODES = ("info", "ping", "replconf", "psync", "cluster|nodes", "cluster|info", "cluster|myid", "del", "unlink")


def key_on(cluster: Cluster, node: Node, word: str) -> str:
    """A key that begins with this word and lies on this node."""
    return next(key for key in (f"{word}:{n}" for n in range(10_000)) if cluster.master_of(key) is node)


def keys_apart(cluster: Cluster, word: str) -> list[str]:
    """A key on each master, all of them beginning with this word."""
    masters, found = cluster.masters(), dict[Node, str]()
    slots = {node: owned_by(node) for node in masters}
    for n in range(10_000):
        key = f"{word}:{n}"
        slot = cluster.slot_of(key)
        node = next(node for node in masters if any(first <= slot <= last for first, last in slots[node]))
        found.setdefault(node, key)
        if len(found) == len(masters):
            break
    return [found[node] for node in masters]


def owned_by(node: Node) -> list[tuple[int, int]]:
    """The slots of a node, as it says."""
    nodes: Any = node.call("CLUSTER", "NODES")
    mine = next(line.split() for line in nodes.decode().splitlines() if "myself" in line)
    spans = [words.partition("-") for words in mine[8:] if not words.startswith("[")]
    return [(int(first), int(last or first)) for first, _, last in spans]


def calls_of(cluster: Cluster) -> dict[Node, Counter[str]]:
    """How often each node was sent each command, by clients or scripts."""
    found = dict[Node, Counter[str]]()
    for node in cluster.nodes:
        if node.running:
            reply: Any = node.call("INFO", "commandstats")
            stats: dict[str, dict[str, Any]] = reply
            found[node] = Counter({name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()})
    return found


def since(cluster: Cluster, before: dict[Node, Counter[str]]) -> dict[Node, Counter[str]]:
    """The commands of clients that nodes were sent since then, but for what goes on among the nodes themselves."""
    found = dict[Node, Counter[str]]()
    for node, calls in calls_of(cluster).items():
        asked = calls - before[node]
        for name in AMONG_NODES:
            del asked[name]
        if asked:
            found[node] = asked
    return found
