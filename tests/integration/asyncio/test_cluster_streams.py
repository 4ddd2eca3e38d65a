"""Streams, readers and the replayer on a cluster, from end to end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streamkit.asyncio import CappedStream, CheckpointedReader, EntryId, PartitionedStream, Replayer, Stream
from streamkit.testing import Cluster
from tests.integration.asyncio._clusters import keys_apart
from tests.integration.asyncio._jobs import JOBS, Sum
from tests.integration.asyncio._letters import raw
from tests.integration.asyncio._readers import DAY, midnight, numbers_in, read, write
from tests.integration.asyncio._replays import days_of, follow, numbers_of
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

DAYS = 8
"""Partitions of a test."""


@pytest.mark.parametrize("job", JOBS)
async def test_every_block_does_its_job(nodes: Any, word: str, job: str) -> None:
    await JOBS[job](nodes, nodes, word)


async def test_a_key_is_appended_to_wherever_it_lies(cluster: Cluster, nodes: Any, word: str) -> None:
    for key in keys_apart(cluster, word):
        stream = Stream(nodes, key)
        first = await stream.append({"n": 0})
        assert await stream.append_many({"n": n} for n in range(1, 2500)) == 2499
        again = await stream.append({"n": 2500}, idempotency_key="k")
        assert await stream.append({"n": 2500}, idempotency_key="k") == again
        assert await numbers_in(nodes, key) == list(range(2501))
        info = await stream.info()
        assert (info.length, info.first_id, info.last_id) == (2501, first, again)
        assert await stream.length() == 2501
        assert cluster.master_of(key).call("XLEN", key) == 2501


async def test_a_capped_stream_keeps_its_length(cluster: Cluster, nodes: Any, word: str) -> None:
    for key in keys_apart(cluster, word):
        stream = CappedStream(nodes, key, maxlen=10, approximate=False)
        assert await stream.append_many({"n": n} for n in range(50)) == 50
        first = await stream.append({"n": 50}, idempotency_key="k")
        assert await stream.append({"n": 51}, idempotency_key="k") == first
        assert await numbers_in(nodes, key) == list(range(41, 51))
        assert await CappedStream(nodes, key, maxlen=3, approximate=False).trim() == 7


async def partitions(nodes: Any, name: str, *, days: int = DAYS) -> PartitionedStream:
    """A partition for each of the last days, with a number each."""
    stream = days_of(nodes, name)
    times = [midnight(day - days + 1) for day in range(days)]
    assert await stream.append_many(({"n": n} for n in range(days)), times=times) == days
    return stream


async def test_partitions_lie_on_every_node(cluster: Cluster, nodes: Any, word: str) -> None:
    stream = await partitions(nodes, word, days=20)
    keys = await stream.keys()
    assert keys == [stream.key_for(midnight(day - 19)) for day in range(20)]
    assert {cluster.master_of(key) for key in keys} == set(cluster.masters())
    assert await stream.length() == 20
    assert [info.key for info in await stream.info()] == keys
    assert await stream.expires_at(keys[0]) == midnight(-19) + timedelta(days=30)
    assert await stream.trim() == 0
    assert await numbers_of(Replayer(nodes, stream).entries()) == list(range(20))
    assert await numbers_of(Replayer(nodes, stream).entries(reverse=True, limit=3)) == [19, 18, 17]
    # Chunks that change nodes, in one call.
    times = [midnight() + timedelta(seconds=n) for n in range(1, 1500)]
    assert await stream.append_many(({"n": n} for n in range(1, 1500)), times=times) == 1499


async def test_partitions_of_one_tag_lie_together(cluster: Cluster, nodes: Any, word: str) -> None:
    stream = await partitions(nodes, f"{{{word}}}:temps")
    assert len({cluster.slot_of(key) for key in await stream.keys()}) == 1
    first = await stream.append({"n": DAYS}, idempotency_key="k")
    assert await stream.append({"n": DAYS}, idempotency_key="k") == first
    assert await stream.length() == DAYS + 1


async def test_a_partition_that_another_program_wrote_expires(nodes: Any, word: str) -> None:
    stream = PartitionedStream(nodes, word)
    key = stream.key_for(midnight())
    await write(nodes, key, 1)
    assert await stream.expires_at(key) is None
    assert await stream.trim() == 0
    assert await stream.expires_at(key) is not None


# Readers ------------------------------------------------------------------------------------------------------------


async def test_a_reader_goes_through_partitions_on_all_nodes(nodes: Any, word: str) -> None:
    stream, recorder = await partitions(nodes, word), Recorder()
    state, out = f"{{{word}:state}}", f"{{{word}:state}}:out"
    reader = CheckpointedReader(nodes, stream, state, state=Sum(), follow=False, observer=recorder)
    for numbers, total in ((range(DAYS), 28), (range(DAYS, DAYS + 3), 28 + 27)):
        async with reader:
            async for entry in reader:
                reader.state.total += int(entry.value["n"])
                reader.emit(out, entry.value)
                reader.execute("HINCRBY", f"{state}:counts", "seen", 1)
        saved = await reader.saved()
        assert saved is not None
        assert saved.state == Sum(total)
        assert await numbers_in(nodes, out) == list(range(numbers.stop))
        for n in range(DAYS, DAYS + 3):
            await stream.append({"n": n}) if numbers.start == 0 else None
    assert await nodes.hget(f"{state}:counts", "seen") == b"%d" % (DAYS + 3)
    assert len(recorder.of("on_partition")) == DAYS - 1
    assert recorder.of("on_gap") == recorder.of("on_unavailable") == []
    await reader.reset()
    assert await reader.saved() is None


@pytest.mark.usefixtures("short_waits")
async def test_a_reader_moves_on_when_a_partition_begins_elsewhere(nodes: Any, word: str) -> None:
    stream, numbers = PartitionedStream(nodes, word, max_ahead=3 * DAY), list[int]()
    reader = CheckpointedReader(nodes, stream, f"{word}:state", grace=timedelta(0))

    async def collect() -> None:
        async with reader:
            async for entry in reader:
                numbers.append(int(entry.value["n"]))

    await write(nodes, stream.key_for(midnight(-1)), 0, at=midnight(-1))
    async with running(collect, stop=reader.stop):
        await until(lambda: numbers == [0])
        await stream.append({"n": 1})
        await until(lambda: numbers == [0, 1])
        await stream.append({"n": 2})
        await until(lambda: numbers == [0, 1, 2])


async def test_what_a_reader_cannot_decode_lies_beside_its_checkpoint(nodes: Any, word: str) -> None:
    stream, recorder = await partitions(nodes, word), Recorder()
    await nodes.xadd(stream.key_for(midnight()), {"n": b"\xff"})
    await write(nodes, stream.key_for(midnight()), DAYS)
    reader = CheckpointedReader(nodes, stream, f"{word}:state", follow=False, observer=recorder)
    assert await read(reader) == list(range(DAYS + 1))
    (letter,) = await raw(nodes, f"{{{word}:state}}:dead-letters")
    assert letter[1][-2:] == [b"n", b"\xff"]
    assert len(recorder.of("on_dead_letter")) == 1


# The replayer -------------------------------------------------------------------------------------------------------


async def test_a_replayer_copies_from_node_to_node(cluster: Cluster, nodes: Any, word: str) -> None:
    source, target, _ = keys_apart(cluster, word)
    await Stream(nodes, source).append_many({"n": n} for n in range(1200))
    assert await Replayer(nodes, source).copy(Stream(nodes, target)) == 1200
    assert await numbers_in(nodes, target) == list(range(1200))
    stream = await partitions(nodes, word)
    assert await Replayer(nodes, stream).copy(days_of(nodes, f"{word}:copy"), keep_ids=True) == DAYS
    assert await numbers_of(Replayer(nodes, days_of(nodes, f"{word}:copy")).entries()) == list(range(DAYS))


@pytest.mark.usefixtures("short_waits")
async def test_a_replayer_follows_partitions(nodes: Any, word: str) -> None:
    stream, numbers = await partitions(nodes, word), list[int]()
    replayer = Replayer(nodes, stream)
    async with running(follow, replayer, numbers, stop=replayer.stop):

        async def begun() -> bool:
            await stream.append({"n": 100})
            return bool(numbers)

        await until(begun)
    assert set(numbers) == {100}


async def test_a_replayer_plays_partitions(nodes: Any, word: str) -> None:
    stream, played = await partitions(nodes, word), list[int]()

    async def play(entry: Any) -> None:
        played.append(int(entry.value["n"]))

    assert await Replayer(nodes, stream).play(play, speed=1e9) == DAYS
    assert played == list(range(DAYS))


async def test_an_entry_keeps_the_id_it_is_given(nodes: Any, word: str) -> None:
    assert await Stream(nodes, word).append({"n": 1}, at=EntryId(5, 5)) == EntryId(5, 5)
