# Generated from src/streamkit/asyncio/leasing.py by tools/generate_sync.py: do not edit.
"""What a consumer holds, and the heartbeat that keeps it: leases are confirmed by the server, entry by entry."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from streamkit._core.errors import LeaseLost, PermissionDenied, ServerUnavailable
from streamkit._core.members import beat_arguments
from streamkit._core.refusals import typed
from streamkit._core.replies import texts
from streamkit._core.scripts import BEAT
from streamkit._sync._runtime import Background, Bell, Stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamkit._sync.connections import Server
    from streamkit._sync.lanes import Lane
    from streamkit._sync.links import Link

CONFIRMED_WITHIN = 0.8
"""An entry starts only if its lease was confirmed within this part of min_idle_time."""
BEATS = 4
"""Heartbeats in a min_idle_time."""
SLOWEST_BEAT = 15.0
"""Seconds between two heartbeats, at most."""
AT_ONCE = 500
"""Entries that one heartbeat call takes."""


class Hand:
    """Entries read together and held until they are settled."""

    __slots__ = ("confirmed", "ids", "lane", "lost")

    def __init__(self, lane: Lane, ids: Sequence[str], confirmed: float) -> None:
        self.lane: Lane = lane
        self.ids: Sequence[str] = ids
        self.confirmed: float = confirmed
        """When the server last said, or will have said, that they are ours: the moment before it was asked."""
        self.lost: frozenset[str] = frozenset()


class Leases:
    """Everything a consumer holds, kept fresh by a heartbeat beside its loop.

    Args:
        server: Whom to tell.
        min_idle: Seconds after which what is not kept fresh is anybody's.
    """

    def __init__(self, server: Server, min_idle: float) -> None:
        self.patience: float = CONFIRMED_WITHIN * min_idle
        self.losses: deque[LeaseLost] = deque()
        """Told to the observer by the loop, in its own thread."""
        self._server = server
        self._every = min(min_idle / BEATS, SLOWEST_BEAT)
        self.ahead: Mapping[Lane, int] = {}
        """How much reads on their way asked for: what they were given is ours, though not in hand yet."""
        self._hands: list[Hand] = []
        self._singles: dict[tuple[Lane, str], None] = {}
        self._bell = Bell()
        self._closing = False
        self._stopping = Stopping()
        self._beside: Callable[[Link], None] | None = None
        self.failure: Exception | None = None
        """What ended the heartbeat, if anything did: the loop raises it."""
        self._background = Background(self._keep_beating)

    def beside(self, work: Callable[[Link], None], every: float) -> None:
        """Have something else done with the heartbeat, at least so often."""
        self._beside, self._every = work, min(self._every, every)

    def hold(self, lane: Lane, ids: Sequence[str], since: float) -> Hand:
        """Hold entries that were asked for at that moment."""
        hand = Hand(lane, ids, since)
        self._hands.append(hand)
        return hand

    def release(self, hand: Hand) -> None:
        """Hold them no more."""
        if hand in self._hands:
            self._hands.remove(hand)

    def keep(self, lane: Lane, entry_id: str) -> None:
        """Hold a single entry, which waits for its turn."""
        self._singles[lane, entry_id] = None

    def forgo(self, lane: Lane, entry_id: str) -> None:
        """Hold a single entry no more."""
        self._singles.pop((lane, entry_id), None)

    def holds(self, lane: Lane, entry_id: str) -> bool:
        """Whether a single entry is still held: the heartbeat drops what is lost."""
        return (lane, entry_id) in self._singles

    def held(self, lane: Lane) -> list[str]:
        """Everything held of a lane."""
        ids = [entry_id for each, entry_id in list(self._singles) if each is lane]
        for hand in list(self._hands):
            if hand.lane is lane:
                ids += hand.ids
        return ids

    def held_of(self, key: str) -> list[str]:
        """Everything held of a key."""
        lanes = {hand.lane for hand in list(self._hands)} | {lane for lane, _ in list(self._singles)}
        return [entry_id for lane in lanes if lane.key == key for entry_id in self.held(lane)]

    def drop(self, lane: Lane | None = None) -> None:
        """Hold nothing of a lane, or nothing at all: its group is gone, or the loop has ended."""
        self._hands = [hand for hand in self._hands if lane is not None and hand.lane is not lane]
        self._singles = {key: None for key in list(self._singles) if lane is not None and key[0] is not lane}

    def start(self) -> None:
        """Begin to beat."""
        self._closing = False
        self._background.start()

    def close(self) -> None:
        """End the heartbeat."""
        self._closing = True
        self._stopping.request()
        self._bell.ring()
        self._background.join()
        self._stopping.clear()

    def beat(self, link: Link) -> None:
        """Confirm everything held, now."""
        hands, singles = list(self._hands), list(self._singles)
        failure: ServerUnavailable | None = None
        # What reads on their way were given is ours as well, for as long as handlers keep them from being collected.
        for lane in {hand.lane for hand in hands} | {lane for lane, _ in singles} | set(self.ahead):
            if lane.away:
                continue  # asking its node may take longer than the leases of the others last
            mine = [hand for hand in hands if hand.lane is lane]
            alone = [entry_id for each, entry_id in singles if each is lane]
            ids = alone + [entry_id for hand in mine for entry_id in hand.ids]
            asked, ahead = time.monotonic(), self.ahead
            known = {entry_id for hand in mine for entry_id in hand.lost}
            try:
                answer = self._ask(link, lane, ids, ahead.get(lane, 0))
            except ServerUnavailable as error:
                if error.node is None:
                    raise
                failure = error  # what other nodes have is kept fresh all the same
                continue
            if answer is None:
                continue
            lost, gone = answer
            away = frozenset(lost) | frozenset(gone)
            for hand in mine:
                hand.lost |= away
                hand.confirmed = max(hand.confirmed, asked)
            for entry_id in alone:
                if entry_id in away:
                    self.forgo(lane, entry_id)
            for entry_id in lost:
                if entry_id in known:
                    continue
                self.losses.append(
                    LeaseLost(stream=lane.key, entry_id=entry_id, group=lane.member.group, owner="another consumer")
                )
        if failure is not None:
            raise failure

    @staticmethod
    def _ask(link: Link, lane: Lane, ids: Sequence[str], ahead: int) -> tuple[list[str], list[str]] | None:
        all_lost, all_gone = list[str](), list[str]()
        if ahead:
            ahead += len(ids)  # among them may be some that were taken over, and lie behind the last one read, too
        for first in range(0, max(1 if ahead else 0, len(ids)), AT_ONCE):
            part = ids[first : first + AT_ONCE]
            arguments = beat_arguments(part, behind=lane.last, ahead=0 if first else ahead)
            try:
                lost, gone = link.run(BEAT, partial(lane.member.call, BEAT, arguments))
            except ResponseError as error:
                found = typed(error, doing=f"keeping entries of {lane.key!r} in group {lane.member.group!r}")
                if isinstance(found, PermissionDenied):
                    raise found from error  # the loop may never need that right itself
                # No such group, or a server that refuses for now: the loop finds out by itself, and leases age.
                return None
            all_lost += texts(lost)
            all_gone += texts(gone)
        return all_lost, all_gone

    def _keep_beating(self) -> None:
        try:
            self._beat_on()
        except Exception as error:  # noqa: BLE001 - told to the loop, which raises it in its own thread
            self.failure = error

    def _beat_on(self) -> None:
        self._stopping.bind()
        link: Link | None = None
        try:
            while not self._closing:
                self._bell.wait(self._every)
                if not self._hands and not self._singles and not self.ahead:
                    continue
                try:
                    if link is None:
                        link = self._server.open(self._stopping)
                    self.beat(link)
                    if self._beside is not None:
                        self._beside(link)
                except ServerUnavailable:
                    # The loop's own connection tells the observer; here it is only made anew, at the next beat.
                    if link is not None:
                        link.close()
                        link = None
        finally:
            if link is not None:
                link.close()
