"""How a capped stream is held to its bound: by length or by age, exactly or about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamkit._core.errors import InvalidArgument, WrongKeyType
from streamkit._core.replies import raise_error
from streamkit._core.times import require_positive, span_ms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from streamkit._core.protocol import Scalar
    from streamkit._core.replies import Reply

MOST_LOOKED_AT = 1000
"""Entries held back that trim.lua looks at, at most: it holds up the server meanwhile."""


@dataclass(frozen=True)
class Trimmed:
    """What a trim that waits for groups did.

    Attributes:
        removed: How many entries were removed.
        held_back: How many entries beyond the stream's bound were kept, since some group has not handled them yet; of a
            stream held to an age they are counted up to 1,000.
        groups: The groups that have not handled all of those yet, the furthest behind first; where more than 1,000
            entries are held back, the groups that still need one of the oldest 1,000.
    """

    removed: int
    held_back: int
    groups: Sequence[str]


def read_trimmed(reply: Reply, key: str) -> Trimmed:
    """What trim.lua answers.

    Raises:
        WrongKeyType: The key holds no stream.
    """
    status, *rest = raise_error(reply)
    if status == b"TYPE":
        raise WrongKeyType(key, rest[0].decode(), "stream")
    removed, held_back, *groups = rest
    return Trimmed(removed, held_back, tuple(name.decode(errors="backslashreplace") for name in groups))


@dataclass(frozen=True)
class Trimming:
    """The bound of a capped stream: either a length or an age."""

    maxlen: int | None = None
    max_age: timedelta | None = None
    approximate: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        if (self.maxlen is None) == (self.max_age is None):
            msg = "give exactly one of maxlen (a number of entries) and max_age (a timedelta)"
            raise InvalidArgument(msg)
        if self.maxlen is not None and self.maxlen < 0:
            msg = f"maxlen must be zero or more, not {self.maxlen}"
            raise InvalidArgument(msg)
        if self.max_age is not None:
            require_positive("max_age", self.max_age)
        if self.limit is not None and not self.approximate:
            msg = "trim_limit bounds the work of approximate trimming; with approximate=False leave it out"
            raise InvalidArgument(msg)
        if self.limit is not None and self.limit < 0:
            msg = f"trim_limit must be zero (no limit) or more, not {self.limit}"
            raise InvalidArgument(msg)

    def script_arguments(self) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """Strategy, operator, threshold (a length, or an age in ms) and limit, as append.lua takes them."""
        operator = "~" if self.approximate else "="
        limit = "" if self.limit is None else self.limit
        if self.maxlen is not None:
            return "MAXLEN", operator, self.maxlen, limit
        assert self.max_age is not None  # noqa: S101 - __post_init__ saw to it
        return "MINID", operator, span_ms(self.max_age), limit
