"""How many entries to read at once, so that memory stays bounded whatever they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.replies import RawEntry

FIRST: Final = 100
"""Entries in the first read, before anything is known of their size."""
MOST: Final = 500
"""Entries in any read. Larger ones keep Python's garbage collector busy, which goes through all that was made and not
freed yet, and an entry is two lists before it is decoded; smaller ones cost more system calls."""
PAGE_BYTES: Final = 4 * 1024 * 1024
"""About what a read may hold, in bytes."""
_SAMPLE: Final = 4


class Page:
    """The size of the next read: what the caller asked for, or less where entries are large."""

    def __init__(self, count: int) -> None:
        self._most = min(count, MOST)
        self.entries = min(count, FIRST)

    def received(self, entries: Sequence[RawEntry]) -> None:
        """Learn from a read that was not empty, by a sample of its entries."""
        sample = entries[:: max(1, len(entries) // _SAMPLE)]
        size = max(1, sum(sum(map(len, flat)) for _, flat in sample) // len(sample))
        self.entries = max(1, min(self._most, PAGE_BYTES // size))
