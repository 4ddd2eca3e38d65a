"""The loop under a `CheckpointedReader`: batches in order, steps saved on the way, failures waited out."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, replace
from operator import length_hint
from typing import TYPE_CHECKING, Any, cast

from streamkit._core import commands
from streamkit._core.checkpoints import Place
from streamkit._core.errors import ServerUnavailable
from streamkit._core.following import Follower, Glance, Move, Start, deleted_tail, late_entries, reconcile
from streamkit._core.ids import ZERO, EntryId
from streamkit._core.observers import Gap, Observer, Position
from streamkit._core.pages import Page
from streamkit._core.refusals import passing
from streamkit._core.replies import RawEntry, Reply, StreamFacts, entries_of_one, milliseconds
from streamkit.asyncio.keeping import Keeper, Refused, Rewound
from streamkit.asyncio.lines import Line
from streamkit.asyncio.links import TEXT_REPLIES
from streamkit.asyncio.probing import begin, checked, existing, facts_of
from streamkit.asyncio.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamkit._core.effects import Emit, Execute
    from streamkit._core.protocol import Command
    from streamkit._core.states import StateSchema
    from streamkit.asyncio._runtime import Stopping
    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.links import Link, Ticket

SLICE_MS = 500
"""How long one blocking read lasts, in ms: what a stop waits for, at most."""
SEEN_EVERY = 60_000
"""How often an idle reader saves that it has read everything, in ms."""
LATE_LOOK = 1.0
"""Seconds between two looks at the partition that was left, while there is enough to read."""


class Turn(enum.Enum):
    """How a loop goes on after a save in the middle of a batch."""

    GO_ON = "go on"
    RESTART = "restart"
    END = "end"


class Batch:
    """Entries of one read, and the place before them."""

    def __init__(self, place: Place, entries: Sequence[RawEntry]) -> None:
        self.place = place
        self._entries: Sequence[RawEntry] = entries
        self.is_text: bool = isinstance(entries[0][0], str)
        """Whether IDs, fields and values came as text, not as bytes."""
        ids = [raw_id for raw_id, _ in entries]
        self.ids: list[str] = cast("list[str]", ids) if self.is_text else [raw_id.decode() for raw_id in ids]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self) -> Sequence[RawEntry]:
        """The entries, once: kept while their values are handled, they would be the garbage collector's main work."""
        entries, self._entries = self._entries, ()
        return entries

    def place_after(self, taken: int) -> Place:
        """The place once so many of the entries are handled."""
        if not taken:
            return self.place
        read = self.place.entries_read
        entry_id = EntryId.parse(self.ids[taken - 1])
        return replace(self.place, id=entry_id, entries_read=None if read is None else read + taken, bound=False)


@dataclass(frozen=True)
class _Look:
    """A read on its way: where it looks, whether also at the partition left before, and at the facts of its key."""

    place: Place
    ticket: Ticket
    left: bool
    facts: bool


class Reading:
    """What a reader does between two entries.

    While a batch is in the user's hands, the read behind it is on its way already, sent in one write with the step
    that saves the batch before. A blocking read is sent only when everything is handled and saved.
    """

    def __init__(
        self,
        *,
        server: Server,
        follower: Follower,
        progress: Progress,
        keeper: Keeper[Any],
        schema: StateSchema[Any],
        start: Start,
        observer: Observer,
        stopping: Stopping,
        count: int,
        commit_interval: float,
        text: bool,
    ) -> None:
        self._server = server
        self._follower = follower
        self._keeper = keeper
        self._schema = schema
        self._start = start
        self._observer = observer
        self._stopping = stopping
        self._count = count
        self._page = Page(count)
        self._text = text and TEXT_REPLIES
        self._commit_interval = commit_interval
        self._line = Line(server, observer, stopping)
        self.progress = progress
        self._loaded = False
        self._forget()

    def _forget(self) -> None:
        """Know nothing; the next step loads."""
        self.progress.forget()
        self._batch: Batch | None = None
        self._end: Place = Place("", ZERO)
        """The place behind the batch."""
        self._look: _Look | None = None
        self.rest: Iterator[str] = iter(())
        """The IDs of the batch that were not handed out yet: the loop takes them from here."""
        self._restart = self._drained = False
        self._unsaved = 0
        self.due: float = 0.0
        self._late_due = 0.0

    async def open(self) -> None:
        """Connect, load state and position, and take the checkpoint over; raises whatever prevents it."""
        self._forget()
        facts = await self._server.facts()
        if facts.eviction_policy not in {"noeviction", "unknown"}:
            self._observer.on_eviction_policy(facts.eviction_policy)
        await self._load_patiently()

    async def begin(self) -> None:
        """Load anew, unless entering the reader has just done so."""
        if not self._loaded:
            self._forget()
            await self._line.close()
            await self._load_patiently()
        self._loaded = False
        self._observer.on_start(self.progress.place.position)

    async def close(self) -> None:
        """Disconnect; saves nothing."""
        self._loaded = False
        await self._line.close()

    @property
    def position(self) -> Position | None:
        """At the entry in hand, or behind the last one handled; None: nothing was loaded yet."""
        return self._here.position if self.progress.known else None

    @property
    def _here(self) -> Place:
        """The place at the entry in hand, or behind the last one handled."""
        return self.progress.place if self._batch is None else self._batch.place_after(self._taken)

    # -- between batches ----------------------------------------------------------------------------------------------

    async def next_batch(self) -> Batch | None:
        """The next entries to hand out, what was handled being saved on the way; None at the end."""
        while True:
            try:
                return await self._advance()
            except (ServerUnavailable, Refused, Rewound) as event:
                if not await self._overcome(event):
                    return None

    @property
    def _taken(self) -> int:
        """How many entries of the batch were handed out, the one in hand among them."""
        return 0 if self._batch is None else len(self._batch) - length_hint(self.rest)

    def finished(self) -> None:
        """Note that the whole batch is handled."""
        assert self._batch is not None  # noqa: S101 - the loop has just gone through it
        self.progress.handled(self._end)
        self._unsaved += len(self._batch)
        self._batch, self.rest = None, iter(())

    async def _advance(self) -> Batch | None:
        link = await self._line.link()
        if not self.progress.known:
            await self._load(link, again=True)
            self._observer.on_rewound(self._keeper.checkpoint, self.progress.place.position)
        await self._keeper.settle(link)
        if self._stopping.requested:
            await self.progress.save(link)
            return None
        if self._look is None:
            return await self._wait(link)  # at the start and after a failure: the fence is looked at first
        replies = await link.collect(self._look.ticket)
        look, self._look = self._look, None
        if isinstance(replies[-1], UnicodeDecodeError):
            # Something in it is no text: once more as bytes, so that each entry is judged by itself.
            replies[-1:] = await link.exchange(commands.xread(look.place.stream, look.place.id, self._page.entries))
        self._line.answered()
        if look.left:
            self._check_left(replies[0])
        batch = self._received(facts_of(look.place.stream, replies[-2]) if look.facts else None, replies[-1])
        if batch is not None:
            return await self._hand_out(link, batch)
        await self.progress.save(link)
        return await self._wait(link)

    def _send_look(self, link: Link, place: Place) -> _Look:
        """Queue a read behind a place, with XINFO once every ``count`` entries.

        XINFO goes first, so that what it says holds when the read begins. What it would have said of the reads
        without it, it still says at the next one: the numbers it compares are kept.
        """
        asked: list[Command] = []
        left = place.left is not None and time.monotonic() >= self._late_due
        if left and place.left is not None:
            self._late_due = time.monotonic() + LATE_LOOK
            asked.append(commands.xinfo_stream(place.left.stream))
        facts = self._unsaved + self._page.entries >= self._count
        if facts:
            asked.append(commands.xinfo_stream(place.stream))
        asked.append(commands.xread(place.stream, place.id, self._page.entries))
        return _Look(place, link.prepare(*asked, text=self._text), left, facts)

    async def _hand_out(self, link: Link, batch: Batch) -> Batch:
        """Save what was handled and read on behind the batch, in one write, before the batch is handled."""
        if self._unsaved >= self._count or not self.progress.dirty:
            self.progress.prepare(link)
            self._set_due()
        self._end = batch.place_after(len(batch))
        self._look = self._send_look(link, self._end)
        await link.flush()
        self._batch, self.rest, self._drained = batch, iter(batch.ids), False
        return batch

    def _set_due(self) -> None:
        self._unsaved = 0
        self.due = time.monotonic() + self._commit_interval
        if self._stopping.requested:  # looked at after it was set: stop() sets both, in the other order
            self.due = 0.0

    def _received(self, facts: StreamFacts | None, reply: Reply) -> Batch | None:
        """Hold a read against what XINFO said before it: the entries, if they are the ones to go on with."""
        entries = entries_of_one(checked(self.progress.place.stream, reply))
        if facts is not None:
            before = self.progress.place.id
            place, gap = reconcile(self.progress.place, facts)
            self.progress.stand(place)
            if gap is not None:
                self._report(gap)
            if place.id < before:
                return None  # made anew: to be read from its beginning
        if not entries:
            return None
        self._page.received(entries)
        return Batch(self.progress.place, entries)

    # -- nothing to read ----------------------------------------------------------------------------------------------

    async def _wait(self, link: Link) -> Batch | None:
        """Everything is handled and saved: look around, move on, or wait, until there are entries or an end."""
        told = False
        while not self._stopping.requested:
            batch, move = await self._look_around(link)
            if batch is not None:
                return await self._hand_out(link, batch)
            self.progress.note_seen(SEEN_EVERY)
            await self.progress.save(link)
            if move is Move.END:
                return None
            if move is not Move.STAY:
                told = False
                continue
            if not told:
                self._observer.on_waiting(self.progress.place.position)
                told = True
            batch = await self._block(link, self.progress.place)
            if batch is not None:
                return await self._hand_out(link, batch)
        self.progress.note_seen(0)
        await self.progress.save(link)
        return None

    async def _block(self, link: Link, place: Place) -> Batch | None:
        """Wait a slice of time for entries behind a place."""
        (reply,) = await link.exchange(commands.xread(place.stream, place.id, self._page.entries, block_ms=SLICE_MS))
        if isinstance(reply, Exception) and str(reply).startswith("UNBLOCKED"):
            return None
        return self._received(None, reply)

    async def _look_around(self, link: Link) -> tuple[Batch | None, Move]:
        """One look at fence, clock and keys, the next partition before the current one; and what follows from it."""
        place = self.progress.place
        following = self._follower.next_key(place)
        fence, now, ahead, left, current, read = await link.exchange(
            self._keeper.fence(),
            commands.TIME,
            commands.xinfo_stream(following or place.stream),
            commands.xinfo_stream(place.left.stream if place.left else place.stream),
            commands.xinfo_stream(place.stream),
            commands.xread(place.stream, place.id, self._page.entries),
        )
        self._line.answered()
        self._keeper.judge(fence)
        if place.left is not None:
            self._check_left(left)
        facts = facts_of(place.stream, current)
        batch = self._received(facts, read)
        if batch is not None:
            return batch, Move.STAY
        if self.progress.place.id < place.id:
            return None, Move.NEXT  # made anew: look again, from its beginning
        clock = milliseconds(checked(place.stream, now))
        glance = Glance(clock, facts, facts_of(following, ahead) if following else None)
        return None, await self._decide(link, glance)

    async def _decide(self, link: Link, glance: Glance) -> Move:
        place, facts, gap = self.progress.place, glance.current, None
        if facts is not None and facts.last_id > place.id and not place.bound:
            # Something was there when XINFO looked, and the read behind it found nothing.
            place, gap = deleted_tail(place, facts)
            self._stand(place, gap)
            return Move.NEXT
        if facts is None and self._follower.partitioning is None:
            place, gap = self._follower.gone(place, glance.now, drained=self._drained)
            self._stand(place, gap)
        move = self._follower.move(place, glance)
        if move is Move.NEXT and facts is not None:
            self._stand(self._follower.to_next(place, facts))
            self._moved(place)
        elif move is Move.SEARCH:
            move = await self._search(link, place, glance)
        if facts is not None and self.progress.place.stream == place.stream:
            self._stand(replace(self.progress.place, seen=glance.now))
        self._drained = facts is not None
        return move

    async def _search(self, link: Link, place: Place, glance: Glance) -> Move:
        found = await existing(link, self._follower.candidates(place, glance.now))
        move, arrival = self._follower.after_search(place, glance, found, drained=self._drained)
        if arrival is not None:
            self._stand(arrival.place, arrival.gap)
            if arrival.skipped is not None:
                self._observer.on_skip(*arrival.skipped)
            if arrival.place.stream != place.stream:
                self._moved(place)
        return move

    def _stand(self, place: Place, gap: Gap | None = None) -> None:
        self.progress.stand(place)
        if gap is not None:
            self._report(gap)

    def _report(self, gap: Gap) -> None:
        self._observer.on_gap(self._follower.dated(gap))

    def _moved(self, left: Place) -> None:
        self._drained = False
        self._late_due = 0.0
        self._observer.on_partition(self.progress.place.position, left.position)

    def _check_left(self, reply: Reply) -> None:
        place = self.progress.place
        if place.left is None:
            return
        place, late = late_entries(place, facts_of(place.left.stream, reply))
        self.progress.stand(place)
        if late is not None:
            self.progress.dirty = True
            self._observer.on_late(late)

    # -- in the middle of a batch -------------------------------------------------------------------------------------

    def hold(self, effect: Emit | Execute) -> None:
        """Keep an effect for the step that saves the entry in hand."""
        self.progress.hold(effect)
        if self.progress.heavy:
            self.due = 0.0

    async def commit(self) -> None:
        """Save now, the entry in hand included."""
        turn = await self._persist(self._here)
        if turn is Turn.END:
            msg = f"stopped before checkpoint {self._keeper.checkpoint!r} could be saved: the server is away"
            raise ServerUnavailable(msg)
        # Rewound: the state stays what the caller knows until the next entry is asked for.
        self._restart = turn is Turn.RESTART
        if self._restart:
            self.due = 0.0

    async def midway(self) -> Turn:
        """Save in the middle of a batch: the interval has passed, effects pile up, or the loop is to stop."""
        turn = Turn.RESTART if self._restart else await self._persist(self._here)
        if turn is Turn.RESTART:
            self._forget()
        elif turn is Turn.GO_ON and self._stopping.requested:
            return Turn.END
        self._set_due()
        return turn

    async def _persist(self, place: Place) -> Turn:
        """Save everything up to a place, whatever it takes."""
        self.progress.handled(place)
        while True:
            try:
                link = await self._line.link()
                await self.progress.save(link)
                self._line.answered()
            except Rewound:
                return Turn.RESTART
            except (ServerUnavailable, Refused) as event:
                if not await self._overcome(event):
                    return Turn.END
            else:
                return Turn.GO_ON

    # -- loading, and getting over failures ---------------------------------------------------------------------------

    async def _load_patiently(self) -> None:
        """Load; a server that refuses for now is waited for, one that cannot be reached is an error."""
        while True:
            try:
                await self._load(await self._line.link())
                self._line.answered()
            except (Refused, ServerUnavailable) as event:
                error = event.error if isinstance(event, Refused) else event
                if self._stopping.requested or not passing(error.__cause__ or event.__cause__):
                    await self._line.close()
                    raise error from None
                await self._line.pause(error)
            except BaseException:
                await self._line.close()
                raise
            else:
                return

    async def _load(self, link: Link, *, again: bool = False) -> None:
        saved = None
        while saved is None:
            # Read first: a program that cannot use the state must not take it from one that can.
            found = await self._keeper.load(link)
            if found is None:
                first = await begin(link, self._start, self._follower)
            else:
                first = None
                self._follower.check(found.place, self._keeper.checkpoint)
            saved = await self._keeper.take(link, first, self._schema.initial(), again=again)
        self.progress.loaded(saved)
        self._loaded = True

    async def _overcome(self, event: ServerUnavailable | Refused | Rewound) -> bool:
        """Wait out a failure, or forget what a rewind made void; False if it is time to stop instead."""
        if isinstance(event, Rewound):
            self._forget()
            return True
        self._look = None
        self._drained = False  # whatever was seen before may have changed meanwhile
        lost = not isinstance(event, Refused) or event.moved
        error = event.error if isinstance(event, Refused) else event
        if lost:
            self._keeper.lost()
        if self._stopping.requested:
            if self.progress.dirty or self._keeper.unsettled or self._taken:
                self._observer.on_unsaved(self._keeper.checkpoint, error)
            return False
        await self._line.pause(error, lost=lost)
        return True
