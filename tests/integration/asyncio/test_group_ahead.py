"""Two reads on their way at once: whatever becomes of either, each entry is handled once and nothing is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis
import redis.asyncio

from streamkit._core.scripts import SETTLE
from streamkit.asyncio import Delivery, Stream
from streamkit.testing import redis_server
from tests.integration.asyncio._failing import LONG, calls_of, consumer_of, through
from tests.integration.asyncio._groups import (
    GROUP,
    Fields,
    Seen,
    consumers_in,
    consuming,
    letters_in,
    pending_in,
    settled,
)
from tests.integration.asyncio._readers import numbers_in, raw, told, write
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

RELEASED = "streamkit:released"
COUNT = 10
"""Entries in a read. The first ones are smaller: they end at 0, 4, 8, 18, 28 and 38, if handlers are quick."""
NO_TEXT = b"\xff\xfe"
LOOPS = {b"XREADGROUP", b"XACK", b"EVALSHA", b"XPENDING", b"XRANGE"}
"""What a loop sends."""


async def write_with(client: redis.asyncio.Redis, key: str, count: int, bad: Sequence[int]) -> None:
    """Append so many entries, some of which have something in them that is no text."""
    for n in range(count):
        await raw(client).xadd(key, {"n": n, "more": NO_TEXT if n in bad else "text"})


@pytest.mark.parametrize(
    "bad",
    [[9], [18], [19], [23], [28], [29], [20, 30], [28, 29], [*range(19, 39)]],
    ids=lambda bad: f"{bad[0]}..{bad[-1]}",
)
async def test_what_is_no_text_is_buried_alone_in_whichever_read_it_came(
    redis_url: str, client: redis.asyncio.Redis, name: str, bad: list[int]
) -> None:
    recorder, seen = Recorder(), Seen()
    pending = list[int]()
    await write_with(client, name, 80, bad)
    with redis.Redis.from_url(redis_url) as plain:
        look: Callable[[], Any] = lambda: pending.append(plain.xpending(name, GROUP)["pending"])  # noqa: E731
        async with through(redis_url) as (proxy, cut):
            # Where replies come as text, a read with something else in it is fetched again.
            proxy.call_before(look, matching=b"XPENDING")
            async with consuming(consumer_of(cut, name, recorder, count=COUNT), seen):
                await until(settled(client, name))
    assert all(each >= 2 * COUNT for each in pending)
    assert seen.tries == [(n, 1) for n in range(80) if n not in bad]
    letters = await letters_in(client, name)
    assert [letter.cause.value for letter in letters] == ["undecodable"] * len(bad)
    assert [letter.pairs for letter in letters] == [(b"n", b"%d" % n, b"more", NO_TEXT) for n in bad]
    assert len(recorder.of("on_buried")) == len(bad)


@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request", "cut_amid_reply"])
@pytest.mark.parametrize("command", [b"XPENDING", b"XRANGE"])
async def test_a_connection_cut_while_a_read_is_fetched_again_loses_neither_of_the_two(
    redis_url: str, client: redis.asyncio.Redis, name: str, command: bytes, fault: str
) -> None:
    recorder, seen = Recorder(), Seen()
    await write_with(client, name, 80, [20])
    async with through(redis_url) as (proxy, cut):
        getattr(proxy, fault)(matching=command)
        async with consuming(consumer_of(cut, name, recorder, count=COUNT), seen):
            await until(settled(client, name))
    assert sorted(seen.tries) == [(n, 1) for n in range(80) if n != 20]
    assert [letter.cause.value for letter in await letters_in(client, name)] == ["undecodable"]


async def test_stopped_amid_slow_handlers_it_gives_everything_not_begun_to_a_peer(
    client: redis.asyncio.Redis, name: str
) -> None:
    count = 500
    assert await Stream(client, name).append_many({"n": n} for n in range(count)) == count
    slow, stopped = threading.Event(), threading.Event()

    async def dawdle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "200":
            slow.set()
            await until(stopped.is_set)

    one, two, recorder = Seen(dawdle), Seen(), Recorder()
    first = consumer_of(client, name, recorder, consumer="one")
    async with consuming(first, one) as run:
        await until(slow.is_set)
        # Beside the rest of the read in hand there is one that came, and was not looked at yet.
        in_hand = await pending_in(client, name)
        first.stop()
        stopped.set()
        await run.result()
    assert len({holder for _, holder, _ in in_hand}) == 1
    assert one.tries == [(n, 1) for n in range(201)]
    left = await pending_in(client, name)
    assert {(holder, deliveries) for _, holder, deliveries in left} == {(RELEASED, 0)}
    assert [entry_id for entry_id, _, _ in left] == [entry_id for entry_id, _, _ in in_hand][-len(left) :]
    assert await consumers_in(client, name) == {RELEASED}
    async with consuming(consumer_of(client, name, recorder, consumer="two"), two):
        began = time.monotonic()
        await until(settled(client, name))
        assert time.monotonic() - began < LONG.total_seconds() / 4
    assert sorted(two.tries) == [(n, 1) for n in range(201, count)]
    assert recorder.of("on_unsettled") == recorder.of("on_lease_lost") == []


@pytest.mark.parametrize("nth", [4, 6])
async def test_stopped_while_both_replies_are_waited_for_it_gives_back_what_they_bring(
    redis_url: str, client: redis.asyncio.Redis, name: str, nth: int
) -> None:
    one, two, recorder = Seen(), Seen(), Recorder()
    await write(client, name, *range(120))
    async with through(redis_url) as (proxy, cut):
        proxy.hang(matching=b"XREADGROUP", nth=nth)
        consumer = consumer_of(cut, name, recorder, consumer="one", count=COUNT)
        async with consuming(consumer, one) as run:
            # All but that read, and the one that is sent before it is answered.
            await until(lambda: proxy.counts[b"XREADGROUP"] == nth and bool(one.handled))
            await until(lambda: proxy.counts[b"EVALSHA"] + proxy.counts[b"EVAL"] > nth)
            consumer.stop()
            proxy.resume()
            await run.result()
    begun = len(one.handled)
    assert begun < 120
    assert {(holder, deliveries) for _, holder, deliveries in await pending_in(client, name)} == {(RELEASED, 0)}
    assert await consumers_in(client, name) == {RELEASED}
    async with consuming(consumer_of(client, name, recorder, consumer="two"), two):
        await until(settled(client, name))
    assert one.tries == [(n, 1) for n in range(begun)]
    assert sorted(two.tries) == [(n, 1) for n in range(begun, 120)]
    assert recorder.of("on_unsettled") == []


@pytest.mark.parametrize("way", ["run", "run_batches"])
@pytest.mark.parametrize("seed", range(4))
async def test_cuts_at_random_lose_nothing_and_double_no_effect(
    redis_url: str, client: redis.asyncio.Redis, name: str, seed: int, way: str
) -> None:
    count, dice = 500, random.Random(seed)
    out = f"{{{name}}}:out"

    async def copy(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) % 2:
            delivery.emit(out, delivery.value)

    recorder, seen = Recorder(), Seen(copy)

    async def copy_all(deliveries: Any) -> None:
        for delivery in deliveries:
            await seen(delivery)

    await Stream(client, name).append_many({"n": n} for n in range(count))
    async with through(redis_url) as (proxy, cut):
        # What is cut before the loop has begun is raised.
        proxy.cut_at_random(0.04, dice, matching=lambda request: request[0] in LOOPS)
        consumer = consumer_of(cut, name, recorder, count=COUNT)

        async def run() -> None:
            await (consumer.run_batches(copy_all) if way == "run_batches" else consumer.run(seen))

        async with running(run, stop=consumer.stop):
            await until(settled(client, name))
            proxy.clear()
        assert proxy.cuts > 1
    assert sorted(seen.tries) == [(n, 1) for n in range(count)]
    assert sorted(await numbers_in(client, out)) == list(range(1, count, 2))
    assert recorder.of("on_lease_lost") == recorder.of("on_buried") == []


def flush(plain: redis.Redis) -> None:
    """Everything is gone."""
    plain.flushall()


def delete(plain: redis.Redis) -> None:
    """The stream is gone."""
    plain.delete("s")


def destroy(plain: redis.Redis) -> None:
    """The group is gone, the stream is there."""
    plain.xgroup_destroy("s", GROUP)


def replace(plain: redis.Redis) -> None:
    """A peer made the group anew before anybody noticed."""
    plain.xgroup_destroy("s", GROUP)
    plain.xgroup_create("s", GROUP, "0")


ENDS: dict[str, Callable[[redis.Redis], None]] = {
    "FLUSHALL": flush,
    "DEL": delete,
    "DESTROY": destroy,
    "REPLACED": replace,
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_group_that_vanishes_between_the_two_is_made_anew(end: str) -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client:
            for nth in range(2, 8):
                recorder, seen = Recorder(), Seen()
                await client.flushall()
                await write(client, "s", *range(80))
                async with through(url) as (proxy, cut):
                    proxy.call_before(lambda: ENDS[end](plain), matching=b"XREADGROUP", nth=nth)
                    async with consuming(consumer_of(cut, "s", recorder, count=COUNT), seen):
                        met: Callable[[], bool] = lambda: proxy.counts[b"XREADGROUP"] > nth + 1  # noqa: E731, B023
                        await until(met)
                        await write(client, "s", *range(80, 120))
                        await until(settled(client, "s"))
                assert set(range(80, 120)) <= set(seen.handled)
                if end in {"DESTROY", "REPLACED"}:
                    assert set(seen.handled) == set(range(120))
                else:
                    assert seen.numbers == [*range(len(seen.numbers) - 40), *range(80, 120)]
                assert len(recorder.of("on_group_missing")) == (end != "REPLACED")
                assert recorder.of("on_buried") == recorder.of("on_unsettled") == []


async def test_settlements_refused_while_others_are_behind_them_are_applied_in_their_order() -> None:
    async def copy(delivery: Delivery[Fields]) -> None:
        # So large that a read takes some steps to settle.
        delivery.emit("out", {**delivery.value, "more": "x" * 300_000})

    recorder, seen = Recorder(), Seen(copy)
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client, through(url) as (proxy, cut):
            await write(client, "s", *range(60))
            full: Callable[[], Any] = lambda: plain.config_set("maxmemory", "1")  # noqa: E731
            proxy.call_before(full, matching=calls_of(SETTLE), nth=4)
            async with consuming(consumer_of(cut, "s", recorder, count=COUNT), seen):
                await until(told(recorder, "on_unavailable", 3))
                plain.config_set("maxmemory", "0")
                await until(settled(client, "s"))
            assert await numbers_in(client, "out") == list(range(60))
    assert seen.tries == [(n, 1) for n in range(60)]
    assert recorder.of("on_lease_lost") == []
