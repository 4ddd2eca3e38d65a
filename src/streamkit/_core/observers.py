"""What a loop tells about itself: one method an event, silence by default, logging where no observer is given."""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from streamkit._core.dead_letters import Cause
    from streamkit._core.errors import DecodeError, LeaseLost
    from streamkit._core.ids import EntryId

logger = logging.getLogger("streamkit")


@dataclass(frozen=True)
class Position:
    """A place in a source: the key being read and the last ID read in it (``0-0``: none yet)."""

    stream: str
    id: EntryId


class GapCause(enum.Enum):
    """Why entries were out of a reader's reach."""

    EXPIRED = "expired"
    """The partition, or several, reached the end of their retention unread."""
    GONE = "gone"
    """The key was deleted or evicted."""
    RECREATED = "recreated"
    """The key was deleted and made anew; reading starts over in the new one."""
    TRIMMED = "trimmed"
    """The stream was trimmed past the reader's position."""
    DELETED = "deleted"
    """The newest entries of the stream were deleted one by one."""


@dataclass(frozen=True)
class Gap:
    """Entries that a reader could not read.

    Attributes:
        cause: Why.
        after: The last place that was read.
        resumes: The place that reading goes on from.
        lost: How many entries were lost: exactly, at most (``exact`` is False), or None where the server cannot know.
        exact: Whether ``lost`` is exact.
        since: The beginning of the span that may be missing, UTC.
        until: Its end, UTC.
    """

    cause: GapCause
    after: Position
    resumes: Position
    lost: int | None
    exact: bool
    since: datetime
    until: datetime

    @property
    def amount(self) -> str:
        """The loss in words, such as ``"12 entries"``, ``"at most 12 entries"`` or ``"possibly entries"``."""
        if self.lost is None:
            return "possibly entries"
        return f"{'' if self.exact else 'at most '}{self.lost} {'entry' if self.lost == 1 else 'entries'}"


@dataclass(frozen=True)
class LateEntries:
    """Entries written to a partition after the reader had left it: they are not read.

    Attributes:
        stream: The partition's key.
        after: The newest ID when the reader left, or when late ones were last reported.
        newest: The newest ID now.
        count: How many came since.
    """

    stream: str
    after: EntryId
    newest: EntryId
    count: int


@dataclass(frozen=True)
class EntryOfGroup:
    """Which entry, in which stream, for which group, and which consumer has it."""

    stream: str
    id: str
    group: str
    consumer: str


class Observer:
    """Told of everything a loop cannot raise. Every method does nothing; override those you need.

    Methods are called in the loop's own thread or task, in order, and hold it up while they run: be quick, and do not
    block in asyncio. What a method raises ends the loop.
    """

    def on_start(self, position: Position) -> None:
        """Reading begins, or begins again, behind this position."""

    def on_waiting(self, position: Position) -> None:
        """Everything there is has been handled and saved; waiting for more. Told once each time."""

    def on_partition(self, position: Position, left: Position) -> None:
        """The reader left the partition of ``left`` and goes on in that of ``position``."""

    def on_skip(self, first: str, last: str) -> None:
        """Partitions ``first`` to ``last`` do not exist, though they could not have expired: no data, or deleted."""

    def on_gap(self, gap: Gap) -> None:
        """Entries were out of reach, or may have been; reading goes on behind them."""

    def on_late(self, late: LateEntries) -> None:
        """Entries were written to a partition more than ``grace`` after its end, and will not be read."""

    def on_dead_letter(self, dead_letters: str, error: DecodeError) -> None:
        """An entry cannot be decoded; it goes to the dead-letter stream with the next checkpoint, reading goes on."""

    def on_undecodable(self, error: DecodeError) -> None:
        """An entry cannot be decoded; it was passed over and stays where it is."""

    def on_rewound(self, checkpoint: str, position: Position) -> None:
        """The checkpoint was deleted or rolled back under the reader, which reloaded it and goes on from there."""

    def on_unavailable(self, error: Exception, attempt: int, delay: float) -> None:
        """The server was lost, or refuses for now; try number ``attempt`` follows in ``delay`` seconds."""

    def on_available(self) -> None:
        """The server answers again after `on_unavailable`."""

    def on_unsaved(self, checkpoint: str, error: Exception) -> None:
        """The loop was stopped while the server was away: what was handled last is not saved and will be read again."""

    # -- consumers of groups ------------------------------------------------------------------------------------------

    def on_retry(self, entry: EntryOfGroup, attempt: int, delay: float, error: BaseException) -> None:
        """A handler failed; the entry is handled again in ``delay`` seconds."""

    def on_buried(self, entry: EntryOfGroup, cause: Cause, dead_letters: str, error: BaseException | None) -> None:
        """An entry stands in the dead-letter stream now, and is acked."""

    def on_letters_dropped(self, dead_letters: str, count: int) -> None:
        """The cap of the dead-letter stream dropped so many of its oldest letters."""

    def on_lease_lost(self, error: LeaseLost) -> None:
        """An entry was not ours any more when it was to be settled, or before it was handled."""

    def on_claimed(self, stream: str, count: int) -> None:
        """Entries that nobody was handling were taken over: a consumer's own from before, or what others left."""

    def on_shards(self, name: str, member: str, shards: Sequence[str]) -> None:
        """A member of a sharded reader reads other shards than before: these."""

    def on_unread(self, stream: str, group: str, count: int, first: str, last: str) -> None:
        """Entries between two IDs were trimmed before the group was given them; a dead letter records it."""

    def on_expired_rest(self, stream: str, group: str, count: int) -> None:
        """A partition was held past ``max_hold``; what it still had for the group was dead-lettered."""

    def on_group_missing(self, stream: str, group: str) -> None:
        """The group was gone (after FLUSHALL, a deleted key or group) and is made anew, at the beginning."""

    def on_retired(self, stream: str, group: str, consumers: Sequence[str]) -> None:
        """Consumers that held nothing and had not been heard of for long were removed from the group."""

    def on_unsettled(self, error: Exception) -> None:
        """The loop was stopped while the server was away: what was handled last is not acked, and comes again."""

    def on_eviction_policy(self, policy: str) -> None:
        """The server may evict keys when its memory is full (``maxmemory-policy`` is not ``noeviction``)."""


class LoggingObserver(Observer):
    """The observer of a loop that was given none: writes to the logger ``streamkit``, and never a payload."""

    @override
    def on_start(self, position: Position) -> None:
        logger.info("reading %s from behind %s", position.stream, position.id)

    @override
    def on_waiting(self, position: Position) -> None:
        logger.debug("waiting for entries in %s behind %s", position.stream, position.id)

    @override
    def on_partition(self, position: Position, left: Position) -> None:
        logger.info("left %s at %s for %s", left.stream, left.id, position.stream)

    @override
    def on_skip(self, first: str, last: str) -> None:
        logger.info("no data in %s to %s: never written, or deleted", first, last)

    @override
    def on_gap(self, gap: Gap) -> None:
        logger.warning(
            "%s lost (%s) after %s in %s, between %s and %s; going on in %s",
            gap.amount,
            gap.cause.value,
            gap.after.id,
            gap.after.stream,
            gap.since.isoformat(),
            gap.until.isoformat(),
            gap.resumes.stream,
        )

    @override
    def on_late(self, late: LateEntries) -> None:
        logger.warning(
            "%d entries came to %s after it was left at %s (newest %s), and are not read; raise grace",
            late.count,
            late.stream,
            late.after,
            late.newest,
        )

    @override
    def on_dead_letter(self, dead_letters: str, error: DecodeError) -> None:
        logger.error(
            "entry %s of %s cannot be decoded (%s); it goes to %s",
            error.entry_id,
            error.stream,
            type(error.__cause__).__name__,
            dead_letters,
        )

    @override
    def on_undecodable(self, error: DecodeError) -> None:
        logger.error(
            "entry %s of %s cannot be decoded (%s); passed over",
            error.entry_id,
            error.stream,
            type(error.__cause__).__name__,
        )

    @override
    def on_rewound(self, checkpoint: str, position: Position) -> None:
        logger.warning(
            "checkpoint %s was deleted or rolled back; reloaded, going on in %s behind %s",
            checkpoint,
            position.stream,
            position.id,
        )

    @override
    def on_unavailable(self, error: Exception, attempt: int, delay: float) -> None:
        logger.warning("server unavailable (%s); try %d in %.2f s", error, attempt, delay)

    @override
    def on_available(self) -> None:
        logger.info("server available again")

    @override
    def on_unsaved(self, checkpoint: str, error: Exception) -> None:
        logger.error(
            "stopped before checkpoint %s could be saved (%s); its last entries will be read again", checkpoint, error
        )

    @override
    def on_retry(self, entry: EntryOfGroup, attempt: int, delay: float, error: BaseException) -> None:
        logger.warning(
            "attempt %d at entry %s of %s in group %s failed (%s); next one in %.2f s",
            attempt,
            entry.id,
            entry.stream,
            entry.group,
            type(error).__name__,
            delay,
        )

    @override
    def on_buried(self, entry: EntryOfGroup, cause: Cause, dead_letters: str, error: BaseException | None) -> None:
        logger.error(
            "entry %s of %s is dead-lettered by group %s (%s%s); it stands in %s",
            entry.id,
            entry.stream,
            entry.group,
            cause.value,
            f": {type(error).__name__}" if error else "",
            dead_letters,
        )

    @override
    def on_letters_dropped(self, dead_letters: str, count: int) -> None:
        logger.warning("%s is full: its %d oldest dead letters were dropped", dead_letters, count)

    @override
    def on_lease_lost(self, error: LeaseLost) -> None:
        logger.warning("%s", error)

    @override
    def on_claimed(self, stream: str, count: int) -> None:
        logger.info("took over %d pending entries of %s", count, stream)

    @override
    def on_shards(self, name: str, member: str, shards: Sequence[str]) -> None:
        logger.info("member %s of %s reads the shards %s", member, name, ", ".join(shards) or "(none)")

    @override
    def on_unread(self, stream: str, group: str, count: int, first: str, last: str) -> None:
        logger.error(
            "%d entries of %s between %s and %s were trimmed before group %s was given them",
            count,
            stream,
            first,
            last,
            group,
        )

    @override
    def on_expired_rest(self, stream: str, group: str, count: int) -> None:
        logger.error(
            "%s was held past max_hold: its last %d entries for group %s are dead-lettered", stream, count, group
        )

    @override
    def on_group_missing(self, stream: str, group: str) -> None:
        logger.warning("group %s of %s was gone; it is made anew, at the beginning", group, stream)

    @override
    def on_retired(self, stream: str, group: str, consumers: Sequence[str]) -> None:
        logger.info("removed long silent consumers of group %s of %s: %s", group, stream, ", ".join(consumers))

    @override
    def on_unsettled(self, error: Exception) -> None:
        logger.error("stopped before the last entries could be acked (%s); they will be delivered again", error)

    @override
    def on_eviction_policy(self, policy: str) -> None:
        logger.warning(
            "the server's maxmemory-policy is %s: it may evict streams and checkpoints when memory is full"
            "%s; set it to noeviction",
            policy,
            ", and partitions first, since they expire" if policy.startswith("volatile") else "",
        )
