"""The averages consumer: prints every hourly average as it arrives, in yellow on a terminal.

    python examples/temperatures/averages_consumer.py [--redis-url URL]

Shows `CheckpointedReader` over a single capped stream, without a state of its own. What it has printed cannot be taken
back, so it saves after every line: killed, it prints one line again at most. `consumers.py` runs it together with the
aggregating consumer.
"""

from __future__ import annotations

import os
import sys

if not __package__:  # run as a file: this directory's inspect.py must not pass for Python's own
    sys.path[0] = sys.path[0].removesuffix("/examples/temperatures")

from typing import TYPE_CHECKING

from typing_extensions import override

from examples.temperatures import common
from examples.temperatures.common import HourlyAverage
from streamkit import CheckpointedReader, LoggingObserver, Position, stop_on_signals

if TYPE_CHECKING:
    import redis

YELLOW, PLAIN = "\033[33m", "\033[0m"


class Narrator(LoggingObserver):
    """Tells when the reader waits; whatever is worth a warning is logged, as without an observer of one's own."""

    @override
    def on_waiting(self, position: Position) -> None:
        say(f"Waiting for new messages in stream {position.stream}")


def say(message: str) -> None:
    """Print a line of this consumer's."""
    line = f"avg: {message}"
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"{YELLOW}{line}{PLAIN}" if coloured else line, flush=True)


def make_reader(client: redis.Redis) -> CheckpointedReader[HourlyAverage, None]:
    """The reader; it begins with the oldest average if nothing is saved yet."""
    return CheckpointedReader(client, common.averages_stream(client), common.AVERAGES_STATE, observer=Narrator())


def main() -> int:
    """Run the consumer until Ctrl-C."""
    arguments = common.argument_parser(__doc__).parse_args()
    with common.connected(arguments.redis_url) as (client, _):
        reader = make_reader(client)
        with stop_on_signals(reader), reader:
            for entry in reader:
                hourly = entry.value
                say(
                    f"Average temperature for {hourly.date} at {hourly.hour} was {hourly.average_temp_f}F "
                    f"({hourly.num_observations} observations)."
                )
                reader.commit()
    return 0


if __name__ == "__main__":
    common.run(main)
