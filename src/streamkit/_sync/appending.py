# Generated from src/streamkit/asyncio/appending.py by tools/generate_sync.py: do not edit.
"""Seeing appends through: one round trip a chunk, two chunks on their way, sent again without doubling."""

from __future__ import annotations

import time
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamkit._core.appends import GUARD_WINDOW, Answer, Chunk, Guard, Sizer, with_progress
from streamkit._core.errors import AppendUncertain, EncodeError, ServerUnavailable, StreamkitError
from streamkit._core.keys import companion
from streamkit._core.refusals import Refusal, passing, refusal, typed
from streamkit._core.retry import RECONNECT
from streamkit._core.scripts import APPEND
from streamkit._sync._runtime import Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from typing_extensions import Self

    from streamkit._core.appends import Target
    from streamkit._core.replies import Reply
    from streamkit._sync.connections import Server
    from streamkit._sync.links import Link, Ticket

PATIENCE = 15.0
"""Seconds that an append goes on trying while the server is away or refuses."""
IN_FLIGHT = 2
"""Chunks on their way at once."""


@dataclass
class _Sent:
    chunk: Chunk
    guard: Guard
    ticket: Ticket | None = None
    since: float = 0.0


class Delivery:
    """Chunks on their way over one borrowed connection, settled in order.

    A chunk whose reply was lost is sent again: its token tells the server whether it has been written. A chunk sent
    before the one in front of it was answered requires that one's token, so that none overtakes.

    Args:
        server: Where to.
        route: Gives the target for the server's own numbering, from its clock in ms.
        guard: How a repetition is known, if not by a token of the delivery's own.
        stopping: Ends the waiting for a server that is away.
    """

    def __init__(
        self,
        server: Server,
        route: Callable[[int | None], Target],
        guard: Guard | None = None,
        stopping: Stopping | None = None,
    ) -> None:
        self.appended: int = 0
        self.last_id: str = ""
        self._server = server
        self._route = route
        self._guard = guard
        self._stopping = stopping
        self._token = ""
        self._number = 0
        self._sizer = Sizer()
        self._sent: deque[_Sent] = deque()
        self._borrowed: AbstractContextManager[Link] | None = None
        self._link: Link | None = None
        self._failures = 0
        self._failing_since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    @property
    def chunk_size(self) -> int:
        """How many entries the next chunk should hold, at most."""
        return self._sizer.entries

    def send(self, chunk: Chunk) -> None:
        """Send a chunk, once there is room for it on the way."""
        if self._sent and self._sent[-1].chunk.target.key != chunk.target.key:
            self.settle()
        while len(self._sent) >= IN_FLIGHT:
            self._settle_oldest()
        self._number += 1
        sent = _Sent(chunk, self._guard or self._own_guard(chunk, self._number))
        self._sent.append(sent)
        try:
            self._dispatch(sent)
        except ServerUnavailable as error:
            self._again(error)
        except EncodeError as error:
            # Nothing of it was sent, and what was sent before it is on its way.
            self._sent.remove(sent)
            self.settle()
            raise with_progress(error, self.appended) from None

    def send_all(self, chunks: Iterator[Chunk]) -> None:
        """Send chunks as they are made; if one cannot be made, settle what was sent before and raise that error."""
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:
                # A value's own fault, or that of a codec or of a function that gives the times.
                self.settle()
                if isinstance(error, StreamkitError):
                    raise with_progress(error, self.appended) from None
                raise
            if chunk is None:
                return
            self.send(chunk)

    def settle(self) -> None:
        """Wait until everything sent is written.

        Raises:
            AppendError: A chunk was refused; ``appended`` says how many entries were written before it.
            AppendUncertain: The connection was lost for good while a reply was due.
            ServerUnavailable: The server refused for too long.
        """
        while self._sent:
            self._settle_oldest()

    def _settle_oldest(self) -> None:
        oldest = self._sent[0]
        assert self._link is not None and oldest.ticket is not None  # noqa: S101, PT018 - it was dispatched
        try:
            (reply,) = self._link.collect(oldest.ticket)
            refused = isinstance(reply, Exception) and passing(reply)
            if self._link.learn(APPEND, oldest.chunk.target.key, reply):
                self._resend()
            elif not refused:
                self._settled(oldest, reply)
        except ServerUnavailable as error:
            self._again(error)
            return
        if refused:
            key = oldest.chunk.target.key
            refusing = typed(reply, doing=f"appending to {key!r}", key=key)
            if refusal(reply) is Refusal.MOVED:
                # Behind the same name there may be another master by now: only a new connection finds it.
                self._link.close()
                self._give_back()
            self._again(refusing, lost=False)

    def _settled(self, oldest: _Sent, reply: Reply) -> None:
        try:
            if isinstance(reply, Exception):
                raise typed(reply, doing=f"appending to {oldest.chunk.target.key!r}", key=oldest.chunk.target.key)
            answer, detail = oldest.chunk.answer(reply, oldest.guard, appended=self.appended)
        except StreamkitError as error:
            raise with_progress(error, self.appended) from None
        if answer is Answer.WRITTEN:
            self._sent.popleft()
            self.appended += len(oldest.chunk.entries)
            self.last_id = detail or self.last_id
            self._failures = 0
            return
        if answer is Answer.PERIOD:
            target = self._route(int(detail))
            for sent in self._sent:
                sent.chunk = replace(sent.chunk, target=target)
                if self._guard is None:
                    sent.guard = replace(sent.guard, key=companion(target.key, "appends"))
        self._resend()

    def _again(self, error: StreamkitError, *, lost: bool = True) -> None:
        """Wait a little and send everything again, or give up."""
        now = time.monotonic()
        self._failing_since = self._failing_since if self._failures else now
        self._failures += 1
        oldest = self._sent[0]
        # The guard's memory is counted from the write, which may have come late: a quarter of it is left to that.
        remembered = now - oldest.since < oldest.guard.window_ms / 1000 * 0.75
        repeatable = remembered or oldest.ticket is None or not lost
        stopping = self._stopping or Stopping()
        if not repeatable or stopping.requested or now - self._failing_since > PATIENCE:
            raise self._given_up(error, oldest, uncertain=lost and oldest.ticket is not None) from error
        stopping.wait(RECONNECT.delay(self._failures))
        if lost:
            self._give_back()
        try:
            self._resend()
        except ServerUnavailable as again:
            self._again(again)

    def _given_up(self, error: StreamkitError, oldest: _Sent, *, uncertain: bool) -> StreamkitError:
        if not uncertain:
            return with_progress(error, self.appended)
        waiting = sum(len(sent.chunk.entries) for sent in self._sent)
        key = oldest.chunk.target.key
        return AppendUncertain(
            f"the connection was lost before the server answered an append to {key!r} ({error}); "
            f"{'it' if waiting == 1 else f'up to {waiting} entries'} may have been written. "
            "An append with idempotency_key= can be sent again safely",
            stream=key,
            appended=self.appended,
        )

    def _resend(self) -> None:
        if self._link is not None:
            # Replies still due belong to chunks that required the one in front of them: none of them was written.
            for sent in self._sent:
                if sent.ticket is not None:
                    self._link.collect(sent.ticket)
        for place, sent in enumerate(self._sent):
            required = self._sent[place - 1].guard.token if place else ""
            sent.guard = replace(sent.guard, required=required if sent.guard.mode == "chunk" else "")
            self._dispatch(sent)

    def _dispatch(self, sent: _Sent) -> None:
        if self._link is None:
            self._borrowed = self._server.borrow(self._stopping)
            self._link = self._borrowed.__enter__()
        packed = sent.chunk.pack(sent.guard, known=self._link.knows(APPEND, sent.chunk.target.key))
        self._sizer.packed(sent.chunk, packed)
        sent.since = sent.since or time.monotonic()
        ticket = self._link.prepare_packed([packed], key=sent.chunk.target.key)
        try:
            self._link.flush()
        finally:
            if ticket.sent:  # else the node could not even be connected to
                sent.ticket = ticket

    def _give_back(self) -> None:
        if self._borrowed is not None:
            borrowed, self._borrowed, self._link = self._borrowed, None, None
            borrowed.__exit__(None, None, None)

    def _own_guard(self, chunk: Chunk, number: int) -> Guard:
        self._token = self._token or uuid.uuid4().hex
        required = self._sent[-1].guard.token if self._sent else ""
        key = companion(chunk.target.key, "appends")
        return Guard("chunk", key, f"{self._token}:{number}", required, GUARD_WINDOW)
