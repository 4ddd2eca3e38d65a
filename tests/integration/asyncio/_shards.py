"""What the tests of sharded streams share: streams in several kinds, readers that add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from streamkit.asyncio import (
    CappedStream,
    CheckpointedReader,
    Entry,
    Observer,
    PartitionedStream,
    ShardedReader,
    ShardedStream,
)
from tests.integration.asyncio._readers import MONTH_OF_DAYS, numbers_in

SHARDS = 4
KINDS = ["plain", "capped", "partitioned"]
LEASE = timedelta(seconds=0.8)
"""A lease for tests in which shards change hands."""

Fields = dict[str, str]
Handler = Callable[[Entry[Fields], CheckpointedReader[Fields, Any]], Any]


@dataclass
class Totals:
    """A state."""

    count: int = 0
    total: int = 0


def customer_of(value: Any) -> str:
    """What the entries of these tests are sharded by."""
    return str(value["customer"])


def value_of(number: int, customers: int = 10) -> dict[str, Any]:
    """What is written for a number."""
    return {"n": number, "customer": f"c{number % customers}"}


def sharded(client: Any, name: str, kind: str = "plain", shards: Any = SHARDS) -> ShardedStream[Fields]:
    """A stream with shards of this kind."""
    if kind == "plain":
        return ShardedStream(client, name, shards=shards, key=customer_of)
    make = capped if kind == "capped" else daily
    return ShardedStream(client, name, shards=shards, key=customer_of, of=make)


def capped(client: Any, key: str) -> CappedStream[Fields]:
    """A shard of no more than 1000 entries."""
    return CappedStream(client, key, maxlen=1000, approximate=False)


def daily(client: Any, key: str) -> PartitionedStream[Fields]:
    """A shard of daily partitions, a month back and a month ahead."""
    return PartitionedStream(client, key, retention=MONTH_OF_DAYS, max_ahead=MONTH_OF_DAYS)


async def fill(stream: ShardedStream[Fields], numbers: range, customers: int = 10) -> None:
    """Append an entry for each number."""
    assert await stream.append_many(value_of(n, customers) for n in numbers) == len(numbers)


async def keys_of(stream: ShardedStream[Fields]) -> list[str]:
    """The keys that hold something."""
    return [info.key for info in await stream.info() if info.length]


class Adding:
    """A member's handler and the maker of its readers: adds up, and emits each number to a key of the shard's slot."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.seen: dict[str, list[int]] = {}
        """The numbers of each shard's key, in order."""

    def make(self, shard: Any, checkpoint: str) -> CheckpointedReader[Fields, Totals]:
        """The reader of a shard."""
        soon = timedelta(seconds=0.02)
        return CheckpointedReader(
            self.client, shard, checkpoint, state=Totals(), observer=Observer(), commit_interval=soon
        )

    async def __call__(self, entry: Entry[Fields], reader: CheckpointedReader[Fields, Totals]) -> None:
        number = int(entry.value["n"])
        reader.state.count += 1
        reader.state.total += number
        shard = entry.stream.partition("{")[2].partition("}")[0]
        reader.emit(f"{self.name}:out:{{{shard}}}", entry.value)
        self.seen.setdefault(entry.stream, []).append(number)


def member_of(
    client: Any, stream: ShardedStream[Fields], member: str, adding: Adding, **options: Any
) -> ShardedReader[Fields, Totals]:
    """A member that adds up."""
    options = {"lease": LEASE, "observer": Observer(), **options}
    return ShardedReader(client, stream, f"{stream.name}:totals", adding.make, member=member, **options)


async def totals_of(client: Any, stream: ShardedStream[Fields]) -> Totals:
    """What all checkpoints say together."""
    found = Totals()
    for name, shard in zip(stream.shard_names, stream.shards, strict=True):
        reader = Adding(client, stream.name).make(shard, f"{stream.name}:totals:{{{name}}}")
        saved = await reader.saved()
        if saved is not None:
            found = Totals(found.count + saved.state.count, found.total + saved.state.total)
    return found


async def emitted(client: Any, stream: ShardedStream[Fields]) -> dict[str, list[int]]:
    """The numbers that were emitted, by the shard's name."""
    return {name: await numbers_in(client, f"{stream.name}:out:{{{name}}}") for name in stream.shard_names}


def in_order(numbers: list[int], customers: int = 10) -> bool:
    """Whether the numbers of each customer are in order."""
    lines = [[n for n in numbers if n % customers == customer] for customer in range(customers)]
    return all(line == sorted(line) for line in lines)
