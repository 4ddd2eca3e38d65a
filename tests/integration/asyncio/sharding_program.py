"""A member of a sharded reader in a process of its own: says which shards it reads, until a signal ends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import redis.asyncio
from typing_extensions import override

from streamkit.asyncio import Observer, stop_on_signals
from tests.integration.asyncio._runtime import pause, start
from tests.integration.asyncio._shards import Adding, member_of, sharded


class Announcer(Observer):
    """Says which shards are read."""

    @override
    def on_shards(self, name: str, member: str, shards: Sequence[str]) -> None:
        print("reads", *shards, flush=True)  # noqa: T201 - a program's output


class Slow(Adding):
    """Takes its time for each entry."""

    @override
    async def __call__(self, entry: Any, reader: Any) -> None:
        await super().__call__(entry, reader)
        await pause(0.002)


async def main() -> None:
    """Read the stream named by the third argument, on the server or cluster named by the second."""
    where, url, name, lease = sys.argv[1:]
    made: Any = redis.asyncio.Redis if where == "server" else redis.asyncio.RedisCluster
    async with made.from_url(url) as client:
        adding = Slow(client, name)
        options = {"lease": timedelta(seconds=float(lease)), "observer": Announcer()}
        reader = member_of(client, sharded(client, name), "program", adding, **options)
        with stop_on_signals(reader):
            await reader.run(adding)
    print("stopped", flush=True)  # noqa: T201 - a program's output


if __name__ == "__main__":
    start(main)
