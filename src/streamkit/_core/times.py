"""Moments and spans as Redis counts them: whole milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from streamkit._core.errors import InvalidArgument, NaiveDatetime

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(time: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime, rounded down."""
    if time.tzinfo is None:
        raise NaiveDatetime(time)
    # Half a microsecond of headroom: timestamp() is a float, exact to about 0.3 us in this century.
    return int(time.timestamp() * 1000 + 0.0005)


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of so many milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=ms)


def span_ms(span: timedelta) -> int:
    """A timedelta in whole milliseconds, rounded down."""
    return span // _MILLISECOND


def _is_span(value: object) -> bool:
    return isinstance(value, timedelta)


def require_positive(name: str, span: timedelta, *, zero: bool = False) -> timedelta:
    """Check that a span of time is above zero (or, with ``zero``, not below it) and return it."""
    if not _is_span(span):
        msg = f"{name} must be a timedelta, not {span!r}; for seconds write timedelta(seconds=...)"
        raise InvalidArgument(msg)
    if span < timedelta(0) or (not zero and span < _MILLISECOND):
        msg = f"{name} must be {'zero or more' if zero else 'at least a millisecond'}, not {span!r}"
        raise InvalidArgument(msg)
    return span
