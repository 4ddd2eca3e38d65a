"""`Replayer`: any range of history, forwards or backwards, at a chosen speed, or copied elsewhere; and a live view."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from typing_extensions import TypeVar

from streamkit._core.codecs import TEXT, Codec, Fields, flat_decoder, undecodable
from streamkit._core.entries import Entry, new_entry
from streamkit._core.following import parse_start
from streamkit._core.ids import NEW, Beginning, EntryId
from streamkit._core.keys import require_key
from streamkit._core.observers import LoggingObserver, Observer
from streamkit._core.pages import MOST
from streamkit._core.replaying import Pace, Scope, check_limit, parse_scope, require_callable
from streamkit.asyncio._runtime import Client, Stopping, refuse_result
from streamkit.asyncio.connections import Server
from streamkit.asyncio.copying import Copying
from streamkit.asyncio.merging import MergedPages, MergedTails
from streamkit.asyncio.paging import Pages
from streamkit.asyncio.sources import Appendable, Source
from streamkit.asyncio.tailing import Tail

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence

    from streamkit._core.following import Start
    from streamkit._core.periods import Partitioning
    from streamkit._core.replies import RawEntry

T = TypeVar("T", default=dict[str, str])
V = TypeVar("V")


class Replayer(Generic[T]):
    """Reads what was written before: a range of it, in either direction, at any pace, or copied; and what comes now.

    It touches no consumer group and keeps no place. Ranges have a ``start``, which is included, and an ``end``: each a
    datetime, an entry ID or its text, or the key of a partition. An ``end`` that is an ID is included, a datetime is
    not, so that a range up to midnight and one from midnight on have no entry in common. The key of a partition means
    all of it. None: no bound; of a partitioned stream that is as far back as its retention reaches, and a period.

    What is trimmed, deleted, expired or written while a range is read is neither given twice, nor does it make others
    be passed over. A partition that comes into being before the range was read to its end is read too.

    An entry that the codec cannot read is passed over, and the observer is told.

    Args:
        client: Your client; a connection of it is borrowed for each page, and only `tail` has one of its own.
        source: A stream, or a key.
        observer: Told what cannot be raised; None logs it, ``Observer()`` is silence.

    Raises:
        InvalidArgument: The client or the source is none, or they belong to different servers.

    Needs Redis 7.0. Reading sends XRANGE or XREVRANGE a page of up to 500 entries; of a partitioned stream also TIME,
    and EXISTS for the names next to the partition read last.
    """

    @overload
    def __init__(self: Replayer[Fields], client: Client, source: str, *, observer: Observer | None = None) -> None: ...
    @overload
    def __init__(self: Replayer[V], client: Client, source: Source[V], *, observer: Observer | None = None) -> None: ...
    def __init__(self, client: Client, source: Source[Any] | str, *, observer: Observer | None = None) -> None:
        self._server = Server(client)
        self._parts: Sequence[tuple[str, Partitioning | None]]
        if isinstance(source, Source):
            codec: Codec[Any] = source._codec  # noqa: SLF001
            self._server.require_same(source._server, f"the source {source.name!r}")  # noqa: SLF001
            self._parts = [(each._name, each._partitioning) for each in source._shards or (source,)]  # noqa: SLF001
        else:
            self._parts, codec = [(require_key("source", source), None)], TEXT
        self._decode: Callable[[list[bytes]], T] = flat_decoder(cast("Codec[T]", codec))
        self._observer = LoggingObserver() if observer is None else observer
        self._running: list[Stopping] = []
        self._stopped = False

    def entries(
        self,
        start: datetime | EntryId | str | None = None,
        end: datetime | EntryId | str | None = None,
        *,
        limit: int | None = None,
        reverse: bool = False,
    ) -> AsyncGenerator[Entry[T], None]:
        """The entries of a range, oldest first, or newest first.

        Ends when nothing is left, so that without an ``end`` what is written meanwhile is read too. A stream that does
        not exist has no entries. Between two pages no connection is held, and no more than a page is in memory.

        Args:
            start: The older bound, included; None: the oldest entry.
            end: The newer bound; None: the newest entry.
            limit: How many entries to give at most; None: all.
            reverse: Whether to begin with the newest.

        Returns:
            An iterator; leaving it early needs nothing.

        Raises:
            InvalidArgument: A bound means nothing, ``start`` is later than ``end``, or ``limit`` is below 1; raised
                here, by the call itself.
            NaiveDatetime: A bound has no time zone.
            NotAPartition: A bound is no partition of the source.
            WrongKeyType: A key holds no stream.
            ServerUnavailable: The server was away, or refused, for 15 s.

        Sends XRANGE or XREVRANGE.
        """
        check_limit(limit)
        return self._entries(self._scopes(start, end), limit, reverse=reverse)

    async def _entries(
        self, scopes: Sequence[Scope], limit: int | None, *, reverse: bool
    ) -> AsyncGenerator[Entry[T], None]:
        left = limit
        with self._stoppable() as stopping:
            pages = self._pages(scopes, stopping, count=limit, reverse=reverse)
            while (page := await pages.next()) is not None:
                for entry in self._decoded(*page):
                    yield entry
                    if left is not None:
                        left -= 1
                    if left == 0 or stopping.requested:
                        return

    def tail(self, *, start: datetime | EntryId | str | Beginning | None = NEW) -> AsyncGenerator[Entry[T], None]:
        """The entries as they are written, without end, until `stop`: a live view that keeps no place.

        It waits for a server that is away, and goes on behind the last entry it gave. Of a partitioned stream all
        partitions are looked at that may still get entries: today's, those ahead, and yesterday's until 10 s after its
        end, by the server's clock. Entries that were trimmed or expired before they were read are missed in silence;
        where that matters, use a `CheckpointedReader`.

        Args:
            start: Where to begin. ``NEW``: with what is written after the first entry is asked for; a datetime or an
                entry ID (included); the key of a partition; None: the oldest entry.

        Returns:
            An iterator. It has a connection of its own, which is closed when the iterator ends or is closed
            (``contextlib.closing``, in asyncio ``aclosing``, does it in time).

        Raises:
            InvalidArgument: ``start`` means nothing; raised here, by the call itself.
            NaiveDatetime: It has no time zone.
            NotAPartition: It is no partition of the source.
            WrongKeyType: A key holds no stream.
            ServerUnavailable: The server could not be reached when the first entry was asked for.

        Sends TIME and XREAD for each of these keys, and XINFO STREAM and XREAD BLOCK while there is nothing.
        """
        return self._tail([parse_start(start, name, partitioning) for name, partitioning in self._parts])

    async def _tail(self, starts: Sequence[Start]) -> AsyncGenerator[Entry[T], None]:
        with self._stoppable() as stopping:
            tails = [
                Tail(
                    self._server,
                    name=name,
                    partitioning=partitioning,
                    start=start,
                    observer=self._observer,
                    stopping=stopping,
                )
                for (name, partitioning), start in zip(self._parts, starts, strict=True)
            ]
            tail = tails[0] if len(tails) == 1 else MergedTails(tails, stopping)
            try:
                while (page := await tail.next()) is not None:
                    for entry in self._decoded(*page):
                        yield entry
                        if stopping.requested:
                            return
            finally:
                await tail.close()

    async def play(
        self,
        handler: Callable[[Entry[T]], Awaitable[None]],
        *,
        start: datetime | EntryId | str | None = None,
        end: datetime | EntryId | str | None = None,
        speed: float = 1.0,
    ) -> int:
        """Call a handler for each entry of a range, in the rhythm in which they were written.

        An entry is due as long after the first one as its ID says, divided by ``speed``. That is counted from the
        first one: a handler that takes long makes the next entries late, until it has caught up. Gaps are waited out,
        however long.

        Args:
            handler: Called with each entry; what it raises ends the replay and is raised here.
            start: The older bound, included; None: the oldest entry.
            end: The newer bound; None: the newest entry.
            speed: How many times as fast as written; ``float("inf")``: as fast as possible.

        Returns:
            How many entries were played.

        Raises:
            InvalidArgument: A bound means nothing, or ``speed`` is not above zero. In the synchronous half also: the
                handler gave an awaitable.
            WrongKeyType: A key holds no stream.
            ServerUnavailable: The server was away, or refused, for 15 s.

        Sends XRANGE.
        """
        scopes = self._scopes(start, end)
        require_callable("handler", handler)
        handle: Callable[[Entry[T]], Awaitable[object]] = handler
        pace, began, played = Pace(speed), 0.0, 0
        with self._stoppable() as stopping:
            pages = self._pages(scopes, stopping)
            while (page := await pages.next()) is not None:
                for entry in self._decoded(*page):
                    due = pace.due(entry.ms)
                    began = began or time.monotonic()
                    while not stopping.requested and (left := began + due - time.monotonic()) > 0:
                        await stopping.wait(left)
                    if stopping.requested:
                        return played
                    refuse_result(await handle(entry))
                    played += 1
        return played

    async def copy(
        self,
        to: Appendable[T] | str,
        *,
        start: datetime | EntryId | str | None = None,
        end: datetime | EntryId | str | None = None,
        keep_ids: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Append the entries of a range to another stream, in their order.

        Each page is written in chunks that are all or nothing, and sent again without doubling if a reply is lost. The
        copy as a whole is not one step: what interrupts it leaves the entries before it copied.

        Args:
            to: A stream, which may be another server's: values are read by the codec of the source and written by that
                of the target, and an entry that cannot be decoded is passed over. Or a key on the source's server:
                fields are copied as they are.
            start: The older bound, included; None: the oldest entry.
            end: The newer bound; None: the newest entry.
            keep_ids: Whether to keep the entries' IDs, and with them their times: every one has to be above the newest
                of the target. False: the server numbers them anew, as of now.
            progress: Called with the number of entries copied so far, after each page of up to 500.

        Returns:
            How many entries were copied.

        Raises:
            InvalidArgument: A bound means nothing, or ``to`` is the source itself.
            OutOfOrder: With ``keep_ids``: the target has newer entries, or two shards of the source have the same ID.
            AppendError: An entry was refused otherwise; ``appended`` says how many were copied before it.
            EncodeError: The target's codec gives fields that Redis cannot store.
            WrongKeyType: A key holds no stream.
            ServerUnavailable: The server was away, or refused, for 15 s; or `stop` was called while it was away.

        Sends XRANGE, and one EVALSHA a chunk.
        """
        scopes = self._scopes(start, end)
        if progress is not None:
            require_callable("progress", progress)
        copying, copied = Copying(self._server, scopes, to, keep_ids=keep_ids), 0
        with self._stoppable() as stopping:
            pages = self._pages(scopes, stopping)
            while (page := await pages.next()) is not None:
                ids, values = list[EntryId](), list[Any]()
                while page is not None:
                    stream, entries = page
                    if copying.raw:
                        ids += [EntryId.parse(raw_id) for raw_id, _ in entries]
                        values += [flat for _, flat in entries]
                    else:
                        decoded = list(self._decoded(stream, entries))
                        ids += [entry.id for entry in decoded]
                        values += [entry.value for entry in decoded]
                    # Shards are merged entry by entry, and written together all the same.
                    page = pages.at_hand() if isinstance(pages, MergedPages) and len(ids) < MOST else None
                copied = await copying.write(ids, values, stopping)
                if progress is not None:
                    progress(copied)
        return copied

    def stop(self) -> None:
        """End whatever this replayer is doing, within a second; from a signal handler or any thread or task.

        Iterators end after the entry in hand, `play` after its handler, `copy` after its page. If it is doing nothing,
        the next of these ends at once. Afterwards it can be used again.
        """
        self._stopped = True
        running = tuple(self._running)
        for stopping in running:
            stopping.request()
        if running:
            self._stopped = False

    @contextmanager
    def _stoppable(self) -> Iterator[Stopping]:
        stopping = Stopping()
        self._running.append(stopping)
        if self._stopped:
            self._stopped = False
            stopping.request()
        stopping.bind()
        try:
            yield stopping
        finally:
            self._running.remove(stopping)
            stopping.clear()

    def _scopes(self, start: datetime | EntryId | str | None, end: datetime | EntryId | str | None) -> Sequence[Scope]:
        return [parse_scope(start, end, name, partitioning) for name, partitioning in self._parts]

    def _pages(
        self, scopes: Sequence[Scope], stopping: Stopping, *, count: int | None = None, reverse: bool = False
    ) -> Pages | MergedPages:
        parts = [Pages(self._server, scope, self._observer, stopping, count=count, reverse=reverse) for scope in scopes]
        return parts[0] if len(parts) == 1 else MergedPages(parts, reverse=reverse)

    def _decoded(self, stream: str, entries: Sequence[RawEntry]) -> Iterator[Entry[T]]:
        """The entries of a page; of those that the codec cannot read the observer is told."""
        decode = self._decode
        for raw_id, flat in entries:
            try:
                value = decode(flat)
            except Exception as error:  # noqa: BLE001 - whatever a codec raises
                self._observer.on_undecodable(undecodable(stream, raw_id, flat, error))
                continue
            entry: Entry[T] = new_entry(Entry)
            entry._stream = stream  # noqa: SLF001
            entry._id = raw_id.decode()  # noqa: SLF001
            entry._value = value  # noqa: SLF001
            yield entry
