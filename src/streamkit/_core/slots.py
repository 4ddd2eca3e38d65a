"""Slots of a Redis Cluster: which a key hashes to, which node serves each, and where a reply redirects to.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from streamkit._core.errors import InvalidArgument
from streamkit._core.replies import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamkit._core.protocol import Command
    from streamkit._core.replies import Reply

Address: TypeAlias = tuple[str, int]
"""Host and port of a node."""


@lru_cache(maxsize=4096)
def slot_of(key: str) -> int:
    """The slot of a key, or of its ``{tag}``."""
    word = key.encode()
    opening = word.find(b"{")
    closing = word.find(b"}", opening + 1)
    if opening != -1 and closing > opening + 1:
        word = word[opening + 1 : closing]
    return crc_hqx(word, 0) % 16384


def key_of(command: Command) -> str | None:
    """The first key of one of the commands that streamkit sends; None: it has none, and any node will do."""
    word = command[0]
    if word in {"EVALSHA", "EVAL"}:
        return _text(command[3])
    if word in {"XREAD", "XREADGROUP"}:
        # Behind the names of group and consumer, which may be anything.
        return _text(command[command.index("STREAMS", 4 if word == "XREADGROUP" else 1) + 1])
    if word in {"XINFO", "XGROUP"}:
        return _text(command[2])
    return None if word in {"TIME", "INFO", "COMMAND", "CLUSTER", "ASKING"} else _text(command[1])


def _text(word: object) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def require_one_slot(what: str, key: str, *others: str) -> None:
    """Raise InvalidArgument unless keys that one atomic step touches hash to one slot."""
    strangers = [other for other in others if slot_of(other) != slot_of(key)]
    if strangers:
        names, tag = ", ".join(map(repr, strangers)), tag_for(key)
        msg = (
            f"{what}: on a Redis Cluster one atomic step touches keys of one slot, and {names} "
            f"{'is' if len(strangers) == 1 else 'are'} in another one than {key!r}; give all of them the same tag in "
            f"braces, such as {tagged(key, tag)!r} and {tagged(strangers[0], tag)!r}"
        )
        raise InvalidArgument(msg)


def tag_for(key: str) -> str:
    """The tag of a key, or one for it and others to share."""
    return _tag(key) or key.partition(":")[0].translate(_NO_BRACES) or "tag"


def tagged(key: str, tag: str) -> str:
    """How a key could be written to lie in the slot of a tag."""
    if _tag(key) == tag:
        return key
    return f"{{{tag}}}{key.removeprefix(tag)}" if key.startswith(tag) else f"{{{tag}}}:{key}"


_NO_BRACES = str.maketrans("", "", "{}")


def _tag(key: str) -> str:
    """What stands in the first braces; empty: nothing does, and the whole key is hashed."""
    _, _, behind = key.partition("{")
    tag, closing, _ = behind.partition("}")
    return tag if closing else ""


@dataclass(frozen=True)
class Redirect:
    """Where a reply says that the slot is: there from now on, or (``asking``) for this command, while it moves."""

    slot: int
    address: Address
    asking: bool


def redirect_of(reply: Reply) -> Redirect | None:
    """The redirect that an error reply asks for, if any; an empty host means the host of the node that was asked."""
    if not isinstance(reply, Exception):
        return None
    words = str(reply).split()
    # redis-py's own classes have lost the word in front.
    kind = {"MovedError": "MOVED", "AskError": "ASK"}.get(type(reply).__name__, "")
    if kind and words and words[0] != kind:
        words.insert(0, kind)
    if len(words) < 3 or words[0] not in {"MOVED", "ASK"} or not words[1].isdigit():
        return None
    host, _, port = words[2].rpartition(":")
    return Redirect(int(words[1]), ("" if host in _UNKNOWN else host, int(port)), words[0] == "ASK")


_UNKNOWN = frozenset({"", "?"})
"""How a node says that it does not know by which host it is reached."""


@dataclass
class SlotMap:
    """Which node serves which slots, as far as is known."""

    nodes: list[Address] = field(default_factory=list[Address])
    """The masters, those that serve something."""
    _firsts: list[int] = field(default_factory=list[int])
    _owners: list[tuple[int, Address]] = field(default_factory=list[tuple[int, Address]])
    _moved: dict[int, Address] = field(default_factory=dict[int, Address])

    def owner(self, slot: int) -> Address | None:
        """The node of a slot; None: nobody serves it."""
        moved = self._moved.get(slot)
        if moved is not None:
            return moved
        place = bisect_right(self._firsts, slot) - 1
        if place < 0 or slot > self._owners[place][0]:
            return None
        return self._owners[place][1]

    def moved(self, slot: int, address: Address) -> None:
        """Note what a redirect said."""
        self._moved[slot] = address
        if address not in self.nodes:
            self.nodes.append(address)


def slot_map(reply: Reply, asked: Address, remap: Callable[[Address], Address]) -> SlotMap:
    """CLUSTER SLOTS, as the node at ``asked`` answered it; ``remap``: by which address a node is reached from here."""
    ranges = list[tuple[int, int, Address]]()
    for first, last, master, *_ in reply or ():
        host = text(master[0] or b"")
        ranges.append((int(first), int(last), remap((asked[0] if host in _UNKNOWN else host, int(master[1])))))
    ranges.sort()
    nodes = list(dict.fromkeys(address for _, _, address in ranges))
    return SlotMap(nodes, [first for first, _, _ in ranges], [(last, address) for _, last, address in ranges])


ASKING = b"*1\r\n$6\r\nASKING\r\n"
CLUSTER_SLOTS: Command = ("CLUSTER", "SLOTS")
