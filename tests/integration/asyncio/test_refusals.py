"""A server that refuses for now is waited for; a script it forgot is sent again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

import streamkit.asyncio.appending
from streamkit._core import appends
from streamkit._core.retry import Backoff
from streamkit.asyncio import CappedStream, CheckpointedReader, PartitionedStream, ServerUnavailable, Stream
from streamkit.testing import redis_server
from tests.integration.asyncio._looking import numbers
from tests.integration.asyncio._runtime import running, until
from tests.integration.proxy import Proxy

NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 40 entries, so that there are many, and short waits."""
    monkeypatch.setattr(appends, "CHUNK", 40)
    monkeypatch.setattr(appends, "FIRST_CHUNK", 40)
    monkeypatch.setattr(streamkit.asyncio.appending, "RECONNECT", Backoff(base=0.01, maximum=0.05))


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


@pytest.mark.parametrize("kind", ["stream", "partitioned", "timed"])
@pytest.mark.parametrize("ill", ILLS)
async def test_a_refusal_in_the_middle_of_many_is_waited_out(ill: str, kind: str) -> None:
    with redis_server() as url, Proxy(url) as proxy, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            proxy.call_before(lambda: ILLS[ill](plain), matching=b"EVAL", nth=4)
            stream = Stream(client, "s") if kind == "stream" else PartitionedStream(client, "s")

            async def append_many() -> int:
                values = ({"n": n} for n in range(600))
                times = (NOON + timedelta(milliseconds=n) for n in itertools.count())
                return await stream.append_many(values, times=times if kind == "timed" else None)

            async with running(append_many) as appending:
                # It was refused, and has tried again.
                await until(lambda: proxy.counts[b"EVAL"] + proxy.counts[b"EVALSHA"] >= 8)
                assert not appending.done
                assert await stream.length() == 120
                well(plain)
                assert await appending.result() == 600
            keys = ["s"] if kind == "stream" else await PartitionedStream(client, "s").keys()
            assert await numbers(client, *keys) == list(range(600))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("ill", ILLS)
async def test_a_refused_append_waits_too(ill: str, *, named: bool) -> None:
    with redis_server() as url, Proxy(url) as proxy, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            stream = CappedStream(client, "s", maxlen=10)
            await stream.append({"n": 0})
            ILLS[ill](plain)

            async def append() -> None:
                await stream.append({"n": 1}, idempotency_key="k" if named else None)

            async with running(append) as appending:
                await until(lambda: proxy.counts[b"EVALSHA"] >= 3)
                assert not appending.done
                well(plain)
                await appending.result()
            assert await numbers(client, "s") == [0, 1]


@pytest.mark.parametrize(
    ("ill", "words"), [("OOM", "maxmemory"), ("READONLY", "read only replica"), ("NOREPLICAS", "enough good replicas")]
)
async def test_a_refusal_for_too_long_is_reported_with_what_was_written(
    monkeypatch: pytest.MonkeyPatch, ill: str, words: str
) -> None:
    monkeypatch.setattr(streamkit.asyncio.appending, "PATIENCE", 0.1)
    with redis_server() as url, Proxy(url) as proxy, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            proxy.call_before(lambda: ILLS[ill](plain), matching=b"EVAL", nth=4)
            with pytest.raises(ServerUnavailable, match="the server refuses for now while") as caught:
                await Stream(client, "s").append_many({"n": n} for n in range(600))
            assert words in str(caught.value).lower()
            assert "'s'" in str(caught.value)
            assert "written before it: 120)" in str(caught.value)
            with pytest.raises(ServerUnavailable, match="refuses for now"):
                await Stream(client, "s").append({"n": 600})
            well(plain)
            await Stream(client, "s").append({"n": 120})
            assert await numbers(client, "s") == list(range(121))


async def test_a_server_busy_with_anothers_script_is_waited_for() -> None:
    with redis_server(settings={"busy-reply-threshold": "20"}) as url, Proxy(url) as proxy:
        async with redis.asyncio.Redis.from_url(url) as other, redis.asyncio.Redis.from_url(proxy.url) as client:
            stream = Stream(client, "s")
            await stream.append({"n": 0})

            async def hog() -> None:
                with pytest.raises(redis.ResponseError, match="killed"):
                    await other.eval("while true do end", 0)

            async def busy() -> bool:
                try:
                    await client.ping()
                except redis.ResponseError:
                    return True
                return False

            async def append_many() -> int:
                return await stream.append_many({"n": n} for n in range(1, 100))

            async with running(hog):
                await until(busy)
                async with running(append_many) as appending:
                    await until(lambda: proxy.counts[b"EVALSHA"] >= 4)
                    assert not appending.done
                    with redis.Redis.from_url(url) as plain:
                        plain.script_kill()
                    assert await appending.result() == 99
            assert await numbers(client, "s") == list(range(100))


async def test_a_new_client_of_a_server_that_is_busy_is_told_so_and_is_good_afterwards() -> None:
    with redis_server(settings={"busy-reply-threshold": "20"}) as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as other, redis.asyncio.Redis.from_url(url) as client:

            async def hog() -> None:
                with pytest.raises(redis.ResponseError, match="killed"):
                    await other.eval("while true do end", 0)

            def busy() -> bool:
                try:
                    plain.ping()
                except redis.ResponseError:
                    return True
                return False

            async with running(hog):
                await until(busy)
                for call in (Stream(client, "s").length, CheckpointedReader(client, "s", "c").saved):
                    with pytest.raises(ServerUnavailable, match=r"refuses for now while asking for INFO: .*[Bb]usy"):
                        await call()
                plain.script_kill()
            assert await Stream(client, "s").length() == 0


async def test_a_call_that_a_former_master_refuses_leaves_its_connection_to_nobody() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        async with redis.asyncio.Redis.from_url(url) as client:
            stream, reader = CappedStream(client, "s", maxlen=10), CheckpointedReader(client, "s", "c")
            await stream.append({"n": 0})
            read_only(plain)
            for call in (stream.trim, lambda: stream.trim(unless_pending=True), reader.reset):
                before = await client.client_id()
                with pytest.raises(ServerUnavailable, match="refuses for now"):
                    await call()
                # Behind the same name there may be another master by now.
                assert await client.client_id() != before


@pytest.mark.parametrize("kind", ["stream", "timed"])
async def test_a_script_flushed_in_the_middle_of_many_is_sent_again(redis_url: str, name: str, kind: str) -> None:
    with Proxy(redis_url) as proxy, redis.Redis.from_url(redis_url) as plain:
        flush: Callable[[], Any] = plain.script_flush
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            stream = PartitionedStream(client, name) if kind == "timed" else Stream(client, name)
            await stream.append({"n": 0}, at=NOON if kind == "timed" else None)
            proxy.call_before(flush, matching=b"EVALSHA", nth=3)
            proxy.call_before(flush, matching=b"EVALSHA", nth=7)
            proxy.call_before(flush, matching=b"EVALSHA", nth=8)
            times = (NOON + timedelta(milliseconds=n) for n in itertools.count(1))
            values = ({"n": n} for n in range(1, 601))
            assert await stream.append_many(values, times=times if kind == "timed" else None) == 600
            keys = [PartitionedStream(client, name).key_for(NOON)] if kind == "timed" else [name]
            assert await numbers(client, *keys) == list(range(601))
        # The first append's, and one for each flush that was noticed.
        assert 3 <= proxy.counts[b"EVAL"] <= 8


async def test_a_flushed_script_is_no_error_for_anything_else(client: redis.asyncio.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    for n in range(3):
        await client.script_flush()
        await stream.append({"n": n})
        await client.script_flush()
        await stream.append({"n": n}, idempotency_key=f"{n}")
        await client.script_flush()
        assert await stream.trim() == 0
    assert await stream.length() == 6
