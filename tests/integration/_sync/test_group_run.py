# Generated from tests/integration/asyncio/test_group_run.py by tools/generate_sync.py: do not edit.
"""Consumers of a group at work: each entry handled once, in order, acked, whatever the value, client or source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

from streamkit import (
    NEW,
    CappedStream,
    DataclassCodec,
    Delivery,
    EntryId,
    GroupConsumer,
    JsonCodec,
    RawCodec,
    Reject,
    Retry,
    Stream,
)
from streamkit.testing import redis_server
from tests.integration._sync._groups import (
    GROUP,
    QUICK,
    Batches,
    Fields,
    Seen,
    consumers_in,
    consuming,
    groups_in,
    letters_in,
    numbers_of,
    pending_in,
    settled,
)
from tests.integration._sync._readers import limited, numbers_in, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration._sync.test_clients import CLIENTS
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def many(client: redis.Redis, name: str, count: int, first: int = 0) -> None:
    """Append many entries with a number each."""
    assert Stream(client, name).append_many({"n": n} for n in range(first, first + count)) == count


def nothing_is_left(client: redis.Redis, name: str, group: str = GROUP) -> None:
    """Everything was acked, and the consumers have left."""
    assert pending_in(client, name, group) == []
    assert consumers_in(client, name, group) == set()
    assert GroupConsumer(client, name, group).lag() == 0


def test_every_entry_is_handled_once_in_order_and_acked(client: redis.Redis, name: str) -> None:
    many(client, name, 1500)
    seen = Seen()
    with consuming(GroupConsumer(client, name, GROUP), seen):
        until(lambda: len(seen.handled) == 1500)
        many(client, name, 10, first=1500)
        until(lambda: len(seen.handled) == 1510)
    assert seen.tries == [(n, 1) for n in range(1510)]
    nothing_is_left(client, name)


def test_batches_come_as_they_were_read_and_are_acked_together(client: redis.Redis, name: str) -> None:
    many(client, name, 1500)
    consumer, batches = GroupConsumer(client, name, GROUP, count=70), Batches()
    with running(consumer.run_batches, batches, stop=consumer.stop):
        until(lambda: len(batches.tries) == 1500)
    assert batches.tries == [(n, 1) for n in range(1500)]
    assert {len(batch) for batch in batches.batches} >= {1, 70}
    assert max(len(batch) for batch in batches.batches) == 70
    nothing_is_left(client, name)


def test_a_delivery_says_what_it_is(client: redis.Redis, name: str) -> None:
    (entry_id,) = write(client, name, 1)
    consumer, found = GroupConsumer(client, name, GROUP), list[Delivery[Fields]]()

    def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{name}:out", {"n": 1})
        delivery.execute("INCR", f"{name}:n")
        assert delivery.effects == (f"XADD {name}:out", f"INCR {name}:n")
        found.append(delivery)

    with consuming(consumer, handle):
        until(lambda: len(found) == 1)
    (delivery,) = found
    assert (delivery.stream, delivery.id, delivery.time) == (name, entry_id, entry_id.time)
    assert (delivery.value, delivery.attempt) == ({"n": "1"}, 1)
    assert (delivery.group, delivery.consumer) == (GROUP, consumer.name)
    assert (consumer.group, GroupConsumer(client, name, GROUP, "me").name) == (GROUP, "me")
    assert consumer.name != GroupConsumer(client, name, GROUP).name
    assert delivery.effects == ()
    assert repr(delivery) == f"Delivery(stream={name!r}, id='{entry_id}', value={{'n': '1'}})"


# Values -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """A value."""

    order_id: str
    amount: float


ORDER = Order("ä-1", 2.5)


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (None, {"order_id": "ä-1", "amount": "2.5"}),
        (RawCodec(), {b"\xff": b"\x00", b"n": b""}),
        (JsonCodec(), {"a": [1, None, "ä"]}),
        (JsonCodec(loads=lambda data: Order(**json.loads(data)), dumps=lambda order: json.dumps(vars(order))), ORDER),
        (DataclassCodec(Order), ORDER),
    ],
    ids=["text", "raw", "json", "json-model", "dataclass"],
)
def test_values_come_as_the_codec_reads_them(client: redis.Redis, name: str, codec: Any, value: Any) -> None:
    source: Any = Stream(client, name, codec=codec) if codec else Stream(client, name)
    found = list[Any]()
    for _ in range(3):
        source.append(value)

    def handle(delivery: Delivery[Any]) -> None:
        if delivery.attempt == 1 and not found:
            raise Retry(delay=timedelta(0))
        found.append(delivery.value)

    with consuming(GroupConsumer(client, source, GROUP), handle):
        until(lambda: len(found) == 3)
    assert found == [value] * 3
    nothing_is_left(client, name)


@pytest.mark.steady
@pytest.mark.parametrize("make", sorted(CLIENTS.keys() - {"from_url", "host", "checked", "resp3"}))
def test_any_client_will_do(redis_url: str, client: redis.Redis, name: str, make: str) -> None:
    write(client, name, *range(60))
    seen, failed = Seen(), set[int]()

    def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        delivery.emit(f"{name}:out", delivery.value)
        if number == 30 and delivery.attempt == 1:
            raise Retry
        if number == 40:
            failed.add(number)
            raise Reject("for no reason")
        seen(delivery)

    with CLIENTS[make](redis_url) as special:
        consumer = GroupConsumer(special, name, GROUP, "a", retry=QUICK)
        with consuming(consumer, handle):
            until(lambda: len(seen.handled) == 59)
        write(client, name, 60, 61)
        assert consumer.lag() == 2
        with consumer:
            (delivery, _) = consumer.read(count=5, wait=timedelta(seconds=5))
            assert [entry.id for entry in consumer.pending()] == [delivery.id, _.id]
            delivery.extend()
            consumer.ack(delivery)
            assert GroupConsumer(special, name, GROUP, "b").take_over("a") == 1
            assert GroupConsumer(special, name, GROUP, "b").leave()
    assert seen.handled == [n for n in range(60) if n not in {30, 40}] + [30]
    assert sorted(numbers_in(client, f"{name}:out")) == sorted(seen.handled)
    assert [letter.pairs for letter in letters_in(client, name)] == [(b"n", b"40")]
    assert [(consumer, count) for _, consumer, count in pending_in(client, name)] == [("streamkit:released", 1)]


# Groups and consumers -----------------------------------------------------------------------------------------------


def test_two_idle_consumers_share_twenty_entries(client: redis.Redis, name: str) -> None:
    def work(_: Delivery[Fields]) -> None:
        pause(0.04)

    one, two = Seen(work), Seen(work)
    first, second = (GroupConsumer(client, name, GROUP, each, count=100) for each in ("one", "two"))
    with consuming(first, one), consuming(second, two):
        # Once as they have just begun; then as they know how long their work takes.
        for first_number in (0, 20):
            before = len(one.handled), len(two.handled)
            many(client, name, 20, first=first_number)
            until(lambda: len(one.handled) + len(two.handled) == sum(before) + 20)  # noqa: B023 - asked at once
            assert len(one.handled) - before[0] >= 3
            assert len(two.handled) - before[1] >= 3
    assert sorted(one.tries + two.tries) == [(n, 1) for n in range(40)]
    nothing_is_left(client, name)


def test_each_group_sees_everything(client: redis.Redis, name: str) -> None:
    many(client, name, 100)
    one, two = Seen(), Seen()
    with consuming(GroupConsumer(client, name, "one"), one), consuming(GroupConsumer(client, name, "two"), two):
        until(lambda: len(one.handled) == len(two.handled) == 100)
    assert one.handled == two.handled == list(range(100))
    for group in ("one", "two"):
        nothing_is_left(client, name, group)


def test_several_sources_are_read_together(client: redis.Redis, name: str) -> None:
    keys = [f"{name}:{which}" for which in "abc"]
    sources = [Stream(client, keys[0]), CappedStream(client, keys[1], maxlen=1000), Stream(client, keys[2])]
    found = list[tuple[str, int]]()

    def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number == 7:
            raise Reject("seven")
        found.append((delivery.stream, number))

    for key in keys:
        many(client, key, 50)
    consumer = GroupConsumer(client, sources, GROUP, "a")
    with consuming(consumer, handle):

        def nothing_pending() -> bool:
            return [each.stream for each in consumer.pending()] == []

        until(lambda: len(found) == 147)
        until(nothing_pending)
        for key in keys:  # what comes to any of them is read soon, though only so many are waited for
            many(client, key, 1, first=50)
        until(lambda: len(found) == 150)
    for key in keys:
        assert [n for stream, n in found if stream == key] == [n for n in range(51) if n != 7]
        assert [letter.stream for letter in letters_in(client, key)] == [key]
        nothing_is_left(client, key)


def test_keys_alone_will_do_and_may_share_their_dead_letters(client: redis.Redis, name: str) -> None:
    keys = [f"{name}:a", f"{name}:b"]
    letters = f"{name}:dead-letters"
    consumer = GroupConsumer(client, keys, GROUP, "a", dead_letters=letters)

    def handle(delivery: Delivery[Fields]) -> None:
        raise Reject(f"nobody wants {delivery.value['n']}")

    for key in keys:
        many(client, key, 2)

    def four() -> bool:
        return len(letters_in(client, letters)) == 4

    with consuming(consumer, handle):
        until(four)
    found = sorted((letter.stream, letter.reason) for letter in letters_in(client, letters))
    assert found == [(key, f"nobody wants {n}") for key in keys for n in range(2)]


def test_a_stream_that_does_not_exist_yet_is_waited_for(client: redis.Redis, name: str) -> None:
    seen = Seen()
    with consuming(GroupConsumer(client, name, GROUP, "a"), seen):

        def joined() -> bool:
            return GROUP in groups_in(client, name)

        until(joined)
        write(client, name, 1, 2)
        until(lambda: seen.handled == [1, 2])
    nothing_is_left(client, name)


# Where a new group begins -------------------------------------------------------------------------------------------


def first_of(client: redis.Redis, name: str, group: str, start: Any, last: int) -> list[int]:
    """What a group with this start is given, up to a number."""
    consumer = GroupConsumer(client, name, group, start=start)

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == str(last):
            consumer.stop()

    seen = Seen(handle)
    with limited(consumer):
        consumer.run(seen)
    return seen.handled


def test_a_new_group_begins_where_start_says_and_an_old_one_where_it_was(client: redis.Redis, name: str) -> None:
    at = datetime(2025, 1, 1, tzinfo=timezone.utc)
    stream = Stream(client, name)
    for n in range(5):
        stream.append({"n": n}, at=at + n * timedelta(seconds=1))
    second = timedelta(seconds=1)
    assert first_of(client, name, "oldest", None, 4) == [0, 1, 2, 3, 4]
    assert first_of(client, name, "time", at + 2 * second, 4) == [2, 3, 4]
    assert first_of(client, name, "id", EntryId.at(at + 3 * second), 4) == [3, 4]
    assert first_of(client, name, "text", str(EntryId.at(at + 4 * second)), 4) == [4]
    consumer, seen = GroupConsumer(client, name, "new", start=NEW), Seen()
    with consuming(consumer, seen):

        def joined() -> bool:
            return "new" in groups_in(client, name)

        until(joined)
        stream.append({"n": 5})
        until(lambda: seen.handled == [5])
    stream.append({"n": 6})
    # Who was there before goes on where it was, whatever start says: nothing is skipped, nothing comes twice.
    assert first_of(client, name, "new", NEW, 6) == [6]
    assert first_of(client, name, "time", None, 6) == [5, 6]


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("way", ["run", "run_batches"])
def test_what_a_handler_returns_is_nobodys_business(client: redis.Redis, name: str, way: str, concurrency: int) -> None:
    handled = list[tuple[int, int]]()

    def count(*given: Any) -> Any:
        deliveries: Any = given[0] if way == "run_batches" else given
        handled.extend(numbers_of(deliveries))
        return len(handled)

    consumer = GroupConsumer(client, name, GROUP, "a", retry=QUICK)

    def run() -> None:
        getattr(consumer, way)(count, concurrency=concurrency)

    write(client, name, 1, 2, 3)
    with running(run, stop=consumer.stop):
        until(settled(client, name))
    assert sorted(handled) == [(1, 1), (2, 1), (3, 1)]


def test_a_server_that_evicts_keys_is_told_of_at_the_start() -> None:
    recorder, seen = Recorder(), Seen()
    with redis_server(settings={"maxmemory-policy": "allkeys-lru"}) as url:
        with redis.Redis.from_url(url) as client:
            write(client, "s", 1)
            with consuming(GroupConsumer(client, "s", GROUP, "a", observer=recorder), seen):
                until(lambda: seen.handled == [1])
    assert recorder.of("on_eviction_policy") == ["allkeys-lru"]
