# Generated from tests/integration/asyncio/test_cluster_streams.py by tools/generate_sync.py: do not edit.
"""Streams, readers and the replayer on a cluster, from end to end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from streamkit import CappedStream, CheckpointedReader, EntryId, PartitionedStream, Replayer, Stream
from streamkit.testing import Cluster
from tests.integration._sync._clusters import keys_apart
from tests.integration._sync._jobs import JOBS, Sum
from tests.integration._sync._letters import raw
from tests.integration._sync._readers import DAY, midnight, numbers_in, read, write
from tests.integration._sync._replays import days_of, follow, numbers_of
from tests.integration._sync._runtime import running, until
from tests.integration.recording import Recorder

DAYS = 8
"""Partitions of a test."""


@pytest.mark.parametrize("job", JOBS)
def test_every_block_does_its_job(nodes: Any, word: str, job: str) -> None:
    JOBS[job](nodes, nodes, word)


def test_a_key_is_appended_to_wherever_it_lies(cluster: Cluster, nodes: Any, word: str) -> None:
    for key in keys_apart(cluster, word):
        stream = Stream(nodes, key)
        first = stream.append({"n": 0})
        assert stream.append_many({"n": n} for n in range(1, 2500)) == 2499
        again = stream.append({"n": 2500}, idempotency_key="k")
        assert stream.append({"n": 2500}, idempotency_key="k") == again
        assert numbers_in(nodes, key) == list(range(2501))
        info = stream.info()
        assert (info.length, info.first_id, info.last_id) == (2501, first, again)
        assert stream.length() == 2501
        assert cluster.master_of(key).call("XLEN", key) == 2501


def test_a_capped_stream_keeps_its_length(cluster: Cluster, nodes: Any, word: str) -> None:
    for key in keys_apart(cluster, word):
        stream = CappedStream(nodes, key, maxlen=10, approximate=False)
        assert stream.append_many({"n": n} for n in range(50)) == 50
        first = stream.append({"n": 50}, idempotency_key="k")
        assert stream.append({"n": 51}, idempotency_key="k") == first
        assert numbers_in(nodes, key) == list(range(41, 51))
        assert CappedStream(nodes, key, maxlen=3, approximate=False).trim() == 7


def partitions(nodes: Any, name: str, *, days: int = DAYS) -> PartitionedStream:
    """A partition for each of the last days, with a number each."""
    stream = days_of(nodes, name)
    times = [midnight(day - days + 1) for day in range(days)]
    assert stream.append_many(({"n": n} for n in range(days)), times=times) == days
    return stream


def test_partitions_lie_on_every_node(cluster: Cluster, nodes: Any, word: str) -> None:
    stream = partitions(nodes, word, days=20)
    keys = stream.keys()
    assert keys == [stream.key_for(midnight(day - 19)) for day in range(20)]
    assert {cluster.master_of(key) for key in keys} == set(cluster.masters())
    assert stream.length() == 20
    assert [info.key for info in stream.info()] == keys
    assert stream.expires_at(keys[0]) == midnight(-19) + timedelta(days=30)
    assert stream.trim() == 0
    assert numbers_of(Replayer(nodes, stream).entries()) == list(range(20))
    assert numbers_of(Replayer(nodes, stream).entries(reverse=True, limit=3)) == [19, 18, 17]
    # Chunks that change nodes, in one call.
    times = [midnight() + timedelta(seconds=n) for n in range(1, 1500)]
    assert stream.append_many(({"n": n} for n in range(1, 1500)), times=times) == 1499


def test_partitions_of_one_tag_lie_together(cluster: Cluster, nodes: Any, word: str) -> None:
    stream = partitions(nodes, f"{{{word}}}:temps")
    assert len({cluster.slot_of(key) for key in stream.keys()}) == 1
    first = stream.append({"n": DAYS}, idempotency_key="k")
    assert stream.append({"n": DAYS}, idempotency_key="k") == first
    assert stream.length() == DAYS + 1


def test_a_partition_that_another_program_wrote_expires(nodes: Any, word: str) -> None:
    stream = PartitionedStream(nodes, word)
    key = stream.key_for(midnight())
    write(nodes, key, 1)
    assert stream.expires_at(key) is None
    assert stream.trim() == 0
    assert stream.expires_at(key) is not None


# Readers ------------------------------------------------------------------------------------------------------------


def test_a_reader_goes_through_partitions_on_all_nodes(nodes: Any, word: str) -> None:
    stream, recorder = partitions(nodes, word), Recorder()
    state, out = f"{{{word}:state}}", f"{{{word}:state}}:out"
    reader = CheckpointedReader(nodes, stream, state, state=Sum(), follow=False, observer=recorder)
    for numbers, total in ((range(DAYS), 28), (range(DAYS, DAYS + 3), 28 + 27)):
        with reader:
            for entry in reader:
                reader.state.total += int(entry.value["n"])
                reader.emit(out, entry.value)
                reader.execute("HINCRBY", f"{state}:counts", "seen", 1)
        saved = reader.saved()
        assert saved is not None
        assert saved.state == Sum(total)
        assert numbers_in(nodes, out) == list(range(numbers.stop))
        for n in range(DAYS, DAYS + 3):
            stream.append({"n": n}) if numbers.start == 0 else None
    assert nodes.hget(f"{state}:counts", "seen") == b"%d" % (DAYS + 3)
    assert len(recorder.of("on_partition")) == DAYS - 1
    assert recorder.of("on_gap") == recorder.of("on_unavailable") == []
    reader.reset()
    assert reader.saved() is None


@pytest.mark.usefixtures("short_waits")
def test_a_reader_moves_on_when_a_partition_begins_elsewhere(nodes: Any, word: str) -> None:
    stream, numbers = PartitionedStream(nodes, word, max_ahead=3 * DAY), list[int]()
    reader = CheckpointedReader(nodes, stream, f"{word}:state", grace=timedelta(0))

    def collect() -> None:
        with reader:
            for entry in reader:
                numbers.append(int(entry.value["n"]))

    write(nodes, stream.key_for(midnight(-1)), 0, at=midnight(-1))
    with running(collect, stop=reader.stop):
        until(lambda: numbers == [0])
        stream.append({"n": 1})
        until(lambda: numbers == [0, 1])
        stream.append({"n": 2})
        until(lambda: numbers == [0, 1, 2])


def test_what_a_reader_cannot_decode_lies_beside_its_checkpoint(nodes: Any, word: str) -> None:
    stream, recorder = partitions(nodes, word), Recorder()
    nodes.xadd(stream.key_for(midnight()), {"n": b"\xff"})
    write(nodes, stream.key_for(midnight()), DAYS)
    reader = CheckpointedReader(nodes, stream, f"{word}:state", follow=False, observer=recorder)
    assert read(reader) == list(range(DAYS + 1))
    (letter,) = raw(nodes, f"{{{word}:state}}:dead-letters")
    assert letter[1][-2:] == [b"n", b"\xff"]
    assert len(recorder.of("on_dead_letter")) == 1


# The replayer -------------------------------------------------------------------------------------------------------


def test_a_replayer_copies_from_node_to_node(cluster: Cluster, nodes: Any, word: str) -> None:
    source, target, _ = keys_apart(cluster, word)
    Stream(nodes, source).append_many({"n": n} for n in range(1200))
    assert Replayer(nodes, source).copy(Stream(nodes, target)) == 1200
    assert numbers_in(nodes, target) == list(range(1200))
    stream = partitions(nodes, word)
    assert Replayer(nodes, stream).copy(days_of(nodes, f"{word}:copy"), keep_ids=True) == DAYS
    assert numbers_of(Replayer(nodes, days_of(nodes, f"{word}:copy")).entries()) == list(range(DAYS))


@pytest.mark.usefixtures("short_waits")
def test_a_replayer_follows_partitions(nodes: Any, word: str) -> None:
    stream, numbers = partitions(nodes, word), list[int]()
    replayer = Replayer(nodes, stream)
    with running(follow, replayer, numbers, stop=replayer.stop):

        def begun() -> bool:
            stream.append({"n": 100})
            return bool(numbers)

        until(begun)
    assert set(numbers) == {100}


def test_a_replayer_plays_partitions(nodes: Any, word: str) -> None:
    stream, played = partitions(nodes, word), list[int]()

    def play(entry: Any) -> None:
        played.append(int(entry.value["n"]))

    assert Replayer(nodes, stream).play(play, speed=1e9) == DAYS
    assert played == list(range(DAYS))


def test_an_entry_keeps_the_id_it_is_given(nodes: Any, word: str) -> None:
    assert Stream(nodes, word).append({"n": 1}, at=EntryId(5, 5)) == EntryId(5, 5)
