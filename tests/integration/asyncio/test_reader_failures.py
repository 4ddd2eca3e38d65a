"""What can go wrong around a reader: entries it cannot read, keys of another kind, servers that forget."""

from __future__ import annotations

import logging

import pytest
import redis.asyncio

from streamkit.asyncio import (
    CheckpointedReader,
    EffectFailed,
    EntryId,
    JsonCodec,
    PartitionedStream,
    Stream,
    WrongKeyType,
)
from streamkit.testing import redis_server
from tests.integration.asyncio._readers import (
    MONTH_OF_DAYS,
    Reader,
    collect,
    entries_in,
    key_of,
    midnight,
    numbers_in,
    raw,
    read,
    saved_id,
    told,
    write,
)
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

SECRET = "1234-5678"
AS_STORED = "return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1][2]"


async def letters(client: redis.asyncio.Redis, key: str) -> list[list[tuple[bytes, bytes]]]:
    """The entries of a stream, repeated fields and all."""
    found: list[list[tuple[bytes, bytes]]] = []
    for entry_id, _ in await entries_in(client, key):
        words = await raw(client).eval(AS_STORED, 1, key, str(entry_id))
        found.append(list(zip(words[::2], words[1::2], strict=True)))
    return found


async def test_an_undecodable_entry_goes_to_the_dead_letters_and_reading_goes_on(
    client: redis.asyncio.Redis, name: str
) -> None:
    source = Stream(client, name, codec=JsonCodec(loads=int))
    await source.append(1)
    bad = EntryId.parse(await client.xadd(name, {"data": b"\xff{", "trace": "abc"}))
    last = await source.append(3)
    recorder = Recorder()
    reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder, follow=False)
    async with reader:
        values = [entry.value + 0 async for entry in reader]
    assert values == [1, 3]
    assert await saved_id(reader) == last
    key = f"{{{name}:c}}:dead-letters"
    (letter,) = await letters(client, key)
    assert [(field, value) for field, value in letter if not field.startswith(b"streamkit:")] == [
        (b"data", b"\xff{"),
        (b"trace", b"abc"),
    ]
    provenance = dict(letter[:-2])
    at = int(provenance.pop(b"streamkit:at"))
    assert abs(at - bad.ms) < 60_000
    assert provenance.pop(b"streamkit:error")
    assert provenance == {
        b"streamkit:stream": name.encode(),
        b"streamkit:id": str(bad).encode(),
        b"streamkit:cause": b"undecodable",
        b"streamkit:error_type": b"ValueError",
        b"streamkit:reader": f"{name}:c".encode(),
    }
    ((told_key, error),) = recorder.of("on_dead_letter")
    assert told_key == key
    assert (error.stream, str(error.entry_id)) == (name, str(bad))


async def test_repeated_and_prefixed_fields_of_a_dead_letter_stay_untouched(
    client: redis.asyncio.Redis, name: str
) -> None:
    bad = await raw(client).execute_command("XADD", name, "*", "data", "{", "data", "[", "streamkit:id", "mine")
    source = Stream(client, name, codec=JsonCodec())
    reader = CheckpointedReader(client, source, f"{name}:c", dead_letters=f"{name}:dead", follow=False)
    async with reader:
        assert [entry.id async for entry in reader] == []
    (letter,) = await letters(client, f"{name}:dead")
    assert letter[-3:] == [(b"data", b"{"), (b"data", b"["), (b"streamkit:id", b"mine")]
    assert (b"streamkit:id", bad) in letter[:-3]


async def test_a_dead_letter_belongs_to_the_step_that_passes_its_entry(client: redis.asyncio.Redis, name: str) -> None:
    await client.xadd(name, {"n": b"\xff"})
    await write(client, name, 1)
    dead = f"{name}:dead"
    reader = CheckpointedReader(client, name, f"{name}:c", dead_letters=dead, follow=False)
    async with reader:
        async for _ in reader:
            assert await client.exists(dead) == 0
            break
    assert await client.exists(dead) == 0
    await client.set(dead, "x")
    with pytest.raises(EffectFailed, match=dead):
        await read(reader)
    await client.delete(dead)
    assert await read(reader) == [1]
    assert await client.xlen(dead) == 1


async def test_nothing_but_undecodable_entries_is_no_endless_loop(client: redis.asyncio.Redis, name: str) -> None:
    ids = [EntryId.parse(await client.xadd(name, {"n": b"\xff"})) for _ in range(30)]
    reader = CheckpointedReader(client, name, f"{name}:c", count=7, dead_letters=f"{name}:dead", follow=False)
    assert await read(reader) == []
    assert await client.xlen(f"{name}:dead") == 30
    assert await saved_id(reader) == ids[-1]


async def test_the_log_tells_of_a_dead_letter_and_never_its_payload(
    client: redis.asyncio.Redis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await client.xadd(name, {"data": f"{{{SECRET}", "card": SECRET})
    caplog.set_level(logging.DEBUG, "streamkit")
    reader = CheckpointedReader(client, Stream(client, name, codec=JsonCodec()), f"{name}:c", follow=False)
    async with reader:
        assert [entry.id async for entry in reader] == []
    assert f"{{{name}:c}}:dead-letters" in caplog.text
    assert "cannot be decoded" in caplog.text
    assert SECRET not in caplog.text


async def test_a_source_of_another_type_is_named(client: redis.asyncio.Redis, name: str) -> None:
    await client.set(name, "x")
    with pytest.raises(WrongKeyType, match=f"'{name}' holds a .*not a stream"):
        await read(CheckpointedReader(client, name, f"{name}:c"))


async def test_a_partition_of_another_type_is_named(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, key_of(name, midnight(-3)), 1, at=midnight(-3))
    bad = key_of(name, midnight(-2))
    await client.set(bad, "x")
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS)
    with pytest.raises(WrongKeyType, match=f"'{bad}' holds a .*not a stream"):
        await read(CheckpointedReader(client, source, f"{name}:c"))


async def test_a_source_overwritten_while_it_is_read_is_named(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    recorder = Recorder()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)

    async def outcome() -> Exception | None:
        try:
            await collect(reader, [])
        except WrongKeyType as error:
            return error
        return None

    async with running(outcome, stop=reader.stop) as run:
        await until(told(recorder, "on_waiting"))
        await client.set(name, "x")
        assert isinstance(await run.result(), WrongKeyType)


async def test_a_checkpoint_of_another_type_is_named_and_left_alone(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    await client.set(f"{name}:c", "x")
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    with pytest.raises(WrongKeyType, match=rf"'{name}:c' holds a .*not a hash \(a checkpoint\)"):
        await read(reader)
    with pytest.raises(WrongKeyType):
        await reader.saved()
    assert await client.get(f"{name}:c") == b"x"


async def test_a_checkpoint_overwritten_while_it_reads_is_named(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)

    async def overwritten() -> None:
        async with reader:
            async for entry in reader:
                reader.emit(f"{name}:out", entry.value)
                await client.set(f"{name}:c", "x")

    with pytest.raises(WrongKeyType, match=rf"'{name}:c' holds a .*not a hash \(a checkpoint\)"):
        await overwritten()
    assert await client.exists(f"{name}:out") == 0


async def test_everything_flushed_under_a_waiting_reader(name: str) -> None:
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            source = PartitionedStream(client, f"{name}:days", retention=MONTH_OF_DAYS)
            await source.append({"n": 1})
            await write(client, name, 1)
            recorders = [Recorder(), Recorder()]
            found = [list[int](), list[int]()]
            one: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorders[0])
            two: Reader = CheckpointedReader(client, source, f"{name}:d", observer=recorders[1])
            async with running(collect, one, found[0], stop=one.stop), running(collect, two, found[1], stop=two.stop):
                await until(lambda: all(told(recorder, "on_waiting")() for recorder in recorders))
                await client.flushall()
                await client.script_flush()
                await until(lambda: all(told(recorder, "on_rewound")() for recorder in recorders))
                await write(client, name, 2)
                await source.append({"n": 2})
                await until(lambda: found == [[1, 2], [1, 2]])
            assert [recorder.of("on_unavailable") for recorder in recorders] == [[], []]


async def test_everything_flushed_under_a_busy_reader(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, name, *range(30))
            reader: Reader = CheckpointedReader(client, name, f"{name}:c", count=10, observer=recorder)

            async def work() -> None:
                async with reader:
                    async for entry in reader:
                        number = int(entry.value["n"])
                        numbers.append(number)
                        reader.emit(f"{name}:out", {"n": number})
                        if number == 14:
                            await client.flushall()
                            await client.script_flush()
                            await write(client, name, 100, 101)

            async with running(work, stop=reader.stop):
                await until(lambda: numbers[-2:] == [100, 101])
                await until(told(recorder, "on_waiting"))
                assert await numbers_in(client, f"{name}:out") == [100, 101]
            assert len(recorder.of("on_rewound")) == 1


async def test_a_server_that_may_evict_is_warned_about(name: str, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    with redis_server(settings={"maxmemory-policy": "volatile-lru"}) as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, name, 1)
            await read(CheckpointedReader(client, name, f"{name}:c", observer=recorder, follow=False))
            await read(CheckpointedReader(client, name, f"{name}:d", follow=False))
    assert recorder.of("on_eviction_policy") == ["volatile-lru"]
    assert "maxmemory-policy is volatile-lru" in caplog.text
    assert "partitions first, since they expire; set it to noeviction" in caplog.text


async def test_a_server_that_may_not_evict_is_not(client: redis.asyncio.Redis, name: str) -> None:
    recorder = Recorder()
    await write(client, name, 1)
    await read(CheckpointedReader(client, name, f"{name}:c", observer=recorder, follow=False))
    assert recorder.of("on_eviction_policy") == []
