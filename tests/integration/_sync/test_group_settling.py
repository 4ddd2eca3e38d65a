# Generated from tests/integration/asyncio/test_group_settling.py by tools/generate_sync.py: do not edit.
"""Settling entries that others took meanwhile, and deleting those that everybody is done with."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from streamkit import (
    Delivery,
    EntryId,
    GroupConsumer,
    LeaseLost,
)
from tests.integration._sync._groups import (
    GROUP,
    LEASE,
    Fields,
    Seen,
    consuming,
    handle_all,
    letters_in,
    pending_in,
)
from tests.integration._sync._readers import numbers_in, told, write
from tests.integration._sync._runtime import until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def test_of_an_entry_that_a_peer_took_meanwhile_nothing_is_applied(client: redis.Redis, name: str) -> None:
    stolen, kept = write(client, name, 1, 2)

    def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{name}:out", delivery.value)
        if delivery.id == stolen:
            client.xclaim(name, GROUP, "thief", 0, [str(stolen)])

    recorder, seen = Recorder(), Seen(handle)
    consumer = GroupConsumer(client, name, GROUP, "a", observer=recorder)
    with consuming(consumer, seen):
        until(told(recorder, "on_lease_lost"))
        until(lambda: len(seen.handled) == 2)

        def done() -> bool:
            return numbers_in(client, f"{name}:out") == [2]

        until(done)
    assert pending_in(client, name) == [(stolen, "thief", 2)]
    assert seen.tries == [(1, 1), (2, 1)]
    (error,) = recorder.of("on_lease_lost")
    assert isinstance(error, LeaseLost)
    assert (error.stream, error.entry_id, error.group, error.owner) == (name, str(stolen), GROUP, "thief")
    assert kept > stolen


def test_of_one_that_was_acked_elsewhere_nothing_is_applied_either(client: redis.Redis, name: str) -> None:
    (entry_id,) = write(client, name, 1)

    def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{name}:out", delivery.value)
        client.xack(name, GROUP, str(entry_id))

    recorder = Recorder()
    with consuming(GroupConsumer(client, name, GROUP, "a", observer=recorder), handle):
        until(told(recorder, "on_lease_lost"))
    assert client.exists(f"{name}:out") == 0
    (error,) = recorder.of("on_lease_lost")
    assert (error.entry_id, error.owner) == (str(entry_id), "")


def test_what_is_lost_before_its_turn_is_not_handled(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(300))
    recorder, stolen = Recorder(), set[str]()

    def handle(delivery: Delivery[Fields]) -> None:
        leases: Any = inside._consuming.leases
        behind = [each for each in leases.held_of(name) if EntryId.parse(each) > delivery.id]
        if int(delivery.value["n"]) >= 100 and behind and not stolen:
            stolen.update(behind)
            client.xclaim(name, GROUP, "thief", 0, list(stolen))
            until(lambda: len(leases.losses) == len(stolen))

    seen = Seen(handle)
    consumer = GroupConsumer(client, name, GROUP, "a", min_idle_time=4 * LEASE, observer=recorder)
    inside: Any = consumer
    with consuming(consumer, seen):
        until(lambda: bool(stolen) and len(seen.handled) == 300 - len(stolen))
    assert {error.entry_id for error in recorder.of("on_lease_lost")} == stolen
    assert seen.handled == [n for n, entry_id in enumerate(ids) if str(entry_id) not in stolen]


# Streams used as queues ---------------------------------------------------------------------------------------------


def test_what_is_acked_is_deleted(client: redis.Redis, name: str) -> None:
    write(client, name, *range(200))

    def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number % 2:
            delivery.emit(f"{name}:out", delivery.value)
        if number == 100:
            raise ValueError

    handle_all(client, name, handle, delete_on_ack=True)
    assert client.xlen(name) == 0
    assert numbers_in(client, f"{name}:out") == list(range(1, 200, 2))
    assert [letter.fields for letter in letters_in(client, name)] == [{b"n": b"100"}]


def test_but_not_before_every_group_is_done_with_it(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    one, two = (GroupConsumer(client, name, group, delete_on_ack=True) for group in ("one", "two"))
    with one, two:
        mine, theirs = one.read(), two.read(count=2)
        assert (len(mine), len(theirs)) == (3, 2)
        one.ack(*mine)
        assert numbers_in(client, name) == [1, 2, 3]
        two.ack(theirs[1])
        assert numbers_in(client, name) == [1, 3]
        two.reject(theirs[0], "no")
        assert numbers_in(client, name) == [3]
        two.ack(*two.read())
    assert numbers_in(client, name) == []
    assert [letter.fields for letter in letters_in(client, name)] == [{b"n": b"1"}]
