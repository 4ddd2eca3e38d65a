"""One consumer of the group: takes numbers, and adds those that are prime to a sorted set.

    python examples/primes/consumer.py NAME [--redis-url URL]

Shows `GroupConsumer` with effects: what comes of a number is written in the step that acks it. The consumer can be
killed at any moment: started again under its name it finds what it held, and no number is counted twice. `primes.py`
runs three of these, and kills them.
"""

from __future__ import annotations

import sys

if not __package__:  # run as a file
    sys.path[0] = sys.path[0].removesuffix("/examples/primes")

import math
import time
from typing import TYPE_CHECKING

from examples import common
from streamkit import CappedStream, Delivery, GroupConsumer, RetryPolicy, stop_on_signals

if TYPE_CHECKING:
    import redis

NUMBERS = "numbers"
GROUP = "primes"
LETTERS = "{numbers}:dead-letters"
PRIMES = "primes"
HANDLED = "numbers:handled"
RUNS = "numbers:runs"
MOST = 10_000
"""Numbers that the stream keeps."""
WORK = 0.001
"""Seconds that a number takes: the divisions alone would be done before anybody could be killed."""


def numbers_stream(client: redis.Redis) -> CappedStream:
    """The numbers to look at, one an entry."""
    return CappedStream(client, NUMBERS, maxlen=MOST)


def is_prime(number: int) -> bool:
    """Whether it is."""
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def make_consumer(client: redis.Redis, name: str) -> GroupConsumer:
    """A consumer of the group; the group is made where it does not exist."""
    return GroupConsumer(
        client,
        numbers_stream(client),
        GROUP,
        name,
        # A number whose handler was killed counts as delivered all the same. Here it is not to blame for that.
        retry=RetryPolicy(max_deliveries=1000),
    )


def main() -> int:
    """Run the consumer until Ctrl-C."""
    parser = common.argument_parser(__doc__)
    parser.add_argument("name", help="this consumer's name in the group")
    arguments = parser.parse_args()
    with common.connected(arguments.redis_url) as (client, _):

        def handle(delivery: Delivery) -> None:
            number = int(delivery.value["n"])
            client.incr(RUNS)  # at once, and so once for every run of this function
            time.sleep(WORK)
            if is_prime(number):
                delivery.execute("ZADD", PRIMES, number, number)
            delivery.execute("HINCRBY", HANDLED, number, 1)  # with the ack, and so once for every number

        consumer = make_consumer(client, arguments.name)
        with stop_on_signals(consumer):
            consumer.run(handle)
    return 0


if __name__ == "__main__":
    common.run(main)
