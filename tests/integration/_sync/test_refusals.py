# Generated from tests/integration/asyncio/test_refusals.py by tools/generate_sync.py: do not edit.
"""A server that refuses for now is waited for; a script it forgot is sent again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis

import streamkit._sync.appending
from streamkit import CappedStream, CheckpointedReader, PartitionedStream, ServerUnavailable, Stream
from streamkit._core import appends
from streamkit._core.retry import Backoff
from streamkit.testing import redis_server
from tests.integration._sync._looking import numbers
from tests.integration._sync._runtime import running, until
from tests.integration.proxy import Proxy

NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 40 entries, so that there are many, and short waits."""
    monkeypatch.setattr(appends, "CHUNK", 40)
    monkeypatch.setattr(appends, "FIRST_CHUNK", 40)
    monkeypatch.setattr(streamkit._sync.appending, "RECONNECT", Backoff(base=0.01, maximum=0.05))


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
def test_a_refusal_in_the_middle_of_many_is_waited_out(ill: str, kind: str) -> None:
    with redis_server() as url, Proxy(url) as proxy, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(proxy.url) as client:
            proxy.call_before(lambda: ILLS[ill](plain), matching=b"EVAL", nth=4)
            stream = Stream(client, "s") if kind == "stream" else PartitionedStream(client, "s")

            def append_many() -> int:
                values = ({"n": n} for n in range(600))
                times = (NOON + timedelta(milliseconds=n) for n in itertools.count())
                return stream.append_many(values, times=times if kind == "timed" else None)

            with running(append_many) as appending:
                # It was refused, and has tried again.
                until(lambda: proxy.counts[b"EVAL"] + proxy.counts[b"EVALSHA"] >= 8)
                assert not appending.done
                assert stream.length() == 120
                well(plain)
                assert appending.result() == 600
            keys = ["s"] if kind == "stream" else PartitionedStream(client, "s").keys()
            assert numbers(client, *keys) == list(range(600))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("ill", ILLS)
def test_a_refused_append_waits_too(ill: str, *, named: bool) -> None:
    with redis_server() as url, Proxy(url) as proxy, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(proxy.url) as client:
            stream = CappedStream(client, "s", maxlen=10)
            stream.append({"n": 0})
            ILLS[ill](plain)

            def append() -> None:
                stream.append({"n": 1}, idempotency_key="k" if named else None)

            with running(append) as appending:
                until(lambda: proxy.counts[b"EVALSHA"] >= 3)
                assert not appending.done
                well(plain)
                appending.result()
            assert numbers(client, "s") == [0, 1]


@pytest.mark.parametrize(
    ("ill", "words"), [("OOM", "maxmemory"), ("READONLY", "read only replica"), ("NOREPLICAS", "enough good replicas")]
)
def test_a_refusal_for_too_long_is_reported_with_what_was_written(
    monkeypatch: pytest.MonkeyPatch, ill: str, words: str
) -> None:
    monkeypatch.setattr(streamkit._sync.appending, "PATIENCE", 0.1)
    with redis_server() as url, Proxy(url) as proxy, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(proxy.url) as client:
            proxy.call_before(lambda: ILLS[ill](plain), matching=b"EVAL", nth=4)
            with pytest.raises(ServerUnavailable, match="the server refuses for now while") as caught:
                Stream(client, "s").append_many({"n": n} for n in range(600))
            assert words in str(caught.value).lower()
            assert "'s'" in str(caught.value)
            assert "written before it: 120)" in str(caught.value)
            with pytest.raises(ServerUnavailable, match="refuses for now"):
                Stream(client, "s").append({"n": 600})
            well(plain)
            Stream(client, "s").append({"n": 120})
            assert numbers(client, "s") == list(range(121))


def test_a_server_busy_with_anothers_script_is_waited_for() -> None:
    with redis_server(settings={"busy-reply-threshold": "20"}) as url, Proxy(url) as proxy:
        with redis.Redis.from_url(url) as other, redis.Redis.from_url(proxy.url) as client:
            stream = Stream(client, "s")
            stream.append({"n": 0})

            def hog() -> None:
                with pytest.raises(redis.ResponseError, match="killed"):
                    other.eval("while true do end", 0)

            def busy() -> bool:
                try:
                    client.ping()
                except redis.ResponseError:
                    return True
                return False

            def append_many() -> int:
                return stream.append_many({"n": n} for n in range(1, 100))

            with running(hog):
                until(busy)
                with running(append_many) as appending:
                    until(lambda: proxy.counts[b"EVALSHA"] >= 4)
                    assert not appending.done
                    with redis.Redis.from_url(url) as plain:
                        plain.script_kill()
                    assert appending.result() == 99
            assert numbers(client, "s") == list(range(100))


def test_a_new_client_of_a_server_that_is_busy_is_told_so_and_is_good_afterwards() -> None:
    with redis_server(settings={"busy-reply-threshold": "20"}) as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as other, redis.Redis.from_url(url) as client:

            def hog() -> None:
                with pytest.raises(redis.ResponseError, match="killed"):
                    other.eval("while true do end", 0)

            def busy() -> bool:
                try:
                    plain.ping()
                except redis.ResponseError:
                    return True
                return False

            with running(hog):
                until(busy)
                for call in (Stream(client, "s").length, CheckpointedReader(client, "s", "c").saved):
                    with pytest.raises(ServerUnavailable, match=r"refuses for now while asking for INFO: .*[Bb]usy"):
                        call()
                plain.script_kill()
            assert Stream(client, "s").length() == 0


def test_a_call_that_a_former_master_refuses_leaves_its_connection_to_nobody() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        with redis.Redis.from_url(url) as client:
            stream, reader = CappedStream(client, "s", maxlen=10), CheckpointedReader(client, "s", "c")
            stream.append({"n": 0})
            read_only(plain)
            for call in (stream.trim, lambda: stream.trim(unless_pending=True), reader.reset):
                before = client.client_id()
                with pytest.raises(ServerUnavailable, match="refuses for now"):
                    call()
                # Behind the same name there may be another master by now.
                assert client.client_id() != before


@pytest.mark.parametrize("kind", ["stream", "timed"])
def test_a_script_flushed_in_the_middle_of_many_is_sent_again(redis_url: str, name: str, kind: str) -> None:
    with Proxy(redis_url) as proxy, redis.Redis.from_url(redis_url) as plain:
        flush: Callable[[], Any] = plain.script_flush
        with redis.Redis.from_url(proxy.url) as client:
            stream = PartitionedStream(client, name) if kind == "timed" else Stream(client, name)
            stream.append({"n": 0}, at=NOON if kind == "timed" else None)
            proxy.call_before(flush, matching=b"EVALSHA", nth=3)
            proxy.call_before(flush, matching=b"EVALSHA", nth=7)
            proxy.call_before(flush, matching=b"EVALSHA", nth=8)
            times = (NOON + timedelta(milliseconds=n) for n in itertools.count(1))
            values = ({"n": n} for n in range(1, 601))
            assert stream.append_many(values, times=times if kind == "timed" else None) == 600
            keys = [PartitionedStream(client, name).key_for(NOON)] if kind == "timed" else [name]
            assert numbers(client, *keys) == list(range(601))
        # The first append's, and one for each flush that was noticed.
        assert 3 <= proxy.counts[b"EVAL"] <= 8


def test_a_flushed_script_is_no_error_for_anything_else(client: redis.Redis, name: str) -> None:
    stream = PartitionedStream(client, name)
    for n in range(3):
        client.script_flush()
        stream.append({"n": n})
        client.script_flush()
        stream.append({"n": n}, idempotency_key=f"{n}")
        client.script_flush()
        assert stream.trim() == 0
    assert stream.length() == 6
