"""Python values as text in Redis fields, and back: what DataclassCodec and checkpoint states share."""

from __future__ import annotations

import dataclasses
import enum
import types
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Union, get_args, get_origin, get_type_hints

from streamkit._core.errors import UnsupportedType
from streamkit._core.protocol import Scalar, to_bytes


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        msg = f"{text!r} is neither 'true' nor 'false'"
        raise ValueError(msg)
    return text == "true"


_READERS: dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: _boolean,
    Decimal: Decimal,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    uuid.UUID: uuid.UUID,
}

SUPPORTED = "str, int, float, bool, bytes, Decimal, datetime, date, UUID, an Enum, or one of these or None"


def write(value: object) -> Scalar:
    """One value as a Redis field holds it; None has no text and must be left out by the caller."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return write(value.value)
    if isinstance(value, (str, bytes, int, float)):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    msg = f"{type(value).__name__} cannot be written as text: {value!r}; use {SUPPORTED}"
    raise UnsupportedType(msg)


@dataclass(frozen=True)
class Column:
    """One field: how to read it back from bytes, and whether it may be absent (None)."""

    name: str
    read: Callable[[bytes], Any]
    optional: bool


def number(name: str) -> Column:
    """A number that may be whole or not, as in a dict that began with ``{"total": 0}``."""
    return Column(name, _number, optional=False)


def _number(raw: bytes) -> int | float:
    try:
        return int(raw)
    except ValueError:
        return float(raw)


def column(name: str, annotation: object) -> Column:
    """How to read a field of this type; raises UnsupportedType for one that has no text form."""
    optional = False
    if get_origin(annotation) in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        optional = len(members) < len(get_args(annotation))
        annotation = members[0] if len(members) == 1 else annotation
    return Column(name, _reader(name, annotation), optional)


def _reader(name: str, annotation: object) -> Callable[[bytes], Any]:
    if annotation is bytes:
        return bytes
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        by_text = {to_bytes(write(member.value)): member for member in annotation}
        return lambda raw: by_text[raw]
    if isinstance(annotation, type) and annotation in _READERS:
        read = _READERS[annotation]
        return lambda raw: read(raw.decode())
    msg = f"field {name!r} has the type {annotation!r}, which has no text form here; use {SUPPORTED}"
    raise UnsupportedType(msg)


def columns_of(cls: type) -> dict[str, Column]:
    """The columns of a dataclass, by field name; raises UnsupportedType if it is none, or a field will not do."""
    if not dataclasses.is_dataclass(cls):
        msg = f"{cls!r} is no dataclass"
        raise UnsupportedType(msg)
    hints = get_type_hints(cls)
    return {field.name: column(field.name, hints[field.name]) for field in dataclasses.fields(cls) if field.init}


def read_columns(columns: Mapping[str, Column], fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """Values by name for the fields that are there; an absent optional one is None, an absent other one is left out."""
    values: dict[str, Any] = {}
    for name, each in columns.items():
        raw = fields.get(name.encode())
        if raw is not None:
            values[name] = each.read(raw)
        elif each.optional:
            values[name] = None
    return values
