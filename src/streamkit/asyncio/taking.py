"""How a consumer comes by entries: reads ahead, waits, takes over what is abandoned, begins what is due again."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from streamkit._core import commands
from streamkit._core.codecs import decode_texts, undecodable
from streamkit._core.dead_letters import Cause, Provenance
from streamkit._core.entries import new_entry
from streamkit._core.errors import ServerUnavailable
from streamkit._core.ids import EntryId
from streamkit._core.members import PAGE, beat_arguments, begun, claim_arguments, claimed
from streamkit._core.replies import text, texts
from streamkit._core.scripts import BEAT, BEGIN, CLAIM, RETIRE
from streamkit.asyncio.batches import Batch, Suspect
from streamkit.asyncio.deliveries import Delivery
from streamkit.asyncio.keeping import Refused
from streamkit.asyncio.lanes import group_checked
from streamkit.asyncio.looking import Look, Looking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from streamkit._core.groups import RetryPolicy
    from streamkit._core.observers import Observer
    from streamkit._core.replies import RawEntry, Reply
    from streamkit.asyncio.lanes import Courses, Lane
    from streamkit.asyncio.leasing import Leases
    from streamkit.asyncio.links import Link
    from streamkit.asyncio.settling import Settling

MOST_SUSPECTS = PAGE
"""Entries taken over and not begun yet, at most: the rest stays for the next page, or for peers."""
RETIRE_AFTER_MS = 3_600_000
"""Idle for so long, a consumer that holds nothing is removed."""
SWEEP_EVERY = 5.0
"""Seconds between two sweeps, at most."""


class Taking:
    """Comes by entries for one consumer; holds them from the moment they are read.

    Args:
        courses: Where from.
        leases: Where they are held.
        settling: Where failures to decode go.
        retry: After how many deliveries an abandoned entry is buried.
        min_idle: Seconds after which what others hold is abandoned.
        observer: Told of what is taken over and of what was trimmed unread.
    """

    def __init__(
        self,
        courses: Courses,
        *,
        leases: Leases,
        settling: Settling,
        retry: RetryPolicy,
        min_idle: float,
        observer: Observer,
    ) -> None:
        self._courses = courses
        self._leases = leases
        self._settling = settling
        self._retry = retry
        self._min_idle_ms = max(1, int(min_idle * 1000))
        self._observer = observer
        self.looking: Looking = Looking(courses, leases, observer)
        self._plenty = False
        self._ready: deque[Batch] = deque()
        self._suspects: deque[Suspect] = deque()
        self._sweep_every = min(min_idle / 2, SWEEP_EVERY)
        self._sweep_due = 0.0
        self._sweeping: list[Lane] = []
        self._retire_due = 0.0
        self._own: bool = True
        self._started = False
        self._missed = False

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def plenty(self) -> bool:
        """Whether the last read brought all it asked for, so that there is likely to be more."""
        return self._plenty

    @property
    def suspects(self) -> int:
        """How many entries that were taken over wait to be begun."""
        return sum(not suspect.lane.away for suspect in self._suspects)

    async def receive(self, link: Link) -> None:
        """Have the entries of the oldest read that is on its way, held from now on, ready for `next_ready`."""
        if not self.looking.count:
            return
        try:
            look, reply = await self.looking.collect(link)
        except Exception:
            # What reads brought is ours all the same. (A cancelled loop receives once more, to give it back.)
            self._drop_looks()
            raise
        try:
            if isinstance(reply, UnicodeDecodeError):
                await self._receive_bytes(link, look)
            else:
                self._received(look, reply)
        finally:
            self.looking.note_ahead()

    async def receive_all(self, link: Link) -> None:
        """The same for every read that is on its way."""
        while self.looking.count:
            await self.receive(link)

    async def _receive_bytes(self, link: Link, look: Look) -> None:
        """Something in it is no text: fetched again as bytes, so that each entry is judged by itself."""
        before, self._ready = self._ready, deque()
        later = deque[Batch]()
        own, missed = self._own, self._missed
        self._own = self._missed = True  # should this fail
        try:
            # What else is pending for us and not in hand would be fetched as well.
            await self.receive_all(link)
            later, self._ready = self._ready, deque()
            await self._settling.flush(link)
            for lane in look.lanes:
                await self._fetch_own(link, lane)
            self._own, self._missed = own, missed
        finally:
            self._ready = before + self._ready + later

    def _drop_looks(self) -> None:
        """Nobody waits for what is on its way any more; what it brings is looked for as our own."""
        self.looking.drop()
        self._own = self._missed = True

    def _received(self, look: Look, reply: Reply) -> None:
        if isinstance(reply, Exception) and len(look.lanes) > 1:
            # Which of them it is about is told when each is read by itself.
            for lane in look.lanes:
                lane.dry = False
            return
        group_checked(look.lanes[0], reply)
        found = streams_of(reply)
        by_key, now = {lane.key: lane for lane in look.lanes}, time.monotonic()
        for lane in look.lanes:
            lane.dry, lane.heard = lane.key not in found, now
        self._plenty = any(len(entries) >= look.size for entries in found.values())
        for key, entries in found.items():
            lane = by_key[key]
            ids = [raw_id for raw_id, _ in entries]
            known = cast("list[str]", ids) if _is_text(ids[0]) else [raw_id.decode() for raw_id in ids]
            self._ready.append(Batch(lane, self._leases.hold(lane, known, look.since), entries))
            lane.last = known[-1]

    def put_back(self, batch: Batch) -> None:
        """Hand these out again, first: they were not begun."""
        self._ready.appendleft(batch)

    def search_own(self) -> None:
        """Something of ours may be pending that is not in hand: look for it."""
        self._own = True

    def adopt(self) -> None:
        """Entries of others were made ours: take them as what an earlier consumer of this name left."""
        self._started = False
        self._own = True

    async def sweep_all(self, link: Link, count: int) -> None:
        """Look through everything pending, until so many entries were taken over."""
        await self._catch_up(link)
        for lane in self._courses.lanes:
            for own in (True, False):
                lane.cursor = ""
                while len(self._suspects) < min(count, MOST_SUSPECTS) and await self._claim(link, lane, own=own):
                    pass
                lane.cursor = ""

    def next_ready(self) -> Batch | None:
        """Entries that came with others; those of a lane that is away wait for it."""
        for place, batch in enumerate(self._ready):
            if not batch.lane.away:
                del self._ready[place]
                return batch
        return None

    # -- decoding -----------------------------------------------------------------------------------------------------

    def deliveries(self, batch: Batch) -> list[Delivery[Any]]:
        """Those of a batch that are not lost and can be decoded, all at once."""
        found, lane = list[Delivery[Any]](), batch.lane
        for entry_id, value in zip(batch.ids, self.values(batch), strict=True):
            if value is not BURIED and entry_id not in batch.hand.lost:
                delivery: Delivery[Any] = new_entry(Delivery)
                delivery._stream = lane.key  # noqa: SLF001
                delivery._id = entry_id  # noqa: SLF001
                delivery._value = value  # noqa: SLF001
                delivery._batch = batch  # noqa: SLF001
                found.append(delivery)
        batch.taken = len(batch.ids)
        return found

    def values(self, batch: Batch) -> Iterable[Any]:
        """The values of a batch in order, `BURIED` in place of what the codec cannot read."""
        if _is_text(batch.entries[0][0]):
            return decode_texts(cast("Sequence[tuple[str, list[str]]]", batch.entries))
        return self._decoded(batch)

    def _decoded(self, batch: Batch) -> Iterator[Any]:
        lane, hand = batch.lane, batch.hand
        decode, member = lane.decode, lane.member
        for entry_id, (raw_id, flat) in zip(batch.ids, batch.entries, strict=True):
            if entry_id in hand.lost:
                yield BURIED
                continue
            try:
                value: Any = decode(flat)
            except Exception as reason:  # noqa: BLE001 - whatever a codec raises
                error = undecodable(lane.key, raw_id, flat, reason)
                hand.lost |= {entry_id}  # not to be buried once more, if the rest of the batch is put back
                self._settling.bury(
                    lane,
                    Provenance(
                        lane.key,
                        error.entry_id,
                        Cause.UNDECODABLE,
                        error=reason,
                        group=member.group,
                        consumer=member.consumer,
                        attempt=batch.attempt,
                    ),
                )
                value = BURIED
            yield value

    # -- taking over --------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The connection is gone: what a lost reply brought is ours, and is looked for."""
        self._drop_looks()
        self.looking.meet_anew()

    async def recover(self, link: Link) -> None:
        """What a lost reply brought, for a loop that does not sweep: it came behind all that was read before."""
        if self._missed:
            await self._catch_up(link)
            for lane in self._courses.lanes:
                await self._fetch_own(link, lane, behind=lane.last)
            self._missed = False

    def restart(self) -> None:
        """A loop begins: everything of this consumer's name that is not in hand was left by an earlier one."""
        self._drop_looks()
        self._ready.clear()
        self._suspects.clear()
        self._started = self._missed = False
        self.looking.meet_anew()
        self._sweep_due = 0.0

    def forget(self, lane: Lane | None) -> None:
        """The group of a lane, or of all, is gone, and what was pending with it."""
        if self.looking.concerns(lane):
            self._drop_looks()  # they may have brought something of other lanes
        self._ready = deque(each for each in self._ready if lane is not None and each.lane is not lane)
        self._suspects = deque(each for each in self._suspects if lane is not None and each.lane is not lane)
        self._sweeping = []

    def until_sweep(self, most: float) -> float:
        """Seconds until the next sweep, at most so many."""
        return 0.0 if self._own or self._sweeping else max(0.0, min(most, self._sweep_due - time.monotonic()))

    async def sweep(self, link: Link) -> None:
        """One page of looking for what nobody handles, if it is time."""
        if self._own:
            await self._catch_up(link)
            for lane in self._courses.lanes:
                if self._started:
                    await self._fetch_own(link, lane)
                else:
                    while await self._claim(link, lane, own=True):
                        if len(self._suspects) >= MOST_SUSPECTS:
                            return  # the rest when these are begun
            self._own, self._started = False, True
        if not self._sweeping:
            if time.monotonic() < self._sweep_due:
                return
            self._sweep_due = time.monotonic() + self._sweep_every
            self._sweeping = self._courses.lanes
        self._sweeping = [lane for lane in self._sweeping if not lane.away]
        if len(self._suspects) < MOST_SUSPECTS and self._sweeping and not await self._claim(link, self._sweeping[0]):
            lane = self._sweeping.pop(0)
            if not self._sweeping and time.monotonic() >= self._retire_due:
                self._retire_due = time.monotonic() + 60.0
                await self._retire(link, lane)

    async def _catch_up(self, link: Link) -> None:
        """Acks sent, and what is on its way held: whatever else is pending for us was left behind."""
        await self._settling.flush(link)
        await self.receive_all(link)

    async def _claim(self, link: Link, lane: Lane, *, own: bool = False) -> bool:
        """A page of a lane's pending entries; whether there may be more."""
        room = MOST_SUSPECTS - len(self._suspects)
        arguments = claim_arguments(
            own=own,
            min_idle_ms=self._min_idle_ms,
            max_deliveries=self._retry.max_deliveries,
            cursor=lane.cursor,
            room=room,
            in_hand=self._leases.held(lane) if own else (),
        )
        page = claimed(await lane.run(link, CLAIM, arguments))
        lane.cursor = page.cursor
        for entry_id, deliveries in page.taken:
            self._suspects.append(self._suspect(lane, entry_id, deliveries))
            self._leases.keep(lane, entry_id)
        if page.taken:
            self._observer.on_claimed(lane.key, len(page.taken))
        for entry_id, cause in page.buried:
            entry = self._settling.entry(lane, entry_id)
            self._observer.on_buried(entry, Cause(cause), lane.member.letters, None)
        if page.dropped:
            self._observer.on_letters_dropped(lane.member.letters, page.dropped)
        return bool(page.cursor)

    async def _fetch_own(self, link: Link, lane: Lane, behind: str = "") -> None:
        """What was delivered to us in a reply that was lost or unreadable: the bodies, without counting again."""
        cursor, member = f"({behind}" if behind else "-", lane.member
        held = set(self._leases.held(lane))
        while cursor:
            command = commands.xpending(lane.key, member.group, cursor, PAGE, member.consumer)
            (reply,) = await link.exchange(command)
            page = [(text(each[0]), int(each[3])) for each in group_checked(lane, reply)]
            cursor = f"({page[-1][0]}" if len(page) == PAGE else ""
            since = time.monotonic()
            # Only what is fresh again may be begun: others may take what is not.
            mine = beat_arguments([entry_id for entry_id, _ in page if entry_id not in held])
            lost, gone = await lane.run(link, BEAT, mine)
            away = held.union(texts(lost), texts(gone))
            fresh = [entry_id for entry_id, deliveries in page if entry_id not in away and deliveries <= 1]
            bodies = await link.exchange(
                *(commands.xrange(lane.key, EntryId.parse(each), EntryId.parse(each), 1) for each in fresh)
            )
            entries = [each[0] for reply in bodies if (each := group_checked(lane, reply))]
            found = texts([raw_id for raw_id, _ in entries])
            if entries:
                self._ready.append(Batch(lane, self._leases.hold(lane, found, since), entries))
            away.update(found)
            for entry_id, deliveries in page:
                if entry_id not in away:  # trimmed ones among them, which begin() buries
                    self._suspects.append(self._suspect(lane, entry_id, deliveries))
                    self._leases.keep(lane, entry_id)

    async def begin(self, link: Link, lane: Lane, entry_id: str, deliveries: int = 1) -> Batch | None:
        """Count a delivery of a single entry and fetch its body; None: it is not ours any more, or gone.

        ``deliveries``: of one that was taken over, how often it was delivered before.
        """
        since = time.monotonic()
        self._leases.forgo(lane, entry_id)
        try:
            found = begun(await lane.run(link, BEGIN, (entry_id,)))
        except (ServerUnavailable, Refused):
            # It stays in hand, and is begun again first.
            self._suspects.appendleft(self._suspect(lane, entry_id, deliveries))
            self._leases.keep(lane, entry_id)
            raise
        if found.dropped:
            self._observer.on_letters_dropped(lane.member.letters, found.dropped)
        if found.word == "TRIMMED":
            entry = self._settling.entry(lane, entry_id)
            self._observer.on_buried(entry, Cause.TRIMMED, lane.member.letters, None)
        if found.word != "OK":
            return None
        hand = self._leases.hold(lane, [entry_id], since)
        batch = Batch(lane, hand, [(entry_id.encode(), cast("list[bytes]", found.flat))], found.deliveries)
        # After its last start it must not be left unsettled: should this process end now, it would be buried.
        batch.alone = found.deliveries >= self._retry.max_deliveries
        return batch

    def _suspect(self, lane: Lane, entry_id: str, deliveries: int) -> Suspect:
        return Suspect(lane, entry_id, deliveries, deliveries > 1 or 0 < deliveries >= self._retry.max_deliveries - 1)

    def next_suspect(self) -> Suspect | None:
        """An entry taken over, to be begun; those lost meanwhile are passed over."""
        for _ in range(len(self._suspects)):
            suspect = self._suspects.popleft()
            if suspect.lane.away:
                self._suspects.append(suspect)
            elif self._leases.holds(suspect.lane, suspect.entry_id):
                return suspect
        return None

    def peek_suspect(self) -> Suspect | None:
        """The one that `next_suspect` gives next."""
        suspect = self.next_suspect()
        if suspect is not None:
            self._suspects.appendleft(suspect)
        return suspect

    def take_rest(self) -> tuple[list[Batch], list[Suspect]]:
        """Everything that was not begun, for giving it back."""
        batches, suspects = list(self._ready), list(self._suspects)
        self._ready.clear()
        self._suspects.clear()
        return batches, suspects

    async def _retire(self, link: Link, lane: Lane) -> None:
        member = lane.member
        names = texts(await lane.run(link, RETIRE, (max(RETIRE_AFTER_MS, 10 * self._min_idle_ms),)))
        if names:
            self._observer.on_retired(lane.key, member.group, names)


def streams_of(reply: Reply) -> dict[str, list[RawEntry]]:
    """XREADGROUP: the entries by key; nothing if it timed out."""
    if not reply:
        return {}
    pairs: Any = reply.items() if isinstance(reply, dict) else reply  # pyright: ignore[reportUnknownVariableType]
    return {text(key): entries for key, entries in pairs if entries}


def _is_text(word: object) -> bool:
    return isinstance(word, str)


BURIED = object()
"""Stands for a value that could not be read; its entry is dead-lettered."""
