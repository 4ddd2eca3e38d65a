"""The contests in appending, and what must stand on the server after each."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import cast

import redis
import redis.asyncio

from benchmarks.appending import ours, rivals, rivals_asyncio
from benchmarks.contest import Contest, Contestant, Rival
from benchmarks.names import RETENTION, TEMPERATURES, clear, partitions
from benchmarks.readings import Readings


class Check:
    """Every contestant leaves the same days, of the same lengths, with the same expiry and the same entries."""

    def __init__(self, client: redis.Redis, readings: Readings) -> None:
        self._client = client
        self._lengths: dict[str, int] = {}
        self._expiries: dict[str, int] = {}
        wanted = hashlib.sha256()
        for value, time in zip(readings.values, readings.times, strict=True):
            key = f"{TEMPERATURES}:{time:%Y%m%d}"
            self._lengths[key] = self._lengths.get(key, 0) + 1
            self._expiries[key] = int((time + RETENTION).timestamp())
            wanted.update(f"{int(time.timestamp())}000-0 {value}".encode())
        self._wanted = wanted.digest()

    def __call__(self, thorough: bool) -> None:  # noqa: FBT001 - as Contestant.check is called
        keys = partitions(self._client)
        lengths = {key: int(self._client.xlen(key)) for key in keys}
        assert lengths == self._lengths, f"{lengths} instead of {self._lengths}"
        expiries = {key: int(self._client.expiretime(key)) for key in keys}
        assert expiries == self._expiries, f"expiries {expiries} instead of {self._expiries}"
        if thorough:
            found = hashlib.sha256()
            for key in keys:
                first = "-"
                while page := cast("list[tuple[str, dict[str, str]]]", self._client.xrange(key, first, count=5000)):
                    for entry_id, fields in page:
                        found.update(f"{entry_id} {fields}".encode())
                    first = f"({page[-1][0]}"
            assert found.digest() == self._wanted, "the entries are not those that were to be written"


def synchronous(client: redis.Redis, readings: Readings) -> Contest:
    """append_many against both pipelines."""
    check = Check(client, readings)

    def contestant(name: str, run: Callable[[redis.Redis, Readings], None]) -> Contestant:
        return Contestant(name, lambda: run(client, readings), len(readings), lambda: clear(client), check)

    return Contest(
        title="append_many",
        ours=contestant("streamkit", ours.append),
        rivals=(
            Rival(contestant("pipeline of 1000 XADD, one EXPIREAT", rivals.append_expiring_batches), 2.5),
            Rival(contestant("pipeline of 1000 XADD + EXPIREAT", rivals.append_expiring_readings), 5.0),
        ),
    )


def asynchronous(
    client: redis.Redis, loop: asyncio.AbstractEventLoop, own: redis.asyncio.Redis, readings: Readings
) -> Contest:
    """The same in one event loop; the plain client clears and checks."""
    check = Check(client, readings)
    return Contest(
        title="asyncio: append_many",
        ours=Contestant(
            "streamkit.asyncio",
            lambda: loop.run_until_complete(ours.append_async(own, readings)),
            len(readings),
            lambda: clear(client),
            check,
        ),
        rivals=(
            Rival(
                Contestant(
                    "pipeline of 1000 XADD, one EXPIREAT",
                    lambda: loop.run_until_complete(rivals_asyncio.append_expiring_batches(own, readings)),
                    len(readings),
                    lambda: clear(client),
                    check,
                ),
                1.0,
            ),
        ),
    )
