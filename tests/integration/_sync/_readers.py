# Generated from tests/integration/asyncio/_readers.py by tools/generate_sync.py: do not edit.
"""What the tests of readers share: entries that hold a number, and short ways to read them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import redis

from streamkit import CheckpointedReader, EntryId, Period
from streamkit.signals import Stoppable
from tests.integration._sync._runtime import DEADLINE
from tests.integration.recording import Recorder

DAY = timedelta(days=1)
MONTH_OF_DAYS = timedelta(days=30)
SECONDS = Period("SECOND", "%Y%m%d%H%M%S", timedelta(seconds=1))
"""A period for tests."""
NOTHING_YET = EntryId(0)

Reader: TypeAlias = CheckpointedReader[dict[str, str], Any]


def midnight(days: int = 0) -> datetime:
    """The beginning of today, or of a day so many days later."""
    return datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) + days * DAY


def key_of(name: str, day: datetime) -> str:
    """The name of a daily partition."""
    return f"{name}:{day:%Y%m%d}"


def write(client: redis.Redis, key: str, *numbers: int, at: datetime | None = None) -> list[EntryId]:
    """Append an entry for each number by plain XADD, numbered by the server, or from this moment on."""
    entry_id = "*" if at is None else f"{EntryId.at(at).ms}-*"
    return [EntryId.parse(raw(client).xadd(key, {"n": number}, id=entry_id)) for number in numbers]


def raw(client: redis.Redis) -> Any:
    """The same client, for calls whose types redis-py states too widely, or not at all."""
    return client


def entries_in(client: redis.Redis, key: str) -> list[tuple[EntryId, dict[bytes, bytes]]]:
    """The entries of a stream, as they are stored."""
    return [(EntryId.parse(entry_id), fields) for entry_id, fields in raw(client).xrange(key)]


def numbers_in(client: redis.Redis, key: str) -> list[int]:
    """The numbers of a stream's entries."""
    return [int(fields[b"n"]) for _, fields in entries_in(client, key)]


@contextmanager
def limited(loop: Stoppable) -> Iterator[None]:
    """Stop a loop that does not end, so that its test fails instead of hanging."""
    timer = threading.Timer(DEADLINE, loop.stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def read(reader: Reader) -> list[int]:
    """Enter a reader that does not follow, and give the numbers it reads."""
    with limited(reader):
        with reader:
            return [int(entry.value["n"]) for entry in reader]


def take(reader: Reader, count: int) -> list[int]:
    """Enter a reader, give the next so many numbers, and stop it at the last."""
    numbers: list[int] = []
    with limited(reader):
        with reader:
            for entry in reader:
                numbers.append(int(entry.value["n"]))
                if len(numbers) == count:
                    reader.stop()
    return numbers


def collect(reader: Reader, numbers: list[int]) -> None:
    """Enter a reader and add the numbers it reads to a list, until it is stopped."""
    with reader:
        for entry in reader:
            number = int(entry.value["n"])
            numbers.append(number)


def echo(reader: Reader, to: str, numbers: list[int]) -> Exception | None:
    """The same, each number emitted to a key; gives the error that ended it."""
    try:
        with reader:
            for entry in reader:
                reader.emit(to, entry.value)
                numbers.append(int(entry.value["n"]))
    except Exception as error:  # noqa: BLE001 - the tests ask what it was
        return error
    return None


def saved_id(reader: CheckpointedReader[Any, Any]) -> EntryId | None:
    """The last ID that is saved."""
    saved = reader.saved()
    return None if saved is None else saved.position.id


def told(recorder: Recorder, event: str, times: int = 1) -> Callable[[], bool]:
    """A condition: the observer was told of an event so often."""
    return lambda: len(recorder.of(event)) >= times
