# Generated from tests/integration/asyncio/test_group_stop.py by tools/generate_sync.py: do not edit.
"""How a consumer is stopped: what is in hand is finished and acked, the rest is at once its peers', and it leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from streamkit import (
    Delivery,
    GroupConsumer,
    InvalidArgument,
    JsonCodec,
    PermissionDenied,
    Retry,
    RetryPolicy,
    Stream,
    TextCodec,
    stop_on_signals,
)
from streamkit._core.scripts import RELEASE
from streamkit.testing import redis_server
from tests.integration._sync._failing import calls_of, through
from tests.integration._sync._groups import (
    GROUP,
    LEASE,
    Batches,
    Fields,
    Seen,
    consumers_in,
    consuming,
    milliseconds,
    pending_in,
    settled,
)
from tests.integration._sync._readers import limited, raw, told, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration.recording import Recorder
from tests.integration.suspended import suspended

LIMIT = 1.0
RELEASED = "streamkit:released"


def many(client: redis.Redis, name: str, count: int) -> None:
    """Append many entries with a number each."""
    assert Stream(client, name).append_many({"n": n} for n in range(count)) == count


def from_another_thread(stop: Callable[[], None]) -> None:
    thread = threading.Thread(target=stop)
    thread.start()
    thread.join()


@pytest.mark.steady
def test_an_idle_consumer_ends_within_a_second_and_leaves(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen()
    with consuming(consumer, seen) as run:
        until(lambda: seen.handled == [1])
        until(settled(client, name))
        assert consumers_in(client, name) == {"a"}
        asked = time.monotonic()
        from_another_thread(consumer.stop)
        run.result()
    assert time.monotonic() - asked < LIMIT
    assert consumers_in(client, name) == set()


@pytest.mark.usefixtures("short_waits")
def test_stopped_before_it_runs_it_handles_nothing_and_then_runs_again(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen()
    consumer.stop()
    consumer.run(seen)
    assert seen.handled == []
    assert consumers_in(client, name) == set()
    with consuming(consumer, seen):
        until(lambda: seen.handled == [1])


@pytest.mark.usefixtures("short_waits")
def test_stopped_by_its_handler_it_handles_no_other_entry(client: redis.Redis, name: str) -> None:
    many(client, name, 1000)

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] in {"500", "700"}:
            consumer.stop()

    consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen(handle)
    for last in (500, 700):
        with limited(consumer):
            consumer.run(seen)
        assert max(seen.handled) == last
        assert consumers_in(client, name) == {RELEASED}
    # What was given back comes among the new ones: each once, and none is counted as tried before.
    with consuming(consumer, seen):
        until(lambda: len(seen.handled) == 1000)
    assert sorted(seen.tries) == [(n, 1) for n in range(1000)]
    assert pending_in(client, name) == []


@pytest.mark.usefixtures("short_waits")
def test_stopped_by_another_thread_a_busy_consumer_acks_all_it_handled(client: redis.Redis, name: str) -> None:
    many(client, name, 3000)

    def handle(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) > 500:
            pause(0.001)

    consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen(handle)
    with consuming(consumer, seen) as run:
        until(lambda: len(seen.handled) > 600)
        from_another_thread(consumer.stop)
        run.result()
    assert seen.handled == list(range(len(seen.handled)))
    released = pending_in(client, name)
    assert {(holder, count) for _, holder, count in released} == {(RELEASED, 0)}
    # Acked, given back, or not handed out yet.
    fresh = GroupConsumer(client, name, GROUP).lag()
    assert len(seen.handled) + len(released) + (fresh or 0) == 3000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_lets_the_entry_in_hand_be_finished_and_acked(
    client: redis.Redis, name: str, number: signal.Signals
) -> None:
    many(client, name, 100)
    former = signal.getsignal(number)

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "50":
            signal.raise_signal(number)

    consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen(handle)
    with stop_on_signals(consumer), limited(consumer):
        consumer.run(seen)
    assert seen.handled == list(range(51))
    assert signal.getsignal(number) is former
    assert {holder for _, holder, _ in pending_in(client, name)} <= {RELEASED}


@pytest.mark.steady
def test_amid_slow_handlers_the_one_in_hand_is_finished_and_a_peer_has_the_rest_at_once(
    client: redis.Redis, name: str
) -> None:
    many(client, name, 500)
    slow, gone = threading.Event(), threading.Event()

    def dawdle(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) == 300:  # of a read of many
            slow.set()
            until(gone.is_set)

    one, two = Seen(dawdle), Seen()
    first = GroupConsumer(client, name, GROUP, "one", min_idle_time=LEASE)
    second = GroupConsumer(client, name, GROUP, "two", min_idle_time=LEASE)
    with consuming(first, one) as run:
        until(slow.is_set)
        with consuming(second, two):

            def idle() -> bool:
                holders = {holder for _, holder, _ in pending_in(client, name)}
                return second.lag() == 0 and holders == {"one"}

            until(idle)
            held = pending_in(client, name)
            asked = time.monotonic()
            first.stop()
            gone.set()
            run.result()
            until(lambda: len(one.handled) + len(two.handled) == 500)
            took = time.monotonic() - asked
    assert len(held) > 1
    assert took < 2 * LIMIT  # the peer handles 200 entries in that time, too
    assert sorted(one.tries + two.tries) == [(n, 1) for n in range(500)]
    assert pending_in(client, name) == []
    assert consumers_in(client, name) == {RELEASED}


@pytest.mark.usefixtures("short_waits")
def test_retries_that_wait_are_given_back_with_their_wait(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)

    def fail(delivery: Delivery[Fields]) -> None:
        raise Retry

    retry = RetryPolicy(backoff=milliseconds(1000))
    one, two = Seen(fail), Seen()
    first = GroupConsumer(client, name, GROUP, "one", min_idle_time=LEASE, retry=retry)
    with consuming(first, one):
        until(lambda: len(one.tries) == 2)
        failed = time.monotonic()
    assert consumers_in(client, name) == {RELEASED}
    with consuming(GroupConsumer(client, name, GROUP, "two", min_idle_time=LEASE, retry=retry), two):
        until(lambda: len(two.handled) == 2)
        took = time.monotonic() - failed
    assert sorted(two.tries) == [(1, 2), (2, 2)]
    # Not before its time; where that is longer than min_idle_time, after that.
    assert took >= LEASE.total_seconds() * 0.9


@pytest.mark.usefixtures("short_waits")
def test_interrupted_from_outside_it_acks_what_was_handled_and_gives_back_the_rest(
    client: redis.Redis, name: str
) -> None:
    many(client, name, 300)
    begun = threading.Event()

    def dawdle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "200":
            begun.set()
            while True:
                pause(0.01)

    one, two = Seen(dawdle), Seen()
    with consuming(GroupConsumer(client, name, GROUP, "one", min_idle_time=LEASE), one) as run:
        until(begun.is_set)
        run.interrupt()
    assert one.handled == list(range(200))
    left = pending_in(client, name)
    assert {holder for _, holder, _ in left} == {RELEASED}
    # The one in hand counts as tried.
    assert [count for _, _, count in left] == [1] + [0] * (len(left) - 1)
    with consuming(GroupConsumer(client, name, GROUP, "two", min_idle_time=LEASE), two):
        until(lambda: len(two.handled) == 100)
    assert sorted(two.tries) == [(200, 2)] + [(n, 1) for n in range(201, 300)]


@pytest.mark.usefixtures("short_waits")
def test_interrupted_in_a_batch_it_gives_back_the_batch(client: redis.Redis, name: str) -> None:
    many(client, name, 300)
    begun = threading.Event()
    batches = Batches()

    def dawdle(deliveries: Any) -> None:
        batches(deliveries)
        if len(batches.tries) > 100:
            begun.set()
            while True:
                pause(0.01)

    consumer = GroupConsumer(client, name, GROUP, "one", min_idle_time=LEASE)
    with running(consumer.run_batches, dawdle, stop=consumer.stop) as run:
        until(begun.is_set)
        run.interrupt()
    handled = sum(len(batch) for batch in batches.batches[:-1])
    left = pending_in(client, name)
    assert {holder for _, holder, _ in left} == {RELEASED}
    assert [count for _, _, count in left][: len(batches.batches[-1])] == [1] * len(batches.batches[-1])
    seen = Seen()
    with consuming(GroupConsumer(client, name, GROUP, "two", min_idle_time=LEASE), seen):
        until(lambda: len(seen.handled) == 300 - handled)
    assert sorted(seen.numbers) == list(range(handled, 300))


@pytest.mark.parametrize("codec", [TextCodec(), JsonCodec(loads=int)], ids=["text", "bytes"])
def test_interrupted_while_it_waits_it_leaves(client: redis.Redis, name: str, codec: Any) -> None:
    source: Any = Stream(client, name, codec=codec)
    value: Any = 1 if isinstance(codec, JsonCodec) else {"n": "1"}
    found = list[Any]()

    def handle(delivery: Delivery[Any]) -> None:
        found.append((delivery.value, delivery.attempt))

    source.append(value)
    recorder = Recorder()
    consumer = GroupConsumer(client, source, GROUP, "one", min_idle_time=LEASE, observer=recorder)
    with consuming(consumer, handle) as run:
        until(lambda: len(found) == 1)
        until(settled(client, name))
        pause(0.05)
        run.interrupt()
    source.append(value)
    assert consumers_in(client, name) == set()
    assert recorder.of("on_unsettled") == []
    with consuming(GroupConsumer(client, source, GROUP, "two", min_idle_time=LEASE), handle):
        until(lambda: len(found) == 2)
    assert found == [(value, 1)] * 2


@pytest.mark.usefixtures("short_waits")
def test_one_object_runs_one_loop_at_a_time(client: redis.Redis, name: str) -> None:
    consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen()
    with consuming(consumer, seen):
        write(client, name, 1)
        until(lambda: seen.handled == [1])
        for again in (consumer.run, consumer.run_batches):
            with pytest.raises(InvalidArgument, match="'a' is at work already; make another GroupConsumer"):
                again(seen)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidArgument, match="is at work already"):
            consumer.__enter__()
        write(client, name, 2)
        until(lambda: seen.handled == [1, 2])


@pytest.mark.steady
def test_stopped_while_the_server_does_not_answer_it_says_what_is_not_settled(name: str) -> None:
    recorder, seen = Recorder(), Seen()
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            write(client, name, 1, 2)
            pid = (client.info("server"))["process_id"]

            def handle(delivery: Delivery[Fields]) -> None:
                if delivery.value["n"] == "2":
                    until(seen_both.is_set)

            seen_both = threading.Event()
            work = Seen(handle)
            consumer = GroupConsumer(client, name, GROUP, "a", min_idle_time=LEASE, observer=recorder)
            with consuming(consumer, work) as run:
                until(lambda: len(work.tries) == 2)
                with suspended(pid):
                    asked = time.monotonic()
                    consumer.stop()
                    seen_both.set()
                    run.result()
                    took = time.monotonic() - asked
            assert took < LIMIT
            assert told(recorder, "on_unsettled")()
            # The server may have got the acks all the same, once it goes on; what it has not comes again.
            with consuming(GroupConsumer(client, name, GROUP, "b", min_idle_time=LEASE), seen):
                until(settled(client, name))
            assert set(seen.numbers) <= {1, 2}


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request", "cut_amid_reply"])
def test_what_is_given_back_in_a_lost_call_reaches_its_peers_all_the_same(
    redis_url: str, client: redis.Redis, name: str, fault: str
) -> None:
    many(client, name, 8)
    gone = threading.Event()

    def dawdle(_: Delivery[Fields]) -> None:
        until(gone.is_set)

    recorder, one, two = Recorder(), Seen(dawdle), Seen()
    with through(redis_url) as (proxy, cut):
        consumer = GroupConsumer(cut, name, GROUP, "one", observer=recorder)

        def run() -> None:
            consumer.run(one, concurrency=2)

        def some_wait() -> bool:
            return len(one.tries) == 2 and len(pending_in(client, name)) == 4

        with running(run) as first:
            until(some_wait)
            getattr(proxy, fault)(matching=calls_of(RELEASE))
            consumer.stop()
            until(lambda: proxy.cuts == 1)
            gone.set()
            first.result()
    assert sorted(one.handled) == [0, 1]
    assert [(holder, count) for _, holder, count in pending_in(client, name)] == [(RELEASED, 0)] * 2
    assert consumers_in(client, name) == {RELEASED}
    assert recorder.of("on_unsettled") == []
    with consuming(GroupConsumer(client, name, GROUP, "two"), two):
        until(settled(client, name))
    assert sorted(two.tries) == [(n, 1) for n in range(2, 8)]


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("concurrency", [1, 2])
def test_who_may_not_give_anything_back_is_told_and_what_was_handled_is_acked(concurrency: int) -> None:
    def some_wait() -> bool:
        unread = GroupConsumer(admin, "s", GROUP).lag()
        return unread is not None and 10 - unread > len(seen.tries)

    def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "3":
            until(some_wait)
            raw(admin).acl_setuser("app", commands=["-xclaim"])
            consumer.stop()
            asked.set()
        elif delivery.value["n"] > "3":
            until(asked.is_set)

    seen, asked = Seen(handle), threading.Event()
    with redis_server() as url:
        with (
            redis.Redis.from_url(url) as admin,
            redis.Redis.from_url(url, username="app", password="secret") as client,
        ):
            rights = {"enabled": True, "passwords": ["+secret"], "keys": ["*"], "commands": ["+@all"]}
            raw(admin).acl_setuser("app", **rights)
            many(admin, "s", 10)
            consumer = GroupConsumer(client, "s", GROUP, "one")
            with limited(consumer), pytest.raises(PermissionDenied, match="giving back entries of 's'"):
                consumer.run(seen, concurrency=concurrency)
            left = pending_in(admin, "s")
            assert {holder for _, holder, _ in left} == {"one"}
            fresh = GroupConsumer(admin, "s", GROUP).lag()
            assert len(seen.handled) + len(left) + (fresh or 0) == 10
