"""One entry at a time: `append` beside what a program would otherwise call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import redis

from benchmarks.names import MAX_AHEAD, PLAIN, RETENTION, TEMPERATURES
from streamkit import CappedStream, PartitionedStream, Stream

if TYPE_CHECKING:
    from redis.typing import EncodableT, FieldT

VALUE: dict[str, str] = {"temp_f": "71.25", "humidity": "43"}
FIELDS = cast("dict[FieldT, EncodableT]", VALUE)
RETENTION_S = int(RETENTION.total_seconds())
KEPT = 10_000

Call = Callable[[], object]


def pairs(client: redis.Redis) -> dict[tuple[str, str], tuple[Call, Call]]:
    """Ours and theirs by name, doing the same."""
    stream = Stream(client, PLAIN)
    capped = CappedStream(client, PLAIN, maxlen=KEPT)
    partitioned = PartitionedStream(client, TEMPERATURES, retention=RETENTION, max_ahead=MAX_AHEAD)

    def xadd_expireat() -> None:
        now = time.time()
        key = f"{TEMPERATURES}:{time.strftime('%Y%m%d', time.gmtime(now))}"
        transaction = client.pipeline(transaction=True)
        transaction.xadd(key, FIELDS)
        transaction.expireat(key, int(now) + RETENTION_S)
        transaction.execute()

    return {
        ("Stream.append", "xadd"): (lambda: stream.append(VALUE), lambda: client.xadd(PLAIN, FIELDS)),
        ("CappedStream.append", "xadd(maxlen=)"): (
            lambda: capped.append(VALUE),
            lambda: client.xadd(PLAIN, FIELDS, maxlen=KEPT),
        ),
        ("PartitionedStream.append", "MULTI, xadd, expireat, EXEC"): (
            lambda: partitioned.append(VALUE),
            xadd_expireat,
        ),
    }


def durations(call: Call, count: int) -> list[float]:
    """How long each of so many calls took, in seconds."""
    clock, taken = time.perf_counter, [0.0] * count
    for index in range(count):
        start = clock()
        call()
        taken[index] = clock() - start
    return taken
