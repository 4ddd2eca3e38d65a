# Generated from tests/integration/asyncio/test_lost_replies.py by tools/generate_sync.py: do not edit.
"""Replies lost, connections cut, servers restarted: nothing is doubled, nothing is lost, what is unknown is said."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

import streamkit._sync.appending
from streamkit import AppendUncertain, CappedStream, PartitionedStream, ServerUnavailable, Stream
from streamkit._core import appends
from streamkit._core.retry import Backoff
from streamkit.testing import redis_server
from tests.integration._sync._looking import numbers
from tests.integration._sync._runtime import pause, running, until
from tests.integration.proxy import Proxy, Request

NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)
MINUTE = timedelta(minutes=1)
APPEND = b"EVAL"
"""What an append goes out as: EVAL, or EVALSHA once the server knows the script."""


def numbers_at(url: str, *keys: str) -> list[int]:
    """The field n of every entry of these keys, in order."""
    with redis.Redis.from_url(url) as client:
        return numbers(client, *keys)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 40 entries, so that there are many, and short waits."""
    monkeypatch.setattr(appends, "CHUNK", 40)
    monkeypatch.setattr(appends, "FIRST_CHUNK", 40)
    monkeypatch.setattr(streamkit._sync.appending, "RECONNECT", Backoff(base=0.01, maximum=0.05))


# Many ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["stream", "partitioned", "timed"])
def test_many_cuts_at_random_neither_lose_nor_double(redis_url: str, name: str, kind: str, seed: int) -> None:
    count = 1600
    with Proxy(redis_url) as proxy:
        proxy.cut_at_random(0.3, random.Random(seed), matching=APPEND)
        with redis.Redis.from_url(proxy.url) as client:
            values = ({"n": n} for n in range(count))
            if kind == "stream":
                assert Stream(client, name).append_many(values) == count
                keys = [name]
            else:
                stream = PartitionedStream(client, name, max_ahead=timedelta(days=2))
                times = (NOON - 600 * MINUTE + n * MINUTE for n in itertools.count()) if kind == "timed" else None
                assert stream.append_many(values, times=times) == count
                keys = list(stream.keys())
        assert proxy.cuts >= 5
    assert numbers_at(redis_url, *keys) == list(range(count))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request", "cut_amid_reply"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_one_cut_at_any_place(redis_url: str, name: str, fault: str, nth: int) -> None:
    with Proxy(redis_url) as proxy:
        getattr(proxy, fault)(matching=APPEND, nth=nth)
        with redis.Redis.from_url(proxy.url) as client:
            stream = CappedStream(client, name, maxlen=100_000)
            assert stream.append_many({"n": n} for n in range(130)) == 130
        assert proxy.cuts == 1
    assert numbers_at(redis_url, name) == list(range(130))


@pytest.mark.usefixtures("small_chunks")
def test_the_same_chunk_may_fail_again_and_again(redis_url: str, name: str) -> None:
    def third_chunk(request: Request) -> bool:
        # The script, two keys, the mode, the chunk's token.
        return request[0].startswith(APPEND) and request[6].endswith(b":3")

    with Proxy(redis_url) as proxy:
        proxy.cut_after_request(matching=third_chunk, times=4)
        with redis.Redis.from_url(proxy.url) as client:
            assert Stream(client, name).append_many({"n": n} for n in range(200)) == 200
        assert proxy.cuts == 4
    assert numbers_at(redis_url, name) == list(range(200))


@pytest.mark.usefixtures("small_chunks")
def test_redis_pys_own_retries_double_nothing(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        retry: Any = Retry(ConstantBackoff(0.01), 10)
        with redis.Redis.from_url(proxy.url, retry=retry, retry_on_timeout=True) as client:
            stream = Stream(client, name)
            proxy.cut_after_request(matching=APPEND, nth=2)
            assert stream.append_many({"n": n} for n in range(100)) == 100
            proxy.cut_after_request(matching=APPEND)
            with pytest.raises(AppendUncertain):
                stream.append({"n": 100})
    assert numbers_at(redis_url, name) == list(range(101))


@pytest.mark.usefixtures("small_chunks")
def test_a_server_that_hangs_is_a_lost_reply_too(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        proxy.hang(matching=APPEND, nth=2)
        with redis.Redis.from_url(proxy.url, socket_timeout=0.2) as client:

            def append_many() -> int:
                return Stream(client, name).append_many({"n": n} for n in range(200))

            with running(append_many) as appending:
                # A second connection is made when the first one's reply did not come.
                until(lambda: proxy.connections >= 2)
                proxy.resume()
                assert appending.result() == 200
    assert numbers_at(redis_url, name) == list(range(200))


def test_a_chunk_is_not_sent_again_when_its_token_may_be_forgotten(
    redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.appending, "GUARD_WINDOW", 200)
    monkeypatch.setattr(streamkit._sync.appending, "PATIENCE", 0.1)

    def values() -> Iterator[dict[str, int]]:
        yield from ({"n": n} for n in range(appends.FIRST_CHUNK))
        # A source that falls silent, with a chunk on its way; then the guard has expired.
        time.sleep(0.6)
        yield {"n": appends.FIRST_CHUNK}

    with Proxy(redis_url) as proxy:
        proxy.cut_after_request(matching=APPEND)
        with redis.Redis.from_url(proxy.url) as client:
            # Nobody can know, so nothing else may be done.
            with pytest.raises(AppendUncertain, match="may have been written"):
                Stream(client, name).append_many(values())
    assert numbers_at(redis_url, name) == list(range(appends.FIRST_CHUNK))


@pytest.mark.usefixtures("small_chunks")
def test_a_server_gone_for_good_is_reported_with_what_is_certain(
    redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamkit._sync.appending, "PATIENCE", 0.3)
    with Proxy(redis_url) as proxy:
        proxy.call_before(proxy.down, matching=APPEND, nth=6)
        with redis.Redis.from_url(proxy.url) as client:
            with pytest.raises(AppendUncertain, match="the connection was lost before the server answered") as caught:
                Stream(client, name).append_many({"n": n} for n in range(1000))
            message = str(caught.value)
            assert caught.value.stream == name
            assert repr(name) in message
            assert f"written before it: {caught.value.appended})" in message
            written = numbers_at(redis_url, name)
            assert written == list(range(len(written)))
            assert len(written) - 80 <= caught.value.appended <= len(written)
            with pytest.raises(ServerUnavailable, match="could not be reached"):
                Stream(client, name).append({"n": 0})
            proxy.up()
            Stream(client, name).append({"n": len(written)})
    assert numbers_at(redis_url, name) == list(range(len(written) + 1))


# One ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "written"), [("cut_before_request", 0), ("cut_after_request", 1), ("cut_amid_reply", 1)]
)
@pytest.mark.parametrize("partitioned", [False, True])
def test_a_plain_append_whose_reply_is_lost_is_uncertain_and_not_repeated(
    redis_url: str, name: str, fault: str, written: int, *, partitioned: bool
) -> None:
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            stream = PartitionedStream(client, name) if partitioned else Stream(client, name)
            assert stream.length() == 0
            getattr(proxy, fault)(matching=APPEND)
            with pytest.raises(AppendUncertain) as caught:
                stream.append({"n": 1})
            assert proxy.cuts == 1
            assert stream.length() == written
            key = caught.value.stream
            assert key.startswith(name)
            assert f"an append to {key!r}" in str(caught.value)
            assert "it may have been written" in str(caught.value)
            assert "idempotency_key= can be sent again safely" in str(caught.value)
            # The client is as good as before.
            stream.append({"n": 2})
            assert stream.length() == written + 1


def test_a_plain_append_that_was_never_sent_is_sent(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            stream = Stream(client, name)
            stream.append({"n": 0})
            client.connection_pool.disconnect()
            proxy.down()

            def append() -> None:
                stream.append({"n": 1})

            with running(append) as appending:
                pause(0.2)
                assert not appending.done
                proxy.up()
                appending.result()
    assert numbers_at(redis_url, name) == [0, 1]


@pytest.mark.steady
def test_a_plain_append_to_a_server_that_hangs_ends_with_the_clients_timeout(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        # Long enough for the appends that are answered, on a slow machine, too.
        with redis.Redis.from_url(proxy.url, socket_timeout=1) as client:
            stream = Stream(client, name)
            stream.append({"n": 0})
            proxy.hang(matching=APPEND)
            begin = time.monotonic()
            with pytest.raises(AppendUncertain):
                stream.append({"n": 1})
            assert 0.9 < time.monotonic() - begin < 10
            proxy.resume()
            stream.append({"n": 2})
    written = numbers_at(redis_url, name)
    assert written == [0, 1, 2]


# Restarts -----------------------------------------------------------------------------------------------------------


class Restartable:
    """A server that keeps what it was told on disk, and can be stopped and started again on its port."""

    def __init__(self, directory: Path) -> None:
        self._settings = {"dir": str(directory), "appendonly": "yes", "appendfsync": "always"}
        self._running = ExitStack()
        self.url = self._running.enter_context(redis_server(settings=self._settings))

    def stop(self) -> None:
        """Stop it; it answers nobody."""
        self._running.close()

    def start(self) -> None:
        """Start it again."""
        self._running.enter_context(redis_server(settings=self._settings, port=urlsplit(self.url).port))

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Restartable]:
    """A server that can be restarted."""
    server = Restartable(tmp_path)
    yield server
    server.stop()


@pytest.mark.usefixtures("small_chunks")
def test_a_restart_in_the_middle_of_many(server: Restartable) -> None:
    def values(interrupt: Callable[[], None]) -> Iterator[dict[str, int]]:
        for n in range(500):
            if n in {130, 333}:
                interrupt()
            yield {"n": n}

    with redis.Redis.from_url(server.url) as client:
        assert Stream(client, "s").append_many(values(server.restart)) == 500
        Stream(client, "s").append({"n": 500})
    assert numbers_at(server.url, "s") == list(range(501))


@pytest.mark.usefixtures("small_chunks")
def test_a_server_that_is_away_for_a_while(server: Restartable) -> None:
    reached: list[int] = []

    def values() -> Iterator[dict[str, int]]:
        for n in range(400):
            reached.append(n)
            yield {"n": n}

    with redis.Redis.from_url(server.url) as client:
        stream = PartitionedStream(client, "s")
        first = stream.append({"n": -1}, idempotency_key="k")
        server.stop()

        def append_many() -> int:
            return stream.append_many(values())

        def append() -> Any:
            return stream.append({"n": -1}, idempotency_key="k")

        with running(append_many) as many, running(append) as one:
            until(lambda: len(reached) >= 40)
            pause(0.3)
            assert not many.done
            assert not one.done
            server.start()
            assert many.result() == 400
            assert one.result() == first
        keys = stream.keys()
    assert numbers_at(server.url, *keys) == list(range(-1, 400))
