# Generated from tests/integration/asyncio/reading_program.py by tools/generate_sync.py: do not edit.
"""A program that reads a stream and prints what it reads, until a signal ends it."""

from __future__ import annotations

import sys

import redis
from typing_extensions import override

from streamkit import CheckpointedReader, Observer, Position, stop_on_signals
from tests.integration._sync._runtime import start


class Announcer(Observer):
    """Says when there is nothing more to read."""

    @override
    def on_waiting(self, position: Position) -> None:
        print("waiting", flush=True)  # noqa: T201 - a program's output


def main() -> None:
    """Read the stream named by the second argument, on the server named by the first."""
    url, name = sys.argv[1:]
    with redis.Redis.from_url(url) as client:
        reader = CheckpointedReader(client, name, f"{name}:c", observer=Announcer())
        with stop_on_signals(reader):
            with reader:
                for entry in reader:
                    print(entry.value["n"], flush=True)  # noqa: T201 - a program's output
    print("stopped", flush=True)  # noqa: T201 - a program's output


if __name__ == "__main__":
    start(main)
