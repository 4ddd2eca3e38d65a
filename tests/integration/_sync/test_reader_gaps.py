# Generated from tests/integration/asyncio/test_reader_gaps.py by tools/generate_sync.py: do not edit.
"""Entries out of a reader's reach: reported with their span, and read on behind them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import redis

from streamkit import (
    CappedStream,
    CheckpointedReader,
    Gap,
    GapCause,
    PartitionedStream,
    Position,
)
from tests.integration._sync._readers import (
    DAY,
    MONTH_OF_DAYS,
    NOTHING_YET,
    Reader,
    collect,
    echo,
    entries_in,
    key_of,
    midnight,
    numbers_in,
    raw,
    read,
    take,
    told,
    write,
)
from tests.integration._sync._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


def reader_of(
    client: redis.Redis, source: str | PartitionedStream[dict[str, str]], name: str, recorder: Recorder
) -> Reader:
    return CheckpointedReader(client, source, f"{name}:c", observer=recorder, follow=False)


def only(recorder: Recorder) -> Gap:
    gaps: list[Gap] = recorder.of("on_gap")
    (gap,) = gaps
    return gap


def test_a_partition_that_expired_while_the_reader_was_away(client: redis.Redis, name: str) -> None:
    source = PartitionedStream(client, name, retention=timedelta(days=2))
    old, new = key_of(name, midnight(-6)), key_of(name, midnight(-1))
    first, second, _ = [(write(client, old, n, at=midnight(-6) + n * timedelta(hours=1)))[0] for n in (1, 2, 3)]
    del first
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", start=old, observer=recorder)
    assert take(reader, 2) == [1, 2]
    client.pexpire(old, 1)
    until_gone(client, old)
    write(client, new, 9, at=midnight(-1))
    assert take(reader, 1) == [9]
    gap = only(recorder)
    assert gap.cause is GapCause.EXPIRED
    assert gap.after == Position(old, second)
    assert gap.resumes == Position(new, NOTHING_YET)
    assert (gap.lost, gap.exact, gap.amount) == (None, False, "possibly entries")
    assert gap.since == second.time
    assert gap.until == midnight(-1)


def until_gone(client: redis.Redis, key: str) -> None:
    def gone() -> bool:
        return client.exists(key) == 0

    until(gone)


def test_several_partitions_that_expired_unread_are_one_gap(client: redis.Redis, name: str) -> None:
    source = PartitionedStream(client, name, retention=timedelta(days=2))
    keys = [key_of(name, midnight(-n)) for n in (9, 8, 7, 6)]
    (last,) = write(client, keys[0], 1, at=midnight(-9))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", start=keys[0], observer=recorder)
    assert take(reader, 1) == [1]
    for number, key in enumerate(keys[1:]):
        write(client, key, 50 + number, at=midnight(number - 8))
    client.delete(*keys)
    write(client, key_of(name, midnight(-1)), 9, at=midnight(-1))
    assert take(reader, 1) == [9]
    gap = only(recorder)
    assert (gap.cause, gap.since, gap.until) == (GapCause.EXPIRED, last.time, midnight(-1))


def test_a_partition_expired_before_the_reader_got_to_it_is_a_gap_too(client: redis.Redis, name: str) -> None:
    """The reader's own partition is still there (another program keeps it longer), those behind it are not."""
    source = PartitionedStream(client, name, retention=timedelta(days=2))
    old = key_of(name, midnight(-8))
    write(client, old, 1, at=midnight(-8))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", start=old, observer=recorder)
    with reader:
        for _ in reader:
            reader.commit()
            break
    write(client, key_of(name, midnight(-1)), 9, at=midnight(-1))
    assert take(reader, 1) == [9]
    gap = only(recorder)
    assert gap.cause is GapCause.EXPIRED
    assert gap.since <= midnight(-7)
    assert gap.until == midnight(-1)
    assert gap.lost is None


def test_a_partition_deleted_in_the_middle_of_reading(client: redis.Redis, name: str) -> None:
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS)
    bad, after = key_of(name, midnight(-3)), key_of(name, midnight(-2))
    ids = [(write(client, bad, n, at=midnight(-3) + n * timedelta(hours=1)))[0] for n in range(12)]
    write(client, after, 99, at=midnight(-2))
    recorder, numbers = Recorder(), list[int]()
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", count=3, observer=recorder, follow=False)
    with reader:
        for entry in reader:
            numbers.append(int(entry.value["n"]))
            reader.emit(f"{name}:out", entry.value)
            if len(numbers) == 2:
                client.delete(bad)
    # What had been fetched is handled; what had not is reported.
    assert numbers[-1] == 99
    read_of_it = numbers[:-1]
    assert read_of_it == list(range(len(read_of_it)))
    assert 3 <= len(read_of_it) < 12
    gap = only(recorder)
    assert gap.cause is GapCause.GONE
    assert gap.after == Position(bad, ids[read_of_it[-1]])
    assert gap.resumes == Position(after, NOTHING_YET)
    assert (gap.since, gap.until) == (ids[read_of_it[-1]].time, midnight(-2))
    assert numbers_in(client, f"{name}:out") == numbers


def test_a_partition_evicted_while_the_reader_was_away(client: redis.Redis, name: str) -> None:
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS)
    bad, after = key_of(name, midnight(-3)), key_of(name, midnight(-2))
    ids = write(client, bad, 1, 2, 3, at=midnight(-3))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder)
    assert take(reader, 2) == [1, 2]
    client.delete(bad)
    write(client, after, 9, at=midnight(-2))
    assert take(reader, 1) == [9]
    gap = only(recorder)
    assert (gap.cause, gap.after, gap.until) == (GapCause.GONE, Position(bad, ids[1]), midnight(-2))


def test_a_partition_deleted_ahead_of_the_clock_is_gone_on_from_too(client: redis.Redis, name: str) -> None:
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS, max_ahead=MONTH_OF_DAYS)
    keys = [key_of(name, midnight(n)) for n in (2, 3)]
    write(client, keys[0], 1, 2, at=midnight(2))
    write(client, keys[1], 3, at=midnight(3) + timedelta(hours=1))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder)
    assert take(reader, 1) == [1]
    client.delete(keys[0])
    assert take(reader, 1) == [3]
    assert only(recorder).cause is GapCause.GONE


def test_a_key_deleted_while_the_reader_waits_in_it_is_waited_for(client: redis.Redis, name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    write(client, name, 1)
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)

    def begin_anew_with(number: int) -> None:
        pause(0.002)  # an ID that was read before means the same entry to any reader
        client.delete(name)
        write(client, name, number)
        until(lambda: numbers[-1] == number)

    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        begin_anew_with(2)
        begin_anew_with(3)
    assert numbers == [1, 2, 3]


def test_a_key_made_anew_at_once_is_read_once(client: redis.Redis, name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    write(client, name, *range(5))
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    with running(echo, reader, f"{name}:out", numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        for round_ in range(3):
            waited = len(recorder.of("on_waiting"))
            pause(0.002)
            with raw(client).pipeline(transaction=True) as pipeline:
                pipeline.delete(name)
                for number in range(2):
                    pipeline.xadd(name, {"n": 10 * (round_ + 1) + number})
                pipeline.execute()
            until(told(recorder, "on_waiting", waited + 1))
    assert numbers == [0, 1, 2, 3, 4, 10, 11, 20, 21, 30, 31]
    assert numbers_in(client, f"{name}:out") == numbers


@pytest.mark.parametrize("again", [2, 10], ids=["fewer", "more"])
def test_a_key_made_anew_while_the_reader_was_away_is_read_from_its_beginning(
    client: redis.Redis, name: str, again: int
) -> None:
    old = datetime.now(timezone.utc) - timedelta(hours=1)
    ids = write(client, name, *range(5), at=old)
    recorder = Recorder()
    reader = reader_of(client, name, name, recorder)
    assert read(reader) == [0, 1, 2, 3, 4]
    client.delete(name)
    write(client, name, *range(100, 100 + again), at=old - timedelta(hours=1))
    assert read(reader) == list(range(100, 100 + again))
    gap = only(recorder)
    assert gap.cause is GapCause.RECREATED
    assert gap.after == Position(name, ids[-1])
    assert gap.resumes == Position(name, NOTHING_YET)
    assert gap.lost is None
    assert read(reader) == []


@pytest.mark.parametrize("again", [2, 5, 7, 30])
def test_a_key_made_anew_with_newer_entries_is_read_once(client: redis.Redis, name: str, again: int) -> None:
    write(client, name, *range(5))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", count=10, observer=recorder, follow=False)
    assert read(reader) == [0, 1, 2, 3, 4]
    pause(0.002)
    client.delete(name)
    write(client, name, *range(100, 100 + again))
    assert read(reader) == list(range(100, 100 + again))
    assert {gap.cause for gap in recorder.of("on_gap")} <= {GapCause.RECREATED}
    assert read(reader) == []


def test_a_partition_made_anew_is_read_from_its_beginning(client: redis.Redis, name: str) -> None:
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS)
    key, after = key_of(name, midnight(-3)), key_of(name, midnight(-2))
    write(client, key, 1, 2, 3, at=midnight(-3) + timedelta(hours=5))
    recorder = Recorder()
    reader = reader_of(client, source, name, recorder)
    assert read(reader) == [1, 2, 3]
    client.delete(key)
    write(client, key, 11, at=midnight(-3) + timedelta(hours=1))
    write(client, after, 99, at=midnight(-2))
    assert read(reader) == [11, 99]
    assert only(recorder).cause is GapCause.RECREATED


def test_a_tail_that_was_deleted_is_passed(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(5))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    assert take(reader, 2) == [0, 1]
    client.xdel(name, *map(str, ids[2:]))
    numbers = list[int]()
    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_gap"))
        write(client, name, 9)
        until(lambda: numbers == [9])
    gap = only(recorder)
    assert gap.cause is GapCause.DELETED
    assert (gap.after, gap.resumes) == (Position(name, ids[1]), Position(name, ids[4]))
    assert gap.lost == 3
    assert (gap.since, gap.until) == (ids[1].time, ids[4].time)


def test_a_partition_with_a_deleted_tail_is_left_for_the_next(client: redis.Redis, name: str) -> None:
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS)
    key, after = key_of(name, midnight(-3)), key_of(name, midnight(-2))
    ids = write(client, key, 1, 2, 3, at=midnight(-3))
    client.xdel(key, str(ids[2]))
    write(client, after, 9, at=midnight(-2))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder)
    assert take(reader, 3) == [1, 2, 9]
    assert [gap.cause for gap in recorder.of("on_gap")] in ([GapCause.DELETED], [])


def test_a_capped_stream_trimmed_past_the_position_says_exactly_how_many(client: redis.Redis, name: str) -> None:
    capped = CappedStream(client, name, maxlen=5, approximate=False)
    capped.append_many([{"n": n} for n in range(5)])
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, capped, f"{name}:c", observer=recorder)
    assert take(reader, 3) == [0, 1, 2]
    saved = reader.saved()
    assert saved is not None
    capped.append_many([{"n": n} for n in range(5, 25)])
    assert take(reader, 5) == [20, 21, 22, 23, 24]
    gap = only(recorder)
    assert gap.cause is GapCause.TRIMMED
    assert gap.after == saved.position
    assert (gap.lost, gap.exact, gap.amount) == (17, True, "17 entries")
    first, _ = (entries_in(client, name))[0]
    assert (gap.since, gap.until) == (saved.position.id.time, first.time)


def test_one_lost_entry_is_one_entry(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    assert take(reader, 1) == [1]
    client.xtrim(name, maxlen=1, approximate=False)
    assert take(reader, 1) == [3]
    assert only(recorder).amount == "1 entry"


def test_trimmed_in_the_middle_of_reading(client: redis.Redis, name: str) -> None:
    write(client, name, *range(100))
    recorder, numbers = Recorder(), list[int]()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", count=5, observer=recorder, follow=False)
    with reader:
        for entry in reader:
            numbers.append(int(entry.value["n"]))
            if len(numbers) == 2:
                client.xtrim(name, maxlen=10, approximate=False)
    gap = only(recorder)
    assert (gap.cause, gap.exact) == (GapCause.TRIMMED, True)
    assert gap.lost == 100 - len(numbers)
    assert numbers[-10:] == list(range(90, 100))


def test_trimming_behind_the_position_is_no_gap(client: redis.Redis, name: str) -> None:
    write(client, name, *range(100))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    assert take(reader, 50) == list(range(50))
    client.xtrim(name, maxlen=50, approximate=False)
    assert take(reader, 50) == list(range(50, 100))
    client.xtrim(name, maxlen=0, approximate=False)
    write(client, name, 100)
    assert take(reader, 1) == [100]
    assert recorder.of("on_gap") == []


def test_trimmed_to_nothing_everything_unread_is_one_gap(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3, 4)
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    assert take(reader, 1) == [1]
    client.xtrim(name, maxlen=0, approximate=False)
    write(client, name, 5)
    assert take(reader, 1) == [5]
    gap = only(recorder)
    assert (gap.cause, gap.lost, gap.exact) == (GapCause.TRIMMED, 3, True)


def test_after_a_deletion_the_number_is_at_most(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(10))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    assert take(reader, 3) == [0, 1, 2]
    client.xdel(name, str(ids[5]))
    client.xtrim(name, maxlen=2, approximate=False)
    assert take(reader, 2) == [8, 9]
    gap = only(recorder)
    assert (gap.cause, gap.exact) == (GapCause.TRIMMED, False)
    assert gap.lost is not None
    assert 4 <= gap.lost <= 5
    assert gap.amount == f"at most {gap.lost} entries"


def test_entries_trimmed_between_entering_and_the_first_read_are_reported(client: redis.Redis, name: str) -> None:
    write(client, name, *range(10))
    recorder = Recorder()
    reader: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    with reader:
        pass
    client.xtrim(name, maxlen=2, approximate=False)
    assert take(reader, 2) == [8, 9]
    gap = only(recorder)
    assert (gap.cause, gap.lost) == (GapCause.TRIMMED, 8)


def test_a_stream_that_was_trimmed_before_the_first_start_has_no_gap(client: redis.Redis, name: str) -> None:
    write(client, name, *range(10))
    client.xtrim(name, maxlen=2, approximate=False)
    recorder = Recorder()
    assert read(reader_of(client, name, name, recorder)) == [8, 9]
    assert recorder.of("on_gap") == []


def test_a_gap_is_logged_with_its_span_where_no_observer_is_given(
    client: redis.Redis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(client, name, *range(10))
    reader: Reader = CheckpointedReader(client, name, f"{name}:c")
    assert take(reader, 3) == [0, 1, 2]
    client.xtrim(name, maxlen=2, approximate=False)
    assert take(reader, 2) == [8, 9]
    assert "5 entries lost (trimmed)" in caplog.text
    assert f"{midnight():%Y-%m-%d}" in caplog.text or f"{midnight() - DAY:%Y-%m-%d}" in caplog.text
