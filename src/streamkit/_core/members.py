"""One consumer's part in one group: the script calls it makes, and what their replies mean."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from streamkit._core.dead_letters import Provenance
from streamkit._core.effects import Emit, Execute, failure, script_words
from streamkit._core.keys import companion
from streamkit._core.replies import raise_error, text, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.errors import EffectFailed, PermissionDenied
    from streamkit._core.protocol import Command, Scalar
    from streamkit._core.replies import Reply
    from streamkit._core.scripts import Script

RELEASED: Final = "streamkit:released"
"""The consumer that holds what was given back, until a peer takes it."""
PAGE: Final = 100
"""Pending entries looked at by one call."""
LONG_AGO: Final = 365 * 24 * 3_600_000
"""Idle for so many ms, an entry is any peer's to take."""


@dataclass(frozen=True)
class Member:
    """Who consumes what: the names that every script of a group begins with."""

    stream: str
    group: str
    consumer: str
    letters: str
    letters_maxlen: int

    def call(
        self, script: Script, arguments: Sequence[Scalar] = (), *, known: bool, effect_keys: Sequence[str] = ()
    ) -> Command:
        """One of the group's scripts."""
        keys = (self.stream, self.letters, companion(self.stream, "redrives"), *effect_keys)
        return script.call(keys, (self.group, self.consumer, self.letters_maxlen, *arguments), known=known)


@dataclass
class Settlement:
    """An entry to settle: acked, or buried if it has a provenance, with its effects in the same step."""

    entry_id: str
    effects: Sequence[Emit | Execute] = ()
    letter: Provenance | None = None
    attempt: int = 1
    sent: bool = field(default=False)
    """Whether it was sent before: that nothing is pending any more then means that it arrived."""


class Settled(enum.Enum):
    """What became of a settlement."""

    OK = "OK"
    GONE = "GONE"
    """Not pending any more: acked before, or its group is gone."""
    LOST = "LOST"
    """Somebody else holds it now: nothing of it was applied."""
    FAILED = "FAILED"
    """An effect was refused."""
    PERIOD = "PERIOD"
    """By the server's clock an emitted entry belongs to another partition: to be sent again."""


def settle_arguments(batch: Sequence[Settlement], *, delete: bool) -> tuple[list[str], list[Scalar]]:
    """The effects' keys, and everything behind the names, for settle.lua."""
    keys = list(dict.fromkeys(effect.key for each in batch for effect in each.effects))
    words: list[Scalar] = ["delete" if delete else "", len(batch)]
    for each in batch:
        provenance = each.letter.fields_before_at() if each.letter else ()
        words += (each.entry_id, len(provenance), *provenance, *script_words(each.effects, keys))
    return keys, words


@dataclass(frozen=True)
class Result:
    """What became of one settlement: the word, who holds it if it is lost, the error if an effect was refused."""

    outcome: Settled
    owner: str = ""
    error: EffectFailed | PermissionDenied | None = None
    now: int = 0


def settle_results(reply: Reply, batch: Sequence[Settlement]) -> tuple[int, list[Result]]:
    """How many dead letters the cap dropped, and what became of each settlement."""
    dropped, *outcomes = raise_error(reply)
    return int(dropped), [_result(texts(words), each) for words, each in zip(outcomes, batch, strict=True)]


def _result(words: list[str], settlement: Settlement) -> Result:
    word, *rest = words
    outcome = Settled(word)
    if outcome is Settled.FAILED:
        index, applied, reason = int(rest[0]), int(rest[1]), rest[2]
        return Result(outcome, error=failure(settlement.effects, index, applied, reason, of_group=True))
    if outcome is Settled.PERIOD:
        return Result(outcome, now=int(rest[0]))
    return Result(outcome, owner=rest[0] if rest else "")


def beat_arguments(ids: Sequence[str], *, behind: str = "", ahead: int = 0) -> tuple[Scalar, ...]:
    """What beat.lua takes behind the names; ``ahead``: the size of a read on its way, behind that ID."""
    return (("-" if not behind else f"({behind}") if ahead else "", ahead, *ids)


@dataclass(frozen=True)
class Claimed:
    """A page of the sweep: what was taken (ID, deliveries), what was buried (ID, cause), where to go on."""

    dropped: int
    cursor: str
    taken: Sequence[tuple[str, int]]
    buried: Sequence[tuple[str, str]]


def claim_arguments(
    *, own: bool, min_idle_ms: int, max_deliveries: int, cursor: str, room: int, in_hand: Sequence[str]
) -> tuple[Scalar, ...]:
    """What claim.lua takes behind the names."""
    return ("own" if own else "idle", min_idle_ms, max_deliveries, cursor or "-", PAGE, room, *in_hand)


def claimed(reply: Reply) -> Claimed:
    """The reply of claim.lua."""
    dropped, cursor, taken, buried = raise_error(reply)
    return Claimed(
        int(dropped),
        text(cursor),
        [(text(each[0]), int(each[1])) for each in taken],
        [(text(each[0]), text(each[1])) for each in buried],
    )


@dataclass(frozen=True)
class Begun:
    """The reply of begin.lua: what it found; if the entry is ours, its deliveries with this one, and its fields."""

    dropped: int
    word: str
    deliveries: int = 0
    flat: Sequence[bytes] = ()


def begun(reply: Reply) -> Begun:
    """The reply of begin.lua."""
    dropped, word, *rest = raise_error(reply)
    if text(word) == "OK":
        return Begun(int(dropped), "OK", int(rest[0]), rest[1])
    return Begun(int(dropped), text(word))


@dataclass(frozen=True)
class Unread:
    """Entries trimmed before they were handed out: how many, and the IDs between which they stood."""

    dropped: int
    count: int
    first: str = ""
    last: str = ""


def unread(reply: Reply) -> Unread:
    """The reply of unread.lua."""
    dropped, count, *span = raise_error(reply)
    return Unread(int(dropped), int(count), *texts(span))
