"""What one turn of a consumer leaves to the next: acks that are not sent, batches not begun, lanes that are away."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, cast

import pytest
import redis.asyncio

from streamkit._core.errors import ServerUnavailable
from streamkit.asyncio import Delivery, GroupConsumer, Observer, PartitionedStream, Retry, RetryPolicy, Stream
from streamkit.asyncio.consuming import Consuming
from streamkit.asyncio.lanes import Lane
from streamkit.asyncio.leasing import Leases
from streamkit.asyncio.links import Link, Wire
from streamkit.asyncio.settling import AFTER_AWAY, Settling
from streamkit.asyncio.taking import Taking
from tests.integration.asyncio._failing import LONG
from tests.integration.asyncio._groups import GROUP, LEASE, Fields, Seen, consumer_of, consuming, of_size, settled
from tests.integration.asyncio._readers import told
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

SLOW = 1.7 * LEASE.total_seconds()
"""Seconds in which a peer takes over what nobody keeps fresh."""
ADD = """for n, key in ipairs(KEYS) do
  redis.call('XADD', key, '*', 'n', n - 1)
end"""


# Acks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [False, True])
async def test_an_ack_does_not_wait_for_the_handler_of_another_key(
    client: redis.asyncio.Redis,
    name: str,
    batches: bool,  # noqa: FBT001
) -> None:
    keys = [f"{name}:{n}" for n in range(3)]
    recorder, peer = Recorder(), Seen()

    async def dawdle(_: Delivery[Fields]) -> None:
        await pause(SLOW)

    async def each_of(deliveries: Any) -> None:
        for delivery in deliveries:
            await seen(delivery)

    seen, consumer = Seen(dawdle), consumer_of(client, keys, "a", observer=recorder)
    run = partial(consumer.run_batches, each_of) if batches else partial(consumer.run, seen)
    async with running(run, stop=consumer.stop):
        await until(partial(waits, client))
        # One read that waits for all of them brings all three.
        await cast("Any", client).eval(ADD, len(keys), *keys)
        await until(of_size(seen.tries, 1))
        async with consuming(consumer_of(client, keys, "b"), peer):
            for key in keys:
                await until(settled(client, key))
    assert sorted(seen.tries + peer.tries) == [(0, 1), (1, 1), (2, 1)]
    assert recorder.of("on_lease_lost") == []


async def waits(client: redis.asyncio.Redis) -> bool:
    """Whether a consumer waits for entries."""
    clients: Any = await cast("Any", client).client_list()
    return any(each["cmd"] == "xreadgroup" and "b" in each["flags"] for each in clients)


async def test_an_ack_does_not_wait_for_a_retry(client: redis.asyncio.Redis, name: str) -> None:
    begun, peer, recorder = list[bool](), Seen(), Recorder()

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "1":
            await pause(0.05)  # the retry of the other is due by then
        elif delivery.attempt == 1:
            raise Retry("once more")
        else:
            begun.append(True)
            await pause(SLOW)

    seen = Seen(handle)
    async with consuming(consumer_of(client, name, "a", observer=recorder), seen):
        await Stream(client, name).append_many({"n": n} for n in (0, 1))
        await until(lambda: bool(begun))
        async with consuming(consumer_of(client, name, "b"), peer):
            await until(settled(client, name))
    assert seen.tries == [(0, 1), (1, 1), (0, 2)]
    assert peer.tries == recorder.of("on_lease_lost") == []


# Batches ------------------------------------------------------------------------------------------------------------


async def test_a_batch_in_hand_is_handled_when_what_follows_cannot_be_sent(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, armed = list[int](), list[int]()
    next_ready, flush = Taking.next_ready, Wire.flush

    def watched(taking: Taking) -> Any:
        batch = next_ready(taking)
        if batch is not None and len(batch.ids) > 1 and not failed:
            armed.append(len(batch.ids))
        return batch

    async def failing(wire: Wire) -> None:
        if armed:
            failed.append(armed.pop())
            msg = "cut"
            raise ServerUnavailable(msg)
        await flush(wire)

    monkeypatch.setattr(Taking, "next_ready", watched)
    seen, recorder = Seen(), Recorder()
    await Stream(client, name).append_many({"n": n} for n in range(200))
    monkeypatch.setattr(Wire, "flush", failing)
    async with consuming(consumer_of(client, name, observer=recorder, min_idle_time=LONG), seen):
        await until(told(recorder, "on_available"))
        await until(of_size(seen.handled, 200))
        monkeypatch.setattr(Wire, "flush", flush)
        await until(settled(client, name))
    assert len(failed) == 1
    assert seen.tries == [(n, 1) for n in range(200)]


# Lanes that are away ------------------------------------------------------------------------------------------------


class Looked(Lane):
    """A lane that is looked at a few times only: more often would be without end."""

    looks = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "away":
            Looked.looks += 1
            assert Looked.looks < 100
        return super().__getattribute__(name)


@pytest.mark.parametrize("left", [-5.0, 0.3], ids=["over", "not over"])
def test_a_retry_waits_for_a_lane_that_is_away_whether_its_while_is_over_or_not(left: float) -> None:
    unused: Any = None
    leases = Leases(unused, 60.0)
    settling = Settling(leases, RetryPolicy(), Observer(), delete=False)
    away, there = (Looked(unused, unused, None, unused, text=True) for _ in range(2))
    settling.defer(away, "1-0", -1.0)
    settling.defer(there, "2-0", -1.0)
    settling.defer(away, "3-0", -1.0)
    now = time.monotonic()
    away.away, Looked.looks = now + left, 0
    assert settling.due() == (there, "2-0")
    assert settling.due() is None
    assert settling.waiting == 2
    assert AFTER_AWAY / 2 < settling.until_due(60.0) <= max(0.0, left) + AFTER_AWAY
    assert leases.held(away) == ["1-0", "3-0"]
    # A look between two turns finds that it is over.
    away.away = 0.0
    time.sleep(max(0.0, left) + AFTER_AWAY)
    assert [settling.due(), settling.due(), settling.due()] == [(away, "1-0"), (away, "3-0"), None]


# Nothing to wait for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_consumer_waits_for_the_first_partition_at_rest(
    client: redis.asyncio.Redis, name: str, concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, between = list[float](), Consuming.between

    async def counted(consuming: Consuming, link: Link) -> None:
        turns.append(time.monotonic())
        await between(consuming, link)

    monkeypatch.setattr(Consuming, "between", counted)
    stream, seen = PartitionedStream(client, name), Seen()
    consumer = GroupConsumer(client, stream, GROUP, "a")
    async with running(partial(consumer.run, seen, concurrency=concurrency), stop=consumer.stop):
        await until(lambda: len(turns) > 5)
        assert turns[5] - turns[0] > 0.04  # without a pause between them it would be a thousandth of that
        await stream.append({"n": 0})
        await until(of_size(seen.handled, 1))
    assert seen.tries == [(0, 1)]
