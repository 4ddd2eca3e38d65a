"""`once`: a handler with effects outside Redis runs once for each entry, within a window."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

from typing_extensions import TypeVar

from streamkit._core import effects
from streamkit._core.entries import Entry
from streamkit._core.errors import ServerError, WrongKeyType
from streamkit._core.groups import Retry
from streamkit._core.keys import companion, require_key
from streamkit._core.replies import texts
from streamkit._core.scripts import ONCE_CLAIM, ONCE_SETTLE
from streamkit._core.times import require_positive, span_ms
from streamkit.asyncio._runtime import refuse_result
from streamkit.asyncio.connections import Server
from streamkit.asyncio.deliveries import Delivery, Work
from streamkit.asyncio.insisting import Insisting

if TYPE_CHECKING:
    from streamkit.asyncio._runtime import Client

E = TypeVar("E", bound=Entry[Any])


def once(
    client: Client, name: str, *, window: timedelta = timedelta(hours=24), lease: timedelta = timedelta(minutes=5)
) -> Callable[[Callable[[E], Awaitable[None]]], Callable[[E], Awaitable[None]]]:
    """Guard a handler whose effects lie outside Redis: it runs once for each entry, within the window.

    A group hands every entry out at least once, and so sometimes twice. The guard remembers, in a key of its own for
    each entry, that the handler ran: ``{name}:once:<stream>:<id>``. An entry whose handler ran before is acked without
    running it again. One whose handler is running elsewhere right now is retried when that one's lease has ended. A
    handler that raises has not run: the claim is given back. If it emitted or executed something on its delivery, the
    mark is written with that and the ack, in one step; if not, right after the handler.

    Its limits: a process killed between the effect and the mark has its entry handled again, after the lease. So has
    one that runs longer than the lease, or comes again after the window; and so do all if the keys are evicted or lost
    in a failover. An entry that is moved back from the dead letters has a new ID and is a new entry.

    Args:
        client: Your client, of the consumer's server; its connections are borrowed, two calls for each entry.
        name: Names the handler: two handlers of one name share their marks.
        window: How long it is remembered that a handler ran, by the server's clock.
        lease: How long a run may take, at most, before the entry is free for another.

    Returns:
        A decorator for the handler, as in ``handler = once(client, "charge-card")(handler)``.

    Raises:
        InvalidArgument: The name is empty, or a span not positive.

    The handler then raises, beside its own errors: `Retry` where another run holds the entry, `WrongKeyType`, and
    `ServerUnavailable` if the server was away, or refused, for 15 s. Sends an EVALSHA before it (GET and SET) and one
    behind it (SET). Needs Redis 7.0.
    """
    guard = _Guard(
        Server(client), require_key("name", name), _milliseconds("window", window), _milliseconds("lease", lease)
    )

    def decorate(handler: Callable[[E], Awaitable[None]]) -> Callable[[E], Awaitable[None]]:
        run: Callable[[E], Awaitable[object]] = handler

        @wraps(handler)
        async def handle(entry: E) -> None:
            key = guard.key_for(entry)
            token = await guard.claim(key, entry)
            if token is None:
                return
            try:
                refuse_result(await run(entry))
            except BaseException:
                await guard.give_back(key, token)
                raise
            await guard.finish(key, token, entry)

        return handle

    return decorate


def _milliseconds(name: str, span: timedelta) -> int:
    return span_ms(require_positive(name, span))


class _Guard:
    """The claims and marks of one handler."""

    def __init__(self, server: Server, name: str, window: int, lease: int) -> None:
        self.name: str = name
        self._server = server
        self._insisting = Insisting(server, name)
        self._window = window
        self._lease = lease

    def key_for(self, entry: Entry[Any]) -> str:
        """The key of an entry's claim and mark; on a cluster in the slot of its stream, for it may go with the ack."""
        if self._server.clustered:
            return companion(entry.stream, f"once:{self.name}:{entry.id}")
        return companion(self.name, f"once:{entry.stream}:{entry.id}")

    async def claim(self, key: str, entry: Entry[Any]) -> str | None:
        """The token of a run that may begin; None: the handler ran before.

        Raises:
            Retry: It is running elsewhere.
            InvalidArgument: The entry comes from another server.
        """
        if isinstance(entry, Delivery):
            self._server.require_same(entry._batch.lane.server, f"the entry of {entry.stream!r}")  # noqa: SLF001
        token = uuid.uuid4().hex
        doing = f"claiming entry {entry.id} of {entry.stream!r} for {self.name!r}"
        reply, _ = await self._insisting.run(ONCE_CLAIM, (key,), (token, self._lease), doing=doing)
        status, *rest = texts(reply)
        if status == "TYPE":
            raise WrongKeyType(key, rest[0], "guard of streamkit's own against repeated runs")
        if status == "HELD":
            reason = f"entry {entry.id} of {entry.stream!r} is being handled by another run of {self.name!r}"
            raise Retry(reason, delay=timedelta(milliseconds=max(0, int(rest[0]))))
        return token if status == "OK" else None

    async def finish(self, key: str, token: str, entry: Entry[Any]) -> None:
        """Remember that the handler ran; together with what it left to be done with the ack."""
        work = entry._worked() if isinstance(entry, Delivery) else Work()  # noqa: SLF001
        if work.error is not None:
            await self.give_back(key, token)
        elif work.effects:
            # Marked at once, an entry that is handed out again would be acked without them.
            work.effects.append(effects.execute(("SET", key, "done", "PX", self._window)))
        else:
            await self._insisting.run(ONCE_SETTLE, (key,), (token, self._window), doing=f"marking {key!r} as done")

    async def give_back(self, key: str, token: str) -> None:
        """Let another run begin; what cannot be given back now is free when the lease ends."""
        with suppress(ServerError):
            await self._server.run(ONCE_SETTLE, (key,), (token, ""), doing=f"giving back {key!r}")
