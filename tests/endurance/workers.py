"""The lives of `working`, as its tests see them: started, killed, and what they wrote down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis

from tests.endurance.working import GROUP, Plan

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Start:
    """That a handler was started: by which life, for which number, with which attempt and ID."""

    life: int
    number: int
    attempt: int
    entry_id: str


class Workers:
    """`working`, which has imported everything and starts a life in a few ms."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self._process = process
        self._directory = directory

    def start(self, name: str, concurrency: int = 1) -> int:
        """Begin a life."""
        return int(self._tell(f"start {name} {concurrency}"))

    def kill(self, life: int) -> int:
        """End it as a crash would; its exit code, if it was not reaped before."""
        return int(self._tell(f"kill {life}") or 0)

    def stop(self, life: int) -> int:
        """Let it finish what it has in hand; its exit code."""
        return int(self._tell(f"stop {life}") or 0)

    def ended(self) -> set[int]:
        """The lives that ended by themselves since this was asked last."""
        return {int(life) for life in self._tell("ended").split()}

    @property
    def started(self) -> list[Start]:
        """Every start of a handler, of each life in order."""
        return [
            Start(life, int(words[0]), int(words[1]), words[2])
            for life, words in self._lines("started")
            if len(words) == 3
        ]

    @property
    def handled(self) -> set[int]:
        """Every number whose handler came to its end."""
        return {int(words[0]) for _, words in self._lines("handled")}

    def told(self, life: int, event: str) -> list[str]:
        """What a life's observer was told."""
        return [words[1] for each, words in self._lines("told") if each == life and words[0] == event]

    def _lines(self, kind: str) -> Iterator[tuple[int, list[str]]]:
        for path in self._directory.glob(f"*.{kind}"):
            # The last line may be half written.
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                yield int(path.stem), line.split()

    def _tell(self, order: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the program has ended"
        return answer.strip()


@contextmanager
def workers(plan: Plan) -> Iterator[Workers]:
    """Start the program; at the end every life is killed."""
    path = Path(plan.directory) / "plan.json"
    path.write_text(plan.written(), encoding="utf-8")
    command = [sys.executable, "-m", "tests.endurance.working", str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        yield Workers(process, Path(plan.directory))


def write(client: redis.Redis, start: int, stop: int) -> None:
    """Append numbers to the source."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(start, stop):
            pipe.xadd("in", {"n": number})
        pipe.execute()


def pending(client: redis.Redis) -> dict[str, tuple[str, int]]:
    """What is pending: by ID its holder and how often it was delivered."""
    reply = cast("list[Any]", client.xpending_range("in", GROUP, "-", "+", 10_000))
    return {each["message_id"].decode(): (each["consumer"].decode(), each["times_delivered"]) for each in reply}


def settled(client: redis.Redis) -> Callable[[], bool]:
    """A condition: everything was handed out, and nothing is pending."""

    def found() -> bool:
        newest = cast("Any", client.xinfo_stream("in"))["last-generated-id"]
        cursors = [each["last-delivered-id"] for each in cast("Any", client.xinfo_groups("in"))]
        # In this order: what is handed out in between is pending.
        return cursors == [newest] and cast("Any", client.xpending("in", GROUP))["pending"] == 0

    return found


def buried(client: redis.Redis) -> dict[int, str]:
    """The dead letters: number and cause."""
    reply = cast("list[Any]", client.xrange("{in}:dead-letters"))
    return {int(fields[b"n"]): fields[b"streamkit:cause"].decode() for _, fields in reply}
