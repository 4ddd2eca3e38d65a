# Generated from src/streamkit/asyncio/reading.py by tools/generate_sync.py: do not edit.
"""The loop under a `CheckpointedReader`: batches in order, places kept, steps saved, failures waited out."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from streamkit._core import commands, effects
from streamkit._core.checkpoints import Mark, Place
from streamkit._core.errors import ServerUnavailable
from streamkit._core.following import (
    Follower,
    Glance,
    Move,
    Start,
    deleted_tail,
    late_entries,
    reconcile,
    resolve_start,
)
from streamkit._core.ids import ZERO, EntryId
from streamkit._core.observers import Gap, GapCause, Observer, Position
from streamkit._core.pages import Page
from streamkit._core.refusals import Refusal, refusal, typed
from streamkit._core.replies import RawEntry, Reply, StreamFacts, entries_of_one, milliseconds, stream_facts
from streamkit._sync.keeping import Keeper, Refused, Rewound
from streamkit._sync.lines import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.protocol import Command
    from streamkit._core.states import StateSchema
    from streamkit._sync._runtime import Stopping
    from streamkit._sync.connections import Link, Server, Ticket

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


@dataclass(frozen=True)
class Batch:
    """Entries of one read, and the place before them."""

    place: Place
    entries: Sequence[RawEntry]

    def place_after(self, taken: int) -> Place:
        """The place once so many of the entries are handled."""
        if not taken:
            return self.place
        read = self.place.entries_read
        entry_id = EntryId.parse(self.entries[taken - 1][0])
        return replace(self.place, id=entry_id, entries_read=None if read is None else read + taken, bound=False)


@dataclass(frozen=True)
class _Look:
    """A read on its way: where it looks, and whether also at the partition left before."""

    place: Place
    ticket: Ticket
    left: bool


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
        keeper: Keeper[Any],
        schema: StateSchema[Any],
        start: Start,
        observer: Observer,
        stopping: Stopping,
        count: int,
        commit_interval: float,
    ) -> None:
        self._server = server
        self._follower = follower
        self._keeper = keeper
        self._schema = schema
        self._start = start
        self._observer = observer
        self._stopping = stopping
        self._page = Page(count)
        self._commit_interval = commit_interval
        self._line = Line(server, observer, stopping)
        self.state: Any = schema.initial()
        self._loaded = False
        self._forget()

    def open(self) -> None:
        """Connect, load state and position, and take the checkpoint over; raises whatever prevents it."""
        self._forget()
        self._keeper.forget()
        facts = self._server.facts()
        if facts.eviction_policy not in {"noeviction", "unknown"}:
            self._observer.on_eviction_policy(facts.eviction_policy)
        self._load_patiently()

    def close(self) -> None:
        """Disconnect; saves nothing."""
        self._loaded = False
        self._line.close()

    @property
    def position(self) -> Position | None:
        """At the entry in hand, or behind the last one handled; None: nothing was loaded yet."""
        if self._batch is not None and self.taken:
            return self._batch.place_after(self.taken).position
        return None if self._handled is None else self._handled.position

    def begin(self) -> None:
        """Load anew, unless entering the reader has just done so."""
        if not self._loaded:
            self._forget()
            self._keeper.forget()
            self._line.close()
            self._load_patiently()
        self._loaded = False
        assert self._handled is not None  # noqa: S101 - _load set it
        self._observer.on_start(self._handled.position)

    def _forget(self) -> None:
        self._handled: Place | None = None
        self._dirty = self._restart = self.urgent = False
        self._batch: Batch | None = None
        self.taken = 0
        self._look: _Look | None = None
        self._effects: list[effects.Emit | effects.Execute] = []
        self._effect_bytes = 0
        self.due = 0.0
        self._late_due = 0.0
        self._drained = False
        self._saved_seen = 0

    def _load_patiently(self) -> None:
        """Load; a server that refuses for now is waited for, one that cannot be reached is an error."""
        while True:
            try:
                self._load(self._line.link())
                self._line.answered()
            except (Refused, ServerUnavailable) as event:
                error = event.error if isinstance(event, Refused) else event
                loading = isinstance(error.__cause__, Exception) and refusal(error.__cause__) is Refusal.WAIT
                if self._stopping.requested or not (loading or isinstance(event, Refused)):
                    self._line.close()
                    raise error from None
                self._line.pause(error)
            except BaseException:
                self._line.close()
                raise
            else:
                return

    def _load(self, link: Link, *, again: bool = False) -> None:
        saved = None
        while saved is None:
            # Read first: a program that cannot use the state must not take it from one that can.
            found = self._keeper.load(link)
            if found is None:
                first = self._resolve(link)
            else:
                first = None
                self._follower.check(found.place, self._keeper.checkpoint)
            saved = self._keeper.take(link, first, self._schema.initial(), again=again)
        self.state = saved.state
        self._handled = saved.place
        self._saved_seen = saved.place.seen
        self._loaded = True

    def _resolve(self, link: Link) -> Place:
        """The place that the start means: a key and an ID, and what is known of them now."""
        partitioning = self._follower.partitioning
        (reply,) = link.exchange(commands.TIME)
        now, existing = milliseconds(reply), list[str]()
        if partitioning is not None:
            existing = self._existing(link, [partition.key for partition in partitioning.horizon(now)])
        key, behind = resolve_start(self._start, self._follower.name, partitioning, now, existing)
        facts = self._marks(link, [key])
        if behind is None:
            ahead = self._marks(link, [later for later in existing if later > key])
            mark = facts[0] if facts else None
            begin = Place(key, ZERO) if mark is None else Place(key, mark.id, mark.entries_added)
            return replace(begin, ahead=tuple(ahead), seen=now)
        if not facts:
            return Place(key, behind, bound=behind != ZERO, seen=now)
        if behind != ZERO:
            return Place(key, behind, bound=True)
        (reply,) = link.exchange(commands.xinfo_stream(key))
        found = self._facts(key, reply)
        return Place(key, ZERO, None if found is None else found.entries_added - found.length)

    def _marks(self, link: Link, keys: Sequence[str]) -> list[Mark]:
        """The newest ID of each of the keys that exist."""
        replies = link.exchange(*map(commands.xinfo_stream, keys)) if keys else []
        facts = [(key, self._facts(key, reply)) for key, reply in zip(keys, replies, strict=True)]
        return [Mark(key, found.last_id, found.entries_added) for key, found in facts if found is not None]

    def _existing(self, link: Link, keys: Sequence[str]) -> list[str]:
        found = link.exchange(*map(commands.exists, keys))
        return [key for key, exists in zip(keys, found, strict=True) if exists == 1]

    def next_batch(self) -> Batch | None:
        """The next entries to hand out, what was handled being saved on the way; None at the end."""
        while True:
            try:
                return self._advance()
            except (ServerUnavailable, Refused, Rewound) as event:
                if not self._overcome(event):
                    return None

    def _overcome(self, event: ServerUnavailable | Refused | Rewound) -> bool:
        """Wait out a failure, or reload after a rewind; False if it is time to stop instead."""
        self._look = None
        self._drained = False  # whatever was seen before may have changed meanwhile
        try:
            if isinstance(event, Rewound):
                self._rewind()
                return True
            error = event.error if isinstance(event, Refused) else event
        except (ServerUnavailable, Refused) as failed:
            error = failed.error if isinstance(failed, Refused) else failed
        if not isinstance(event, Refused):
            self._keeper.lost()
        if self._stopping.requested:
            if self._dirty or self._keeper.unsettled or self.taken:
                self._observer.on_unsaved(self._keeper.checkpoint, error)
            return False
        self._line.pause(error, lost=not isinstance(event, Refused))
        return True

    def _rewind(self) -> None:
        self._keeper.forget()
        self._forget()
        self._load(self._line.link(), again=True)
        self._loaded = False
        assert self._handled is not None  # noqa: S101 - _load set it
        self._observer.on_rewound(self._keeper.checkpoint, self._handled.position)

    def _advance(self) -> Batch | None:
        if self._handled is None:
            self._rewind()  # an attempt before this one failed half-way
        assert self._handled is not None  # noqa: S101 - _load set it
        link = self._line.link()
        self._keeper.settle(link)
        if self._stopping.requested:
            self._save(link)
            return None
        if self._look is None:
            self._look = self._send_look(link, self._handled)
            link.flush()
        replies = link.collect(self._look.ticket)
        look, self._look = self._look, None
        self._line.answered()
        if look.left:
            self._check_left(replies[-3])
        batch = self._received(self._facts(look.place.stream, replies[-2]), replies[-1])
        if batch is not None:
            return self._hand_out(link, batch)
        self._save(link)
        return self._wait(link)

    def _send_look(self, link: Link, place: Place) -> _Look:
        """Queue a read behind a place; XINFO goes first, so that what it says holds when the read begins."""
        left = place.left is not None and time.monotonic() >= self._late_due
        asked: list[Command] = []
        if left and place.left is not None:
            self._late_due = time.monotonic() + LATE_LOOK
            asked.append(commands.xinfo_stream(place.left.stream))
        asked += (commands.xinfo_stream(place.stream), commands.xread(place.stream, place.id, self._page.entries))
        return _Look(place, link.prepare(*asked), left)

    def _hand_out(self, link: Link, batch: Batch) -> Batch:
        """Save what was handled and read on behind the batch, in one write, before the batch is handled."""
        if self._dirty:
            self._prepare_save(link)
        self._look = self._send_look(link, batch.place_after(len(batch.entries)))
        link.flush()
        self._batch, self.taken, self._drained = batch, 0, False
        self._page.received(batch.entries)
        self.due = time.monotonic() + self._commit_interval
        return batch

    def _received(self, facts: StreamFacts | None, reply: Reply) -> Batch | None:
        """Hold a read against what XINFO said before it: the entries, if they are the ones to go on with."""
        assert self._handled is not None  # noqa: S101 - _load set it
        entries = entries_of_one(self._checked(self._handled.stream, reply))
        if facts is not None:
            place, gap = reconcile(self._handled, facts)
            self._stand(place)
            if gap is not None:
                self._report(gap)
                if gap.cause is GapCause.RECREATED:
                    return None
        return Batch(self._handled, entries) if entries else None

    def _stand(self, place: Place) -> None:
        """Note a place that was reached without handling an entry; only a move is worth a checkpoint of its own."""
        assert self._handled is not None  # noqa: S101 - _load set it
        if (place.stream, place.id) != (self._handled.stream, self._handled.id):
            self._dirty = True
        self._handled = place

    def _wait(self, link: Link) -> Batch | None:
        """Everything is handled and saved: look around, move on, or wait, until there are entries or an end."""
        told = False
        while not self._stopping.requested:
            batch, move = self._look_around(link)
            if batch is not None:
                return self._hand_out(link, batch)
            self._note_seen(SEEN_EVERY)
            self._save(link)
            if move is Move.END:
                return None
            if move is not Move.STAY:
                told = False
                continue
            assert self._handled is not None  # noqa: S101 - _load set it
            if not told:
                self._observer.on_waiting(self._handled.position)
                told = True
            batch = self._block(link, self._handled)
            if batch is not None:
                return self._hand_out(link, batch)
        self._note_seen(0)
        self._save(link)
        return None

    def _block(self, link: Link, place: Place) -> Batch | None:
        """Wait a slice of time for entries behind a place; None: there were none, or not of the key we knew."""
        reply, info = link.exchange(
            commands.xread(place.stream, place.id, self._page.entries, block_ms=SLICE_MS),
            commands.xinfo_stream(place.stream),
        )
        if isinstance(reply, Exception) and str(reply).startswith("UNBLOCKED"):
            return None
        batch = self._received(None, reply)
        facts = self._facts(place.stream, info)
        if batch is None or facts is None:
            return None
        # A key deleted and made anew while we were blocked on it: look again before anything of it is handled.
        expected = (place.entries_read or 0) + len(batch.entries)
        return batch if facts.entries_added >= expected else None

    def _note_seen(self, older: int) -> None:
        """Have the moment saved at which everything was read, if the saved one is older than so many ms."""
        if self._handled is not None and self._handled.seen > self._saved_seen + older:
            self._dirty = True

    def _look_around(self, link: Link) -> tuple[Batch | None, Move]:
        """One look at fence, clock and keys, the next partition before the current one; and what follows from it."""
        place = self._handled
        assert place is not None  # noqa: S101 - _load set it
        following = self._follower.next_key(place)
        fence, now, ahead, left, current, read = link.exchange(
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
        facts = self._facts(place.stream, current)
        batch = self._received(facts, read)
        if batch is not None:
            return batch, Move.STAY
        glance = Glance(milliseconds(now), facts, self._facts(following, ahead) if following else None)
        return None, self._decide(link, glance)

    def _decide(self, link: Link, glance: Glance) -> Move:
        place = self._handled
        assert place is not None  # noqa: S101 - _load set it
        facts = glance.current
        if facts is not None and facts.last_id > place.id:
            # Something was there when XINFO looked, and the read behind it found nothing.
            place, gap = deleted_tail(place, facts)
            self._stand(place)
            if gap is not None:
                self._report(gap)
            return Move.NEXT
        if facts is None and self._follower.partitioning is None:
            place, lost = self._follower.gone(place, glance.now, drained=self._drained)
            self._stand(place)
            if lost is not None:
                self._report(lost)
        if facts is not None:
            place = replace(place, seen=glance.now)
            self._stand(place)
        move = self._follower.move(place, glance)
        if move is Move.NEXT and facts is not None:
            self._stand(self._follower.to_next(place, facts))
            self._moved(place)
        elif move is Move.SEARCH:
            move = self._search(link, place, glance)
        self._drained = facts is not None
        return move

    def _search(self, link: Link, place: Place, glance: Glance) -> Move:
        existing = self._existing(link, self._follower.candidates(place, glance.now))
        move, arrival = self._follower.after_search(place, glance, existing, drained=self._drained)
        if arrival is not None:
            self._stand(arrival.place)
            if arrival.gap is not None:
                self._report(arrival.gap)
            if arrival.skipped is not None:
                self._observer.on_skip(*arrival.skipped)
            if arrival.place.stream != place.stream:
                self._moved(place)
        return move

    def _report(self, gap: Gap) -> None:
        self._observer.on_gap(self._follower.dated(gap))

    def _moved(self, left: Place) -> None:
        assert self._handled is not None  # noqa: S101 - it was moved
        self._drained = False
        self._late_due = 0.0
        self._observer.on_partition(self._handled.position, left.position)

    def _check_left(self, reply: Reply) -> None:
        assert self._handled is not None  # noqa: S101 - _load set it
        if self._handled.left is None:
            return
        self._handled, late = late_entries(self._handled, self._facts(self._handled.left.stream, reply))
        if late is not None:
            self._dirty = True
            self._observer.on_late(late)

    def finished(self, batch: Batch) -> None:
        """Note that the whole batch is handled."""
        self._handled = batch.place_after(len(batch.entries))
        self._dirty = True
        self._batch, self.taken = None, 0

    def commit(self) -> None:
        """Save now, the entry in hand included."""
        if self._batch is not None:
            turn = self._persist(self._batch.place_after(self.taken))
            self._restart = self.urgent = turn is Turn.RESTART
        else:
            assert self._handled is not None  # noqa: S101 - _load set it
            turn = self._persist(self._handled)
        if turn is Turn.END:
            msg = f"stopped before checkpoint {self._keeper.checkpoint!r} could be saved: the server is away"
            raise ServerUnavailable(msg)

    def midway(self, batch: Batch, taken: int) -> Turn:
        """Save in the middle of a batch: the interval has passed, effects pile up, or the loop is to stop."""
        turn = Turn.RESTART if self._restart else self._persist(batch.place_after(taken))
        self._restart = False
        if turn is Turn.GO_ON and self._stopping.requested:
            return Turn.END
        self.due = time.monotonic() + self._commit_interval
        return turn

    def _persist(self, place: Place) -> Turn:
        """Save everything up to a place, whatever it takes."""
        self._handled, self._dirty = place, True
        while True:
            try:
                link = self._line.link()
                self._save(link)
                self._line.answered()
            except (ServerUnavailable, Refused, Rewound) as event:
                if not self._overcome(event):
                    return Turn.END
                if isinstance(event, Rewound):
                    return Turn.RESTART
            else:
                return Turn.GO_ON

    def _save(self, link: Link) -> None:
        self._keeper.settle(link)
        if self._dirty:
            self._prepare_save(link)
            link.flush()
            self._keeper.settle(link)

    def _prepare_save(self, link: Link) -> None:
        assert self._handled is not None  # noqa: S101 - there is something to save
        self._keeper.prepare(link, self._handled, self.state, self._effects)
        self._saved_seen = self._handled.seen
        self._effects, self._effect_bytes = [], 0
        self._dirty = False
        self.urgent = self._restart

    def hold(self, effect: effects.Emit | effects.Execute) -> None:
        """Keep an effect for the step that saves the entry in hand."""
        self._effects.append(effect)
        self._effect_bytes += effect.size
        if len(self._effects) >= effects.STEP_EFFECTS or self._effect_bytes >= effects.STEP_BYTES:
            self.urgent = True

    def _facts(self, key: str, reply: Reply) -> StreamFacts | None:
        if isinstance(reply, Exception) and "no such key" in str(reply):
            return None
        return stream_facts(self._checked(key, reply))

    def _checked(self, key: str, reply: Reply) -> Reply:
        if isinstance(reply, Exception):
            error = typed(reply, doing=f"reading {key!r}", key=key)
            if isinstance(error, ServerUnavailable) and refusal(reply) is Refusal.WAIT:
                raise Refused(error)
            raise error
        return reply
