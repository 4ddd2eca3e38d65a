# Generated from tests/integration/asyncio/test_group_failures.py by tools/generate_sync.py: do not edit.
"""What can go wrong between a consumer and its server: lost replies, groups that vanish, servers that refuse."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from streamkit import Delivery, GroupConsumer, RetryPolicy, WrongKeyType
from streamkit._core.scripts import BEGIN, CLAIM, SETTLE, UNREAD, Script
from streamkit.testing import redis_server
from tests.integration._sync._groups import (
    GROUP,
    QUICK,
    Fields,
    Seen,
    consuming,
    includes,
    letters_in,
    milliseconds,
    of_size,
    pending_in,
    settled,
    strand,
)
from tests.integration._sync._readers import numbers_in, raw, told, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration.proxy import Proxy, Request
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LEASE = timedelta(seconds=0.4)
LONG = timedelta(seconds=60)
FAULTS = ["cut_before_request", "cut_after_request", "cut_amid_reply"]


def consumer_of(
    client: redis.Redis, source: Any, recorder: Recorder, *, lease: timedelta = LONG, **options: Any
) -> GroupConsumer[Fields]:
    """A consumer whose entries are its own for longer than a test takes, unless it is told otherwise."""
    return GroupConsumer(client, source, GROUP, min_idle_time=lease, observer=recorder, **{"retry": QUICK, **options})


def calls_of(script: Script) -> Callable[[Request], bool]:
    """Which requests run a script."""
    words = {script.sha.encode(), script.source.encode()}
    return lambda request: request[0].startswith(b"EVAL") and request[1] in words


@contextmanager
def through(url: str) -> Iterator[tuple[Proxy, redis.Redis]]:
    """A proxy to a server, and a client that goes through it."""
    with Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            yield proxy, client


def nobody_waits(client: redis.Redis) -> bool:
    """Whether the server has no client in a blocking read: one that was cut off may still be given an entry."""
    clients: Any = client.info("clients")
    return bool(clients["blocked_clients"] == 0)


# Lost replies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("loss", [*itertools.product(FAULTS, [b"XREADGROUP", b"XACK"])])
def test_a_lost_read_or_ack_has_nothing_handled_twice(
    redis_url: str, client: redis.Redis, name: str, loss: tuple[str, bytes], concurrency: int
) -> None:
    (fault, command), count = loss, 300
    recorder, seen = Recorder(), Seen()
    write(client, name, *range(count))
    with through(redis_url) as (proxy, cut):
        for nth in (2, 5, 9):
            getattr(proxy, fault)(matching=command, nth=nth)
        consumer = consumer_of(cut, name, recorder)

        def run() -> None:
            consumer.run(seen, concurrency=concurrency)

        with running(run, stop=consumer.stop):
            until(settled(client, name))
            write(client, name, *range(count, 2 * count))
            until(settled(client, name))
        assert proxy.cuts >= 2
    assert sorted(seen.numbers) == list(range(2 * count))
    assert {attempt for _, attempt in seen.tries} == {1}
    assert recorder.of("on_lease_lost") == recorder.of("on_unsettled") == []


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_settling_has_effects_applied_once(
    redis_url: str, client: redis.Redis, name: str, fault: str, concurrency: int
) -> None:
    count = 200

    def copy(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{{{name}}}:out", delivery.value)
        delivery.execute("HINCRBY", f"{{{name}}}:sums", "seen", 1)

    recorder, seen = Recorder(), Seen(copy)
    write(client, name, *range(count))
    with through(redis_url) as (proxy, cut):
        for nth in (1, 3, 4):
            getattr(proxy, fault)(matching=calls_of(SETTLE), nth=nth)
        consumer = consumer_of(cut, name, recorder)

        def run() -> None:
            consumer.run(seen, concurrency=concurrency)

        with running(run, stop=consumer.stop):
            until(settled(client, name))
        assert proxy.cuts >= 2
    assert sorted(seen.tries) == [(n, 1) for n in range(count)]
    assert sorted(numbers_in(client, f"{{{name}}}:out")) == list(range(count))
    assert raw(client).hget(f"{{{name}}}:sums", "seen") == str(count).encode()
    assert recorder.of("on_lease_lost") == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_dead_letter_is_written_once(redis_url: str, client: redis.Redis, name: str, fault: str) -> None:
    def fail(_: Delivery[Fields]) -> None:
        raise ValueError

    recorder, seen = Recorder(), Seen(fail)
    write(client, name, 1)
    with through(redis_url) as (proxy, cut):
        getattr(proxy, fault)(matching=calls_of(SETTLE))
        with consuming(consumer_of(cut, name, recorder), seen):
            until(lambda: proxy.cuts == 1)
            until(settled(client, name))
    assert seen.tries == [(1, 1), (1, 2), (1, 3)]
    assert [(letter.cause.value, letter.attempt) for letter in letters_in(client, name)] == [("exhausted", 3)]
    assert len(recorder.of("on_buried")) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_start_of_a_retry_is_made_again(redis_url: str, client: redis.Redis, name: str, fault: str) -> None:
    def fail_first(delivery: Delivery[Fields]) -> None:
        if delivery.attempt == 1:
            raise ValueError

    seen = Seen(fail_first)
    write(client, name, 1)
    with through(redis_url) as (proxy, cut):
        getattr(proxy, fault)(matching=calls_of(BEGIN))
        with consuming(consumer_of(cut, name, Recorder()), seen):
            until(lambda: proxy.cuts == 1)
            until(settled(client, name))
    # Whether the one that was lost was counted is not known: a start may be missing, and none is doubled.
    assert seen.tries in ([(1, 1), (1, 2)], [(1, 1), (1, 3)])
    assert letters_in(client, name) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_taken_over_in_a_lost_reply_is_handled(
    redis_url: str, client: redis.Redis, name: str, fault: str
) -> None:
    write(client, name, 1, 2, 3)
    strand(client, name, "dead", 3)
    seen = Seen()
    with through(redis_url) as (proxy, cut):
        for nth in (1, 2, 3):
            getattr(proxy, fault)(matching=calls_of(CLAIM), nth=nth)
        with consuming(consumer_of(cut, name, Recorder(), lease=LEASE), seen):
            until(settled(client, name))
    assert sorted(seen.numbers) == [1, 2, 3]


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_ack_of_what_ran_alone_has_it_handled_once(
    redis_url: str, client: redis.Redis, name: str, fault: str, concurrency: int
) -> None:
    write(client, name, 1, 2, 3)
    ids = strand(client, name, "dead", 3)
    # They were begun before, so that each of them runs alone and is settled at once.
    raw(client).xclaim(name, GROUP, "dead", 0, ids, retrycount=2, idle=100_000, justid=True)
    seen = Seen()
    with through(redis_url) as (proxy, cut):
        for nth in (1, 2):
            getattr(proxy, fault)(matching=b"XACK", nth=nth)
        consumer = consumer_of(cut, name, Recorder(), retry=RetryPolicy(max_deliveries=5))

        def run() -> None:
            consumer.run(seen, concurrency=concurrency)

        with running(run, stop=consumer.stop):
            until(settled(client, name))
    assert sorted(seen.tries) == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("seed", range(3))
def test_cuts_at_random_lose_nothing_and_double_no_effect(
    redis_url: str, client: redis.Redis, name: str, seed: int
) -> None:
    count = 400
    dice = random.Random(seed)

    def copy(delivery: Delivery[Fields]) -> None:
        if dice.random() < 0.05:
            raise ValueError
        delivery.emit(f"{{{name}}}:out", delivery.value)

    recorder, seen = Recorder(), Seen(copy)
    write(client, name, *range(count))
    with through(redis_url) as (proxy, cut):
        retry = RetryPolicy(max_deliveries=50, backoff=milliseconds(10))
        consumer = consumer_of(cut, name, recorder, count=20, retry=retry)

        def run() -> None:
            consumer.run(seen, concurrency=1 + seed)

        with running(run, stop=consumer.stop):
            until(lambda: bool(seen.tries))
            proxy.cut_after_request(nth=10)
            proxy.cut_at_random(0.03, dice)
            until(settled(client, name))
            proxy.clear()
        assert proxy.cuts
    assert sorted(numbers_in(client, f"{{{name}}}:out")) == list(range(count))
    assert recorder.of("on_lease_lost") == []


def test_a_connection_that_is_killed_while_it_waits_is_made_again(client: redis.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(client, name, recorder)
    with consuming(consumer, seen):
        write(client, name, 0)
        for n in range(1, 4):
            until(of_size(seen.handled, n))
            assert raw(client).client_kill_filter(_type="normal", skipme=True) >= 1
            until(told(recorder, "on_unavailable", n))
            write(client, name, n)
        until(settled(client, name))
    assert seen.tries == [(n, 1) for n in range(4)]
    assert recorder.of("on_available")
    assert recorder.of("on_lease_lost") == []


# Groups that vanish -------------------------------------------------------------------------------------------------


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
            assert seen.tries == [(1, 1), (2, 1), (1, 2)]


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


# Servers that restart, or refuse ------------------------------------------------------------------------------------


class Restartable:
    """A server that can be stopped and started again on its port; it keeps what it was told, or forgets it."""

    def __init__(self, directory: Path, *, keeps: bool, **settings: str) -> None:
        durable = {"appendonly": "yes", "appendfsync": "always"} if keeps else {}
        self._settings = {"dir": str(directory), **durable, **settings}
        self._running = ExitStack()
        self.url = self._running.enter_context(redis_server(settings=self._settings))

    def stop(self) -> None:
        """Stop it; it answers nobody."""
        self._running.close()

    def start(self) -> None:
        """Start it again, and wait until it has loaded what it knows."""
        self._running.enter_context(redis_server(settings=self._settings, port=urlsplit(self.url).port))
        with redis.Redis.from_url(self.url) as plain:
            plain.set("restarted", 1)


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Restartable]:
    """A server that can be restarted."""
    server = Restartable(tmp_path, keeps=request.param)
    yield server
    server.stop()


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("server", [True], indirect=True, ids=["keeps"])
def test_a_server_that_restarts_with_its_data_goes_on(server: Restartable, concurrency: int) -> None:
    def copy(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number % 20 == 3 and delivery.attempt == 1:
            raise ValueError
        if number == 150 and not restarted:
            restarted.append(True)
            server.stop()
            server.start()
        delivery.emit("out", delivery.value)

    restarted: list[bool] = []
    recorder, seen = Recorder(), Seen(copy)
    with redis.Redis.from_url(server.url) as client:
        write(client, "s", *range(300))
        consumer = consumer_of(client, "s", recorder)

        def run() -> None:
            consumer.run(seen, concurrency=concurrency)

        with running(run, stop=consumer.stop):
            until(lambda: len(seen.handled) >= 200)
            client.connection_pool.disconnect()
            until(settled(client, "s"))
            # Once more while it waits.
            server.stop()
            until(told(recorder, "on_unavailable", 2))
            server.start()
            client.connection_pool.disconnect()
            write(client, "s", 300)
            until(settled(client, "s"))
        assert sorted(numbers_in(client, "out")) == list(range(301))
        assert sorted(seen.numbers) == sorted([*range(301), *range(3, 300, 20)])
    assert recorder.of("on_available")
    assert recorder.of("on_group_missing") == recorder.of("on_lease_lost") == []


@pytest.mark.parametrize("server", [False], indirect=True, ids=["forgets"])
def test_a_server_that_restarts_empty_is_begun_anew(server: Restartable) -> None:
    recorder, seen = Recorder(), Seen()
    with (
        redis.Redis.from_url(server.url) as client,
        consuming(consumer_of(client, "s", recorder), seen),
    ):
        write(client, "s", 1)
        until(lambda: seen.handled == [1])
        server.stop()
        until(told(recorder, "on_unavailable"))
        server.start()
        until(told(recorder, "on_group_missing"))
        client.connection_pool.disconnect()
        write(client, "s", 2)
        until(settled(client, "s"))
    assert seen.tries == [(1, 1), (2, 1)]


def test_a_server_that_loads_its_data_is_waited_for(tmp_path: Path) -> None:
    recorder, seen = Recorder(), Seen()
    # It takes a millisecond for each key, and answers between.
    slowly = {"key-load-delay": "1000", "loading-process-events-interval-bytes": "1024"}
    server = Restartable(tmp_path, keeps=True, **slowly)
    try:
        with redis.Redis.from_url(server.url) as client:
            raw(client).eval("for n = 1, 1000 do redis.call('SET', n, string.rep('x', 100)) end", 0)
            # Into a snapshot, which is what loads slowly.
            raw(client).bgrewriteaof()
            until(lambda: rewritten(client))
            with consuming(consumer_of(client, "s", recorder), seen):
                write(client, "s", 1)
                until(settled(client, "s"))
                server.stop()
                starting = threading.Thread(target=server.start)
                starting.start()
                until(lambda: any("loading the dataset" in str(error) for error in refusals(recorder)))
                until(told(recorder, "on_available"))
                starting.join()
                client.connection_pool.disconnect()
                write(client, "s", 2)
                until(settled(client, "s"))
    finally:
        server.stop()
    assert seen.tries == [(1, 1), (2, 1)]
    assert recorder.of("on_group_missing") == []


def rewritten(client: redis.Redis) -> bool:
    """Whether what is on disk was written anew."""
    persistence: Any = client.info("persistence")
    return not persistence["aof_rewrite_scheduled"] and not persistence["aof_rewrite_in_progress"]


def refusals(recorder: Recorder) -> list[Exception]:
    """What the observer was told when the server was away or refused."""
    return [error for error, _, _ in recorder.of("on_unavailable")]


def out_of_memory(plain: redis.Redis) -> None:
    """Leave it no memory."""
    plain.config_set("maxmemory", "1")


def read_only(plain: redis.Redis) -> None:
    """Make it a replica, of nobody."""
    plain.replicaof("127.0.0.1", "1")


def no_replicas(plain: redis.Redis) -> None:
    """Make it ask for replicas that it has not."""
    plain.config_set("min-replicas-to-write", "1")


def well(plain: redis.Redis) -> None:
    """Undo all of that."""
    plain.config_set("maxmemory", "0")
    plain.config_set("min-replicas-to-write", "0")
    plain.replicaof("NO", "ONE")


ILLS: dict[str, Callable[[redis.Redis], None]] = {
    "OOM": out_of_memory,
    "READONLY": read_only,
    "NOREPLICAS": no_replicas,
}


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("ill", ILLS)
def test_a_refusal_is_waited_out_and_neither_entries_nor_retries_are_lost(ill: str, concurrency: int) -> None:
    def copy(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number == 50 and delivery.attempt == 1:
            ILLS[ill](plain)
        if number % 10 == 0 and delivery.attempt == 1:
            raise ValueError
        delivery.emit("out", delivery.value)

    recorder, seen = Recorder(), Seen(copy)
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as client:
            write(client, "s", *range(100))
            consumer = consumer_of(client, "s", recorder)

            def run() -> None:
                consumer.run(seen, concurrency=concurrency)

            with running(run, stop=consumer.stop):
                until(told(recorder, "on_unavailable", 3))
                well(plain)
                until(settled(client, "s"))
            assert sorted(numbers_in(client, "out")) == list(range(100))
    # Handled once, but for those that failed.
    assert sorted(seen.numbers) == sorted([*range(100), *range(0, 100, 10)])
    assert recorder.of("on_available")
    assert recorder.of("on_lease_lost") == recorder.of("on_group_missing") == []


@pytest.mark.parametrize("ill", ILLS)
def test_a_refusal_while_nothing_is_in_hand_keeps_what_waits_for_a_retry(ill: str) -> None:
    def fail_first(delivery: Delivery[Fields]) -> None:
        if delivery.attempt == 1:
            raise ValueError

    recorder, seen = Recorder(), Seen(fail_first)
    retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(300))
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as client:
            write(client, "s", 1)
            with consuming(consumer_of(client, "s", recorder, retry=retry), seen):
                until(told(recorder, "on_retry"))
                # It waits in a blocking read, and is refused while the retry comes due.
                ILLS[ill](plain)
                until(told(recorder, "on_unavailable", 4))
                well(plain)
                until(settled(client, "s"))
    assert seen.tries == [(1, 1), (1, 2)]
    assert recorder.of("on_group_missing") == []


def test_a_server_busy_with_anothers_script_is_waited_for() -> None:
    def wait(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "20":
            reached.append(True)
            while not busy:
                pause(0.01)

    reached: list[bool] = []
    busy: list[bool] = []
    recorder, seen = Recorder(), Seen(wait)
    with redis_server(settings={"busy-reply-threshold": "20"}) as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as client, redis.Redis.from_url(url) as other:

            def hog() -> None:
                with pytest.raises(redis.ResponseError, match="killed"):
                    other.eval("while true do end", 0)

            def is_busy() -> bool:
                try:
                    client.ping()
                except redis.ResponseError:
                    return True
                return False

            write(client, "s", *range(100))
            with consuming(consumer_of(client, "s", recorder), seen):
                until(lambda: bool(reached))
                with running(hog):
                    until(is_busy)
                    busy.append(True)
                    until(told(recorder, "on_unavailable", 2))
                    plain.script_kill()
                until(settled(client, "s"))
    assert seen.tries == [(n, 1) for n in range(100)]
    assert recorder.of("on_available")


def test_scripts_that_the_server_forgot_are_sent_again(client: redis.Redis, name: str) -> None:
    def forget(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) % 7 == 0:
            client.script_flush()
        if int(delivery.value["n"]) % 5 == 0 and delivery.attempt == 1:
            raise ValueError
        delivery.emit(f"{{{name}}}:out", delivery.value)

    recorder, seen = Recorder(), Seen(forget)
    write(client, name, *range(100))
    strand(client, name, "dead", 10)
    with consuming(consumer_of(client, name, recorder, lease=LEASE), seen):
        until(settled(client, name))
    assert sorted(numbers_in(client, f"{{{name}}}:out")) == list(range(100))
    assert recorder.of("on_unavailable") == recorder.of("on_lease_lost") == []


# Entries that vanish ------------------------------------------------------------------------------------------------


def test_what_was_trimmed_while_a_dead_consumer_held_it_is_recorded_by_its_id(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    ids = strand(client, name, "dead", 3)
    raw(client).xdel(name, *ids[:2])
    recorder, seen = Recorder(), Seen()
    with consuming(consumer_of(client, name, recorder, lease=LEASE), seen):
        until(settled(client, name))
    assert seen.tries == [(3, 2)]
    found = [(letter.cause.value, str(letter.entry_id), letter.pairs) for letter in letters_in(client, name)]
    assert found == [("trimmed", entry_id, ()) for entry_id in ids[:2]]
    assert [(entry.id, cause.value) for entry, cause, _, _ in recorder.of("on_buried")] == [
        (entry_id, "trimmed") for entry_id in ids[:2]
    ]


def test_what_was_trimmed_while_it_waited_for_a_retry_is_recorded(client: redis.Redis, name: str) -> None:
    def fail(_: Delivery[Fields]) -> None:
        raise ValueError

    recorder, seen = Recorder(), Seen(fail)
    (entry_id,) = write(client, name, 1)
    retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(200))
    with consuming(consumer_of(client, name, recorder, lease=LEASE, retry=retry), seen):
        until(told(recorder, "on_retry"))
        raw(client).xtrim(name, maxlen=0, approximate=False)
        until(told(recorder, "on_buried"))
    assert seen.tries == [(1, 1)]
    (letter,) = letters_in(client, name)
    assert (letter.cause.value, letter.entry_id, letter.attempt) == ("trimmed", entry_id, 1)
    assert pending_in(client, name) == []


def test_what_was_trimmed_before_its_lost_reply_was_asked_for_again_is_recorded(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut):
        with redis.Redis.from_url(redis_url) as plain:
            # The reply with the entries is lost; when the consumer looks for them, one of them is gone.
            proxy.cut_after_request(matching=b"XREADGROUP")
            gone: Callable[[], Any] = lambda: plain.xdel(name, str(ids[0]))  # noqa: E731
            proxy.call_before(gone, matching=b"XPENDING")
            ids = write(client, name, 1, 2)
            options: dict[str, Any] = {"count": 10}
            with consuming(consumer_of(cut, name, recorder, **options), seen):
                until(settled(client, name))
    assert proxy.cuts == 1
    found = [(letter.cause.value, letter.entry_id) for letter in letters_in(client, name)]
    assert (seen.numbers, found) in (([2], [("trimmed", ids[0])]), ([1, 2], []))


def test_what_was_trimmed_before_it_was_handed_out_is_one_letter_with_its_number_and_span(
    client: redis.Redis, name: str
) -> None:
    def trim(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] in {"0", "1000"}:
            # Behind the consumer's back, more than it can have fetched.
            ids.extend(write(client, name, *range(len(ids), len(ids) + 500)))
            raw(client).xtrim(name, maxlen=20, approximate=False)

    ids = write(client, name, 0)
    recorder, seen = Recorder(), Seen(trim)
    with consuming(consumer_of(client, name, recorder), seen):
        until(settled(client, name))
        assert [(letter.cause.value, letter.count) for letter in letters_in(client, name)] == [("unread", 480)]
        # Not told again, whatever is read after it.
        ids += write(client, name, *range(501, 600))
        until(settled(client, name))
        assert len(letters_in(client, name)) == 1
        ids += write(client, name, *range(600, 1001))
        until(settled(client, name))
    first, *more = letters_in(client, name)
    assert [letter.cause.value for letter in (first, *more)] == ["unread"] * (1 + len(more))
    assert (first.first, first.last) == (ids[0], ids[481])
    assert first.group == GROUP
    lost = sum(letter.count for letter in (first, *more))
    assert len(seen.numbers) == len(set(seen.numbers)) == len(ids) - lost
    assert [(key, group, count) for key, group, count, _, _ in recorder.of("on_unread")] == [
        (name, GROUP, letter.count) for letter in (first, *more)
    ]


def test_what_was_trimmed_while_the_connection_was_away_is_recorded(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        write(client, name, 0)
        until(settled(client, name))
        before = proxy.counts[b"XREADGROUP"]
        # It waits in a blocking read.
        until(lambda: proxy.counts[b"XREADGROUP"] > before + 1)
        proxy.down()
        until(told(recorder, "on_unavailable"))
        until(lambda: nobody_waits(client))
        write(client, name, *range(1, 101))
        raw(client).xtrim(name, maxlen=10, approximate=False)
        proxy.up()
        until(settled(client, name))
    assert seen.numbers == [0, *range(91, 101)]
    (letter,) = letters_in(client, name)
    assert (letter.cause.value, letter.count) == ("unread", 90)
    assert [count for _, _, count, _, _ in recorder.of("on_unread")] == [90]


def test_a_stream_trimmed_to_nothing_is_recorded_too(redis_url: str, client: redis.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        write(client, name, 0)
        until(settled(client, name))
        proxy.down()
        until(told(recorder, "on_unavailable"))
        until(lambda: nobody_waits(client))
        write(client, name, *range(1, 11))
        raw(client).xtrim(name, maxlen=0, approximate=False)
        proxy.up()
        until(told(recorder, "on_unread"))
        looks = proxy.counts[b"XREADGROUP"]
        until(lambda: proxy.counts[b"XREADGROUP"] > looks + 3)
        write(client, name, 11)
        until(lambda: 11 in seen.numbers)
    assert seen.numbers == [0, 11]
    assert [(letter.cause.value, letter.count) for letter in letters_in(client, name)] == [("unread", 10)]
    assert len(recorder.of("on_unread")) == 1


def test_a_lost_record_of_unread_entries_is_not_written_twice(redis_url: str, client: redis.Redis, name: str) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut):
        with consuming(consumer_of(cut, name, recorder), seen):
            write(client, name, 0)
            until(settled(client, name))
            proxy.down()
            until(told(recorder, "on_unavailable"))
            until(lambda: nobody_waits(client))
            write(client, name, *range(1, 11))
            raw(client).xtrim(name, maxlen=1, approximate=False)
            proxy.cut_after_request(matching=calls_of(UNREAD))
            proxy.up()
            until(settled(client, name))
        assert proxy.cuts == 1
    assert seen.numbers == [0, 10]
    assert [(letter.cause.value, letter.count) for letter in letters_in(client, name)] == [("unread", 9)]
