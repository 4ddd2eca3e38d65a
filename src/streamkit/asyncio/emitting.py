"""What `emit` means for readers and deliveries alike: an entry to append in a step, checked before anything is sent."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from streamkit._core import effects
from streamkit._core.appends import Target
from streamkit._core.ids import EntryId
from streamkit._core.keys import require_key

if TYPE_CHECKING:
    from streamkit._core.effects import Emit
    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.sources import Appendable


def emission(
    server: Server, anchor: str, stream: Appendable[Any] | str, value: Any, at: datetime | EntryId | None
) -> Emit:
    """The effect that appends a value in a step about the key ``anchor``.

    Raises EncodeError or InvalidArgument for what can never work.
    """
    ms = None if at is None else at.ms if isinstance(at, EntryId) else EntryId.at(at).ms
    entry_id = "*" if at is None else str(at) if isinstance(at, EntryId) else f"{ms}-*"
    if isinstance(stream, str):
        server.require_one_slot(f"emit to {stream!r}", anchor, require_key("stream", stream))
        return effects.emit(Target(require_key("stream", stream)), entry_id, value)
    server.require_same(stream._server, f"the stream {stream.name!r}")  # noqa: SLF001
    server.require_one_slot(f"emit to {stream.name!r}", anchor, *stream._keys_alike())  # noqa: SLF001
    return effects.emit(stream._target(ms), entry_id, stream._codec.encode(value))  # noqa: SLF001
