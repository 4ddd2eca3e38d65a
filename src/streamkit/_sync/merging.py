# Generated from src/streamkit/asyncio/merging.py by tools/generate_sync.py: do not edit.
"""Several streams read as one: pages merged by ID, live views in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit._core.ids import EntryId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.replies import RawEntry
    from streamkit._sync._runtime import Stopping
    from streamkit._sync.paging import Pages
    from streamkit._sync.tailing import Tail

BETWEEN_LOOKS = 0.05
"""Seconds between two looks at all streams of a live view, while there is nothing."""


class MergedPages:
    """The entries of several scopes in the order of their IDs, in runs that lie in one key.

    Args:
        parts: The scopes; a page of each is in memory.
        reverse: Whether they are read from the newest to the oldest.
    """

    def __init__(self, parts: Sequence[Pages], *, reverse: bool) -> None:
        self._waiting: list[Pages] = list(parts)
        self._held: list[tuple[Pages, str, Sequence[RawEntry]]] = []
        self._reverse = reverse

    def next(self) -> tuple[str, Sequence[RawEntry]] | None:
        """The next entries and the key they stand in; None when every scope is at its end, or it is to stop."""
        while self._waiting:
            part = self._waiting.pop()
            page = part.next()
            if page is not None:
                self._held.append((part, *page))
        return self._run() if self._held else None

    def at_hand(self) -> tuple[str, Sequence[RawEntry]] | None:
        """The same, of what was read already; None: something is to be read first."""
        return None if self._waiting or not self._held else self._run()

    def _run(self) -> tuple[str, Sequence[RawEntry]]:
        self._held.sort(key=lambda each: _id(each[2][0]), reverse=self._reverse)
        part, key, entries = self._held.pop(0)
        size = len(entries)
        if self._held:
            bound = _id(self._held[0][2][0])
            size = next((at for at, entry in enumerate(entries) if self._behind(_id(entry), bound)), size)
        # At least one: of equal IDs in two keys, that which was sorted first.
        run, rest = entries[: size or 1], entries[size or 1 :]
        if rest:
            self._held.append((part, key, rest))
        else:
            self._waiting.append(part)
        return key, run

    def _behind(self, entry_id: EntryId, bound: EntryId) -> bool:
        return entry_id < bound if self._reverse else entry_id > bound


class MergedTails:
    """The live views of several streams, looked at in turn.

    Args:
        parts: The views.
        stopping: Ends it.
    """

    def __init__(self, parts: Sequence[Tail], stopping: Stopping) -> None:
        self._parts = list(parts)
        self._stopping = stopping

    def next(self) -> tuple[str, Sequence[RawEntry]] | None:
        """The next entries and the key they stand in; None when it is to stop."""
        while not self._stopping.requested:
            for _ in self._parts:
                self._parts.append(self._parts.pop(0))  # each is the first in its turn
                page = self._parts[-1].now()
                if page is not None:
                    return page
            self._stopping.wait(BETWEEN_LOOKS)
        return None

    def close(self) -> None:
        """Disconnect all of them."""
        for part in self._parts:
            part.close()


def _id(entry: RawEntry) -> EntryId:
    return EntryId.parse(entry[0])
