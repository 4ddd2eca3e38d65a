"""Which shard of a stream an entry belongs to."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamkit._core.errors import InvalidArgument
from streamkit._core.keys import require_key
from streamkit._core.protocol import Scalar, storable, to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SHARDS = 16384
"""As many as a cluster has slots."""


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
        return [f"{self.name}:{{{name}}}" for name in self.names]

    def place(self, key: object) -> int:
        """The place among `keys` of the shard for an entry with this key.

        Raises:
            InvalidArgument: It is no text, bytes or number; or names no shard.
        """
        if not storable(key):
            msg = f"the key of an entry of {self.name!r} must be a str, bytes, int or float, not {key!r}"
            raise InvalidArgument(msg)
        word = to_bytes(_scalar(key))
        if self.hashed:
            return zlib.crc32(word) % len(self.names)
        try:
            return self.names.index(word.decode())
        except ValueError:
            msg = f"{self.name!r} has no shard {word.decode(errors='replace')!r}; it has {', '.join(self.names)}"
            raise InvalidArgument(msg) from None


def _scalar(key: object) -> Scalar:
    assert isinstance(key, (str, bytes, int, float))  # noqa: S101 - storable() said so
    return key


def parse_shards(name: str, shards: int | Sequence[str]) -> Sharding:
    """The shards of a stream, from their number or their names; raises InvalidArgument."""
    require_key("the name of a stream", name)
    if "{" in name or "}" in name:
        msg = f"the name of a sharded stream must have no braces, which its shards get: {name!r}"
        raise InvalidArgument(msg)
    if isinstance(shards, int):
        if not 1 <= shards <= MOST_SHARDS or isinstance(shards, bool):
            msg = f"shards must be 1 to {MOST_SHARDS}, not {shards}"
            raise InvalidArgument(msg)
        return Sharding(name, tuple(map(str, range(shards))), hashed=True)
    names = tuple(shards)
    if isinstance(shards, str) or not names or len(set(names)) < len(names):
        msg = f"shards must be a number, or names of which none comes twice, not {shards!r}"
        raise InvalidArgument(msg)
    for each in names:
        if not require_key("the name of a shard", each) or "{" in each or "}" in each:
            msg = f"the name of a shard must have no braces: {each!r}"
            raise InvalidArgument(msg)
    return Sharding(name, names, hashed=False)
