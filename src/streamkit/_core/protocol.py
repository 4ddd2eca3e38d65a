"""Commands on the wire: RESP arrays of bulk strings, packed by hand or by hiredis where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Scalar: TypeAlias = "str | bytes | int | float"
Command: TypeAlias = "tuple[Scalar, ...]"

SCALARS = frozenset({str, bytes, int, float})


def storable(value: object) -> bool:
    """Whether Redis can store a value as it is: bool is refused, since it would read back as something else."""
    return isinstance(value, (str, bytes, int, float)) and not isinstance(value, bool)


def to_bytes(value: Scalar) -> bytes:
    """A value as Redis stores it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    # By the number's own repr: an IntEnum or a NumPy float has another one.
    return (float.__repr__(value) if isinstance(value, float) else int.__repr__(value)).encode()


def plain(value: Scalar) -> Scalar:
    """The same value as one of the four types themselves, which is what hiredis packs."""
    return value if type(value) in SCALARS else to_bytes(value)


def pack_python(command: Iterable[Scalar]) -> bytes:
    """One command as the bytes to send, without hiredis."""
    words = [word if isinstance(word, bytes) else to_bytes(word) for word in command]
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts += (b"$%d\r\n" % len(word), word, b"\r\n")
    return b"".join(parts)


def _fastest() -> Callable[[Command], bytes]:
    try:
        import hiredis  # noqa: PLC0415 - an optional accelerator
    except ImportError:  # pragma: no cover - exercised by the session without hiredis
        return pack_python
    else:
        return getattr(hiredis, "pack_command", pack_python)


pack = _fastest()
