"""Any number of members share the shards of a stream: each shard is read by one, exactly once, in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    CheckpointedReader,
    Entry,
    InvalidArgument,
    Observer,
    PermissionDenied,
    ServerUnavailable,
    ShardedReader,
    ShardedStream,
    Stream,
    WrongKeyType,
)
from streamkit.testing import Cluster
from tests.integration.asyncio._readers import raw
from tests.integration.asyncio._runtime import DEADLINE, Running, pause, running, until
from tests.integration.asyncio._shards import (
    KINDS,
    LEASE,
    SHARDS,
    Adding,
    Fields,
    Totals,
    daily,
    emitted,
    fill,
    in_order,
    member_of,
    sharded,
    totals_of,
)
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder

ROOT = Path(__file__).parents[3]
LIMIT = 1.0
LONG = timedelta(seconds=60)
"""A lease that is longer than any test takes."""

pytestmark = pytest.mark.usefixtures("short_waits")


def has_read(client: Any, stream: ShardedStream[Fields], count: int) -> Callable[[], Any]:
    """A condition: so many entries are in the checkpoints."""

    async def found() -> bool:
        return (await totals_of(client, stream)).count >= count

    return found


async def check(client: Any, stream: ShardedStream[Fields], count: int) -> None:
    """Whoever read what: states and output are those of every entry once, in order."""
    assert await totals_of(client, stream) == Totals(count, sum(range(count)))
    out = await emitted(client, stream)
    assert sorted(n for numbers in out.values() for n in numbers) == list(range(count))
    assert all(in_order(numbers) for numbers in out.values())


def shares(*members: ShardedReader[Any, Any]) -> list[int]:
    """How many shards each of them reads."""
    return [len(member.shards) for member in members]


# One member, and several --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_one_member_reads_all(store: Any, name: str, kind: str) -> None:
    stream, adding, recorder = sharded(store, name, kind), Adding(store, name), Recorder()
    await fill(stream, range(200))
    member = member_of(store, stream, "a", adding, lease=LONG, observer=recorder)
    async with running(member.run, adding, stop=member.stop):
        await until(has_read(store, stream, 200))
        await fill(stream, range(200, 250))
        await until(has_read(store, stream, 250))
        assert member.shards == ["0", "1", "2", "3"]
    await check(store, stream, 250)
    assert member.shards == []
    assert recorder.of("on_shards") == [(f"{name}:totals", "a", ["0", "1", "2", "3"]), (f"{name}:totals", "a", [])]
    assert await store.exists(f"{{{name}:totals}}:shards") == 0


async def test_members_that_join_get_their_share(store: Any, name: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    first, second, third = (member_of(store, stream, each, adding) for each in "abc")
    await fill(stream, range(100))
    async with running(first.run, adding, stop=first.stop):
        await until(lambda: shares(first) == [4])
        async with running(second.run, adding, stop=second.stop):
            await until(lambda: shares(first, second) == [2, 2])
            await fill(stream, range(100, 200))
            async with running(third.run, adding, stop=third.stop):
                await until(lambda: sorted(shares(first, second, third)) == [1, 1, 2])
                await fill(stream, range(200, 300))

                def held() -> list[str]:
                    return sorted([*first.shards, *second.shards, *third.shards])

                await until(lambda: held() == ["0", "1", "2", "3"])
                await until(has_read(store, stream, 300))
            await until(lambda: shares(first, second) == [2, 2])
        await until(lambda: shares(first) == [4])
        await fill(stream, range(300, 400))
        await until(has_read(store, stream, 400))
    await check(store, stream, 400)


@pytest.mark.steady
async def test_more_members_than_shards_wait_for_their_turn(store: Any, name: str) -> None:
    stream, adding = sharded(store, name, shards=1), Adding(store, name)
    first, second = member_of(store, stream, "a", adding), member_of(store, stream, "b", adding)
    await fill(stream, range(20))
    async with running(second.run, adding, stop=second.stop), running(first.run, adding, stop=first.stop):
        await until(has_read(store, stream, 20))
        await pause(LEASE.total_seconds())
        assert sorted(shares(first, second)) == [0, 1]
        had, has = (first, second) if first.shards else (second, first)
        had.stop()
        await until(lambda: shares(had, has) == [0, 1])
        await fill(stream, range(20, 40))
        await until(has_read(store, stream, 40))
    await check(store, stream, 40)


async def test_one_that_stops_hands_its_shards_on_at_once(store: Any, name: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    first = member_of(store, stream, "a", adding, lease=LONG)
    second = member_of(store, stream, "b", adding)
    async with running(first.run, adding, stop=first.stop) as run:
        await until(lambda: shares(first) == [4])
        async with running(second.run, adding, stop=second.stop):
            first.stop()
            await run.result()
            await until(lambda: shares(second) == [4])
            await fill(stream, range(50))
            await until(has_read(store, stream, 50))
    await check(store, stream, 50)


async def test_a_member_of_the_same_name_goes_on_at_once(store: Any, name: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    record = f"{{{name}:totals}}:shards"
    ends = int(time.time() * 1000) + 3_600_000
    await raw(store).hset(record, mapping={"member:a": ends, **{f"shard:{n}": f"a until {ends}" for n in range(4)}})
    member = member_of(store, stream, "a", adding)
    async with running(member.run, adding, stop=member.stop):
        await until(lambda: shares(member) == [4])


async def test_partitions_of_shards_are_read_over_midnight(store: Any, name: str) -> None:
    stream, adding = sharded(store, name, "partitioned", 2), Adding(store, name)
    await fill(stream, range(20))
    member = member_of(store, stream, "a", adding)
    async with running(member.run, adding, stop=member.stop):
        await until(has_read(store, stream, 20))
    assert {key.split(":")[-1] for key in adding.seen} == {f"{time.strftime('%Y%m%d', time.gmtime())}"}
    assert isinstance(stream.shards[0], type(daily(store, "x")))


# Members that die, or freeze ----------------------------------------------------------------------------------------


@contextmanager
def program(where: Any, url: str, name: str, lease: float) -> Iterator[subprocess.Popen[str]]:
    """A member in a process of its own."""
    kind = "cluster" if "Cluster" in type(where).__name__ else "server"
    command = [sys.executable, "-m", "tests.integration.asyncio.sharding_program", kind, url, name, str(lease)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def url(store: Any, redis_url: str, request: pytest.FixtureRequest) -> str:
    """Where the client leads to."""
    if "Cluster" not in type(store).__name__:
        return redis_url
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.url


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line of a program."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.steady
async def test_what_a_killed_member_had_is_taken_over_after_its_lease(store: Any, name: str, url: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    await fill(stream, range(1000))
    member = member_of(store, stream, "a", adding)
    with program(store, url, name, LEASE.total_seconds()) as process:
        assert line_of(process) == "reads 0 1 2 3"
        await until(has_read(store, stream, 50))
        async with running(member.run, adding, stop=member.stop):
            await until(lambda: shares(member) == [2])
            process.kill()
            process.wait()
            killed = time.monotonic()
            await until(lambda: shares(member) == [4])
            assert time.monotonic() - killed < 3 * LEASE.total_seconds()
            await until(has_read(store, stream, 1000))
    await check(store, stream, 1000)


async def test_a_frozen_member_makes_no_progress_when_it_goes_on(store: Any, name: str, url: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    await fill(stream, range(1000))
    member = member_of(store, stream, "a", adding)
    with program(store, url, name, LEASE.total_seconds()) as process:
        assert line_of(process) == "reads 0 1 2 3"
        await until(has_read(store, stream, 50))
        os.kill(process.pid, signal.SIGSTOP)
        await fill(stream, range(1000, 1100))  # some for each shard, however far it came
        async with running(member.run, adding, stop=member.stop):
            await until(lambda: shares(member) == [4])
            await until(lambda: len(adding.seen) == SHARDS)
            os.kill(process.pid, signal.SIGCONT)
            await until(lambda: shares(member) == [2])
            assert len(line_of(process).split()) < 5
            await until(has_read(store, stream, 1100))
            process.terminate()
            assert process.wait(DEADLINE) == 0
    await check(store, stream, 1100)


async def test_members_that_come_and_go_lose_and_double_nothing(store: Any, name: str) -> None:
    stream, adding = sharded(store, name, shards=6), Adding(store, name)
    await fill(stream, range(1500))

    async def take_part(number: int) -> None:
        for turn in range(3):
            member = member_of(store, stream, f"m{number}-{turn}", adding, lease=timedelta(seconds=0.2))
            async with running(member.run, adding, stop=member.stop):
                await pause(0.15 + number * 0.05)

    async with running(take_part, 1), running(take_part, 2), running(take_part, 3):
        await fill(stream, range(1500, 2000))
    member = member_of(store, stream, "last", adding)
    async with running(member.run, adding, stop=member.stop):
        await until(has_read(store, stream, 2000))
    await check(store, stream, 2000)


# Errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ZeroDivisionError, ServerUnavailable])
async def test_what_a_handler_raises_ends_all_and_is_raised(store: Any, name: str, error: type[Exception]) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    await fill(stream, range(100))

    async def handle(entry: Entry[Fields], reader: CheckpointedReader[Fields, Totals]) -> None:
        await adding(entry, reader)
        if entry.value["n"] == "57":
            raise error

    member = member_of(store, stream, "a", adding)
    with pytest.raises(error):
        await member.run(handle)
    assert member.shards == []
    assert await store.exists(f"{{{name}:totals}}:shards") == 0
    assert "57" not in str(await emitted(store, stream))
    async with running(member.run, adding, stop=member.stop):
        await until(has_read(store, stream, 100))
    await check(store, stream, 100)


async def test_a_maker_that_raises_is_raised(store: Any, name: str) -> None:
    def make(shard: Any, checkpoint: str) -> CheckpointedReader[Fields, Totals]:
        if checkpoint.endswith("{2}"):
            raise ZeroDivisionError
        return CheckpointedReader(store, shard, checkpoint, state=Totals(), observer=Observer())

    stream = sharded(store, name)
    member = ShardedReader(store, stream, f"{name}:totals", make, observer=Observer())
    with pytest.raises(ZeroDivisionError):
        await member.run(Adding(store, name))
    assert await store.exists(f"{{{name}:totals}}:shards") == 0


@pytest.mark.parametrize("wrong", ["shard", "checkpoint", "record"])
async def test_a_key_of_another_type_ends_it(store: Any, name: str, wrong: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    member = member_of(store, stream, "a", adding)
    key = {
        "shard": stream.shards[1].name,
        "checkpoint": member.checkpoint_of("1"),
        "record": f"{{{name}:totals}}:shards",
    }[wrong]
    await store.set(key, "x")
    with pytest.raises(WrongKeyType) as caught:
        await member.run(adding)
    assert key in str(caught.value)
    await store.delete(key)
    async with running(member.run, adding, stop=member.stop):
        await until(lambda: shares(member) == [4])


async def test_what_cannot_work_is_refused_at_once(store: Any, name: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    given: Any = Stream(store, name)
    with pytest.raises(InvalidArgument, match="source must be a ShardedStream, not Stream"):
        ShardedReader(store, given, name, adding.make)
    for wrong in ("", f"{{{name}}}"):
        with pytest.raises(InvalidArgument, match="name must"):
            ShardedReader(store, stream, wrong, adding.make)
    with pytest.raises(InvalidArgument, match="member must be a non-empty str"):
        member_of(store, stream, "", adding)
    with pytest.raises(InvalidArgument, match="lease"):
        member_of(store, stream, "a", adding, lease=timedelta(0))
    with pytest.raises(InvalidArgument, match="must not be that of the source"):
        ShardedReader(store, stream, name, adding.make)
    member = ShardedReader(store, stream, f"{name}:c", adding.make)
    assert member.member != ShardedReader(store, stream, f"{name}:c", adding.make).member
    assert member.checkpoint_of("1") == f"{name}:c:{{1}}"
    async with running(member.run, adding, stop=member.stop):
        await until(lambda: shares(member) == [4])
        with pytest.raises(InvalidArgument, match="is at work already"):
            await member.run(adding)
        assert shares(member) == [4]


async def test_a_right_that_is_wanting_is_named(client: redis.asyncio.Redis, redis_url: str, name: str) -> None:
    stream = sharded(client, name)
    await raw(client).acl_setuser(name, enabled=True, nopass=True, categories=["+@all"], keys=[f"{name}*"])
    try:
        user = redis_url.replace("redis://", f"redis://{name}:x@")
        async with redis.asyncio.Redis.from_url(user) as limited:
            adding = Adding(limited, name)
            with pytest.raises(PermissionDenied, match=f"sharing '{name}:totals'"):
                await member_of(limited, sharded(limited, name), "a", adding).run(adding)
    finally:
        await raw(client).acl_deluser(name)
    assert await stream.length() == 0


# The server is away -------------------------------------------------------------------------------------------------


async def test_a_server_that_cannot_be_reached_at_the_start_is_an_error(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        proxy.down()
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            adding = Adding(client, name)
            with pytest.raises(ServerUnavailable):
                await member_of(client, sharded(client, name), "a", adding).run(adding)


async def test_a_server_that_is_away_is_waited_for(client: redis.asyncio.Redis, redis_url: str, name: str) -> None:
    stream, recorder = sharded(client, name), Recorder()
    await fill(stream, range(100))
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as proxied:
            adding = Adding(proxied, name)
            member = member_of(proxied, sharded(proxied, name), "a", adding, observer=recorder)
            async with running(member.run, adding, stop=member.stop) as run:
                await until(has_read(client, stream, 100))
                proxy.down()
                await until(lambda: len(recorder.of("on_unavailable")) >= 2)
                await fill(stream, range(100, 200))
                await pause(LEASE.total_seconds())
                proxy.up()
                await until(has_read(client, stream, 200))
                assert not run.done
                await until(lambda: len(recorder.of("on_available")) >= 1)
    await check(client, stream, 200)


async def test_a_member_that_lost_the_server_loses_its_shards(
    client: redis.asyncio.Redis, redis_url: str, name: str
) -> None:
    stream, adding = sharded(client, name), Adding(client, name)
    other = member_of(client, stream, "b", adding)
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as proxied:
            cut = Adding(proxied, name)
            member = member_of(proxied, sharded(proxied, name), "a", cut)
            async with (
                running(other.run, adding, stop=other.stop),
                running(member.run, cut, stop=member.stop) as run,
            ):
                await until(lambda: shares(member, other) == [2, 2])
                proxy.down()
                await until(lambda: shares(other) == [4])
                await fill(stream, range(100))
                await until(has_read(client, stream, 100))
                proxy.up()
                await until(lambda: shares(member, other) == [2, 2])
                await fill(stream, range(100, 200))
                await until(has_read(client, stream, 200))
                assert not run.done
    await check(client, stream, 200)


@pytest.mark.steady
async def test_a_shard_that_cannot_be_reached_when_its_turn_comes_is_waited_for(
    client: redis.asyncio.Redis, redis_url: str, name: str
) -> None:
    stream, recorder = sharded(client, name), Recorder()
    await fill(stream, range(40))
    with Proxy(redis_url) as proxy:
        # The shares are known, and the readers find nobody.
        proxy.cut_before_request(matching=b"HGETALL", times=6)
        async with redis.asyncio.Redis.from_url(proxy.url) as proxied:
            adding = Adding(proxied, name)
            member = member_of(proxied, sharded(proxied, name), "a", adding, observer=recorder)
            async with running(member.run, adding, stop=member.stop):
                await until(has_read(client, stream, 40))
                await until(lambda: recorder.of("on_available") != [])
        assert proxy.cuts == 6
    assert len(recorder.of("on_unavailable")) == 6
    await check(client, stream, 40)


# Stopping -----------------------------------------------------------------------------------------------------------


async def ends_soon(run: Running, stop: Callable[[], None]) -> None:
    """It ends within a second, whoever asks."""
    asked = time.monotonic()
    thread = threading.Thread(target=stop)
    thread.start()
    thread.join()
    await run.result()
    assert time.monotonic() - asked < LIMIT


@pytest.mark.steady
async def test_waiting_members_end_within_a_second(store: Any, name: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    member = member_of(store, stream, "a", adding, lease=LONG)
    async with running(member.run, adding, stop=member.stop) as run:
        await until(lambda: shares(member) == [4])
        await ends_soon(run, member.stop)
    assert member.shards == []
    assert await store.exists(f"{{{name}:totals}}:shards") == 0


async def test_stopped_in_the_middle_everything_handled_is_saved(store: Any, name: str) -> None:
    stream, adding, handled = sharded(store, name), Adding(store, name), list[int]()
    await fill(stream, range(2000))
    member = member_of(store, stream, "a", adding)

    async def handle(entry: Entry[Fields], reader: CheckpointedReader[Fields, Totals]) -> None:
        await adding(entry, reader)
        await pause(0.002)
        handled.append(int(entry.value["n"]))
        if len(handled) == 100:
            member.stop()

    await member.run(handle)
    assert await totals_of(store, stream) == Totals(len(handled), sum(handled))
    assert len(handled) < 200


async def test_stopped_before_it_begins_it_reads_nothing(store: Any, name: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    await fill(stream, range(10))
    member = member_of(store, stream, "a", adding)
    member.stop()
    await member.run(adding)
    assert adding.seen == {}


async def test_stopped_while_readers_begin_it_ends_within_a_second(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            adding = Adding(client, name)
            for nth in range(1, 12):
                member = member_of(client, sharded(client, name), "a", adding)
                proxy.call_before(member.stop, nth=nth)
                async with running(member.run, adding) as run:
                    await until(lambda: run.done)
                proxy.clear()


@pytest.mark.steady
@pytest.mark.parametrize("moment", [b"HMGET", b"EVALSHA", b"XREAD"])
async def test_a_server_that_hangs_holds_no_stop_up(redis_url: str, name: str, moment: bytes) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            adding = Adding(client, name)
            member = member_of(client, sharded(client, name), "a", adding, lease=timedelta(seconds=0.2))
            async with running(member.run, adding, stop=member.stop) as run:
                await until(lambda: shares(member) == [4])
                proxy.hang(matching=moment)
                await pause(0.3)
                await ends_soon(run, member.stop)
            proxy.resume()


async def test_a_signal_stops_it(store: Any, name: str, url: str) -> None:
    stream = sharded(store, name)
    with program(store, url, name, 60) as process:
        assert line_of(process) == "reads 0 1 2 3"
        process.terminate()
        assert [line_of(process), line_of(process)] == ["reads", "stopped"]
        assert process.wait(DEADLINE) == 0
    assert await stream.length() == 0


async def test_it_can_be_used_again(store: Any, name: str) -> None:
    stream, adding = sharded(store, name), Adding(store, name)
    member = member_of(store, stream, "a", adding)
    for turn in range(3):
        await fill(stream, range(20 * turn, 20 * turn + 20))
        async with running(member.run, adding, stop=member.stop):
            await until(has_read(store, stream, 20 * turn + 20))
    await check(store, stream, 60)
