"""What is compared: one contestant of ours, and its rivals that do the same work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    Attributes:
        name: What to call it.
        run: Does the work; this is what is timed.
        entries: How many entries that is.
        reset: Makes the server as it was before; not timed.
        check: Fails unless the right thing stands on the server; not timed. Thorough after the first run.
    """

    name: str
    run: Callable[[], None]
    entries: int
    reset: Callable[[], None]
    check: Callable[[bool], None]


@dataclass(frozen=True)
class Rival:
    """Somebody to be faster than, and by how much we promise to be."""

    contestant: Contestant
    promised: float


@dataclass(frozen=True)
class Contest:
    """One of ours against its rivals."""

    title: str
    ours: Contestant
    rivals: tuple[Rival, ...]


@dataclass(frozen=True)
class Result:
    """How a contest with one rival went.

    Attributes:
        ratio: How many times as fast as the rival we are: the median over the rounds.
        lowest: The lowest ratio of a round.
        highest: The highest.
        our_rate: Our entries per second, the median.
        rival_rate: The rival's.
        our_cpu: Seconds of this process's own CPU time an entry, the median; less disturbed than time on the wall.
        rival_cpu: The rival's.
    """

    title: str
    rival: str
    promised: float
    ratio: float
    lowest: float
    highest: float
    our_rate: float
    rival_rate: float
    our_cpu: float
    rival_cpu: float

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.ratio >= self.promised
