"""What may happen to a reader between two of its commands, within commit() and in a blocking read."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio
import redis.connection

from streamkit.asyncio import CheckpointedReader, PermissionDenied, ServerUnavailable, WrongKeyType
from streamkit.testing import redis_server
from tests.integration.asyncio._readers import Reader, collect, numbers_in, raw, read, take, told, write
from tests.integration.asyncio._runtime import running, until
from tests.integration.permissions import Users, rules
from tests.integration.proxy import Proxy, Request
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    """The server, behind a proxy."""
    with Proxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def shaky(proxy: Proxy) -> AsyncIterator[redis.asyncio.Redis]:
    """A client that goes through it."""
    async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
        yield shaky


@pytest.fixture
def plain(redis_url: str) -> Iterator[redis.Redis]:
    """A client for what the proxy is to do at its moment, in a thread of its own."""
    with redis.Redis.from_url(redis_url) as plain:
        yield plain


def is_a_step(request: Request) -> bool:
    """Whether it is a checkpoint with something emitted."""
    return b"emit" in request


def has(numbers: list[int], count: int) -> Callable[[], bool]:
    """A condition: so many came, each of them once."""
    return lambda: numbers == [*range(count)]


async def outcome(reader: Reader) -> Exception | None:
    """Read until it is stopped; what ended it."""
    try:
        await collect(reader, [])
    except Exception as error:  # noqa: BLE001 - the tests ask what it was
        return error
    return None


# A blocking read ----------------------------------------------------------------------------------------------------


async def test_a_blocking_read_that_somebody_ends_is_no_failure(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    recorder, numbers = Recorder(), list[int]()

    async def unblocked() -> bool:
        """Whether a read was ended; between two of them nobody waits."""
        clients = await raw(client).client_list(_type="normal")
        waiting = [each["id"] for each in clients if each["name"] == name and "b" in each["flags"]]
        return bool([each for each in waiting if await raw(client).client_unblock(each, error=True)])

    async with redis.asyncio.Redis.from_url(redis_url, client_name=name) as named:
        reader = CheckpointedReader(named, name, f"{name}:c", observer=recorder)
        async with running(collect, reader, numbers, stop=reader.stop):
            for n in range(3):
                await until(unblocked)
                await write(client, name, n)
                await until(has(numbers, n + 1))
    assert recorder.of("on_unavailable") == recorder.of("on_gap") == []


# A checkpoint that changes under it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", [0, 1, 2])
async def test_a_save_amid_a_batch_whose_checkpoint_was_deleted_begins_anew(
    client: redis.asyncio.Redis, name: str, commits: int
) -> None:
    await write(client, name, 1, 2, 3, 4)
    recorder, seen, written = Recorder(), list[int](), list[list[int]]()
    reader = CheckpointedReader(
        client,
        name,
        f"{name}:c",
        state={"sum": 0},
        observer=recorder,
        follow=False,
        # Without commit(), each entry is saved when the next one is asked for.
        commit_interval=timedelta(seconds=60 if commits else 0),
    )
    async with reader:
        async for entry in reader:
            seen.append(int(entry.value["n"]))
            reader.state["sum"] += seen[-1]
            reader.emit(f"{name}:out", entry.value)
            if seen == [1, 2]:
                await client.delete(f"{name}:c")
                for _ in range(commits):
                    await reader.commit()
                    # Until the next entry is asked for, the state stays what the loop knows.
                    assert reader.state == {"sum": 3}
                written.append(await numbers_in(client, f"{name}:out"))
    assert seen == [1, 2, 1, 2, 3, 4]
    assert written == [[] if commits else [1]]
    assert await numbers_in(client, f"{name}:out") == written[0] + [1, 2, 3, 4]
    assert [checkpoint for checkpoint, _ in recorder.of("on_rewound")] == [f"{name}:c"]
    saved = await reader.saved()
    assert saved is not None
    assert saved.state == reader.state == {"sum": 10}


async def test_a_checkpoint_deleted_between_loading_it_and_taking_it_over_is_begun_anew(
    client: redis.asyncio.Redis, proxy: Proxy, shaky: redis.asyncio.Redis, plain: redis.Redis, name: str
) -> None:
    await write(client, name, 1, 2, 3)
    assert await take(CheckpointedReader(client, name, f"{name}:c"), 2) == [1, 2]
    proxy.call_before(lambda: plain.delete(f"{name}:c"), matching=b"EVAL")
    reader = CheckpointedReader(shaky, name, f"{name}:c", follow=False)
    assert await read(reader) == [1, 2, 3]
    # HGETALL, that which found it, and that which found that it is gone.
    assert proxy.counts[b"HGETALL"] == 2
    assert await read(reader) == []


async def test_a_checkpoint_overwritten_between_loading_it_and_taking_it_over_is_named_and_left_alone(
    client: redis.asyncio.Redis, proxy: Proxy, shaky: redis.asyncio.Redis, plain: redis.Redis, name: str
) -> None:
    await write(client, name, 1)
    proxy.call_before(lambda: plain.set(f"{name}:c", "x"), matching=b"EVAL")
    with pytest.raises(WrongKeyType, match=rf"'{name}:c' holds a .*not a hash \(a checkpoint\)"):
        await read(CheckpointedReader(shaky, name, f"{name}:c", follow=False))
    assert await client.get(f"{name}:c") == b"x"


async def test_a_checkpoint_overwritten_while_its_reader_waits_is_named_and_left_alone(
    client: redis.asyncio.Redis, name: str
) -> None:
    recorder = Recorder()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    async with running(outcome, reader, stop=reader.stop) as run:
        await until(told(recorder, "on_waiting"))
        await client.set(f"{name}:c", "x")
        error = await run.result()
    assert isinstance(error, WrongKeyType)
    assert f"'{name}:c' holds a" in str(error)
    assert "not a hash (a checkpoint)" in str(error)
    assert await client.get(f"{name}:c") == b"x"


# Rights that are taken away -----------------------------------------------------------------------------------------


async def test_a_right_taken_away_while_it_waits_ends_it(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    users, recorder = Users(redis_url), Recorder()
    with users.user(rules()["meteorologist"], name) as url:
        async with redis.asyncio.Redis.from_url(url) as limited:
            reader = CheckpointedReader(limited, f"{name}temps:1", f"{name}averages_state", observer=recorder)
            async with running(outcome, reader, stop=reader.stop) as run:
                await until(told(recorder, "on_waiting"))
                users.withdraw(name, "+hmget")
                error = await run.result()
    users.close()
    assert isinstance(error, PermissionDenied)
    assert "hmget" in str(error).lower()
    assert recorder.of("on_unavailable") == []


def silent() -> dict[str, Any]:
    """Options of connections that send nothing by themselves, so that it is their first command that is refused."""
    connection: Any = redis.connection.AbstractConnection
    named = "driver_info" in inspect.signature(connection.__init__).parameters
    return {"protocol": 2} | ({"driver_info": None} if named else {"lib_name": None, "lib_version": None})


@pytest.mark.parametrize("options", [{"protocol": 3}, {"protocol": 2}, silent()], ids=["hello", "setinfo", "silent"])
async def test_a_password_set_while_it_waits_ends_it_when_it_connects_again(name: str, options: dict[str, Any]) -> None:
    recorder = Recorder()
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        admin: Any = plain
        async with redis.asyncio.Redis.from_url(url, **options) as client:
            reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
            async with running(outcome, reader, stop=reader.stop) as run:
                await until(lambda: run.done or told(recorder, "on_waiting")())
                admin.execute_command("CONFIG", "SET", "requirepass", "secret")
                admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                error = await run.result()
                admin.execute_command("CONFIG", "SET", "requirepass", "")
    assert isinstance(error, PermissionDenied)
    assert "authenticat" in str(error).lower()


# Stopped while the server is away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request"])
async def test_a_commit_that_is_lost_after_a_stop_is_an_error_and_neither_loses_nor_doubles(
    client: redis.asyncio.Redis, proxy: Proxy, shaky: redis.asyncio.Redis, name: str, fault: str
) -> None:
    await write(client, name, 1, 2, 3)
    recorder, seen = Recorder(), list[int]()
    reader = CheckpointedReader(shaky, name, f"{name}:c", observer=recorder)
    async with reader:
        async for entry in reader:
            seen.append(int(entry.value["n"]))
            reader.emit(f"{name}:out", entry.value)
            if seen == [1, 2]:
                reader.stop()
                getattr(proxy, fault)(matching=is_a_step)
                for _ in range(2):
                    with pytest.raises(
                        ServerUnavailable, match=f"before checkpoint '{name}:c' could be saved: .* away"
                    ):
                        await reader.commit()
    assert seen == [1, 2]
    assert proxy.cuts == 1
    assert {checkpoint for checkpoint, _ in recorder.of("on_unsaved")} == {f"{name}:c"}
    assert await numbers_in(client, f"{name}:out") == ([1, 2] if fault == "cut_after_request" else [])
    rest = CheckpointedReader(client, name, f"{name}:c", follow=False)
    async with rest:
        async for entry in rest:
            rest.emit(f"{name}:out", entry.value)
    assert await numbers_in(client, f"{name}:out") == [1, 2, 3]
