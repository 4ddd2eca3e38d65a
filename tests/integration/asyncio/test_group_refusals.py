"""Servers that restart, load, or refuse for now: consumers wait, and lose nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio

from streamkit.asyncio import Delivery, RetryPolicy, ServerUnavailable
from streamkit.testing import redis_server
from tests.integration.asyncio._failing import LEASE, consumer_of
from tests.integration.asyncio._groups import (
    Fields,
    Seen,
    consuming,
    milliseconds,
    settled,
    strand,
)
from tests.integration.asyncio._readers import numbers_in, raw, told, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


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
async def test_a_server_that_restarts_with_its_data_goes_on(server: Restartable, concurrency: int) -> None:
    async def copy(delivery: Delivery[Fields]) -> None:
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
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await write(client, "s", *range(300))
        consumer = consumer_of(client, "s", recorder)

        async def run() -> None:
            await consumer.run(seen, concurrency=concurrency)

        async with running(run, stop=consumer.stop):
            await until(lambda: len(seen.handled) >= 200 and 150 in seen.handled)
            await client.connection_pool.disconnect()
            await until(settled(client, "s"))
            # Once more while it waits.
            server.stop()
            await until(told(recorder, "on_unavailable", 2))
            server.start()
            await client.connection_pool.disconnect()
            await write(client, "s", 300)
            await until(settled(client, "s"))
        assert sorted(await numbers_in(client, "out")) == list(range(301))
        assert sorted(seen.numbers) == sorted([*range(301), *range(3, 300, 20)])
    assert recorder.of("on_available")
    assert recorder.of("on_group_missing") == recorder.of("on_lease_lost") == []


@pytest.mark.parametrize("server", [False], indirect=True, ids=["forgets"])
async def test_a_server_that_restarts_empty_is_begun_anew(server: Restartable) -> None:
    recorder, seen = Recorder(), Seen()
    async with (
        redis.asyncio.Redis.from_url(server.url) as client,
        consuming(consumer_of(client, "s", recorder), seen),
    ):
        await write(client, "s", 1)
        await until(lambda: seen.handled == [1])
        server.stop()
        await until(told(recorder, "on_unavailable"))
        server.start()
        await until(told(recorder, "on_group_missing"))
        await client.connection_pool.disconnect()
        await write(client, "s", 2)
        await until(settled(client, "s"))
    assert seen.tries == [(1, 1), (2, 1)]


async def test_a_server_that_loads_its_data_is_waited_for(tmp_path: Path) -> None:
    recorder, seen = Recorder(), Seen()
    # It takes a millisecond for each key, and answers between.
    slowly = {"key-load-delay": "1000", "loading-process-events-interval-bytes": "1024"}
    server = Restartable(tmp_path, keeps=True, **slowly)
    try:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await raw(client).eval("for n = 1, 1000 do redis.call('SET', n, string.rep('x', 100)) end", 0)
            # Into a snapshot, which is what loads slowly.
            await raw(client).bgrewriteaof()
            await until(lambda: rewritten(client))
            async with consuming(consumer_of(client, "s", recorder), seen):
                await write(client, "s", 1)
                await until(settled(client, "s"))
                server.stop()
                starting = threading.Thread(target=server.start)
                starting.start()
                await until(lambda: any("loading the dataset" in str(error) for error in refusals(recorder)))
                await until(told(recorder, "on_available"))
                starting.join()
                await client.connection_pool.disconnect()
                await write(client, "s", 2)
                await until(settled(client, "s"))
    finally:
        server.stop()
    assert seen.tries == [(1, 1), (2, 1)]
    assert recorder.of("on_group_missing") == []


async def rewritten(client: redis.asyncio.Redis) -> bool:
    """Whether what is on disk was written anew."""
    persistence: Any = await client.info("persistence")
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
async def test_a_refusal_is_waited_out_and_neither_entries_nor_retries_are_lost(ill: str, concurrency: int) -> None:
    async def copy(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number == 50 and delivery.attempt == 1:
            ILLS[ill](plain)
        if number % 10 == 0 and delivery.attempt == 1:
            raise ValueError
        delivery.emit("out", delivery.value)

    recorder, seen = Recorder(), Seen(copy)
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, "s", *range(100))
            consumer = consumer_of(client, "s", recorder)

            async def run() -> None:
                await consumer.run(seen, concurrency=concurrency)

            async with running(run, stop=consumer.stop):
                await until(told(recorder, "on_unavailable", 3))
                well(plain)
                await until(settled(client, "s"))
            assert sorted(await numbers_in(client, "out")) == list(range(100))
    # Handled once, but for those that failed.
    assert sorted(seen.numbers) == sorted([*range(100), *range(0, 100, 10)])
    assert recorder.of("on_available")
    assert recorder.of("on_lease_lost") == recorder.of("on_group_missing") == []


@pytest.mark.parametrize("ill", ILLS)
async def test_a_refusal_while_nothing_is_in_hand_keeps_what_waits_for_a_retry(ill: str) -> None:
    async def fail_first(delivery: Delivery[Fields]) -> None:
        if delivery.attempt == 1:
            raise ValueError

    recorder, seen = Recorder(), Seen(fail_first)
    retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(300))
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, "s", 1)
            async with consuming(consumer_of(client, "s", recorder, retry=retry), seen):
                await until(told(recorder, "on_retry"))
                # It waits in a blocking read, and is refused while the retry comes due.
                ILLS[ill](plain)
                await until(told(recorder, "on_unavailable", 4))
                well(plain)
                await until(settled(client, "s"))
    assert seen.tries == [(1, 1), (1, 2)]
    assert recorder.of("on_group_missing") == []


@pytest.mark.parametrize("end", ["stop", "interrupt"])
@pytest.mark.parametrize("ill", ILLS)
async def test_a_refusal_at_the_start_is_waited_out_unless_the_consumer_is_ended(ill: str, end: str) -> None:
    recorder, seen = Recorder(), Seen()
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, "s", 1)
            consumer = consumer_of(client, "s", recorder)

            async def outcome() -> Exception | None:
                try:
                    await consumer.run(seen)
                except ServerUnavailable as error:
                    return error
                return None

            admin: Any = plain  # whose types of this reply are too wide
            connections = len(admin.client_list())
            ILLS[ill](plain)
            async with running(outcome) as run:
                await until(told(recorder, "on_unavailable", 2))
                if end == "stop":
                    consumer.stop()
                    error = await run.result()
                    assert isinstance(error, ServerUnavailable)
                    assert "refuses for now while reading 's'" in str(error)
                else:
                    await run.interrupt()
            # None of its own is left behind.
            await until(lambda: len(admin.client_list()) == connections)
            async with consuming(consumer, seen):
                await until(told(recorder, "on_unavailable", 4))
                assert seen.tries == []
                well(plain)
                await until(settled(client, "s"))
    assert seen.tries == [(1, 1)]
    assert recorder.of("on_group_missing") == []


async def test_a_server_busy_with_anothers_script_is_waited_for() -> None:
    async def wait(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "20":
            reached.append(True)
            while not busy:
                await pause(0.01)

    reached: list[bool] = []
    busy: list[bool] = []
    recorder, seen = Recorder(), Seen(wait)
    with redis_server(settings={"busy-reply-threshold": "20"}) as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client, redis.asyncio.Redis.from_url(url) as other:

            async def hog() -> None:
                with pytest.raises(redis.ResponseError, match="killed"):
                    await other.eval("while true do end", 0)

            async def is_busy() -> bool:
                try:
                    await client.ping()
                except redis.ResponseError:
                    return True
                return False

            await write(client, "s", *range(100))
            async with consuming(consumer_of(client, "s", recorder), seen):
                await until(lambda: bool(reached))
                async with running(hog):
                    await until(is_busy)
                    busy.append(True)
                    await until(told(recorder, "on_unavailable", 2))
                    plain.script_kill()
                await until(settled(client, "s"))
    assert seen.tries == [(n, 1) for n in range(100)]
    assert recorder.of("on_available")


async def test_scripts_that_the_server_forgot_are_sent_again(client: redis.asyncio.Redis, name: str) -> None:
    async def forget(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) % 7 == 0:
            await client.script_flush()
        if int(delivery.value["n"]) % 5 == 0 and delivery.attempt == 1:
            raise ValueError
        delivery.emit(f"{{{name}}}:out", delivery.value)

    recorder, seen = Recorder(), Seen(forget)
    await write(client, name, *range(100))
    await strand(client, name, "dead", 10)
    async with consuming(consumer_of(client, name, recorder, lease=LEASE), seen):
        await until(settled(client, name))
    assert sorted(await numbers_in(client, f"{{{name}}}:out")) == list(range(100))
    assert recorder.of("on_unavailable") == recorder.of("on_lease_lost") == []
