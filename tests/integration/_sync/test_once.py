# Generated from tests/integration/asyncio/test_once.py by tools/generate_sync.py: do not edit.
"""A handler that runs once for each entry: guards, leases, marks, and what happens when they cannot be had."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis

import streamkit._sync.insisting
from streamkit import (
    Delivery,
    Entry,
    EntryId,
    GroupConsumer,
    InvalidArgument,
    Observer,
    Retry,
    ServerUnavailable,
    WrongKeyType,
    once,
)
from streamkit._core.retry import Backoff
from streamkit.testing import redis_server
from tests.integration._sync._looking import ids, keys_like, numbers
from tests.integration._sync._runtime import client_of_the_other_half, pause, running, until
from tests.integration.proxy import Proxy

Handled = Entry[dict[str, str]]
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that follow one another quickly."""
    monkeypatch.setattr(streamkit._sync.insisting, "RECONNECT", Backoff(base=0.01, maximum=0.05))


def entry(n: int = 1, stream: str = "orders") -> Handled:
    return Entry(stream, EntryId(n), {"n": str(n)})


def guard_of(name: str, n: int = 1, stream: str = "orders") -> str:
    return f"{{{name}}}:once:{stream}:{n}-0"


class Charging:
    """A handler that remembers which entries it was started for, and may fail."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.failing = False

    def handle(self, entry: Handled) -> None:
        self.started.append(f"{entry.stream} {entry.id}")
        if self.failing:
            msg = "no such card"
            raise LookupError(msg)


def test_a_handler_runs_once_for_each_entry(client: redis.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name)(charging.handle)
    for _ in range(3):
        for n in (1, 2):
            handler(entry(n))
    handler(entry(1, "gifts"))
    assert charging.started == ["orders 1-0", "orders 2-0", "gifts 1-0"]
    assert keys_like(client, f"{{{name}}}:once:*") == {
        guard_of(name, 1), guard_of(name, 2), guard_of(name, 1, "gifts"),
    }  # fmt: skip
    assert client.get(guard_of(name)) == b"done"
    assert DAY_MS - 60_000 < client.pttl(guard_of(name)) <= DAY_MS


def test_two_handlers_have_each_their_own_marks(client: redis.Redis, name: str) -> None:
    first, second, third = Charging(), Charging(), Charging()
    once(client, name)(first.handle)(entry())
    once(client, f"{name}:mail")(second.handle)(entry())
    once(client, name)(third.handle)(entry())
    assert (len(first.started), len(second.started), len(third.started)) == (1, 1, 0)


def test_it_is_a_decorator(client: redis.Redis, name: str) -> None:
    seen: list[EntryId] = []

    @once(client, name, window=timedelta(minutes=1))
    def charge(entry: Handled) -> None:
        """Charge a card."""
        seen.append(entry.id)

    charge(entry())
    charge(entry())
    assert seen == [EntryId(1)]
    assert (charge.__name__, charge.__doc__) == ("charge", "Charge a card.")
    assert 0 < client.pttl(guard_of(name)) <= 60_000


def test_a_handler_that_fails_has_not_run(client: redis.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name)(charging.handle)
    charging.failing = True
    for _ in range(2):
        with pytest.raises(LookupError, match="no such card"):
            handler(entry())
        assert not client.exists(guard_of(name))
    charging.failing = False
    handler(entry())
    handler(entry())
    assert len(charging.started) == 3


def test_an_entry_that_is_being_handled_is_retried_later(client: redis.Redis, name: str) -> None:
    charging = Charging()
    other = once(client, name, lease=timedelta(minutes=5))(charging.handle)
    refused: list[Retry] = []

    @once(client, name, lease=timedelta(minutes=2))
    def charge(entry: Handled) -> None:
        assert 0 < client.pttl(guard_of(name)) <= 120_000
        with pytest.raises(
            Retry, match=rf"entry 1-0 of 'orders' is being handled by another run of '{name}'"
        ) as caught:
            other(entry)
        refused.append(caught.value)

    charge(entry())
    other(entry())
    assert charging.started == []
    delay = refused[0].delay
    assert delay is not None
    assert timedelta(minutes=1) < delay <= timedelta(minutes=2)


def test_a_run_that_was_killed_frees_its_entry_with_its_lease(client: redis.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name)(charging.handle)
    client.set(guard_of(name), "token of the dead", px=150)
    with pytest.raises(Retry):
        handler(entry())

    def free() -> bool:
        return not client.exists(guard_of(name))

    until(free)
    handler(entry())
    assert len(charging.started) == 1


@pytest.mark.steady
def test_after_the_window_an_entry_is_a_new_one(client: redis.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name, window=timedelta(milliseconds=100))(charging.handle)
    handler(entry())
    handler(entry())
    assert len(charging.started) == 1
    pause(0.15)
    handler(entry())
    assert len(charging.started) == 2


def test_a_run_that_outlives_its_lease_is_done_all_the_same(client: redis.Redis, name: str) -> None:
    charging = Charging()
    charging.failing = True
    other = once(client, name)(charging.handle)

    @once(client, name)
    def charge(entry: Handled) -> None:
        client.delete(guard_of(name))  # as the end of the lease does
        with pytest.raises(LookupError):
            other(entry)

    charge(entry())
    assert client.get(guard_of(name)) == b"done"


def test_a_claim_of_another_run_is_not_given_back(client: redis.Redis, name: str) -> None:
    @once(client, name)
    def charge(_: Handled) -> None:
        client.set(guard_of(name), "token of another")
        raise LookupError

    with pytest.raises(LookupError):
        charge(entry())
    assert client.get(guard_of(name)) == b"token of another"


def test_a_run_that_is_interrupted_gives_its_claim_back(client: redis.Redis, name: str) -> None:
    begun: list[Handled] = []

    @once(client, name)
    def charge(entry: Handled) -> None:
        begun.append(entry)
        while True:
            pause(0.01)

    def run() -> None:
        charge(entry())

    with running(run) as charging:
        until(lambda: bool(begun))
        charging.interrupt()
    assert not client.exists(guard_of(name))


def test_a_groups_handler_runs_once_for_an_entry_that_is_handed_out_twice(client: redis.Redis, name: str) -> None:
    for n in range(3):
        client.xadd(name, {"n": n})
    charged: list[str] = []

    def run(group: str, last: int) -> None:
        consumer = GroupConsumer(client, name, group, observer=Observer())

        @once(client, f"{name}:charge")
        def charge(delivery: Delivery) -> None:
            charged.append(delivery.value["n"])
            if len(charged) == last:
                consumer.stop()

        consumer.run(charge)

    run("first", 3)
    client.xgroup_setid(name, "first", "0")
    client.xadd(name, {"n": 3})
    run("first", 4)
    assert charged == ["0", "1", "2", "3"]
    assert (client.xpending(name, "first"))["pending"] == 0


def test_the_mark_comes_with_the_ack_if_the_handler_emitted_something(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": 0})
    (entry_id,) = ids(client, name)
    guard = f"{{{name}}}:once:{name}:{entry_id}"

    @once(client, name)
    def charge(delivery: Delivery) -> None:
        delivery.emit(f"{name}:out", {"n": delivery.value["n"]})

    consumer = GroupConsumer(client, name, "g", observer=Observer())
    with consumer:
        (delivery,) = consumer.read()
        charge(delivery)
        # Killed here, it would be handled again, and would emit.
        assert client.get(guard) not in {b"done", None}
        assert numbers(client, f"{name}:out") == []
        with pytest.raises(Retry):
            charge(delivery)
        consumer.ack(delivery)
        assert client.get(guard) == b"done"
        assert DAY_MS - 60_000 < client.pttl(guard) <= DAY_MS
        assert numbers(client, f"{name}:out") == [0]


def test_an_entry_that_its_handler_calls_failed_has_not_run(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": 0})

    @once(client, name)
    def charge(delivery: Delivery) -> None:
        delivery.fail(LookupError("no such card"))

    consumer = GroupConsumer(client, name, "g", observer=Observer())
    with consumer:
        (delivery,) = consumer.read()
        charge(delivery)
        assert keys_like(client, f"{{{name}}}:once:*") == set()


def test_an_entry_of_another_server_is_refused_before_it_is_handled(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": 0})
    charging = Charging()
    consumer = GroupConsumer(client, name, "g", observer=Observer())
    with consumer:
        (delivery,) = consumer.read()
        with pytest.raises(InvalidArgument, match="one atomic step needs one server and database"):
            once(redis.Redis(port=1), name)(charging.handle)(delivery)
    assert charging.started == []


# When something is wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request", "cut_amid_reply"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_lost_reply_neither_doubles_a_run_nor_forgets_it(redis_url: str, name: str, fault: str, nth: int) -> None:
    charging = Charging()
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            handler = once(client, name)(charging.handle)
            handler(entry(7))
            getattr(proxy, fault)(matching=b"EVALSHA", nth=nth)
            handler(entry())
            assert proxy.cuts == 1
            assert client.get(guard_of(name)) == b"done"
            handler(entry())
    assert charging.started == ["orders 7-0", "orders 1-0"]


def test_without_the_server_nothing_is_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamkit._sync.insisting, "PATIENCE", 0.1)
    charging = Charging()
    with redis_server() as url, Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            handler = once(client, name)(charging.handle)
            proxy.down()
            with pytest.raises(ServerUnavailable):
                handler(entry())
    assert charging.started == []


def test_a_run_that_cannot_be_marked_is_an_error_and_held_until_its_lease_ends(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.insisting, "PATIENCE", 0.1)
    with redis_server() as url, Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:

            @once(client, name)
            def charge(_: Handled) -> None:
                proxy.down()

            with pytest.raises(ServerUnavailable):
                charge(entry())
            proxy.up()
            with pytest.raises(Retry):
                charge(entry())


def test_the_handlers_own_error_counts_even_if_the_claim_cannot_be_given_back(name: str) -> None:
    with redis_server() as url, Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:

            @once(client, name)
            def charge(_: Handled) -> None:
                proxy.down()
                raise LookupError

            with pytest.raises(LookupError):
                charge(entry())


def test_a_key_of_another_type_is_refused(client: redis.Redis, name: str) -> None:
    charging = Charging()
    plain: Any = client
    plain.lpush(guard_of(name), "x")
    with pytest.raises(WrongKeyType, match="holds a list, not a guard of streamkit's own against repeated runs"):
        once(client, name)(charging.handle)(entry())
    assert charging.started == []


def test_bad_arguments_are_refused_at_once() -> None:
    unreachable = redis.Redis(port=1)
    seconds: Any = 60
    with pytest.raises(InvalidArgument, match="name must be a non-empty str"):
        once(unreachable, "")
    with pytest.raises(InvalidArgument, match="window must be at least a millisecond"):
        once(unreachable, "charge", window=timedelta(0))
    with pytest.raises(InvalidArgument, match="lease must be a timedelta"):
        once(unreachable, "charge", lease=seconds)
    with pytest.raises(InvalidArgument, match="belongs to"):
        once(client_of_the_other_half(), "charge")


def test_text_clients_will_do(redis_url: str, name: str) -> None:
    charging = Charging()
    with redis.Redis.from_url(redis_url, decode_responses=True, protocol=3) as client:
        handler = once(client, name)(charging.handle)
        handler(entry())
        handler(entry())
    assert len(charging.started) == 1
