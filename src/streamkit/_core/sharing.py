"""Sharing the shards of a stream among processes: who holds which, by leases kept in one hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamkit._core.errors import WrongKeyType
from streamkit._core.replies import text, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit._core.protocol import Scalar
    from streamkit._core.replies import Reply


@dataclass(frozen=True)
class Share:
    """What a member holds, and how many of these it is to give up so that others get their share."""

    shards: Sequence[str]
    surplus: int


def share_arguments(
    member: str, lease_ms: int, shards: Sequence[str], *, giving_up: Sequence[str] = (), leave: bool = False
) -> tuple[Scalar, ...]:
    """What share.lua takes behind its key."""
    return (member, lease_ms, "leave" if leave else "share", len(giving_up), *giving_up, *shards)


def read_share(key: str, reply: Reply) -> Share:
    """What share.lua answers; raises WrongKeyType."""
    first, *rest = reply
    if not isinstance(first, int):
        raise WrongKeyType(key, text(rest[0]), "hash (who holds which shard)")
    return Share(texts(rest), first)
