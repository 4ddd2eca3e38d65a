# Generated from tests/integration/asyncio/sharding_program.py by tools/generate_sync.py: do not edit.
"""A member of a sharded reader in a process of its own: says which shards it reads, until a signal ends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import redis
from typing_extensions import override

from streamkit import Observer, stop_on_signals
from tests.integration._sync._runtime import pause, start
from tests.integration._sync._shards import Adding, member_of, sharded


class Announcer(Observer):
    """Says which shards are read."""

    @override
    def on_shards(self, name: str, member: str, shards: Sequence[str]) -> None:
        print("reads", *shards, flush=True)  # noqa: T201 - a program's output


class Slow(Adding):
    """Takes its time for each entry."""

    @override
    def __call__(self, entry: Any, reader: Any) -> None:
        super().__call__(entry, reader)
        pause(0.002)


def main() -> None:
    """Read the stream named by the third argument, on the server or cluster named by the second."""
    where, url, name, lease = sys.argv[1:]
    made: Any = redis.Redis if where == "server" else redis.RedisCluster
    with made.from_url(url) as client:
        adding = Slow(client, name)
        options = {"lease": timedelta(seconds=float(lease)), "observer": Announcer()}
        reader = member_of(client, sharded(client, name), "program", adding, **options)
        with stop_on_signals(reader):
            reader.run(adding)
    print("stopped", flush=True)  # noqa: T201 - a program's output


if __name__ == "__main__":
    start(main)
