"""The prime-number example as its users run it: real processes, a real server, kills."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import redis

from examples.primes.consumer import HANDLED, PRIMES, is_prime, make_consumer
from examples.primes.primes import problems, produce
from streamkit.testing import redis_server

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "examples" / "primes"
DEADLINE = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server) as client:
        client.flushall()
        yield client


def command(*words: str) -> list[str]:
    return [sys.executable, str(PROGRAMS / "primes.py"), *words]


def environment(url: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "STREAMKIT_REDIS_URL"}
    return kept if url is None else {**kept, "STREAMKIT_REDIS_URL": url}


def run(*words: str, url: str | None) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, which is not near on a slow machine; where nothing moves it ends by itself."""
    done = subprocess.run(
        command(*words), env=environment(url), capture_output=True, text=True, timeout=5 * DEADLINE, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def primes_up_to(last: int) -> list[int]:
    return [number for number in range(2, last + 1) if all(number % divisor for divisor in range(2, number))]


def test_every_number_is_handled_however_often_consumers_are_killed(client: redis.Redis, server: str) -> None:
    client.sadd("bystander", "stays")
    done = run("--numbers=1000", url=server)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *kills, summary, verdict = done.stdout.splitlines()
    assert first == "Appended the numbers from 2 to 1000; starting prime-1, prime-2, prime-3 in group primes."
    assert kills
    assert all(
        re.fullmatch(r"Counted so far: \d+\. Killed prime-\d with \d+ pending, and started .+", kill) for kill in kills
    )
    found = re.fullmatch(
        rf"{len(kills)} kills \(prime-1 \d+, prime-2 \d+, prime-3 \d+\); (\d+) runs of the handler for 999 numbers\.",
        summary,
    )
    assert found
    assert int(found[1]) >= 999
    assert verdict == "Each number was counted once, 168 primes were found, and nothing is pending."
    assert [int(prime) for prime in cast("list[bytes]", client.zrange(PRIMES, 0, -1))] == primes_up_to(1000)
    assert client.hgetall(HANDLED) == {b"%d" % number: b"1" for number in range(2, 1001)}
    assert client.xpending("numbers", "primes")["pending"] == 0
    assert client.exists("bystander") == 1


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_without_a_traceback(number: signal.Signals) -> None:
    process = subprocess.Popen(
        command("--numbers=10000"),
        env=environment(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Appended")
        assert process.stdout.readline().startswith("Counted so far")
        offspring = psutil.Process(process.pid).children(recursive=True)
        assert len(offspring) == 4  # three consumers, the private server
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith("Stopped before all numbers were handled; their consumers have left.\n")
    wait_for(lambda: not any(each.is_running() for each in offspring), "the end of all processes")


def finished(client: redis.Redis) -> None:
    """Everything as it is after a run up to 10."""
    produce(client, 10)
    for number in range(2, 11):
        client.hset(HANDLED, str(number), 1)
    client.zadd(PRIMES, {"2": 2, "3": 3, "5": 5, "7": 7})


def test_the_check_passes_what_is_right(client: redis.Redis) -> None:
    finished(client)
    assert problems(client, 10) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("HDEL numbers:handled 4", "4 was counted 0 times"),
        ("HINCRBY numbers:handled 4 1", "4 was counted 2 times"),
        ("ZREM primes 7", "7 is a prime, and was not found"),
        ("ZADD primes 9 9", "9 is no prime"),
        ("XADD {numbers}:dead-letters * n 4", "1 numbers are dead letters"),
    ],
)
def test_the_check_finds_what_is_wrong(client: redis.Redis, words: str, found: str) -> None:
    finished(client)
    cast("Any", client).execute_command(*words.split())
    assert problems(client, 10) == [found]


def test_the_check_finds_what_is_pending(client: redis.Redis) -> None:
    finished(client)
    with make_consumer(client, "prime-1") as consumer:
        (delivery,) = consumer.read(count=1)
        assert problems(client, 10) == [f"{delivery.id} is pending with prime-1"]


def test_primes() -> None:
    assert [number for number in range(-2, 200) if is_prime(number)] == primes_up_to(199)


@pytest.mark.parametrize("words", [["--numbers=1"], ["--numbers=10001"], ["--numbers=many"]])
def test_numbers_that_make_no_sense(words: list[str]) -> None:
    done = run(*words, url="redis://127.0.0.1:1")
    assert done.returncode == 2
    assert "usage: " in done.stderr


@pytest.mark.parametrize("program", ["primes", "consumer"])
@pytest.mark.parametrize("how", ["file", "module"])
def test_programs_start_from_anywhere(program: str, how: str) -> None:
    words, cwd = ([f"{program}.py"], PROGRAMS) if how == "file" else (["-m", f"examples.primes.{program}"], ROOT)
    done = subprocess.run(
        [sys.executable, *words, "--help"], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert done.stdout.startswith("usage: ")
    assert not done.stderr
