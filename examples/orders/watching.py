"""What the page shows: a snapshot twice a second, to everybody who listens."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from redis import RedisError

from examples.orders.ending import end
from streamkit import StreamkitError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from examples.orders.demo import Demo
    from examples.orders.team import Team
    from streamkit import DeadLetter, Entry

EVERY = 0.5
KEPT = 120
"""Samples in the chart: a minute."""
SHOWN = 25
"""Rows of a table, at most."""


def entry_json(entry: Entry[dict[str, str]]) -> dict[str, Any]:
    """An entry for the page."""
    return {"id": str(entry.id), "fields": entry.value}


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter for the page."""
    fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in letter.fields.items()}
    why = letter.error or letter.reason
    if letter.count:
        why = f"{letter.count} events from {letter.first} to {letter.last}"
    return {
        "id": str(letter.id),
        "entry_id": "" if letter.entry_id is None else str(letter.entry_id),
        "cause": letter.cause.value,
        "why": f"{letter.error_type}: {why}" if letter.error_type else why,
        "group": letter.group or "",
        "consumer": letter.consumer or "",
        "attempt": letter.attempt,
        "redrives": letter.redrives,
        "fields": fields,
    }


class Watch:
    """Takes the snapshots, and keeps a minute of samples for the chart; works while entered."""

    def __init__(self, demo: Demo) -> None:
        self.latest = "{}"
        self._demo = demo
        self._samples: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._before: tuple[float, int, int] | None = None
        self._news = asyncio.Condition()
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()
        await end(self._task)

    async def end(self) -> None:
        """Send everybody who listens home."""
        self._ended = True
        async with self._news:
            self._news.notify_all()

    async def stream(self) -> AsyncIterator[str]:
        """Each snapshot as a server-sent event, from the latest on."""
        yield "retry: 1000\n\n"
        while not self._ended:
            yield f"data: {self.latest}\n\n"
            async with self._news:
                if not self._ended:
                    await self._news.wait()

    async def _watch(self) -> None:
        while True:
            try:
                snapshot = await self.snapshot()
                self._sample(snapshot["groups"])
                snapshot["samples"] = list(self._samples)
            except (StreamkitError, RedisError, OSError) as error:
                snapshot = {"error": f"The server cannot be asked: {error}"}
            self.latest = json.dumps(snapshot)
            async with self._news:
                self._news.notify_all()
            await asyncio.sleep(EVERY)

    async def snapshot(self) -> dict[str, Any]:
        """What there is to see at this moment."""
        demo = self._demo
        info = await demo.stream.info()
        tail = [each async for each in demo.history.entries(limit=SHOWN, reverse=True)]
        letters = [each async for each in demo.dead_letters.letters(limit=SHOWN, reverse=True)]
        groups = [await self._group(team) for team in demo.teams.values()]
        clock = asyncio.get_running_loop()
        return {
            "stream": {
                "key": info.key,
                "length": info.length,
                "first": str(info.first_id or ""),
                "last": str(info.last_id) if info.entries_added and info.last_id else "",
                "maxlen": demo.settings.maxlen,
            },
            "tally": asdict(demo.tally),
            "rate": demo.producer.rate,
            "mended": demo.work.mended,
            "turnover": str(demo.work.turnover),
            "timer": {
                "on": demo.sweeping,
                "due_s": max(0.0, demo.sweep_due - clock.time()),
                "every_s": demo.settings.sweep_every.total_seconds(),
                "min_idle_s": demo.settings.min_idle_time.total_seconds(),
            },
            "groups": groups,
            "tail": [entry_json(each) for each in tail],
            "dead": {"length": await demo.dead_letters.length(), "letters": [letter_json(each) for each in letters]},
            "log": [asdict(each) for each in demo.log.lines],
            "samples": list(self._samples),
        }

    async def _group(self, team: Team) -> dict[str, Any]:
        members = await team.members()
        pending: list[dict[str, Any]] = []
        async for each in team.outside.pending():
            worker = team.workers.get(each.consumer)
            retry = None if worker is None else worker.narrator.retries.get(str(each.id))
            pending.append(
                {
                    "id": str(each.id),
                    "consumer": each.consumer,
                    "idle_ms": int(each.idle.total_seconds() * 1000),
                    "deliveries": each.deliveries,
                    "retry_s": None if retry is None else max(0.0, retry.due - time.monotonic()),
                    "error": "" if retry is None else retry.error,
                }
            )
            if len(pending) >= SHOWN:
                break
        return {
            "name": team.group,
            "lag": await team.outside.lag(),
            "pending": sum(member.pending for member in members),
            "consumers": [asdict(member) for member in members],
            "entries": pending,
        }

    def _sample(self, groups: list[dict[str, Any]]) -> None:
        tally, now = self._demo.tally, time.monotonic()
        then, produced, acked = self._before or (now, tally.produced, tally.acked)
        self._before = (now, tally.produced, tally.acked)
        seconds = max(now - then, 0.001)
        sample: dict[str, Any] = {
            # A reset sets the counters back.
            "produced": max(0.0, round((tally.produced - produced) / seconds, 1)),
            "acked": max(0.0, round((tally.acked - acked) / seconds, 1)),
        }
        for group in groups:
            sample[f"lag:{group['name']}"] = group["lag"]
            sample[f"pending:{group['name']}"] = group["pending"]
        self._samples.append(sample)
