"""Several handlers at once: how many, in which order, what runs alone, and how they end."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import Delivery, EntryId, GroupConsumer, Observer
from tests.integration.asyncio._groups import (
    GROUP,
    QUICK,
    Batches,
    Fields,
    Seen,
    consumers_in,
    letters_in,
    pending_in,
    settled,
    strand,
)
from tests.integration.asyncio._readers import raw, told, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LEASE = timedelta(seconds=0.5)
LONG = timedelta(seconds=60)
RELEASED = "streamkit:released"


def consumer_of(
    client: redis.asyncio.Redis, name: str, consumer: str | None = None, *, lease: timedelta = LONG, **options: Any
) -> GroupConsumer[Fields]:
    """A consumer that is silent unless it has an observer."""
    terms: dict[str, Any] = {"retry": QUICK, "observer": Observer(), **options}
    return GroupConsumer(client, name, GROUP, consumer, min_idle_time=lease, **terms)


def together(
    consumer: GroupConsumer[Fields], handler: Any, concurrency: int, key: Any = None
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Running a consumer with several handlers."""

    async def run() -> None:
        await consumer.run(handler, concurrency=concurrency, key=key)

    return run


def field_k(delivery: Delivery[Fields]) -> str:
    """The key of an entry."""
    return delivery.value["k"]


async def write_keyed(client: redis.asyncio.Redis, name: str, *entries: tuple[int, str]) -> None:
    """Append entries with a number and a key each."""
    for n, k in entries:
        await raw(client).xadd(name, {"n": n, "k": k})


class Inside(Seen):
    """A handler that keeps which numbers are being handled at once; some wait for `open`."""

    def __init__(self, *held: int, everything: bool = False) -> None:
        super().__init__(self._wait)
        self.inside: set[int] = set()
        self.most = 0
        self.open = False
        self._held = frozenset(held)
        self._everything = everything

    async def _wait(self, delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        self.inside.add(number)
        self.most = max(self.most, len(self.inside))
        try:
            if self._everything or number in self._held:
                await until(lambda: self.open, "the door")
        finally:
            self.inside.discard(number)


# Side by side -------------------------------------------------------------------------------------------------------


async def test_as_many_handlers_run_at_once_as_asked_for_and_never_more(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(60))
    seen = Inside(everything=True)
    consumer = consumer_of(client, name)
    async with running(together(consumer, seen, 8), stop=consumer.stop):
        await until(lambda: len(seen.inside) == 8)
        await pause(0.2)
        assert len(seen.numbers) == 8
        seen.open = True
        await until(settled(client, name))
    assert seen.most == 8
    assert sorted(seen.tries) == [(n, 1) for n in range(60)]


@pytest.mark.steady
async def test_a_slow_handler_does_not_stop_the_others_or_new_entries(client: redis.asyncio.Redis, name: str) -> None:
    seen = Inside(0)
    consumer = consumer_of(client, name)
    await write(client, name, *range(10))
    async with running(together(consumer, seen, 3), stop=consumer.stop):
        await until(lambda: len(seen.handled) == 9)
        for n in range(10, 14):
            await pause(0.1)
            began = time.monotonic()
            await write(client, name, n)
            await until(lambda: n in seen.handled)  # noqa: B023 - asked before n changes
            assert time.monotonic() - began < 0.5
        assert seen.inside == {0}
        seen.open = True
        await until(settled(client, name))
    assert sorted(seen.tries) == [(n, 1) for n in range(14)]


async def test_what_others_handled_is_acked_while_one_is_slow(client: redis.asyncio.Redis, name: str) -> None:
    seen = Inside(0)
    consumer = consumer_of(client, name)
    await write(client, name, *range(30))
    async with running(together(consumer, seen, 3), stop=consumer.stop):

        async def one_is_left() -> bool:
            return len(seen.handled) == 29 and len(await pending_in(client, name)) == 1

        await until(one_is_left)
        seen.open = True
        await until(settled(client, name))


async def test_a_retry_is_begun_while_others_are_slow(client: redis.asyncio.Redis, name: str) -> None:
    failed: list[int] = []
    slow = Inside(0)

    async def handle(delivery: Delivery[Fields]) -> None:
        await slow(delivery)
        if delivery.value["n"] == "1" and delivery.attempt == 1:
            failed.append(1)
            raise ValueError

    consumer = consumer_of(client, name)
    await write(client, name, 0, 1, 2)
    async with running(together(consumer, handle, 2), stop=consumer.stop):
        await until(lambda: (1, 2) in slow.tries)
        assert slow.inside == {0}
        slow.open = True
        await until(settled(client, name))
    assert failed == [1]


async def test_alone_the_handler_runs_in_the_thread_that_called_run(client: redis.asyncio.Redis, name: str) -> None:
    threads: list[int] = []
    consumer = consumer_of(client, name)

    async def handle(_: Delivery[Fields]) -> None:
        threads.append(threading.get_ident())

    async def run() -> int:
        await consumer.run(handle)
        return threading.get_ident()

    await write(client, name, 1, 2)
    async with running(run, stop=consumer.stop) as outcome:
        await until(lambda: len(threads) == 2)
        consumer.stop()
        assert threads == [await outcome.result()] * 2


async def test_batches_are_handled_side_by_side_and_what_failed_comes_again_alone(
    client: redis.asyncio.Redis, name: str
) -> None:
    batches, inside, most, opened = Batches(), list[int](), list[int](), list[bool]()

    async def handle(deliveries: Any) -> None:
        await batches(deliveries)
        inside.append(1)
        most.append(len(inside))
        if len(batches.batches) <= 3:
            await until(lambda: bool(opened))
        for delivery in deliveries:
            if delivery.value["n"] == "7" and delivery.attempt == 1:
                delivery.fail(ValueError("7"))
        inside.pop()
        if any(delivery.value["n"] == "11" and delivery.attempt == 1 for delivery in deliveries):
            raise ValueError

    await write(client, name, *range(100))
    consumer = consumer_of(client, name, count=10)

    async def run() -> None:
        await consumer.run_batches(handle, concurrency=3)

    async with running(run, stop=consumer.stop):
        await until(lambda: len(inside) == 3)
        opened.append(True)
        await until(settled(client, name))
    assert max(most) == 3
    assert {number for number, attempt in batches.tries if attempt == 1} == set(range(100))
    again = [batch for batch in batches.batches if batch[0][1] > 1]
    assert all(len(batch) == 1 for batch in again)
    of_11 = next(batch for batch in batches.batches if (11, 1) in batch)
    assert sorted(batch[0][0] for batch in again) == sorted({7} | {number for number, _ in of_11})


# Keys ---------------------------------------------------------------------------------------------------------------


async def test_entries_of_one_key_are_handled_in_order_and_others_beside_them(
    client: redis.asyncio.Redis, name: str
) -> None:
    orders: defaultdict[str, list[int]] = defaultdict(list)
    inside, opened = list[str](), list[bool]()

    async def handle(delivery: Delivery[Fields]) -> None:
        k = delivery.value["k"]
        assert k not in inside
        inside.append(k)
        orders[k].append(int(delivery.value["n"]))
        if k == "0":
            await until(lambda: bool(opened))
        inside.remove(k)

    await write_keyed(client, name, *[(n, str(n % 5)) for n in range(100)])
    consumer = consumer_of(client, name)
    async with running(together(consumer, handle, 4, field_k), stop=consumer.stop):
        await until(lambda: all(len(orders[k]) == 20 for k in "1234"))
        assert inside == ["0"]
        opened.append(True)
        await until(settled(client, name))
    assert orders == {str(k): list(range(k, 100, 5)) for k in range(5)}
    assert await letters_in(client, name) == []


async def test_a_failure_loses_nothing_of_its_key_and_two_never_run_at_once(
    client: redis.asyncio.Redis, name: str
) -> None:
    inside = list[str]()

    async def handle(delivery: Delivery[Fields]) -> None:
        k = delivery.value["k"]
        assert k not in inside
        inside.append(k)
        await pause(0.001)
        inside.remove(k)
        if int(delivery.value["n"]) % 7 == 0 and delivery.attempt < 3:
            raise ValueError

    await write_keyed(client, name, *[(n, str(n % 3)) for n in range(90)])
    seen = Seen(handle)
    consumer = consumer_of(client, name)
    async with running(together(consumer, seen, 8, field_k), stop=consumer.stop):
        await until(settled(client, name))
    assert sorted(seen.handled) == list(range(90))
    assert {n for n, attempt in seen.tries if attempt == 3} == set(range(0, 90, 7))


async def test_a_slow_key_does_not_draw_in_the_whole_stream(client: redis.asyncio.Redis, name: str) -> None:
    await write_keyed(client, name, *[(n, "cold" if n == 15 else "hot") for n in range(600)])
    seen = Inside(0)
    consumer = consumer_of(client, name, count=20)
    async with running(together(consumer, seen, 4, field_k), stop=consumer.stop):
        await until(lambda: seen.handled == [15])
        await pause(0.5)
        assert len(await pending_in(client, name)) <= 2 * 20 + 4
        seen.open = True
        await until(settled(client, name))
    assert seen.numbers == [0, 15, *range(1, 15), *range(16, 600)]


@pytest.mark.steady
async def test_an_entry_lost_to_another_consumer_does_not_block_its_key(client: redis.asyncio.Redis, name: str) -> None:
    await write_keyed(client, name, (0, "a"), (1, "a"), (2, "a"))
    seen, recorder = Inside(0), Recorder()
    consumer = consumer_of(client, name, lease=LEASE, observer=recorder)
    async with running(together(consumer, seen, 3, field_k), stop=consumer.stop):

        async def all_are_held() -> bool:
            return seen.inside == {0} and len(await pending_in(client, name)) == 3

        await until(all_are_held)
        second = (await pending_in(client, name))[1][0]
        await raw(client).xclaim(name, GROUP, "thief", 0, [str(second)], justid=True)
        await until(told(recorder, "on_lease_lost"))
        seen.open = True
        await until(lambda: 2 in seen.handled)
        # The thief does nothing with it.
        await until(settled(client, name))
    assert seen.tries == [(0, 1), (2, 1), (1, 2)]


async def test_a_key_that_cannot_be_had_is_the_failure_of_its_entry_alone(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    await write_keyed(client, name, (2, "a"), (3, "a"))
    seen = Seen()
    consumer = consumer_of(client, name)
    async with running(together(consumer, seen, 2, field_k), stop=consumer.stop):
        await until(settled(client, name))
    assert seen.handled == [2, 3]
    (letter,) = await letters_in(client, name)
    assert (letter.cause.value, letter.error_type, letter.attempt) == ("exhausted", "KeyError", 3)


# Alone --------------------------------------------------------------------------------------------------------------


async def test_what_was_delivered_twice_runs_alone_and_is_settled_before_the_next(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(30))
    ids = await strand(client, name, "dead", 2)
    await abandon(client, name, *map(EntryId.parse, ids))
    inside, beside, unsettled = set[int](), list[set[int]](), list[str]()
    over: list[str] = []

    async def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        inside.add(number)
        if over:
            unsettled.extend(str(each) for each, _, _ in await pending_in(client, name) if str(each) in over)
        for _ in range(2):
            if inside & {0, 1}:
                beside.append(set(inside))
            await pause(0.03)
        if number < 2:
            over.append(str(delivery.id))
        inside.discard(number)

    seen = Seen(handle)
    consumer = consumer_of(client, name, lease=LEASE)
    async with running(together(consumer, seen, 4), stop=consumer.stop):
        await until(settled(client, name))
    assert sorted(seen.numbers) == list(range(30))
    assert {(n, attempt) for n, attempt in seen.tries if n < 2} == {(0, 3), (1, 3)}
    assert {0} in beside
    assert {1} in beside
    assert all(len(each) == 1 for each in beside)
    assert unsettled == []


async def abandon(client: redis.asyncio.Redis, name: str, *ids: EntryId) -> None:
    """Have entries pending, even if they were settled, as if two dead consumers had held them."""
    words = [str(each) for each in ids]
    await raw(client).xclaim(name, GROUP, "dead", 0, words, retrycount=2, idle=100_000, force=True, justid=True)


async def test_what_runs_alone_gets_its_turn_while_entries_keep_coming(client: redis.asyncio.Redis, name: str) -> None:
    ended = list[bool]()

    async def produce() -> None:
        n = 3
        while not ended:
            await write(client, name, *range(n, n + 20))
            n += 20
            await pause(0.02)

    async def handle(_: Delivery[Fields]) -> None:
        await pause(0.02)

    seen = Seen(handle)
    consumer = consumer_of(client, name, lease=LEASE)
    suspects = await write(client, name, 0, 1, 2)
    async with running(together(consumer, seen, 4), stop=consumer.stop):
        await until(settled(client, name))
        async with running(produce, stop=lambda: ended.append(True)):
            await until(lambda: len(seen.handled) > 40)
            await abandon(client, name, *suspects)
            await until(lambda: {(0, 3), (1, 3), (2, 3)} <= set(seen.tries))
        # What was written meanwhile is more than could be handled.
        assert len(seen.handled) < (await raw(client).xinfo_stream(name))["length"]


@pytest.mark.steady
async def test_what_waits_to_run_alone_does_not_stop_the_others_for_long(
    client: redis.asyncio.Redis, name: str
) -> None:
    seen, recorder = Inside(1), Recorder()
    consumer = consumer_of(client, name, lease=LEASE, observer=recorder)
    (suspect,) = await write(client, name, 0)
    async with running(together(consumer, seen, 3), stop=consumer.stop):
        await until(settled(client, name))
        await write(client, name, 1)
        await until(lambda: seen.inside == {1})
        await abandon(client, name, suspect)
        await until(told(recorder, "on_claimed"))
        began = time.monotonic()
        await write(client, name, *range(2, 30))
        await until(lambda: len(seen.handled) == 29)
        assert time.monotonic() - began < 3
        assert seen.inside == {1}
        seen.open = True
        await until(settled(client, name))
    assert seen.tries[-1] == (0, 3)


# Ending -------------------------------------------------------------------------------------------------------------


async def test_a_stop_waits_for_running_handlers_and_gives_back_the_rest_at_once(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(40))
    seen = Inside(everything=True)
    consumer = consumer_of(client, name, "one")
    async with running(together(consumer, seen, 4), stop=consumer.stop) as run:

        async def some_wait() -> bool:
            return len(seen.inside) == 4 and len(await pending_in(client, name)) > 4

        await until(some_wait)
        consumer.stop()

        async def only_the_running_are_held() -> bool:
            return len([1 for _, owner, _ in await pending_in(client, name) if owner == "one"]) == 4

        await until(only_the_running_are_held)
        assert not run.done
        assert {(owner, deliveries) for _, owner, deliveries in await pending_in(client, name)} == {
            ("one", 1),
            (RELEASED, 0),
        }
        peers = Seen()
        peer = consumer_of(client, name, lease=timedelta(seconds=5))
        async with running(together(peer, peers, 2), stop=peer.stop):
            await until(lambda: len(peers.handled) == 36)
            seen.open = True
            await run.result()
            await until(settled(client, name))
    assert sorted(seen.tries + peers.tries) == [(n, 1) for n in range(40)]
    assert len(seen.handled) == 4
    assert "one" not in await consumers_in(client, name)


@pytest.mark.steady
async def test_a_stop_with_a_limit_does_not_wait_for_a_handler_that_takes_longer(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(10))
    seen, peers = Inside(0), Seen()
    consumer = consumer_of(client, name, lease=LEASE)
    async with running(together(consumer, seen, 2)) as run:
        await until(lambda: len(seen.handled) == 9)
        began = time.monotonic()
        consumer.stop(within=timedelta(seconds=0.3))
        await run.result()
        assert 0.25 <= time.monotonic() - began < 2
        peer = consumer_of(client, name, lease=LEASE)
        async with running(together(peer, peers, 2), stop=peer.stop):
            await until(settled(client, name))
        seen.open = True
    assert peers.tries == [(0, 2)]


@pytest.mark.steady
async def test_a_stop_with_a_limit_waits_no_longer_than_handlers_take(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(4))
    seen = Inside(everything=True)
    consumer = consumer_of(client, name)
    async with running(together(consumer, seen, 4)) as run:
        await until(lambda: len(seen.inside) == 4)
        began = time.monotonic()
        consumer.stop(within=timedelta(seconds=14))
        seen.open = True
        await run.result()
        assert time.monotonic() - began < 2
    assert await pending_in(client, name) == []
    assert len(seen.handled) == 4


@pytest.mark.steady
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_after_a_handler_that_outlasts_the_stop_its_ack_may_take_its_time(
    redis_url: str, client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    await write(client, name, 0)
    recorder, stopped = Recorder(), list[bool]()

    async def handle(_: Delivery[Fields]) -> None:
        await until(lambda: bool(stopped))
        await pause(0.9)

    seen = Seen(handle)

    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as slow_client:
            consumer = consumer_of(slow_client, name, observer=recorder)
            async with running(together(consumer, seen, concurrency)) as run:
                await until(lambda: seen.numbers == [0])
                proxy.call_before(lambda: time.sleep(0.3), matching=b"XACK")
                consumer.stop()
                stopped.append(True)
                await run.result()
    assert await pending_in(client, name) == []
    assert recorder.of("on_unsettled") == []


class Ended(BaseException):
    """As SystemExit is: not an error of the entry, but the end of the program."""


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("kind", [Ended, SystemExit, KeyboardInterrupt])
async def test_what_ends_the_program_ends_the_loop_and_its_entry_is_given_back(
    client: redis.asyncio.Redis, name: str, kind: type[BaseException], concurrency: int
) -> None:
    await write(client, name, *range(20))

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "4":
            raise kind

    seen, peers = Seen(handle), Seen()
    consumer = consumer_of(client, name, "one")

    async def run() -> BaseException | None:
        try:
            await consumer.run(seen, concurrency=concurrency)
        except BaseException as error:  # noqa: BLE001 - the test asks what it was
            return error
        return None

    async with running(run, stop=consumer.stop) as outcome:
        assert isinstance(await outcome.result(), kind)
    assert {owner for _, owner, _ in await pending_in(client, name)} <= {RELEASED}
    assert "one" not in await consumers_in(client, name)
    assert 4 not in seen.handled
    peer = consumer_of(client, name, lease=timedelta(seconds=5))
    async with running(together(peer, peers, 2), stop=peer.stop):
        await until(settled(client, name))
    assert sorted(seen.handled + peers.handled) == list(range(20))
    assert dict(peers.tries)[4] == 2
    assert {attempt for n, attempt in peers.tries if n != 4} <= {1}


@pytest.mark.steady
async def test_an_interrupted_run_does_not_wait_for_its_handlers(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(20))
    seen, peers = Inside(everything=True), Seen()
    consumer = consumer_of(client, name, lease=LEASE)
    run = together(consumer, seen, 2)

    async def attempt() -> None:
        async with running(run) as outcome:
            await until(lambda: len(seen.inside) == 2)
            began = time.monotonic()
            await outcome.interrupt()
            assert time.monotonic() - began < 2

    await attempt()
    peer = consumer_of(client, name, lease=LEASE)
    async with running(together(peer, peers, 2), stop=peer.stop):
        await until(settled(client, name))
    seen.open = True
    assert sorted(peers.handled) == list(range(20))
    assert {attempt for n, attempt in peers.tries if n in seen.numbers} == {2}


# Sharing ------------------------------------------------------------------------------------------------------------


@pytest.mark.steady
@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_second_consumer_gets_its_share_of_slow_work_promptly(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    async def slowly(_: Delivery[Fields]) -> None:
        await pause(0.05)

    # Enough for both, though the other takes half a second to begin, and what is held then stays with the one.
    total = 80 * concurrency
    await write(client, name, *range(total))
    ones, others = Seen(slowly), Seen(slowly)
    one = consumer_of(client, name, "one", count=100)
    other = consumer_of(client, name, "other", count=100)
    async with running(together(one, ones, concurrency), stop=one.stop):
        await until(lambda: len(ones.handled) >= 12 * concurrency)
        held = len(await pending_in(client, name))
        # As much as is handled in a second, what is in hand, and what was handled and is not acked yet.
        assert held <= 30 * concurrency
        began = time.monotonic()
        async with running(together(other, others, concurrency), stop=other.stop):
            await until(lambda: bool(others.tries))
            assert time.monotonic() - began < 0.5
            await until(settled(client, name))
    assert sorted(ones.handled + others.handled) == list(range(total))
    assert len(others.handled) >= 10 * concurrency
