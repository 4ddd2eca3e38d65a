"""Iterating: when a reader saves and when it does not, and what entering again finds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    CheckpointedReader,
    Entry,
    InvalidArgument,
    JsonCodec,
    NotEntered,
    Position,
    ServerUnavailable,
    Stream,
)
from tests.integration.asyncio._readers import (
    NOTHING_YET,
    Reader,
    collect,
    numbers_in,
    read,
    saved_id,
    take,
    told,
    write,
)
from tests.integration.asyncio._runtime import (
    client_of_the_other_half,
    pause,
    running,
    streams_of_the_other_half,
    until,
)
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


class StopError(Exception):
    """What the tests leave a loop with."""


async def test_entries_come_in_order_with_stream_id_and_value(client: redis.asyncio.Redis, name: str) -> None:
    stream = Stream(client, name, codec=JsonCodec(loads=int))
    ids = [await stream.append(number) for number in range(5)]
    reader = CheckpointedReader(client, stream, f"{name}:c", count=2, follow=False)
    async with reader:
        entries = [(entry.stream, entry.id, entry.value) async for entry in reader]
    assert entries == [(name, entry_id, number) for number, entry_id in enumerate(ids)]


async def test_a_batch_is_saved_when_the_loop_asks_for_the_entry_after_its_last(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(6))
    reader = CheckpointedReader(client, name, f"{name}:c", count=3, follow=False)
    async with reader:
        async for entry in reader:
            if entry.id <= ids[2]:
                assert await saved_id(reader) == NOTHING_YET
            else:
                await until_saved(reader, ids[2])
    assert await saved_id(reader) == ids[5]


async def until_saved(reader: Reader, entry_id: object) -> None:
    async def saved() -> bool:
        return await saved_id(reader) == entry_id

    await until(saved, f"a checkpoint at {entry_id}")


async def test_an_interval_of_nothing_saves_every_entry(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(4))
    reader = CheckpointedReader(client, name, f"{name}:c", commit_interval=timedelta(0), follow=False)
    found = list[object]()
    async with reader:
        async for _ in reader:
            found.append(await saved_id(reader))
    assert found == [NOTHING_YET, *ids[:3]]


async def test_within_a_batch_entries_are_saved_once_the_interval_has_passed(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(3))
    reader = CheckpointedReader(client, name, f"{name}:c", commit_interval=timedelta(seconds=0.05), follow=False)
    async with reader:
        async for entry in reader:
            if entry.id == ids[0]:
                await pause(0.06)
                assert await saved_id(reader) == NOTHING_YET
            elif entry.id == ids[1]:
                assert await saved_id(reader) == ids[0]


async def test_commit_in_the_body_saves_the_entry_in_hand_with_its_state_and_effects(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"sum": 0}, follow=False)
    async with reader:
        async for entry in reader:
            reader.state["sum"] += int(entry.value["n"])
            reader.emit(f"{name}:out", entry.value)
            if entry.id == ids[2]:
                await reader.commit()
                saved = await reader.saved()
                assert saved is not None
                assert saved.position == Position(name, ids[2])
                assert saved.state == {"sum": 3}
                assert await numbers_in(client, f"{name}:out") == [0, 1, 2]
                break
    assert await read(reader) == [3, 4]
    assert reader.state == {"sum": 3}


async def test_commit_between_the_last_entry_and_the_end_of_the_block_saves_what_the_state_became(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", state={"rounds": 0}, follow=False)
    async with reader:
        async for _ in reader:
            pass
        reader.state["rounds"] = 1
        reader.emit(f"{name}:out", {"n": 7})
        await reader.commit()
    saved = await reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (ids[0], {"rounds": 1})
    assert await numbers_in(client, f"{name}:out") == [7]


async def test_exhaustion_saves(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", count=2, follow=False)
    assert await read(reader) == [0, 1, 2, 3, 4]
    assert await saved_id(reader) == ids[4]
    assert await read(reader) == []


async def test_stop_saves_the_entry_in_hand_and_gives_no_more(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c")
    assert await take(reader, 3) == [0, 1, 2]
    assert await saved_id(reader) == ids[2]


async def test_a_reader_that_was_stopped_can_be_used_again(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c")
    assert await take(reader, 2) == [0, 1]
    assert await take(reader, 3) == [2, 3, 4]


async def test_break_saves_nothing(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"seen": 0})
    async with reader:
        async for entry in reader:
            reader.state["seen"] += 1
            reader.emit(f"{name}:out", entry.value)
            if entry.value["n"] == "2":
                break
    saved = await reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (NOTHING_YET, {"seen": 0})
    assert await numbers_in(client, f"{name}:out") == []


async def test_an_exception_saves_nothing_and_passes_through(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"seen": 0})

    async def fail() -> None:
        async with reader:
            async for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                if entry.value["n"] == "2":
                    raise StopError

    with pytest.raises(StopError):
        await fail()
    saved = await reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (NOTHING_YET, {"seen": 0})
    assert await numbers_in(client, f"{name}:out") == []


async def test_interrupted_in_the_body_saves_nothing(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"seen": 0})

    async def linger() -> None:
        async with reader:
            async for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                while entry.value["n"] == "2":
                    await pause(0.01)

    async with running(linger) as run:
        await until(lambda: reader.state["seen"] == 3)
        await run.interrupt()
    saved = await reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (NOTHING_YET, {"seen": 0})
    assert await numbers_in(client, f"{name}:out") == []


async def test_interrupted_while_it_waits_it_ends_and_goes_on_where_it_was(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2)
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    async with running(collect, reader, numbers) as run:
        await until(told(recorder, "on_waiting"))
        await run.interrupt()
    await write(client, name, 3)
    assert await take(reader, 1) == [3]


async def test_entering_again_reloads_state_and_position_and_drops_held_effects(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(6))
    reader = CheckpointedReader(client, name, f"{name}:c", count=2, state={"seen": 0}, follow=False)

    async def echo_until(last: str) -> None:
        async with reader:
            async for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                if entry.value["n"] == last:
                    break

    await echo_until("2")
    await until_saved(reader, ids[1])
    async with reader:
        assert reader.position == Position(name, ids[1])
        assert reader.state == {"seen": 2}
    await echo_until("none")
    assert reader.state == {"seen": 6}
    assert await numbers_in(client, f"{name}:out") == [0, 1, 2, 3, 4, 5]


async def test_iterating_again_within_the_block_does_the_same(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(6))
    reader = CheckpointedReader(client, name, f"{name}:c", count=4, state={"seen": 0}, follow=False)
    async with reader:
        for stop_at in ("1", "5", "none"):
            async for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                if entry.value["n"] == stop_at:
                    break
    assert reader.state == {"seen": 6}
    assert await numbers_in(client, f"{name}:out") == [0, 1, 2, 3, 4, 5]


async def test_what_is_emitted_before_the_first_entry_is_saved_with_it(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    async with reader:
        reader.emit(f"{name}:out", {"n": 0})
        async for entry in reader:
            reader.emit(f"{name}:out", entry.value)
    assert await numbers_in(client, f"{name}:out") == [0, 1]


async def test_position_is_the_entry_in_hand_then_the_last_one_handled(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    async with reader:
        assert reader.position == Position(name, NOTHING_YET)
        async for entry in reader:
            assert reader.position == Position(name, entry.id)
        assert reader.position == Position(name, ids[1])


async def test_outside_its_block_a_reader_says_so(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)

    async def iterate() -> None:
        async for _ in reader:
            pass

    async def use_everything() -> None:
        for unusable in (iterate, reader.commit):
            with pytest.raises(NotEntered, match="with reader:"):
                await unusable()
        with pytest.raises(NotEntered, match="with reader:"):
            reader.emit(f"{name}:out", {"n": 1})
        with pytest.raises(NotEntered, match="with reader:"):
            reader.execute("INCR", f"{name}:n")

    with pytest.raises(NotEntered, match="with reader:"):
        _ = reader.position
    await use_everything()
    assert await read(reader) == [1]
    await use_everything()


async def test_an_empty_source_that_is_not_followed_ends_at_once(client: redis.asyncio.Redis, name: str) -> None:
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    assert await read(reader) == []
    assert await read(reader) == []
    await write(client, name, 1)
    assert await read(reader) == [1]


async def test_waiting_and_starting_are_told_once_each_time(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, 1)
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    async with running(collect, reader, numbers, stop=reader.stop):
        await until(told(recorder, "on_waiting"))
        await pause(0.25)  # longer than one blocking read
        ids += await write(client, name, 2)
        await until(told(recorder, "on_waiting", 2))
    assert recorder.of("on_start") == [Position(name, NOTHING_YET)]
    assert recorder.of("on_waiting") == [Position(name, entry_id) for entry_id in ids]
    assert numbers == [1, 2]


async def test_saved_reads_without_taking_over_and_reset_begins_anew(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    assert await reader.saved() is None
    assert await read(reader) == [1, 2]
    before = await client.hgetall(f"{name}:c")
    assert await reader.saved() is not None
    assert await client.hgetall(f"{name}:c") == before
    await reader.reset()
    assert await reader.saved() is None
    assert await read(reader) == [1, 2]


@pytest.mark.parametrize(
    "options",
    [{"decode_responses": True}, {"protocol": 2}, {"protocol": 3}, {"protocol": 3, "decode_responses": True}],
    ids=str,
)
async def test_every_shape_of_client_will_do(
    redis_url: str, client: redis.asyncio.Redis, name: str, options: dict[str, Any]
) -> None:
    await write(client, name, 1, 2)
    await client.xadd(name, {"n": b"\xff"})
    await write(client, name, 3)
    async with redis.asyncio.Redis.from_url(redis_url, **options) as other:
        recorder = Recorder()
        reader = CheckpointedReader(other, name, f"{name}:c", state={"seen": 0}, observer=recorder)
        async with running(collect, reader, numbers := list[int](), stop=reader.stop):
            await until(lambda: len(numbers) == 3)
            await until(told(recorder, "on_waiting"))
            await write(client, name, 4)
            await until(lambda: len(numbers) == 4)
        assert numbers == [1, 2, 3, 4]
        assert len(recorder.of("on_dead_letter")) == 1
        assert recorder.of("on_unavailable") == []
        assert await saved_id(reader) is not None


async def test_a_source_of_the_other_half_is_refused(client: redis.asyncio.Redis, name: str) -> None:
    for source in streams_of_the_other_half(name):
        with pytest.raises(InvalidArgument, match="Stream"):
            CheckpointedReader(client, source, f"{name}:c")
    with pytest.raises(InvalidArgument, match="belongs to"):
        CheckpointedReader(client_of_the_other_half(), name, f"{name}:c")


async def test_a_source_on_another_database_is_refused(client: redis.asyncio.Redis, name: str) -> None:
    with pytest.raises(InvalidArgument, match="one server and database"):
        CheckpointedReader(client, Stream(redis.asyncio.Redis(db=9), name), f"{name}:c")


async def test_arguments_that_can_never_work_are_refused_before_anything_is_sent(name: str) -> None:
    unreachable = redis.asyncio.Redis(port=1)
    with pytest.raises(InvalidArgument, match="count must be 1 or more, not 0"):
        CheckpointedReader(unreachable, name, f"{name}:c", count=0)
    with pytest.raises(InvalidArgument, match="grace"):
        CheckpointedReader(unreachable, name, f"{name}:c", grace=timedelta(seconds=-1))
    with pytest.raises(InvalidArgument, match="commit_interval"):
        CheckpointedReader(unreachable, name, f"{name}:c", commit_interval=timedelta(seconds=-1))
    with pytest.raises(InvalidArgument, match="checkpoint"):
        CheckpointedReader(unreachable, name, "")


async def test_a_server_that_is_not_there_is_an_error_at_once(name: str) -> None:
    reader = CheckpointedReader(redis.asyncio.Redis.from_url("redis://127.0.0.1:1"), name, f"{name}:c")
    with pytest.raises(ServerUnavailable, match="check the address, and that the server is running"):
        await read(reader)


async def test_entries_may_be_kept(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(10))
    reader = CheckpointedReader(client, name, f"{name}:c", count=3, follow=False)
    async with reader:
        kept = {entry.id: entry async for entry in reader}
    assert kept == {entry_id: Entry(name, entry_id, {"n": str(n)}) for n, entry_id in enumerate(ids)}
