"""`CappedStream`: a stream held to a length or an age as it is written."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from typing_extensions import override

from streamkit._core import commands
from streamkit._core.appends import Guard, Target
from streamkit._core.codecs import Codec, Fields
from streamkit._core.replies import milliseconds
from streamkit._core.scripts import TRIM
from streamkit._core.trimming import MOST_LOOKED_AT, Trimmed, Trimming, read_trimmed
from streamkit.asyncio.sources import Stream, T

if TYPE_CHECKING:
    from streamkit.asyncio._runtime import Client


class CappedStream(Stream[T], Generic[T]):
    """A stream held to a length or an age: every append trims it in the same step.

    Args:
        client: Your client; its connections are borrowed for each append.
        key: The key.
        maxlen: How many entries to keep.
        max_age: How long to keep entries, by the server's clock. Give exactly one of both.
        approximate: Trim whole nodes of the stream's tree (``~``), which is much cheaper and keeps up to some hundred
            entries more; False trims exactly (``=``).
        trim_limit: How many entries one approximate trim removes at most; None: the server's default (100 times the
            entries of a node), 0: no limit.
        codec: How values become fields; none: dicts of text.
        idempotency_window: How long an ``idempotency_key`` is remembered; 10 minutes unless given, whole seconds up
            to a day where the server does it (Redis 8.6), which also remembers at most the latest 10,000 keys.

    Raises:
        InvalidArgument: Both or neither of ``maxlen`` and ``max_age``, a negative one, or a ``trim_limit`` without
            ``approximate``.
    """

    @overload
    def __init__(
        self: CappedStream[Fields],
        client: Client,
        key: str,
        *,
        maxlen: int | None = None,
        max_age: timedelta | None = None,
        approximate: bool = True,
        trim_limit: int | None = None,
        codec: None = None,
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None: ...
    @overload
    def __init__(
        self,
        client: Client,
        key: str,
        *,
        maxlen: int | None = None,
        max_age: timedelta | None = None,
        approximate: bool = True,
        trim_limit: int | None = None,
        codec: Codec[T],
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None: ...
    def __init__(
        self,
        client: Client,
        key: str,
        *,
        maxlen: int | None = None,
        max_age: timedelta | None = None,
        approximate: bool = True,
        trim_limit: int | None = None,
        codec: Codec[Any] | None = None,
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None:
        self._trimming = Trimming(maxlen, max_age, approximate, trim_limit)
        super().__init__(client, key, codec=codec, idempotency_window=idempotency_window)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @overload
    async def trim(self, *, unless_pending: Literal[False] = False) -> int: ...
    @overload
    async def trim(self, *, unless_pending: Literal[True]) -> Trimmed: ...
    async def trim(self, *, unless_pending: bool = False) -> int | Trimmed:
        """Trim now, to the stream's own bound.

        Args:
            unless_pending: Keep what some consumer group of the stream has not handled yet: everything from the oldest
                entry that is pending there, or was never delivered, on. Appends of this class trim to the bound all the
                same; where entries are to wait for their groups, append with a plain `Stream`, and trim with this.

        Returns:
            How many entries were removed; with ``unless_pending``, that, and what held others back.

        Raises:
            WrongKeyType: The key holds no stream.

        Sends TIME and XTRIM, or one EVALSHA (of a script with XINFO GROUPS, XPENDING, XRANGE and XTRIM). Needs Redis
        7.0.
        """
        strategy, operator, threshold, limit = self._trimming.script_arguments()
        doing = f"trimming {self._name!r}"
        if unless_pending:
            arguments = (strategy, operator, threshold, limit, MOST_LOOKED_AT)
            return read_trimmed(await self._server.run(TRIM, (self._name,), arguments, doing=doing), self._name)
        if strategy == "MINID":
            (now,) = await self._server.call(commands.TIME, doing="TIME")
            threshold = max(0, milliseconds(now) - int(threshold))
        words = commands.trim_words(strategy, operator, threshold, limit)
        (removed,) = await self._server.call(commands.xtrim(self._name, words), doing=doing, key=self._name)
        return int(removed)

    @override
    def _target(self, ms: int | None) -> Target:
        return Target(self._name, trimming=self._trimming)

    @override
    def _once(self, idempotency_key: str | None, *, numbered: bool) -> Guard:
        if idempotency_key and numbered and self._server.native_idempotency and self._window <= 86_400_000:
            return Guard("native", token=idempotency_key, window_ms=self._window)
        return super()._once(idempotency_key, numbered=numbered)
