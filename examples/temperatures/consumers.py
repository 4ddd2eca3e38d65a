"""Runs both consumers, each in a process of its own, until Ctrl-C.

    python examples/temperatures/consumers.py temps:20250101 [--redis-url URL]     begin there, forgetting what is saved
    python examples/temperatures/consumers.py [--redis-url URL]                    go on where they were

Shows how a checkpoint is begun, found and left alone: kill either process at any moment, and start this again.
"""

from __future__ import annotations

import sys

if not __package__:  # run as a file: this directory's inspect.py must not pass for Python's own
    sys.path[0] = sys.path[0].removesuffix("/examples/temperatures")

import time
from typing import TYPE_CHECKING

from examples.temperatures import aggregating_consumer, common
from streamkit import stop_on_signals

if TYPE_CHECKING:
    import redis


def prepare(client: redis.Redis, partition: str | None) -> bool:
    """Clear what is saved if there is a partition to begin with; otherwise see that there is something to resume."""
    reader = aggregating_consumer.make_reader(client, partition)
    if partition is not None:
        client.unlink(common.AGGREGATING_STATE, common.AVERAGES_STATE, common.AVERAGES)
        return True
    if reader.saved() is not None:
        return True
    common.note("Nothing is saved that could be resumed.")
    if keys := common.readings_stream(client).keys():
        common.note(f"Give the partition to begin with, from {keys[0]} to {keys[-1]}: consumers.py {keys[0]}")
    else:
        common.note("There are no readings either: run producer.py first.")
    return False


def watch(url: str, partition: str | None) -> int:
    """Run both until one of them ends, or a signal asks for it; then end the other."""
    where = [] if partition is None else [partition]
    request = common.Request()
    with (
        stop_on_signals(request),
        common.Child("averages_consumer.py", url=url) as averages,
        common.Child("aggregating_consumer.py", *where, url=url) as aggregating,
    ):
        while not request.made and averages.poll() is None and aggregating.poll() is None:
            time.sleep(0.05)
        averages.terminate()
        aggregating.terminate()
    failed = [child for child in (averages, aggregating) if child.returncode not in common.STOPPED]
    for child in failed:
        common.note(f"{child.script} ended with status {child.returncode}; without a partition, consumers.py resumes.")
    return 1 if failed else 0


def main() -> int:
    """Run the consumers."""
    parser = common.argument_parser(__doc__)
    parser.add_argument("partition", nargs="?", help="where to begin, such as temps:20250101; default: resume")
    arguments = parser.parse_args()
    with common.connected(arguments.redis_url) as (client, url):
        return watch(url, arguments.partition) if prepare(client, arguments.partition) else 1


if __name__ == "__main__":
    common.run(main)
