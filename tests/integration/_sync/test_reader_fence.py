# Generated from tests/integration/asyncio/test_reader_fence.py by tools/generate_sync.py: do not edit.
"""One checkpoint, several readers: the later takes over, and nothing is ever written twice."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import redis

from streamkit import CheckpointConflict, CheckpointedReader, CheckpointMismatch, PartitionedStream
from tests.integration._sync._readers import (
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
from tests.integration._sync._runtime import pause, running, until
from tests.integration.proxy import Proxy, Request
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def is_a_step(request: Request) -> bool:
    """Whether it is a checkpoint with something emitted."""
    return b"emit" in request


def reader_of(client: redis.Redis, name: str, recorder: Recorder, *, count: int = 1000) -> Reader:
    return CheckpointedReader(client, name, f"{name}:c", count=count, observer=recorder)


def test_the_later_of_two_takes_over_and_a_waiting_one_stops(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    earlier, later, numbers = Recorder(), Recorder(), list[int]()
    first, second = reader_of(client, name, earlier), reader_of(client, name, later)
    with running(echo, first, f"{name}:out", list[int](), stop=first.stop) as one:
        until(told(earlier, "on_waiting"))
        with running(echo, second, f"{name}:out", numbers, stop=second.stop) as two:
            error = one.result()
            until(told(later, "on_waiting"))
            write(client, name, 2)
            until(lambda: numbers == [2])
            assert not two.done
    assert isinstance(error, CheckpointConflict)
    assert error.checkpoint == f"{name}:c"
    assert "another reader has taken over" in str(error)
    assert "Run one reader per checkpoint" in str(error)
    assert numbers_in(client, f"{name}:out") == [1, 2]


def test_the_earlier_stops_at_its_next_checkpoint_and_no_output_is_doubled(client: redis.Redis, name: str) -> None:
    write(client, name, *range(500))
    earlier = Recorder()
    first, second = reader_of(client, name, earlier, count=50), reader_of(client, name, Recorder(), count=50)
    outcome, numbers = None, list[int]()
    try:
        with first:
            for entry in first:
                first.emit(f"{name}:out", entry.value)
                if entry.value["n"] == "120":
                    with running(echo, second, f"{name}:out", numbers, stop=second.stop):
                        until(lambda: len(numbers) >= 400)
    except CheckpointConflict as error:
        outcome = error
    assert outcome is not None
    assert numbers[0] in {50, 100}
    assert numbers_in(client, f"{name}:out") == list(range(500))


def test_commit_by_one_that_was_overtaken_is_a_conflict_and_saves_nothing(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    first, second = reader_of(client, name, Recorder()), reader_of(client, name, Recorder())
    with first:
        for entry in first:
            first.emit(f"{name}:out", entry.value)
            with second:
                pass
            with pytest.raises(CheckpointConflict):
                first.commit()
            break
    assert client.exists(f"{name}:out") == 0
    assert take(second, 2) == [1, 2]


def test_taking_turns_wildly_doubles_and_loses_nothing(client: redis.Redis, name: str) -> None:
    write(client, name, *range(2000))
    dice = random.Random(7)
    outcomes = list[Exception | None]()

    def compete(reader: Reader, seconds: float) -> None:
        pause(seconds)
        outcomes.append(echo(reader, f"{name}:out", list[int]()))

    readers = [reader_of(client, name, Recorder(), count=20) for _ in range(6)]
    with (
        running(compete, readers[0], 0.0, stop=readers[0].stop),
        running(compete, readers[1], dice.random() / 5, stop=readers[1].stop),
        running(compete, readers[2], dice.random() / 5, stop=readers[2].stop),
        running(compete, readers[3], dice.random() / 5, stop=readers[3].stop),
        running(compete, readers[4], dice.random() / 5, stop=readers[4].stop),
        running(compete, readers[5], dice.random() / 5, stop=readers[5].stop),
    ):
        until(lambda: len(outcomes) == 5, "five conflicts")

        def all_written() -> bool:
            return client.xlen(f"{name}:out") >= 2000

        until(all_written)
    assert [type(outcome) for outcome in outcomes] == [CheckpointConflict] * 5 + [type(None)]
    assert numbers_in(client, f"{name}:out") == list(range(2000))


def deleted(client: redis.Redis, key: str, dumps: list[bytes]) -> None:
    client.delete(key)


def rolled_back_before_both(client: redis.Redis, key: str, dumps: list[bytes]) -> None:
    client.restore(key, 0, dumps[0], replace=True)


def rolled_back_to_the_first(client: redis.Redis, key: str, dumps: list[bytes]) -> None:
    client.restore(key, 0, dumps[1], replace=True)


@pytest.mark.parametrize("tamper", [deleted, rolled_back_before_both, rolled_back_to_the_first])
def test_of_two_waiting_readers_never_both_go_on_when_the_hash_is_tampered_with(
    client: redis.Redis, name: str, tamper: Callable[[redis.Redis, str, list[bytes]], None]
) -> None:
    checkpoint, dumps = f"{name}:c", list[bytes]()
    write(client, name, 1)
    assert read(CheckpointedReader(client, name, checkpoint, follow=False)) == [1]
    dumps.append(raw(client).dump(checkpoint))
    write(client, name, 2)
    recorders = [Recorder(), Recorder()]
    first, second = (reader_of(client, name, recorder) for recorder in recorders)
    with running(echo, first, f"{name}:out", list[int](), stop=first.stop) as one:
        until(told(recorders[0], "on_waiting"))
        dumps.append(raw(client).dump(checkpoint))
        with running(echo, second, f"{name}:out", list[int](), stop=second.stop) as two:
            until(told(recorders[1], "on_start"))
            tamper(client, checkpoint, dumps)
            until(lambda: one.done != two.done)
            until(lambda: len([event for each in recorders for event in each.of("on_rewound")]) >= 1)
            # Whoever is left goes on, and nobody else.
            write(client, name, 3)
            until_written(client, f"{name}:out", 3)
            assert one.done != two.done
            gone = one if one.done else two
            assert isinstance(gone.result(), CheckpointConflict)
    assert (numbers_in(client, f"{name}:out")).count(3) == 1


def until_written(client: redis.Redis, key: str, number: int) -> None:
    def written() -> bool:
        return number in numbers_in(client, key)

    until(written, f"{number} in {key}")


def test_a_hash_deleted_under_two_busy_readers_lets_one_go_on(client: redis.Redis, name: str) -> None:
    write(client, name, *range(10))
    recorders, outcomes = [Recorder(), Recorder()], list[Exception | None]()
    held, released = set[int](), list[bool]()

    def work(which: int, reader: Reader) -> None:
        try:
            with reader:
                for entry in reader:
                    reader.emit(f"{name}:out", entry.value)
                    held.add(which)
                    if not released:
                        until(lambda: bool(released))
        except CheckpointConflict as error:
            outcomes.append(error)

    first, second = (reader_of(client, name, recorder) for recorder in recorders)
    with running(work, 0, first, stop=first.stop) as one:
        until(lambda: 0 in held)
        with running(work, 1, second, stop=second.stop) as two:
            until(lambda: 1 in held)
            client.delete(f"{name}:c")
            released.append(True)
            until_written(client, f"{name}:out", 9)
            until(lambda: len(outcomes) == 1)
            assert one.done != two.done
    assert len(outcomes) == 1
    assert sum(len(recorder.of("on_rewound")) for recorder in recorders) == 1
    assert numbers_in(client, f"{name}:out") == list(range(10))


def test_a_reset_under_a_reader_makes_it_begin_anew(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    recorder, numbers = Recorder(), list[int]()
    reader = reader_of(client, name, recorder)
    with running(echo, reader, f"{name}:out", numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        reader.reset()
        until(lambda: numbers == [1, 2, 1, 2])
    ((checkpoint, position),) = recorder.of("on_rewound")
    assert checkpoint == f"{name}:c"
    assert str(position.id) == "0-0"


def test_a_rollback_under_a_busy_reader_reloads_state_and_position_and_drops_what_it_held(
    client: redis.Redis, name: str
) -> None:
    write(client, name, *range(10))
    recorder, seen = Recorder(), list[tuple[int, int]]()
    reader = CheckpointedReader(client, name, f"{name}:c", count=3, state={"last": -1}, observer=recorder, follow=False)
    dump: bytes = b""
    with reader:
        for entry in reader:
            number = int(entry.value["n"])
            seen.append((number, reader.state["last"]))
            reader.state["last"] = number
            reader.emit(f"{name}:out", entry.value)
            if number == 3 and not dump:
                reader.commit()
                dump = raw(client).dump(f"{name}:c")
            elif number == 7 and not recorder.of("on_rewound"):
                reader.commit()
                client.restore(f"{name}:c", 0, dump, replace=True)
    assert all(last == number - 1 for number, last in seen)
    (rewound,) = recorder.of("on_rewound")
    assert rewound[0] == f"{name}:c"
    written = numbers_in(client, f"{name}:out")
    # What was written before the rollback stays written; the rest came once, from the restored position on.
    assert written == [*range(8), *range(4, 10)]
    assert reader.state == {"last": 9}


def test_a_checkpoint_whose_reply_was_lost_is_no_conflict_with_oneself(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    write(client, name, *range(200))
    recorder = Recorder()
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as shaky:
            reader = CheckpointedReader(
                shaky, name, f"{name}:c", count=10, state={"sum": 0}, observer=recorder, follow=False
            )
            for nth in (1, 3, 4, 9, 12):
                proxy.cut_after_request(matching=is_a_step, nth=nth)
            for nth in (2, 6):
                proxy.cut_before_request(matching=is_a_step, nth=nth)
            proxy.cut_amid_reply(matching=is_a_step, nth=7)
            with reader:
                for entry in reader:
                    reader.state["sum"] += int(entry.value["n"])
                    reader.emit(f"{name}:out", entry.value)
            assert proxy.cuts == 8
    assert numbers_in(client, f"{name}:out") == list(range(200))
    saved = CheckpointedReader(client, name, f"{name}:c", state={"sum": 0}).saved()
    assert saved is not None
    assert saved.state == {"sum": sum(range(200))}
    assert len(recorder.of("on_unavailable")) == 8
    assert [event for event, _ in recorder.events if event.endswith("available")][-1] == "on_available"
    assert recorder.of("on_rewound") == []


def test_a_lost_reply_to_commit_in_the_body_is_no_conflict_either(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    write(client, name, *range(20))
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as shaky:
            reader = CheckpointedReader(shaky, name, f"{name}:c", observer=Recorder(), follow=False)
            with reader:
                for entry in reader:
                    reader.emit(f"{name}:out", entry.value)
                    if entry.value["n"] in {"3", "11"}:
                        proxy.cut_after_request(matching=is_a_step)
                        reader.commit()
            assert proxy.cuts == 2
    assert numbers_in(client, f"{name}:out") == list(range(20))


def test_connections_killed_again_and_again_neither_lose_nor_double(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    dice, recorder = random.Random(11), Recorder()
    write(client, name, *range(1000))
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as shaky:
            reader = CheckpointedReader(shaky, name, f"{name}:c", count=25, observer=recorder, follow=False)
            with reader:
                proxy.cut_at_random(0.04, dice)
                for entry in reader:
                    reader.emit(f"{name}:out", entry.value)
            proxy.clear()
    assert recorder.of("on_unavailable")
    assert numbers_in(client, f"{name}:out") == list(range(1000))


def test_the_checkpoint_of_another_stream_is_refused_untouched(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    assert read(CheckpointedReader(client, name, f"{name}:c", follow=False)) == [1]
    before = client.hgetall(f"{name}:c")
    with pytest.raises(CheckpointMismatch, match=f"stands in '{name}', this reader reads 'other'.*reset"):
        read(CheckpointedReader(client, "other", f"{name}:c", follow=False))
    source = PartitionedStream(client, "days", retention=MONTH_OF_DAYS)
    with pytest.raises(CheckpointMismatch, match=r"belongs to another stream.*one of its own"):
        read(CheckpointedReader(client, source, f"{name}:c", follow=False))
    assert client.hgetall(f"{name}:c") == before
