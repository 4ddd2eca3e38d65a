"""A reader's state as fields of its checkpoint: a dataclass or a flat dict, written as text for people to read."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, cast

from typing_extensions import TypeVar

from streamkit._core import texts
from streamkit._core.errors import (
    InvalidArgument,
    NewerStateVersion,
    ReservedFieldName,
    StateError,
    UnknownStateFields,
    UnsupportedType,
)
from streamkit._core.protocol import to_bytes

S = TypeVar("S", default=None)

RESERVED = ("current_stream_key", "last_message_id")
RESERVED_PREFIX = "streamkit:"
MOST_FIELDS = 1_000

Migration = Callable[[dict[str, str], int], Mapping[str, str]]
"""Takes the saved fields and the version they were saved with, returns the fields of the program's version."""


def _is_text(name: object) -> bool:
    return isinstance(name, str)


def _reserved(name: str) -> bool:
    return name in RESERVED or name.startswith(RESERVED_PREFIX)


def _check_names(names: Iterable[object]) -> None:
    """Raise for a field name that is no text, or that the checkpoint needs for itself."""
    for name in names:
        if not _is_text(name):
            msg = f"a state has the field name {name!r}; names are str"
            raise InvalidArgument(msg)
    reserved = [str(name) for name in names if _reserved(str(name))]
    if reserved:
        raise ReservedFieldName(reserved, (*RESERVED, f"{RESERVED_PREFIX}*"))


class StateSchema(Generic[S]):
    """How a state is written to the checkpoint hash, and read back.

    Args:
        initial: The state to begin with: a dataclass instance, a flat dict, or None for none.
        version: The version of the state's shape; raised by the program when its fields change.
        migrate: Turns the fields of an older version into today's.
        checkpoint: The checkpoint's key, for errors.
    """

    def __init__(self, initial: S, *, version: int, migrate: Migration | None, checkpoint: str) -> None:
        if version < 1:
            msg = f"state_version must be 1 or more, not {version}"
            raise InvalidArgument(msg)
        self.version = version
        self._initial = copy.deepcopy(initial)
        self._migrate = migrate
        self._checkpoint = checkpoint
        self._columns = self._describe()
        _check_names(self._columns)
        self.encode(self._initial)

    def _describe(self) -> dict[str, texts.Column]:
        initial = self._initial
        if initial is None:
            return {}
        if isinstance(initial, dict):
            items = cast("dict[str, object]", initial).items()
            _check_names(dict(items))
            return {name: self._column_of(name, value) for name, value in items}
        if dataclasses.is_dataclass(initial) and not isinstance(initial, type):
            return texts.columns_of(type(initial))
        msg = f"state must be a dataclass instance, a flat dict or None, not {initial!r}"
        raise InvalidArgument(msg)

    def _column_of(self, name: str, value: object) -> texts.Column:
        if type(value) in {int, float}:
            return texts.number(name)
        return texts.column(name, str if value is None else type(value))

    def initial(self) -> S:
        """A copy of the state to begin with."""
        return copy.deepcopy(self._initial)

    def encode(self, state: S) -> dict[str, bytes]:
        """The fields to save, without those that are None.

        Raises:
            ReservedFieldName: A dict state got a field that the checkpoint needs for itself.
            UnsupportedType: A value has no text form.
        """
        if type(state) is not type(self._initial):
            kind = type(self._initial).__name__
            msg = f"the state is a {type(state).__name__} now and began as a {kind}; keep its type"
            raise InvalidArgument(msg)
        if state is None:
            return {}
        if isinstance(state, dict):
            items = cast("dict[str, object]", state)
            _check_names(items)
            began = cast("dict[str, object]", self._initial)
            for name, value in items.items():
                if value is None and began.get(name) is not None:
                    msg = f"the state's field {name!r} became None, which a dict cannot keep apart from never set"
                    raise UnsupportedType(msg)
        else:
            items = {name: getattr(state, name) for name in self._columns}
        if len(items) > MOST_FIELDS:
            msg = f"the state has {len(items)} fields; a checkpoint takes {MOST_FIELDS} at most"
            raise InvalidArgument(msg)
        return {name: self._write(name, value) for name, value in items.items() if value is not None}

    def _write(self, name: str, value: object) -> bytes:
        try:
            name.encode()
            return to_bytes(texts.write(value))
        except UnicodeEncodeError as error:
            msg = f"the state's field {name!r} is no text that UTF-8 can express: {error}"
            raise UnsupportedType(msg) from None

    def decode(self, fields: Mapping[str, bytes], version: int) -> S:
        """The state of a checkpoint's fields, those of the checkpoint itself left out.

        Raises:
            NewerStateVersion: It was saved by a newer version of the program.
            UnknownStateFields: It has fields that the program's state lacks.
            StateError: A field does not read as its type, or an older version was saved and no migration is given.
        """
        if version > self.version:
            msg = (
                f"checkpoint {self._checkpoint!r} was saved with state version {version}, this program knows only "
                f"{self.version}; run the newer program, or reset() the checkpoint"
            )
            raise NewerStateVersion(msg)
        if version < self.version and fields:
            fields = self._migrated(fields, version)
        if isinstance(self._initial, dict):
            return self._decode_dict(fields)
        unknown = sorted(set(fields) - set(self._columns))
        if unknown:
            msg = (
                f"checkpoint {self._checkpoint!r} holds the fields {', '.join(map(repr, unknown))}, which the state "
                "does not have; add them, raise state_version and give migrate=, or reset() the checkpoint"
            )
            raise UnknownStateFields(msg)
        if self._initial is None:
            return self._initial
        values = self._read(fields)
        kept = {name: getattr(self._initial, name) for name in self._columns}
        return type(self._initial)(**{**copy.deepcopy(kept), **values})

    def _migrated(self, fields: Mapping[str, bytes], version: int) -> dict[str, bytes]:
        if self._migrate is None:
            msg = (
                f"checkpoint {self._checkpoint!r} was saved with state version {version}, this program's is "
                f"{self.version}; give migrate= a function that turns its fields into today's"
            )
            raise StateError(msg)
        old = self._texts(fields)
        return {name: value.encode() for name, value in self._migrate(old, version).items()}

    def _decode_dict(self, fields: Mapping[str, bytes]) -> S:
        extra = self._texts({name: raw for name, raw in fields.items() if name not in self._columns})
        state = self.initial()
        # One by one: the update() of a Counter adds.
        for name, value in {**self._read(fields), **extra}.items():
            cast("dict[str, object]", state)[name] = value
        return state

    def _texts(self, fields: Mapping[str, bytes]) -> dict[str, str]:
        try:
            return {name: raw.decode() for name, raw in fields.items()}
        except UnicodeDecodeError as error:
            msg = (
                f"a field of checkpoint {self._checkpoint!r} is not UTF-8: {error}; mend it, or reset() the checkpoint"
            )
            raise StateError(msg) from None

    def _read(self, fields: Mapping[str, bytes]) -> dict[str, Any]:
        try:
            return texts.read_columns(self._columns, {name.encode(): raw for name, raw in fields.items()})
        except (ValueError, KeyError, ArithmeticError) as error:
            msg = (
                f"a field of checkpoint {self._checkpoint!r} does not read as the state's type: {error}; "
                "mend it by hand (HGETALL shows it), or reset() the checkpoint"
            )
            raise StateError(msg) from error
