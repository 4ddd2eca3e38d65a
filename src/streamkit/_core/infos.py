"""What a stream's key looks like from outside, for people and dashboards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamkit._core.refusals import typed
from streamkit._core.replies import Reply, stream_facts
from streamkit._core.times import from_ms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from streamkit._core.ids import EntryId


@dataclass(frozen=True)
class StreamInfo:
    """What the server says of one stream key.

    Attributes:
        key: The key.
        length: How many entries it holds; 0 too if it does not exist.
        first_id: The ID of its oldest entry; None if it is empty.
        last_id: The newest ID it ever gave; None if it does not exist.
        entries_added: How many entries it ever got, those trimmed or deleted since among them.
        groups: How many consumer groups it has.
        expires_at: When the key expires, UTC; None: never, or it does not exist.
    """

    key: str
    length: int
    first_id: EntryId | None
    last_id: EntryId | None
    entries_added: int
    groups: int
    expires_at: datetime | None


def stream_info(key: str, replies: Sequence[Reply]) -> StreamInfo:
    """XINFO STREAM and PEXPIRETIME of one key."""
    found, expiry = replies
    for reply in replies:
        if isinstance(reply, Exception) and "no such key" not in str(reply):
            raise typed(reply, doing=f"asking about {key!r}", key=key)
    facts = stream_facts(found)
    if facts is None:
        return StreamInfo(key, 0, None, None, 0, 0, None)
    return StreamInfo(
        key=key,
        length=facts.length,
        first_id=facts.first_id,
        last_id=facts.last_id,
        entries_added=facts.entries_added,
        groups=facts.groups,
        expires_at=from_ms(expiry) if expiry >= 0 else None,
    )
