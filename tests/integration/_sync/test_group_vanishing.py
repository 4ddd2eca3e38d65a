# Generated from tests/integration/asyncio/test_group_vanishing.py by tools/generate_sync.py: do not edit.
"""Groups and streams that vanish under a consumer; keys that become something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from streamkit import Delivery, RetryPolicy, WrongKeyType
from streamkit.testing import redis_server
from tests.integration._sync._failing import LEASE, consumer_of, through
from tests.integration._sync._groups import (
    GROUP,
    Fields,
    Seen,
    consuming,
    includes,
    letters_in,
    milliseconds,
    pending_in,
    settled,
)
from tests.integration._sync._readers import numbers_in, raw, told, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def flush(client: redis.Redis) -> None:
    """Everything is gone."""
    client.flushall()


def delete(client: redis.Redis) -> None:
    """The stream is gone."""
    client.delete("s")


def destroy(client: redis.Redis) -> None:
    """The group is gone, the stream is there."""
    raw(client).xgroup_destroy("s", GROUP)


def rename(client: redis.Redis) -> None:
    """The stream has another name."""
    client.rename("s", "t")


ENDS: dict[str, Callable[[redis.Redis], None]] = {
    "FLUSHALL": flush,
    "DEL": delete,
    "DESTROY": destroy,
    "RENAME": rename,
}


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("end", ENDS)
def test_a_group_that_vanishes_while_it_is_waited_in_is_made_anew(end: str, concurrency: int) -> None:
    recorder, seen = Recorder(), Seen()
    with redis_server() as url:
        with redis.Redis.from_url(url) as client, through(url) as (proxy, cut):
            consumer = consumer_of(cut, "s", recorder)

            def run() -> None:
                consumer.run(seen, concurrency=concurrency)

            with running(run, stop=consumer.stop):
                write(client, "s", 0)
                for n in range(1, 4):
                    until(includes(seen.handled, n - 1))
                    until(lambda: proxy.counts[b"XREADGROUP"] > 3)
                    ENDS[end](client)
                    until(told(recorder, "on_group_missing", n))
                    write(client, "s", n)
                until(settled(client, "s"))
            # It did not spin: some turns for each end, and the slices of the waiting between.
            assert proxy.counts[b"XGROUP"] <= 8
            assert proxy.counts[b"XREADGROUP"] < 200
    assert recorder.of("on_group_missing") == [("s", GROUP)] * 3
    assert seen.numbers[:1] == [0]
    assert set(seen.numbers) == {0, 1, 2, 3}
    if end != "DESTROY":
        assert seen.numbers == [0, 1, 2, 3]


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("end", ENDS)
def test_a_group_that_vanishes_while_entries_are_in_hand_is_made_anew(end: str, concurrency: int) -> None:
    def fail_some(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) % 10 == 3 and delivery.attempt == 1:
            raise ValueError
        if delivery.value["n"] in {"20", "120"} and delivery.value["n"] not in ended:
            ended.append(delivery.value["n"])
            ENDS[end](client)

    ended: list[str] = []
    recorder, seen = Recorder(), Seen(fail_some)
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            consumer = consumer_of(client, "s", recorder)

            def run() -> None:
                consumer.run(seen, concurrency=concurrency)

            with running(run, stop=consumer.stop):
                write(client, "s", *range(100))
                until(told(recorder, "on_group_missing", 1))
                write(client, "s", *range(100, 200))
                until(told(recorder, "on_group_missing", 2))
                write(client, "s", *range(200, 300))
                until(settled(client, "s"))
            assert set(range(200, 300)) <= set(seen.handled)
            if end == "DESTROY":
                # Everything comes again, and nothing is lost.
                assert set(seen.handled) == set(range(300))
            assert letters_in(client, "s") == []


@pytest.mark.parametrize("concurrency", [1, 3])
def test_effects_in_a_group_that_vanishes_before_they_are_applied_come_with_the_next_try(
    client: redis.Redis, name: str, concurrency: int
) -> None:
    out, before = f"{{{name}}}:out", list[list[int]]()

    def copy(delivery: Delivery[Fields]) -> None:
        delivery.emit(out, delivery.value)
        if delivery.value["n"] == "3" and not before:
            with client.pipeline(transaction=True) as pipe:
                queue: Any = pipe
                queue.xrange(out)
                queue.xgroup_destroy(name, GROUP)
                applied, _ = queue.execute()
            before.append([int(fields[b"n"]) for _, fields in applied])
            # In the middle of a read: those before it are to be settled now.
            pause(LEASE.total_seconds())

    recorder, seen = Recorder(), Seen(copy)
    consumer = consumer_of(client, name, recorder, lease=LEASE)

    def run() -> None:
        consumer.run(seen, concurrency=concurrency)

    write(client, name, *range(8))
    with running(run, stop=consumer.stop):
        until(told(recorder, "on_group_missing"))
        until(settled(client, name))
    # All come again, and apart from what was applied to the old group, each is applied once.
    assert sorted(numbers_in(client, out)) == sorted([*before[0], *range(8)])
    assert set(seen.tries) == {(n, 1) for n in range(8)}
    assert recorder.of("on_group_missing") == [(name, GROUP)]
    assert recorder.of("on_retry") == recorder.of("on_buried") == []


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request"])
def test_a_group_whose_making_anew_is_lost_is_read_all_the_same(
    redis_url: str, client: redis.Redis, name: str, fault: str, concurrency: int
) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut):
        consumer = consumer_of(cut, name, recorder)

        def run() -> None:
            consumer.run(seen, concurrency=concurrency)

        with running(run, stop=consumer.stop):
            write(client, name, 1)
            until(settled(client, name))
            getattr(proxy, fault)(matching=b"XGROUP")
            client.delete(name)
            until(lambda: proxy.cuts == 1)
            until(told(recorder, "on_available"))
            write(client, name, 2)
            until(settled(client, name))
    assert seen.tries == [(1, 1), (2, 1)]
    assert len(recorder.of("on_unavailable")) == 1


def test_of_two_sources_only_the_one_whose_group_vanished_is_begun_anew() -> None:
    with redis_server() as url:
        with redis.Redis.from_url(url) as client, through(url) as (proxy, cut):

            def fail_first(delivery: Delivery[Fields]) -> None:
                if delivery.stream == "a" and delivery.attempt == 1:
                    raise ValueError

            recorder, seen = Recorder(), Seen(fail_first)
            retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(1500))
            with consuming(consumer_of(cut, ["a", "b"], recorder, retry=retry), seen):
                write(client, "a", 1)
                until(lambda: seen.tries == [(1, 1)])
                until(lambda: proxy.counts[b"XREADGROUP"] > 6)
                before = proxy.counts[b"XREADGROUP"]
                client.delete("b")
                until(told(recorder, "on_group_missing"))
                write(client, "b", 2)
                until(lambda: 2 in seen.handled)
                assert proxy.counts[b"XREADGROUP"] - before < 50
                # The retry in the other source is still waited for.
                until(settled(client, "a"))
            assert recorder.of("on_group_missing") == [("b", GROUP)]
            assert sorted(seen.tries) == [(1, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize("sources", [["s"], ["r", "s"]])
def test_a_source_overwritten_while_it_is_waited_for_ends_the_loop(
    client: redis.Redis, name: str, sources: list[str]
) -> None:
    keys = [f"{name}:{source}" for source in sources]
    bad = keys[-1]
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(client, keys, recorder)

    def outcome() -> Exception | None:
        try:
            consumer.run(seen)
        except WrongKeyType as error:
            return error
        return None

    with running(outcome) as run:
        write(client, bad, 1)
        until(lambda: seen.numbers == [1])
        client.set(bad, "x")
        error = run.result()
        assert isinstance(error, WrongKeyType)
        assert f"'{bad}' holds a" in str(error)
    # The consumer is as good as new.
    client.delete(bad)
    with consuming(consumer, seen):
        write(client, bad, 2)
        until(lambda: seen.numbers == [1, 2])


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_source_overwritten_while_it_is_handled_ends_the_loop(
    client: redis.Redis, name: str, concurrency: int
) -> None:
    def overwrite(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "100":
            client.set(name, "x")

    write(client, name, *range(400))
    seen = Seen(overwrite)
    consumer = consumer_of(client, name, Recorder())
    with pytest.raises(WrongKeyType, match=f"'{name}' holds a"):
        consumer.run(seen, concurrency=concurrency)
    assert len(seen.numbers) == len(set(seen.numbers)) < 400


def test_a_dead_letter_stream_of_another_type_ends_the_loop_and_loses_nothing(client: redis.Redis, name: str) -> None:
    def fail(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "2":
            raise ValueError

    recorder, seen = Recorder(), Seen(fail)
    letters = f"{{{name}}}:dead-letters"
    client.set(letters, "x")
    write(client, name, 1, 2, 3)
    retry = RetryPolicy(max_deliveries=1)
    with pytest.raises(WrongKeyType, match="dead-letters"):
        consumer_of(client, name, recorder, retry=retry).run(seen)
    assert [deliveries for _, _, deliveries in pending_in(client, name)].count(1) >= 1
    client.delete(letters)
    with consuming(consumer_of(client, name, recorder, lease=LEASE, retry=retry), seen):
        until(settled(client, name))
    assert {1, 3} <= set(seen.handled)
    assert [letter.pairs for letter in letters_in(client, name)] == [(b"n", b"2")]
