"""What consumers of a group agree on: retries, what a failure leads to, and what is pending."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from streamkit._core.dead_letters import Cause
from streamkit._core.errors import EffectFailed, InvalidArgument, StreamkitError
from streamkit._core.times import require_positive

if TYPE_CHECKING:
    from streamkit._core.ids import EntryId

BackoffOf: TypeAlias = "Callable[[int], timedelta]"
"""How long to wait after the attempt that failed, counted from 1."""


class Outcome(StreamkitError):
    """Raised by a handler, or given to ``delivery.fail()``, to say what becomes of an entry."""


class Retry(Outcome):
    """Handle the entry again later: a failure that needs no error in the log.

    Counts as a delivery like any other failure: after the last of ``max_deliveries`` the entry is dead-lettered.

    Args:
        reason: Why, for people.
        delay: When, counted from now; None: what the policy's backoff says.
    """

    def __init__(self, reason: str = "", *, delay: timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay: timedelta | None = None if delay is None else require_positive("delay", delay, zero=True)


class Reject(Outcome):
    """Never handle the entry again: it goes to the dead-letter stream at once.

    Args:
        reason: Why, for people; it stands in the dead letter.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def exponential(base: timedelta, *, factor: float = 2.0, maximum: timedelta, jitter: float = 0.1) -> BackoffOf:
    """Growing waits: ``base``, then ``factor`` times as long each time, up to ``maximum``.

    Args:
        base: The wait after the first attempt.
        factor: By how much it grows; at least 1.
        maximum: The longest wait.
        jitter: The part of each wait that is left to chance, from 0 to 1, so that what failed together is not retried
            together.
    """
    first = require_positive("base", base).total_seconds()
    most = require_positive("maximum", maximum).total_seconds()
    if not factor >= 1 or not 0 <= jitter <= 1:
        msg = f"factor must be 1 or more and jitter between 0 and 1, not {factor!r} and {jitter!r}"
        raise InvalidArgument(msg)

    def backoff(attempt: int) -> timedelta:
        growth = math.log(most / first) / math.log(factor) if factor > 1 and most > first else 0.0
        whole = min(most, first * factor ** min(attempt - 1, growth + 1))
        return timedelta(seconds=whole * (1 - jitter * random.random()))  # noqa: S311 - spreads load, guards nothing

    return backoff


_DEFAULT_BACKOFF = exponential(timedelta(seconds=5), factor=4, maximum=timedelta(minutes=10))


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and when, an entry whose handler failed is handled again.

    Attributes:
        max_deliveries: How often a handler may be started for an entry; after the last failure it is dead-lettered.
        backoff: The wait after an attempt that failed: a function of its number (from 1), such as `exponential` makes,
            or a table of waits, whose last one counts for all further attempts. 5, 20, 80, 320 s unless given, which
            rides out an outage of seven minutes.
        reject_on: Exceptions after which the entry is dead-lettered at once.
    """

    max_deliveries: int = 5
    backoff: BackoffOf | Sequence[timedelta] = _DEFAULT_BACKOFF
    reject_on: tuple[type[BaseException], ...] | type[BaseException] = ()

    def __post_init__(self) -> None:
        if self.max_deliveries < 1:
            msg = f"max_deliveries must be 1 or more, not {self.max_deliveries}"
            raise InvalidArgument(msg)
        if not callable(self.backoff):
            if not self.backoff:
                msg = "backoff must not be an empty table; for no wait at all write [timedelta(0)]"
                raise InvalidArgument(msg)
            for wait in self.backoff:
                require_positive("a wait of backoff", wait, zero=True)

    def delay(self, attempt: int) -> float:
        """The wait after this attempt, in seconds."""
        if callable(self.backoff):
            return max(0.0, self.backoff(attempt).total_seconds())
        return self.backoff[min(attempt, len(self.backoff)) - 1].total_seconds()


class Fate(enum.Enum):
    """What becomes of an entry whose handler failed."""

    RETRY = "retry"
    BURY = "bury"


@dataclass(frozen=True)
class Verdict:
    """What a failure leads to: a retry after ``delay`` seconds, or a dead letter with its cause."""

    fate: Fate
    delay: float = 0.0
    cause: Cause = Cause.EXHAUSTED
    reason: str = ""
    error: BaseException | None = None


def verdict(policy: RetryPolicy, error: BaseException, attempt: int) -> Verdict:
    """What the failure of an attempt leads to."""
    if isinstance(error, Reject):
        return Verdict(Fate.BURY, cause=Cause.REJECTED, reason=error.reason)
    if isinstance(error, EffectFailed) and error.applied:
        # Trying again would do a second time what was applied.
        return Verdict(Fate.BURY, cause=Cause.EFFECT_FAILED, reason=str(error), error=error)
    if isinstance(error, policy.reject_on):
        return Verdict(Fate.BURY, cause=Cause.REJECTED, error=error)
    reason = error.reason if isinstance(error, Retry) else ""
    if attempt >= policy.max_deliveries:
        return Verdict(Fate.BURY, cause=Cause.EXHAUSTED, reason=reason, error=None if reason else error)
    if isinstance(error, Retry) and error.delay is not None:
        return Verdict(Fate.RETRY, error.delay.total_seconds(), reason=reason, error=error)
    return Verdict(Fate.RETRY, policy.delay(attempt), reason=reason, error=error)


@dataclass(frozen=True)
class PendingEntry:
    """An entry that was delivered to a consumer of a group and neither acked nor dead-lettered yet.

    Attributes:
        stream: The key of its stream.
        id: Its ID.
        consumer: Who holds it; entries that a stopped consumer gave back are held by ``streamkit:released``.
        idle: How long ago it was delivered, or its holder was last heard of.
        deliveries: How often it was delivered, which is how often a handler was started, or the first delivery alone.
    """

    stream: str
    id: EntryId
    consumer: str
    idle: timedelta
    deliveries: int


@dataclass
class Pace:
    """How much a consumer may hold ahead: what it clears in a second, so that idle peers get their share.

    Args:
        least: How many it handles at once.
        most: The greatest read.
    """

    least: int
    most: int
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = min(self.least, self.most)

    def handled(self, count: int, seconds: float) -> None:
        """Learn from a batch; the size grows at most threefold at a time, since the first ones tell little."""
        rate = count / max(seconds, 1e-6)
        # Two reads are held at a time, the one in hand and the one behind it.
        wanted = min(self.most, int(rate / 2), 3 * self.size + 1)
        self.size = max(min(self.least, self.most), wanted)

    @property
    def ahead(self) -> bool:
        """Whether to read ahead of what is in hand: not while one handler's work is all there should be."""
        return self.size > min(self.least, self.most)


class Turns:
    """Whose turn it is while something waits to run alone, and handlers of any length are running.

    Nothing new is begun for a while, so that those running come to their end. If they take longer than that, the others
    go on for four times as long, and the next while is twice the last one.
    """

    def __init__(self) -> None:
        self._wanted = False
        self._from = 0.0
        self._length = 0.0
        self._began = 0.0

    def mine(self, now: float, *, wanted: bool) -> bool:
        """Whether nothing new is to be begun now (s); ``wanted``: something waits to run alone."""
        if wanted and not self._wanted:
            self._from, self._length = max(now, self._from), 1.0
        elif wanted and now >= self._from + self._length:
            self._from, self._length = now + 4 * self._length, 2 * self._length
        self._wanted = wanted
        return wanted and now >= self._from

    def begin(self, now: float) -> None:
        """It runs, alone."""
        self._began = now

    def end(self, now: float) -> None:
        """It ran: the others have as long as it took before the next one."""
        self._from, self._length = now + (now - self._began), 1.0
