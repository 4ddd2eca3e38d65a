# Generated from tests/integration/asyncio/test_tls.py by tools/generate_sync.py: do not edit.
"""Everything works through `rediss://`, with a CA of one's own and verification on; a wrong one is told at once."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from streamkit import (
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
from tests.integration._sync._groups import GROUP, Seen, consuming, letters_in, settled
from tests.integration._sync._readers import numbers_in, read, told
from tests.integration._sync._replays import follow, numbers_of
from tests.integration._sync._runtime import pause, running, until
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

    def client(self, *, trusts: Path | None = None) -> redis.Redis:
        """A client that verifies certificate and name."""
        return redis.Redis.from_url(
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


def test_streams_and_readers(client: redis.Redis, secure: Secure, name: str) -> None:
    with secure.client() as encrypted:
        days = PartitionedStream(encrypted, name)
        days.append({"n": 0}, idempotency_key="first")
        assert days.append_many({"n": n} for n in range(1, MANY)) == MANY - 1
        assert days.length() == MANY
        reader: Any = CheckpointedReader(encrypted, days, f"{name}:state", state={"seen": 0}, follow=False)
        numbers: list[int] = []
        with reader:
            for entry in reader:
                numbers.append(int(entry.value["n"]))
                reader.state["seen"] += 1
                if numbers[-1] % 100 == 0:
                    reader.emit(f"{name}:out", entry.value)
        assert numbers == list(range(MANY))
        assert (reader.saved()).state == {"seen": MANY}
    assert numbers_in(client, f"{name}:out") == list(range(0, MANY, 100))


def test_a_reader_that_waits(secure: Secure, name: str) -> None:
    with secure.client() as encrypted:
        stream, recorder = Stream(encrypted, name), Recorder()
        reader = CheckpointedReader(encrypted, stream, f"{name}:state", observer=recorder)
        numbers: list[int] = []

        def collect() -> None:
            with reader:
                for entry in reader:
                    numbers.append(int(entry.value["n"]))  # noqa: PERF401 - seen one by one

        with running(collect, stop=reader.stop):
            until(told(recorder, "on_waiting"))
            stream.append({"n": 1})
            until(lambda: numbers == [1])
        assert recorder.of("on_unavailable") == []


def test_consumers_and_their_heartbeat(client: redis.Redis, secure: Secure, name: str) -> None:
    """A handler that takes longer than the lease keeps it; a peer that looks for what is abandoned finds nothing."""
    recorder, attempts = Recorder(), list[tuple[int, int]]()
    with secure.client() as encrypted:
        Stream(encrypted, name).append_many({"n": n} for n in range(3))

        def handle(delivery: Delivery) -> None:
            number = int(delivery.value["n"])
            attempts.append((number, delivery.attempt))
            if number == 1:
                raise Reject("no")
            if number == 0:
                pause(1.5 * LEASE.total_seconds())
            delivery.emit(f"{name}:out", delivery.value)

        consumers = [
            GroupConsumer(encrypted, name, GROUP, consumer, min_idle_time=LEASE, observer=recorder)
            for consumer in ("a", "b")
        ]

        def run() -> None:
            consumers[0].run(handle, concurrency=3)

        with running(run, stop=consumers[0].stop), consuming(consumers[1], handle):
            until(settled(client, name))
        assert sorted(attempts) == [(0, 1), (1, 1), (2, 1)]
        assert consumers[0].lag() == 0
        assert recorder.of("on_lease_lost") == recorder.of("on_unavailable") == []
    assert sorted(numbers_in(client, f"{name}:out")) == [0, 2]
    assert [letter.fields[b"n"] for letter in letters_in(client, name)] == [b"1"]


def test_dead_letters(client: redis.Redis, secure: Secure, name: str) -> None:
    with secure.client() as encrypted:
        Stream(encrypted, name).append_many({"n": n} for n in range(300))
        with GroupConsumer(encrypted, name, GROUP, observer=Recorder()) as consumer:
            while deliveries := consumer.read():
                for delivery in deliveries:
                    consumer.reject(delivery, "no")
        letters = DeadLetterQueue(encrypted, f"{{{name}}}:dead-letters")
        found = [letter.id for letter in letters]
        assert len(found) == 300
        assert letters.discard(found[:100]) == 100
        assert letters.redrive() == 200
        assert letters.length() == 0
    assert (numbers_in(client, name))[300:] == list(range(100, 300))


def test_history_and_a_live_view(client: redis.Redis, secure: Secure, name: str) -> None:
    recorder = Recorder()
    with secure.client() as encrypted:
        stream = Stream(encrypted, name)
        stream.append_many({"n": n} for n in range(MANY))
        replayer = Replayer(encrypted, stream, observer=recorder)
        assert numbers_of(replayer.entries(reverse=True)) == list(range(MANY))[::-1]
        assert replayer.copy(f"{name}:copy") == MANY
        live: list[int] = []
        with running(follow, replayer, live, stop=replayer.stop):
            until(told(recorder, "on_waiting"))
            stream.append({"n": 77})
            until(lambda: live == [77])
    assert numbers_in(client, f"{name}:copy") == list(range(MANY))


def append(client: redis.Redis, name: str) -> None:
    Stream(client, name).append({"n": 1})


def append_many(client: redis.Redis, name: str) -> None:
    Stream(client, name).append_many([{"n": 1}])


def read_all(client: redis.Redis, name: str) -> None:
    read(CheckpointedReader(client, name, f"{name}:state", follow=False))


def consume(client: redis.Redis, name: str) -> None:
    GroupConsumer(client, name, GROUP).run(Seen())


def replay(client: redis.Redis, name: str) -> None:
    numbers_of(Replayer(client, name).entries())


def view(client: redis.Redis, name: str) -> None:
    follow(Replayer(client, name), [])


def look_at_letters(client: redis.Redis, name: str) -> None:
    DeadLetterQueue(client, name).length()


@pytest.mark.parametrize("contact", [append, append_many, read_all, consume, replay, view, look_at_letters])
def test_a_certificate_that_is_not_trusted_is_told_at_once(
    secure: Secure, name: str, contact: Callable[[redis.Redis, str], None]
) -> None:
    """Even where a server that is away is waited for."""
    with secure.client(trusts=secure.other) as client:
        began = time.monotonic()
        with pytest.raises(ServerUnavailable, match=r"certificate is not trusted .*CERTIFICATE_VERIFY_FAILED"):
            contact(client, name)
        assert time.monotonic() - began < AT_ONCE
