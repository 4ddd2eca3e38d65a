"""A live view: everything that is written from some point on, whatever becomes of partitions and servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio

import streamkit.asyncio.tailing
from streamkit.asyncio import (
    NEW,
    CappedStream,
    EntryId,
    JsonCodec,
    PartitionedStream,
    Period,
    Position,
    Replayer,
    Stream,
    WrongKeyType,
    stop_on_signals,
)
from streamkit.testing import redis_server
from tests.integration.asyncio._readers import SECONDS, key_of, midnight, raw, told, write
from tests.integration.asyncio._replays import MOMENTS, Numbers, days_of, follow, write_at
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder
from tests.integration.suspended import suspended

LIMIT = 1.0


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a tenth of a second."""
    monkeypatch.setattr(streamkit.asyncio.tailing, "SLICE_MS", 100)


async def take(replayer: Numbers, count: int, **start: Any) -> list[int]:
    """The next so many numbers."""
    numbers = list[int]()
    timer = threading.Timer(15, replayer.stop)
    timer.start()
    async for entry in replayer.tail(**start):
        numbers.append(int(entry.value["n"]))
        if len(numbers) == count:
            replayer.stop()
    timer.cancel()
    return numbers


def has(numbers: list[int], *expected: int) -> Callable[[], bool]:
    """A condition: these came, and nothing else."""
    return lambda: numbers == list(expected)


def last_is(numbers: list[int], number: int) -> Callable[[], bool]:
    """A condition: this came last."""
    return lambda: numbers[-1:] == [number]


# Where it begins ----------------------------------------------------------------------------------------------------


async def test_what_is_written_later_comes_and_nothing_older(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, 1, 2)
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, name, observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_waiting"))
        await write(client, name, 3)
        await until(has(numbers, 3))
        await write(client, name, 4, 5)
        await until(has(numbers, 3, 4, 5))
    assert recorder.of("on_start") == [Position(name, ids[1])]


async def test_a_key_that_does_not_exist_yet_may_come(client: redis.asyncio.Redis, name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, CappedStream(client, name, maxlen=100), observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_waiting"))
        await write(client, name, 1)
        await until(has(numbers, 1))


async def test_what_is_written_before_the_first_wait_is_not_missed(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    numbers = list[int]()
    with Proxy(redis_url) as proxy, redis.Redis.from_url(redis_url) as plain:

        def write_two() -> None:
            plain.xadd(name, {"n": 2})

        # NEW is settled by then, and nothing was read yet.
        proxy.call_before(write_two, matching=b"XREAD")
        async with redis.asyncio.Redis.from_url(proxy.url) as proxied:
            replayer = Replayer(proxied, name)
            async with running(follow, replayer, numbers, stop=replayer.stop):
                await until(has(numbers, 2))


async def test_it_begins_where_it_is_told_to(client: redis.asyncio.Redis, name: str) -> None:
    await write_at(client, name, "1000-0", "1000-1", "2000-0", "3000-0")
    replayer = Replayer(client, name)
    assert await take(replayer, 4, start=None) == [0, 1, 2, 3]
    assert await take(replayer, 4, start=name) == [0, 1, 2, 3]
    assert await take(replayer, 3, start=EntryId(1000, 1)) == [1, 2, 3]
    assert await take(replayer, 3, start="1000-1") == [1, 2, 3]
    assert await take(replayer, 2, start=EntryId(2000).time) == [2, 3]


async def test_it_begins_in_partitions_of_long_ago(client: redis.asyncio.Redis, name: str) -> None:
    for day in (-20, -9, -1, 0, 4):
        await write(client, key_of(name, midnight(day)), *range(100 * day, 100 * day + 3), at=midnight(day))
    replayer = Replayer(client, days_of(client, name))
    everything = [number for day in (-20, -9, -1, 0, 4) for number in range(100 * day, 100 * day + 3)]
    assert await take(replayer, 15, start=None) == everything
    assert await take(replayer, 12, start=key_of(name, midnight(-9))) == everything[3:]
    assert await take(replayer, 12, start=midnight(-9)) == everything[3:]
    assert await take(replayer, 9, start=midnight(-9) + timedelta(milliseconds=1)) == everything[6:]
    assert await take(replayer, 9, start=midnight(-5)) == everything[6:]


async def test_what_lies_ahead_is_passed_over_by_new_and_what_comes_there_is_not(
    client: redis.asyncio.Redis, name: str
) -> None:
    for day in (-1, 0, 1, 6):
        await write(client, key_of(name, midnight(day)), day, at=midnight(day))
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, days_of(client, name), observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_waiting"))
        for number, day in ((10, 6), (20, 0), (30, 9), (40, 1)):
            await write(client, key_of(name, midnight(day)), number)
            await until(last_is(numbers, number))
    assert numbers == [10, 20, 30, 40]


# Going on -----------------------------------------------------------------------------------------------------------


async def test_it_crosses_partitions_and_misses_nothing(client: redis.asyncio.Redis, name: str) -> None:
    source = PartitionedStream(client, name, period=SECONDS, retention=timedelta(minutes=10))
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, source, observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_waiting"))
        number = 0
        while len(await source.keys()) < 2:
            await source.append({"n": number})
            number += 1
            await pause(0.01)
        await until(lambda: len(numbers) == number)
    assert numbers == list(range(number))


async def test_it_keeps_an_eye_on_the_partition_before(client: redis.asyncio.Redis, name: str) -> None:
    source = PartitionedStream(client, name, period=MOMENTS, retention=timedelta(minutes=10))
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, source, observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_waiting"))
        first = EntryId.parse(str(await source.append({"n": 1})))
        key = source.key_for(first.time)
        await until(lambda: source.key_for(now()) > key)
        await source.append({"n": 2})
        await until(has(numbers, 1, 2))
        await write(client, key, 3)  # late, by somebody whose clock is
        await until(has(numbers, 1, 2, 3))
        await until(told(recorder, "on_partition"))
    position, left = recorder.of("on_partition")[0]
    assert left.stream < position.stream


def now() -> Any:
    return EntryId(time.time_ns() // 1_000_000).time


async def test_an_idle_view_is_there_when_its_next_partition_comes(client: redis.asyncio.Redis, name: str) -> None:
    source = PartitionedStream(client, name, period=MOMENTS, retention=timedelta(minutes=10))
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, source, observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_partition", 2))
        await source.append({"n": 1})
        await until(has(numbers, 1))


async def test_a_partition_is_forgotten_after_its_grace(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit._core.viewing.GRACE_MS", 100)
    source = PartitionedStream(client, name, period=MOMENTS, retention=timedelta(minutes=10))
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, source, observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_waiting"))
        await source.append({"n": 1})
        await until(told(recorder, "on_partition", 3))
        await source.append({"n": 2})
        await until(has(numbers, 1, 2))


async def test_an_entry_of_a_partition_written_while_nobody_looked_comes_in_order(
    client: redis.asyncio.Redis, name: str
) -> None:
    minutes = Period("MINUTE", "%Y%m%d%H%M", timedelta(minutes=1))
    source = PartitionedStream(client, name, period=minutes, retention=timedelta(hours=1))
    moment = now() - timedelta(minutes=5)
    for minute in range(3):
        await source.append_many(
            ({"n": 1000 * minute + n} for n in range(700)), times=[moment + timedelta(minutes=minute)] * 700
        )
    numbers = await take(Replayer(client, source), 2100, start=moment - timedelta(minutes=2))
    assert numbers == [1000 * minute + n for minute in range(3) for n in range(700)]


async def test_an_undecodable_entry_is_told_of_and_passed_over(client: redis.asyncio.Redis, name: str) -> None:
    source, recorder = Stream(client, name, codec=JsonCodec(loads=int)), Recorder()
    for value in (1, "x", 3):
        await raw(client).xadd(name, {"data": value})
    values = list[int]()
    replayer = Replayer(client, source, observer=recorder)
    async for entry in replayer.tail(start=None):
        values.append(entry.value)
        if entry.value == 3:
            replayer.stop()
    assert values == [1, 3]
    assert len(recorder.of("on_undecodable")) == 1


async def test_a_key_deleted_and_made_anew_is_followed(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    recorder, numbers = Recorder(), list[int]()
    replayer = Replayer(client, name, observer=recorder)
    async with running(follow, replayer, numbers, stop=replayer.stop):
        await until(told(recorder, "on_waiting"))
        await client.delete(name)
        await write(client, name, 2)
        await until(has(numbers, 2))
        # Also when it begins with IDs that are older.
        await client.delete(name)
        await write_at(client, name, 1000, 2000)
        await until(has(numbers, 2, 0, 1))
    assert recorder.of("on_unavailable") == []


async def test_a_key_of_another_type_ends_it(client: redis.asyncio.Redis, name: str) -> None:
    recorder = Recorder()
    replayer = Replayer(client, name, observer=recorder)

    async def outcome() -> Exception | None:
        try:
            await follow(replayer, [])
        except WrongKeyType as error:
            return error
        return None

    async with running(outcome, stop=replayer.stop) as run:
        await until(told(recorder, "on_waiting"))
        await client.set(name, "x")
        assert isinstance(await run.result(), WrongKeyType)


# Whatever becomes of the server -------------------------------------------------------------------------------------


async def kill(client: redis.asyncio.Redis) -> None:
    """Cut every connection but this one."""
    await raw(client).client_kill_filter(_type="normal", skipme=True)


async def test_killed_connections_are_made_again(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client, redis.asyncio.Redis.from_url(url) as killer:
            replayer = Replayer(client, name, observer=recorder)
            async with running(follow, replayer, numbers, stop=replayer.stop):
                await until(told(recorder, "on_waiting"))
                for number in range(3):
                    await kill(killer)
                    await write(killer, name, number)
                    await until(has(numbers, *range(number + 1)))
    assert len(recorder.of("on_unavailable")) >= 3
    assert recorder.of("on_available")


async def test_a_restarted_server_is_read_on(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with ExitStack() as stack:
        url = stack.enter_context(redis_server())
        async with redis.asyncio.Redis.from_url(url) as client, redis.asyncio.Redis.from_url(url) as writer:
            replayer = Replayer(client, name, observer=recorder)
            async with running(follow, replayer, numbers, stop=replayer.stop):
                await until(told(recorder, "on_waiting"))
                stack.close()
                await until(told(recorder, "on_unavailable"))
                stack.enter_context(redis_server(port=urlsplit(url).port))
                await write(writer, name, 1)
                await until(has(numbers, 1))
    assert recorder.of("on_available")


async def test_an_outage_is_waited_out(redis_url: str, client: redis.asyncio.Redis, name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
            replayer = Replayer(shaky, name, observer=recorder)
            async with running(follow, replayer, numbers, stop=replayer.stop):
                await until(told(recorder, "on_waiting"))
                proxy.down()
                await until(told(recorder, "on_unavailable", 2))
                await write(client, name, 1)
                proxy.up()
                await until(has(numbers, 1))
                await until(told(recorder, "on_available"))


async def test_a_demoted_master_is_left(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        admin: Any = plain
        async with redis.asyncio.Redis.from_url(url) as client:
            replayer = Replayer(client, name, observer=recorder)
            async with running(follow, replayer, numbers, stop=replayer.stop):
                await until(told(recorder, "on_waiting"))
                admin.execute_command("REPLICAOF", "127.0.0.1", "1")
                admin.execute_command("REPLICAOF", "NO", "ONE")
                await write(client, name, 1)
                await until(has(numbers, 1))


async def test_it_has_one_connection_of_its_own_and_closes_it(name: str) -> None:
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:

            async def connections() -> int:
                return len(await raw(client).client_list())

            async def back() -> bool:
                return await connections() == before

            await write(client, name, 1)
            replayer = Replayer(client, name)
            before = await connections()
            async with aclosing(replayer.tail(start=None)) as entries:
                assert (await anext(entries)).value == {"n": "1"}
                assert await connections() == before + 1
            await until(back)
            async for _ in replayer.tail(start=None):
                replayer.stop()
            await until(back)
            async for _ in replayer.tail(start=None):
                break
            await until(back)
            # One that was never asked for an entry never connected.
            replayer.tail()
            assert await connections() == before


# Stopping -----------------------------------------------------------------------------------------------------------


@pytest.mark.steady
@pytest.mark.parametrize("kind", ["key", "partitions"])
async def test_a_waiting_view_ends_within_a_second(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(streamkit.asyncio.tailing, "SLICE_MS", 500)
    recorder = Recorder()
    replayer = Replayer(client, name if kind == "key" else days_of(client, name), observer=recorder)
    async with running(follow, replayer, list[int]()) as run:
        await until(told(recorder, "on_waiting"))
        asked = time.monotonic()
        thread = threading.Thread(target=replayer.stop)
        thread.start()
        await run.result()
        assert time.monotonic() - asked < LIMIT
        thread.join()
    await write(client, key_of(name, midnight()) if kind == "partitions" else name, 1)
    assert await take(replayer, 1, start=None) == [1]


@pytest.mark.steady
async def test_a_suspended_server_does_not_keep_it_from_stopping(name: str) -> None:
    recorder = Recorder()
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            pid = (await raw(client).info("server"))["process_id"]
            replayer = Replayer(client, name, observer=recorder)
            async with running(follow, replayer, list[int]()) as run:
                await until(told(recorder, "on_waiting"))
                with suspended(pid):
                    asked = time.monotonic()
                    replayer.stop()
                    await run.result()
                    assert time.monotonic() - asked < LIMIT


async def test_stopped_it_ends_after_the_entry_in_hand(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(5))
    replayer = Replayer(client, name)
    with stop_on_signals(replayer):
        assert await take(replayer, 3, start=None) == [0, 1, 2]
    assert await take(replayer, 2, start=None) == [0, 1]


def test_new_is_what_it_begins_with_unless_told_otherwise() -> None:
    assert Replayer.tail.__kwdefaults__ == {"start": NEW}
