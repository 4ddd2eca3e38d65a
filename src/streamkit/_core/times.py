"""Moments and spans as Redis counts them: whole milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from streamkit._core.errors import InvalidArgument, NaiveDatetime

if TYPE_CHECKING:
    from collections.abc import Sequence

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: IDs go further, datetime does not."""
_MILLISECOND = timedelta(milliseconds=1)


def to_ms(time: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime, rounded down."""
    if time.tzinfo is None or time.utcoffset() is None:
        raise NaiveDatetime(time)
    since = time - EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def all_ms(times: Sequence[datetime]) -> list[int]:
    """`to_ms` of each; in UTC, which is the rule, with fewer steps."""
    if [time.tzinfo for time in times].count(timezone.utc) == len(times):
        return [
            (since := time - EPOCH).days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
            for time in times
        ]
    return list(map(to_ms, times))


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of so many milliseconds since 1970; past the year 9999, where datetime ends, that end."""
    return EPOCH + timedelta(milliseconds=min(ms, LAST_MS))


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
