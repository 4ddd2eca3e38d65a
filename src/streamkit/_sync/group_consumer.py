# Generated from src/streamkit/asyncio/group_consumer.py by tools/generate_sync.py: do not edit.
"""`GroupConsumer`: reads a source as one of a group, handles, acks, retries, and takes over what others left."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar

from streamkit._core.codecs import Fields
from streamkit._core.dead_letters import MAXLEN
from streamkit._core.errors import InvalidArgument, NotEntered
from streamkit._core.groups import PendingEntry, RetryPolicy
from streamkit._core.ids import Beginning, EntryId
from streamkit._core.keys import require_key
from streamkit._core.members import RELEASED
from streamkit._core.observers import LoggingObserver, Observer
from streamkit._core.times import require_positive
from streamkit._sync._runtime import Client, Stopping
from streamkit._sync.concurrently import Concurrently
from streamkit._sync.connections import Server
from streamkit._sync.lanes import Names
from streamkit._sync.overseeing import lag_of, leave_of, pending_of, take_over_of
from streamkit._sync.serially import Serially
from streamkit._sync.sources import Source
from streamkit._sync.stepping import Stepping
from streamkit._sync.subscribing import Subscription, sources_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from streamkit._sync.consuming import Consuming
    from streamkit._sync.deliveries import Delivery

T = TypeVar("T", default=dict[str, str])
V = TypeVar("V")

_DEFAULT_RETRY = RetryPolicy()


def default_consumer() -> str:
    """A name for a consumer that was given none: host, process, and chance, so that no two are the same."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class GroupConsumer(Generic[T]):
    """One consumer of a consumer group: its consumers share the entries, and each entry is handled at least once.

    An entry is acked only after its handler succeeded, or when it stands in the dead-letter stream. One whose handler
    raised is handled again after the policy's backoff; what a consumer leaves behind that crashed, hung or lost its
    connection is taken over by the others once it was idle for ``min_idle_time``. While a handler runs, a heartbeat
    keeps its entry.

    Args:
        client: Your client. `run` keeps two connections of its own beside it, with redis-py's retries off: one to read
            and ack, one for the heartbeat.
        source: A stream, a key, or a sequence of these.
        group: The consumer group; made where it does not exist.
        consumer: The name of this consumer, unique in its group; None: made of host, process and chance.
        start: Where a group that is new begins. None: the oldest entry; ``NEW``: entries from now on; a datetime or an
            entry ID (included); the key of a partition.
        count: Entries in a read, at most. Fewer are read while handling is slow: what is held ahead is bounded by
            what is handled in a second.
        min_idle_time: How long an entry may go without a heartbeat before others take it; 60 s unless given.
        retry: What happens to entries whose handler fails.
        dead_letters: The key of the dead-letter stream; None: ``{source}:dead-letters``, one for each source.
        dead_letters_maxlen: About how many dead letters are kept.
        delete_on_ack: Delete entries in the step that acks them, once every group of the stream is done with them: for
            streams used as queues.
        max_hold: How long past its own expiry a partition is held back while the group has not done with it; then its
            rest is dead-lettered. A day unless given.
        observer: Told what cannot be raised; None logs it, ``Observer()`` is silence.

    Raises:
        InvalidArgument: An argument can never work; nothing was sent.

    Sends XREADGROUP, XACK and EVALSHA (of scripts with XPENDING, XCLAIM, XRANGE, XADD, XINFO, XGROUP and what effects
    need). Needs Redis 7.0.
    """

    @overload
    def __init__(
        self: GroupConsumer[Fields],
        client: Client,
        source: str | Sequence[str],
        group: str,
        consumer: str | None = None,
        *,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 100,
        min_idle_time: timedelta = timedelta(seconds=60),
        retry: RetryPolicy = ...,
        dead_letters: str | None = None,
        dead_letters_maxlen: int = MAXLEN,
        delete_on_ack: bool = False,
        max_hold: timedelta = timedelta(days=1),
        observer: Observer | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: GroupConsumer[V],
        client: Client,
        source: Source[V] | Sequence[Source[V]],
        group: str,
        consumer: str | None = None,
        *,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 100,
        min_idle_time: timedelta = timedelta(seconds=60),
        retry: RetryPolicy = ...,
        dead_letters: str | None = None,
        dead_letters_maxlen: int = MAXLEN,
        delete_on_ack: bool = False,
        max_hold: timedelta = timedelta(days=1),
        observer: Observer | None = None,
    ) -> None: ...
    def __init__(
        self,
        client: Client,
        source: Source[Any] | str | Sequence[Source[Any]] | Sequence[str],
        group: str,
        consumer: str | None = None,
        *,
        start: datetime | EntryId | str | Beginning | None = None,
        count: int = 100,
        min_idle_time: timedelta = timedelta(seconds=60),
        retry: RetryPolicy = _DEFAULT_RETRY,
        dead_letters: str | None = None,
        dead_letters_maxlen: int = MAXLEN,
        delete_on_ack: bool = False,
        max_hold: timedelta = timedelta(days=1),
        observer: Observer | None = None,
    ) -> None:
        if count < 1 or dead_letters_maxlen < 1:
            msg = f"count and dead_letters_maxlen must be 1 or more, not {count} and {dead_letters_maxlen}"
            raise InvalidArgument(msg)
        self._server = Server(client)
        self._group = require_key("group", group)
        self._consumer = default_consumer() if consumer is None else require_key("consumer", consumer)
        if self._consumer == RELEASED:
            msg = f"the consumer name {RELEASED!r} is streamkit's own; choose another"
            raise InvalidArgument(msg)
        self._count = count
        self._min_idle = require_positive("min_idle_time", min_idle_time).total_seconds()
        self._max_hold = require_positive("max_hold", max_hold, zero=True).total_seconds()
        self._retry = retry
        self._delete = delete_on_ack
        self._observer = LoggingObserver() if observer is None else observer
        self._stopping = Stopping()
        self._within: float | None = None
        self._consuming: Consuming | None = None
        self._stepping: Stepping | None = None
        letters = None if dead_letters is None else require_key("dead_letters", dead_letters)
        names = Names(self._group, self._consumer, letters, dead_letters_maxlen)
        self._subscription = Subscription(self._server, sources_of(source), names, start, self._observer)
        self._subscription.courses()  # whatever is wrong with the sources is found here

    @property
    def group(self) -> str:
        """The group's name."""
        return self._group

    @property
    def name(self) -> str:
        """This consumer's name."""
        return self._consumer

    def run(
        self,
        handler: Callable[[Delivery[T]], None],
        *,
        concurrency: int = 1,
        key: Callable[[Delivery[T]], Hashable] | None = None,
    ) -> None:
        """Hand each entry to a handler, until `stop`.

        An entry is acked when its handler returns. One whose handler raises is handled again, or dead-lettered, as the
        retry policy says; `Retry` and `Reject` say it themselves.

        Args:
            handler: Takes a `Delivery`. With ``concurrency=1`` it runs in the thread that called `run`.
            concurrency: How many handlers run at once, in threads (asyncio: tasks) of their own.
            key: Gives the key of an entry: entries of one key are handled in the order they came, while others run
                beside them. Retries come later, and other processes know nothing of it.

        Raises:
            InvalidArgument: The handler returned an awaitable to the synchronous `run`; ``concurrency`` is below 1.
            WrongKeyType: A source or the dead-letter stream is a key of another type.
            ServerUnavailable: The server cannot be reached at the start; later on it is waited for.
            ServerTooOld: It is older than Redis 7.0.
            PermissionDenied: The user may not run a command; the message names it.
        """
        self._consume(handler, concurrency=concurrency, key=key, batches=False)

    def run_batches(self, handler: Callable[[Sequence[Delivery[T]]], None], *, concurrency: int = 1) -> None:
        """Hand entries to a handler as they were read, up to ``count`` at a time, until `stop`.

        All of a batch is acked when its handler returns, but for those it failed one by one with
        ``delivery.fail(error)``; what it raises counts for all that it did not.

        Args:
            handler: Takes a list of deliveries, never an empty one. Retries, and what was taken over, come alone.
            concurrency: How many handlers run at once, in threads (asyncio: tasks) of their own.

        Raises the same as `run`.
        """
        self._consume(handler, concurrency=concurrency, key=None, batches=True)

    def stop(self, *, within: timedelta | None = None) -> None:
        """End the loop: what is in hand is finished and acked, everything else is given back at once.

        Only sets a flag: from a signal handler, or any thread or task.

        Args:
            within: How long running handlers are waited for, with ``concurrency`` above 1; None: as long as they take.
                After that asyncio cancels them and their entries are given back; threads cannot be cancelled, so
                theirs are left to age.
        """
        self._within = None if within is None else within.total_seconds()
        self._stopping.request()
        consuming = self._consuming
        if consuming is not None:
            consuming.due = 0.0

    # -- an own loop --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Join the group for an own loop; a heartbeat keeps what is read until it is settled.

        Raises the same as `run` at its start.
        """
        self._require_idle()
        self._stopping.bind()
        stepping = Stepping(
            self._server, self._subscription.courses(), self._observer, self._stopping, **self._settings(1)
        )
        stepping.open()
        self._consuming = self._stepping = stepping
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave: what is in hand and not settled is left to age; what waits for a retry is given back."""
        stepping, self._consuming, self._stepping = self._stepping, None, None
        if stepping is not None:
            stepping.close()
        self._stopping.clear()

    def read(self, *, count: int | None = None, wait: timedelta = timedelta(0)) -> Sequence[Delivery[T]]:
        """The next entries: retries that are due, then new ones.

        Args:
            count: At most so many; None: the consumer's ``count``.
            wait: How long to wait for the first if there are none.

        Returns:
            The deliveries, none if there was nothing within ``wait``. Settle each with `ack`, `nack` or `reject`.

        Raises:
            NotEntered: Outside ``with consumer``.
            ServerUnavailable: The server is away; what it delivered meanwhile comes with a later read.

        Sends XREADGROUP.
        """
        stepping = self._steps("read()")
        seconds = require_positive("wait", wait, zero=True).total_seconds()
        return stepping.read(self._most(count), seconds)

    def reap(self, *, count: int | None = None) -> Sequence[Delivery[T]]:
        """Take over entries that nobody is handling: this consumer's own from before, and what others let grow idle.

        Each counts as delivered once more; those delivered ``max_deliveries`` times already are dead-lettered instead.

        Args:
            count: At most so many; None: the consumer's ``count``.

        Raises:
            NotEntered: Outside ``with consumer``.
            ServerUnavailable: The server is away.

        Sends EVALSHA (XPENDING and XCLAIM), a page of 100 pending entries at a time.
        """
        return self._steps("reap()").reap(self._most(count))

    def ack(self, *deliveries: Delivery[T]) -> None:
        """Settle deliveries as the return of a handler would: ack them, with their effects in the same step.

        What was ``fail``-ed is retried or dead-lettered instead. Sends XACK, and EVALSHA where there are effects.

        Raises:
            NotEntered: Outside ``with consumer``.
            ServerUnavailable: The server is away; what is owed goes with the next step.
        """
        self._steps("ack()").ack(deliveries)

    def nack(self, *deliveries: Delivery[T], delay: timedelta | None = None) -> None:
        """Have deliveries handled again: `read` gives them once ``delay`` has passed.

        Args:
            *deliveries: Which.
            delay: How long to wait; None: what the retry policy says. After ``max_deliveries`` they are dead-lettered.

        Raises:
            NotEntered: Outside ``with consumer``.
            ServerUnavailable: The server is away; what is owed goes with the next step.
        """
        self._steps("nack()").nack(deliveries, delay)

    def reject(self, delivery: Delivery[T], reason: str) -> None:
        """Dead-letter a delivery at once, with a reason for people.

        Raises:
            NotEntered: Outside ``with consumer``.
            ServerUnavailable: The server is away; what is owed goes with the next step.
        """
        self._steps("reject()").reject(delivery, reason)

    # -- looking, and handing over ------------------------------------------------------------------------------------

    def pending(self) -> Iterator[PendingEntry]:
        """Everything that is pending in the group, whoever holds it; oldest first in each key, 100 at a time.

        Raises:
            ServerUnavailable: The server is away, or refuses for now.
            PermissionDenied: The user may not run a command; the message names it.

        Sends XPENDING a page.
        """
        for lane in self._subscription.lanes():
            for entry in pending_of(self._server, lane):
                yield entry

    def lag(self) -> int | None:
        """How many entries the group was not given yet, over all keys; None where the server does not know.

        Raises:
            ServerUnavailable: The server is away, or refuses for now.
            PermissionDenied: The user may not run a command; the message names it.

        Sends XINFO STREAM and XINFO GROUPS for each key.
        """
        total = 0
        for lane in self._subscription.lanes():
            with self._server.visit() as link:
                lag = lag_of(link, lane)
            if lag is None:
                return None
            total += lag
        return total

    def take_over(self, consumer: str) -> int:
        """Take everything another consumer holds, whatever it is doing, and remove it from the group: for scaling down.

        Deliveries are not counted by this. A loop of this consumer handles them next; otherwise `reap`, or the next
        start, finds them.

        Args:
            consumer: The other one's name. If it is still running it loses what it has in hand.

        Returns:
            How many entries were taken.

        Raises:
            InvalidArgument: It is this consumer itself.
            ServerUnavailable: The server is away, or refuses for now.
            PermissionDenied: The user may not run a command; the message names it.

        Sends EVALSHA (XPENDING, XCLAIM, XGROUP DELCONSUMER), 100 entries at a time.
        """
        if consumer == self._consumer:
            msg = f"a consumer cannot take over from itself ({consumer!r}); name another one"
            raise InvalidArgument(msg)
        taken = 0
        for lane in self._subscription.lanes():
            taken += take_over_of(self._server, lane, consumer)
        if self._consuming is not None:
            self._consuming.taking.adopt()
        return taken

    def leave(self) -> bool:
        """Give back everything this consumer holds and has not in hand, and leave the group.

        Returns:
            Whether it is gone from the group; False while it has entries in hand.

        Raises:
            ServerUnavailable: The server is away, or refuses for now.
            PermissionDenied: The user may not run a command; the message names it.

        Sends EVALSHA (XPENDING, XCLAIM, XGROUP DELCONSUMER).
        """
        left = True
        leases = None if self._consuming is None else self._consuming.leases
        for lane in self._subscription.lanes():
            in_hand = frozenset(() if leases is None else leases.held_of(lane.key))
            left = leave_of(self._server, lane, in_hand) and left
        return left

    # -----------------------------------------------------------------------------------------------------------------

    def _consume(
        self,
        handler: Callable[[Any], None],
        *,
        concurrency: int,
        key: Callable[[Any], Hashable] | None,
        batches: bool,
    ) -> None:
        if concurrency < 1:
            msg = f"concurrency must be 1 or more, not {concurrency}"
            raise InvalidArgument(msg)
        self._require_idle()
        self._stopping.bind()
        arguments = (self._server, self._subscription.courses(), self._observer, self._stopping)
        try:
            if concurrency == 1:
                serially = Serially(*arguments, **self._settings(1))
                self._consuming = serially
                serially.open()
                serially.run(handler, batches=batches)
            else:
                together = Concurrently(*arguments, **self._settings(concurrency))
                self._consuming = together
                together.open()
                together.run(handler, batches=batches, concurrency=concurrency, key=key, patience=lambda: self._within)
        finally:
            self._consuming = None
            self._stopping.clear()

    def _require_idle(self) -> None:
        if self._consuming is not None:
            msg = f"consumer {self._consumer!r} is at work already; make another GroupConsumer for a second loop"
            raise InvalidArgument(msg)

    def _settings(self, concurrency: int) -> dict[str, Any]:
        return {
            "retry": self._retry,
            "min_idle": self._min_idle,
            "count": self._count,
            "concurrency": concurrency,
            "delete": self._delete,
            "max_hold": self._max_hold,
        }

    def _most(self, count: int | None) -> int:
        if count is not None and count < 1:
            msg = f"count must be 1 or more, not {count}"
            raise InvalidArgument(msg)
        return self._count if count is None else count

    def _steps(self, what: str) -> Stepping:
        if self._stepping is None:
            raise NotEntered(what, "consumer")
        return self._stepping
