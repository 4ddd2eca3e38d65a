# Generated from tests/integration/asyncio/test_reader_failures.py by tools/generate_sync.py: do not edit.
"""What can go wrong around a reader: entries it cannot read, keys of another kind, servers that forget."""

from __future__ import annotations

import logging

import pytest
import redis

from streamkit import (
    CheckpointedReader,
    EffectFailed,
    EntryId,
    JsonCodec,
    PartitionedStream,
    Stream,
    WrongKeyType,
)
from streamkit.testing import redis_server
from tests.integration._sync._readers import (
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
from tests.integration._sync._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

SECRET = "1234-5678"
AS_STORED = "return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1][2]"


def letters(client: redis.Redis, key: str) -> list[list[tuple[bytes, bytes]]]:
    """The entries of a stream, repeated fields and all."""
    found: list[list[tuple[bytes, bytes]]] = []
    for entry_id, _ in entries_in(client, key):
        words = raw(client).eval(AS_STORED, 1, key, str(entry_id))
        found.append(list(zip(words[::2], words[1::2], strict=True)))
    return found


def test_an_undecodable_entry_goes_to_the_dead_letters_and_reading_goes_on(client: redis.Redis, name: str) -> None:
    source = Stream(client, name, codec=JsonCodec(loads=int))
    source.append(1)
    bad = EntryId.parse(client.xadd(name, {"data": b"\xff{", "trace": "abc"}))
    last = source.append(3)
    recorder = Recorder()
    reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder, follow=False)
    with reader:
        values = [entry.value + 0 for entry in reader]
    assert values == [1, 3]
    assert saved_id(reader) == last
    key = f"{{{name}:c}}:dead-letters"
    (letter,) = letters(client, key)
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


def test_repeated_and_prefixed_fields_of_a_dead_letter_stay_untouched(client: redis.Redis, name: str) -> None:
    bad = raw(client).execute_command("XADD", name, "*", "data", "{", "data", "[", "streamkit:id", "mine")
    source = Stream(client, name, codec=JsonCodec())
    reader = CheckpointedReader(client, source, f"{name}:c", dead_letters=f"{name}:dead", follow=False)
    with reader:
        assert [entry.id for entry in reader] == []
    (letter,) = letters(client, f"{name}:dead")
    assert letter[-3:] == [(b"data", b"{"), (b"data", b"["), (b"streamkit:id", b"mine")]
    assert (b"streamkit:id", bad) in letter[:-3]


def test_a_dead_letter_belongs_to_the_step_that_passes_its_entry(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": b"\xff"})
    write(client, name, 1)
    dead = f"{name}:dead"
    reader = CheckpointedReader(client, name, f"{name}:c", dead_letters=dead, follow=False)
    with reader:
        for _ in reader:
            assert client.exists(dead) == 0
            break
    assert client.exists(dead) == 0
    client.set(dead, "x")
    with pytest.raises(EffectFailed, match=dead):
        read(reader)
    client.delete(dead)
    assert read(reader) == [1]
    assert client.xlen(dead) == 1


def test_nothing_but_undecodable_entries_is_no_endless_loop(client: redis.Redis, name: str) -> None:
    ids = [EntryId.parse(client.xadd(name, {"n": b"\xff"})) for _ in range(30)]
    reader = CheckpointedReader(client, name, f"{name}:c", count=7, dead_letters=f"{name}:dead", follow=False)
    assert read(reader) == []
    assert client.xlen(f"{name}:dead") == 30
    assert saved_id(reader) == ids[-1]


def test_the_log_tells_of_a_dead_letter_and_never_its_payload(
    client: redis.Redis, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.xadd(name, {"data": f"{{{SECRET}", "card": SECRET})
    caplog.set_level(logging.DEBUG, "streamkit")
    reader = CheckpointedReader(client, Stream(client, name, codec=JsonCodec()), f"{name}:c", follow=False)
    with reader:
        assert [entry.id for entry in reader] == []
    assert f"{{{name}:c}}:dead-letters" in caplog.text
    assert "cannot be decoded" in caplog.text
    assert SECRET not in caplog.text


def test_a_source_of_another_type_is_named(client: redis.Redis, name: str) -> None:
    client.set(name, "x")
    with pytest.raises(WrongKeyType, match=f"'{name}' holds a .*not a stream"):
        read(CheckpointedReader(client, name, f"{name}:c"))


def test_a_partition_of_another_type_is_named(client: redis.Redis, name: str) -> None:
    write(client, key_of(name, midnight(-3)), 1, at=midnight(-3))
    bad = key_of(name, midnight(-2))
    client.set(bad, "x")
    source = PartitionedStream(client, name, retention=MONTH_OF_DAYS)
    with pytest.raises(WrongKeyType, match=f"'{bad}' holds a .*not a stream"):
        read(CheckpointedReader(client, source, f"{name}:c"))


def test_a_source_overwritten_while_it_is_read_is_named(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    recorder = Recorder()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)

    def outcome() -> Exception | None:
        try:
            collect(reader, [])
        except WrongKeyType as error:
            return error
        return None

    with running(outcome, stop=reader.stop) as run:
        until(told(recorder, "on_waiting"))
        client.set(name, "x")
        assert isinstance(run.result(), WrongKeyType)


def test_a_checkpoint_of_another_type_is_named_and_left_alone(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    client.set(f"{name}:c", "x")
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)
    with pytest.raises(WrongKeyType, match=rf"'{name}:c' holds a .*not a hash \(a checkpoint\)"):
        read(reader)
    with pytest.raises(WrongKeyType):
        reader.saved()
    assert client.get(f"{name}:c") == b"x"


def test_a_checkpoint_overwritten_while_it_reads_is_named(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2)
    reader = CheckpointedReader(client, name, f"{name}:c", follow=False)

    def overwritten() -> None:
        with reader:
            for entry in reader:
                reader.emit(f"{name}:out", entry.value)
                client.set(f"{name}:c", "x")

    with pytest.raises(WrongKeyType, match=rf"'{name}:c' holds a .*not a hash \(a checkpoint\)"):
        overwritten()
    assert client.exists(f"{name}:out") == 0


def test_everything_flushed_under_a_waiting_reader(name: str) -> None:
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            source = PartitionedStream(client, f"{name}:days", retention=MONTH_OF_DAYS)
            source.append({"n": 1})
            write(client, name, 1)
            recorders = [Recorder(), Recorder()]
            found = [list[int](), list[int]()]
            one: Reader = CheckpointedReader(client, name, f"{name}:c", observer=recorders[0])
            two: Reader = CheckpointedReader(client, source, f"{name}:d", observer=recorders[1])
            with running(collect, one, found[0], stop=one.stop), running(collect, two, found[1], stop=two.stop):
                until(lambda: all(told(recorder, "on_waiting")() for recorder in recorders))
                client.flushall()
                client.script_flush()
                until(lambda: all(told(recorder, "on_rewound")() for recorder in recorders))
                write(client, name, 2)
                source.append({"n": 2})
                until(lambda: found == [[1, 2], [1, 2]])
            assert [recorder.of("on_unavailable") for recorder in recorders] == [[], []]


def test_everything_flushed_under_a_busy_reader(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            write(client, name, *range(30))
            reader: Reader = CheckpointedReader(client, name, f"{name}:c", count=10, observer=recorder)

            def work() -> None:
                with reader:
                    for entry in reader:
                        number = int(entry.value["n"])
                        numbers.append(number)
                        reader.emit(f"{name}:out", {"n": number})
                        if number == 14:
                            client.flushall()
                            client.script_flush()
                            write(client, name, 100, 101)

            with running(work, stop=reader.stop):
                until(lambda: numbers[-2:] == [100, 101])
                until(told(recorder, "on_waiting"))
                assert numbers_in(client, f"{name}:out") == [100, 101]
            assert len(recorder.of("on_rewound")) == 1


def test_a_server_that_may_evict_is_warned_about(name: str, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    with redis_server(settings={"maxmemory-policy": "volatile-lru"}) as url:
        with redis.Redis.from_url(url) as client:
            write(client, name, 1)
            read(CheckpointedReader(client, name, f"{name}:c", observer=recorder, follow=False))
            read(CheckpointedReader(client, name, f"{name}:d", follow=False))
    assert recorder.of("on_eviction_policy") == ["volatile-lru"]
    assert "maxmemory-policy is volatile-lru" in caplog.text
    assert "partitions first, since they expire; set it to noeviction" in caplog.text


def test_a_server_that_may_not_evict_is_not(client: redis.Redis, name: str) -> None:
    recorder = Recorder()
    write(client, name, 1)
    read(CheckpointedReader(client, name, f"{name}:c", observer=recorder, follow=False))
    assert recorder.of("on_eviction_policy") == []
