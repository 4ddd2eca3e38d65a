"""How an entry that nobody could handle is written down: its provenance, then its untouched fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit._core.appends import Target
from streamkit._core.effects import Emit
from streamkit._core.trimming import Trimming

if TYPE_CHECKING:
    from streamkit._core.errors import DecodeError
    from streamkit._core.protocol import Scalar

PREFIX = "streamkit:"
MAXLEN = 100_000


def undecodable_letter(key: str, error: DecodeError, reader: str, now: int) -> Emit:
    """The dead letter of an entry that the codec could not read."""
    cause = error.__cause__
    provenance: tuple[Scalar, ...] = (
        *(f"{PREFIX}stream", error.stream),
        *(f"{PREFIX}id", error.entry_id),
        *(f"{PREFIX}cause", "undecodable"),
        *(f"{PREFIX}error_type", type(cause).__name__),
        *(f"{PREFIX}error", str(cause)[:1000].encode(errors="replace")),
        *(f"{PREFIX}reader", reader),
        *(f"{PREFIX}at", now),
    )
    # The fields come last and flat: names may repeat, and those of an older dead letter stay beside these.
    return Emit(Target(key, trimming=Trimming(maxlen=MAXLEN)), "*", (*provenance, *error.fields))
