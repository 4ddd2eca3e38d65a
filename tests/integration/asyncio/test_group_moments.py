"""Awkward moments: a group goes, a reply is lost, a lease grows stale, just when something else is being done."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis
import redis.asyncio

from streamkit._core.scripts import BEAT, BEGIN, CLAIM, RELEASE, TAKE_OVER, Script
from streamkit.asyncio import (
    Cause,
    Delivery,
    Entry,
    JsonCodec,
    LeaseLost,
    PartitionedStream,
    Retry,
    RetryPolicy,
    ServerUnavailable,
    Stream,
)
from streamkit.testing import redis_server
from tests.integration.asyncio._failing import calls_of, consumer_of, through
from tests.integration.asyncio._groups import (
    GROUP,
    Fields,
    Seen,
    consumers_in,
    consuming,
    groups_in,
    letters_in,
    milliseconds,
    numbers_of,
    pending_in,
    settled,
    strand,
)
from tests.integration.asyncio._readers import numbers_in, raw, told, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

RELEASED = "streamkit:released"
LEASE = timedelta(seconds=0.4)
STALE = 0.45
"""Seconds after which nothing of that lease may be begun unless it is confirmed."""
FAULTS = ["cut_before_request", "cut_after_request", "cut_amid_reply"]


@asynccontextmanager
async def own_server(**settings: str) -> AsyncIterator[tuple[Any, Any]]:
    """A server that may be made to refuse; a client of it, and one for handlers and proxies."""
    with redis_server(settings=settings) as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client:
            yield client, plain


def beats(proxy: Proxy) -> threading.Event:
    """Set when the heartbeat has learned what there is from now on: with its second beat it has the first's reply."""
    event = threading.Event()
    proxy.call_before(event.set, matching=calls_of(BEAT), nth=2)
    return event


# Outside of any loop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [TAKE_OVER, RELEASE], ids=["take_over", "leave"])
async def test_a_group_that_goes_amid_take_over_or_leave_leaves_nothing_to_do(
    redis_url: str, client: redis.asyncio.Redis, name: str, script: Script
) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(250))
    await strand(client, name, "a", 250)
    with redis.Redis.from_url(redis_url) as plain:
        destroy: Callable[[], Any] = lambda: plain.xgroup_destroy(name, GROUP)  # noqa: E731
        async with through(redis_url) as (proxy, cut):
            proxy.call_before(destroy, matching=calls_of(script), nth=2)
            if script is TAKE_OVER:
                assert await consumer_of(cut, name, Recorder(), consumer="b").take_over("a") == 100
            else:
                assert await consumer_of(cut, name, Recorder(), consumer="a").leave() is True
    assert await groups_in(client, name) == set()


async def test_what_the_server_refuses_for_now_is_a_typed_error_outside_of_a_loop() -> None:
    async with own_server() as (client, plain):
        await write(client, "s", 1)
        async with consumer_of(client, "s", Recorder(), consumer="a") as consumer:
            (delivery,) = await consumer.read()

            async def look() -> list[Any]:
                return [entry async for entry in consumer.pending()]

            # A replica without its master does not even say what it has.
            plain.config_set("replica-serve-stale-data", "no")
            plain.replicaof("127.0.0.1", "1")
            for call in (look, consumer.lag):
                with pytest.raises(ServerUnavailable, match="refuses for now while reading"):
                    await call()
            plain.replicaof("NO", "ONE")
            plain.config_set("maxmemory", "1")
            for call in (consumer.leave, lambda: consumer.take_over("b"), delivery.extend):
                with pytest.raises(ServerUnavailable, match="refuses for now while"):
                    await call()
            plain.config_set("maxmemory", "0")
            # It was refused, and that was all.
            await delivery.extend()
            assert [entry.consumer for entry in await look()] == ["a"]
            await consumer.ack(delivery)
            assert await consumer.leave() is True


async def test_extend_in_a_group_that_is_gone_says_that_the_entry_is_lost(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    async with consumer_of(client, name, Recorder()) as consumer:
        (delivery,) = await consumer.read()
        await raw(client).xgroup_destroy(name, GROUP)
        with pytest.raises(LeaseLost, match="it is not pending any more"):
            await delivery.extend()


async def test_a_delivery_that_travels_arrives_as_a_plain_entry(client: redis.asyncio.Redis, name: str) -> None:
    (entry_id,) = await write(client, name, 1)
    async with consumer_of(client, name, Recorder()) as consumer:
        (delivery,) = await consumer.read()
        arrived: Any = pickle.loads(pickle.dumps(delivery))
        await consumer.ack(delivery)
    assert type(arrived) is Entry
    assert (arrived.stream, arrived.id, arrived.value) == (name, entry_id, {"n": "1"})


# In an own loop -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["read", "reap"])
async def test_what_cannot_be_decoded_is_dead_lettered_by_the_step_that_finds_it(
    client: redis.asyncio.Redis, name: str, step: str
) -> None:
    source: Stream[Any] = Stream(client, name, codec=JsonCodec(loads=int))
    good = await source.append(1)
    bad = await raw(client).xadd(name, {"json": "what is this"})
    if step == "reap":
        await strand(client, name, "a", 2)
    recorder = Recorder()
    async with consumer_of(client, source, recorder, consumer="a") as consumer:
        found: Any = await (consumer.reap() if step == "reap" else consumer.read())
        # At once: it needs no further step.
        assert [letter.cause for letter in await letters_in(client, name)] == [Cause.UNDECODABLE]
        assert [entry_id for entry_id, _, _ in await pending_in(client, name)] == [good]
        assert [delivery.value for delivery in found] == [1]
        await consumer.ack(*found)
    assert [entry.id for entry, _, _, _ in recorder.of("on_buried")] == [bad.decode()]


async def test_a_group_that_goes_while_it_is_reaped_is_made_anew(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2)
    await strand(client, name, "a", 2)
    recorder = Recorder()
    with redis.Redis.from_url(redis_url) as plain:
        destroy: Callable[[], Any] = lambda: plain.xgroup_destroy(name, GROUP)  # noqa: E731
        async with through(redis_url) as (proxy, cut), consumer_of(cut, name, recorder, consumer="a") as consumer:
            proxy.call_before(destroy, matching=calls_of(BEGIN), nth=2)
            # The first of the two was begun, and is nobody's any more.
            assert await consumer.reap() == []
            assert recorder.of("on_group_missing") == [(name, GROUP)]
            found = await consumer.read()
            assert numbers_of(found) == [(1, 1), (2, 1)]
            await consumer.ack(*found)
    assert await pending_in(client, name) == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("lost", [(CLAIM, 1), (BEGIN, 2)], ids=["CLAIM", "BEGIN"])
async def test_what_a_reap_took_in_a_lost_reply_comes_with_the_next(
    redis_url: str, client: redis.asyncio.Redis, name: str, lost: tuple[Script, int], fault: str
) -> None:
    await write(client, name, 1, 2, 3)
    await strand(client, name, "a", 3)
    async with through(redis_url) as (proxy, cut), consumer_of(cut, name, Recorder(), consumer="a") as consumer:
        script, nth = lost
        getattr(proxy, fault)(matching=calls_of(script), nth=nth)
        with pytest.raises(ServerUnavailable):
            await consumer.reap()
        found = await consumer.reap()
        # A start whose reply was lost may count.
        assert [number for number, _ in sorted(numbers_of(found))] == [1, 2, 3]
        assert {attempt for _, attempt in numbers_of(found)} <= {2, 3}
        assert await consumer.reap() == []
        await consumer.ack(*found)
    assert await pending_in(client, name) == []


async def test_reap_finds_what_lies_behind_pages_that_others_hold(client: redis.asyncio.Redis, name: str) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(252))
    await strand(client, name, "busy", 250)
    ids = await strand(client, name, "dead", 2)
    await raw(client).xclaim(name, GROUP, "dead", 0, ids, idle=100_000, justid=True)
    async with consumer_of(client, name, Recorder()) as consumer:
        found = await consumer.reap()
        assert numbers_of(found) == [(250, 2), (251, 2)]
        await consumer.ack(*found)
    assert {holder for _, holder, _ in await pending_in(client, name)} == {"busy"}


async def test_effects_of_what_is_acked_in_a_group_that_is_gone_are_applied_when_it_comes_again(
    client: redis.asyncio.Redis, name: str
) -> None:
    out = f"{{{name}}}:out"
    await write(client, name, 1)
    recorder = Recorder()
    async with consumer_of(client, name, recorder) as consumer:
        for times in range(2):
            (delivery,) = await consumer.read()
            delivery.emit(out, delivery.value)
            if not times:
                await raw(client).xgroup_destroy(name, GROUP)
            await consumer.ack(delivery)
            assert await numbers_in(client, out) == [1] * times
        assert await consumer.read() == []
    assert recorder.of("on_group_missing") == [(name, GROUP)]
    assert recorder.of("on_lease_lost") == []


async def test_what_somebody_else_acked_is_no_trouble_where_entries_are_deleted(
    client: redis.asyncio.Redis, name: str
) -> None:
    first, _ = await write(client, name, 1, 2)
    recorder = Recorder()
    async with consumer_of(client, name, recorder, delete_on_ack=True) as consumer:
        deliveries = await consumer.read()
        await client.xack(name, GROUP, str(first))
        await consumer.ack(*deliveries)
    assert 2 not in await numbers_in(client, name)
    assert await pending_in(client, name) == []
    assert recorder.events == []


# In a loop ----------------------------------------------------------------------------------------------------------


@pytest.mark.steady
@pytest.mark.parametrize(("way", "concurrency"), [("run", 1), ("run_batches", 1), ("run", 2), ("run_batches", 2)])
async def test_what_cannot_be_confirmed_in_time_is_begun_when_it_can_and_once(
    redis_url: str, client: redis.asyncio.Redis, name: str, way: str, concurrency: int
) -> None:
    slow = list[float]()

    def dawdle() -> None:
        # A server that takes longer to answer than a lease is good for.
        if slow and time.monotonic() < slow[0] + 1.7 * STALE:
            time.sleep(STALE)

    async def handle(*given: Any) -> None:
        deliveries: Any = given[0] if way == "run_batches" else given
        numbers.extend(numbers_of(deliveries))
        if len(numbers) > 1 and len(slow) < concurrency:
            slow.append(time.monotonic())
            await pause(STALE)

    recorder, numbers = Recorder(), list[tuple[int, int]]()
    await write(client, name, *range(20))
    async with through(redis_url) as (proxy, cut):
        proxy.call_before(dawdle, matching=calls_of(BEAT), times=float("inf"))
        consumer = consumer_of(cut, name, recorder, lease=LEASE)

        async def run() -> None:
            await getattr(consumer, way)(handle, concurrency=concurrency)

        async with running(run, stop=consumer.stop):
            await until(settled(client, name))
    assert sorted(numbers) == [(n, 1) for n in range(20)]
    assert recorder.of("on_lease_lost") == recorder.of("on_unavailable") == recorder.of("on_claimed") == []


async def test_what_a_peer_took_before_it_was_decoded_is_left_to_the_peer(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    source: Stream[Any] = Stream(client, name, codec=JsonCodec(loads=int))
    bad: list[str] = []

    async def handle(delivery: Delivery[Any]) -> None:
        handled.append((delivery.value, delivery.attempt))
        if delivery.value == 1:
            for entry_id in bad:
                await raw(client).xclaim(name, GROUP, "peer", 0, [entry_id], justid=True)
            known = beats(proxy)
            await until(known.is_set)

    recorder, handled = Recorder(), list[tuple[int, int]]()
    # The first read takes one, the second those behind it.
    for value in (0, 1):
        await source.append(value)
    bad.append((await raw(client).xadd(name, {"json": "what is this"})).decode())
    await source.append(2)
    async with through(redis_url) as (proxy, cut):
        consumer = consumer_of(cut, Stream(cut, name, codec=JsonCodec(loads=int)), recorder, lease=timedelta(seconds=1))
        async with consuming(consumer, handle):
            await until(lambda: (2, 1) in handled)
            await until(told(recorder, "on_lease_lost"))
    assert handled == [(0, 1), (1, 1), (2, 1)]
    assert [(str(entry_id), holder) for entry_id, holder, _ in await pending_in(client, name)] == [(bad[0], "peer")]
    assert await letters_in(client, name) == recorder.of("on_buried") == []
    assert [error.entry_id for error in recorder.of("on_lease_lost")] == bad


async def test_what_is_to_run_alone_and_is_acked_by_a_peer_in_the_last_moment_does_not_run(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 0)
    (pill,) = await strand(client, name, "dead", 1)
    await write(client, name, 1, 2)
    recorder, taken = Recorder(), list[bool]()

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "1":
            raise Retry  # so that there is something to keep fresh
        if not taken:
            # It is ours before this one is done, whose ack is what it waits for then.
            await raw(client).xclaim(name, GROUP, "dead", 0, [pill], retrycount=2, idle=100_000, justid=True)
            await until(told(recorder, "on_claimed"))

    with redis.Redis.from_url(redis_url) as plain:
        async with through(redis_url) as (proxy, cut):

            def take() -> None:
                known = beats(proxy)
                plain.xack(name, GROUP, pill)
                taken.append(known.wait(20))

            proxy.call_before(take, matching=b"XACK")
            seen = Seen(handle)
            options: dict[str, Any] = {"lease": LEASE, "retry": RetryPolicy(backoff=milliseconds(60_000))}
            consumer = consumer_of(cut, name, recorder, **options)

            async def run() -> None:
                await consumer.run(seen, concurrency=2)

            async with running(run, stop=consumer.stop):
                await until(lambda: bool(taken))
                await write(client, name, 3)
                await until(lambda: seen.handled == [2, 3])
    assert taken == [True]
    assert sorted(seen.tries) == [(1, 1), (2, 1), (3, 1)]
    assert recorder.of("on_lease_lost") == recorder.of("on_buried") == []


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_reads_of_nothing_but_what_cannot_be_decoded_keep_nobody_waiting(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    for _ in range(30):
        await raw(client).xadd(name, {"n": b"\xff\xfe"})
    await write(client, name, 1)
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(client, name, recorder)

    async def run() -> None:
        await consumer.run(seen, concurrency=concurrency)

    async with running(run, stop=consumer.stop):
        await until(settled(client, name))
    assert seen.tries == [(1, 1)]
    assert [letter.cause for letter in await letters_in(client, name)] == [Cause.UNDECODABLE] * 30
    assert len(recorder.of("on_buried")) == 30
    assert await consumers_in(client, name) == set()


async def test_a_partition_that_expires_as_its_group_is_made_keeps_nobody_from_the_others(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    now = datetime.now(timezone.utc)
    source = PartitionedStream(client, name, retention=timedelta(days=3))
    old, new = source.key_for(now - timedelta(days=1)), source.key_for(now)
    await write(client, old, 1, at=now - timedelta(days=1))
    await write(client, new, 2)
    recorder, seen = Recorder(), Seen()
    with redis.Redis.from_url(redis_url) as plain:
        async with through(redis_url) as (proxy, cut):
            expire: Callable[[], Any] = lambda: plain.delete(old)  # noqa: E731
            proxy.call_before(expire, matching=lambda words: words[0] == b"XGROUP" and old.encode() in words)
            shaky = PartitionedStream(cut, name, retention=timedelta(days=3))
            async with consuming(consumer_of(cut, shaky, recorder), seen):
                await until(settled(client, new))
                await write(client, new, 3)
                await until(lambda: seen.numbers == [2, 3])
    assert await client.exists(old) == 0
    assert recorder.of("on_unavailable") == recorder.of("on_group_missing") == []
