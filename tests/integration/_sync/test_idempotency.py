# Generated from tests/integration/asyncio/test_idempotency.py by tools/generate_sync.py: do not edit.
"""Appends that are named: a second one of the same name writes nothing and gives the first one's ID.

With STREAMKIT_REDIS_8_6 naming the binary of a Redis 8.6 or newer, everything is also run on that, where capped streams
leave it to the server (XADD IDMP).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import redis

import streamkit._sync.partitioned
from streamkit import CappedStream, EntryId, InvalidArgument, OutOfOrder, PartitionedStream, Period, Stream
from streamkit.testing import redis_server
from tests.integration._sync._looking import keys_like
from tests.integration._sync._runtime import running, until
from tests.integration.proxy import Proxy

NEWEST = os.environ.get("STREAMKIT_REDIS_8_6")
DAY = timedelta(days=1)
NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)
SECONDS = Period("SECOND", "%Y%m%d%H%M%S", timedelta(seconds=1))
KINDS = ("plain", "capped", "aged", "partitioned")


@pytest.fixture(scope="module", params=["shared", "newest"] if NEWEST else ["shared"])
def url(request: pytest.FixtureRequest, redis_url: str) -> Iterator[str]:
    """The server of all tests, and the one that was named."""
    if request.param == "shared":
        yield redis_url
    else:
        with redis_server(binary=NEWEST) as url:
            yield url


def stream_of(
    kind: str, client: redis.Redis, name: str, window: timedelta = timedelta(minutes=10)
) -> Stream | PartitionedStream:
    """A stream of that kind."""
    if kind == "partitioned":
        return PartitionedStream(client, name, idempotency_window=window)
    if kind == "capped":
        return CappedStream(client, name, maxlen=1000, idempotency_window=window)
    if kind == "aged":
        return CappedStream(client, name, max_age=DAY, idempotency_window=window)
    return Stream(client, name, idempotency_window=window)


def calls(client: redis.Redis, command: str) -> int:
    """How often the server ran a command, in scripts too."""
    stats: dict[str, Any] = client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def native(kind: str, url: str) -> bool:
    """Whether the server itself remembers for such a stream."""
    if kind not in {"capped", "aged"}:
        return False
    with redis.Redis.from_url(url) as plain, pytest.raises(redis.ResponseError) as caught:
        plain.execute_command("XCFGSET")
    return "unknown command" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_of_a_name_writes_nothing_and_gives_the_firsts_id(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = stream_of(kind, client, name)
        first = stream.append({"n": 1}, idempotency_key="order-1")
        other = stream.append({"n": 2}, idempotency_key="order-2")
        assert stream.append({"n": 3}, idempotency_key="order-1") == first
        assert stream_of(kind, client, name).append({"n": 4}, idempotency_key="order-2") == other
        assert first < other
        assert stream.length() == 2
        # Not named, so not compared.
        stream.append({"n": 1})
        assert stream.length() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_streams_do_not_share_names(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        for suffix in ("a", "b"):
            stream_of(kind, client, f"{name}:{suffix}").append({"n": 1}, idempotency_key="k")
        for suffix in ("a", "b"):
            assert stream_of(kind, client, f"{name}:{suffix}").length() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_any_name_will_do(url: str, name: str, kind: str) -> None:
    names = ["x", "*", "ünï {}: \n\x00", "k" * 64, "k" * 65, "k" * 66, "long " * 10_000]
    with redis.Redis.from_url(url) as client:
        stream = stream_of(kind, client, name)
        ids = [stream.append({"n": 1}, idempotency_key=key) for key in names]
        assert len(set(ids)) == len(names)
        assert [stream.append({"n": 2}, idempotency_key=key) for key in names] == ids
        assert stream.length() == len(names)
        with pytest.raises(InvalidArgument, match="idempotency_key must not be empty"):
            stream.append({"n": 1}, idempotency_key="")


@pytest.mark.parametrize("kind", KINDS)
def test_a_time_may_be_given_too(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = stream_of(kind, client, name)
        first = stream.append({"n": 1}, at=NOON, idempotency_key="k")
        assert first == EntryId.at(NOON)
        assert stream.append({"n": 1}, at=NOON, idempotency_key="k") == first
        # A repetition is known as such before it is found out of order.
        stream.append({"n": 2}, at=NOON + timedelta(seconds=1))
        assert stream.append({"n": 1}, at=NOON, idempotency_key="k") == first
        with pytest.raises(OutOfOrder):
            stream.append({"n": 1}, at=NOON, idempotency_key="another")
        assert stream.length() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_append_leaves_its_name_free(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = stream_of(kind, client, name)
        stream.append({"n": 1}, at=NOON)
        with pytest.raises(OutOfOrder):
            stream.append({"n": 2}, at=NOON - timedelta(seconds=1), idempotency_key="k")
        written = stream.append({"n": 2}, at=NOON + timedelta(seconds=1), idempotency_key="k")
        assert written == EntryId.at(NOON + timedelta(seconds=1))
        assert stream.length() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_at_once_from_many_sides_only_one_is_written(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = stream_of(kind, client, name)

        def append() -> EntryId:
            return stream.append({"n": 1}, idempotency_key="k")

        with ExitStack() as stack:
            runs = [stack.enter_context(running(append)) for _ in range(12)]
            ids = {run.result() for run in runs}
        assert len(ids) == 1
        assert stream.length() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_forgotten_after_the_window(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        window = timedelta(seconds=1) if native(kind, url) else timedelta(milliseconds=100)
        stream = stream_of(kind, client, name, window)
        first = stream.append({"n": 1}, idempotency_key="k")

        def forgotten() -> bool:
            return stream.append({"n": 1}, idempotency_key="k") != first

        until(forgotten)
        assert stream.length() >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_reply_is_made_up_for(url: str, name: str, kind: str) -> None:
    with Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            stream = stream_of(kind, client, name)
            ids = set[EntryId]()
            for n, cut in enumerate((proxy.cut_after_request, proxy.cut_before_request, proxy.cut_amid_reply)):
                cut(matching=b"EVAL")
                ids.add(stream.append({"n": n}, idempotency_key=f"order-{n}"))
            assert proxy.cuts == 3
            assert len(ids) == 3
            assert stream.length() == 3


# Partitions ---------------------------------------------------------------------------------------------------------


def test_a_repetition_in_another_partition_is_caught(url: str, name: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = PartitionedStream(client, name)
        first = stream.append({"n": 1}, at=NOON - DAY, idempotency_key="k")
        assert stream.append({"n": 1}, at=NOON, idempotency_key="k") == first
        assert stream.append({"n": 1}, idempotency_key="k") == first
        assert stream.keys() == [stream.key_for(NOON - DAY)]


def test_a_repetition_after_the_period_ended_is_caught(url: str, name: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = PartitionedStream(client, name, period=SECONDS, retention=timedelta(minutes=1))
        first = stream.append({"n": 1}, idempotency_key="k")
        until(lambda: datetime.now(timezone.utc) > SECONDS.after(SECONDS.start_of(first.time)))
        other = stream.append({"n": 2}, idempotency_key="k2")
        assert stream.key_for(other.time) > stream.key_for(first.time)
        assert stream.append({"n": 1}, idempotency_key="k") == first
        assert stream.length() == 2


def test_a_clients_wrong_clock_makes_no_second_one(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis.Redis.from_url(url) as client:
        first = PartitionedStream(client, name).append({"n": 1}, idempotency_key="k")
        yesterday = SimpleNamespace(time_ns=lambda: (EntryId.at(NOON).ms - 86_400_000) * 1_000_000)
        monkeypatch.setattr(streamkit._sync.partitioned, "time", yesterday)
        stream = PartitionedStream(client, name)
        assert stream.append({"n": 1}, idempotency_key="k") == first
        second = stream.append({"n": 2}, idempotency_key="k2")
        assert stream.append({"n": 2}, idempotency_key="k2") == second
        assert stream.length() == 2


def test_what_is_remembered_stands_beside_the_stream_and_expires(url: str, name: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = PartitionedStream(client, name, idempotency_window=timedelta(minutes=2))
        stream.append({"n": 1}, idempotency_key="order-1")
        stream.append({"n": 1}, idempotency_key="x" * 100_000)
        guards = keys_like(client, f"{{{name}}}:once:*")
        assert len(guards) == 2
        assert f"{{{name}}}:once:order-1" in guards
        for guard in guards:
            assert len(guard) < 200
            assert 100_000 < client.pttl(guard) <= 120_000
        assert len(stream.keys()) == 1


# Left to the server ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["capped", "aged"])
def test_the_window_is_configured_once_and_only_where_the_server_remembers(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        before = calls(client, "xcfgset")
        stream = stream_of(kind, client, name, timedelta(seconds=250))
        stream.append({"n": 0})
        stream.append_many([{"n": 0}])
        assert calls(client, "xcfgset") == before
        for n in range(3):
            stream.append({"n": n}, idempotency_key=f"{n}")
            stream_of(kind, client, name, timedelta(seconds=250)).append({"n": n}, idempotency_key=f"{n}")
        assert stream.length() == 5
        if native(kind, url):
            assert calls(client, "xcfgset") - before == 1
            assert keys_like(client, f"{{{name}}}*") == {f"{{{name}}}:appends"}
            info: dict[str, Any] = client.xinfo_stream(name)
            assert (info["idmp-duration"], info["idmp-maxsize"]) == (250, 10_000)
            assert info["groups"] == 0
        else:
            assert calls(client, "xcfgset") == before
            assert len(keys_like(client, f"{{{name}}}:once:*")) == 3


@pytest.mark.parametrize("kind", ["capped", "aged"])
def test_a_window_that_is_set_already_is_left_alone(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.xadd(name, {"n": 0})
        if native(kind, url):
            with redis.Redis.from_url(url) as plain:
                plain.execute_command("XCFGSET", name, "IDMP-DURATION", 77, "IDMP-MAXSIZE", 10_000)
        before = calls(client, "xcfgset")
        stream = stream_of(kind, client, name, timedelta(seconds=77))
        first = stream.append({"n": 1}, idempotency_key="k")
        assert stream.append({"n": 1}, idempotency_key="k") == first
        assert calls(client, "xcfgset") == before
        # Another window is another wish: set, which forgets the names known so far.
        stream_of(kind, client, name, timedelta(seconds=78)).append({"n": 2}, idempotency_key="k2")
        assert calls(client, "xcfgset") == before + native(kind, url)


@pytest.mark.parametrize("kind", ["capped", "aged"])
@pytest.mark.parametrize("window", [timedelta(milliseconds=1500), DAY, 2 * DAY])
def test_any_window_will_do(url: str, name: str, kind: str, window: timedelta) -> None:
    with redis.Redis.from_url(url) as client:
        stream = stream_of(kind, client, name, window)
        first = stream.append({"n": 1}, idempotency_key="k")
        assert stream.append({"n": 1}, idempotency_key="k") == first
        if native(kind, url) and window <= DAY:
            info: dict[str, Any] = client.xinfo_stream(name)
            # Whole seconds, rather longer than shorter.
            assert info["idmp-duration"] == -(-window // timedelta(seconds=1))


@pytest.mark.parametrize("kind", ["capped", "aged"])
def test_a_repetition_of_what_was_trimmed_is_still_one(url: str, name: str, kind: str) -> None:
    with redis.Redis.from_url(url) as client:
        stream = stream_of(kind, client, name)
        first = stream.append({"n": 1}, idempotency_key="k")
        client.xtrim(name, maxlen=0)
        assert stream.append({"n": 1}, idempotency_key="k") == first
        assert stream.length() == 0
