"""A server that hangs: connections stay open, nothing is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.endurance.halves import Half
from tests.endurance.servers import PrivateServer
from tests.endurance.streams import Copy, numbered, numbers
from tests.endurance.waiting import Background, background

ATTEMPTS = 3
"""How often a stop may be measured, on a machine that does other things as well."""


def stopped_within_a_second(attempt: Callable[[], float]) -> None:
    """Measure until a stop took less than a second."""
    took = [attempt()]
    while took[-1] >= 1.0 and len(took) < ATTEMPTS:
        took.append(attempt())
    assert took[-1] < 1.0, f"stop() took {took} seconds"


def time_to_stop(copy: Copy, reader: Background) -> float:
    """How long a stop takes, in seconds; what the reader raised is raised here."""
    began = time.monotonic()
    copy.stop()
    reader.result()
    return time.monotonic() - began


@pytest.fixture
def copying(half: Half, server: PrivateServer) -> Iterator[Callable[..., Copy]]:
    """Makes readers of a stream of 1000 numbers; a frozen server is thawed behind each test."""
    client = half.client(server.url)
    half.run(client, [lambda: half.lib.Stream(client, "in").append_many(numbered(0, 1000))])

    def make(seen: Callable[[int], None] | None = None, **options: Any) -> Copy:
        client = half.client(server.url, **options)
        return Copy(half, client, half.lib.Stream(client, "in"), to="out", seen=seen)

    yield make
    server.thaw()


def test_a_waiting_reader_stops_within_a_second(server: PrivateServer, copying: Callable[..., Copy]) -> None:
    def attempt() -> float:
        copy = copying()
        with background(copy.main, stop=copy.stop) as reader:
            reader.until(lambda: bool(copy.told.of("on_waiting")), "all is read")
            server.freeze()
            took = time_to_stop(copy, reader)
            server.thaw()
        assert copy.told.of("on_unsaved") == []
        return took

    stopped_within_a_second(attempt)
    assert numbers(server.admin, "out") == list(range(1000))


def test_a_reader_with_unsaved_work_stops_within_a_second_and_says_so(
    server: PrivateServer, copying: Callable[..., Copy]
) -> None:
    def attempt() -> float:
        server.admin.delete("out", "out:state")
        frozen = threading.Event()

        def seen(n: int) -> None:
            if n == 450:
                server.freeze()
                frozen.set()

        copy = copying(seen)
        with background(copy.main, stop=copy.stop) as reader:
            reader.until(frozen.is_set, "some is read")
            took = time_to_stop(copy, reader)
            server.thaw()
        ((checkpoint, _),) = copy.told.of("on_unsaved")
        assert checkpoint == copy.checkpoint
        return took

    stopped_within_a_second(attempt)
    assert numbers(server.admin, "out") == list(range(len(numbers(server.admin, "out"))))
    copy = copying()
    with background(copy.main, stop=copy.stop) as reader:
        reader.until(lambda: server.admin.xlen("out") == 1000, "all is read")
    assert numbers(server.admin, "out") == list(range(1000))


def test_a_reader_that_tries_to_connect_to_it_stops_within_a_second(
    server: PrivateServer, copying: Callable[..., Copy]
) -> None:
    def attempt() -> float:
        copy = copying(socket_timeout=1)
        with background(copy.main, stop=copy.stop) as reader:
            reader.until(lambda: bool(copy.told.of("on_waiting")), "all is read")
            # Cut, and frozen before it can have connected again.
            server.cut()
            server.freeze()
            reader.until(lambda: bool(copy.told.of("on_unavailable")), "the loss is told")
            took = time_to_stop(copy, reader)
            server.thaw()
        return took

    stopped_within_a_second(attempt)


def test_a_reader_with_more_to_write_than_the_socket_takes_stops_within_a_second(
    server: PrivateServer, copying: Callable[..., Copy]
) -> None:
    def attempt() -> float:
        server.admin.delete("out", "out:state")
        frozen = threading.Event()

        def seen(n: int) -> None:
            if n == 999:
                copy.reader.emit("large", {"data": b"x" * 20_000_000})
                server.freeze()
                frozen.set()

        copy = copying(seen)
        with background(copy.main, stop=copy.stop) as reader:
            reader.until(frozen.is_set, "some is read")
            took = time_to_stop(copy, reader)
            server.thaw()
        assert len(copy.told.of("on_unsaved")) == 1
        return took

    stopped_within_a_second(attempt)


def test_reading_goes_on_when_it_answers_again_and_nothing_is_done_twice(
    server: PrivateServer, copying: Callable[..., Copy]
) -> None:
    """What was sent is still in the socket, and is carried out after the same was sent again."""

    def seen(n: int) -> None:
        if n == 450:
            server.freeze()

    copy = copying(seen, socket_timeout=1)
    with background(copy.main, stop=copy.stop) as reader:
        reader.until(lambda: bool(copy.told.of("on_unavailable")), "the loss is told")
        server.thaw()
        reader.until(lambda: server.admin.xlen("out") == 1000, "all is read")
        reader.until(lambda: bool(copy.told.of("on_available")), "the return is told")
    assert numbers(server.admin, "out") == list(range(1000))
    assert server.admin.hget(copy.checkpoint, "copied") == b"1000"
    assert copy.told.of("on_unsaved") == copy.told.of("on_rewound") == copy.told.of("on_gap") == []


def test_appending_goes_on_when_it_answers_again_and_nothing_is_written_twice(
    half: Half, server: PrivateServer
) -> None:
    client = half.client(server.url, socket_timeout=1)
    stream = half.lib.Stream(client, "in")
    given = threading.Event()

    def values() -> Iterator[dict[str, int]]:
        for value in numbered(0, 3000):
            if value["n"] == 1800:
                server.freeze()
                given.set()
            yield value

    with background(half.run, client, [lambda: stream.append_many(values())]) as producer:
        producer.until(given.is_set, "some is written")
        # It hangs for longer than the client waits for a reply, so that it is sent again.
        assert not threading.Event().wait(1.3)
        server.thaw()
        assert producer.result() == [3000]
    assert numbers(server.admin, "in") == list(range(3000))
