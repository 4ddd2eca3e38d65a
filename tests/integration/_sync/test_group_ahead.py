# Generated from tests/integration/asyncio/test_group_ahead.py by tools/generate_sync.py: do not edit.
"""Two reads on their way at once: whatever becomes of either, each entry is handled once and nothing is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from streamkit import Delivery, Stream
from streamkit._core.scripts import SETTLE
from streamkit.testing import redis_server
from tests.integration._sync._failing import LONG, calls_of, consumer_of, through
from tests.integration._sync._groups import (
    GROUP,
    Fields,
    Seen,
    consumers_in,
    consuming,
    letters_in,
    pending_in,
    settled,
)
from tests.integration._sync._readers import numbers_in, raw, told, write
from tests.integration._sync._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

RELEASED = "streamkit:released"
COUNT = 10
"""Entries in a read. The first ones are smaller: they end at 0, 4, 8, 18, 28 and 38, if handlers are quick."""
NO_TEXT = b"\xff\xfe"
LOOPS = {b"XREADGROUP", b"XACK", b"EVALSHA", b"XPENDING", b"XRANGE"}
"""What a loop sends."""


def write_with(client: redis.Redis, key: str, count: int, bad: Sequence[int]) -> None:
    """Append so many entries, some of which have something in them that is no text."""
    for n in range(count):
        raw(client).xadd(key, {"n": n, "more": NO_TEXT if n in bad else "text"})


@pytest.mark.parametrize(
    "bad",
    [[9], [18], [19], [23], [28], [29], [20, 30], [28, 29], [*range(19, 39)]],
    ids=lambda bad: f"{bad[0]}..{bad[-1]}",
)
def test_what_is_no_text_is_buried_alone_in_whichever_read_it_came(
    redis_url: str, client: redis.Redis, name: str, bad: list[int]
) -> None:
    recorder, seen = Recorder(), Seen()
    pending = list[int]()
    write_with(client, name, 80, bad)
    with redis.Redis.from_url(redis_url) as plain:
        look: Callable[[], Any] = lambda: pending.append(plain.xpending(name, GROUP)["pending"])  # noqa: E731
        with through(redis_url) as (proxy, cut):
            # Where replies come as text, a read with something else in it is fetched again.
            proxy.call_before(look, matching=b"XPENDING")
            with consuming(consumer_of(cut, name, recorder, count=COUNT), seen):
                until(settled(client, name))
    assert all(each >= 2 * COUNT for each in pending)
    assert seen.tries == [(n, 1) for n in range(80) if n not in bad]
    letters = letters_in(client, name)
    assert [letter.cause.value for letter in letters] == ["undecodable"] * len(bad)
    assert [letter.pairs for letter in letters] == [(b"n", b"%d" % n, b"more", NO_TEXT) for n in bad]
    assert len(recorder.of("on_buried")) == len(bad)


@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request", "cut_amid_reply"])
@pytest.mark.parametrize("command", [b"XPENDING", b"XRANGE"])
def test_a_connection_cut_while_a_read_is_fetched_again_loses_neither_of_the_two(
    redis_url: str, client: redis.Redis, name: str, command: bytes, fault: str
) -> None:
    recorder, seen = Recorder(), Seen()
    write_with(client, name, 80, [20])
    with through(redis_url) as (proxy, cut):
        getattr(proxy, fault)(matching=command)
        with consuming(consumer_of(cut, name, recorder, count=COUNT), seen):
            until(settled(client, name))
    assert sorted(seen.tries) == [(n, 1) for n in range(80) if n != 20]
    assert [letter.cause.value for letter in letters_in(client, name)] == ["undecodable"]


def test_stopped_amid_slow_handlers_it_gives_everything_not_begun_to_a_peer(client: redis.Redis, name: str) -> None:
    count = 500
    assert Stream(client, name).append_many({"n": n} for n in range(count)) == count
    slow, stopped = threading.Event(), threading.Event()

    def dawdle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "200":
            slow.set()
            until(stopped.is_set)

    one, two, recorder = Seen(dawdle), Seen(), Recorder()
    first = consumer_of(client, name, recorder, consumer="one")
    with consuming(first, one) as run:
        until(slow.is_set)
        # Beside the rest of the read in hand there is one that came, and was not looked at yet.
        in_hand = pending_in(client, name)
        first.stop()
        stopped.set()
        run.result()
    assert len({holder for _, holder, _ in in_hand}) == 1
    assert one.tries == [(n, 1) for n in range(201)]
    left = pending_in(client, name)
    assert {(holder, deliveries) for _, holder, deliveries in left} == {(RELEASED, 0)}
    assert [entry_id for entry_id, _, _ in left] == [entry_id for entry_id, _, _ in in_hand][-len(left) :]
    assert consumers_in(client, name) == {RELEASED}
    with consuming(consumer_of(client, name, recorder, consumer="two"), two):
        began = time.monotonic()
        until(settled(client, name))
        assert time.monotonic() - began < LONG.total_seconds() / 4
    assert sorted(two.tries) == [(n, 1) for n in range(201, count)]
    assert recorder.of("on_unsettled") == recorder.of("on_lease_lost") == []


@pytest.mark.parametrize("nth", [4, 6])
def test_stopped_while_both_replies_are_waited_for_it_gives_back_what_they_bring(
    redis_url: str, client: redis.Redis, name: str, nth: int
) -> None:
    one, two, recorder = Seen(), Seen(), Recorder()
    write(client, name, *range(120))
    with through(redis_url) as (proxy, cut):
        proxy.hang(matching=b"XREADGROUP", nth=nth)
        consumer = consumer_of(cut, name, recorder, consumer="one", count=COUNT)
        with consuming(consumer, one) as run:
            # All but that read, and the one that is sent before it is answered.
            until(lambda: proxy.counts[b"XREADGROUP"] == nth and bool(one.handled))
            until(lambda: proxy.counts[b"EVALSHA"] + proxy.counts[b"EVAL"] > nth)
            consumer.stop()
            proxy.resume()
            run.result()
    begun = len(one.handled)
    assert begun < 120
    assert {(holder, deliveries) for _, holder, deliveries in pending_in(client, name)} == {(RELEASED, 0)}
    assert consumers_in(client, name) == {RELEASED}
    with consuming(consumer_of(client, name, recorder, consumer="two"), two):
        until(settled(client, name))
    assert one.tries == [(n, 1) for n in range(begun)]
    assert sorted(two.tries) == [(n, 1) for n in range(begun, 120)]
    assert recorder.of("on_unsettled") == []


@pytest.mark.parametrize("way", ["run", "run_batches"])
@pytest.mark.parametrize("seed", range(4))
def test_cuts_at_random_lose_nothing_and_double_no_effect(
    redis_url: str, client: redis.Redis, name: str, seed: int, way: str
) -> None:
    count, dice = 500, random.Random(seed)
    out = f"{{{name}}}:out"

    def copy(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) % 2:
            delivery.emit(out, delivery.value)

    recorder, seen = Recorder(), Seen(copy)

    def copy_all(deliveries: Any) -> None:
        for delivery in deliveries:
            seen(delivery)

    Stream(client, name).append_many({"n": n} for n in range(count))
    with through(redis_url) as (proxy, cut):
        # What is cut before the loop has begun is raised.
        proxy.cut_at_random(0.04, dice, matching=lambda request: request[0] in LOOPS)
        consumer = consumer_of(cut, name, recorder, count=COUNT)

        def run() -> None:
            (consumer.run_batches(copy_all) if way == "run_batches" else consumer.run(seen))

        with running(run, stop=consumer.stop):
            until(settled(client, name))
            proxy.clear()
        assert proxy.cuts > 1
    assert sorted(seen.tries) == [(n, 1) for n in range(count)]
    assert sorted(numbers_in(client, out)) == list(range(1, count, 2))
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
def test_a_group_that_vanishes_between_the_two_is_made_anew(end: str) -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as client:
            for nth in range(2, 8):
                recorder, seen = Recorder(), Seen()
                client.flushall()
                write(client, "s", *range(80))
                with through(url) as (proxy, cut):
                    proxy.call_before(lambda: ENDS[end](plain), matching=b"XREADGROUP", nth=nth)
                    with consuming(consumer_of(cut, "s", recorder, count=COUNT), seen):
                        met: Callable[[], bool] = lambda: proxy.counts[b"XREADGROUP"] > nth + 1  # noqa: E731, B023
                        until(met)
                        write(client, "s", *range(80, 120))
                        until(settled(client, "s"))
                assert set(range(80, 120)) <= set(seen.handled)
                if end in {"DESTROY", "REPLACED"}:
                    assert set(seen.handled) == set(range(120))
                else:
                    assert seen.numbers == [*range(len(seen.numbers) - 40), *range(80, 120)]
                assert len(recorder.of("on_group_missing")) == (end != "REPLACED")
                assert recorder.of("on_buried") == recorder.of("on_unsettled") == []


def test_settlements_refused_while_others_are_behind_them_are_applied_in_their_order() -> None:
    def copy(delivery: Delivery[Fields]) -> None:
        # So large that a read takes some steps to settle.
        delivery.emit("out", {**delivery.value, "more": "x" * 300_000})

    recorder, seen = Recorder(), Seen(copy)
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as client, through(url) as (proxy, cut):
            write(client, "s", *range(60))
            full: Callable[[], Any] = lambda: plain.config_set("maxmemory", "1")  # noqa: E731
            proxy.call_before(full, matching=calls_of(SETTLE), nth=4)
            with consuming(consumer_of(cut, "s", recorder, count=COUNT), seen):
                until(told(recorder, "on_unavailable", 3))
                plain.config_set("maxmemory", "0")
                until(settled(client, "s"))
            assert numbers_in(client, "out") == list(range(60))
    assert seen.tries == [(n, 1) for n in range(60)]
    assert recorder.of("on_lease_lost") == []
