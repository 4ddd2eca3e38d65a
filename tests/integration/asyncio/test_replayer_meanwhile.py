"""What happens to a stream while it is replayed: nothing is given twice, passed over, or raised; and how to stop it."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack, aclosing
from typing import Any

import pytest
import redis.asyncio

from streamkit._core.retry import Backoff
from streamkit.asyncio import EntryId, Replayer, ServerUnavailable, stop_on_signals
from streamkit.testing import redis_server
from tests.integration.asyncio._readers import key_of, midnight, raw, told, write
from tests.integration.asyncio._replays import days_of, numbers_of, write_many
from tests.integration.asyncio._runtime import running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder
from tests.integration.suspended import suspended

LIMIT = 1.0
FIRST_PAGE = 100
READS = {b"XRANGE", b"XREVRANGE", b"TIME"}


# Trimmed, deleted, written --------------------------------------------------------------------------------------------


async def test_trimmed_between_two_pages_the_rest_is_given(client: redis.asyncio.Redis, name: str) -> None:
    await write_many(client, name, range(400))
    entries, numbers = Replayer(client, name).entries(), list[int]()
    async for entry in entries:
        numbers.append(int(entry.value["n"]))
        if len(numbers) == FIRST_PAGE:
            await raw(client).xtrim(name, maxlen=50, approximate=False)
    assert numbers == [*range(FIRST_PAGE), *range(350, 400)]


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
async def test_the_last_entry_of_a_page_may_be_deleted(
    client: redis.asyncio.Redis, name: str, *, reverse: bool
) -> None:
    await write_many(client, name, range(300))
    numbers = list[int]()
    async for entry in Replayer(client, name).entries(reverse=reverse):
        numbers.append(int(entry.value["n"]))
        await raw(client).xdel(name, str(entry.id))
    assert numbers == (list(range(299, -1, -1)) if reverse else list(range(300)))
    assert await client.xlen(name) == 0


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
async def test_a_page_deleted_whole_hides_nothing_behind_it(
    client: redis.asyncio.Redis, name: str, *, reverse: bool
) -> None:
    await write_many(client, name, range(300))
    ids = [entry.id async for entry in Replayer(client, name).entries(reverse=reverse)]
    numbers = list[int]()
    async for entry in Replayer(client, name).entries(reverse=reverse):
        numbers.append(int(entry.value["n"]))
        if len(numbers) == FIRST_PAGE:
            await raw(client).xdel(name, *map(str, ids[50:250]))
    kept = [*range(FIRST_PAGE), *range(250, 300)]
    assert numbers == ([299 - number for number in kept] if reverse else kept)


async def test_a_key_deleted_meanwhile_just_ends(client: redis.asyncio.Redis, name: str) -> None:
    await write_many(client, name, range(300))
    numbers = list[int]()
    async for entry in Replayer(client, name).entries():
        numbers.append(int(entry.value["n"]))
        await client.delete(name)
    assert numbers == list(range(FIRST_PAGE))


async def test_a_key_made_anew_repeats_nothing(client: redis.asyncio.Redis, name: str) -> None:
    await write_many(client, name, range(150))
    numbers = list[int]()
    async for entry in Replayer(client, name).entries():
        numbers.append(int(entry.value["n"]))
        if len(numbers) == FIRST_PAGE:
            await client.delete(name)
            await write(client, name, 1000, at=midnight(-3))
            await write(client, name, 2000)
    assert numbers == [*range(FIRST_PAGE), 2000]


async def test_what_is_written_meanwhile_is_given_too(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 0)
    numbers = list[int]()
    async for entry in Replayer(client, name).entries():
        numbers.append(int(entry.value["n"]))
        if len(numbers) < 250:
            await write(client, name, len(numbers))
    assert numbers == list(range(250))


async def test_an_end_holds_also_for_what_is_written_meanwhile(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(3))
    numbers = list[int]()
    async for entry in Replayer(client, name).entries(end=ids[1]):
        numbers.append(int(entry.value["n"]))
        await write(client, name, 9)
    assert numbers == [0, 1]


async def test_partitions_that_expire_meanwhile_just_end(client: redis.asyncio.Redis, name: str) -> None:
    keys = [key_of(name, midnight(day)) for day in (-4, -3, -2, -1)]
    for day, key in zip((-4, -3, -2, -1), keys, strict=True):
        await write(client, key, *range(1000 * day, 1000 * day + 130), at=midnight(day))
    numbers = list[int]()
    async for entry in Replayer(client, days_of(client, name)).entries():
        numbers.append(int(entry.value["n"]))
        if len(numbers) == FIRST_PAGE:
            await client.delete(keys[0], keys[2])
    assert numbers == [*range(-4000, -3900), *range(-3000, -2870), *range(-1000, -870)]


async def test_partitions_that_come_into_being_meanwhile_are_read(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, key_of(name, midnight(-9)), -9, at=midnight(-9))
    await write(client, key_of(name, midnight(-1)), -1, at=midnight(-1))
    numbers = list[int]()
    async for entry in Replayer(client, days_of(client, name)).entries():
        numbers.append(int(entry.value["n"]))
        if numbers[-1] == -9:
            await write(client, key_of(name, midnight(-5)), -5, at=midnight(-5))
        if numbers[-1] == -1:
            await write(client, key_of(name, midnight()), 0, at=midnight())
            await write(client, key_of(name, midnight(7)), 7, at=midnight(7))
    assert numbers == [-9, -5, -1, 0, 7]


# The server is away -------------------------------------------------------------------------------------------------


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little waiting between two tries."""
    monkeypatch.setattr("streamkit.asyncio.paging.RECONNECT", Backoff(base=0.002, maximum=0.02))


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
async def test_pages_whose_replies_are_lost_are_asked_for_again(
    redis_url: str, client: redis.asyncio.Redis, name: str, *, reverse: bool
) -> None:
    for day in (-3, -2, -1):
        await write(client, key_of(name, midnight(day)), *range(1000 * day, 1000 * day + 700), at=midnight(day))
    recorder = Recorder()
    with Proxy(redis_url) as proxy:
        proxy.cut_at_random(0.4, random.Random(5), matching=lambda request: request[0] in READS)
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
            replayer = Replayer(shaky, days_of(shaky, name), observer=recorder)
            numbers = await numbers_of(replayer.entries(reverse=reverse))
        assert proxy.cuts >= 5
    expected = [number for day in (-3, -2, -1) for number in range(1000 * day, 1000 * day + 700)]
    assert numbers == (expected[::-1] if reverse else expected)
    assert len(recorder.of("on_unavailable")) == proxy.cuts
    assert recorder.of("on_available")


async def test_a_server_that_stays_away_ends_it_with_an_error(
    redis_url: str, client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.asyncio.paging.PATIENCE", 0.2)
    await write_many(client, name, range(150))
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
            entries = Replayer(shaky, name, observer=Recorder()).entries()
            assert (await anext(entries)).value == {"n": "0"}
            proxy.down()
            with pytest.raises(ServerUnavailable):
                await numbers_of(entries)


async def test_a_server_that_loads_or_is_busy_is_waited_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.asyncio.paging.RECONNECT", Backoff(base=0.002, maximum=0.02))
    recorder = Recorder()
    with redis_server(settings={"busy-reply-threshold": "1"}) as url, redis.Redis.from_url(url) as busy:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write_many(client, name, range(150))
            entries = Replayer(client, name, observer=recorder).entries()
            assert (await anext(entries)).value == {"n": "0"}
            script = threading.Thread(target=busy.eval, args=(FOR_A_WHILE, 0, 150))
            script.start()
            await until(lambda: not script.is_alive() or is_busy(url))
            assert await numbers_of(entries) == list(range(1, 150))
            script.join()
    assert [str(error) for error, _, _ in recorder.of("on_unavailable")[:1]]


@pytest.mark.usefixtures("short_pauses")
async def test_a_replica_without_its_master_is_left_for_whoever_answers_next(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server(settings={"replica-serve-stale-data": "no"}) as url, redis.Redis.from_url(url) as plain:
        admin: Any = plain
        async with redis.asyncio.Redis.from_url(url) as client:
            await write_many(client, name, range(300))

            async def read() -> None:
                async for entry in Replayer(client, name, observer=recorder).entries():
                    numbers.append(int(entry.value["n"]))
                    if len(numbers) == FIRST_PAGE:
                        admin.execute_command("REPLICAOF", "127.0.0.1", "1")

            async with running(read) as run:
                await until(told(recorder, "on_unavailable", 2))
                admin.execute_command("REPLICAOF", "NO", "ONE")
                await run.result()
    assert numbers == list(range(300))
    assert "replica-serve-stale-data" in str(recorder.of("on_unavailable")[0][0])


FOR_A_WHILE = """
local function ms() local t = redis.call('TIME'); return t[1] * 1000 + math.floor(t[2] / 1000) end
local from = ms()
while ms() - from < tonumber(ARGV[1]) do end
"""


def is_busy(url: str) -> bool:
    """Whether the server says so."""
    with redis.Redis.from_url(url) as other:
        try:
            other.xlen("any")
        except redis.ResponseError as error:
            return "BUSY" in str(error) or "busy" in str(error)
    return False


# Stopping -----------------------------------------------------------------------------------------------------------


async def test_stopped_it_ends_after_the_entry_in_hand_and_can_be_used_again(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write_many(client, name, range(300))
    replayer, numbers = Replayer(client, name), list[int]()
    async for entry in replayer.entries():
        numbers.append(int(entry.value["n"]))
        if len(numbers) == 130:
            replayer.stop()
    assert numbers == list(range(130))
    assert await numbers_of(replayer.entries()) == list(range(300))


async def test_stopped_before_it_begins_the_next_one_ends_at_once(client: redis.asyncio.Redis, name: str) -> None:
    await write_many(client, name, range(3))
    replayer = Replayer(client, name)
    replayer.stop()
    assert await numbers_of(replayer.entries()) == []
    assert await numbers_of(replayer.entries()) == [0, 1, 2]


@pytest.mark.parametrize("word", [b"TIME", b"EXISTS", b"XRANGE"])
async def test_stopped_between_two_questions_it_asks_no_more(
    redis_url: str, client: redis.asyncio.Redis, name: str, word: bytes
) -> None:
    await write(client, key_of(name, midnight()), *range(3))
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as proxied:
            replayer = Replayer(proxied, days_of(proxied, name))
            proxy.call_before(replayer.stop, matching=word)
            assert len(await numbers_of(replayer.entries())) <= 1
            assert await numbers_of(replayer.entries()) == [0, 1, 2]
            replayer.stop()
            assert await numbers_of(replayer.entries()) == []


async def test_everything_that_goes_on_is_stopped(client: redis.asyncio.Redis, name: str) -> None:
    await write_many(client, name, range(3))
    replayer = Replayer(client, name)
    async with aclosing(replayer.entries()) as one, aclosing(replayer.entries(reverse=True)) as other:
        assert (await anext(one)).value == {"n": "0"}
        assert (await anext(other)).value == {"n": "2"}
        replayer.stop()
        assert await numbers_of(one) == await numbers_of(other) == []
    assert await numbers_of(replayer.entries()) == [0, 1, 2]


async def test_left_early_it_holds_no_connection(redis_url: str, name: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url, max_connections=1) as client:
        await write_many(client, name, range(300))
        async for _ in Replayer(client, name).entries():
            assert await raw(client).ping()
            break
        assert await raw(client).ping()


@pytest.mark.steady
async def test_a_suspended_server_does_not_keep_it_from_stopping(name: str) -> None:
    with redis_server() as url, ExitStack() as stack:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write_many(client, name, range(300))
            pid = (await raw(client).info("server"))["process_id"]
            replayer, numbers = Replayer(client, name, observer=Recorder()), list[int]()

            async def read() -> None:
                async for entry in replayer.entries():
                    numbers.append(int(entry.value["n"]))
                    if len(numbers) == FIRST_PAGE:
                        stack.enter_context(suspended(pid))

            async with running(read) as run:
                await until(lambda: len(numbers) == FIRST_PAGE)
                asked = time.monotonic()
                replayer.stop()
                await run.result()
                assert time.monotonic() - asked < LIMIT
            assert len(numbers) == FIRST_PAGE


@pytest.mark.steady
@pytest.mark.usefixtures("short_pauses")
async def test_a_server_that_is_away_does_not_keep_it_from_stopping(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    await write_many(client, name, range(300))
    recorder, numbers = Recorder(), list[int]()
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
            replayer = Replayer(shaky, name, observer=recorder)

            async def read() -> None:
                async for entry in replayer.entries():
                    numbers.append(int(entry.value["n"]))
                    if len(numbers) == FIRST_PAGE:
                        proxy.down()

            async with running(read, stop=replayer.stop) as run:
                await until(told(recorder, "on_unavailable"))
                asked = time.monotonic()
                thread = threading.Thread(target=replayer.stop)
                thread.start()
                await run.result()
                assert time.monotonic() - asked < LIMIT
                thread.join()
    assert numbers == list(range(FIRST_PAGE))


async def test_signals_stop_it(client: redis.asyncio.Redis, name: str) -> None:
    await write_many(client, name, range(3))
    replayer = Replayer(client, name)
    with stop_on_signals(replayer):
        assert await numbers_of(replayer.entries(EntryId(1))) == [0, 1, 2]
