"""The checkpoint hash: position, state and fence side by side, and the steps that save it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic

from streamkit._core.effects import failure, script_words
from streamkit._core.errors import StateError, WrongKeyType
from streamkit._core.ids import EntryId
from streamkit._core.observers import Position
from streamkit._core.replies import Reply, mapping, raise_error, text
from streamkit._core.scripts import COMMIT, OPEN
from streamkit._core.states import RESERVED, RESERVED_PREFIX, S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamkit._core.effects import Emit, Execute
    from streamkit._core.protocol import Command, Scalar
    from streamkit._core.states import StateSchema

STREAM, LAST_ID = RESERVED
_TOKEN: Final = f"{RESERVED_PREFIX}token"
_SEQUENCE: Final = f"{RESERVED_PREFIX}sequence"
_VERSION: Final = f"{RESERVED_PREFIX}state_version"
_READ: Final = f"{RESERVED_PREFIX}entries_read"
_LEFT: Final = f"{RESERVED_PREFIX}left"
_BOUND: Final = f"{RESERVED_PREFIX}bound"
_AHEAD: Final = f"{RESERVED_PREFIX}ahead"
_SEEN: Final = f"{RESERVED_PREFIX}seen"
FENCE: Final = (_TOKEN, _SEQUENCE)


@dataclass(frozen=True)
class Mark:
    """The newest ID of a stream at some moment, and how many entries it had got until then.

    Kept of the partition a reader left last, which is watched for entries that come too late, and of partitions dated
    ahead whose entries a reader that began at ``NEW`` does not want.
    """

    stream: str
    id: EntryId
    entries_added: int

    def text(self) -> str:
        """As the checkpoint hash holds it."""
        return f"{self.id} {self.entries_added} {self.stream}"

    @classmethod
    def parse(cls, saved: str) -> Mark:
        """From the checkpoint hash."""
        entry_id, added, stream = saved.split(" ", 2)
        return cls(stream, EntryId.parse(entry_id), int(added))


@dataclass(frozen=True)
class Place:
    """A position with what is known around it.

    Attributes:
        stream: The key being read.
        id: The last ID handled in it.
        entries_read: How many of the entries ever added to the key lie at or before ``id``; None: unknown.
        left: The partition left before this one.
        bound: Whether ``id`` is where to begin, so that nothing was read up to it.
        ahead: Later partitions that existed when a reader began at ``NEW``.
        seen: The server's clock, in ms, when everything there was had been read: what came later cannot have expired
            before that plus the retention. 0: never yet.
    """

    stream: str
    id: EntryId
    entries_read: int | None = None
    left: Mark | None = None
    bound: bool = False
    ahead: tuple[Mark, ...] = ()
    seen: int = 0

    @property
    def position(self) -> Position:
        """The part for people."""
        return Position(self.stream, self.id)

    @property
    def untouched(self) -> bool:
        """Whether nothing was ever seen of the key: its absence alone is no loss."""
        return self.entries_read is None and (self.bound or self.id == EntryId(0))

    def fields(self) -> dict[str, Scalar]:
        """The fields of the hash that hold it."""
        saved: dict[str, Scalar] = {STREAM: self.stream, LAST_ID: str(self.id)}
        if self.entries_read is not None:
            saved[_READ] = self.entries_read
        if self.left is not None:
            saved[_LEFT] = self.left.text()
        if self.bound:
            saved[_BOUND] = 1
        if self.ahead:
            saved[_AHEAD] = "\n".join(mark.text() for mark in self.ahead)
        if self.seen:
            saved[_SEEN] = self.seen
        return saved


@dataclass(frozen=True)
class Checkpoint(Generic[S]):
    """A saved checkpoint, as `CheckpointedReader.saved` gives it.

    Attributes:
        position: The stream being read and the last ID handled in it.
        state: The saved state.
    """

    position: Position
    state: S


@dataclass(frozen=True)
class Saved(Generic[S]):
    """Everything in a checkpoint hash but the fence."""

    place: Place
    state: S
    names: frozenset[str] = field(default=frozenset())


def decode_hash(reply: Reply, schema: StateSchema[S], checkpoint: str) -> Saved[S] | None:
    """The contents of a checkpoint hash; None if no position is saved.

    Raises:
        StateError: The hash does not read as a checkpoint, or its state does not fit the program's.
    """
    if isinstance(reply, Exception) and str(reply).startswith("WRONGTYPE"):
        raise WrongKeyType(checkpoint, "value of another type", "hash (a checkpoint)")
    try:
        fields = {name.decode(): raw for name, raw in mapping(reply).items()}
        if STREAM not in fields or LAST_ID not in fields:
            return None
        place = Place(
            stream=fields[STREAM].decode(),
            id=EntryId.parse(fields[LAST_ID]),
            entries_read=int(fields[_READ]) if _READ in fields else None,
            left=Mark.parse(fields[_LEFT].decode()) if _LEFT in fields else None,
            bound=_BOUND in fields,
            ahead=tuple(map(Mark.parse, fields[_AHEAD].decode().split("\n"))) if _AHEAD in fields else (),
            seen=int(fields.get(_SEEN, b"0")),
        )
        version = int(fields.get(_VERSION, b"1"))
    except ValueError as error:
        msg = f"checkpoint {checkpoint!r} does not read as one: {error}; mend it by hand, or reset() it"
        raise StateError(msg) from error
    own = {name: raw for name, raw in fields.items() if name not in RESERVED and not name.startswith(RESERVED_PREFIX)}
    return Saved(place, schema.decode(own, version), frozenset(fields))


def state_fields(schema: StateSchema[S], state: S) -> dict[str, Scalar]:
    """The fields of the hash that hold a state."""
    fields: dict[str, Scalar] = dict(schema.encode(state))
    if fields:
        fields[_VERSION] = schema.version
    return fields


@dataclass(frozen=True)
class Session:
    """A reader's hold on its checkpoint: its token, and the sequence of its last save."""

    checkpoint: str
    token: str
    sequence: int

    def open(self, first: Mapping[str, Scalar], *, again: bool, known: bool) -> Command:
        """The script call that takes the checkpoint over, or (``again``) takes it back after it was rewound."""
        words = [word for pair in first.items() for word in pair]
        mode = "retake" if again else "take"
        return OPEN.call((self.checkpoint,), (self.token, mode, self.sequence, *words), known=known)


@dataclass(frozen=True)
class Step:
    """One checkpoint to be taken: everything that changes together. Sent again as it is until its fate is known."""

    session: Session
    place: Place
    fields: Mapping[str, Scalar]
    dropped: Sequence[str]
    effects: Sequence[Emit | Execute]

    def command(self, *, known: bool) -> Command:
        """The script call that takes it."""
        keys = tuple(dict.fromkeys(effect.key for effect in self.effects))
        words = [word for pair in self.fields.items() for word in pair]
        return COMMIT.call(
            (self.session.checkpoint, *keys),
            (
                self.session.token,
                self.session.sequence,
                self.session.sequence + 1,
                len(words),
                *words,
                len(self.dropped),
                *self.dropped,
                *script_words(self.effects, keys),
            ),
            known=known,
        )

    def outcome(self, reply: Reply) -> str:
        """``OK``, ``CONFLICT``, ``REWOUND`` or ``PERIOD``.

        Raises:
            EffectFailed: The server refused one of the effects.
            PermissionDenied: The user may not run one of them.
        """
        status, *rest = raise_error(reply)
        if text(status) == "FAILED":
            raise failure(self.effects, int(rest[0]), int(rest[1]), text(rest[2]))
        return text(status)


def judge_fence(reply: Reply, session: Session) -> str:
    """What an idle reader finds in the hash: ``OK``, ``CONFLICT`` or ``REWOUND``, by the rules of commit.lua."""
    token, sequence = raise_error(reply)
    if sequence is None or not sequence.isdigit() or int(sequence) < session.sequence:
        return "REWOUND"
    ours = token is not None and text(token) == session.token
    return "OK" if ours and int(sequence) == session.sequence else "CONFLICT"
