"""Moving dead letters back: page by page, each letter in one atomic step."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streamkit._core.appends import Target, with_progress
from streamkit._core.errors import InvalidArgument, StreamkitError
from streamkit._core.keys import require_key
from streamkit._core.redrives import Move, Tally, Terms, read_outcomes, redrive_call
from streamkit._core.scripts import REDRIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.dead_letters import DeadLetter
    from streamkit.asyncio._runtime import Stopping
    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.insisting import Insisting
    from streamkit.asyncio.sources import Appendable


class Redriving:
    """One redrive: takes letters as they are read, and moves them.

    Args:
        server: Where the letters are.
        insisting: Sends the calls.
        to: Where they go; None: back to where they came from.
        terms: How many, how fast, which not.
        named: Whether the letters were asked for by their IDs.
        stopping: Ends it after the call on its way.
    """

    def __init__(
        self,
        server: Server,
        insisting: Insisting,
        to: Appendable[Any] | str | None,
        terms: Terms,
        *,
        stopping: Stopping,
        named: bool,
    ) -> None:
        self.tally: Tally = Tally()
        self._server = server
        self._insisting = insisting
        self._letters = ""
        self._to = to if to is None or not isinstance(to, str) else Target(require_key("to", to))
        self._terms = terms
        self._stopping = stopping
        self._named = named
        self._began = time.monotonic()

    def begin(self, letters: str) -> None:
        """Go on with the letters of this key.

        Raises:
            InvalidArgument: They would be moved to where they are.
        """
        to = self._to
        if letters == (to.key if isinstance(to, Target) else to if to is None else to.name):
            msg = f"{letters!r} cannot be moved to itself; give to= another stream"
            raise InvalidArgument(msg)
        self._letters = letters

    @property
    def done(self) -> bool:
        """Whether the limit is reached, or a stop was requested."""
        return self._stopping.requested or self._terms.room(self.tally.moved) <= 0

    async def take(self, letters: Sequence[DeadLetter]) -> None:
        """Move those of these letters that are to be moved, until `done`."""
        moves: list[Move] = []
        for letter in letters:
            if self.done:
                return
            move = self._move_of(letter)
            if move is not None:
                moves.append(move)
            if len(moves) >= self._terms.room(self.tally.moved):
                await self._send(moves)
                moves = []
        if moves and not self.done:
            await self._send(moves)

    def _move_of(self, letter: DeadLetter) -> Move | None:
        if not letter.pairs:
            if self._named:
                self.tally.empty.append(letter.id)
            return None
        if letter.redrives >= self._terms.max_redrives and not self._named:
            return None
        target = self._target_of(letter)
        if target.key in self.tally.failures:
            self.tally.fail(target.key, "")
            return None
        return Move(letter.id, target, create=self._to is not None)

    def _target_of(self, letter: DeadLetter) -> Target:
        if self._to is None:
            self._server.require_one_slot("redrive", self._letters, letter.stream)
            return Target(letter.stream)
        return self._to if isinstance(self._to, Target) else self._to._target(None)  # noqa: SLF001

    async def _send(self, moves: Sequence[Move]) -> None:
        early = self._began + self._terms.due(self.tally.moved) - time.monotonic()
        if early > 0:
            await self._stopping.wait(early)
            if self._stopping.requested:
                return
        repeated = False
        dry_run = self._terms.dry_run
        try:
            while True:
                keys, arguments = redrive_call(self._letters, moves, dry_run=dry_run)
                doing = f"moving dead letters of {self._letters!r}"
                reply, lost = await self._insisting.run(REDRIVE, keys, arguments, doing=doing)
                repeated = (repeated or lost) and not dry_run
                outcomes = read_outcomes(reply)
                if not isinstance(outcomes, int):
                    break
                moves = [replace(move, target=self._turned(move.target, outcomes)) for move in moves]
        except StreamkitError as error:
            raise with_progress(error, self.tally.moved) from error.__cause__
        self.tally.settle(moves, outcomes, repeated=repeated)

    def _turned(self, target: Target, now: int) -> Target:
        """The same stream's partition of this moment, by the server's clock."""
        return target if self._to is None or isinstance(self._to, Target) else self._to._target(now)  # noqa: SLF001
