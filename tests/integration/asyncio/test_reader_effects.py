"""What a loop emits and executes: with the checkpoint or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    CappedStream,
    CheckpointedReader,
    EffectFailed,
    EncodeError,
    EntryId,
    InvalidArgument,
    JsonCodec,
    NaiveDatetime,
    PartitionedStream,
    Stream,
)
from streamkit.testing import redis_server
from tests.integration.asyncio._readers import (
    NOTHING_YET,
    SECONDS,
    Reader,
    echo,
    entries_in,
    numbers_in,
    read,
    saved_id,
    told,
    write,
)
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def reader_of(client: redis.asyncio.Redis, name: str) -> Reader:
    return CheckpointedReader(client, name, f"{name}:c", follow=False)


async def test_nothing_is_visible_before_the_checkpoint_and_everything_with_it(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, 1, 2)
    reader = reader_of(client, name)
    async with reader:
        async for entry in reader:
            reader.emit(f"{name}:out", entry.value)
            reader.execute("HINCRBY", f"{name}:totals", "seen", 1)
            assert await client.exists(f"{name}:out", f"{name}:totals") == 0
    assert await numbers_in(client, f"{name}:out") == [1, 2]
    assert await client.hgetall(f"{name}:totals") == {b"seen": b"2"}
    assert await saved_id(reader) == ids[1]


async def test_to_every_kind_of_stream(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(10))
    reader = reader_of(client, name)
    plain = Stream(client, f"{name}:json", codec=JsonCodec(loads=int))
    capped = CappedStream(client, f"{name}:capped", maxlen=3, approximate=False)
    days = PartitionedStream(client, f"{name}:days", retention=timedelta(days=3))
    async with reader:
        async for entry in reader:
            number = int(entry.value["n"])
            reader.emit(f"{name}:key", {"n": number, "half": number / 2, "raw": b"\xff"})
            reader.emit(plain, number)
            reader.emit(capped, entry.value)
            reader.emit(days, entry.value)
    assert await numbers_in(client, f"{name}:key") == list(range(10))
    assert (await entries_in(client, f"{name}:key"))[-1][1] == {b"n": b"9", b"half": b"4.5", b"raw": b"\xff"}
    assert [fields[b"data"] for _, fields in await entries_in(client, f"{name}:json")] == [b"%d" % n for n in range(10)]
    assert await numbers_in(client, f"{name}:capped") == [7, 8, 9]
    (key,) = await days.keys()
    assert await numbers_in(client, key) == list(range(10))
    newest, _ = (await entries_in(client, key))[-1]
    assert key == days.key_for(newest.time)
    assert await days.expires_at(key) == newest.time + timedelta(days=3)


async def test_trimmed_by_age_too(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    young = CappedStream(client, f"{name}:young", max_age=timedelta(hours=1), approximate=False)
    await write(client, f"{name}:young", 0, at=datetime.now(timezone.utc) - timedelta(hours=2))
    reader = reader_of(client, name)
    async with reader:
        async for entry in reader:
            reader.emit(young, entry.value)
    assert await numbers_in(client, f"{name}:young") == [1]


async def test_at_gives_an_entry_its_time_or_id(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    reader, now = reader_of(client, name), datetime.now(timezone.utc).replace(microsecond=0)
    days = PartitionedStream(client, f"{name}:days", retention=timedelta(days=3))
    yesterday = now - timedelta(days=1)
    async with reader:
        async for _ in reader:
            reader.emit(f"{name}:out", {"n": 1}, at=now)
            reader.emit(f"{name}:out", {"n": 2}, at=now)
            reader.emit(f"{name}:out", {"n": 3}, at=EntryId(EntryId.at(now).ms + 1, 7))
            reader.emit(days, {"n": 4}, at=yesterday)
            with pytest.raises(NaiveDatetime):
                reader.emit(days, {"n": 5}, at=datetime(2025, 1, 1))  # noqa: DTZ001 - the point
    ms = EntryId.at(now).ms
    ids = [entry_id for entry_id, _ in await entries_in(client, f"{name}:out")]
    assert ids == [EntryId(ms, 0), EntryId(ms, 1), EntryId(ms + 1, 7)]
    assert await days.keys() == [days.key_for(yesterday)]
    assert await days.expires_at(days.key_for(yesterday)) == yesterday + timedelta(days=3)


async def test_the_server_picks_the_partition_when_the_step_is_taken(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(3))
    reader = reader_of(client, name)
    seconds = PartitionedStream(client, f"{name}:s", period=SECONDS, retention=timedelta(minutes=10))
    async with reader:
        async for entry in reader:
            reader.emit(seconds, entry.value)
            # The step is taken in a later period than the one it was emitted in.
            emitted = datetime.now(timezone.utc)
            while entry.value["n"] == "2" and datetime.now(timezone.utc).second == emitted.second:
                await until(lambda: True)
    (key,) = await seconds.keys()
    assert await numbers_in(client, key) == [0, 1, 2]
    first, _ = (await entries_in(client, key))[0]
    assert seconds.key_for(first.time) == key


async def test_effects_keep_their_order(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(5))
    reader = reader_of(client, name)
    async with reader:
        async for entry in reader:
            reader.execute("RPUSH", f"{name}:list", entry.value["n"])
            reader.execute("SET", f"{name}:last", entry.value["n"])
            reader.execute("ZADD", f"{name}:set", 1.5, entry.value["n"])
            reader.execute(b"APPEND", f"{name}:text", b"%d" % int(entry.value["n"]))
    assert await client.lrange(f"{name}:list", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]
    assert await client.get(f"{name}:last") == b"4"
    assert await client.get(f"{name}:text") == b"01234"
    assert await client.zcard(f"{name}:set") == 5


async def failing(reader: Reader, *effects: tuple[Any, ...]) -> EffectFailed:
    """Read with these effects for each entry, each a method's name and its arguments; gives the error."""

    async def attempt() -> None:
        async with reader:
            async for _ in reader:
                for method, *arguments in effects:
                    getattr(reader, method)(*arguments)

    with pytest.raises(EffectFailed) as caught:
        await attempt()
    return caught.value


async def test_a_target_of_the_wrong_type_fails_the_whole_step_and_it_goes_on_once_mended(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2)
    reader = reader_of(client, name)
    await client.set(f"{name}:text", "x")
    error = await failing(
        reader,
        ("execute", "INCR", f"{name}:n"),
        ("emit", f"{name}:good", {"n": 1}),
        ("emit", f"{name}:text", {"n": 1}),
    )
    assert (error.command, error.key, error.applied) == ("XADD", f"{name}:text", 0)
    assert "holds a string, not a stream" in str(error)
    assert "nothing of the step was applied, and the checkpoint was not moved" in str(error)
    assert await client.exists(f"{name}:n", f"{name}:good") == 0
    assert await saved_id(reader) == NOTHING_YET

    await client.delete(f"{name}:text")
    assert await echo(reader, f"{name}:text", []) is None
    assert await numbers_in(client, f"{name}:text") == [1, 2]


async def test_a_failed_step_can_be_tried_again_within_the_block(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2, 3)
    await client.set(f"{name}:out", "x")
    reader = CheckpointedReader(client, name, f"{name}:c", state={"seen": 0}, follow=False)

    async def once() -> None:
        async for entry in reader:
            reader.state["seen"] += 1
            reader.emit(f"{name}:out", entry.value)

    async with reader:
        for _ in range(2):
            with pytest.raises(EffectFailed):
                await once()
        await client.delete(f"{name}:out")
        await once()
    assert reader.state == {"seen": 3}
    assert await numbers_in(client, f"{name}:out") == [1, 2, 3]


async def test_a_failing_effect_in_the_middle_moves_the_checkpoint_no_further(
    client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(10))
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", count=2, follow=False)

    async def attempt() -> None:
        async with reader:
            async for entry in reader:
                reader.emit(f"{name}:out", entry.value)
                if entry.value["n"] == "5":
                    reader.emit(f"{name}:text", entry.value)

    await client.set(f"{name}:text", "x")
    for _ in range(3):
        with pytest.raises(EffectFailed):
            await attempt()
        assert await numbers_in(client, f"{name}:out") == [0, 1, 2, 3]
        assert await saved_id(reader) == ids[3]
    await client.delete(f"{name}:text")
    await attempt()
    assert await numbers_in(client, f"{name}:out") == list(range(10))
    assert await numbers_in(client, f"{name}:text") == [5]


async def test_commit_in_the_body_raises_what_failed(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    await client.set(f"{name}:out", "x")
    reader = reader_of(client, name)
    async with reader:
        async for entry in reader:
            reader.emit(f"{name}:out", entry.value)
            with pytest.raises(EffectFailed):
                await reader.commit()
            break
    assert await saved_id(reader) == NOTHING_YET


async def test_a_command_on_a_key_of_the_wrong_type_is_found_before_anything_is_written(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    reader = reader_of(client, name)
    await client.set(f"{name}:text", "x")
    for command in (("HINCRBY", "f", 1), ("lpush", "x"), ("SADD", "x"), ("zadd", 1, "x"), ("XTRIM", "MAXLEN", 1)):
        word, *rest = command
        error = await failing(reader, ("emit", f"{name}:good", {"n": 1}), ("execute", word, f"{name}:text", *rest))
        assert (error.command, error.key, error.applied) == (str(word).upper(), f"{name}:text", 0)
    assert await client.exists(f"{name}:good") == 0


async def test_a_command_that_fails_halfway_says_what_was_applied(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    reader = reader_of(client, name)
    await client.hset(f"{name}:hash", "f", "text")
    error = await failing(
        reader,
        ("emit", f"{name}:out", {"n": 1}),
        ("execute", "INCR", f"{name}:n"),
        ("execute", "HINCRBY", f"{name}:hash", "f", 1),
        ("execute", "INCR", f"{name}:n"),
    )
    assert (error.command, error.key, error.applied) == ("HINCRBY", f"{name}:hash", 2)
    assert "2 effects before it were applied, and the checkpoint was not moved" in str(error)
    assert await numbers_in(client, f"{name}:out") == [1]
    assert await client.get(f"{name}:n") == b"1"
    assert await saved_id(reader) == NOTHING_YET


async def test_emitted_entries_alone_are_all_or_nothing_whatever_their_times(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    reader, now = reader_of(client, name), datetime.now(timezone.utc)
    newest = (await write(client, f"{name}:busy", 0))[0]
    out, days = f"{name}:out", PartitionedStream(client, f"{name}:days")

    async def attempt(*times: tuple[Any, Any]) -> None:
        async with reader:
            async for _ in reader:
                for target, at in times:
                    reader.emit(target, {"n": 1}, at=at)

    ms = EntryId.at(now).ms
    for times in (
        [(out, None), (out, now - timedelta(seconds=5))],  # behind what the server is about to number
        [(out, EntryId(ms, 5)), (out, EntryId(ms, 5))],
        [(out, EntryId(ms, 5)), (out, EntryId(ms, 4))],
        [(out, now), (out, now - timedelta(milliseconds=1))],
        [(out, now), (out, EntryId(ms, 0))],
        [(out, None), (f"{name}:busy", EntryId(newest.ms, newest.seq))],
        [(out, None), (days, now - timedelta(days=3))],
        [(out, None), (days, now + timedelta(days=3))],
    ):
        with pytest.raises(EffectFailed) as caught:
            await attempt(*times)
        assert caught.value.applied == 0, times
        assert await client.exists(out) == 0, times
    assert await days.keys() == []
    await attempt((out, now), (out, now), (out, None), (out, None))
    assert await client.xlen(out) == 4


async def test_what_cannot_be_emitted_or_executed_is_refused_at_the_call_and_not_held(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    reader: Reader = reader_of(client, name)
    out: Any = f"{name}:out"
    async with reader:
        async for entry in reader:
            for value in ({"n": None}, {"n": True}, {"n": [1]}, {}, {"n": "\ud800"}, {1: "n"}):
                with pytest.raises(EncodeError, match=out):
                    reader.emit(out, value)
            unstorable: list[Any] = [("SET", out, None), ("SET", out, True), ("HSET", out, "f", "\ud800")]
            for words in unstorable:
                with pytest.raises(EncodeError):
                    reader.execute(*words)
            unfit: list[Any] = [
                ("PING",),
                ("MULTI", out),
                ("BLPOP", out, 1),
                ("RENAME", out, f"{name}:b"),
                ("MSET", out, 1, "b", 2),
                (b"EVAL", "return 1", 0),
                ("FLUSHALL", "ASYNC"),
                ("SUNIONSTORE", out, "a", "b"),
            ]
            for words in unfit:
                with pytest.raises(InvalidArgument):
                    reader.execute(*words)
            elsewhere = Stream(redis.asyncio.Redis(db=9), out)
            with pytest.raises(InvalidArgument, match="one atomic step needs one server and database"):
                reader.emit(elsewhere, entry.value)
            with pytest.raises(InvalidArgument):
                reader.emit("", entry.value)
            reader.emit(out, entry.value)
    assert await numbers_in(client, out) == [1]


async def test_a_step_is_cut_at_500_effects(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(1700))
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", count=2000, follow=False)
    held = list[int]()
    async with reader:
        async for entry in reader:
            held.append(int(entry.value["n"]) - await client.xlen(f"{name}:out"))
            reader.emit(f"{name}:out", entry.value)
    assert max(held) == 499
    assert await numbers_in(client, f"{name}:out") == list(range(1700))


async def test_a_step_is_cut_at_a_mebibyte(client: redis.asyncio.Redis, name: str) -> None:
    ids = await write(client, name, *range(5))
    reader = reader_of(client, name)
    seen = list[EntryId | None]()
    async with reader:
        async for entry in reader:
            seen.append(await saved_id(reader))
            reader.emit(f"{name}:out", {"n": entry.value["n"], "pad": "x" * 600_000})
    assert seen == [NOTHING_YET, NOTHING_YET, ids[1], ids[1], ids[3]]


async def test_the_effects_of_one_entry_stay_together(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    reader = reader_of(client, name)
    async with reader:
        async for _ in reader:
            for number in range(1500):
                reader.emit(f"{name}:out", {"n": number})
            assert await client.exists(f"{name}:out") == 0
    assert await numbers_in(client, f"{name}:out") == list(range(1500))


async def test_a_wide_entry_is_emitted_or_refused_but_never_half_the_step(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    for width in (2000, 4500):
        reader = reader_of(client, name)
        refused = False
        async with reader:
            async for entry in reader:
                reader.emit(f"{name}:out", entry.value)
                try:
                    reader.emit(f"{name}:wide", {f"f{number}": number for number in range(width)})
                    reader.execute("RPUSH", f"{name}:list", *range(2 * width))
                except (EncodeError, InvalidArgument):
                    refused = True
        assert refused == (width == 4500)
        assert await numbers_in(client, f"{name}:out") == [1]
        await client.delete(f"{name}:c", f"{name}:out", f"{name}:wide", f"{name}:list")


async def test_out_of_memory_is_waited_out_and_neither_loses_nor_doubles(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server(settings={"maxmemory-policy": "noeviction"}) as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, name, *range(100))
            reader: Reader = CheckpointedReader(client, name, f"{name}:c", count=10, observer=recorder)

            async def work() -> None:
                async with reader:
                    async for entry in reader:
                        number = int(entry.value["n"])
                        if number == 25:
                            await client.config_set("maxmemory", 1)
                        reader.emit(f"{name}:out", {"n": number})
                        numbers.append(number)

            async with running(work, stop=reader.stop):
                await until(told(recorder, "on_unavailable", 3))
                assert "used memory > 'maxmemory'" in str(recorder.of("on_unavailable")[0][0])
                assert await numbers_in(client, f"{name}:out") == list(range(20))
                await client.config_set("maxmemory", 0)
                await until(lambda: len(numbers) == 100)
                await until(told(recorder, "on_waiting"))
            assert numbers == list(range(100))
            assert await numbers_in(client, f"{name}:out") == list(range(100))
            assert recorder.of("on_available")


async def test_out_of_memory_at_the_start_and_at_commit_is_waited_out_too(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, name, 1, 2)
            await client.config_set("maxmemory", 1)
            reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)

            async def work() -> None:
                async with reader:
                    async for entry in reader:
                        reader.emit(f"{name}:out", entry.value)
                        if entry.value["n"] == "1":
                            await client.config_set("maxmemory", 1)
                        await reader.commit()
                        numbers.append(int(entry.value["n"]))

            async with running(work, stop=reader.stop):
                await until(told(recorder, "on_unavailable", 2))
                await client.config_set("maxmemory", 0)
                await until(told(recorder, "on_start"))
                before = len(recorder.of("on_unavailable"))
                await until(told(recorder, "on_unavailable", before + 2))
                assert await client.exists(f"{name}:out") == 0
                await client.config_set("maxmemory", 0)
                await until(lambda: numbers == [1, 2])
                assert await numbers_in(client, f"{name}:out") == [1, 2]


async def test_stopped_while_out_of_memory_it_says_what_is_not_saved(name: str) -> None:
    recorder = Recorder()
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, name, 1)
            reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)

            async def work() -> None:
                async with reader:
                    async for _ in reader:
                        await client.config_set("maxmemory", 1)

            async with running(work, stop=reader.stop) as run:
                await until(told(recorder, "on_unavailable", 2))
                reader.stop()
                await run.result()
            await client.config_set("maxmemory", 0)
            assert [checkpoint for checkpoint, _ in recorder.of("on_unsaved")] == [f"{name}:c"]
            assert await read(CheckpointedReader(client, name, f"{name}:c", follow=False)) == [1]
