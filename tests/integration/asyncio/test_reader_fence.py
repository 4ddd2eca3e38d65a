"""One checkpoint, several readers: the later takes over, and nothing is ever written twice."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio

from streamkit.asyncio import CheckpointConflict, CheckpointedReader, CheckpointMismatch, PartitionedStream
from tests.integration.asyncio._readers import (
    MONTH_OF_DAYS,
    Reader,
    echo,
    numbers_in,
    raw,
    read,
    take,
    told,
    write,
)
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.proxy import Proxy, Request
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def is_a_step(request: Request) -> bool:
    """Whether it is a checkpoint with something emitted."""
    return b"emit" in request


def reader_of(client: redis.asyncio.Redis, name: str, recorder: Recorder, *, count: int = 1000) -> Reader:
    return CheckpointedReader(client, name, f"{name}:c", count=count, observer=recorder)


async def test_the_later_of_two_takes_over_and_a_waiting_one_stops(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    earlier, later, numbers = Recorder(), Recorder(), list[int]()
    first, second = reader_of(client, name, earlier), reader_of(client, name, later)
    async with running(echo, first, f"{name}:out", list[int](), stop=first.stop) as one:
        await until(told(earlier, "on_waiting"))
        async with running(echo, second, f"{name}:out", numbers, stop=second.stop) as two:
            error = await one.result()
            await until(told(later, "on_waiting"))
            await write(client, name, 2)
            await until(lambda: numbers == [2])
            assert not two.done
    assert isinstance(error, CheckpointConflict)
    assert error.checkpoint == f"{name}:c"
    assert "another reader has taken over" in str(error)
    assert "Run one reader per checkpoint" in str(error)
    assert await numbers_in(client, f"{name}:out") == [1, 2]


async def test_the_earlier_stops_at_its_next_checkpoint_and_no_output_is_doubled(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(500))
    earlier = Recorder()
    first, second = reader_of(client, name, earlier, count=50), reader_of(client, name, Recorder(), count=50)
    outcome, numbers = None, list[int]()
    try:
        async with first:
            async for entry in first:
                first.emit(f"{name}:out", entry.value)
                if entry.value["n"] == "120":
                    async with running(echo, second, f"{name}:out", numbers, stop=second.stop):
                        await until(lambda: len(numbers) >= 400)
    except CheckpointConflict as error:
        outcome = error
    assert outcome is not None
    assert numbers[0] in {50, 100}
    assert await numbers_in(client, f"{name}:out") == list(range(500))


async def test_commit_by_one_that_was_overtaken_is_a_conflict_and_saves_nothing(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2)
    first, second = reader_of(client, name, Recorder()), reader_of(client, name, Recorder())
    async with first:
        async for entry in first:
            first.emit(f"{name}:out", entry.value)
            async with second:
                pass
            with pytest.raises(CheckpointConflict):
                await first.commit()
            break
    assert await client.exists(f"{name}:out") == 0
    assert await take(second, 2) == [1, 2]


async def test_taking_turns_wildly_doubles_and_loses_nothing(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(2000))
    dice = random.Random(7)
    outcomes = list[Exception | None]()

    async def compete(reader: Reader, seconds: float) -> None:
        await pause(seconds)
        outcomes.append(await echo(reader, f"{name}:out", list[int]()))

    readers = [reader_of(client, name, Recorder(), count=20) for _ in range(6)]
    async with (
        running(compete, readers[0], 0.0, stop=readers[0].stop),
        running(compete, readers[1], dice.random() / 5, stop=readers[1].stop),
        running(compete, readers[2], dice.random() / 5, stop=readers[2].stop),
        running(compete, readers[3], dice.random() / 5, stop=readers[3].stop),
        running(compete, readers[4], dice.random() / 5, stop=readers[4].stop),
        running(compete, readers[5], dice.random() / 5, stop=readers[5].stop),
    ):
        await until(lambda: len(outcomes) == 5, "five conflicts")

        async def all_written() -> bool:
            return await client.xlen(f"{name}:out") >= 2000

        await until(all_written)
    assert [type(outcome) for outcome in outcomes] == [CheckpointConflict] * 5 + [type(None)]
    assert await numbers_in(client, f"{name}:out") == list(range(2000))


async def deleted(client: redis.asyncio.Redis, key: str, dumps: list[bytes]) -> None:
    await client.delete(key)


async def rolled_back_before_both(client: redis.asyncio.Redis, key: str, dumps: list[bytes]) -> None:
    await client.restore(key, 0, dumps[0], replace=True)


async def rolled_back_to_the_first(client: redis.asyncio.Redis, key: str, dumps: list[bytes]) -> None:
    await client.restore(key, 0, dumps[1], replace=True)


@pytest.mark.parametrize("tamper", [deleted, rolled_back_before_both, rolled_back_to_the_first])
async def test_of_two_waiting_readers_never_both_go_on_when_the_hash_is_tampered_with(
    client: redis.asyncio.Redis, name: str, tamper: Callable[[redis.asyncio.Redis, str, list[bytes]], Awaitable[None]]
) -> None:
    checkpoint, dumps = f"{name}:c", list[bytes]()
    await write(client, name, 1)
    assert await read(CheckpointedReader(client, name, checkpoint, follow=False)) == [1]
    dumps.append(await raw(client).dump(checkpoint))
    await write(client, name, 2)
    recorders = [Recorder(), Recorder()]
    first, second = (reader_of(client, name, recorder) for recorder in recorders)
    async with running(echo, first, f"{name}:out", list[int](), stop=first.stop) as one:
        await until(told(recorders[0], "on_waiting"))
        dumps.append(await raw(client).dump(checkpoint))
        async with running(echo, second, f"{name}:out", list[int](), stop=second.stop) as two:
            await until(told(recorders[1], "on_start"))
            await tamper(client, checkpoint, dumps)
            await until(lambda: one.done != two.done)
            await until(lambda: len([event for each in recorders for event in each.of("on_rewound")]) >= 1)
            # Whoever is left goes on, and nobody else.
            await write(client, name, 3)
            await until_written(client, f"{name}:out", 3)
            assert one.done != two.done
            gone = one if one.done else two
            assert isinstance(await gone.result(), CheckpointConflict)
    assert (await numbers_in(client, f"{name}:out")).count(3) == 1


async def until_written(client: redis.asyncio.Redis, key: str, number: int) -> None:
    async def written() -> bool:
        return number in await numbers_in(client, key)

    await until(written, f"{number} in {key}")


async def test_a_hash_deleted_under_two_busy_readers_lets_one_go_on(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(10))
    recorders, outcomes = [Recorder(), Recorder()], list[Exception | None]()
    held, released = set[int](), list[bool]()

    async def work(which: int, reader: Reader) -> None:
        try:
            async with reader:
                async for entry in reader:
                    reader.emit(f"{name}:out", entry.value)
                    held.add(which)
                    if not released:
                        await until(lambda: bool(released))
        except CheckpointConflict as error:
            outcomes.append(error)

    first, second = (reader_of(client, name, recorder) for recorder in recorders)
    async with running(work, 0, first, stop=first.stop) as one:
        await until(lambda: 0 in held)
        async with running(work, 1, second, stop=second.stop) as two:
            await until(lambda: 1 in held)
            await client.delete(f"{name}:c")
            released.append(True)
            await until_written(client, f"{name}:out", 9)
            await until(lambda: len(outcomes) == 1)
            assert one.done != two.done
    assert len(outcomes) == 1
    assert sum(len(recorder.of("on_rewound")) for recorder in recorders) == 1
    assert await numbers_in(client, f"{name}:out") == list(range(10))


async def test_a_reset_under_a_reader_makes_it_begin_anew(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    recorder, numbers = Recorder(), list[int]()
    reader = reader_of(client, name, recorder)
    async with running(echo, reader, f"{name}:out", numbers, stop=reader.stop):
        await until(told(recorder, "on_waiting"))
        await reader.reset()
        await until(lambda: numbers == [1, 2, 1, 2])
    ((checkpoint, position),) = recorder.of("on_rewound")
    assert checkpoint == f"{name}:c"
    assert str(position.id) == "0-0"


async def test_a_rollback_under_a_busy_reader_reloads_state_and_position_and_drops_what_it_held(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(10))
    recorder, seen = Recorder(), list[tuple[int, int]]()
    reader = CheckpointedReader(client, name, f"{name}:c", count=3, state={"last": -1}, observer=recorder, follow=False)
    dump: bytes = b""
    async with reader:
        async for entry in reader:
            number = int(entry.value["n"])
            seen.append((number, reader.state["last"]))
            reader.state["last"] = number
            reader.emit(f"{name}:out", entry.value)
            if number == 3 and not dump:
                await reader.commit()
                dump = await raw(client).dump(f"{name}:c")
            elif number == 7 and not recorder.of("on_rewound"):
                await reader.commit()
                await client.restore(f"{name}:c", 0, dump, replace=True)
    assert all(last == number - 1 for number, last in seen)
    (rewound,) = recorder.of("on_rewound")
    assert rewound[0] == f"{name}:c"
    written = await numbers_in(client, f"{name}:out")
    # What was written before the rollback stays written; the rest came once, from the restored position on.
    assert written == [*range(8), *range(4, 10)]
    assert reader.state == {"last": 9}


async def test_a_checkpoint_whose_reply_was_lost_is_no_conflict_with_oneself(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(200))
    recorder = Recorder()
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
            reader = CheckpointedReader(
                shaky, name, f"{name}:c", count=10, state={"sum": 0}, observer=recorder, follow=False
            )
            for nth in (1, 3, 4, 9, 12):
                proxy.cut_after_request(matching=is_a_step, nth=nth)
            for nth in (2, 6):
                proxy.cut_before_request(matching=is_a_step, nth=nth)
            proxy.cut_amid_reply(matching=is_a_step, nth=7)
            async with reader:
                async for entry in reader:
                    reader.state["sum"] += int(entry.value["n"])
                    reader.emit(f"{name}:out", entry.value)
            assert proxy.cuts == 8
    assert await numbers_in(client, f"{name}:out") == list(range(200))
    saved = await CheckpointedReader(client, name, f"{name}:c", state={"sum": 0}).saved()
    assert saved is not None
    assert saved.state == {"sum": sum(range(200))}
    assert len(recorder.of("on_unavailable")) == 8
    assert [event for event, _ in recorder.events if event.endswith("available")][-1] == "on_available"
    assert recorder.of("on_rewound") == []


async def test_a_lost_reply_to_commit_in_the_body_is_no_conflict_either(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(20))
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
            reader = CheckpointedReader(shaky, name, f"{name}:c", observer=Recorder(), follow=False)
            async with reader:
                async for entry in reader:
                    reader.emit(f"{name}:out", entry.value)
                    if entry.value["n"] in {"3", "11"}:
                        proxy.cut_after_request(matching=is_a_step)
                        await reader.commit()
            assert proxy.cuts == 2
    assert await numbers_in(client, f"{name}:out") == list(range(20))


async def test_connections_killed_again_and_again_neither_lose_nor_double(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    dice, recorder = random.Random(11), Recorder()
    await write(client, name, *range(1000))
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as shaky:
            reader = CheckpointedReader(shaky, name, f"{name}:c", count=25, observer=recorder, follow=False)
            async with reader:
                proxy.cut_at_random(0.04, dice)
                async for entry in reader:
                    reader.emit(f"{name}:out", entry.value)
            proxy.clear()
    assert recorder.of("on_unavailable")
    assert await numbers_in(client, f"{name}:out") == list(range(1000))


async def test_the_checkpoint_of_another_stream_is_refused_untouched(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    assert await read(CheckpointedReader(client, name, f"{name}:c", follow=False)) == [1]
    before = await client.hgetall(f"{name}:c")
    with pytest.raises(CheckpointMismatch, match=f"stands in '{name}', this reader reads 'other'.*reset"):
        await read(CheckpointedReader(client, "other", f"{name}:c", follow=False))
    source = PartitionedStream(client, "days", retention=MONTH_OF_DAYS)
    with pytest.raises(CheckpointMismatch, match=r"belongs to another stream.*one of its own"):
        await read(CheckpointedReader(client, source, f"{name}:c", follow=False))
    assert await client.hgetall(f"{name}:c") == before
