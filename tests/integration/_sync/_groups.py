# Generated from tests/integration/asyncio/_groups.py by tools/generate_sync.py: do not edit.
"""What the tests of consumer groups share: what a group holds, and handlers that keep what they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import redis
from redis.exceptions import ResponseError

from streamkit import Delivery, EntryId, GroupConsumer, RetryPolicy
from streamkit._core.dead_letters import DeadLetter, read_letter
from tests.integration._sync import _letters
from tests.integration._sync._readers import raw
from tests.integration._sync._runtime import Running, running, until
from tests.integration.recording import Recorder

GROUP = "g"
LEASE = timedelta(seconds=0.6)
"""A min_idle_time for tests in which entries change hands."""

Fields: TypeAlias = dict[str, str]
Handler: TypeAlias = Callable[[Delivery[Fields]], None]


def milliseconds(*spans: int) -> list[timedelta]:
    """A table of waits."""
    return [timedelta(milliseconds=span) for span in spans]


QUICK = RetryPolicy(max_deliveries=3, backoff=milliseconds(20))
"""A policy for tests of failing handlers."""


def consumer_of(
    client: redis.Redis, key: str | Sequence[str], consumer: str = "a", **options: Any
) -> GroupConsumer[Fields]:
    """A consumer that is quick to retry and to take over."""
    options = {"retry": QUICK, "min_idle_time": LEASE, **options}
    return GroupConsumer(client, key, GROUP, consumer, **options)


def numbers_of(deliveries: Any) -> list[tuple[int, int]]:
    """Number and attempt of each delivery."""
    return [(int(each.value["n"]), each.attempt) for each in deliveries]


def pending_in(client: redis.Redis, key: str, group: str = GROUP) -> list[tuple[EntryId, str, int]]:
    """What is pending: ID, consumer and number of deliveries of each."""
    reply: Any = raw(client).xpending_range(key, group, "-", "+", 10_000)
    return [
        (EntryId.parse(each["message_id"]), each["consumer"].decode(), int(each["times_delivered"])) for each in reply
    ]


def groups_in(client: redis.Redis, key: str) -> set[str]:
    """The names of a stream's groups; none if there is no such stream."""
    found: Any = raw(client).xinfo_groups(key) if raw(client).exists(key) else []
    return {each["name"].decode() for each in found}


def consumers_in(client: redis.Redis, key: str, group: str = GROUP) -> set[str]:
    """The names of the group's consumers; none if there is no such group."""
    if group not in groups_in(client, key):
        return set()
    return {each["name"].decode() for each in raw(client).xinfo_consumers(key, group)}


def letters_in(client: redis.Redis, key: str) -> list[DeadLetter]:
    """The dead letters of a stream, or those in a key that is named as theirs."""
    name = key if key.endswith("dead-letters") else f"{{{key}}}:dead-letters"
    return [read_letter(entry_id, flat) for entry_id, flat in _letters.raw(client, name)]


class Seen:
    """A handler that keeps the number and the attempt of what it is given."""

    def __init__(self, also: Handler | None = None) -> None:
        self.tries: list[tuple[int, int]] = []
        """Number and attempt of each, in the order in which they began."""
        self.handled: list[int] = []
        """The numbers of those that ended well."""
        self._also = also

    @property
    def numbers(self) -> list[int]:
        """The numbers, in the order in which they began."""
        return [number for number, _ in self.tries]

    def __call__(self, delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        self.tries.append((number, delivery.attempt))
        if self._also is not None:
            self._also(delivery)
        self.handled.append(number)


class Batches:
    """A handler of batches that keeps the numbers and the attempt of each."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    @property
    def tries(self) -> list[tuple[int, int]]:
        """Number and attempt of each entry."""
        return [each for batch in self.batches for each in batch]

    def __call__(self, deliveries: Any) -> None:
        self.batches.append([(int(delivery.value["n"]), delivery.attempt) for delivery in deliveries])


@contextmanager
def consuming(consumer: GroupConsumer[Any], handler: Any) -> Iterator[Running]:
    """Run a consumer beside the test, and stop it at the end."""
    with running(consumer.run, handler, stop=consumer.stop) as run:
        yield run


def strand(client: redis.Redis, key: str, consumer: str, count: int, group: str = GROUP) -> list[str]:
    """Have a consumer read entries and go with them, by plain commands; their IDs."""
    if group not in groups_in(client, key):
        raw(client).xgroup_create(key, group, "0")
    words = ("GROUP", group, consumer, "COUNT", count, "STREAMS", key, ">")
    # Through a script its reply is the same for every protocol.
    reply: Any = raw(client).eval("return redis.call('XREADGROUP', unpack(ARGV))", 1, key, *words)
    return [entry[0].decode() for entry in reply[0][1]]


def settled(client: redis.Redis, key: str, group: str = GROUP) -> Callable[[], bool]:
    """A condition: everything in the stream was handed out, and nothing of it is pending."""

    def found() -> bool:
        try:
            newest = (raw(client).xinfo_stream(key))["last-generated-id"]
            cursors = [each["last-delivered-id"] for each in raw(client).xinfo_groups(key)]
            # In this order: what is handed out in between is pending.
            return cursors == [newest] and (raw(client).xpending(key, group))["pending"] == 0
        except ResponseError as error:
            if "NOGROUP" in str(error) or "no such key" in str(error):
                return False  # deleted by the test, and not made anew yet
            raise

    return found


def handle_all(client: redis.Redis, name: str, handle: Any, **options: Any) -> Recorder:
    """Run a consumer with this handler until everything is settled; what its observer was told."""
    recorder = Recorder()
    options = {"observer": recorder, "retry": QUICK, **options}
    handled = settled(client, name)
    with consuming(GroupConsumer(client, name, GROUP, "a", **options), handle) as run:

        def over() -> bool:
            return run.done or (GROUP in groups_in(client, name) and handled())

        until(over)
    return recorder


def side_by_side(cases: list[tuple[Any, ...]]) -> None:
    """Run functions, each with its arguments, all of them at once: time passes only once."""
    with ExitStack() as stack:
        runs = [stack.enter_context(running(*case)) for case in cases]
        for run in runs:
            run.result()


def of_size(values: Sequence[object], size: int) -> Callable[[], bool]:
    """Whether a list has grown to a size, to be waited for."""
    return lambda: len(values) == size


def includes(values: Sequence[object], value: object) -> Callable[[], bool]:
    """Whether a list has a value, to be waited for."""
    return lambda: value in values
