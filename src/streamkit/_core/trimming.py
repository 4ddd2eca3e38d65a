"""How a capped stream is held to its bound: by length or by age, exactly or about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamkit._core.errors import InvalidArgument
from streamkit._core.times import require_positive, span_ms

if TYPE_CHECKING:
    from datetime import timedelta

    from streamkit._core.protocol import Scalar


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
