# Generated from tests/integration/asyncio/test_reader_stop.py by tools/generate_sync.py: do not edit.
"""How a reader waits, and how it is stopped: within a second, wherever it is and whoever asks."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from streamkit import CheckpointedReader, PartitionedStream, stop_on_signals
from streamkit.testing import redis_server
from tests.integration._sync._readers import SECONDS, collect, limited, read, saved_id, take, told, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder
from tests.integration.suspended import suspended

ROOT = Path(__file__).parents[3]
LIMIT = 1.0


def from_another_thread(stop: Callable[[], None]) -> None:
    thread = threading.Thread(target=stop)
    thread.start()
    thread.join()


@pytest.mark.steady
def test_a_waiting_reader_ends_within_a_second(client: redis.Redis, name: str) -> None:
    ids = write(client, name, 1)
    recorder = Recorder()
    reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
    with running(collect, reader, list[int](), stop=reader.stop) as run:
        until(told(recorder, "on_waiting"))
        asked = time.monotonic()
        from_another_thread(reader.stop)
        run.result()
    assert time.monotonic() - asked < LIMIT
    assert saved_id(reader) == ids[0]


@pytest.mark.steady
def test_a_reader_between_partitions_ends_within_a_second(client: redis.Redis, name: str) -> None:
    recorder = Recorder()
    source = PartitionedStream(client, name, period=SECONDS, retention=timedelta(minutes=10))
    reader = CheckpointedReader(client, source, f"{name}:c", observer=recorder)
    with running(collect, reader, list[int](), stop=reader.stop) as run:
        until(told(recorder, "on_waiting"))
        asked = time.monotonic()
        reader.stop()
        run.result()
    assert time.monotonic() - asked < LIMIT


def test_stopped_before_the_first_entry_it_gives_none(client: redis.Redis, name: str) -> None:
    write(client, name, 1)
    reader = CheckpointedReader(client, name, f"{name}:c")
    numbers = list[int]()
    reader.stop()
    collect(reader, numbers)
    assert numbers == []
    assert take(reader, 1) == [1]


def test_stopped_by_another_thread_a_busy_reader_saves_all_it_handled(client: redis.Redis, name: str) -> None:
    ids = write(client, name, *range(300))
    numbers = list[int]()
    reader = CheckpointedReader(client, name, f"{name}:c", count=70)

    def work() -> None:
        with reader:
            for entry in reader:
                numbers.append(int(entry.value["n"]))
                pause(0.001)

    with running(work, stop=reader.stop) as run:
        until(lambda: len(numbers) > 100)
        from_another_thread(reader.stop)
        run.result()
    assert numbers == list(range(len(numbers)))
    assert saved_id(reader) == ids[len(numbers) - 1]


def signalled(arguments: list[str], number: signal.Signals) -> tuple[list[str], str, int, float]:
    """Run the program that reads, and send it a signal once it waits: its output before and after, status, time."""
    command = [sys.executable, "-m", "tests.integration._sync.reading_program", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(4)]
        asked = time.monotonic()
        program.send_signal(number)
        rest = program.stdout.readline()
        took = time.monotonic() - asked
        rest += program.stdout.read()
        status = program.wait()
    return lines, rest, status, took


@pytest.mark.steady
def test_a_signal_ends_a_program_within_a_second_and_without_a_traceback(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    ids = write(client, name, 1, 2, 3)
    read, rest, status, took = signalled([redis_url, name], signal.SIGINT)
    assert took < LIMIT
    assert read == ["1\n", "2\n", "3\n", "waiting\n"]
    assert rest == "stopped\n"
    assert status == 0
    assert saved_id(CheckpointedReader(client, name, f"{name}:c")) == ids[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_in_the_body_lets_the_entry_in_hand_be_finished_and_saved(
    client: redis.Redis, name: str, number: signal.Signals
) -> None:
    ids, former = write(client, name, 1, 2, 3), signal.getsignal(number)
    reader, seen = CheckpointedReader(client, name, f"{name}:c"), list[str]()
    with stop_on_signals(reader), limited(reader):
        with reader:
            for entry in reader:
                if entry.value["n"] == "2":
                    signal.raise_signal(number)
                seen.append(entry.value["n"])
    assert seen == ["1", "2"]
    assert saved_id(reader) == ids[1]
    assert signal.getsignal(number) is former


@pytest.mark.steady
def test_a_waiting_reader_ends_within_a_second_though_the_server_is_suspended(name: str) -> None:
    recorder = Recorder()
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            ids = write(client, name, 1)
            pid = (client.info("server"))["process_id"]
            reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
            with running(collect, reader, list[int](), stop=reader.stop) as run:
                until(told(recorder, "on_waiting"))
                with suspended(pid):
                    asked = time.monotonic()
                    reader.stop()
                    run.result()
                    took = time.monotonic() - asked
            assert took < LIMIT
            assert recorder.of("on_unsaved") == []  # it had saved before it waited
            assert saved_id(reader) == ids[0]


@pytest.mark.steady
def test_what_cannot_be_known_to_be_saved_is_told_and_not_lost(name: str) -> None:
    recorder, asked = Recorder(), 0.0
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            write(client, name, 1, 2, 3)
            pid = (client.info("server"))["process_id"]
            reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
            with reader:
                with ExitStack() as stack:
                    for entry in reader:
                        assert entry.value["n"] == "1"
                        stack.enter_context(suspended(pid))
                        asked = time.monotonic()
                        reader.stop()
                    took = time.monotonic() - asked
            assert took < LIMIT
            assert [checkpoint for checkpoint, _ in recorder.of("on_unsaved")] == [f"{name}:c"]
            # The server may have got the checkpoint all the same, as it does here once it goes on.
            rest = CheckpointedReader(client, name, f"{name}:c", follow=False)
            assert read(rest) in ([1, 2, 3], [2, 3])


@pytest.mark.steady
def test_a_reader_that_tries_to_connect_again_ends_within_a_second_too(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    recorder = Recorder()
    write(client, name, 1)
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as shaky:
            reader = CheckpointedReader(shaky, name, f"{name}:c", observer=recorder)
            with running(collect, reader, list[int](), stop=reader.stop) as run:
                until(told(recorder, "on_waiting"))
                proxy.hang()
                proxy.cut_all()
                until(told(recorder, "on_unavailable"))
                # New connections are taken, and never answered.
                until(lambda: proxy.connections > 0)
                asked = time.monotonic()
                reader.stop()
                run.result()
                took = time.monotonic() - asked
            proxy.clear()
    assert took < LIMIT


@pytest.mark.usefixtures("short_waits")
def test_a_server_that_was_suspended_is_read_on_when_it_goes_on(name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            pid = (client.info("server"))["process_id"]
            reader = CheckpointedReader(client, name, f"{name}:c", observer=recorder)
            with running(collect, reader, numbers, stop=reader.stop):
                until(told(recorder, "on_waiting"))
                with suspended(pid):
                    pause(0.3)
                write(client, name, 1)
                until(lambda: numbers == [1])


@pytest.mark.steady
def test_a_short_socket_timeout_is_not_taken_for_a_failure(redis_url: str, client: redis.Redis, name: str) -> None:
    recorder, numbers = Recorder(), list[int]()
    with redis.Redis.from_url(redis_url, socket_timeout=0.3) as hasty:
        reader = CheckpointedReader(hasty, name, f"{name}:c", observer=recorder)
        with running(collect, reader, numbers, stop=reader.stop):
            until(told(recorder, "on_waiting"))
            pause(0.6)
            write(client, name, 1)
            until(lambda: numbers == [1])
    assert recorder.of("on_unavailable") == []
