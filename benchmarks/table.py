"""Results for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.contest import Result

_HEAD = ("contest", "rival", "ours/s", "rival/s", "our CPU", "rival's", "ratio", "rounds", "promised", "")


def _row(result: Result) -> tuple[str, ...]:
    return (
        result.title,
        result.rival,
        f"{result.our_rate:,.0f}",
        f"{result.rival_rate:,.0f}",
        f"{result.our_cpu * 1e6:.2f} us",
        f"{result.rival_cpu * 1e6:.2f} us",
        f"{result.ratio:.2f}",
        f"{result.lowest:.2f} to {result.highest:.2f}",
        f"{result.promised:g}",
        "kept" if result.kept else "MISSED",
    )


def show(results: Iterable[Result]) -> None:
    """Print the contests as a table."""
    show_rows(_HEAD, [_row(result) for result in results])


def show_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown, so that it can be kept."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for line in (head, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("|", " | ".join(cells), "|", flush=True)
