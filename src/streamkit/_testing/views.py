"""What one node of a cluster says about all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from streamkit._testing.nodes import Node


@dataclass(frozen=True)
class Seen:
    """One node, as another sees it: a line of ``CLUSTER NODES``."""

    id: str
    flags: frozenset[str]
    master: str | None
    slots: tuple[range, ...]
    connected: bool

    @property
    def well(self) -> bool:
        """Whether it is known to the end and nobody misses it."""
        return self.connected and not self.flags & {"handshake", "noaddr", "fail", "fail?"}


@dataclass(frozen=True)
class View:
    """One node's answers."""

    id: str
    ok: bool
    linked: bool
    nodes: dict[str, Seen]

    @property
    def master(self) -> str | None:
        """The node that this one is a replica of."""
        return self.nodes[self.id].master

    def owner(self, slot: int) -> str | None:
        """The node that the slot belongs to."""
        return next((seen.id for seen in self.nodes.values() if any(slot in part for part in seen.slots)), None)


def look(node: Node, *, within: float) -> View:
    """Ask a node what it sees, and give each answer so many seconds.

    Commands:
        ``CLUSTER NODES``, ``CLUSTER INFO``, ``ROLE``.
    """
    lines = cast("bytes", node.call("CLUSTER", "NODES", within=within)).decode().splitlines()
    state = cast("bytes", node.call("CLUSTER", "INFO", within=within))
    role = cast("Sequence[object]", node.call("ROLE", within=within))
    seen = [_seen(line.split()) for line in lines]
    return View(
        id=next(other.id for other in seen if "myself" in other.flags),
        ok=b"cluster_state:ok" in state,
        linked=role[0] == b"master" or role[3] == b"connected",
        nodes={other.id: other for other in seen},
    )


def _seen(words: Sequence[str]) -> Seen:
    """A line: ID, address, flags, master, ping, pong, epoch, link, and slots; one in brackets is on its way."""
    flags = frozenset(words[2].split(","))
    return Seen(
        id=words[0],
        flags=flags,
        master=None if words[3] == "-" else words[3],
        slots=tuple(_slots(part) for part in words[8:] if not part.startswith("[")),
        connected="myself" in flags or words[7] == "connected",
    )


def _slots(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)
