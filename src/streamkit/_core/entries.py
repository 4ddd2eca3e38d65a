"""One entry of a stream, as handlers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, cast

from typing_extensions import TypeVar, override

from streamkit._core.ids import EntryId

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from typing_extensions import Self

T_co = TypeVar("T_co", covariant=True, default=dict[str, str])
V = TypeVar("V")


class Entry(Generic[T_co]):
    """One entry of a stream: where it stands, and its value as the codec read it.

    Frozen; equal when stream, ID and value are; hashed by stream and ID alone, so that any value will do.

    Args:
        stream: The key of the stream the entry stands in (of a partitioned stream, the partition's).
        id: Its ID.
        value: What the stream's codec made of its fields.
    """

    # A plain class with slots, its ID parsed when asked for: half the cost of a frozen dataclass, and this is
    # built once an entry in every loop.
    __slots__ = ("_id", "_stream", "_value")
    _id: bytes
    _stream: str
    _value: T_co

    def __init__(self, stream: str, id: EntryId, value: T_co) -> None:  # noqa: A002 - Redis's own word
        _set_stream(self, stream)
        _set_id(self, str(id).encode())
        _set_value(self, value)

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
    def time(self) -> datetime:
        """The moment of the entry's ID, UTC."""
        return self.id.time

    @override
    def __setattr__(self, name: str, value: object) -> NoReturn:
        msg = f"an entry is frozen; {name!r} cannot be set"
        raise AttributeError(msg)

    @override
    def __delattr__(self, name: str) -> NoReturn:
        msg = f"an entry is frozen; {name!r} cannot be deleted"
        raise AttributeError(msg)

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


_new = object.__new__
# The slots' own setters: the only way past a frozen __setattr__ that costs no more than an assignment.
_set_stream: Callable[[object, str], None] = Entry.__dict__["_stream"].__set__
_set_id: Callable[[object, bytes], None] = Entry.__dict__["_id"].__set__
_set_value: Callable[[object, object], None] = Entry.__dict__["_value"].__set__


def read_entry(stream: str, raw_id: bytes, value: V) -> Entry[V]:
    """An entry from an ID as it came from the server, parsed only if somebody asks for it."""
    entry = cast("Entry[V]", _new(Entry))
    _set_stream(entry, stream)
    _set_id(entry, raw_id)
    _set_value(entry, value)
    return entry
