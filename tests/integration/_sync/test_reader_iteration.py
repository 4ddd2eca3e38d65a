# Generated from tests/integration/asyncio/test_reader_iteration.py by tools/generate_sync.py: do not edit.
"""Iterating: when a reader saves and when it does not, and what entering again finds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis

from streamkit import (
    CheckpointedReader,
    Entry,
    InvalidArgument,
    JsonCodec,
    NotEntered,
    Position,
    ServerUnavailable,
    Stream,
)
from tests.integration._sync._readers import (
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
from tests.integration._sync._runtime import (
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


def test_entries_come_in_order_with_stream_id_and_value(client: redis.Redis, name: str) -> None:
    stream = Stream(client, name, codec=JsonCodec(loads=int))
    ids = [stream.append(number) for number in range(5)]
    reader = CheckpointedReader(client, stream, f"{name}:c", count=2, follow=False)
    with reader:
        entries = [(entry.stream, entry.id, entry.value) for entry in reader]
    assert entries == [(name, entry_id, number) for number, entry_id in enumerate(ids)]


def test_a_batch_is_saved_when_the_loop_asks_for_the_entry_after_its_last(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(6))
    reader = CheckpointedReader(client, name, f"{name}:c", count=3, follow=False)
    with reader:
        for entry in reader:
            if entry.id <= ids[2]:
                assert saved_id(reader) == NOTHING_YET
            else:
                until_saved(reader, ids[2])
    assert saved_id(reader) == ids[5]


def until_saved(reader: Reader, entry_id: object) -> None:
    def saved() -> bool:
        return saved_id(reader) == entry_id

    until(saved, f"a checkpoint at {entry_id}")


def test_an_interval_of_nothing_saves_every_entry(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(4))
    reader = CheckpointedReader(client, name, f"{name}:c", commit_interval=timedelta(0), follow=False)
    found = list[object]()
    with reader:
        for _ in reader:
            found.append(saved_id(reader))
    assert found == [NOTHING_YET, *ids[:3]]


def test_within_a_batch_entries_are_saved_once_the_interval_has_passed(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(3))
    reader = CheckpointedReader(client, name, f"{name}:c", commit_interval=timedelta(seconds=0.05), follow=False)
    with reader:
        for entry in reader:
            if entry.id == ids[0]:
                pause(0.06)
                assert saved_id(reader) == NOTHING_YET
            elif entry.id == ids[1]:
                assert saved_id(reader) == ids[0]


def test_commit_in_the_body_saves_the_entry_in_hand_with_its_state_and_effects(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"sum": 0}, follow=False)
    with reader:
        for entry in reader:
            reader.state["sum"] += int(entry.value["n"])
            reader.emit(f"{name}:out", entry.value)
            if entry.id == ids[2]:
                reader.commit()
                saved = reader.saved()
                assert saved is not None
                assert saved.position == Position(name, ids[2])
                assert saved.state == {"sum": 3}
                assert numbers_in(client, f"{name}:out") == [0, 1, 2]
                break
    assert read(reader) == [3, 4]
    assert reader.state == {"sum": 3}


def test_commit_between_the_last_entry_and_the_end_of_the_block_saves_what_the_state_became(
    client: redis.Redis, name: str
) -> None:
    ids = write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", state={"rounds": 0}, follow=False)
    with reader:
        for _ in reader:
            pass
        reader.state["rounds"] = 1
        reader.emit(f"{name}:out", {"n": 7})
        reader.commit()
    saved = reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (ids[0], {"rounds": 1})
    assert numbers_in(client, f"{name}:out") == [7]


def test_exhaustion_saves(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", count=2, follow=False)
    assert read(reader) == [0, 1, 2, 3, 4]
    assert saved_id(reader) == ids[4]
    assert read(reader) == []


def test_stop_saves_the_entry_in_hand_and_gives_no_more(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c")
    assert take(reader, 3) == [0, 1, 2]
    assert saved_id(reader) == ids[2]


def test_a_reader_that_was_stopped_can_be_used_again(client: redis.Redis, name: str) -> None:
    write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c")
    assert take(reader, 2) == [0, 1]
    assert take(reader, 3) == [2, 3, 4]


def test_break_saves_nothing(client: redis.Redis, name: str) -> None:
    write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"seen": 0})
    with reader:
        for entry in reader:
            reader.state["seen"] += 1
            reader.emit(f"{name}:out", entry.value)
            if entry.value["n"] == "2":
                break
    saved = reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (NOTHING_YET, {"seen": 0})
    assert numbers_in(client, f"{name}:out") == []


def test_an_exception_saves_nothing_and_passes_through(client: redis.Redis, name: str) -> None:
    write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"seen": 0})

    def fail() -> None:
        with reader:
            for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                if entry.value["n"] == "2":
                    raise StopError

    with pytest.raises(StopError):
        fail()
    saved = reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (NOTHING_YET, {"seen": 0})
    assert numbers_in(client, f"{name}:out") == []


def test_interrupted_in_the_body_saves_nothing(client: redis.Redis, name: str) -> None:
    write(client, name, *range(5))
    reader = CheckpointedReader(client, name, f"{name}:c", state={"seen": 0})

    def linger() -> None:
        with reader:
            for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                while entry.value["n"] == "2":
                    pause(0.01)

    with running(linger) as run:
        until(lambda: reader.state["seen"] == 3)
        run.interrupt()
    saved = reader.saved()
    assert saved is not None
    assert (saved.position.id, saved.state) == (NOTHING_YET, {"seen": 0})
    assert numbers_in(client, f"{name}:out") == []


def test_interrupted_while_it_waits_it_ends_and_goes_on_where_it_was(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    with running(collect, reader, numbers) as run:
        until(told(recorder, "on_waiting"))
        run.interrupt()
    write(client, name, 3)
    assert take(reader, 1) == [3]


def test_entering_again_reloads_state_and_position_and_drops_held_effects(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(6))
    reader = CheckpointedReader(client, name, f"{name}:c", count=2, state={"seen": 0}, follow=False)

    def echo_until(last: str) -> None:
        with reader:
            for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                if entry.value["n"] == last:
                    break

    echo_until("2")
    until_saved(reader, ids[1])
    with reader:
        assert reader.position == Position(name, ids[1])
        assert reader.state == {"seen": 2}
    echo_until("none")
    assert reader.state == {"seen": 6}
    assert numbers_in(client, f"{name}:out") == [0, 1, 2, 3, 4, 5]


def test_iterating_again_within_the_block_does_the_same(client: redis.Redis, name: str) -> None:
    write(client, name, *range(6))
    reader = CheckpointedReader(client, name, f"{name}:c", count=4, state={"seen": 0}, follow=False)
    with reader:
        for stop_at in ("1", "5", "none"):
            for entry in reader:
                reader.state["seen"] += 1
                reader.emit(f"{name}:out", entry.value)
                if entry.value["n"] == stop_at:
                    break
    assert reader.state == {"seen": 6}
    assert numbers_in(client, f"{name}:out") == [0, 1, 2, 3, 4, 5]


def test_what_is_emitted_before_the_first_entry_is_saved_with_it(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    with reader:
        reader.emit(f"{name}:out", {"n": 0})
        for entry in reader:
            reader.emit(f"{name}:out", entry.value)
    assert numbers_in(client, f"{name}:out") == [0, 1]


def test_position_is_the_entry_in_hand_then_the_last_one_handled(client: redis.Redis, name: str) -> None:
    ids = write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    with reader:
        assert reader.position == Position(name, NOTHING_YET)
        for entry in reader:
            assert reader.position == Position(name, entry.id)
        assert reader.position == Position(name, ids[1])


def test_outside_its_block_a_reader_says_so(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)

    def iterate() -> None:
        for _ in reader:
            pass

    def use_everything() -> None:
        for unusable in (iterate, reader.commit):
            with pytest.raises(NotEntered, match="with reader:"):
                unusable()
        with pytest.raises(NotEntered, match="with reader:"):
            reader.emit(f"{name}:out", {"n": 1})
        with pytest.raises(NotEntered, match="with reader:"):
            reader.execute("INCR", f"{name}:n")

    with pytest.raises(NotEntered, match="with reader:"):
        _ = reader.position
    use_everything()
    assert read(reader) == [1]
    use_everything()


def test_an_empty_source_that_is_not_followed_ends_at_once(client: redis.Redis, name: str) -> None:
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    assert read(reader) == []
    assert read(reader) == []
    write(client, name, 1)
    assert read(reader) == [1]


def test_waiting_and_starting_are_told_once_each_time(client: redis.Redis, name: str) -> None:
    ids = write(client, name, 1)
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        pause(0.25)  # longer than one blocking read
        ids += write(client, name, 2)
        until(told(recorder, "on_waiting", 2))
    assert recorder.of("on_start") == [Position(name, NOTHING_YET)]
    assert recorder.of("on_waiting") == [Position(name, entry_id) for entry_id in ids]
    assert numbers == [1, 2]


def test_saved_reads_without_taking_over_and_reset_begins_anew(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    assert reader.saved() is None
    assert read(reader) == [1, 2]
    before = client.hgetall(f"{name}:c")
    assert reader.saved() is not None
    assert client.hgetall(f"{name}:c") == before
    reader.reset()
    assert reader.saved() is None
    assert read(reader) == [1, 2]


@pytest.mark.parametrize(
    "options",
    [{"decode_responses": True}, {"protocol": 2}, {"protocol": 3}, {"protocol": 3, "decode_responses": True}],
    ids=str,
)
def test_every_shape_of_client_will_do(redis_url: str, client: redis.Redis, name: str, options: dict[str, Any]) -> None:
    write(client, name, 1, 2)
    client.xadd(name, {"n": b"\xff"})
    write(client, name, 3)
    with redis.Redis.from_url(redis_url, **options) as other:
        recorder = Recorder()
        reader = CheckpointedReader(other, name, f"{name}:c", state={"seen": 0}, observer=recorder)
        with running(collect, reader, numbers := list[int](), stop=reader.stop):
            until(lambda: len(numbers) == 3)
            until(told(recorder, "on_waiting"))
            write(client, name, 4)
            until(lambda: len(numbers) == 4)
        assert numbers == [1, 2, 3, 4]
        assert len(recorder.of("on_dead_letter")) == 1
        assert recorder.of("on_unavailable") == []
        assert saved_id(reader) is not None


def test_a_source_of_the_other_half_is_refused(client: redis.Redis, name: str) -> None:
    for source in streams_of_the_other_half(name):
        with pytest.raises(InvalidArgument, match="Stream"):
            CheckpointedReader(client, source, f"{name}:c")
    with pytest.raises(InvalidArgument, match="belongs to"):
        CheckpointedReader(client_of_the_other_half(), name, f"{name}:c")


def test_a_source_on_another_database_is_refused(client: redis.Redis, name: str) -> None:
    with pytest.raises(InvalidArgument, match="one server and database"):
        CheckpointedReader(client, Stream(redis.Redis(db=9), name), f"{name}:c")


def test_arguments_that_can_never_work_are_refused_before_anything_is_sent(name: str) -> None:
    unreachable = redis.Redis(port=1)
    with pytest.raises(InvalidArgument, match="count must be 1 or more, not 0"):
        CheckpointedReader(unreachable, name, f"{name}:c", count=0)
    with pytest.raises(InvalidArgument, match="grace"):
        CheckpointedReader(unreachable, name, f"{name}:c", grace=timedelta(seconds=-1))
    with pytest.raises(InvalidArgument, match="commit_interval"):
        CheckpointedReader(unreachable, name, f"{name}:c", commit_interval=timedelta(seconds=-1))
    with pytest.raises(InvalidArgument, match="checkpoint"):
        CheckpointedReader(unreachable, name, "")


def test_a_server_that_is_not_there_is_an_error_at_once(name: str) -> None:
    reader = CheckpointedReader(redis.Redis.from_url("redis://127.0.0.1:1"), name, f"{name}:c")
    with pytest.raises(ServerUnavailable, match="check the address, and that the server is running"):
        read(reader)


def test_entries_may_be_kept(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(10))
    reader = CheckpointedReader(client, name, f"{name}:c", count=3, follow=False)
    with reader:
        kept = {entry.id: entry for entry in reader}
    assert kept == {entry_id: Entry(name, entry_id, {"n": str(n)}) for n, entry_id in enumerate(ids)}
