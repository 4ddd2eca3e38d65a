# Generated from tests/integration/asyncio/test_replayer_play.py by tools/generate_sync.py: do not edit.
"""Playing history: in the rhythm of the entries' times, faster, slower, and no further than asked."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest
import redis

import streamkit._sync._runtime
from streamkit import Entry, InvalidArgument, JsonCodec, NaiveDatetime, Replayer, Stream, stop_on_signals
from tests.integration._sync._readers import key_of, midnight, raw
from tests.integration._sync._replays import days_of, write_at, write_many
from tests.integration._sync._runtime import pause, running, until
from tests.integration.recording import Recorder

LIMIT = 1.0
BASE = 1_735_689_600_000
HOUR = 3_600_000


class Heard:
    """A handler that notes what it is given, and when."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.numbers: list[int] = []
        self.times: list[float] = []

    def __call__(self, entry: Entry[dict[str, str]]) -> None:
        self.numbers.append(int(entry.value["n"]))
        self.times.append(time.monotonic() - self.began)


@pytest.mark.parametrize("speed", [1, 10])
def test_entries_come_no_earlier_than_their_times_say(client: redis.Redis, name: str, speed: float) -> None:
    write_at(client, name, *(f"{BASE + 50 * n}-0" for n in range(5)))
    heard = Heard()
    assert Replayer(client, name).play(heard, speed=speed) == 5
    assert heard.numbers == [0, 1, 2, 3, 4]
    assert all(late >= 0.05 * n / speed for n, late in enumerate(heard.times))


def test_speed_shortens_the_gaps(client: redis.Redis, name: str) -> None:
    write_at(client, name, *(f"{BASE + HOUR * n}-0" for n in range(4)))
    assert Replayer(client, name).play(Heard(), speed=100_000) == 4


def test_as_fast_as_possible_waits_for_nothing(client: redis.Redis, name: str, waits: list[float]) -> None:
    write_at(client, name, *(f"{BASE + HOUR * n}-0" for n in range(300)))
    heard = Heard()
    assert Replayer(client, name).play(heard, speed=float("inf")) == 300
    assert heard.numbers == list(range(300))
    assert waits == []


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, each time."""
    noted = list[float]()
    wait = streamkit._sync._runtime.Stopping.wait

    def note(stopping: Any, seconds: float) -> None:
        noted.append(seconds)
        wait(stopping, seconds)

    monkeypatch.setattr(streamkit._sync._runtime.Stopping, "wait", note)
    return noted


def test_a_slow_handler_makes_late_and_never_slower(client: redis.Redis, name: str, waits: list[float]) -> None:
    write_at(client, name, *(f"{BASE + 10 * n}-0" for n in range(10)), f"{BASE + 250}-0")
    heard = Heard()

    def handle(entry: Entry[dict[str, str]]) -> None:
        if not heard.numbers:
            pause(0.1)
        heard(entry)

    assert Replayer(client, name).play(handle) == 11
    # All but the last were due while the first was handled; that one is waited for no longer than its time says.
    assert waits
    assert all(seconds < 0.16 for seconds in waits)
    assert heard.times[-1] >= 0.25


def test_times_that_go_back_are_not_waited_for(client: redis.Redis, name: str, waits: list[float]) -> None:
    yesterday, today = midnight(-1), midnight()
    write_at(client, key_of(name, yesterday), f"{BASE}-0")
    write_at(client, key_of(name, today), f"{BASE - HOUR}-0", f"{BASE}-1")
    assert Replayer(client, days_of(client, name)).play(Heard()) == 3
    assert waits == []


def test_only_the_range_is_played(client: redis.Redis, name: str) -> None:
    write_at(client, name, *(f"{BASE + n}-0" for n in range(5)))
    heard = Heard()
    assert Replayer(client, name).play(heard, start=f"{BASE + 1}-0", end=f"{BASE + 3}-0") == 3
    assert heard.numbers == [1, 2, 3]
    assert Replayer(client, f"{name}:none").play(heard) == 0


def test_what_the_handler_raises_is_raised(client: redis.Redis, name: str) -> None:
    write_many(client, name, range(3))
    numbers = list[int]()

    def handle(entry: Entry[dict[str, str]]) -> None:
        numbers.append(1 // (1 - int(entry.value["n"])))

    replayer = Replayer(client, name)
    with pytest.raises(ZeroDivisionError):
        replayer.play(handle, speed=float("inf"))
    assert numbers == [1]
    assert replayer.play(Heard(), speed=float("inf")) == 3


def test_an_undecodable_entry_is_passed_over(client: redis.Redis, name: str) -> None:
    source, recorder, values = Stream(client, name, codec=JsonCodec(loads=int)), Recorder(), list[int]()

    def handle(entry: Entry[int]) -> None:
        values.append(entry.value)

    source.append(1)
    raw(client).xadd(name, {"data": "{"})
    source.append(3)
    assert Replayer(client, source, observer=recorder).play(handle, speed=float("inf")) == 2
    assert values == [1, 3]
    assert len(recorder.of("on_undecodable")) == 1


def test_bad_arguments_fail_before_anything_is_sent(name: str) -> None:
    nowhere = redis.Redis.from_url("redis://127.0.0.1:1")
    replayer, nothing = Replayer(nowhere, name), None
    handler: Any = nothing
    for speed in (0, -1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="speed"):
            replayer.play(Heard(), speed=speed)
    with pytest.raises(InvalidArgument, match="handler must be a function"):
        replayer.play(handler)
    with pytest.raises(NaiveDatetime):
        replayer.play(Heard(), start=midnight().replace(tzinfo=None))
    with pytest.raises(InvalidArgument, match="NEW"):
        replayer.play(Heard(), end="$")
    nowhere.close()


@pytest.mark.steady
def test_a_long_gap_is_cut_short_by_a_stop(client: redis.Redis, name: str) -> None:
    write_at(client, name, *(f"{BASE + HOUR * n}-0" for n in range(3)))
    replayer, heard = Replayer(client, name), Heard()
    with running(replayer.play, heard) as run:
        until(lambda: len(heard.numbers) == 1)
        asked = time.monotonic()
        thread = threading.Thread(target=replayer.stop)
        thread.start()
        thread.join()
        assert run.result() == 1
        assert time.monotonic() - asked < LIMIT
    assert heard.numbers == [0]
    assert replayer.play(heard, speed=float("inf")) == 3


def test_a_handler_may_stop_it(client: redis.Redis, name: str) -> None:
    write_many(client, name, range(9))
    replayer, numbers = Replayer(client, name), list[int]()

    def handle(entry: Entry[dict[str, str]]) -> None:
        numbers.append(int(entry.value["n"]))
        if len(numbers) == 4:
            replayer.stop()

    assert replayer.play(handle, speed=float("inf")) == 4
    assert numbers == [0, 1, 2, 3]


@pytest.mark.steady
def test_a_signal_stops_it_within_a_gap(client: redis.Redis, name: str) -> None:
    write_at(client, name, f"{BASE}-0", f"{BASE + HOUR}-0")
    replayer, asked = Replayer(client, name), list[float]()

    def handle(_entry: Entry[dict[str, str]]) -> None:
        asked.append(time.monotonic())
        signal.raise_signal(signal.SIGTERM)

    with stop_on_signals(replayer):
        assert replayer.play(handle) == 1
    assert time.monotonic() - asked[0] < LIMIT
