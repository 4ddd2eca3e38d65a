"""What the programs of this example share: the streams and keys by name, and what every example's programs do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from examples import common
from examples.common import REDIS_URL, STOPPED, Request, argument_parser, connected, note, run
from streamkit import CappedStream, DataclassCodec, PartitionedStream, Period

if TYPE_CHECKING:
    import redis

__all__ = [
    "AGGREGATING_STATE",
    "AVERAGES",
    "AVERAGES_CODEC",
    "AVERAGES_STATE",
    "READINGS",
    "REDIS_URL",
    "STOPPED",
    "Child",
    "HourlyAverage",
    "Request",
    "argument_parser",
    "averages_stream",
    "connected",
    "note",
    "readings_stream",
    "run",
]

READINGS = "temps"
AVERAGES = "temps:averages"
AGGREGATING_STATE = "aggregating_consumer_state"
AVERAGES_STATE = "averages_consumer_state"

# A real sensor's readings are never dated ahead of the clock, and this could stay at its default. Ours are invented:
# ten days of them, from today on, in a few seconds.
MAX_AHEAD = timedelta(days=366)


def readings_stream(client: redis.Redis, name: str = READINGS) -> PartitionedStream:
    """The readings, one a second, in a partition for each day that expires two days after its newest reading."""
    return PartitionedStream(client, name, period=Period.DAY, retention=timedelta(days=2), max_ahead=MAX_AHEAD)


@dataclass(frozen=True)
class HourlyAverage:
    """What the aggregating consumer makes of an hour of readings."""

    hour: int
    date: str
    average_temp_f: int
    num_observations: int


AVERAGES_CODEC = DataclassCodec(HourlyAverage)


def averages_stream(client: redis.Redis) -> CappedStream[HourlyAverage]:
    """The hourly averages of the last five days, or some more: approximate trimming is much cheaper."""
    return CappedStream(client, AVERAGES, maxlen=120, approximate=True, codec=AVERAGES_CODEC)


class Child(common.Child):
    """Another program of this example."""

    def __init__(self, script: str, *arguments: str, url: str) -> None:
        super().__init__(Path(__file__).with_name(script), *arguments, url=url)
