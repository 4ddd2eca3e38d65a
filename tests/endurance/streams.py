"""What streams hold, for comparing it, and a reader's program that copies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import redis

from tests.endurance.halves import Half
from tests.integration.recording import Recorder

PAGE = 5000


def fields(client: redis.Redis, key: str) -> list[dict[bytes, bytes]]:
    """All entries of a stream, without their IDs."""
    return [entry for _, entry in entries(client, key)]


def entries(client: redis.Redis, key: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """All entries of a stream."""
    found: list[tuple[bytes, dict[bytes, bytes]]] = []
    start = "-"
    # redis-py's own types of this reply differ between its versions.
    while page := cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(key, start, count=PAGE)):
        found += page
        start = f"({page[-1][0].decode()}"
    return found


def keys(client: redis.Redis, pattern: str) -> list[str]:
    """The keys of this pattern, in order."""
    found = cast("Iterable[bytes]", client.scan_iter(pattern))
    return sorted(key.decode() for key in found)


def numbers(client: redis.Redis, key: str) -> list[int]:
    """The numbers in a stream that `numbered` filled, or a `Copy` of one."""
    return [int(entry[b"n"]) for entry in fields(client, key)]


def numbered(start: int, stop: int) -> list[dict[str, int]]:
    """Values that can be told apart."""
    return [{"n": n} for n in range(start, stop)]


class Copy:
    """A reader that copies every entry of a stream to another, as an effect, and counts them in its state.

    Run it with `main` in the background. ``seen`` is told of each number before it is copied.
    """

    def __init__(
        self,
        half: Half,
        client: Any,
        source: Any,
        *,
        to: str,
        count: int = 100,
        seen: Callable[[int], None] | None = None,
        **options: Any,
    ) -> None:
        self.told = Recorder()
        self.checkpoint = f"{to}:state"
        self._half = half
        self._client = client
        self._to = to
        self._seen = seen
        self.reader = half.lib.CheckpointedReader(
            client, source, self.checkpoint, state={"copied": 0}, count=count, observer=self.told, **options
        )

    def main(self) -> None:
        """Read until the end, or until `stop`."""
        self._half.read(self._client, self.reader, self._copy)

    def stop(self) -> None:
        """End `main`."""
        self.reader.stop()

    def _copy(self, entry: Any) -> None:
        if self._seen is not None:
            self._seen(int(entry.value["n"]))
        self.reader.state["copied"] += 1
        self.reader.emit(self._to, entry.value)
