"""What a reader has handled and not saved yet: place, state and effects, saved together as one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from streamkit._core.effects import STEP_BYTES, STEP_EFFECTS, Emit, Execute

if TYPE_CHECKING:
    from streamkit._core.checkpoints import Place, Saved
    from streamkit.asyncio.keeping import Keeper
    from streamkit.asyncio.links import Link


class HasState(Protocol):
    """Who holds the state: the reader itself, so that its users reach it by a plain attribute."""

    state: Any


class Progress:
    """Everything up to ``place`` is handled; what is saved may lag behind.

    Args:
        keeper: Saves it.
        owner: Holds the state.
    """

    def __init__(self, keeper: Keeper[Any], owner: HasState) -> None:
        self._keeper = keeper
        self._owner = owner
        self.forget()

    def forget(self) -> None:
        """Know nothing, until it is loaded; effects held are dropped."""
        self._place: Place | None = None
        self.dirty: bool = False
        self._effects: list[Emit | Execute] = []
        self._bytes = 0
        self._saved_seen = 0
        self._keeper.forget()

    def loaded(self, saved: Saved[Any]) -> None:
        """Begin with what is saved."""
        self._owner.state = saved.state
        self._place = saved.place
        self._saved_seen = saved.place.seen

    @property
    def known(self) -> bool:
        """Whether there is a place."""
        return self._place is not None

    @property
    def place(self) -> Place:
        """The place up to which everything is handled."""
        assert self._place is not None  # noqa: S101 - nobody asks before it is loaded
        return self._place

    def handled(self, place: Place) -> None:
        """Note that everything up to a place is handled."""
        self._place, self.dirty = place, True

    def stand(self, place: Place) -> None:
        """Note a place reached without handling an entry; only a move is worth a checkpoint of its own."""
        if (place.stream, place.id) != (self.place.stream, self.place.id):
            self.dirty = True
        self._place = place

    def note_seen(self, older: int) -> None:
        """Have the moment saved at which everything was read, if the saved one is older than so many ms."""
        if self.place.seen > self._saved_seen + older:
            self.dirty = True

    @property
    def heavy(self) -> bool:
        """Whether so many effects wait that they should be saved with the entry in hand."""
        return len(self._effects) >= STEP_EFFECTS or self._bytes >= STEP_BYTES

    def hold(self, effect: Emit | Execute) -> None:
        """Keep an effect for the step that saves the entry in hand."""
        self._effects.append(effect)
        self._bytes += effect.size

    def prepare(self, link: Link) -> None:
        """Queue the step that saves everything, if there is anything to save."""
        if self.dirty:
            self._keeper.prepare(link, self.place, self._owner.state, self._effects)
            self._saved_seen = self.place.seen
            self._effects.clear()
            self._bytes = 0
            self.dirty = False

    async def save(self, link: Link) -> None:
        """Save everything, and wait until it is."""
        await self._keeper.settle(link)
        if self.dirty:
            self.prepare(link)
            await link.flush()
            await self._keeper.settle(link)
