"""The data: a thermometer's readings over days, and the hourly averages that must come out of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TypeAlias

MS_PER_HOUR = 3_600_000
STEP_S = 5
Output: TypeAlias = "dict[str, str]"


@dataclass(frozen=True)
class Readings:
    """Readings and their times, of the same length."""

    values: list[dict[str, str]]
    times: list[datetime]

    def __len__(self) -> int:
        return len(self.values)


def make_readings(count: int) -> Readings:
    """A random walk between 0 and 100 F, one step every five seconds from today, 00:00 UTC: the same in every run."""
    walk = random.Random(7)
    start = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    temperature = 50.0
    values: list[dict[str, str]] = []
    for _ in range(count):
        temperature = min(100.0, max(0.0, temperature + walk.uniform(-1, 1)))
        values.append({"temp_f": f"{temperature:.2f}", "humidity": str(walk.randint(20, 90))})
    return Readings(values, [start + timedelta(seconds=STEP_S * number) for number in range(count)])


def average(hour: int, total: float, count: int) -> Output:
    """The output for one hour, counted from 1970. Every contestant writes it by this function."""
    start = datetime.fromtimestamp(hour * 3600, timezone.utc)
    return {
        "date": f"{start:%Y/%m/%d}",
        "hour": str(start.hour),
        "average_temp_f": str(round(total / count)),
        "num_observations": str(count),
    }


def expected_averages(readings: Readings, count: int) -> list[Output]:
    """What an aggregation of the first ``count`` readings must write: an hour is finished by a reading of the next."""
    outputs: list[Output] = []
    current, total, seen = -1, 0.0, 0
    for value, time in zip(readings.values[:count], readings.times, strict=False):
        hour = int(time.timestamp()) // 3600
        if hour != current:
            if seen:
                outputs.append(average(current, total, seen))
            current, total, seen = hour, 0.0, 0
        total += float(value["temp_f"])
        seen += 1
    return outputs
