"""A progress bar with rows per second; plain lines where the output is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

STEP = 1000
"""Rows between two looks at the clock."""


def tracked(rows: Iterable[T], total: int) -> Iterator[T]:
    """The rows as they come, with the progress shown on the way."""
    return _with_bar(rows, total) if sys.stdout.isatty() else _with_lines(rows, total)


def _with_bar(rows: Iterable[T], total: int) -> Iterator[T]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    speed = TextColumn("{task.fields[speed]:>9,.0f} rows/s")
    with Progress(BarColumn(None), TaskProgressColumn(), MofNCompleteColumn(), speed, expand=True) as progress:
        task = progress.add_task("", total=total, speed=0)
        started = time.monotonic()
        for number, row in enumerate(rows, 1):
            yield row
            if number % STEP == 0 or number == total:
                progress.update(task, completed=number, speed=number / (time.monotonic() - started))


def _with_lines(rows: Iterable[T], total: int) -> Iterator[T]:
    started = told = time.monotonic()
    for number, row in enumerate(rows, 1):
        yield row
        if number == total or (number % STEP == 0 and time.monotonic() >= told + 1):
            told = time.monotonic()
            print(f"{number:,} of {total:,} rows, {number / (told - started):,.0f} rows/s", flush=True)
