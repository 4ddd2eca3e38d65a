"""Finds prime numbers with three consumers of a group, kills them at random, and checks that nothing was lost by it.

    python examples/primes/primes.py [--numbers 3000] [--redis-url URL]

A producer appends the numbers from 2 on. `prime-1`, `prime-2` and `prime-3` share them, each in a process of its own.
Every fraction of a second one of them is killed (SIGKILL: it gets no chance to ack anything) and started again under
its name, until no number is left. Then every number must have been counted exactly once, the primes must be the primes,
and nothing may be pending.
"""

from __future__ import annotations

import sys

if not __package__:  # run as a file
    sys.path[0] = sys.path[0].removesuffix("/examples/primes")

import argparse
import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

from examples import common
from examples.primes.consumer import GROUP, HANDLED, LETTERS, MOST, NUMBERS, PRIMES, RUNS, make_consumer, numbers_stream
from streamkit import StreamkitError, stop_on_signals

if TYPE_CHECKING:
    import redis

NAMES = ("prime-1", "prime-2", "prime-3")
CALM = (0.2, 0.6)
"""Seconds between two kills, at least and at most."""
PATIENCE = 60.0
"""Seconds without any progress after which something must be wrong."""


def say(message: str) -> None:
    """Print a line at once."""
    print(message, flush=True)


class Failed(StreamkitError):
    """A consumer ended by itself, or the group came to a standstill."""


class Consumers(ExitStack):
    """The three consumers, in processes of their own, which end with the ``with`` block."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._running: dict[str, common.Child] = {}
        self.kills = Counter[str]()

    def start(self, name: str) -> None:
        """Start one of them."""
        program = Path(__file__).with_name("consumer.py")
        self._running[name] = self.enter_context(common.Child(program, name, url=self._url))

    def kill(self, name: str) -> None:
        """Kill it, and start it again under its name."""
        self._running[name].kill()
        self._running[name].wait()
        self.kills[name] += 1
        self.start(name)

    def check(self) -> None:
        """See that all of them run."""
        for name, child in self._running.items():
            if child.poll() is not None:
                raise Failed(f"{name} ended with status {child.returncode}")

    def stop(self) -> None:
        """End them in peace: what is in hand is finished."""
        for child in self._running.values():
            child.terminate()
        self.close()
        for name, child in self._running.items():
            if child.returncode not in common.STOPPED:
                raise Failed(f"{name} ended with status {child.returncode}")


def produce(client: redis.Redis, last: int) -> None:
    """Append the numbers from 2 to the last one; what an earlier run left is removed."""
    client.delete(NUMBERS, LETTERS, PRIMES, HANDLED, RUNS)
    numbers_stream(client).append_many({"n": number} for number in range(2, last + 1))


def chaos(client: redis.Redis, consumers: Consumers, request: common.Request) -> bool:
    """Kill consumers until every number was handled and nothing is pending; whether it came to that."""
    group = make_consumer(client, "onlooker")  # asks, and takes nothing
    handled_at_kill, calm = 0, time.monotonic() + random.uniform(*CALM)
    while group.lag() != 0 or any(True for _ in group.pending()):
        if request.made:
            return False
        consumers.check()
        now = time.monotonic()
        if now > calm + PATIENCE:
            raise Failed(f"nothing moved for {PATIENCE:.0f} s; {handled_at_kill} numbers are counted")
        # Only after some progress: a slow machine would do nothing but start consumers.
        if now > calm and (handled := client.hlen(HANDLED)) > handled_at_kill:
            consumers.kill(name := random.choice(NAMES))
            pending = sum(entry.consumer == name for entry in group.pending())
            say(f"Counted so far: {handled}. Killed {name} with {pending} pending, and started it again.")
            handled_at_kill, calm = handled, now + random.uniform(*CALM)
        time.sleep(0.02)
    return True


def problems(client: redis.Redis, last: int) -> list[str]:
    """What is wrong, once everything was handled; nothing, if all went well."""
    numbers = range(2, last + 1)
    times = {int(number): int(count) for number, count in cast("dict[bytes, bytes]", client.hgetall(HANDLED)).items()}
    wrong = [f"{number} was counted {times.get(number, 0)} times" for number in numbers if times.get(number) != 1]
    found = {int(member) for member in cast("list[bytes]", client.zrange(PRIMES, 0, -1))}
    sieve = set(numbers)
    for number in numbers:
        if number in sieve:
            sieve.difference_update(range(2 * number, last + 1, number))
    wrong += [f"{number} is a prime, and was not found" for number in sorted(sieve - found)]
    wrong += [f"{number} is no prime" for number in sorted(found - sieve)]
    for entry in make_consumer(client, "onlooker").pending():
        wrong.append(f"{entry.id} is pending with {entry.consumer}")
    if letters := client.xlen(LETTERS):
        wrong.append(f"{letters} numbers are dead letters")
    return wrong


def last_number(text: str) -> int:
    """The greatest number, as an argument."""
    number = int(text)
    if not 2 <= number <= MOST:
        msg = f"from 2 to {MOST}"
        raise argparse.ArgumentTypeError(msg)
    return number


def main() -> int:
    """Run everything, in order."""
    parser = common.argument_parser(__doc__)
    parser.add_argument("--numbers", type=last_number, default=3000, metavar="N", help="up to which; default: 3000")
    arguments = parser.parse_args()
    last: int = arguments.numbers
    request = common.Request()
    with (
        common.connected(arguments.redis_url) as (client, url),
        stop_on_signals(request),
        Consumers(url) as consumers,
    ):
        produce(client, last)
        say(f"Appended the numbers from 2 to {last}; starting {', '.join(NAMES)} in group {GROUP}.")
        for name in NAMES:
            consumers.start(name)
        done = chaos(client, consumers, request)
        consumers.stop()
        if not done:
            common.note("Stopped before all numbers were handled; their consumers have left.")
            return 130
        wrong = problems(client, last)
        for problem in wrong:
            say(problem)
        if wrong:
            return 1
        runs = int(cast("bytes", client.get(RUNS)))
        killed = ", ".join(f"{name} {consumers.kills[name]}" for name in NAMES)
        say(f"{consumers.kills.total()} kills ({killed}); {runs} runs of the handler for {last - 1} numbers.")
        say(f"Each number was counted once, {client.zcard(PRIMES)} primes were found, and nothing is pending.")
    return 0


if __name__ == "__main__":
    common.run(main)
