# Generated from tests/integration/asyncio/test_clients.py by tools/generate_sync.py: do not edit.
"""The user's client: however it was made, whoever else uses it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
import redis.sentinel

from streamkit import (
    AppendError,
    CappedStream,
    CheckpointedReader,
    EncodeError,
    GroupConsumer,
    InvalidArgument,
    PartitionedStream,
    Replayer,
    Stream,
    WrongKeyType,
)
from streamkit._sync._runtime import HALF, OTHER_CLIENTS, OTHER_HALF
from streamkit.testing import redis_server
from tests.integration._sync._groups import GROUP, Seen, consuming
from tests.integration._sync._jobs import JOBS
from tests.integration._sync._looking import values
from tests.integration._sync._readers import collect, write
from tests.integration._sync._replays import follow
from tests.integration._sync._runtime import pause, running, until
from tests.integration.recording import Recorder
from tests.integration.sentinel import MASTER, sentinel_of

MODERN = int(redis.__version__.split(".")[0]) >= 8
NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)


def blocking_pool_of_one(url: str) -> redis.Redis:
    """A pool whose only connection is waited for."""
    pool: Any = redis.BlockingConnectionPool.from_url(url, max_connections=1, timeout=10)
    return redis.Redis.from_pool(pool)


def by_host(url: str) -> redis.Redis:
    """With redis-py's own defaults: retries above all."""
    return redis.Redis(host="127.0.0.1", port=urlsplit(url).port or 6379)


CLIENTS: dict[str, Callable[[str], redis.Redis]] = {
    "from_url": redis.Redis.from_url,
    "host": by_host,
    "text": lambda url: redis.Redis.from_url(url, decode_responses=True),
    "resp2": lambda url: redis.Redis.from_url(url, protocol=2),
    "resp2-text": lambda url: redis.Redis.from_url(url, protocol=2, decode_responses=True),
    "resp3": lambda url: redis.Redis.from_url(url, protocol=3),
    "resp3-text": lambda url: redis.Redis.from_url(url, protocol=3, decode_responses=True),
    "latin-1": lambda url: redis.Redis.from_url(url, encoding="latin-1", decode_responses=True),
    "pool-of-one": lambda url: redis.Redis.from_url(url, max_connections=1),
    "blocking-pool-of-one": blocking_pool_of_one,
    "checked": lambda url: redis.Redis.from_url(url, health_check_interval=1, socket_timeout=5),
    "hasty": lambda url: redis.Redis.from_url(url, socket_timeout=0.3),
    "hasty-resp3": lambda url: redis.Redis.from_url(url, socket_timeout=0.3, protocol=3),
    "single": lambda url: redis.Redis.from_url(url, single_connection_client=True),
}
if MODERN:
    CLIENTS["unified"] = lambda url: redis.Redis.from_url(url, legacy_responses=False)
    CLIENTS["unified-text"] = lambda url: redis.Redis.from_url(
        url, legacy_responses=False, decode_responses=True, protocol=3
    )
    CLIENTS["unified-resp2"] = lambda url: redis.Redis.from_url(url, legacy_responses=False, protocol=2)


def everything(client: redis.Redis, name: str) -> None:
    """Use every method once."""
    partitioned = PartitionedStream(client, f"{name}:p", max_ahead=timedelta(days=2))
    first = partitioned.append({"n": 0, "word": "grün"}, at=NOON)
    assert partitioned.append_many([{"n": 1}, {"m": 2}], times=[NOON, NOON + timedelta(days=1)]) == 2
    keys = [partitioned.key_for(NOON), partitioned.key_for(NOON + timedelta(days=1))]
    assert partitioned.keys() == keys
    assert partitioned.length() == 3
    assert [info.length for info in partitioned.info()] == [2, 1]
    assert (partitioned.info())[0].first_id == first
    assert partitioned.expires_at(keys[0]) == NOON + timedelta(days=2)
    assert partitioned.trim() == 0
    again = partitioned.append({"n": 3}, idempotency_key="ключ")
    assert partitioned.append({"n": 3}, idempotency_key="ключ") == again

    capped = CappedStream(client, f"{name}:c", maxlen=2, approximate=False)
    assert capped.append_many({"n": n} for n in range(5)) == 5
    assert capped.append({"n": 5}, idempotency_key="k") == capped.append({"n": 5}, idempotency_key="k")
    assert capped.length() == 2
    assert (capped.info()).entries_added == 6
    assert CappedStream(client, f"{name}:c", max_age=timedelta(days=1)).trim() == 0

    client.set(f"{name}:text", "x")
    with pytest.raises(WrongKeyType):
        Stream(client, f"{name}:text").append({"n": 1})
    with pytest.raises(WrongKeyType):
        Stream(client, f"{name}:text").length()


@pytest.mark.steady
@pytest.mark.parametrize("make", CLIENTS)
def test_any_client_will_do(redis_url: str, name: str, make: str) -> None:
    with CLIENTS[make](redis_url) as client:
        everything(client, name)


@pytest.mark.steady
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("make", CLIENTS)
def test_any_client_will_do_for_any_block(redis_url: str, client: redis.Redis, name: str, make: str, job: str) -> None:
    with CLIENTS[make](redis_url) as given:
        JOBS[job](given, client, name)


@pytest.mark.steady
@pytest.mark.parametrize("make", ["hasty", "hasty-resp3"])
def test_no_wait_is_cut_short_by_the_clients_socket_timeout(
    redis_url: str, client: redis.Redis, name: str, make: str
) -> None:
    recorder, read, handled, seen = Recorder(), list[int](), Seen(), list[int]()
    with CLIENTS[make](redis_url) as hasty, ExitStack() as stack:
        reader = CheckpointedReader(hasty, name, f"{name}:c", observer=recorder)
        consumer = GroupConsumer(hasty, name, GROUP, observer=recorder)
        replayer = Replayer(hasty, name, observer=recorder)
        stack.enter_context(running(collect, reader, read, stop=reader.stop))
        stack.enter_context(consuming(consumer, handled))
        stack.enter_context(running(follow, replayer, seen, stop=replayer.stop))
        pause(1)
        write(client, name, 0)
        until(lambda: read == handled.handled == seen == [0])
        pause(1)
        write(client, name, 1)
        until(lambda: read == handled.handled == seen == [0, 1])
    assert recorder.of("on_unavailable") == []


def test_a_client_of_a_unix_socket(tmp_path: Path) -> None:
    # Paths of sockets are short; those of pytest may not be.
    settings = {"unixsocket": "s.sock"}
    with redis_server(settings=settings) as url, redis.Redis.from_url(url) as plain:
        path = Path(str(plain.config_get("dir")["dir"]), "s.sock")
        with redis.Redis(unix_socket_path=str(path)) as client:
            everything(client, "u")


def test_a_client_of_another_database(redis_url: str, name: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        other: Any = {**client.connection_pool.connection_kwargs, "db": 3}
        with redis.Redis(host=other["host"], port=other["port"], db=3) as third:
            Stream(third, name).append({"n": 1})
            assert Stream(third, name).length() == 1
            assert Stream(client, name).length() == 0
            third.delete(name)


def test_a_user_with_a_password_and_no_more_rights_than_needed(name: str) -> None:
    with redis_server() as url:
        with redis.Redis.from_url(url) as plain:
            admin: Any = plain
            rights = "+@stream +@scripting +@connection +info +command|info +time +exists +type +set +get +zadd +zscore"
            more = "+zremrangebyscore +pexpire +pexpireat +pexpiretime"
            rules = f"ACL SETUSER app on >secret ~{name}* ~{{{name}* {rights} {more}"
            admin.execute_command(*rules.split())
        with redis.Redis.from_url(url, username="app", password="secret") as client:
            stream = PartitionedStream(client, name)
            stream.append({"n": 1}, idempotency_key="k")
            assert stream.append_many([{"n": 2}], times=[datetime.now(timezone.utc)]) == 1
            assert stream.length() == 2
            assert stream.trim() == 0
            capped = CappedStream(client, f"{name}:c", maxlen=1, approximate=False)
            capped.append({"n": 1})
            assert capped.trim() == 0


def test_a_sentinels_master(redis_url: str) -> None:
    with redis_server() as url, sentinel_of(url) as address:
        make: Any = redis.sentinel.Sentinel
        sentinel = make([address])
        with ExitStack() as stack:
            for watcher in sentinel.sentinels:
                stack.enter_context(watcher)
            client = stack.enter_context(sentinel.master_for(MASTER))
            everything(client, "s")


# Who is refused -----------------------------------------------------------------------------------------------------


def test_a_client_of_the_other_half_is_refused(name: str) -> None:
    other: Any = OTHER_CLIENTS[0]()
    for make in (Stream, PartitionedStream):
        with pytest.raises(InvalidArgument, match=f"belongs to {OTHER_HALF}, and this is {HALF}$"):
            make(other, name)
    with pytest.raises(InvalidArgument, match="belongs to"):
        CappedStream(other, name, maxlen=1)


@pytest.mark.parametrize("client", [None, "redis://localhost", object()])
def test_what_is_no_client_is_refused(client: Any, name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"client must be a redis\..*Redis"):
        Stream(client, name)


# Together -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["from_url", "host", "blocking-pool-of-one"])
def test_one_client_and_stream_serve_many_at_once(redis_url: str, name: str, make: str) -> None:
    with CLIENTS[make](redis_url) as client:
        stream = PartitionedStream(client, name)

        def producer(number: int) -> None:
            for n in range(20):
                stream.append({"producer": number, "n": n})
            assert stream.append_many({"producer": number, "n": n} for n in range(20, 600)) == 580
            for n in range(600, 620):
                stream.append({"producer": number, "n": n}, idempotency_key=f"{number}-{n}")

        with ExitStack() as stack:
            runs = [stack.enter_context(running(producer, number)) for number in range(6)]
            for run in runs:
                run.result()
        written: dict[int, list[int]] = {number: [] for number in range(6)}
        for fields in values(client, *stream.keys()):
            written[int(fields[b"producer"])].append(int(fields[b"n"]))
    assert written == {number: list(range(620)) for number in range(6)}


def test_connections_are_given_back_whatever_happens(redis_url: str, name: str) -> None:
    with redis.Redis.from_url(redis_url, max_connections=1) as client:
        stream = CappedStream(client, name, maxlen=10)
        bad: Any = {"n": None}
        stream.append({"n": 1}, at=NOON)
        for _ in range(3):
            with pytest.raises(EncodeError):
                stream.append(bad)
            with pytest.raises(AppendError):
                stream.append({"n": 1}, at=NOON - timedelta(days=1))
            with pytest.raises(AppendError):
                stream.append_many([{"n": 1}] * 3, times=[NOON - timedelta(days=1)] * 3)
            with pytest.raises(ZeroDivisionError):
                stream.append_many({"n": 1 // n} for n in (1, 0))
        assert client.ping()
        # Nothing was left on the connection for the next user to find.
        assert client.echo("me") == b"me"
