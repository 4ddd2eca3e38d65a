"""Where the dead letters of a source lie: beside it, or on a cluster beside each of its partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamkit._core import commands
from streamkit._core.keys import companion, require_key
from streamkit._core.replies import texts
from streamkit.asyncio.sources import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.insisting import Insisting


def index_of(name: str) -> str:
    """The set of a stream's partitions that have dead letters of their own, since they cannot be beside the stream."""
    return companion(name, "dead-letter-partitions")


class LetterKeys:
    """The dead-letter streams that are seen as one queue.

    Args:
        server: Where they are.
        source: The key of one; or a stream, for those of its groups.
    """

    def __init__(self, server: Server, source: Source[Any] | str) -> None:
        self._server = server
        self._fixed: list[str] = []
        self._spread: list[str] = []
        """Streams whose partitions have queues of their own."""
        if isinstance(source, str):
            self.name: str = require_key("key", source)
            self._fixed.append(source)
            return
        server.require_same(source._server, f"the source {source.name!r}")  # noqa: SLF001
        parts = source._shards or (source,)  # noqa: SLF001
        for part in parts:
            partitioning = part._partitioning  # noqa: SLF001
            like = part.name if partitioning is None else partitioning.at(0).key
            if server.letters_apart(part.name, like):
                self._spread.append(part.name)
            else:
                self._fixed.append(companion(part.name, "dead-letters"))
        self.name = companion(source.name, "dead-letters")

    async def keys(self, insisting: Insisting) -> Sequence[str]:
        """The keys there are, the oldest partition's first. Sends SMEMBERS for each stream with queues a partition."""
        found = list(self._fixed)
        for name in self._spread:
            index = index_of(name)
            (members,), _ = await insisting.call(commands.smembers(index), doing=f"SMEMBERS of {index!r}")
            for partition in sorted(texts(members)):
                letters = companion(partition, "dead-letters")
                asked = [commands.exists(letters), commands.exists(partition)]
                replies, _ = await insisting.call(*asked, doing=f"EXISTS of {letters!r}")
                if replies[0]:
                    found.append(letters)
                elif not replies[1]:
                    # Expired, and everything moved back or discarded: nothing can come there any more.
                    await insisting.call(commands.srem(index, partition), doing=f"SREM from {index!r}")
        return found
