"""Shows what is there: the readings' partitions, the latest averages, and where both consumers stand.

    python examples/temperatures/inspect.py [--plot FILE] [--redis-url URL]

Shows what can be seen of streams from outside: their lengths, expiry and entries, and checkpoints, which are hashes for
people to read. ``--plot`` draws the hourly averages as a picture.
"""

from __future__ import annotations

import sys

if not __package__:  # run as a file: this directory's inspect.py must not pass for Python's own
    sys.path[0] = sys.path[0].removesuffix("/examples/temperatures")

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, cast

from examples.temperatures import common
from examples.temperatures.common import AVERAGES_CODEC, HourlyAverage
from streamkit import EntryId

if TYPE_CHECKING:
    import redis
    from rich.table import Table

    RawEntries = list[tuple[bytes, dict[bytes, bytes]]]

FIRST, LAST = 2, 3
"""How many entries of a stream are shown."""


def in_words(span: timedelta) -> str:
    """A span of time, to the minute: ``1 d 23 h 59 min``."""
    days, minutes = span.days, span.seconds // 60
    return f"{days} d {minutes // 60:>2} h {minutes % 60:>2} min"


def partitions(client: redis.Redis) -> Table:
    """Each day's partition: its length, how long it is kept, its first entries."""
    from rich.table import Table  # noqa: PLC0415

    table = Table("partition", title=f"Readings: {common.READINGS}", title_justify="left")
    table.add_column("readings", justify="right")
    table.add_column("expires in", justify="right")
    table.add_column("first entries")
    for info in common.readings_stream(client).info():
        left = in_words(info.expires_at - datetime.now(timezone.utc)) if info.expires_at else "never"
        entries = cast("RawEntries", client.xrange(info.key, count=FIRST))
        first = [f"{EntryId.parse(id_).time:%H:%M:%S} {fields[b'temp_f'].decode()}F" for id_, fields in entries]
        table.add_row(info.key, f"{info.length:,}", left, ", ".join(first))
    return table


def latest_averages(client: redis.Redis) -> Table:
    """The length of the averages' stream, and its last entries."""
    from rich.table import Table  # noqa: PLC0415

    length = common.averages_stream(client).length()
    title = f"Averages: {common.AVERAGES}, {length} entries, the last {min(LAST, length)}"
    table = Table("entry", "date", "hour", "average_temp_f", "num_observations", title=title, title_justify="left")
    entries = cast("RawEntries", client.xrevrange(common.AVERAGES, count=LAST))
    for id_, fields in reversed(entries):
        average = AVERAGES_CODEC.decode(fields)
        cells = (average.date, average.hour, average.average_temp_f, average.num_observations)
        table.add_row(id_.decode(), *map(str, cells))
    return table


def saved_state(client: redis.Redis, key: str) -> Table:
    """What a consumer has saved, without the fields that the reader keeps for itself."""
    from rich.table import Table  # noqa: PLC0415

    table = Table("field", "value", title=f"Saved state: {key}", title_justify="left")
    saved = cast("dict[bytes, bytes]", client.hgetall(key))
    for field, value in saved.items():
        if not field.startswith(b"streamkit:"):
            table.add_row(field.decode(), value.decode())
    if not saved:
        table.add_row("nothing is saved", "")
    return table


def plot(averages: list[HourlyAverage], file: Path) -> None:
    """Draw the averages, hour by hour, and what they come to for each day."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    days: dict[date, list[HourlyAverage]] = {}
    for average in averages:
        days.setdefault(datetime.strptime(f"{average.date}+0000", "%Y/%m/%d%z").date(), []).append(average)

    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for number, (day, hourly) in enumerate(days.items()):
        # The horizontal axis counts days.
        hours = [day.toordinal() + average.hour / 24 for average in hourly]
        temperatures = [average.average_temp_f for average in hourly]
        mean = sum(temperatures) / len(temperatures)
        labels = ("", "") if number else ("average of the hour", "average of the day")
        axes.bar(hours, temperatures, 1 / 24, align="edge", color="#e9c46a", label=labels[0])
        axes.plot([hours[0], hours[-1] + 1 / 24], [mean, mean], color="#264653", linewidth=2.5, label=labels[1])

    axes.set_title(f"{common.AVERAGES}, the last {len(averages)} hours", loc="left", fontweight="bold")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    axes.set(ylim=(0, 100), ylabel="°F")
    axes.margins(x=0)
    # A label for each midnight in sight, but not more than a dozen.
    midnights = [day for day, hourly in days.items() if hourly[0].hour == 0][:: 1 + len(days) // 12]
    axes.set_xticks([day.toordinal() for day in midnights], [f"{day:%b %d}" for day in midnights])
    axes.grid(color="#bbbbbb", linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


def main() -> int:
    """Show the tables, draw the plot."""
    parser = common.argument_parser(__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the averages into this file, such as a.png")
    arguments = parser.parse_args()
    from rich.console import Console  # noqa: PLC0415

    with common.connected(arguments.redis_url) as (client, _):
        states = [saved_state(client, key) for key in (common.AGGREGATING_STATE, common.AVERAGES_STATE)]
        console = Console()
        for table in (partitions(client), latest_averages(client), *states):
            console.print(table, "")
        entries = cast("RawEntries", client.xrange(common.AVERAGES))
    if arguments.plot is None:
        return 0
    if not entries:
        common.note("There are no averages to draw: run consumers.py first.")
        return 1
    try:
        plot([AVERAGES_CODEC.decode(fields) for _, fields in entries], arguments.plot)
    except (OSError, ValueError) as error:
        common.note(f"error: {arguments.plot} cannot be drawn: {error}")
        return 1
    print(f"Plot: {arguments.plot}")
    return 0


if __name__ == "__main__":
    common.run(main)
