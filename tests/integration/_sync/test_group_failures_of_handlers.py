# Generated from tests/integration/asyncio/test_group_failures_of_handlers.py by tools/generate_sync.py: do not edit.
"""Handlers that fail: retried in time, counted, dead-lettered at last with where it came from; neighbours go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis
from typing_extensions import override

from streamkit import (
    Cause,
    DataclassCodec,
    Delivery,
    EntryId,
    EntryOfGroup,
    GroupConsumer,
    JsonCodec,
    Observer,
    RawCodec,
    Reject,
    Retry,
    RetryPolicy,
    Stream,
    exponential,
)
from tests.integration._sync._groups import (
    GROUP,
    QUICK,
    Fields,
    Seen,
    consuming,
    letters_in,
    milliseconds,
    pending_in,
    settled,
)
from tests.integration._sync._readers import limited, raw, told, write
from tests.integration._sync._runtime import running, until
from tests.integration._sync.test_group_run import Order
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

SECRET = "1234-5678"


class Stop(BaseException):
    """Ends a loop, as SystemExit does."""


def failing_twice(delivery: Delivery[Fields]) -> None:
    """Succeed at the third attempt."""
    if delivery.attempt < 3:
        raise LookupError("not yet")


def later_each_time(attempt: int) -> timedelta:
    """A backoff of one's own."""
    return timedelta(milliseconds=50 if attempt == 1 else 150)


@pytest.mark.parametrize(
    "backoff",
    [
        milliseconds(50, 150),
        later_each_time,
        exponential(timedelta(milliseconds=50), factor=3, maximum=timedelta(seconds=1), jitter=0),
    ],
    ids=["table", "function", "exponential"],
)
def test_what_failed_is_handled_again_after_its_wait_and_others_go_on_meanwhile(
    client: redis.Redis, name: str, backoff: Callable[[int], timedelta] | Sequence[timedelta]
) -> None:
    (entry_id, *_) = write(client, name, *range(5))
    times, recorder = list[float](), Recorder()

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "0":
            times.append(time.monotonic())
            failing_twice(delivery)

    consumer = GroupConsumer(client, name, GROUP, "a", retry=RetryPolicy(backoff=backoff), observer=recorder)
    seen = Seen(handle)
    with consuming(consumer, seen):
        until(lambda: 4 in seen.handled)
        write(client, name, 5)
        until(lambda: 0 in seen.handled)
    assert [each for each in seen.tries if each[0] == 0] == [(0, 1), (0, 2), (0, 3)]
    assert [each for each in seen.tries if each[0] > 0] == [(n, 1) for n in range(1, 6)]
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.15
    entry = EntryOfGroup(name, str(entry_id), GROUP, "a")
    assert [event[:3] for event in recorder.of("on_retry")] == [(entry, 1, 0.05), (entry, 2, 0.15)]
    assert [type(event[3]) for event in recorder.of("on_retry")] == [LookupError] * 2
    assert recorder.of("on_buried") == []
    assert pending_in(client, name) == []


def test_a_handler_may_say_when_it_wants_to_try_again(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.attempt == 1:
            raise Retry(delay=timedelta(milliseconds=100 if delivery.value["n"] == "1" else 0))

    recorder, seen = Recorder(), Seen(handle)
    with consuming(GroupConsumer(client, name, GROUP, observer=recorder), seen):
        until(lambda: len(seen.handled) == 2)
    assert seen.tries[:2] == [(1, 1), (2, 1)]
    assert sorted(seen.tries[2:]) == [(1, 2), (2, 2)]
    assert [event[2] for event in recorder.of("on_retry")] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("error", "reason", "kind", "text"),
    [
        (ValueError("no such card"), "", "ValueError", "no such card"),
        (Retry("not today"), "not today", "", ""),
        (Retry(), "", "Retry", ""),
    ],
    ids=["error", "retry", "retry-without-reason"],
)
def test_after_the_last_attempt_it_is_dead_lettered_with_where_it_came_from_and_its_fields_untouched(
    client: redis.Redis, name: str, *, error: Exception, reason: str, kind: str, text: str
) -> None:
    words = [b"n", b"1", b"tag", b"a", b"tag", b"b", "ä".encode(), b""]
    entry_id = EntryId.parse(raw(client).execute_command("XADD", name, "*", *words))
    write(client, name, 2)
    recorder = Recorder()

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.id == entry_id:
            raise error

    consumer, seen = GroupConsumer(client, name, GROUP, "a", retry=QUICK, observer=recorder), Seen(handle)
    with consuming(consumer, seen):
        until(told(recorder, "on_buried"))
    assert seen.tries == [(1, 1), (2, 1), (1, 2), (1, 3)]
    (letter,) = letters_in(client, name)
    assert letter.pairs == tuple(words)
    assert (letter.stream, letter.entry_id, letter.cause) == (name, entry_id, Cause.EXHAUSTED)
    assert (letter.group, letter.consumer, letter.attempt, letter.reader) == (GROUP, "a", 3, None)
    assert (letter.reason, letter.error_type, letter.error) == (reason, kind, text)
    assert letter.redrives == 0
    assert abs(letter.time - entry_id.time) < timedelta(seconds=20)
    entry = EntryOfGroup(name, str(entry_id), GROUP, "a")
    (buried,) = recorder.of("on_buried")
    assert buried[:3] == (entry, Cause.EXHAUSTED, f"{{{name}}}:dead-letters")
    assert buried[3] is (None if reason else error)
    assert pending_in(client, name) == []
    assert client.xlen(name) == 2


@pytest.mark.parametrize(
    ("error", "reject_on", "reason", "kind"),
    [
        (Reject("nobody wants it"), (), "nobody wants it", ""),
        (KeyError("card"), (ValueError, LookupError), "", "KeyError"),
        (KeyError("card"), KeyError, "", "KeyError"),
    ],
    ids=["reject", "one-of-several", "the-one"],
)
def test_what_is_rejected_is_dead_lettered_at_once(
    client: redis.Redis, name: str, *, error: Exception, reject_on: Any, reason: str, kind: str
) -> None:
    write(client, name, 1, 2)

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "1":
            raise error

    seen = Seen(handle)
    with consuming(GroupConsumer(client, name, GROUP, retry=RetryPolicy(reject_on=reject_on)), seen):
        until(lambda: seen.handled == [2])
        until(settled(client, name))
    assert seen.tries == [(1, 1), (2, 1)]
    (letter,) = letters_in(client, name)
    assert (letter.cause, letter.reason, letter.error_type) == (Cause.REJECTED, reason, kind)
    assert (letter.attempt, letter.pairs) == (1, (b"n", b"1"))


def test_what_ends_the_loop_is_no_failure_and_comes_again(client: redis.Redis, name: str) -> None:
    write(client, name, *range(10))

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "5" and delivery.attempt == 1:
            raise Stop

    consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen(handle)
    with limited(consumer), pytest.raises(Stop):
        consumer.run(seen)
    assert seen.handled == list(range(5))
    assert letters_in(client, name) == []
    with consuming(consumer, seen):
        until(lambda: len(seen.handled) == 10)
    assert seen.tries[:6] == [(n, 1) for n in range(6)]
    assert sorted(seen.tries[6:]) == [(5, 2), *((n, 1) for n in range(6, 10))]


# What cannot be decoded ---------------------------------------------------------------------------------------------

BROKEN = [b"data", b"\xff{", b"trace", b"abc", b"trace", b"def"]


@pytest.mark.parametrize(
    ("codec", "good"),
    [
        (None, [b"n", b"1"]),
        (JsonCodec(), [b"data", b"1"]),
        (DataclassCodec(Order), [b"order_id", b"a", b"amount", b"1"]),
    ],
    ids=["text", "json", "dataclass"],
)
def test_what_cannot_be_decoded_is_dead_lettered_as_it_is_and_its_neighbours_are_handled_once(
    client: redis.Redis, name: str, codec: Any, good: list[bytes]
) -> None:
    with client.pipeline(transaction=False) as pipe:
        queue: Any = pipe
        for n in range(400):
            queue.execute_command("XADD", name, f"{n + 1}-0", *(BROKEN if n in {0, 100, 101, 399} else good))
        pipe.execute()
    source: Any = Stream(client, name, codec=codec) if codec else name
    recorder, found = Recorder(), list[tuple[int, int]]()

    def handle(delivery: Delivery[Any]) -> None:
        found.append((delivery.id.ms - 1, delivery.attempt))

    with consuming(GroupConsumer(client, source, GROUP, "a", observer=recorder), handle):
        until(told(recorder, "on_buried", 4))
        until(lambda: len(found) == 396)
        until(settled(client, name))
    assert found == [(n, 1) for n in range(400) if n not in {0, 100, 101, 399}]
    letters = letters_in(client, name)
    assert [letter.entry_id for letter in letters] == [EntryId(n + 1) for n in (0, 100, 101, 399)]
    for letter in letters:
        assert letter.pairs == tuple(BROKEN)
        assert (letter.cause, letter.group, letter.consumer) == (Cause.UNDECODABLE, GROUP, "a")
        assert letter.error_type
        assert letter.decode(RawCodec())[b"data"] == b"\xff{"
    assert {event[1] for event in recorder.of("on_buried")} == {Cause.UNDECODABLE}
    assert recorder.of("on_claimed") == []


# Batches ------------------------------------------------------------------------------------------------------------


def test_of_a_batch_some_may_fail_and_the_rest_is_acked(client: redis.Redis, name: str) -> None:
    write(client, name, *range(200))
    tries = list[tuple[int, int]]()

    def handle(deliveries: Sequence[Delivery[Fields]]) -> None:
        for delivery in deliveries:
            number = int(delivery.value["n"])
            tries.append((number, delivery.attempt))
            if number % 50 == 7:
                delivery.fail(Retry() if delivery.attempt < 3 else Reject("seven"))
            elif number % 50 == 9 and delivery.attempt == 1:
                delivery.fail(ValueError("nine"))

    consumer = GroupConsumer(client, name, GROUP, "a", retry=RetryPolicy(backoff=milliseconds(20)))
    with running(consumer.run_batches, handle, stop=consumer.stop):
        until(lambda: len(tries) == 200 + 4 * 2 + 4)
        until(settled(client, name))
    assert sorted(tries) == sorted(
        [(n, 1) for n in range(200)]
        + [(n, attempt) for n in (7, 57, 107, 157) for attempt in (2, 3)]
        + [(n, 2) for n in (9, 59, 109, 159)]
    )
    letters = letters_in(client, name)
    assert sorted(int(letter.fields[b"n"]) for letter in letters) == [7, 57, 107, 157]
    assert {(letter.cause, letter.reason, letter.attempt) for letter in letters} == {(Cause.REJECTED, "seven", 3)}


def test_what_a_batch_raises_counts_for_all_that_did_not_fail_by_themselves(client: redis.Redis, name: str) -> None:
    write(client, name, *range(100))
    recorder, batches = Recorder(), list[list[tuple[int, int]]]()

    def handle(deliveries: Sequence[Delivery[Fields]]) -> None:
        batches.append([(int(each.value["n"]), each.attempt) for each in deliveries])
        if len(deliveries) > 1:
            deliveries[0].fail(Reject("the first"))
            raise LookupError("all of them")

    consumer = GroupConsumer(client, name, GROUP, "a", retry=QUICK, observer=recorder)
    with running(consumer.run_batches, handle, stop=consumer.stop):
        until(lambda: sum(map(len, batches)) >= 100)
        until(settled(client, name))
    (together, *_) = large = [batch for batch in batches if len(batch) > 1]
    assert {attempt for batch in large for _, attempt in batch} == {1}
    # Each of the others came again, alone.
    again = {batch[0] for batch in batches if len(batch) == 1 and batch[0][1] > 1}
    assert again == {(n, 2) for batch in large for n, _ in batch[1:]}
    letters = [int(letter.fields[b"n"]) for letter in letters_in(client, name)]
    assert letters == [batch[0][0] for batch in large]
    failures = recorder.of("on_retry")
    assert len(failures) == sum(len(batch) - 1 for batch in large)
    assert all(isinstance(event[3], LookupError) for event in failures)
    assert len(together) > 1


# What is told -------------------------------------------------------------------------------------------------------


def test_the_log_tells_of_failures_and_never_what_was_in_the_entries(
    client: redis.Redis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="streamkit")
    for value in ({"n": 1, "card": SECRET}, {"n": 2, "card": SECRET}, {"n": 3, "card": SECRET.encode() + b"\xff"}):
        raw(client).xadd(name, value)

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "1":
            raise ValueError(f"cannot charge {delivery.value['card']}")
        raise Reject(f"no such card {delivery.value['card']}")

    def three() -> bool:
        return len(letters_in(client, name)) == 3

    with consuming(GroupConsumer(client, name, GROUP, "a", retry=QUICK), Seen(handle)):
        until(three)
        until(settled(client, name))
    assert SECRET not in caplog.text
    assert caplog.text.count("failed (ValueError); next one in 0.02 s") == 2
    for cause in ("exhausted: ValueError", "rejected", "undecodable: UnicodeDecodeError"):
        assert f"of {name} is dead-lettered by group g ({cause}); it stands in {{{name}}}:dead-letters" in caplog.text


def test_the_cap_of_the_dead_letters_tells_what_it_drops(client: redis.Redis, name: str) -> None:
    Stream(client, name).append_many({"n": n} for n in range(500))
    recorder = Recorder()

    def handle(_: Delivery[Fields]) -> None:
        raise Reject("no")

    consumer = GroupConsumer(client, name, GROUP, "a", dead_letters_maxlen=50, observer=recorder)
    with consuming(consumer, handle):
        until(told(recorder, "on_buried", 500))
    left = client.xlen(f"{{{name}}}:dead-letters")
    assert 50 <= left < 200  # whole nodes of the stream are dropped
    assert {key for key, _ in recorder.of("on_letters_dropped")} == {f"{{{name}}}:dead-letters"}
    assert sum(count for _, count in recorder.of("on_letters_dropped")) == 500 - left


def test_an_observer_that_raises_ends_the_loop(client: redis.Redis, name: str) -> None:
    write(client, name, 1)

    class Strict(Observer):
        @override
        def on_retry(self, entry: EntryOfGroup, attempt: int, delay: float, error: BaseException) -> None:
            raise RuntimeError("no failures, please")

    def handle(_: Delivery[Fields]) -> None:
        raise ValueError

    consumer = GroupConsumer(client, name, GROUP, "a", observer=Strict())
    with limited(consumer), pytest.raises(RuntimeError, match="no failures, please"):
        consumer.run(Seen(handle))
    assert [entry_id for entry_id, _, _ in pending_in(client, name)]
