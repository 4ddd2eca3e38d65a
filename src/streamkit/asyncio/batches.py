"""What a consumer has in hand: batches of entries that were read, and suspects that were taken over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.replies import RawEntry
    from streamkit.asyncio.deliveries import Work
    from streamkit.asyncio.lanes import Lane
    from streamkit.asyncio.leasing import Hand


class Batch:
    """Entries to handle, held together; the first try of each, or a later one of a single entry."""

    __slots__ = ("alone", "attempt", "entries", "hand", "ids", "interrupted", "lane", "taken", "works")

    def __init__(self, lane: Lane, hand: Hand, entries: Sequence[RawEntry], attempt: int = 1) -> None:
        self.lane: Lane = lane
        self.hand: Hand = hand
        self.entries: Sequence[RawEntry] = entries
        self.ids: Sequence[str] = hand.ids
        self.attempt: int = attempt
        self.alone: bool = False
        """Whether it is to be handled with nothing else running, and settled before anything else begins."""
        self.taken: int = 0
        """How many were handed out."""
        self.interrupted: bool = False
        """Whether the handler of the last one handed out was cut off."""
        self.works: dict[str, Work] = {}
        """What handlers left to be done with the ack, or why they failed, by ID."""

    def rest(self) -> Batch:
        """What was not handed out yet, as a batch of the same hand."""
        rest = Batch(self.lane, self.hand, self.entries[self.taken :], self.attempt)
        rest.ids, rest.alone = self.ids[self.taken :], self.alone
        return rest

    def of(self, ids: Sequence[str]) -> Batch:
        """Some of it, to be given back."""
        some = Batch(self.lane, self.hand, (), self.attempt)
        some.ids, some.works = ids, self.works
        return some


@dataclass(frozen=True)
class Suspect:
    """An entry taken over from a holder that never settled it."""

    lane: Lane
    entry_id: str
    deliveries: int
    alone: bool
    """Whether nothing is to run beside it: it may have ended its holder's process, or has no start left but this."""
