"""The keys that a group reads: one lane each, joined to the group, found as partitions come and go."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from streamkit._core import commands
from streamkit._core.following import Start, resolve_start
from streamkit._core.keys import companion
from streamkit._core.members import Member, Settlement, beat_arguments
from streamkit._core.replies import milliseconds, texts
from streamkit._core.scripts import BEAT
from streamkit._core.slots import slot_of
from streamkit.asyncio.keeping import refused
from streamkit.asyncio.letter_keys import index_of
from streamkit.asyncio.probing import checked, existing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamkit._core.codecs import Codec
    from streamkit._core.observers import Observer
    from streamkit._core.periods import Partition
    from streamkit._core.replies import Reply
    from streamkit._core.scripts import Script
    from streamkit.asyncio.connections import Server
    from streamkit.asyncio.joining import Joining
    from streamkit.asyncio.links import Link

DISCOVER_EVERY = 0.5
"""Seconds between two looks for the next partition."""


class GroupMissing(Exception):
    """The server knows no such group: the stream was flushed or deleted, or the group was."""

    def __init__(self, lane: Lane | None) -> None:
        super().__init__()
        self.lane = lane


def group_checked(lane: Lane, reply: Reply) -> Reply:
    """A reply about a lane; raises GroupMissing, a typed error, or `Refused` if it passes."""
    if isinstance(reply, Exception):
        message = str(reply)
        # A waiting read is unblocked, with other words, when its server becomes a replica: that is a refusal.
        if "NOGROUP" in message or "no such key" in message.lower() or message.startswith("UNBLOCKED the stream key"):
            raise GroupMissing(lane)
        key = lane.member.letters if "the dead letters" in message else lane.key
        raise refused(reply, f"reading {lane.key!r} in group {lane.member.group!r}", key)
    return reply


@dataclass(eq=False)
class Lane:
    """One key, as a group's consumer reads it."""

    server: Server
    member: Member
    partition: Partition | None
    decode: Callable[[list[bytes]], Any]
    text: bool
    met: bool = False
    """Whether its server is known to know the script that looks for what was trimmed unread."""
    dry: bool = False
    """Whether the last read found nothing."""
    away: float = 0.0
    """Until when it is left alone, since its node of a cluster is away; 0: it is not."""
    heard: float = 0.0
    """When a read of it was last answered."""
    acks: list[str] = field(default_factory=list[str])
    settlements: list[Settlement] = field(default_factory=list[Settlement])
    last: str = ""
    """The newest entry that a read gave; empty: none yet."""
    cursor: str = ""
    """Where the sweep goes on; empty: at the beginning."""

    @property
    def key(self) -> str:
        """The key."""
        return self.member.stream

    async def run(self, link: Link, script: Script, arguments: tuple[Any, ...]) -> Reply:
        """The reply to a script about this lane; raises what `group_checked` does."""
        try:
            return await link.run(script, partial(self.member.call, script, arguments))
        except ResponseError as error:
            return group_checked(self, error)

    async def beat_once(self, entry_id: str) -> tuple[list[str], list[str]]:
        """A heartbeat for one entry, on a borrowed connection: what is lost, and what is gone."""
        async with self.server.visit() as link:
            try:
                reply = await link.run(BEAT, partial(self.member.call, BEAT, beat_arguments([entry_id])))
            except ResponseError as error:
                if "NOGROUP" in str(error):
                    return [], [entry_id]
                raise refused(error, f"extending entry {entry_id} of {self.key!r}", self.key) from error
        lost, gone = reply
        return texts(lost), texts(gone)


@dataclass(eq=False)
class Course:
    """One of a consumer's sources, with the lanes it has at the moment, oldest first."""

    name: str
    partitions: Joining | None
    codec: Codec[Any]
    decode: Callable[[list[bytes]], Any]
    text: bool
    start: Start
    lanes: list[Lane] = field(default_factory=list[Lane])
    joined: bool = False
    discover_due: float = 0.0


@dataclass(frozen=True)
class Names:
    """Who consumes, and where what can't be handled goes (None: beside each source)."""

    group: str
    consumer: str
    letters: str | None
    letters_maxlen: int


class Courses:
    """All the lanes of a consumer.

    Args:
        server: Where they are.
        courses: The sources.
        names: Who consumes them.
        observer: Told of groups that were gone, and of partitions that expired while nobody was there.
    """

    def __init__(self, server: Server, courses: Sequence[Course], names: Names, observer: Observer) -> None:
        self._server = server
        self._courses = deque(courses)
        self._names = names
        self._group = names.group
        self._observer = observer
        self._turn = 0
        self.absent: bool = False
        """Whether some lanes are away."""
        self.looked_again: float = 0.0
        """When lanes were last tried again."""

    @property
    def lanes(self) -> list[Lane]:
        """Every lane that is not away, oldest partitions first."""
        return [lane for course in self._courses for lane in course.lanes if not lane.away]

    @property
    def newest(self) -> list[Lane]:
        """The lanes to wait for: the newest of each source that is not away."""
        return [course.lanes[-1] for course in self._courses if course.lanes and not course.lanes[-1].away]

    @property
    def newest_together(self) -> list[tuple[list[Lane], bool]]:
        """The lanes to wait for, in groups that one read can ask for; with the last of each node, whether to wait."""
        if not self._server.clustered:
            return [(self.newest, True)]
        groups: dict[int, list[Lane]] = {}
        for lane in sorted(self.newest, key=lambda lane: lane.key):  # the order of the courses changes with each read
            groups.setdefault(slot_of(lane.key), []).append(lane)
        found = list(groups.values())
        self._turn = (self._turn + 1) % len(found)
        found = found[self._turn :] + found[: self._turn]
        nodes = [self._server.node_of(lanes[0].key) for lanes in found]
        last = {node: at for at, node in enumerate(nodes)}
        return [(lanes, last[node] == at) for at, (lanes, node) in enumerate(zip(found, nodes, strict=True))]

    def next_lane(self) -> Lane | None:
        """The lane to read next: sources in turn, of each the oldest that may have something."""
        for _ in range(len(self._courses)):
            self._courses.rotate(-1)
            first = next((lane for lane in self._courses[-1].lanes if not lane.dry and not lane.away), None)
            if first is not None:
                return first
        return None

    def leave_alone(self, node: tuple[str, int], seconds: float) -> bool:
        """Leave the lanes of a node that is away alone for a while, if there are others; whether there are."""
        lanes = [lane for course in self._courses for lane in course.lanes]
        there = [lane for lane in lanes if self._server.node_of(lane.key) == node]
        if all(lane.away or lane in there for lane in lanes):
            return False
        for lane in there:
            lane.away = time.monotonic() + seconds
        self.absent = True
        return True

    def heard_of(self, node: tuple[str, int], since: float) -> bool:
        """Whether a node of a cluster has answered a read since then."""
        lanes = [lane for course in self._courses for lane in course.lanes if lane.heard > since]
        return any(self._server.node_of(lane.key) == node for lane in lanes)

    def look_again(self) -> bool:
        """Try lanes again whose while is over; whether there are any."""
        if not self.absent:
            return False
        now = time.monotonic()
        away = [lane for course in self._courses for lane in course.lanes if lane.away]
        back = [lane for lane in away if lane.away <= now]
        for lane in back:
            lane.away, lane.dry = 0.0, False
        self.absent = len(back) < len(away)
        if back:
            self.looked_again = now
        return bool(back)

    # -- joining ------------------------------------------------------------------------------------------------------

    async def join(self, link: Link) -> None:
        """See to it that the group exists on every key, and find keys that came into being."""
        now = time.monotonic()
        for course in self._courses:
            if course.joined and now < course.discover_due:
                continue
            course.discover_due = now + DISCOVER_EVERY  # also if a node is away
            if course.partitions is not None:
                await self._join_partitions(link, course, course.partitions)
            elif not course.joined:
                await self._join_key(link, course)
            course.joined = True
            course.discover_due = time.monotonic() + DISCOVER_EVERY

    async def existing(self, link: Link) -> list[Lane]:
        """A lane for each key there is at the moment, joined or not."""
        lanes = list[Lane]()
        for course in self._courses:
            if course.partitions is None:
                lanes.append(self._lane(course, course.name, None))
                continue
            (reply,) = await link.exchange(commands.TIME)
            candidates = await course.partitions.candidates(link, milliseconds(checked(course.name, reply)))
            found = set(await existing(link, [partition.key for partition in candidates]))
            lanes += [self._lane(course, each.key, each) for each in candidates if each.key in found]
        return lanes

    async def rejoin(self, link: Link, lane: Lane | None, *, held: bool = False) -> None:
        """After the server said that there is no such group: make it anew, at the beginning.

        ``held``: entries of the lane were in hand.
        """
        for course in self._courses:
            for each in list(course.lanes):
                if lane is not None and each is not lane:
                    continue
                if course.partitions is not None and not await existing(link, [each.key]):
                    await self.vanished(link, course, each, held=held)
                    continue
                if await self._create(link, each.key, "0", make=course.partitions is None):
                    self._observer.on_group_missing(each.key, self._group)
                each.dry, each.cursor, each.last = False, "", ""

    async def vanished(self, link: Link, course: Course, lane: Lane, *, held: bool = False) -> None:
        """A partition is gone: expired, if all is well; otherwise it is told."""
        course.lanes.remove(lane)
        if course.partitions is not None:
            await course.partitions.vanished(link, lane.key, [each.key for each in course.lanes], held=held)

    async def _join_key(self, link: Link, course: Course) -> None:
        record = companion(course.name, f"group:{self._group}")
        (known,) = await link.exchange(commands.hmget(record, "joined"))
        begun = checked(record, known)[0] is not None
        after = (
            "0" if begun else "$" if course.start.new else str(resolve_start(course.start, course.name, None, 0, [])[1])
        )
        await self._create(link, course.name, "0" if after == "0-0" else after, make=True)
        if not begun:
            (reply,) = await link.exchange(commands.hset(record, "joined", int(time.time() * 1000)))
            checked(record, reply)
        course.lanes.append(self._lane(course, course.name, None))

    async def _join_partitions(self, link: Link, course: Course, partitions: Joining) -> None:
        known = {lane.key for lane in course.lanes}
        for partition in await partitions.find(link, course.lanes[-1].partition if course.lanes else None):
            if partition.key not in known:
                after, read = partitions.begins(partition.key)
                await self._create(link, partition.key, after, read=read)
                await self._note_letters(link, course, partition.key)
                course.lanes.append(self._lane(course, partition.key, partition))
        course.lanes.sort(key=lambda lane: lane.key)
        if course.lanes:
            await partitions.note_last(link, course.lanes[-1].key)

    async def _note_letters(self, link: Link, course: Course, key: str) -> None:
        """Where dead letters cannot lie beside the stream, remember which partitions may have some."""
        if self._names.letters is None and self._server.letters_apart(course.name, key):
            (reply,) = await link.exchange(commands.sadd(index_of(course.name), key))
            checked(course.name, reply)

    @property
    def partitioned(self) -> list[tuple[Course, Joining]]:
        """The sources with partitions."""
        return [(course, course.partitions) for course in list(self._courses) if course.partitions is not None]

    async def _create(self, link: Link, key: str, after: str, *, make: bool = False, read: int | None = None) -> bool:
        """XGROUP CREATE; whether it was not there."""
        (reply,) = await link.exchange(commands.xgroup_create(key, self._group, after, make=make, read=read))
        if isinstance(reply, Exception) and str(reply).startswith("BUSYGROUP"):
            return False
        if isinstance(reply, Exception) and "requires the key to exist" in str(reply):
            return False  # a partition that expired just now
        checked(key, reply)
        return True

    def _lane(self, course: Course, key: str, partition: Partition | None) -> Lane:
        letters = self._server.letters_of(course.name, key) if self._names.letters is None else self._names.letters
        member = Member(key, self._group, self._names.consumer, letters, self._names.letters_maxlen)
        return Lane(self._server, member, partition, course.decode, course.text)
