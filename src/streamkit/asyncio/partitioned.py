"""`PartitionedStream`: a stream that never ends, a key a period, each expiring a while after its newest entry."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from typing_extensions import override

from streamkit._core import commands
from streamkit._core.appends import Target
from streamkit._core.codecs import Codec, Fields
from streamkit._core.errors import InvalidArgument, WrongKeyType
from streamkit._core.infos import StreamInfo, stream_info
from streamkit._core.periods import Partitioning, Period
from streamkit._core.replies import milliseconds, texts
from streamkit._core.scripts import EXPIRE
from streamkit._core.times import from_ms, span_ms, to_ms
from streamkit.asyncio.sources import Appendable, T

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamkit.asyncio._runtime import Client


class PartitionedStream(Appendable[T], Generic[T]):
    """A stream that never ends, kept as one key a period: ``temps:20250101``, ``temps:20250102`` and so on.

    Each key expires ``retention`` after its newest entry; the expiry moves with every write, in the same step. Any
    other program may write the same keys with plain XADD and EXPIREAT: they are found by their names and read as our
    own. Periods are always UTC.

    Args:
        client: Your client; its connections are borrowed for each append.
        name: What the keys have in common; the key of a period is ``name:suffix``.
        period: How long a partition lasts: ``Period.HOUR``, ``Period.DAY`` (the default) or ``Period.MONTH``.
        retention: How long a partition is kept after its newest entry; 2 days unless given.
        max_ahead: How far ahead of the server's clock an entry may be dated; one period unless given.
        out_of_order: ``"raise"``: an entry with an ``at`` below the newest is an error; ``"bump"``: it is numbered
            just after the newest.
        codec: How values become fields; none: dicts of text.
        idempotency_window: How long an ``idempotency_key`` is remembered, across partitions; 10 minutes unless given.
            Each remembered key is a small Redis key of its own, ``{name}:once:…``, that expires with the window.

    Raises:
        InvalidArgument: A span of time is not positive, or retention and max_ahead span more than 20,000 periods.
    """

    @overload
    def __init__(
        self: PartitionedStream[Fields],
        client: Client,
        name: str,
        *,
        period: Period = Period.DAY,
        retention: timedelta = timedelta(days=2),
        max_ahead: timedelta | None = None,
        out_of_order: Literal["raise", "bump"] = "raise",
        codec: None = None,
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None: ...
    @overload
    def __init__(
        self,
        client: Client,
        name: str,
        *,
        period: Period = Period.DAY,
        retention: timedelta = timedelta(days=2),
        max_ahead: timedelta | None = None,
        out_of_order: Literal["raise", "bump"] = "raise",
        codec: Codec[T],
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None: ...
    def __init__(
        self,
        client: Client,
        name: str,
        *,
        period: Period = Period.DAY,
        retention: timedelta = timedelta(days=2),
        max_ahead: timedelta | None = None,
        out_of_order: Literal["raise", "bump"] = "raise",
        codec: Codec[Any] | None = None,
        idempotency_window: timedelta = timedelta(minutes=10),
    ) -> None:
        if out_of_order not in {"raise", "bump"}:
            msg = f'out_of_order must be "raise" or "bump", not {out_of_order!r}'
            raise InvalidArgument(msg)
        self._partitions = Partitioning.of(name, period, retention, max_ahead)
        self._bump = out_of_order == "bump"
        self._latest: Target | None = None
        super().__init__(client, name, codec, self._partitions, idempotency_window)

    def key_for(self, time: datetime) -> str:
        """The key of the partition that an entry of this time belongs to.

        Raises:
            NaiveDatetime: ``time`` has no time zone.
        """
        return self._partitions.at(to_ms(time)).key

    async def keys(self) -> Sequence[str]:
        """The partitions that exist, oldest first.

        They are found by asking for every name from ``retention`` (and a period) before the server's clock to
        ``max_ahead`` (and a period) after it; SCAN is never used. Sends TIME, then EXISTS for each name, in one write.
        """
        (now,) = await self._server.call(commands.TIME, doing="TIME")
        names = [partition.key for partition in self._partitions.horizon(milliseconds(now))]
        found = await self._server.call(*map(commands.exists, names), doing=f"EXISTS of {self._name}:*")
        return [name for name, exists in zip(names, found, strict=True) if exists]

    async def length(self) -> int:
        """How many entries all partitions hold together. Sends XLEN for each."""
        return sum(info.length for info in await self.info())

    async def info(self) -> Sequence[StreamInfo]:
        """What the server says of each partition that exists, oldest first.

        Sends XINFO STREAM and PEXPIRETIME for each.

        Raises:
            WrongKeyType: One of the keys holds no stream.
        """
        infos = [stream_info(key, await self._server.survey(key)) for key in await self.keys()]
        return [info for info in infos if info.last_id is not None]

    async def expires_at(self, key: str) -> datetime | None:
        """When a partition expires, UTC; None: it does not exist, or never expires. Sends PEXPIRETIME.

        Raises:
            NotAPartition: The key is no partition of this stream.
        """
        self._partitions.parse(key)
        (expiry,) = await self._server.call(commands.pexpiretime(key), doing=f"PEXPIRETIME of {key!r}", key=key)
        return from_ms(int(expiry)) if int(expiry) >= 0 else None

    async def trim(self) -> int:
        """Give partitions that another program wrote without any expiry the one they should have.

        One whose retention is past goes at once. Our own appends never need this.

        Returns:
            How many entries went.
        """
        removed = 0
        retention = span_ms(self._partitions.retention)
        for key in await self.keys():
            status, detail = texts(await self._server.run(EXPIRE, (key,), (retention,), doing=f"expiring {key!r}"))
            if status == "TYPE":
                raise WrongKeyType(key, detail, "stream")
            removed += int(detail)
        return removed

    @override
    def _keys_alike(self) -> tuple[str, ...]:
        return self._partitions.at(0).key, self._partitions.at(10**12).key

    @override
    def _target(self, ms: int | None) -> Target:
        moment = time.time_ns() // 1_000_000 if ms is None else ms
        target = self._latest
        if target is None or target.partition is None or not target.partition.start <= moment < target.partition.end:
            partition = self._partitions.at(moment)
            target = self._latest = Target(partition.key, partition, self._partitions, bump=self._bump)
        return target
