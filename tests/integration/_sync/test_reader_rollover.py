# Generated from tests/integration/asyncio/test_reader_rollover.py by tools/generate_sync.py: do not edit.
"""From one partition to the next: in order, nothing left behind, nothing waited for in vain."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest
import redis

from streamkit import CheckpointedReader, EntryId, LateEntries, PartitionedStream, Period, Position
from tests.integration._sync._readers import (
    DAY,
    MONTH_OF_DAYS,
    NOTHING_YET,
    SECONDS,
    Reader,
    collect,
    key_of,
    midnight,
    raw,
    read,
    take,
    told,
    write,
)
from tests.integration._sync._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

PRODUCERS = 4
PERIODS = 10
ENTRIES = 30_000
AT_ONCE = 15


def days_of(client: redis.Redis, name: str) -> PartitionedStream:
    return PartitionedStream(client, name, retention=MONTH_OF_DAYS, max_ahead=MONTH_OF_DAYS)


def test_partitions_are_read_one_after_the_other(client: redis.Redis, name: str) -> None:
    days = [midnight(-5), midnight(-4), midnight(-3)]
    newest = [
        (write(client, key_of(name, day), n, n + 1, at=day))[1] for n, day in zip((10, 20, 30), days, strict=True)
    ]
    recorder, entries = Recorder(), list[tuple[str, str]]()
    reader = CheckpointedReader(client, days_of(client, name), f"{name}:c", count=1, observer=recorder)
    with reader:
        for entry in reader:
            entries.append((entry.stream, entry.value["n"]))
            if len(entries) == 6:
                reader.stop()
    keys = [key_of(name, day) for day in days]
    assert entries == [(key, str(n + i)) for n, key in zip((10, 20, 30), keys, strict=True) for i in (0, 1)]
    assert recorder.of("on_partition") == [
        (Position(keys[1], NOTHING_YET), Position(keys[0], newest[0])),
        (Position(keys[2], NOTHING_YET), Position(keys[1], newest[1])),
    ]
    assert recorder.of("on_gap") == recorder.of("on_skip") == recorder.of("on_late") == []


def test_times_ahead_of_the_clock_are_followed_as_they_come(client: redis.Redis, name: str) -> None:
    source = days_of(client, name)
    hours = [midnight() + timedelta(hours=n) for n in range(4 * 24)]
    source.append_many([{"n": n} for n in range(len(hours))], times=hours)
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder)
    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        source.append({"n": 96}, at=midnight(4))
        pause(0.6)
        # The next day has begun, by its newest entry; but this one may still get entries for as long as grace.
        source.append({"n": 95}, at=midnight(4) - timedelta(seconds=1))
        until(lambda: len(numbers) == 97)
        source.append({"n": 97}, at=midnight(4) + timedelta(seconds=11))
        until(lambda: len(numbers) == 99)
    assert numbers == [*range(96), 95, 96, 97]
    assert recorder.of("on_gap") == recorder.of("on_skip") == recorder.of("on_late") == []


def test_days_without_data_are_skipped_and_told(client: redis.Redis, name: str) -> None:
    write(client, key_of(name, midnight(-7)), 1, at=midnight(-7))
    write(client, key_of(name, midnight(-4)), 2, at=midnight(-4))
    write(client, key_of(name, midnight(-2)), 3, at=midnight(-2))
    recorder = Recorder()
    reader = CheckpointedReader(client, days_of(client, name), f"{name}:c", observer=recorder)
    assert take(reader, 3) == [1, 2, 3]
    assert recorder.of("on_skip") == [
        (key_of(name, midnight(-6)), key_of(name, midnight(-5))),
        (key_of(name, midnight(-3)), key_of(name, midnight(-3))),
    ]
    assert recorder.of("on_gap") == []


def test_a_reader_waits_through_days_without_data(client: redis.Redis, name: str) -> None:
    write(client, key_of(name, midnight(-7)), 1, at=midnight(-7))
    recorder, numbers = Recorder(), list[int]()
    source = days_of(client, name)
    reader = CheckpointedReader(client, source, f"{name}:c", grace=timedelta(0), observer=recorder)
    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        source.append({"n": 2})
        until(lambda: numbers == [1, 2])
    assert recorder.of("on_skip") == [(key_of(name, midnight(-6)), key_of(name, midnight(-1)))]


def test_a_reader_that_starts_before_the_first_entry_finds_it(client: redis.Redis, name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    source = days_of(client, name)
    reader = CheckpointedReader(client, source, f"{name}:c", grace=timedelta(0), observer=recorder)
    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        source.append({"n": 1})
        until(lambda: numbers == [1])
    assert recorder.of("on_gap") == recorder.of("on_skip") == []


def test_moving_on_is_saved(client: redis.Redis, name: str) -> None:
    first, second = key_of(name, midnight(-3)), key_of(name, midnight(-2))
    write(client, first, 1, at=midnight(-3))
    source = days_of(client, name)
    recorder = Recorder()
    reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder)
    with running(collect, reader, list[int](), stop=reader.stop):
        until(told(recorder, "on_waiting"))
        # A partition whose only entry was deleted again: there is nothing to handle in it, only to go there.
        (entry_id,) = write(client, second, 2, at=midnight(-2))
        client.xdel(second, str(entry_id))
        until(told(recorder, "on_partition"))

        def saved() -> bool:
            found = reader.saved()
            return found is not None and found.position.stream == second

        until(saved)


def test_an_entry_written_within_grace_is_read_before_the_next_partition(client: redis.Redis, name: str) -> None:
    yesterday, today = key_of(name, midnight(-1)), key_of(name, midnight())
    since_midnight = datetime.now(timezone.utc) - midnight()
    write(client, yesterday, 1)
    write(client, today, 100)
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(
        client,
        days_of(client, name),
        f"{name}:c",
        grace=since_midnight + timedelta(seconds=1),
        observer=recorder,
    )
    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        write(client, yesterday, 2, 3)
        until(lambda: len(numbers) >= 3)
        write(client, yesterday, 4)
        until(lambda: 100 in numbers)
    assert numbers == [1, 2, 3, 4, 100]
    assert recorder.of("on_late") == []


def test_entries_later_than_grace_are_reported_with_their_number(client: redis.Redis, name: str) -> None:
    yesterday, today = key_of(name, midnight(-1)), key_of(name, midnight())
    (last,) = write(client, yesterday, 1)
    write(client, today, 100)
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, days_of(client, name), f"{name}:c", grace=timedelta(0), observer=recorder)
    with running(collect, reader, numbers, stop=reader.stop):
        until(lambda: numbers == [1, 100])
        write(client, yesterday, 2, 3, 4)
        until(told(recorder, "on_late"))
        write(client, today, 101)
        until(lambda: numbers == [1, 100, 101])
        (later,) = write(client, yesterday, 5)
        until(lambda: sum(each.count for each in recorder.of("on_late")) == 4)
    reports: list[LateEntries] = recorder.of("on_late")
    assert {report.stream for report in reports} == {yesterday}
    assert reports[0].after == last
    assert reports[-1].newest == later
    assert [report.after for report in reports[1:]] == [report.newest for report in reports[:-1]]
    assert numbers == [1, 100, 101]


def test_late_entries_are_reported_though_the_reader_was_away(client: redis.Redis, name: str) -> None:
    first, second = key_of(name, midnight(-3)), key_of(name, midnight(-2))
    write(client, first, 1, at=midnight(-3))
    write(client, second, 2, at=midnight(-2))
    recorder = Recorder()
    reader = CheckpointedReader(client, days_of(client, name), f"{name}:c", observer=recorder, follow=False)
    assert read(reader) == [1, 2]
    write(client, first, 8, 9)
    write(client, second, 3)
    assert read(reader) == [3]
    assert [(late.stream, late.count) for late in recorder.of("on_late")] == [(first, 2)]
    assert read(reader) == []
    assert len(recorder.of("on_late")) == 1


def test_without_following_it_ends_behind_the_newest_partition_and_ignores_grace(
    client: redis.Redis, name: str
) -> None:
    for number in (-4, -2, 0, 3):
        write(client, key_of(name, midnight(number)), number, at=midnight(number))
    reader = CheckpointedReader(client, days_of(client, name), f"{name}:c", grace=timedelta(days=300), follow=False)
    assert read(reader) == [-4, -2, 0, 3]
    assert read(reader) == []
    write(client, key_of(name, midnight(4)), 4, at=midnight(4))
    assert read(reader) == [4]


def test_names_that_only_look_alike_are_no_partitions(client: redis.Redis, name: str) -> None:
    write(client, key_of(name, midnight(-3)), 1, at=midnight(-3))
    for other in (
        "averages",
        "2025",
        f"{midnight(-2):%Y%m%d}:x",
        f"{midnight(-2):%Y%m%d}1",
        f"{midnight(-2):%Y-%m-%d}",
    ):
        write(client, f"{name}:{other}", 99)
    write(client, key_of(name, midnight(-1)), 2, at=midnight(-1))
    assert read(CheckpointedReader(client, days_of(client, name), f"{name}:c", follow=False)) == [1, 2]


def test_a_partition_written_by_another_program_is_read_as_our_own(client: redis.Redis, name: str) -> None:
    source = days_of(client, name)
    for number in (-2, -1):
        day = midnight(number)
        client.xadd(key_of(name, day), {"n": 10 + number, "unit": "F"}, id=f"{EntryId.at(day).ms}-0")
        client.expireat(key_of(name, day), midnight(20))
    source.append({"n": 10})
    client.xadd(source.key_for(datetime.now(timezone.utc)), {"n": 11})
    recorder = Recorder()
    reader = CheckpointedReader(client, source, f"{name}:c", grace=timedelta(0), observer=recorder)
    assert take(reader, 4) == [8, 9, 10, 11]
    assert recorder.of("on_gap") == recorder.of("on_skip") == []


def test_a_single_entry_dated_2038_in_a_partition_stops_nothing(client: redis.Redis, name: str) -> None:
    wrong = datetime(2038, 1, 19, tzinfo=timezone.utc)
    before, today = key_of(name, midnight(-1)), key_of(name, midnight())
    write(client, before, 1, at=midnight(-1))
    write(client, before, 2, at=wrong)
    write(client, before, 3)
    write(client, today, 4)
    recorder, numbers = Recorder(), list[int]()
    source = days_of(client, name)
    reader = CheckpointedReader(client, source, f"{name}:c", grace=timedelta(0), observer=recorder)
    with running(collect, reader, numbers, stop=reader.stop):
        until(lambda: numbers == [1, 2, 3, 4])
        write(client, today, 5, at=wrong)
        write(client, today, 6)
        until(lambda: numbers == [1, 2, 3, 4, 5, 6])
        write(client, today, 7)
        until(lambda: numbers == [1, 2, 3, 4, 5, 6, 7])
        # Too late for this one, and reported as such, though it is numbered in 2038.
        write(client, before, 8)
        until(told(recorder, "on_late"))
    assert numbers == [1, 2, 3, 4, 5, 6, 7]
    assert recorder.of("on_gap") == []


def test_a_partition_named_2038_stops_nothing(client: redis.Redis, name: str) -> None:
    wrong = datetime(2038, 1, 19, tzinfo=timezone.utc)
    source = PartitionedStream(client, name)
    write(client, key_of(name, wrong), 99, at=wrong)
    write(client, key_of(name, midnight(-1)), 1, at=midnight(-1))
    recorder, numbers = Recorder(), list[int]()
    reader = CheckpointedReader(client, source, f"{name}:c", grace=timedelta(0), observer=recorder)
    with running(collect, reader, numbers, stop=reader.stop):
        until(told(recorder, "on_waiting"))
        source.append({"n": 2})
        until(lambda: numbers == [1, 2])
        source.append({"n": 3})
        until(lambda: numbers == [1, 2, 3])
    assert recorder.of("on_gap") == []


def test_four_producers_one_of_them_slow_lose_nothing_over_ten_periods(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    """Each picks the key by its own clock, as plain programs do; the last one's is 20 ms behind."""
    grace = timedelta(seconds=0.3)
    written = dict[int, tuple[str, EntryId]]()
    begin = time.time() + 0.1
    seconds = PERIODS - 0.9

    def produce(producer: int) -> None:
        behind = 0.02 if producer == PRODUCERS - 1 else 0.0
        bursts = ENTRIES // PRODUCERS // AT_ONCE
        with redis.Redis.from_url(redis_url) as own:
            for burst in range(bursts):
                pause(max(0.0, begin + seconds * burst / bursts - time.time()))
                first = (producer * bursts + burst) * AT_ONCE
                moment = datetime.fromtimestamp(time.time() - behind, timezone.utc)
                key = f"{name}:{moment:%Y%m%d%H%M%S}"
                pipeline = raw(own).pipeline(transaction=False)
                for number in range(first, first + AT_ONCE):
                    pipeline.xadd(key, {"n": number})
                for number, entry_id in enumerate(pipeline.execute(), first):
                    written[number] = (key, EntryId.parse(entry_id))

    entries, recorder = list[tuple[str, int]](), Recorder()
    source = PartitionedStream(client, name, period=SECONDS, retention=timedelta(minutes=5))
    reader: Reader = CheckpointedReader(client, source, f"{name}:c", grace=grace, observer=recorder)

    def follow() -> None:
        with reader:
            for entry in reader:
                entries.append((entry.stream, int(entry.value["n"])))

    with running(follow, stop=reader.stop):
        with (
            running(produce, 0) as one,
            running(produce, 1) as two,
            running(produce, 2) as three,
            running(produce, 3) as four,
        ):
            for producer in (one, two, three, four):
                producer.result()
        late_by_clock = {number for number, (key, entry_id) in written.items() if overdue(key, entry_id, grace)}
        until(lambda: len(entries) >= ENTRIES - len(late_by_clock))
        # And one that comes later than grace to a partition that was left.
        until(lambda: reader.position.stream == max(key for key, _ in written.values()))
        left = sorted({key for key, _ in written.values()})[-2]
        before = sum(late.count for late in recorder.of("on_late"))
        write(client, left, -1)
        until(lambda: sum(late.count for late in recorder.of("on_late")) == before + 1)

    streams, numbers = [stream for stream, _ in entries], [number for _, number in entries]
    assert len(written) == ENTRIES
    assert len(set(numbers)) == len(numbers), "an entry was read twice"
    missing = set(written) - set(numbers)
    assert missing <= late_by_clock
    assert before == len(missing)
    assert streams == sorted(streams), "the order of partitions was not kept"
    assert len(set(streams)) >= PERIODS
    assert all(written[number][0] == stream for stream, number in entries)
    assert [late.stream for late in recorder.of("on_late")][-1] == left
    assert recorder.of("on_gap") == []


def overdue(key: str, entry_id: EntryId, grace: timedelta) -> bool:
    """Whether an entry was written more than grace after the end of its partition, by the server's clock."""
    start = datetime.strptime(key[-14:], "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    return entry_id.time >= start + timedelta(seconds=1) + grace


def test_a_slow_reader_goes_through_many_short_periods_in_order(client: redis.Redis, name: str) -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    expected = list[int]()
    for number in range(120):
        second = now - timedelta(seconds=130 - number)
        if number % 7:
            write(client, f"{name}:{second:%Y%m%d%H%M%S}", number, at=second)
            expected.append(number)
    recorder = Recorder()
    source = PartitionedStream(client, name, period=SECONDS, retention=timedelta(minutes=10))
    reader = CheckpointedReader(client, source, f"{name}:c", grace=timedelta(seconds=0.1), observer=recorder)
    assert take(reader, len(expected)) == expected
    assert len(recorder.of("on_skip")) == 16
    assert recorder.of("on_gap") == []


def test_months_and_hours_roll_over_too(client: redis.Redis, name: str) -> None:
    hour = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    for number in range(1, 4):
        at = hour - timedelta(hours=number)
        write(client, f"{name}:h:{at:%Y%m%d%H}", -number, at=at)
        month = (midnight().replace(day=15) - number * 30 * DAY).replace(day=1)
        write(client, f"{name}:m:{month:%Y%m}", -number, at=month)
    for kind, period in (("h", Period.HOUR), ("m", Period.MONTH)):
        source = PartitionedStream(client, f"{name}:{kind}", period=period, retention=timedelta(days=400))
        reader = CheckpointedReader(client, source, f"{name}:{kind}:c", follow=False)
        assert read(reader) == [-3, -2, -1]
