"""Which shard of a stream an entry belongs to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from streamkit._core.errors import InvalidArgument
from streamkit._core.keys import require_key
from streamkit._core.protocol import to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SHARDS = 16384
"""As many as a cluster has slots."""
TOLD = 10
"""How many names of shards an error tells, at most."""


@dataclass(frozen=True)
class Sharding:
    """The shards of a stream, by number or by name."""

    name: str
    names: tuple[str, ...]
    hashed: bool
    """Whether an entry's key is hashed to a shard; otherwise it is the shard's name."""

    @property
    def keys(self) -> list[str]:
        """The key of each shard, its name in braces, so that everything about a shard lies in one slot."""
        return [shard_key(self.name, name) for name in self.names]

    def place(self, key: object) -> int:
        """The place among `keys` of the shard for an entry with this key.

        Raises:
            InvalidArgument: It is no text, bytes or number; or names no shard.
        """
        if not isinstance(key, (str, bytes, int, float)) or isinstance(key, bool):
            msg = f"the key of an entry of {self.name!r} must be a str, bytes, int or float, not {key!r}"
            raise InvalidArgument(msg)
        try:
            word = to_bytes(key)
        except UnicodeEncodeError:
            msg = f"the key of an entry of {self.name!r} cannot be written as UTF-8: {key!r}"
            raise InvalidArgument(msg) from None
        if self.hashed:
            return zlib.crc32(word) % len(self.names)
        place = self._places.get(word)
        if place is None:
            known = ", ".join(self.names[:TOLD]) + (", …" if len(self.names) > TOLD else "")
            msg = f"{self.name!r} has no shard {word.decode(errors='replace')!r}; it has {known}"
            raise InvalidArgument(msg)
        return place

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {name.encode(): place for place, name in enumerate(self.names)}


def parse_shards(name: str, shards: int | Sequence[str]) -> Sharding:
    """The shards of a stream, from their number or their names; raises InvalidArgument."""
    _require_plain("the name of a sharded stream", name)
    if isinstance(shards, int):
        if not 1 <= shards <= MOST_SHARDS or isinstance(shards, bool):
            msg = f"shards must be 1 to {MOST_SHARDS}, not {shards}"
            raise InvalidArgument(msg)
        return Sharding(name, tuple(map(str, range(shards))), hashed=True)
    names = _listed(shards)
    for each in names:
        _require_plain("the name of a shard", each)
    if not 1 <= len(set(names)) == len(names) <= MOST_SHARDS:
        msg = f"shards must be 1 to {MOST_SHARDS}, or so many names of which none comes twice, not {shards!r}"
        raise InvalidArgument(msg)
    return Sharding(name, names, hashed=False)


def _listed(names: Sequence[str]) -> tuple[str, ...]:
    try:
        return () if isinstance(names, str) else tuple(names)
    except TypeError:
        return ()


def shard_key(name: str, shard: str) -> str:
    """The key of a shard, or of its checkpoint: in the slot that the shard's name, in braces, says."""
    return f"{name}:{{{shard}}}"


def require_name(name: str) -> str:
    """The name of a sharded reader, from which the keys of its checkpoints are made; raises InvalidArgument."""
    return _require_plain("name", name)


def _require_plain(what: str, name: str) -> str:
    """A name that leaves it to the braces of a shard's name in which slot a key lies."""
    require_key(what, name)
    if "{" in name or "}" in name:
        msg = f"{what} must have no braces, which the name of the shard gets in each key: {name!r}"
        raise InvalidArgument(msg)
    return name
