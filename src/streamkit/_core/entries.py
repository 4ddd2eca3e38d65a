"""One entry of a stream, as handlers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, cast

from typing_extensions import TypeVar, override

from streamkit._core.ids import EntryId
from streamkit._core.times import from_ms

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Self

T_co = TypeVar("T_co", covariant=True, default=dict[str, str])


class Entry(Generic[T_co]):
    """One entry of a stream: where it stands, and its value as the codec read it.

    Frozen; equal when stream, ID and value are; hashed by stream and ID alone, so that any value will do.

    Args:
        stream: The key of the stream the entry stands in (of a partitioned stream, the partition's).
        id: Its ID.
        value: What the stream's codec made of its fields.
    """

    # A plain class, its ID parsed when asked for, and frozen by properties without setters: a frozen dataclass costs
    # twice as much to make, and one of these is made for each entry of every loop.
    __slots__ = ("_id", "_stream", "_value")
    _id: str
    _stream: str
    _value: T_co

    def __init__(self, stream: str, id: EntryId, value: T_co) -> None:  # noqa: A002 - Redis's own word
        self._stream = stream
        self._id = str(id)
        self._value = value

    @property
    def stream(self) -> str:
        """The key of the stream the entry stands in."""
        return self._stream

    @property
    def id(self) -> EntryId:
        """The entry's ID."""
        return EntryId.parse(self._id)

    @property
    def value(self) -> T_co:
        """What the codec made of the entry's fields."""
        return self._value

    @property
    def ms(self) -> int:
        """The milliseconds since 1970 of the entry's ID, as ``id.ms`` gives them, at a fraction of its cost."""
        word = self._id
        try:
            return int(word[:-2])  # nearly every ID ends in "-0": a slice is cheaper than a search
        except ValueError:
            return int(word.partition("-")[0])

    @property
    def time(self) -> datetime:
        """The moment of the entry's ID, UTC."""
        return from_ms(self.ms)

    @override
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        theirs = cast("Entry[object]", other)
        return (self._stream, self.id, self._value) == (theirs.stream, theirs.id, theirs.value)

    @override
    def __hash__(self) -> int:
        return hash((self._stream, self.id))

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}(stream={self._stream!r}, id={str(self.id)!r}, value={self._value!r})"

    @override
    def __reduce__(self) -> tuple[type[Self], tuple[str, EntryId, Any]]:
        return type(self), (self._stream, self.id, self._value)


new_entry: Any = object.__new__
"""Makes an entry without its constructor, for a loop that then sets its ``_stream``, ``_id`` (text) and ``_value``."""
