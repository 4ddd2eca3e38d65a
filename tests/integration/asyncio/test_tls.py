"""Everything works through `rediss://`, with a CA of one's own and verification on; a wrong one is told at once."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import trustme

from streamkit.asyncio import (
    CheckpointedReader,
    DeadLetterQueue,
    Delivery,
    GroupConsumer,
    PartitionedStream,
    Reject,
    Replayer,
    ServerUnavailable,
    Stream,
)
from tests.integration.asyncio._groups import GROUP, Seen, consuming, letters_in, settled
from tests.integration.asyncio._readers import numbers_in, read, told
from tests.integration.asyncio._replays import follow, numbers_of
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.proxy import HOST
from tests.integration.recording import Recorder
from tests.integration.tls import tls_in_front_of

pytestmark = [pytest.mark.steady, pytest.mark.usefixtures("short_waits")]

MANY = 20_000
LEASE = timedelta(seconds=2)
AT_ONCE = 5.0
"""Seconds within which a certificate that nobody trusts is told: waiting would not mend it."""


@dataclass(frozen=True)
class Secure:
    """A server behind TLS, the file with the CA of its certificate, and one with another CA."""

    url: str
    authority: Path
    other: Path

    def client(self, *, trusts: Path | None = None) -> redis.asyncio.Redis:
        """A client that verifies certificate and name."""
        return redis.asyncio.Redis.from_url(
            self.url,
            ssl_ca_certs=str(trusts or self.authority),
            ssl_cert_reqs="required",
            ssl_check_hostname=True,
        )


@pytest.fixture
def secure(redis_url: str, tmp_path: Path) -> Iterator[Secure]:
    """The server of all tests, behind TLS."""
    paths = [tmp_path / "authority.pem", tmp_path / "other.pem"]
    authorities = [trustme.CA(), trustme.CA()]
    for authority, path in zip(authorities, paths, strict=True):
        authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authorities[0].issue_cert(HOST).configure_cert(context)
    with tls_in_front_of(redis_url, context) as url:
        yield Secure(url, *paths)


async def test_streams_and_readers(client: redis.asyncio.Redis, secure: Secure, name: str) -> None:
    async with secure.client() as encrypted:
        days = PartitionedStream(encrypted, name)
        await days.append({"n": 0}, idempotency_key="first")
        assert await days.append_many({"n": n} for n in range(1, MANY)) == MANY - 1
        assert await days.length() == MANY
        reader: Any = CheckpointedReader(encrypted, days, f"{name}:state", state={"seen": 0}, follow=False)
        numbers: list[int] = []
        async with reader:
            async for entry in reader:
                numbers.append(int(entry.value["n"]))
                reader.state["seen"] += 1
                if numbers[-1] % 100 == 0:
                    reader.emit(f"{name}:out", entry.value)
        assert numbers == list(range(MANY))
        assert (await reader.saved()).state == {"seen": MANY}
    assert await numbers_in(client, f"{name}:out") == list(range(0, MANY, 100))


async def test_a_reader_that_waits(secure: Secure, name: str) -> None:
    async with secure.client() as encrypted:
        stream, recorder = Stream(encrypted, name), Recorder()
        reader = CheckpointedReader(encrypted, stream, f"{name}:state", observer=recorder)
        numbers: list[int] = []

        async def collect() -> None:
            async with reader:
                async for entry in reader:
                    numbers.append(int(entry.value["n"]))  # noqa: PERF401 - seen one by one

        async with running(collect, stop=reader.stop):
            await until(told(recorder, "on_waiting"))
            await stream.append({"n": 1})
            await until(lambda: numbers == [1])
        assert recorder.of("on_unavailable") == []


async def test_consumers_and_their_heartbeat(client: redis.asyncio.Redis, secure: Secure, name: str) -> None:
    """A handler that takes longer than the lease keeps it; a peer that looks for what is abandoned finds nothing."""
    recorder, attempts = Recorder(), list[tuple[int, int]]()
    async with secure.client() as encrypted:
        await Stream(encrypted, name).append_many({"n": n} for n in range(3))

        async def handle(delivery: Delivery) -> None:
            number = int(delivery.value["n"])
            attempts.append((number, delivery.attempt))
            if number == 1:
                raise Reject("no")
            if number == 0:
                await pause(1.5 * LEASE.total_seconds())
            delivery.emit(f"{name}:out", delivery.value)

        consumers = [
            GroupConsumer(encrypted, name, GROUP, consumer, min_idle_time=LEASE, observer=recorder)
            for consumer in ("a", "b")
        ]

        async def run() -> None:
            await consumers[0].run(handle, concurrency=3)

        async with running(run, stop=consumers[0].stop), consuming(consumers[1], handle):
            await until(settled(client, name))
        assert sorted(attempts) == [(0, 1), (1, 1), (2, 1)]
        assert await consumers[0].lag() == 0
        assert recorder.of("on_lease_lost") == recorder.of("on_unavailable") == []
    assert sorted(await numbers_in(client, f"{name}:out")) == [0, 2]
    assert [letter.fields[b"n"] for letter in await letters_in(client, name)] == [b"1"]


async def test_dead_letters(client: redis.asyncio.Redis, secure: Secure, name: str) -> None:
    async with secure.client() as encrypted:
        await Stream(encrypted, name).append_many({"n": n} for n in range(300))
        async with GroupConsumer(encrypted, name, GROUP, observer=Recorder()) as consumer:
            while deliveries := await consumer.read():
                for delivery in deliveries:
                    await consumer.reject(delivery, "no")
        letters = DeadLetterQueue(encrypted, f"{{{name}}}:dead-letters")
        found = [letter.id async for letter in letters]
        assert len(found) == 300
        assert await letters.discard(found[:100]) == 100
        assert await letters.redrive() == 200
        assert await letters.length() == 0
    assert (await numbers_in(client, name))[300:] == list(range(100, 300))


async def test_history_and_a_live_view(client: redis.asyncio.Redis, secure: Secure, name: str) -> None:
    recorder = Recorder()
    async with secure.client() as encrypted:
        stream = Stream(encrypted, name)
        await stream.append_many({"n": n} for n in range(MANY))
        replayer = Replayer(encrypted, stream, observer=recorder)
        assert await numbers_of(replayer.entries(reverse=True)) == list(range(MANY))[::-1]
        assert await replayer.copy(f"{name}:copy") == MANY
        live: list[int] = []
        async with running(follow, replayer, live, stop=replayer.stop):
            await until(told(recorder, "on_waiting"))
            await stream.append({"n": 77})
            await until(lambda: live == [77])
    assert await numbers_in(client, f"{name}:copy") == list(range(MANY))


async def append(client: redis.asyncio.Redis, name: str) -> None:
    await Stream(client, name).append({"n": 1})


async def append_many(client: redis.asyncio.Redis, name: str) -> None:
    await Stream(client, name).append_many([{"n": 1}])


async def read_all(client: redis.asyncio.Redis, name: str) -> None:
    await read(CheckpointedReader(client, name, f"{name}:state", follow=False))


async def consume(client: redis.asyncio.Redis, name: str) -> None:
    await GroupConsumer(client, name, GROUP).run(Seen())


async def replay(client: redis.asyncio.Redis, name: str) -> None:
    await numbers_of(Replayer(client, name).entries())


async def view(client: redis.asyncio.Redis, name: str) -> None:
    await follow(Replayer(client, name), [])


async def look_at_letters(client: redis.asyncio.Redis, name: str) -> None:
    await DeadLetterQueue(client, name).length()


@pytest.mark.parametrize("contact", [append, append_many, read_all, consume, replay, view, look_at_letters])
async def test_a_certificate_that_is_not_trusted_is_told_at_once(
    secure: Secure, name: str, contact: Callable[[redis.asyncio.Redis, str], Awaitable[None]]
) -> None:
    """Even where a server that is away is waited for."""
    async with secure.client(trusts=secure.other) as client:
        began = time.monotonic()
        with pytest.raises(ServerUnavailable, match=r"certificate is not trusted .*CERTIFICATE_VERIFY_FAILED"):
            await contact(client, name)
        assert time.monotonic() - began < AT_ONCE
