"""Writing what is copied: page by page, in chunks that are all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamkit._core.appends import Target
from streamkit._core.errors import InvalidArgument, OutOfOrder
from streamkit._core.keys import require_key
from streamkit._core.replaying import Scope, as_they_are, chunks_of, share_keys
from streamkit.asyncio.appending import Delivery
from streamkit.asyncio.sources import Appendable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamkit._core.appends import Chunk
    from streamkit._core.codecs import Codec, Encoded
    from streamkit._core.ids import EntryId
    from streamkit.asyncio._runtime import Stopping
    from streamkit.asyncio.connections import Server


class Copying:
    """Where a copy goes.

    Args:
        server: The server of the source.
        scopes: What is copied.
        to: A stream, written by its codec; or a key, which gets the fields as they are.
        keep_ids: Whether the entries keep their IDs.

    Raises:
        InvalidArgument: The copy would read what it writes, or ``to`` is neither stream nor key.
    """

    def __init__(self, server: Server, scopes: Sequence[Scope], to: Appendable[Any] | str, *, keep_ids: bool) -> None:
        self._codec: Codec[Any] | None = None
        self._keep_ids = keep_ids
        self._route: Callable[[int | None], Target]
        if isinstance(to, Appendable):
            self._server, self._codec, self._route = to._server, to._codec, to._target  # noqa: SLF001
            name, partitioning = to._name, to._partitioning  # noqa: SLF001
        else:
            self._server, self._route = server, _always(Target(require_key("to", to)))
            name, partitioning = to, None
        for scope in scopes:
            if self._on(server) and share_keys(scope.name, scope.partitioning, name, partitioning):
                msg = f"a copy of {scope.name!r} to {name!r} would read what it writes; copy to another stream"
                raise InvalidArgument(msg)
        self._delivery: Delivery | None = None

    @property
    def raw(self) -> bool:
        """Whether fields are copied as they are, so that nothing need be decoded."""
        return self._codec is None

    async def write(self, ids: Sequence[EntryId], values: Sequence[Any], stopping: Stopping) -> int:
        """Append the values of a page, or their fields as they lie there; how many there are by now.

        A connection is held only meanwhile.
        """
        await self._server.facts(stopping)
        if self._delivery is None:
            self._delivery = Delivery(self._server, self._route, stopping=stopping)
        async with self._delivery as delivery:
            await delivery.send_all(self._chunks(ids, values, delivery))
            await delivery.settle()
        return delivery.appended

    def _chunks(self, ids: Sequence[EntryId], values: Sequence[Any], delivery: Delivery) -> Iterator[Chunk]:
        encode = as_they_are if self._codec is None else self._codec.encode
        entries: list[Encoded] = list(map(encode, values))
        if not self._keep_ids:
            yield from chunks_of(entries, None, self._route, lambda: delivery.chunk_size)
            return
        # Two shards may have the same ID, which one stream cannot; the server looks at the first of a chunk only.
        wrong = next((at for at in range(1, len(ids)) if ids[at] <= ids[at - 1]), len(ids))
        yield from chunks_of(entries[:wrong], ids[:wrong], self._route, lambda: delivery.chunk_size)
        if wrong < len(ids):
            newest, target = ids[wrong - 1], self._route(ids[wrong].ms)
            raise OutOfOrder(stream=target.key, entry_id=str(ids[wrong]), newest=str(newest))

    def _on(self, server: Server) -> bool:
        try:
            self._server.require_same(server, "the source")
        except InvalidArgument:
            return False
        return True


def _always(target: Target) -> Callable[[int | None], Target]:
    def route(_ms: int | None) -> Target:
        return target

    return route
