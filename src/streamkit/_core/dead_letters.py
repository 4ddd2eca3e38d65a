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
    fields: dict[bytes, Scalar] = {
        f"{PREFIX}stream".encode(): error.stream,
        f"{PREFIX}id".encode(): error.entry_id,
        f"{PREFIX}cause".encode(): "undecodable",
        f"{PREFIX}error_type".encode(): type(cause).__name__,
        f"{PREFIX}error".encode(): str(cause)[:1000],
        f"{PREFIX}reader".encode(): reader,
        f"{PREFIX}at".encode(): now,
    }
    words = iter(error.fields)
    fields.update(zip(words, words, strict=True))
    return Emit(Target(key, trimming=Trimming(maxlen=MAXLEN)), "*", fields)
