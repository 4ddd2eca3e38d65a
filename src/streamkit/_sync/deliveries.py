# Generated from src/streamkit/asyncio/deliveries.py by tools/generate_sync.py: do not edit.
"""`Delivery`: an entry handed to a consumer of a group, with what its handler may do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from typing_extensions import TypeVar, override

from streamkit._core import effects
from streamkit._core.codecs import Fields, FieldsIn
from streamkit._core.entries import Entry
from streamkit._core.errors import LeaseLost
from streamkit._core.ids import EntryId
from streamkit._sync.emitting import emission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.effects import Emit, Execute
    from streamkit._sync.batches import Batch
    from streamkit._sync.sources import Appendable

T_co = TypeVar("T_co", covariant=True, default=dict[str, str])
X = TypeVar("X")


@dataclass
class Work:
    """What a handler left to be done with the ack, or why it failed."""

    effects: list[Emit | Execute] = field(default_factory=list["Emit | Execute"])
    error: BaseException | None = None


class Delivery(Entry[T_co], Generic[T_co]):
    """An entry as a consumer of a group is handed it.

    It is acked when its handler returns, together with what was emitted and executed on it, in one step on the server
    and only if it is still this consumer's.
    """

    # One reference for all it knows beside the entry: one of these is made for each entry of every loop.
    __slots__ = ("_batch",)
    _batch: Batch

    @property
    def group(self) -> str:
        """The consumer group."""
        return self._batch.lane.member.group

    @property
    def consumer(self) -> str:
        """The consumer that has it."""
        return self._batch.lane.member.consumer

    @property
    def attempt(self) -> int:
        """How many times it was handed out, with this time; 1 at first."""
        return self._batch.attempt

    @property
    def effects(self) -> Sequence[str]:
        """What waits for the ack, a line for each, such as ``"XADD averages"``."""
        work = self._batch.works.get(self._id)
        return () if work is None else tuple(f"{each.command} {each.key}" for each in work.effects)

    @overload
    def emit(
        self, stream: Appendable[Fields] | str, value: FieldsIn, *, at: datetime | EntryId | None = None
    ) -> None: ...
    @overload
    def emit(self, stream: Appendable[X], value: X, *, at: datetime | EntryId | None = None) -> None: ...
    def emit(self, stream: Appendable[Any] | str, value: Any, *, at: datetime | EntryId | None = None) -> None:
        """Append an entry in the step that acks this one: exactly once, or not at all.

        Args:
            stream: Where to, with its trimming or expiry; or a key, for a dict of fields.
            value: What to write.
            at: The entry's time or ID; None: the server numbers it when the step is taken.

        Raises:
            EncodeError: The value has fields that Redis cannot store.
            InvalidArgument: The stream lies on another server than the consumer's, or in another slot of its cluster.

        Sends nothing by itself.
        """
        self._worked().effects.append(emission(self._batch.lane.server, self._stream, stream, value, at))

    def execute(self, *command: str | bytes | float) -> None:
        """Run a command in the step that acks this entry.

        For commands that write one key, named by their first argument, and that cannot fail on a key of the right
        type: ``delivery.execute("HINCRBY", "totals", "seen", 1)``. The type is checked before anything is written; a
        command that fails all the same dead-letters the entry if something was applied before it.

        Raises:
            InvalidArgument: The command takes no key, several keys, or blocks; or its key lies in another slot.
            EncodeError: An argument is nothing that Redis takes.

        Sends nothing by itself.
        """
        effect = effects.execute(command)
        self._batch.lane.server.require_one_slot(f"{effect.command} of {effect.key!r}", self._stream, effect.key)
        self._worked().effects.append(effect)

    def fail(self, error: BaseException) -> None:
        """Say that this entry failed, for a batch handler: as if its own handler had raised ``error``.

        Args:
            error: What went wrong; `Retry` and `Reject` say what is to become of it.
        """
        self._worked().error = error

    def extend(self) -> None:
        """Count the entry as fresh again, in a handler that keeps the heartbeat from running. Sends one EVALSHA.

        Raises:
            LeaseLost: It is not this consumer's any more.
            ServerUnavailable: The server is away, or refuses for now.
            PermissionDenied: The user may not run a command; the message names it.
        """
        lost, gone = self._batch.lane.beat_once(self._id)
        if lost or gone:
            raise LeaseLost(
                stream=self._stream, entry_id=self._id, group=self.group, owner="another consumer" if lost else ""
            )

    def _worked(self) -> Work:
        return self._batch.works.setdefault(self._id, Work())

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # What it can do is bound to its consumer: another process gets the plain entry.
        return Entry, (self._stream, self.id, cast("object", self._value))
