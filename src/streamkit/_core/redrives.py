"""Which dead letters are meant, where they go, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from streamkit._core.appends import Target
from streamkit._core.dead_letters import Cause, DeadLetter
from streamkit._core.errors import InvalidArgument, RedriveFailed, WrongKeyType
from streamkit._core.ids import ZERO, EntryId
from streamkit._core.keys import companion
from streamkit._core.replaying import GREATEST, parse_scope
from streamkit._core.replies import raise_error, texts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from streamkit._core.protocol import Scalar
    from streamkit._core.replies import Reply

MOVES: Final = 100
"""Letters in one script call, at most."""
MEMORY_MS: Final = 30 * 86_400_000
"""How long it is remembered that an entry was moved back: if it fails again within that, its letter counts it."""
_TOLD: Final = 3
"""Streams, or letters, whose trouble an error describes."""


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


@dataclass(frozen=True)
class Selection:
    """Which dead letters: those of a group, of a cause, written within a span of time."""

    first: EntryId = ZERO
    last: EntryId = GREATEST
    group: str | None = None
    cause: Cause | None = None
    everything: bool = True
    """Whether nothing was asked for in particular."""

    @classmethod
    def of(
        cls,
        key: str,
        group: str | None,
        cause: Cause | None,
        start: datetime | EntryId | str | None,
        end: datetime | EntryId | str | None,
    ) -> Selection:
        """Check what was asked for; an ``end`` that is an ID is included, a datetime is not."""
        if cause is not None and not _is(cause, Cause):
            msg = f"cause must be a Cause, such as Cause.REJECTED, not {cause!r}"
            raise InvalidArgument(msg)
        scope = parse_scope(start, end, key, None)
        everything = group is None and cause is None and start is None and end is None
        return cls(scope.first, scope.last, group, cause, everything)

    def until(self, newest: EntryId) -> Selection:
        """The same, without letters that come later than this one."""
        return replace(self, last=min(self.last, newest))

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter of the span is meant."""
        return (self.group is None or letter.group == self.group) and (self.cause is None or letter.cause is self.cause)


def ids_of(ids: Iterable[EntryId | str | DeadLetter]) -> list[tuple[EntryId, str]]:
    """Letters by their IDs, and the key each lies in, empty where only the ID is given: each once, oldest first."""
    if isinstance(ids, (str, bytes, DeadLetter)):
        msg = f"ids must be a sequence of IDs, or of letters; for a single one write [{ids!r}]"
        raise InvalidArgument(msg)
    return sorted(
        {
            (each.id, each.key)
            if isinstance(each, DeadLetter)
            else (each if isinstance(each, EntryId) else EntryId.parse(each), "")
            for each in ids
        }
    )


def places_of(
    chosen: Sequence[tuple[EntryId, str]], found: Mapping[str, Collection[EntryId]]
) -> dict[str, list[EntryId]]:
    """Which letters are meant, by the keys they lie in, oldest first.

    Args:
        chosen: As `ids_of` gives them.
        found: By key, which of those given by their ID alone lie there.

    Raises:
        InvalidArgument: A letter lies in none of these keys, or an ID is that of several letters.
    """
    places = {key: set[EntryId]() for key in found}
    for entry_id, key in chosen:
        where = [key] if key else [each for each, ids in found.items() if entry_id in ids]
        if len(where) > 1:
            msg = (
                f"{entry_id} is the ID of {len(where)} letters, in {', '.join(map(repr, where))}; give the letters "
                "themselves in place of IDs"
            )
            raise InvalidArgument(msg)
        for each in where:
            if each not in places:
                msg = (
                    f"letter {entry_id} lies in {each!r}, and this queue has {', '.join(map(repr, places)) or 'no key'}"
                )
                raise InvalidArgument(msg)
            places[each].add(entry_id)
    return {key: sorted(ids) for key, ids in places.items()}


def require_one_choice(ids: object, selection: Selection) -> None:
    """Raise InvalidArgument if letters are chosen both by their IDs and by something else."""
    if ids is not None and not selection.everything:
        msg = "give either ids or group, cause, start and end, not both"
        raise InvalidArgument(msg)


@dataclass(frozen=True)
class Move:
    """A letter on its way back: its ID, and where it goes."""

    letter: EntryId
    target: Target
    create: bool
    """Whether a stream that does not exist is made: not if it was the letter's own, it may have been a partition."""


def redrive_call(letters: str, moves: Sequence[Move], *, dry_run: bool) -> tuple[tuple[str, ...], tuple[Scalar, ...]]:
    """The keys and arguments of redrive.lua."""
    targets = {move.target.key: move for move in moves}
    places = {key: place for place, key in enumerate(targets, start=1)}
    keys = [letters]
    words: list[Scalar] = ["dry" if dry_run else "", MEMORY_MS, len(targets)]
    for key, move in targets.items():
        keys += key, companion(key, "redrives")
        words += "create" if move.create else "", *move.target.header()
    for move in moves:
        words += str(move.letter), places[move.target.key]
    return tuple(keys), tuple(words)


def read_outcomes(reply: Reply) -> list[str] | int:
    """What became of each letter; or the server's clock in ms, if another partition's turn has come.

    Raises:
        WrongKeyType: One of the keys is of another type; nothing was moved.
    """
    status, *rest = texts(raise_error(reply))
    if status == "TYPE":
        raise WrongKeyType(rest[0], rest[1], "stream")
    if status == "RECORD":
        raise WrongKeyType(rest[0], rest[1], "zset (streamkit's own record of what was moved back)")
    return int(rest[0]) if status == "PERIOD" else rest


@dataclass(frozen=True)
class Terms:
    """How letters are moved back: how many, how fast, and which of them not."""

    limit: int | None = None
    rate: float | None = None
    dry_run: bool = False
    max_redrives: int = 3

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            msg = f"limit must be zero or more, not {self.limit}"
            raise InvalidArgument(msg)
        if self.rate is not None and not self.rate > 0:
            msg = f"rate must be above zero letters per second, not {self.rate}"
            raise InvalidArgument(msg)
        if self.max_redrives < 1:
            msg = f"max_redrives must be 1 or more, not {self.max_redrives}"
            raise InvalidArgument(msg)

    def room(self, moved: int) -> int:
        """How many letters the next call may move; with a rate a tenth of a second's, so that they come evenly."""
        most = MOVES if self.rate is None or self.dry_run else max(1, min(MOVES, int(self.rate / 10)))
        return most if self.limit is None else min(most, self.limit - moved)

    def due(self, moved: int) -> float:
        """How many seconds after the beginning the next call is due."""
        return 0.0 if self.rate is None or self.dry_run else moved / self.rate


@dataclass
class Tally:
    """What a redrive has done so far."""

    moved: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """Why a stream could not take its letters, by its key."""
    left: int = 0
    empty: list[EntryId] = field(default_factory=list[EntryId])
    """Letters that were asked for by their IDs and have nothing to move back."""

    def settle(self, moves: Sequence[Move], outcomes: Sequence[str], *, repeated: bool) -> None:
        """Count what became of letters; ``repeated``: an earlier try may have moved those that are gone."""
        for move, outcome in zip(moves, outcomes, strict=True):
            if outcome == "MOVED" or (outcome == "GONE" and repeated):
                self.moved += 1
            elif outcome == "NONE":
                self.fail(
                    move.target.key,
                    "does not exist any more, and is not made anew, since a partition would come back without its "
                    "expiry; say where its letters are to go with to=, or discard them",
                )
            elif outcome not in {"GONE", "EMPTY"}:
                self.fail(move.target.key, f"refused an entry: {outcome}")

    def fail(self, key: str, reason: str) -> None:
        """Count a letter that its stream could not take."""
        self.failures.setdefault(key, reason)
        self.left += 1

    def result(self) -> int:
        """How many letters were moved.

        Raises:
            RedriveFailed: Some could not be.
        """
        told = [f"the stream {key!r} {reason}" for key, reason in self.failures.items()]
        if len(told) > _TOLD:
            told[_TOLD:] = [f"and {len(told) - _TOLD} streams more"]
        if self.empty:
            told.append(
                f"{', '.join(map(str, self.empty[:_TOLD]))}{' and more' * (len(self.empty) > _TOLD)} have no fields to "
                "move back: their entries were gone before they were handled"
            )
        if told:
            left = self.left + len(self.empty)
            raise RedriveFailed("; ".join(told), streams=self.failures, left=left, redriven=self.moved)
        return self.moved
