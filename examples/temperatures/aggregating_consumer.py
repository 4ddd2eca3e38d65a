"""The aggregating consumer: adds up the readings of each hour and puts the hour's average on a stream.

    python examples/temperatures/aggregating_consumer.py [PARTITION] [--redis-url URL]

Shows `CheckpointedReader` over the partitions of a stream. Position, the hour being added up and the averages emitted
are saved in one step, so the consumer can be killed at any moment: started again it goes on where it was, and every
average is written exactly once. `consumers.py` runs it together with the averages consumer.
"""

from __future__ import annotations

import sys

if not __package__:  # run as a file: this directory's inspect.py must not pass for Python's own
    sys.path[0] = sys.path[0].removesuffix("/examples/temperatures")

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from typing_extensions import override

from examples.temperatures import common
from examples.temperatures.common import HourlyAverage
from streamkit import CappedStream, CheckpointedReader, EntryId, LoggingObserver, Position, stop_on_signals

if TYPE_CHECKING:
    import redis


@dataclass
class HourSoFar:
    """The reader's state; ``HGETALL aggregating_consumer_state`` shows its fields."""

    current_hour: datetime | None = None
    current_hourly_total: int = 0
    current_hourly_count: int = 0

    def average(self) -> HourlyAverage:
        """What is emitted at the end of the hour."""
        assert self.current_hour is not None  # noqa: S101 - only an hour that has begun can end
        return HourlyAverage(
            hour=self.current_hour.hour,
            date=f"{self.current_hour:%Y/%m/%d}",
            average_temp_f=round(self.current_hourly_total / self.current_hourly_count),
            num_observations=self.current_hourly_count,
        )


class Narrator(LoggingObserver):
    """Tells what the reader does; whatever is worth a warning is logged, as without an observer of one's own."""

    @override
    def on_start(self, position: Position) -> None:
        last = "0" if position.id == EntryId(0) else position.id
        say(f"Starting aggregating consumer in stream {position.stream} at message {last}.")

    @override
    def on_partition(self, position: Position, left: Position) -> None:
        say(f"Changing partition to consume stream: {position.stream}")

    @override
    def on_waiting(self, position: Position) -> None:
        say(f"Waiting for new messages in stream {position.stream}, or new stream partition.")


def say(message: str) -> None:
    """Print a line of this consumer's."""
    print(f"agg: {message}", flush=True)


def make_reader(client: redis.Redis, partition: str | None = None) -> CheckpointedReader[dict[str, str], HourSoFar]:
    """The reader; it begins with ``partition`` if nothing is saved yet."""
    return CheckpointedReader(
        client,
        common.readings_stream(client),
        common.AGGREGATING_STATE,
        state=HourSoFar(),
        start=partition,
        observer=Narrator(),
    )


def aggregate(reader: CheckpointedReader[dict[str, str], HourSoFar], averages: CappedStream[HourlyAverage]) -> None:
    """Read on and on, and emit the average of an hour when the first reading of the next one arrives."""
    for reading in reader:
        state = reader.state
        hour = reading.time.replace(minute=0, second=0, microsecond=0)
        if hour != state.current_hour:
            if state.current_hour is not None:
                reader.emit(averages, state.average())
            state = reader.state = HourSoFar(hour)
        state.current_hourly_total += int(reading.value["temp_f"])
        state.current_hourly_count += 1


def main() -> int:
    """Run the consumer until Ctrl-C."""
    parser = common.argument_parser(__doc__)
    parser.add_argument("partition", nargs="?", help="where to begin if nothing is saved; default: the oldest")
    arguments = parser.parse_args()
    with common.connected(arguments.redis_url) as (client, _):
        reader = make_reader(client, arguments.partition)
        with stop_on_signals(reader), reader:
            aggregate(reader, common.averages_stream(client))
    return 0


if __name__ == "__main__":
    common.run(main)
