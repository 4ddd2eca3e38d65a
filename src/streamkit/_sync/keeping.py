# Generated from src/streamkit/asyncio/keeping.py by tools/generate_sync.py: do not edit.
"""Keeping a checkpoint: loading it, taking it over, saving step after step under its fence."""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Generic

from redis.exceptions import ResponseError

from streamkit._core import commands
from streamkit._core.checkpoints import FENCE, Place, Saved, Session, Step, decode_hash, judge_fence, state_fields
from streamkit._core.errors import CheckpointConflict, ServerUnavailable, WrongKeyType
from streamkit._core.refusals import Refusal, passing, refusal, typed
from streamkit._core.replies import text
from streamkit._core.scripts import COMMIT, OPEN
from streamkit._core.states import S, StateSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.effects import Emit, Execute
    from streamkit._core.protocol import Command
    from streamkit._core.replies import Reply
    from streamkit._sync.links import Link, Ticket


NEEDED = "hash (a checkpoint)"


class Rewound(Exception):
    """The hash was deleted or rolled back under its reader."""


class Refused(Exception):
    """The server refuses for now; the connection is fine, and nothing was done."""

    def __init__(self, error: ServerUnavailable, *, moved: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.moved = moved
        """Whether to make another connection: this one leads to a server that is not the master any more."""


def refused(error: Exception, doing: str, key: str) -> Exception:
    """What to raise for an error reply: `Refused` if the server refuses for now, a typed error otherwise."""
    found = typed(error, doing=doing, key=key)
    if isinstance(found, ServerUnavailable) and passing(error):
        return Refused(found, moved=refusal(error) is Refusal.MOVED)
    return found


class Keeper(Generic[S]):
    """One reader's hold on one checkpoint hash.

    A step that was sent is kept until its fate is known: sent again after a lost reply, it is known by its sequence.
    """

    def __init__(self, checkpoint: str, schema: StateSchema[S]) -> None:
        self._schema = schema
        self._session = Session(checkpoint, uuid.uuid4().hex, 0)
        self._names: frozenset[str] = frozenset()
        self._step: Step | None = None
        self._ticket: Ticket | None = None

    @property
    def _doing(self) -> str:
        return f"saving checkpoint {self.checkpoint!r}"

    @property
    def checkpoint(self) -> str:
        """The key of the hash."""
        return self._session.checkpoint

    @property
    def unsettled(self) -> bool:
        """Whether a step was taken whose fate is not known yet."""
        return self._step is not None

    def forget(self) -> None:
        """Drop the step whose fate is not known, to begin a session anew."""
        self._step = self._ticket = None

    def load(self, link: Link) -> Saved[S] | None:
        """What is saved, without taking it over."""
        (reply,) = link.exchange(commands.hgetall(self.checkpoint))
        if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
            raise typed(reply, doing=f"HGETALL of {self.checkpoint!r}", key=self.checkpoint)
        return decode_hash(reply, self._schema, self.checkpoint)

    def take(self, link: Link, first: Place | None, state: S, *, again: bool = False) -> Saved[S] | None:
        """Take the checkpoint over, saving a first place if there is none; None: there is none, and none was given.

        Raises:
            CheckpointConflict: ``again``, and another reader has taken it over meanwhile.
        """
        fields = {} if first is None else {**first.fields(), **state_fields(self._schema, state)}
        session = self._session if again else replace(self._session, token=uuid.uuid4().hex)

        try:
            status, *rest = link.run(OPEN, partial(session.open, fields, again=again))
        except ResponseError as error:
            raise refused(error, self._doing, self.checkpoint) from error
        word = text(status)
        if word == "TYPE":
            raise WrongKeyType(self.checkpoint, text(rest[0]), NEEDED)
        if word == "CONFLICT":
            raise CheckpointConflict(self.checkpoint)
        if word == "EMPTY":
            return None
        self._session = replace(session, sequence=int(rest[0]))
        saved = decode_hash(rest[1], self._schema, self.checkpoint)
        assert saved is not None  # noqa: S101 - the script answers EMPTY otherwise
        self._names = saved.names
        return saved

    def prepare(self, link: Link, place: Place, state: S, effects: Sequence[Emit | Execute]) -> None:
        """Queue a step, to be written by the link's next flush and settled by `settle`."""
        fields = {**place.fields(), **state_fields(self._schema, state)}
        own = {name for name in self._names if name not in FENCE}
        self._step = Step(self._session, place, fields, sorted(own - set(fields)), tuple(effects))
        self._send(link)

    def settle(self, link: Link) -> None:
        """Wait for the fate of the step that was sent, if there is one; send it again where that is called for.

        Raises:
            CheckpointConflict: Another reader has taken over.
            EffectFailed: An effect was refused.
            Rewound: The hash was deleted or rolled back.
            Refused: The server refuses for now.
        """
        step = self._step
        if step is None:
            return
        if self._ticket is None:
            self._send(link)
            link.flush()
        assert self._ticket is not None  # noqa: S101 - _send set it
        (reply,) = link.collect(self._ticket)
        self._ticket = None
        if link.learn(COMMIT, self.checkpoint, reply):
            self.settle(link)
            return
        if isinstance(reply, Exception):
            raise self._refused(reply)
        outcome = step.outcome(reply)
        if outcome == "CONFLICT":
            raise CheckpointConflict(self.checkpoint)
        if outcome == "REWOUND":
            raise Rewound
        if outcome == "PERIOD":
            now = int(text(reply[1]))
            self._step = replace(step, effects=[effect.moved(now) for effect in step.effects])
            self.settle(link)
            return
        self._session = replace(self._session, sequence=step.session.sequence + 1)
        self._names = frozenset(step.fields)
        self._step = None

    def lost(self) -> None:
        """The connection is gone: whatever was sent must be sent again."""
        self._ticket = None

    def fence(self) -> Command:
        """The command whose reply `judge` reads."""
        return commands.hmget(self.checkpoint, *FENCE)

    def judge(self, reply: Reply) -> None:
        """Raise CheckpointConflict or Rewound if the hash is not ours any more."""
        if isinstance(reply, Exception):
            raise self._refused(reply)
        verdict = judge_fence(reply, self._session)
        if verdict == "CONFLICT":
            raise CheckpointConflict(self.checkpoint)
        if verdict == "REWOUND":
            raise Rewound

    def _refused(self, reply: Exception) -> Exception:
        error = refused(reply, self._doing, self.checkpoint)
        return WrongKeyType(self.checkpoint, error.found, NEEDED) if isinstance(error, WrongKeyType) else error

    def _send(self, link: Link) -> None:
        assert self._step is not None  # noqa: S101 - prepare() set it
        self._ticket = link.prepare(self._step.command(known=link.knows(COMMIT, self.checkpoint)))
