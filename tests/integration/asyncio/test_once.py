"""A handler that runs once for each entry: guards, leases, marks, and what happens when they cannot be had."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

import streamkit.asyncio.insisting
from streamkit._core.retry import Backoff
from streamkit.asyncio import (
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
from streamkit.testing import redis_server
from tests.integration.asyncio._looking import ids, keys_like, numbers
from tests.integration.asyncio._runtime import client_of_the_other_half, pause, running, until
from tests.integration.proxy import Proxy

Handled = Entry[dict[str, str]]
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that follow one another quickly."""
    monkeypatch.setattr(streamkit.asyncio.insisting, "RECONNECT", Backoff(base=0.01, maximum=0.05))


def entry(n: int = 1, stream: str = "orders") -> Handled:
    return Entry(stream, EntryId(n), {"n": str(n)})


def guard_of(name: str, n: int = 1, stream: str = "orders") -> str:
    return f"{{{name}}}:once:{stream}:{n}-0"


class Charging:
    """A handler that remembers which entries it was started for, and may fail."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.failing = False

    async def handle(self, entry: Handled) -> None:
        self.started.append(f"{entry.stream} {entry.id}")
        if self.failing:
            msg = "no such card"
            raise LookupError(msg)


async def test_a_handler_runs_once_for_each_entry(client: redis.asyncio.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name)(charging.handle)
    for _ in range(3):
        for n in (1, 2):
            await handler(entry(n))
    await handler(entry(1, "gifts"))
    assert charging.started == ["orders 1-0", "orders 2-0", "gifts 1-0"]
    assert await keys_like(client, f"{{{name}}}:once:*") == {
        guard_of(name, 1), guard_of(name, 2), guard_of(name, 1, "gifts"),
    }  # fmt: skip
    assert await client.get(guard_of(name)) == b"done"
    assert DAY_MS - 60_000 < await client.pttl(guard_of(name)) <= DAY_MS


async def test_two_handlers_have_each_their_own_marks(client: redis.asyncio.Redis, name: str) -> None:
    first, second, third = Charging(), Charging(), Charging()
    await once(client, name)(first.handle)(entry())
    await once(client, f"{name}:mail")(second.handle)(entry())
    await once(client, name)(third.handle)(entry())
    assert (len(first.started), len(second.started), len(third.started)) == (1, 1, 0)


async def test_it_is_a_decorator(client: redis.asyncio.Redis, name: str) -> None:
    seen: list[EntryId] = []

    @once(client, name, window=timedelta(minutes=1))
    async def charge(entry: Handled) -> None:
        """Charge a card."""
        seen.append(entry.id)

    await charge(entry())
    await charge(entry())
    assert seen == [EntryId(1)]
    assert (charge.__name__, charge.__doc__) == ("charge", "Charge a card.")
    assert 0 < await client.pttl(guard_of(name)) <= 60_000


async def test_a_handler_that_fails_has_not_run(client: redis.asyncio.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name)(charging.handle)
    charging.failing = True
    for _ in range(2):
        with pytest.raises(LookupError, match="no such card"):
            await handler(entry())
        assert not await client.exists(guard_of(name))
    charging.failing = False
    await handler(entry())
    await handler(entry())
    assert len(charging.started) == 3


async def test_an_entry_that_is_being_handled_is_retried_later(client: redis.asyncio.Redis, name: str) -> None:
    charging = Charging()
    other = once(client, name, lease=timedelta(minutes=5))(charging.handle)
    refused: list[Retry] = []

    @once(client, name, lease=timedelta(minutes=2))
    async def charge(entry: Handled) -> None:
        assert 0 < await client.pttl(guard_of(name)) <= 120_000
        with pytest.raises(
            Retry, match=rf"entry 1-0 of 'orders' is being handled by another run of '{name}'"
        ) as caught:
            await other(entry)
        refused.append(caught.value)

    await charge(entry())
    await other(entry())
    assert charging.started == []
    delay = refused[0].delay
    assert delay is not None
    assert timedelta(minutes=1) < delay <= timedelta(minutes=2)


async def test_a_run_that_was_killed_frees_its_entry_with_its_lease(client: redis.asyncio.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name)(charging.handle)
    await client.set(guard_of(name), "token of the dead", px=150)
    with pytest.raises(Retry):
        await handler(entry())

    async def free() -> bool:
        return not await client.exists(guard_of(name))

    await until(free)
    await handler(entry())
    assert len(charging.started) == 1


@pytest.mark.steady
async def test_after_the_window_an_entry_is_a_new_one(client: redis.asyncio.Redis, name: str) -> None:
    charging = Charging()
    handler = once(client, name, window=timedelta(milliseconds=100))(charging.handle)
    await handler(entry())
    await handler(entry())
    assert len(charging.started) == 1
    await pause(0.15)
    await handler(entry())
    assert len(charging.started) == 2


async def test_a_run_that_outlives_its_lease_is_done_all_the_same(client: redis.asyncio.Redis, name: str) -> None:
    charging = Charging()
    charging.failing = True
    other = once(client, name)(charging.handle)

    @once(client, name)
    async def charge(entry: Handled) -> None:
        await client.delete(guard_of(name))  # as the end of the lease does
        with pytest.raises(LookupError):
            await other(entry)

    await charge(entry())
    assert await client.get(guard_of(name)) == b"done"


async def test_a_claim_of_another_run_is_not_given_back(client: redis.asyncio.Redis, name: str) -> None:
    @once(client, name)
    async def charge(_: Handled) -> None:
        await client.set(guard_of(name), "token of another")
        raise LookupError

    with pytest.raises(LookupError):
        await charge(entry())
    assert await client.get(guard_of(name)) == b"token of another"


async def test_a_run_that_is_interrupted_gives_its_claim_back(client: redis.asyncio.Redis, name: str) -> None:
    begun: list[Handled] = []

    @once(client, name)
    async def charge(entry: Handled) -> None:
        begun.append(entry)
        while True:
            await pause(0.01)

    async def run() -> None:
        await charge(entry())

    async with running(run) as charging:
        await until(lambda: bool(begun))
        await charging.interrupt()
    assert not await client.exists(guard_of(name))


async def test_a_groups_handler_runs_once_for_an_entry_that_is_handed_out_twice(
    client: redis.asyncio.Redis, name: str
) -> None:
    for n in range(3):
        await client.xadd(name, {"n": n})
    charged: list[str] = []

    async def run(group: str, last: int) -> None:
        consumer = GroupConsumer(client, name, group, observer=Observer())

        @once(client, f"{name}:charge")
        async def charge(delivery: Delivery) -> None:
            charged.append(delivery.value["n"])
            if len(charged) == last:
                consumer.stop()

        await consumer.run(charge)

    await run("first", 3)
    await client.xgroup_setid(name, "first", "0")
    await client.xadd(name, {"n": 3})
    await run("first", 4)
    assert charged == ["0", "1", "2", "3"]
    assert (await client.xpending(name, "first"))["pending"] == 0


async def test_the_mark_comes_with_the_ack_if_the_handler_emitted_something(
    client: redis.asyncio.Redis, name: str
) -> None:
    await client.xadd(name, {"n": 0})
    (entry_id,) = await ids(client, name)
    guard = f"{{{name}}}:once:{name}:{entry_id}"

    @once(client, name)
    async def charge(delivery: Delivery) -> None:
        delivery.emit(f"{name}:out", {"n": delivery.value["n"]})

    consumer = GroupConsumer(client, name, "g", observer=Observer())
    async with consumer:
        (delivery,) = await consumer.read()
        await charge(delivery)
        # Killed here, it would be handled again, and would emit.
        assert await client.get(guard) not in {b"done", None}
        assert await numbers(client, f"{name}:out") == []
        with pytest.raises(Retry):
            await charge(delivery)
        await consumer.ack(delivery)
        assert await client.get(guard) == b"done"
        assert DAY_MS - 60_000 < await client.pttl(guard) <= DAY_MS
        assert await numbers(client, f"{name}:out") == [0]


async def test_an_entry_that_its_handler_calls_failed_has_not_run(client: redis.asyncio.Redis, name: str) -> None:
    await client.xadd(name, {"n": 0})

    @once(client, name)
    async def charge(delivery: Delivery) -> None:
        delivery.fail(LookupError("no such card"))

    consumer = GroupConsumer(client, name, "g", observer=Observer())
    async with consumer:
        (delivery,) = await consumer.read()
        await charge(delivery)
        assert await keys_like(client, f"{{{name}}}:once:*") == set()


async def test_an_entry_of_another_server_is_refused_before_it_is_handled(
    client: redis.asyncio.Redis, name: str
) -> None:
    await client.xadd(name, {"n": 0})
    charging = Charging()
    consumer = GroupConsumer(client, name, "g", observer=Observer())
    async with consumer:
        (delivery,) = await consumer.read()
        with pytest.raises(InvalidArgument, match="one atomic step needs one server and database"):
            await once(redis.asyncio.Redis(port=1), name)(charging.handle)(delivery)
    assert charging.started == []


# When something is wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request", "cut_amid_reply"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_lost_reply_neither_doubles_a_run_nor_forgets_it(
    redis_url: str, name: str, fault: str, nth: int
) -> None:
    charging = Charging()
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            handler = once(client, name)(charging.handle)
            await handler(entry(7))
            getattr(proxy, fault)(matching=b"EVALSHA", nth=nth)
            await handler(entry())
            assert proxy.cuts == 1
            assert await client.get(guard_of(name)) == b"done"
            await handler(entry())
    assert charging.started == ["orders 7-0", "orders 1-0"]


async def test_without_the_server_nothing_is_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamkit.asyncio.insisting, "PATIENCE", 0.1)
    charging = Charging()
    with redis_server() as url, Proxy(url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            handler = once(client, name)(charging.handle)
            proxy.down()
            with pytest.raises(ServerUnavailable):
                await handler(entry())
    assert charging.started == []


async def test_a_run_that_cannot_be_marked_is_an_error_and_held_until_its_lease_ends(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit.asyncio.insisting, "PATIENCE", 0.1)
    with redis_server() as url, Proxy(url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:

            @once(client, name)
            async def charge(_: Handled) -> None:
                proxy.down()

            with pytest.raises(ServerUnavailable):
                await charge(entry())
            proxy.up()
            with pytest.raises(Retry):
                await charge(entry())


async def test_the_handlers_own_error_counts_even_if_the_claim_cannot_be_given_back(name: str) -> None:
    with redis_server() as url, Proxy(url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:

            @once(client, name)
            async def charge(_: Handled) -> None:
                proxy.down()
                raise LookupError

            with pytest.raises(LookupError):
                await charge(entry())


async def test_a_key_of_another_type_is_refused(client: redis.asyncio.Redis, name: str) -> None:
    charging = Charging()
    plain: Any = client
    await plain.lpush(guard_of(name), "x")
    with pytest.raises(WrongKeyType, match="holds a list, not a guard of streamkit's own against repeated runs"):
        await once(client, name)(charging.handle)(entry())
    assert charging.started == []


async def test_bad_arguments_are_refused_at_once() -> None:
    unreachable = redis.asyncio.Redis(port=1)
    seconds: Any = 60
    with pytest.raises(InvalidArgument, match="name must be a non-empty str"):
        once(unreachable, "")
    with pytest.raises(InvalidArgument, match="window must be at least a millisecond"):
        once(unreachable, "charge", window=timedelta(0))
    with pytest.raises(InvalidArgument, match="lease must be a timedelta"):
        once(unreachable, "charge", lease=seconds)
    with pytest.raises(InvalidArgument, match="belongs to"):
        once(client_of_the_other_half(), "charge")


async def test_text_clients_will_do(redis_url: str, name: str) -> None:
    charging = Charging()
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True, protocol=3) as client:
        handler = once(client, name)(charging.handle)
        await handler(entry())
        await handler(entry())
    assert len(charging.started) == 1
