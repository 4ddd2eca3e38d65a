"""Names of keys that stand beside a stream's own, in the same cluster slot."""

from __future__ import annotations

from streamkit._core.errors import InvalidArgument


def companion(key: str, suffix: str) -> str:
    """The key for ``suffix`` beside ``key``: ``temps:averages`` -> ``{temps:averages}:suffix``.

    A key with a ``{tag}`` of its own keeps it; any other becomes the tag, so that both hash to one slot.
    """
    opening = key.find("{")
    closing = key.find("}", opening + 1)
    tagged = opening != -1 and closing > opening + 1
    return f"{key}:{suffix}" if tagged else f"{{{key}}}:{suffix}"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def require_key(name: str, key: str) -> str:
    """Check that a key is a non-empty str and return it."""
    if not _is_text(key) or not key:
        msg = f"{name} must be a non-empty str, not {key!r}"
        raise InvalidArgument(msg)
    return key
