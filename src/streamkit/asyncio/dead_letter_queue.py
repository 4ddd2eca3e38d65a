"""`DeadLetterQueue`: looking at what nobody could handle, moving it back, dropping it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from streamkit._core import commands
from streamkit._core.codecs import undecodable
from streamkit._core.dead_letters import MAXLEN, Cause, DeadLetter, read_letter
from streamkit._core.errors import InvalidArgument
from streamkit._core.ids import ZERO, EntryId
from streamkit._core.observers import LoggingObserver, Observer
from streamkit._core.pages import Page
from streamkit._core.redrives import MOVES, Selection, Terms, ids_of, places_of, require_one_choice
from streamkit._core.replaying import GREATEST
from streamkit._core.trimming import Trimming
from streamkit.asyncio._runtime import Stopping
from streamkit.asyncio.connections import Server
from streamkit.asyncio.insisting import Insisting
from streamkit.asyncio.letter_keys import LetterKeys
from streamkit.asyncio.redriving import Redriving
from streamkit.asyncio.sources import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from streamkit._core.replies import RawEntry
    from streamkit.asyncio._runtime import Client
    from streamkit.asyncio.sources import Appendable

PAGE = 500
"""Letters in one read, at most; less where they are large."""


class DeadLetterQueue:
    """The dead letters of a group or a reader: looked at, moved back, dropped.

    Iterate it for every `DeadLetter`, oldest first, page by page, whatever their number. Entries of the key that are no
    dead letters are passed over, and the observer is told.

    Args:
        client: Your client; its connections are borrowed for each call.
        source: The key of the dead-letter stream: ``{orders}:dead-letters`` for a group that reads ``orders``,
            ``{state}:dead-letters`` for a reader whose checkpoint is ``state``, unless another was given there. Or the
            stream that its groups read: a `ShardedStream` has a queue a shard, and a `PartitionedStream` without a
            ``{tag}`` on a cluster a queue a partition, which are seen as one.
        maxlen: How many letters `trim` keeps, about. Letters are written, and the stream held to its length, by
            consumers and readers; nothing that this class does adds any.
        observer: Told of entries that are no dead letters; None logs it, ``Observer()`` is silence.

    Raises:
        InvalidArgument: The key is empty, or ``maxlen`` negative.
    """

    def __init__(
        self, client: Client, source: Source[Any] | str, *, maxlen: int = MAXLEN, observer: Observer | None = None
    ) -> None:
        self._server = Server(client)
        self._where = LetterKeys(self._server, source)
        self._key = self._where.name
        self._trimming = Trimming(maxlen=maxlen)
        self._observer = LoggingObserver() if observer is None else observer
        self._stopping = Stopping()
        self._redriving: list[Redriving] = []
        self._insisting = Insisting(self._server, self._key)

    @property
    def key(self) -> str:
        """The key of the dead-letter stream; of several, the one that would be beside the stream."""
        return self._key

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._key!r})"

    def __aiter__(self) -> AsyncIterator[DeadLetter]:
        """Every letter, oldest first."""
        return self.letters()

    def letters(
        self,
        *,
        group: str | None = None,
        cause: Cause | None = None,
        start: datetime | EntryId | str | None = None,
        end: datetime | EntryId | str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[DeadLetter]:
        """Letters, page by page, in little memory. Sends XRANGE (or XREVRANGE) for each page.

        Args:
            group: Only those of this consumer group.
            cause: Only those that are here for this cause.
            start: The first moment, or ID here, to look at; None: the oldest.
            end: Where to end: an ID is included, a datetime is not; None: the newest.
            reverse: Newest first.
            limit: How many to give at most; None: all.

        Returns:
            An iterator. Letters may be moved and discarded meanwhile.

        Raises:
            InvalidArgument: A bound is neither a datetime nor an ID, or ``limit`` negative.
            NaiveDatetime: A bound has no time zone.
            WrongKeyType: The key holds no stream (while iterating).
            ServerUnavailable: The server was away, or refused, for 15 s (while iterating).
        """
        terms = Terms(limit=limit)
        return self._letters(Selection.of(self._key, group, cause, start, end), terms.limit, reverse=reverse)

    async def length(self) -> int:
        """How many entries the key holds; 0 if it does not exist. Sends XLEN.

        Raises:
            WrongKeyType: The key holds no stream.
        """
        total = 0
        for key in await self._where.keys(self._insisting):
            (length,), _ = await self._insisting.call(commands.xlen(key), doing=f"XLEN of {key!r}")
            total += int(length)
        return total

    async def count(
        self,
        *,
        group: str | None = None,
        cause: Cause | None = None,
        start: datetime | EntryId | str | None = None,
        end: datetime | EntryId | str | None = None,
    ) -> int:
        """How many letters `letters` would give with the same arguments, which are read for it; see `length`, too.

        Raises:
            WrongKeyType: The key holds no stream.
        """
        return sum([len(page) async for page in self._pages(Selection.of(self._key, group, cause, start, end))])

    async def redrive(
        self,
        ids: Iterable[EntryId | str | DeadLetter] | None = None,
        *,
        to: Appendable[Any] | str | None = None,
        group: str | None = None,
        cause: Cause | None = None,
        start: datetime | EntryId | str | None = None,
        end: datetime | EntryId | str | None = None,
        limit: int | None = None,
        rate: float | None = None,
        dry_run: bool = False,
        max_redrives: int = 3,
    ) -> int:
        """Move letters back to the streams they came from, or elsewhere: the untouched fields, byte for byte.

        Oldest first. Each letter is moved in one atomic step: it is appended there, with a new ID, and gone here. A
        step whose reply is lost is sent again and moves nothing twice. Letters that are written while it runs are left
        for the next time. Letters without fields (`Cause.TRIMMED`, `Cause.UNREAD`) stay.

        Args:
            ids: Only these letters, as `letters` gives them or by their IDs here; None: all that the filters leave.
            to: Where to: a stream, which is trimmed or expires as it always does (a partitioned one takes the entries
                in the partition of the moment), or a key; made if it does not exist. None: back to where they came
                from.
            group: Only letters of this consumer group.
            cause: Only letters that are here for this cause.
            start: The first moment, or ID here, to look at.
            end: Where to end: an ID is included, a datetime is not.
            limit: How many to move at most.
            rate: How many to move per second, so that consumers keep up; None: as fast as it goes.
            dry_run: Move nothing, and only say how many would be moved.
            max_redrives: Letters that were moved back so often already are passed over, unless named in ``ids``. It is
                counted for 30 days, in ``{stream}:redrives``.

        Returns:
            How many letters were moved.

        Raises:
            RedriveFailed: Some could not be: their stream does not exist any more and is not made anew, or they are
                named in ``ids`` and have no fields. All others were moved.
            InvalidArgument: ``ids`` together with a filter, or an argument out of its range; or a letter's stream lies
                in another slot of a cluster; or of several queues more than one has a letter with that ID: nothing was
                moved then.
            WrongKeyType: One of the keys is of another type.
            PermissionDenied: The user may not do all of it; nothing was moved by the failing call.
            ServerUnavailable: The server was away, or refused, for 15 s. What was moved before stays so.

        Sends XRANGE and an EVALSHA for each page (XADD, ZADD, XDEL and what belongs to the target). Needs Redis 7.0.
        """
        selection, terms = Selection.of(self._key, group, cause, start, end), Terms(limit, rate, dry_run, max_redrives)
        chosen = None if ids is None else ids_of(ids)
        require_one_choice(ids, selection)
        if to is not None and not isinstance(to, str):
            self._server.require_same(to._server, f"the stream {to.name!r}")  # noqa: SLF001
        keys = await self._where.keys(self._insisting)
        if to is not None:
            alike = (to,) if isinstance(to, str) else to._keys_alike()  # noqa: SLF001
            for key in keys:
                self._server.require_one_slot("redrive", key, *alike)
        places = None if chosen is None else await self._places(keys, chosen)
        insisting = Insisting(self._server, self._key, self._stopping)
        redriving = Redriving(self._server, insisting, to, terms, stopping=self._stopping, named=ids is not None)
        self._stopping.bind()
        self._redriving.append(redriving)
        try:
            for key in keys:
                redriving.begin(key)
                until = selection if places is not None else await self._as_of_now(key, selection)
                pages = self._pages_of(key, until) if places is None else self._named(key, places[key])
                async for page in pages:
                    await redriving.take(page)
                    if redriving.done:
                        break
                if redriving.done:
                    break
        finally:
            self._redriving.remove(redriving)
            if not self._redriving:
                self._stopping.clear()
        return redriving.tally.result()

    async def discard(
        self,
        ids: Iterable[EntryId | str | DeadLetter] | None = None,
        *,
        group: str | None = None,
        cause: Cause | None = None,
        start: datetime | EntryId | str | None = None,
        end: datetime | EntryId | str | None = None,
    ) -> int:
        """Drop letters for good: those with these IDs, or those that the filters leave.

        Args:
            ids: The letters, as `letters` gives them or by their IDs here.
            group: Those of this consumer group.
            cause: Those that are here for this cause.
            start: The first moment, or ID here, to drop.
            end: Where to end: an ID is included, a datetime is not.

        Returns:
            How many were dropped.

        Raises:
            InvalidArgument: Neither IDs nor a filter, or both; or of several queues more than one has a letter with
                that ID: nothing was dropped then.
            WrongKeyType: The key holds no stream.
            ServerUnavailable: The server was away, or refused, for 15 s. What was dropped before stays so.

        Sends XDEL for each page; XRANGE with filters, and to find IDs in several queues.
        """
        selection = Selection.of(self._key, group, cause, start, end)
        require_one_choice(ids, selection)
        if ids is not None:
            chosen = ids_of(ids)
            places = await self._places(await self._where.keys(self._insisting), chosen)
            pieces = [(key, ids[at : at + PAGE]) for key, ids in places.items() for at in range(0, len(ids), PAGE)]
            return sum([await self._delete(*piece) for piece in pieces])
        if selection.everything:
            msg = "discard() drops letters for good; say which: by ids, group, cause, start or end"
            raise InvalidArgument(msg)
        dropped = 0
        for key in await self._where.keys(self._insisting):
            pages = self._pages_of(key, await self._as_of_now(key, selection))
            dropped += sum([await self._delete(key, [letter.id for letter in page]) async for page in pages])
        return dropped

    async def trim(self) -> int:
        """Drop the oldest letters beyond ``maxlen``, about, and give their number. Sends XTRIM."""
        words = commands.trim_words(*self._trimming.script_arguments())
        removed = 0
        for key in await self._where.keys(self._insisting):
            (some,), _ = await self._insisting.call(commands.xtrim(key, words), doing=f"trimming {key!r}")
            removed += int(some)
        return removed

    def stop(self) -> None:
        """End a redrive after the call on its way, the next one if none is running; from any thread, task or signal."""
        self._stopping.request()

    async def _letters(self, selection: Selection, limit: int | None, *, reverse: bool) -> AsyncIterator[DeadLetter]:
        given = 0
        async for page in self._pages(selection, reverse=reverse):
            for letter in page:
                if given == limit:
                    return
                given += 1
                yield letter

    async def _pages(self, selection: Selection, *, reverse: bool = False) -> AsyncIterator[list[DeadLetter]]:
        keys = await self._where.keys(self._insisting)
        for key in reversed(keys) if reverse else keys:
            async for page in self._pages_of(key, selection, reverse=reverse):
                yield page

    async def _pages_of(
        self, key: str, selection: Selection, *, reverse: bool = False
    ) -> AsyncIterator[list[DeadLetter]]:
        size = Page(PAGE)
        first, last = selection.first, selection.last
        while True:
            asked = size.entries
            page = (commands.xrevrange if reverse else commands.xrange)(key, first, last, asked)
            (rows,), _ = await self._insisting.call(page, doing=f"reading {key!r}")
            if rows:
                size.received(rows)
                yield self._read(key, rows, selection)
            at = EntryId.parse(rows[-1][0]) if len(rows) == asked else None
            if at is None or at == (first if reverse else last):
                return
            first, last = (first, at.before()) if reverse else (at.after(), last)

    async def _as_of_now(self, key: str, selection: Selection) -> Selection:
        """The same letters, without those that come while they are worked on."""
        newest = commands.xrevrange(key, ZERO, GREATEST, 1)
        (rows,), _ = await self._insisting.call(newest, doing=f"reading {key!r}")
        return selection.until(EntryId.parse(rows[0][0]) if rows else ZERO)

    async def _places(
        self, keys: Sequence[str], chosen: Sequence[tuple[EntryId, str]]
    ) -> Mapping[str, Sequence[EntryId]]:
        """Which letters are meant, by key: two queues may have one of the same ID."""
        alone = [entry_id for entry_id, key in chosen if not key]
        if len(keys) == 1:
            return places_of(chosen, {keys[0]: set(alone)})
        found = dict[str, set[EntryId]]()
        for key in keys:
            found[key] = {EntryId.parse(row[0]) async for rows in self._rows(key, alone) for row in rows}
        return places_of(chosen, found)

    async def _named(self, key: str, ids: Sequence[EntryId]) -> AsyncIterator[list[DeadLetter]]:
        async for rows in self._rows(key, ids):
            yield self._read(key, rows, Selection())

    async def _rows(self, key: str, ids: Sequence[EntryId]) -> AsyncIterator[list[RawEntry]]:
        for at in range(0, len(ids), MOVES):
            asked = [commands.xrange(key, each, each, 1) for each in ids[at : at + MOVES]]
            replies, _ = await self._insisting.call(*asked, doing=f"reading {key!r}")
            yield [row for rows in replies for row in rows]

    def _read(self, key: str, rows: Sequence[RawEntry], selection: Selection) -> list[DeadLetter]:
        letters: list[DeadLetter] = []
        for entry_id, flat in rows:
            try:
                letter = read_letter(entry_id, flat, key)
            except (ValueError, OverflowError) as error:
                self._observer.on_undecodable(undecodable(key, entry_id, flat, error))
            else:
                if selection.takes(letter):
                    letters.append(letter)
        return letters

    async def _delete(self, key: str, ids: Sequence[EntryId]) -> int:
        if not ids:
            return 0
        (deleted,), lost = await self._insisting.call(commands.xdel(key, *ids), doing=f"XDEL from {key!r}")
        # After a lost reply those that are gone were most likely deleted by that.
        return len(ids) if lost else int(deleted)
