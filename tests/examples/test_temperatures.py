"""The temperature example as its users run it: real processes, a real server."""

from __future__ import annotations

import contextlib
import itertools
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import redis

from examples.temperatures.common import HourlyAverage
from examples.temperatures.pipeline import problems
from streamkit.testing import redis_server

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "examples" / "temperatures"
DEADLINE = 60.0
DAY = 86_400
TODAY = datetime.now(timezone.utc).date()  # kept, should a test run past midnight
AGG, AVG = "aggregating_consumer_state", "averages_consumer_state"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server, decode_responses=True) as client:
        client.flushall()
        yield client


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, str(PROGRAMS / program), *arguments]


def environment(url: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"STREAMKIT_REDIS_URL", "NO_COLOR"}}
    return kept if url is None else {**kept, "STREAMKIT_REDIS_URL": url}


def run(program: str, *arguments: str, url: str | None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    done = subprocess.run(
        command(program, *arguments),
        env=environment(url),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def produce(url: str, days: int = 1) -> str:
    """Have the producer run, and give its output."""
    done = run("producer.py", f"--days={days}", f"--start={TODAY}", "--seed=7", url=url)
    assert done.returncode == 0, done.stderr
    return done.stdout


def keys(days: int) -> list[str]:
    """The partitions of as many days, from today on."""
    return [f"temps:{TODAY + timedelta(days=day):%Y%m%d}" for day in range(days)]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


class Running:
    """A program at work in a process group of its own, its output collected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._collect, args=(process.stdout, self.lines)),
            threading.Thread(target=self._collect, args=(process.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _collect(stream: Any, lines: list[str]) -> None:
        with stream:
            lines.extend(line.rstrip("\n") for line in iter(stream.readline, ""))

    def of(self, consumer: str) -> list[str]:
        return [line for line in list(self.lines) if line.startswith(f"{consumer}: ")]

    def wait_for(self, *lines: str) -> None:
        wait_for(lambda: set(lines) <= set(self.lines), f"{lines} in {self.lines[-5:]}, {self.errors}")

    def wait_for_children(self, number: int) -> None:
        wait_for(lambda: len(self.children()) == number, f"{number} processes")

    def end(self) -> int:
        """Wait for its end and the end of its output, which the whole group has."""
        code = self.process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        assert "Traceback" not in "\n".join(self.errors), self.errors
        return code

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@contextlib.contextmanager
def running(program: str, *arguments: str, url: str) -> Iterator[Running]:
    process = subprocess.Popen(
        command(program, *arguments),
        env=environment(url),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    each = Running(process)
    try:
        yield each
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        each.end()


def slashed(key: str) -> str:
    """The day of a partition as the consumers write it."""
    return f"{key[-8:-4]}/{key[-4:-2]}/{key[-2:]}"


def entry_ids(client: redis.Redis, key: str) -> tuple[str, str]:
    """The oldest and the newest ID of a stream."""
    oldest, newest = cast("Any", (client.xrange(key, count=1), client.xrevrange(key, count=1)))
    return oldest[0][0], newest[0][0]


def averages_of(client: redis.Redis, key: str) -> list[tuple[int, int, int]]:
    """Each hour of a partition with its average and the number of its readings, the plain way."""
    entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(key))
    hours: dict[int, list[int]] = {}
    for entry_id, fields in entries:
        hours.setdefault(int(entry_id.split("-")[0]) // 3_600_000 % 24, []).append(int(fields["temp_f"]))
    return [(hour, round(sum(readings) / len(readings)), len(readings)) for hour, readings in hours.items()]


def on_terminal(program: str, *arguments: str, url: str, until: str) -> str:
    """What a program writes to a terminal of 100 columns, up to some text."""
    ours, its = pty.openpty()
    settings = {**environment(url), "COLUMNS": "100", "TERM": "xterm-256color"}
    try:
        process = subprocess.Popen(
            command(program, *arguments), env=settings, cwd=ROOT, stdin=its, stdout=its, stderr=its
        )
    finally:
        os.close(its)
    shown = ""
    try:
        while until not in shown:
            shown += os.read(ours, 65536).decode()
    finally:
        process.terminate()
        process.wait(DEADLINE)
        os.close(ours)
    return shown


# -- all of it --------------------------------------------------------------------------------------------------------


def test_pipeline_runs_and_checks_itself(tmp_path: Path) -> None:
    plot = tmp_path / "plot.png"
    done = run("pipeline.py", "--days=2", "--plot=plot.png", url=None, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--- Killed the aggregating consumer" in done.stdout
    assert done.stdout.count("agg: Starting aggregating consumer in stream temps:") == 2
    assert done.stdout.endswith(
        f"47 finished hours, each averaged once, over 3600 observations.\nPlot: {plot.resolve()}\n"
    )
    assert plot.read_bytes().startswith(b"\x89PNG")


GOOD = [HourlyAverage(hour, day, 50, 3600) for day in ("2025/01/01", "2025/01/02") for hour in range(24)][:-1]


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (GOOD, []),
        (GOOD[::-1], []),
        (GOOD[:-1], ["2025/01/02 at 22: 0 averages"]),
        ([*GOOD, GOOD[0]], ["2025/01/01 at 0: 2 averages"]),
        ([*GOOD[:-1], replace(GOOD[-1], num_observations=3599)], ["2025/01/02 at 22: 3599 observations"]),
        ([*GOOD, replace(GOOD[-1], hour=23)], ["2025/01/02 at 23: not a finished hour"]),
    ],
)
def test_the_check_of_the_pipeline_finds_what_is_wrong(seen: Sequence[HourlyAverage], found: list[str]) -> None:
    assert problems(seen, ["2025/01/01", "2025/01/02"]) == found


@pytest.mark.parametrize(
    "program", sorted(path.name for path in PROGRAMS.glob("*.py") if "common.run(main)" in path.read_text())
)
@pytest.mark.parametrize("how", ["file", "module"])
def test_programs_start_where_inspect_could_be_mistaken_for_pythons_own(program: str, how: str) -> None:
    name = f"examples.temperatures.{program.removesuffix('.py')}"
    words, cwd = ([program], PROGRAMS) if how == "file" else (["-m", name], ROOT)
    done = subprocess.run(
        [sys.executable, *words, "--help"], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert done.stdout.startswith("usage: ")
    assert not done.stderr


# -- the producer -----------------------------------------------------------------------------------------------------


def test_producer_writes_a_walk_that_a_seed_repeats(client: redis.Redis, server: str) -> None:
    output = produce(server, 2)
    first, second = keys(2)
    assert "86,400 of 172,800 rows" in output or "172,800 of 172,800 rows" in output
    assert "rows/s" in output
    assert client.xlen(first) == client.xlen(second) == DAY
    entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(first))
    times = [int(entry_id.split("-")[0]) for entry_id, _ in entries]
    assert times == list(range(times[0], times[0] + DAY * 1000, 1000))
    walk = [int(fields["temp_f"]) for _, fields in entries]
    assert 0 <= min(walk) <= max(walk) <= 100
    assert all(abs(before - after) <= 1 for before, after in itertools.pairwise(walk))
    assert client.pexpiretime(first) == times[-1] + 2 * DAY * 1000
    produce(server, 2)
    assert client.xrange(first) == entries


def test_producer_removes_what_earlier_runs_left_and_says_which_keys(client: redis.Redis, server: str) -> None:
    assert "Reset: nothing was left of earlier runs" in produce(server, 2)
    client.hset(AGG, "last_message_id", "1-0")
    client.hset(AVG, "last_message_id", "1-0")
    client.xadd("temps:averages", {"hour": 1})
    client.set("temps:other", "stays")
    today, tomorrow = keys(2)
    output = produce(server, 1)
    named = output.splitlines()[0].removeprefix("Reset: ").split(", ")
    guards = [f"{{{today}}}:appends", f"{{{tomorrow}}}:appends"]
    assert named == [today, tomorrow, *guards, "temps:averages", AGG, AVG]
    assert set(cast("list[str]", client.keys())) == {today, guards[0], "temps:other"}
    assert client.xlen(today) == DAY


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--start=2025-01-01"], "older than the retention of 2 days"), (["--start=2100-01-01"], "ahead of")],
)
def test_producer_refuses_times_the_stream_does_not_take_and_touches_nothing(
    client: redis.Redis, server: str, arguments: list[str], reason: str
) -> None:
    client.hset(AGG, "last_message_id", "1-0")
    client.xadd(keys(1)[0], {"temp_f": 1})
    done = run("producer.py", *arguments, url=server)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert set(cast("list[str]", client.keys())) == {AGG, keys(1)[0]}


@pytest.mark.parametrize("arguments", [["--days=0"], ["--days=366"], ["--days=x"], ["--start=yesterday"]])
def test_producer_refuses_arguments_that_make_no_sense(arguments: list[str]) -> None:
    done = run("producer.py", *arguments, url="redis://127.0.0.1:1")
    assert done.returncode == 2
    assert "usage: " in done.stderr


def test_producer_shows_a_bar_on_a_terminal(client: redis.Redis, server: str) -> None:
    shown = on_terminal("producer.py", "--days=1", f"--start={TODAY}", url=server, until="Wrote 86,400 readings")
    assert "━" in shown
    assert "100%" in shown
    assert "rows/s" in shown
    assert client.xlen(keys(1)[0]) == DAY


# -- the consumers ----------------------------------------------------------------------------------------------------


def test_consumers_print_the_course_s_lines_and_save_readable_state(client: redis.Redis, server: str) -> None:
    produce(server, 2)
    first, second = keys(2)
    _, last_id = entry_ids(client, second)
    last_waits = f"agg: Waiting for new messages in stream {second}, or new stream partition."
    expected = [
        f"avg: Average temperature for {slashed(day)} at {hour} was {average}F (3600 observations)."
        for day in (first, second)
        for hour, average, count in averages_of(client, day)
        if count == 3600
    ][:-1]

    with running("consumers.py", first, url=server) as consumers:
        consumers.wait_for(last_waits, expected[-1])
        wait_for(lambda: consumers.of("avg")[-1] == "avg: Waiting for new messages in stream temps:averages", "waiting")
        consumers.process.send_signal(signal.SIGINT)
        assert consumers.end() == 0
        assert consumers.of("agg") == [
            f"agg: Starting aggregating consumer in stream {first} at message 0.",
            f"agg: Changing partition to consume stream: {second}",
            last_waits,
        ]
        assert [line for line in consumers.of("avg") if "Waiting" not in line] == expected
        assert set(consumers.lines) == {*consumers.of("agg"), *consumers.of("avg")}

    state = client.hgetall(AGG)
    hour = averages_of(client, second)[-1]
    assert state["current_stream_key"] == second
    assert state["last_message_id"] == last_id
    assert state["current_hourly_count"] == "3600"
    assert round(int(state["current_hourly_total"]) / 3600) == hour[1]
    newest_id, newest = cast("Any", client.xrevrange("temps:averages", count=1))[0]
    assert client.hget(AVG, "last_message_id") == newest_id
    assert list(newest) == ["hour", "date", "average_temp_f", "num_observations"]
    assert (newest["hour"], newest["date"]) == ("22", slashed(second))

    # Without a partition it goes on, and finds nothing to do; with one it begins there, all else forgotten.
    with running("consumers.py", url=server) as consumers:
        consumers.wait_for(f"agg: Starting aggregating consumer in stream {second} at message {last_id}.", last_waits)
        assert not [line for line in consumers.lines if "Average" in line]
    with running("consumers.py", second, url=server) as consumers:
        consumers.wait_for(f"agg: Starting aggregating consumer in stream {second} at message 0.", expected[-1])
        assert [line for line in consumers.of("avg") if "Average" in line] == expected[24:]
    assert client.xlen("temps:averages") == 23


def test_averages_are_yellow_on_a_terminal(client: redis.Redis, server: str) -> None:
    client.xadd("temps:averages", {"hour": 0, "date": "2025/01/01", "average_temp_f": 41, "num_observations": 3600})
    shown = on_terminal("averages_consumer.py", url=server, until="temps:averages\x1b[0m")
    assert "\x1b[33mavg: Average temperature for 2025/01/01 at 0 was 41F (3600 observations).\x1b[0m" in shown


def test_consumers_need_something_to_resume(client: redis.Redis, server: str) -> None:
    done = run("consumers.py", url=server)
    assert done.returncode == 1
    assert "run producer.py first" in done.stderr
    today = keys(1)[0]
    client.xadd(today, {"temp_f": 1})
    done = run("consumers.py", url=server)
    assert done.returncode == 1
    assert f"consumers.py {today}" in done.stderr


@pytest.mark.parametrize("name", ["temps:averages", "temps:2025011", "temps:20250230", "temps", "other:20250101", ""])
def test_consumers_refuse_what_is_no_partition_and_clear_nothing(client: redis.Redis, server: str, name: str) -> None:
    client.hset(AGG, "last_message_id", "1-0")
    client.xadd("temps:averages", {"hour": 1})
    done = run("consumers.py", name, url=server)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {name!r} is no partition of 'temps'")
    assert done.stderr.count("\n") == 1
    assert client.exists(AGG, "temps:averages") == 2


@pytest.mark.parametrize("program", ["producer.py", "consumers.py", "inspect.py", "aggregating_consumer.py"])
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "localhost", "redis://127.0.0.1:port/0"])
def test_a_url_without_a_server_is_one_line(program: str, url: str) -> None:
    done = run(program, "--redis-url", url, url=None)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("to", ["group", "parent"])
@pytest.mark.parametrize("moment", ["waiting", "working", "starting"])
def test_ctrl_c_stops_both_within_a_second(client: redis.Redis, server: str, to: str, moment: str) -> None:
    partitions = keys(3 if moment == "working" else 1)
    produce(server, len(partitions))
    ready = {
        "waiting": f"agg: Waiting for new messages in stream {partitions[-1]}, or new stream partition.",
        "working": f"agg: Starting aggregating consumer in stream {partitions[0]} at message 0.",
    }.get(moment)
    took: list[float] = []
    # A machine with other work to do may be late: then it gets its share of time, and a second try.
    while not took or (took[-1] >= 1 and len(took) < 3):
        with running("consumers.py", partitions[0], url=server) as consumers:
            if ready is not None:
                consumers.wait_for(ready)
            else:
                consumers.wait_for_children(2)
            pressed = time.monotonic()
            if to == "group":
                os.killpg(consumers.process.pid, signal.SIGINT)
            else:
                consumers.process.send_signal(signal.SIGINT)
            assert consumers.end() == 0
            took.append(time.monotonic() - pressed)
            assert not consumers.errors
            with pytest.raises(ProcessLookupError):
                os.killpg(consumers.process.pid, 0)
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert min(took) < max(1, busy), (took, busy)


def test_consumers_end_when_one_of_them_is_killed_and_resume(client: redis.Redis, server: str) -> None:
    produce(server)
    (today,) = keys(1)
    waits = f"agg: Waiting for new messages in stream {today}, or new stream partition."
    with running("consumers.py", today, url=server) as consumers:
        consumers.wait_for(waits)
        (aggregating,) = [
            child for child in consumers.children() if "aggregating_consumer.py" in " ".join(child.cmdline())
        ]
        aggregating.kill()
        assert consumers.end() == 1
        assert len(consumers.errors) == 1
        assert "aggregating_consumer.py ended with status -9" in consumers.errors[0]
    with running("consumers.py", url=server) as consumers:
        consumers.wait_for(waits)
    assert client.xlen("temps:averages") == 23


def test_a_second_aggregating_consumer_takes_over_and_the_first_says_so(client: redis.Redis, server: str) -> None:
    produce(server)
    (today,) = keys(1)
    waits = f"agg: Waiting for new messages in stream {today}, or new stream partition."
    with running("consumers.py", today, url=server) as first:
        first.wait_for(waits)
        with running("aggregating_consumer.py", url=server) as second:
            second.wait_for(waits)
            assert first.end() == 1
            assert first.errors[0].startswith(f"error: another reader has taken over the checkpoint '{AGG}'")
            assert second.process.poll() is None
    assert client.xlen("temps:averages") == 23


# -- what must never break --------------------------------------------------------------------------------------------


def aggregate_to_the_end(client: redis.Redis, process: subprocess.Popen[bytes], last_id: str) -> None:
    def finished() -> bool:
        assert process.poll() is None, "the consumer ended"
        return client.hget(AGG, "last_message_id") == last_id

    wait_for(finished, f"{last_id} reached; it stands at {client.hgetall(AGG)}")


@contextlib.contextmanager
def aggregating(url: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    words = command("aggregating_consumer.py", *arguments)
    with subprocess.Popen(words, env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_kill_9_again_and_again_changes_nothing(client: redis.Redis, server: str) -> None:
    days, kills = 4, 24
    produce(server, days)
    partitions = keys(days)
    first_id, last_id = entry_ids(client, partitions[0])[0], entry_ids(client, partitions[-1])[1]
    first_ms = int(first_id.split("-")[0])

    def written() -> list[dict[str, str]]:
        return [fields for _, fields in cast("list[tuple[str, dict[str, str]]]", client.xrange("temps:averages"))]

    def handled() -> int:
        position = cast("str | None", client.hget(AGG, "last_message_id"))
        return 0 if position in {None, "0-0"} else (int(str(position).split("-")[0]) - first_ms) // 1000 + 1

    with aggregating(server, partitions[0]) as process:
        aggregate_to_the_end(client, process, last_id)
    undisturbed = written()
    assert len(undisturbed) == days * 24 - 1  # under the cap: nothing was trimmed
    client.unlink(AGG, "temps:averages")

    chance = random.Random()
    stood: list[int] = []
    for _ in range(kills):
        with aggregating(server, partitions[0]) as process:
            if chance.random() < 0.2:
                time.sleep(chance.uniform(0, 0.4))  # in the middle of its start, often
            else:
                enough = min(handled() + chance.randint(1, days * DAY // 60), days * DAY)
                wait_for(lambda enough=enough: handled() >= enough, "progress")  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.005))
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        stood.append(handled())
        if stood[-1] == days * DAY:  # stopped late, at the end: once more from the beginning
            assert written() == undisturbed
            client.unlink(AGG, "temps:averages")
    in_the_middle = [place for place in stood if 0 < place < days * DAY]
    assert len(in_the_middle) >= 20, stood
    with aggregating(server) as process:
        aggregate_to_the_end(client, process, last_id)
    assert written() == undisturbed


def peak(process: subprocess.Popen[bytes], done: Callable[[], bool]) -> float:
    """The most memory, in MiB, that a process held in RAM until it was done."""
    seen = [0]

    def look() -> bool:
        # Not its ru_maxrss: on Linux, that of the process it was forked from counts as well.
        with contextlib.suppress(psutil.NoSuchProcess):
            seen.append(psutil.Process(process.pid).memory_info().rss)
        return done()

    wait_for(look, "the end of the data")
    return max(seen) / (1 << 20)


def test_memory_does_not_grow_with_the_data(client: redis.Redis, server: str) -> None:
    words = command("producer.py", "--days=10", f"--start={TODAY}")
    with subprocess.Popen(words, env=environment(server), cwd=ROOT, stdout=subprocess.DEVNULL) as producer:
        produced = peak(producer, lambda: producer.poll() is not None)
    assert producer.returncode == 0
    newest = keys(10)[-1]
    assert client.xlen(newest) == DAY
    _, last_id = entry_ids(client, newest)
    with aggregating(server) as consumer:
        consumed = peak(consumer, lambda: client.hget(AGG, "last_message_id") == last_id)
        assert consumer.poll() is None
    assert produced < 80
    assert consumed < 80


# -- inspect ----------------------------------------------------------------------------------------------------------


def test_inspect_shows_streams_expiry_and_states(client: redis.Redis, server: str, tmp_path: Path) -> None:
    produce(server)
    (today,) = keys(1)
    with running("consumers.py", today, url=server) as consumers:
        consumers.wait_for(f"agg: Waiting for new messages in stream {today}, or new stream partition.")
        wait_for(lambda: len([line for line in consumers.lines if "Average" in line]) == 23, "all averages")
        consumers.process.send_signal(signal.SIGTERM)
        assert consumers.end() == 0
    done = run("inspect.py", "--plot=averages.png", url=server, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith(f"│ {today} ")]
    assert "86,400" in row
    assert "2 d " in row or "1 d 23 h" in row
    assert "00:00:00 " in row
    assert "temps:averages, 23 entries" in done.stdout
    assert done.stdout.count("current_stream_key") == 2
    for word in (
        *cast("dict[str, str]", client.hgetall(AGG)).items(),
        ("last_message_id", client.hget(AVG, "last_message_id")),
    ):
        if not word[0].startswith("streamkit:"):
            assert word[0] in done.stdout
            assert str(word[1]) in done.stdout
    assert "streamkit:" not in done.stdout
    assert done.stdout.endswith("Plot: averages.png\n")
    assert (tmp_path / "averages.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_of_nothing(client: redis.Redis, server: str, tmp_path: Path) -> None:
    assert client.dbsize() == 0
    done = run("inspect.py", url=server)
    assert done.returncode == 0
    assert done.stdout.count("nothing is saved") == 2
    done = run("inspect.py", f"--plot={tmp_path / 'a.png'}", url=server)
    assert done.returncode == 1
    assert "run consumers.py first" in done.stderr


def test_inspect_says_why_it_cannot_draw(client: redis.Redis, server: str, tmp_path: Path) -> None:
    client.xadd("temps:averages", {"hour": 0, "date": "2025/01/01", "average_temp_f": 41, "num_observations": 3600})
    for file in (tmp_path / "missing" / "a.png", tmp_path / "a.doc"):
        done = run("inspect.py", f"--plot={file}", url=server)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {file} cannot be drawn")


def test_programs_on_their_own_start_a_private_server() -> None:
    done = run("inspect.py", url=None)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "Started a private server that ends with this program; share it: --redis-url redis://"
    )
