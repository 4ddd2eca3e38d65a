# Generated from src/streamkit/asyncio/subscribing.py by tools/generate_sync.py: do not edit.
"""What a group's consumer reads: its sources, checked against one another, as keys to read for each of its loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from streamkit._core.codecs import TEXT, Codec, flat_decoder, is_text
from streamkit._core.errors import InvalidArgument
from streamkit._core.following import parse_start
from streamkit._core.ids import Beginning, EntryId
from streamkit._core.keys import require_key
from streamkit._core.observers import Observer
from streamkit._sync.connections import Server
from streamkit._sync.joining import Joining
from streamkit._sync.lanes import Course, Courses, Names
from streamkit._sync.links import TEXT_REPLIES
from streamkit._sync.sources import Appendable, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamkit._sync.lanes import Lane


def sources_of(given: Source[Any] | str | Sequence[Source[Any]] | Sequence[str]) -> tuple[Source[Any] | str, ...]:
    """What was given, one by one, a sharded stream by its shards.

    Raises:
        InvalidArgument: It is nothing.
    """
    each: Sequence[Source[Any] | str] = (
        (given,) if isinstance(given, str) or not isinstance(given, Sequence) else tuple(given)
    )
    # What is no source is refused later, by name.
    found = tuple(
        part
        for source in each
        for part in ((isinstance(source, Source) and source._shards) or (source,))  # noqa: SLF001
    )
    if not found:
        msg = "source must not be empty: give a stream, a key, or several of these"
        raise InvalidArgument(msg)
    return found


@dataclass(frozen=True)
class Subscription:
    """The sources of a consumer, in whose name it reads them, and where a group that is new begins."""

    server: Server
    sources: Sequence[Source[Any] | str]
    names: Names
    start: datetime | EntryId | str | Beginning | None
    observer: Observer

    def courses(self) -> Courses:
        """The sources as a new loop reads them.

        Raises:
            InvalidArgument: They do not fit together, or not with their dead letters.
        """
        courses = [self._course(source) for source in self.sources]
        letters, keys = self.names.letters, [course.name for course in courses]
        if len(set(keys)) < len(keys):
            msg = f"source must not name the same stream twice: {', '.join(keys)}"
            raise InvalidArgument(msg)
        if letters in keys:
            msg = f"dead_letters must not be the source {letters!r}: dead letters would be handled, and buried, again"
            raise InvalidArgument(msg)
        for source, course in zip(self.sources, courses, strict=True):
            if letters is not None:
                alike = source._keys_alike() if isinstance(source, Appendable) else (course.name,)  # noqa: SLF001
                self.server.require_one_slot(f"dead_letters of group {self.names.group!r}", letters, *alike)
        return Courses(self.server, courses, self.names, self.observer)

    def lanes(self) -> list[Lane]:
        """The keys there are at the moment; no group is made for looking."""
        self.server.facts()
        with self.server.visit() as link:
            return self.courses().existing(link)

    def _course(self, source: Source[Any] | str) -> Course:
        if isinstance(source, Source):
            name, partitioning = source._name, source._partitioning  # noqa: SLF001
            codec: Codec[Any] = source._codec  # noqa: SLF001
            self.server.require_same(source._server, f"the source {name!r}")  # noqa: SLF001
        else:
            name, partitioning, codec = require_key("source", source), None, TEXT
            self.server.require_companions("a source", name)
        decode: Callable[[list[bytes]], Any] = flat_decoder(codec)
        fast = is_text(codec) and TEXT_REPLIES
        start = parse_start(self.start, name, partitioning)
        joining = None if partitioning is None else Joining(name, partitioning, self.names.group, start, self.observer)
        return Course(name, joining, codec, decode, fast, start)
