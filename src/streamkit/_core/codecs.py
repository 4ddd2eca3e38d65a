"""Codecs: how a value becomes the fields of an entry, and how it is read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeAlias, cast, overload

from typing_extensions import TypeVar, override

from streamkit._core import texts
from streamkit._core.errors import DecodeError, EncodeError, InvalidArgument
from streamkit._core.protocol import Scalar, storable

T = TypeVar("T", default=dict[str, str])
"""The value type of a stream: ``dict[str, str]`` unless a codec says otherwise."""

D = TypeVar("D")

Fields: TypeAlias = "dict[str, str]"
"""What a stream without a codec gives."""

FieldsIn: TypeAlias = "Mapping[str, str | bytes | int | float]"
"""What a stream without a codec takes."""

Encoded: TypeAlias = "Mapping[str, Scalar] | Mapping[bytes, Scalar]"


MOST_FIELDS = 3_000
"""Fields in one entry: Lua hands about 8,000 words to a command, and two are needed for a field."""


class Codec(Protocol[T]):
    """How a stream's values become the fields of its entries, and back.

    Anything with these two methods is a codec. They are called in whichever thread appends or reads, must not block,
    and must not keep state between calls.
    """

    def encode(self, value: T, /) -> Mapping[str, Scalar] | Mapping[bytes, Scalar]:
        """The fields to write for a value; at least one."""
        ...

    def decode(self, fields: Mapping[bytes, bytes], /) -> T:
        """The value of an entry's fields; whatever it raises is reported as a `DecodeError` naming the entry."""
        ...


class TextCodec:
    """The codec of a stream that was given none: a dict of text, UTF-8.

    Writes ``str``, ``bytes``, ``int`` and ``float`` values; reads all of them back as ``str``.
    """

    def encode(self, value: FieldsIn, /) -> Mapping[str, Scalar]:
        """The mapping itself; its values go to Redis as they are."""
        return value

    def decode(self, fields: Mapping[bytes, bytes], /) -> dict[str, str]:
        """The fields as text.

        Raises:
            UnicodeDecodeError: A field or value is not UTF-8.
        """
        return {field.decode(): value.decode() for field, value in fields.items()}


class RawCodec:
    """A codec that leaves fields alone: ``dict[bytes, bytes]``, whatever they hold."""

    def encode(self, value: Mapping[bytes, Scalar], /) -> Mapping[bytes, Scalar]:
        """The mapping itself."""
        return value

    def decode(self, fields: Mapping[bytes, bytes], /) -> dict[bytes, bytes]:
        """The fields as a dict of their own."""
        return dict(fields)


class JsonCodec(Generic[T]):
    """A codec that keeps the whole value as JSON in one field.

    Args:
        loads: Reads a value from the field's bytes; `json.loads` unless given.
        dumps: Writes a value as ``str`` or ``bytes``; compact `json.dumps` unless given.
        field: The name of the field.

    Example:
        With Pydantic, one line: ``JsonCodec(loads=Order.model_validate_json, dumps=Order.model_dump_json)``.
    """

    @overload
    def __init__(self: JsonCodec[Any], *, dumps: Callable[[Any], str | bytes] = ..., field: str = ...) -> None: ...
    @overload
    def __init__(
        self, *, loads: Callable[[bytes], T], dumps: Callable[[Any], str | bytes] = ..., field: str = ...
    ) -> None: ...
    def __init__(
        self,
        *,
        loads: Callable[[bytes], Any] = json.loads,
        dumps: Callable[[Any], str | bytes] | None = None,
        field: str = "data",
    ) -> None:
        if not field:
            msg = "field must not be empty"
            raise InvalidArgument(msg)
        self._loads = loads
        self._dumps = dumps or _compact
        self._field = field
        self._key = field.encode()

    def encode(self, value: T, /) -> Mapping[str, Scalar]:
        """One field holding the value as JSON."""
        return {self._field: self._dumps(value)}

    def decode(self, fields: Mapping[bytes, bytes], /) -> T:
        """The value in the field.

        Raises:
            KeyError: The entry has no such field.
        """
        return cast("T", self._loads(fields[self._key]))

    @override
    def __repr__(self) -> str:
        return f"JsonCodec(field={self._field!r})"


def _compact(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # Half a surrogate pair, as JSON from elsewhere may hold, is no UTF-8; escaped it is.
    return text if _encodable(text) else json.dumps(value, separators=(",", ":"))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class DataclassCodec(Generic[D]):
    """A codec for a flat dataclass: one entry field for each of its fields, as text.

    A field that is None is left out, and one that may be None is None where the entry lacks it; any other that is
    missing takes the dataclass's default. Unknown fields of an entry are ignored, so that a producer may add some
    before its consumers know them.

    Args:
        cls: The dataclass. Its fields may be str, int, float, bool, bytes, Decimal, datetime, date, UUID, an Enum, or
            one of these or None.

    Raises:
        UnsupportedType: ``cls`` is no dataclass, or has a field of another type.
    """

    def __init__(self, cls: type[D]) -> None:
        self._cls = cls
        self._columns = texts.columns_of(cls)
        self._names = tuple(self._columns)

    def encode(self, value: D, /) -> Mapping[str, Scalar]:
        """One field for each attribute that is not None."""
        pairs = ((name, getattr(value, name)) for name in self._names)
        return {name: texts.write(attribute) for name, attribute in pairs if attribute is not None}

    def decode(self, fields: Mapping[bytes, bytes], /) -> D:
        """A new instance of the dataclass.

        Raises:
            TypeError: A field without a default is missing.
            ValueError: A field's text does not read as its type.
        """
        return self._cls(**texts.read_columns(self._columns, fields))

    @override
    def __repr__(self) -> str:
        return f"DataclassCodec({self._cls.__qualname__})"


TEXT = TextCodec()


def is_text(codec: object) -> bool:
    """Whether it is the codec of streams that were given none, for which there are shorter ways."""
    return type(codec) is TextCodec


class _Names(dict[bytes, str]):
    """Field names decoded once: streams repeat the same few in every entry."""

    def __missing__(self, name: bytes) -> str:
        decoded = name.decode()
        if len(self) < 1024:
            self[name] = decoded
        return decoded


def decode_texts(rows: Sequence[tuple[str, list[str]]]) -> list[dict[str, str]]:
    """What `TextCodec` makes of entries whose fields and values came as text already, a whole read at once."""
    size = len(rows[0][1])
    # Written out for the shorter ones, as one expression that also finds out if they are all alike: slices and dict()
    # cost three times as much.
    with suppress(ValueError):
        if size == 2:
            return [{a: b} for _, (a, b) in rows]
        if size == 4:
            return [{a: b, c: d} for _, (a, b, c, d) in rows]
        if size == 6:
            return [{a: b, c: d, e: f} for _, (a, b, c, d, e, f) in rows]
        if size == 8:
            return [{a: b, c: d, e: f, g: h} for _, (a, b, c, d, e, f, g, h) in rows]
        if size == 10:
            return [{a: b, c: d, e: f, g: h, i: j} for _, (a, b, c, d, e, f, g, h, i, j) in rows]
    return [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in rows]


def flat_decoder(codec: Codec[T]) -> Callable[[list[bytes]], T]:
    """What reads a value from the flat list of an entry's fields and values; raises whatever the codec raises."""
    if is_text(codec):
        names = _Names()

        def decode_text(flat: list[bytes]) -> T:
            words = iter(flat)
            return cast("T", {names[field]: value.decode() for field, value in zip(words, words, strict=True)})

        return decode_text

    decode = codec.decode

    def decode_mapping(flat: list[bytes]) -> T:
        words = iter(flat)
        return decode(dict(zip(words, words, strict=True)))

    return decode_mapping


def undecodable(stream: str, entry_id: bytes, flat: list[bytes], reason: BaseException) -> DecodeError:
    """The error for an entry that the codec could not read."""
    error = DecodeError(stream=stream, entry_id=entry_id.decode(), fields=tuple(flat), reason=reason)
    error.__cause__ = reason
    return error


def _is_name(name: object) -> bool:
    return isinstance(name, (str, bytes))


def check_fields(fields: Encoded, stream: str) -> None:
    """Raise EncodeError for fields that Redis cannot store as they are."""
    if len(fields) > MOST_FIELDS:
        msg = f"an entry for {stream!r} has {len(fields)} fields; the server's scripts take {MOST_FIELDS} at most"
        raise EncodeError(msg)
    if not fields:
        msg = f"an entry for {stream!r} has no fields; Redis needs at least one"
        raise EncodeError(msg)
    for name, value in fields.items():
        if not _is_name(name):
            msg = f"an entry for {stream!r} has the field name {name!r}; names are str or bytes"
            raise EncodeError(msg)
        if not storable(value):
            msg = (
                f"the field {name!r} of an entry for {stream!r} is {value!r}; Redis stores str, bytes, int and float: "
                "convert it, leave it out, or give the stream a codec"
            )
            raise EncodeError(msg)
        for text in (name, value):
            if isinstance(text, str) and not _encodable(text):
                msg = f"the field {name!r} of an entry for {stream!r} is no text that UTF-8 can express: {text!r}"
                raise EncodeError(msg)
