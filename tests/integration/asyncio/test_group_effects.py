"""What handlers emit and execute: in the step that acks their entry, or not at all; one entry's trouble is its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    CappedStream,
    Cause,
    Delivery,
    EffectFailed,
    EncodeError,
    EntryId,
    GroupConsumer,
    InvalidArgument,
    JsonCodec,
    PartitionedStream,
    Retry,
    Stream,
)
from streamkit.testing import redis_server
from tests.integration.asyncio._groups import (
    GROUP,
    LEASE,
    Fields,
    Seen,
    consuming,
    handle_all,
    letters_in,
    pending_in,
    settled,
)
from tests.integration.asyncio._readers import SECONDS, entries_in, numbers_in, raw, told, write
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


async def test_nothing_is_visible_before_the_ack_and_everything_with_it(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)
    consumer = GroupConsumer(client, name, GROUP, "a")
    async with consumer:
        for delivery in await consumer.read():
            delivery.emit(f"{name}:out", delivery.value)
            delivery.execute("HINCRBY", f"{name}:totals", "seen", 1)
            assert await client.exists(f"{name}:out", f"{name}:totals") == int(delivery.value["n"] == "2") * 2
            await consumer.ack(delivery)
            assert await numbers_in(client, f"{name}:out") == list(range(1, int(delivery.value["n"]) + 1))
    assert await client.hgetall(f"{name}:totals") == {b"seen": b"2"}
    assert await pending_in(client, name) == []


async def test_to_every_kind_of_stream(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(10))
    plain = Stream(client, f"{name}:json", codec=JsonCodec(loads=int))
    capped = CappedStream(client, f"{name}:capped", maxlen=3, approximate=False)
    days = PartitionedStream(client, f"{name}:days", retention=timedelta(days=3))
    at = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=1)

    async def handle(delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        delivery.emit(f"{name}:key", {"n": number, "half": number / 2, "raw": b"\xff"})
        delivery.emit(plain, number)
        delivery.emit(capped, delivery.value)
        delivery.emit(days, delivery.value)
        delivery.emit(f"{name}:at", delivery.value, at=at)
        delivery.emit(f"{name}:id", delivery.value, at=EntryId(7, number))

    await handle_all(client, name, handle)
    assert await numbers_in(client, f"{name}:key") == list(range(10))
    assert (await entries_in(client, f"{name}:key"))[-1][1] == {b"n": b"9", b"half": b"4.5", b"raw": b"\xff"}
    assert [fields[b"data"] for _, fields in await entries_in(client, f"{name}:json")] == [b"%d" % n for n in range(10)]
    assert await numbers_in(client, f"{name}:capped") == [7, 8, 9]
    (key,) = await days.keys()
    assert await numbers_in(client, key) == list(range(10))
    newest, _ = (await entries_in(client, key))[-1]
    assert await days.expires_at(key) == newest.time + timedelta(days=3)
    assert [entry_id for entry_id, _ in await entries_in(client, f"{name}:at")] == [
        EntryId(EntryId.at(at).ms, n) for n in range(10)
    ]
    assert [entry_id for entry_id, _ in await entries_in(client, f"{name}:id")] == [EntryId(7, n) for n in range(10)]


async def test_the_server_picks_the_partition_when_the_entry_is_acked(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(3))
    seconds = PartitionedStream(client, f"{name}:s", period=SECONDS, retention=timedelta(minutes=10))

    async def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(seconds, delivery.value)
        emitted = datetime.now(timezone.utc).second
        if delivery.value["n"] == "1":
            await until(lambda: datetime.now(timezone.utc).second != emitted)

    await handle_all(client, name, handle)
    found = list[int]()
    keys = await seconds.keys()
    for key in keys:
        for entry_id, fields in await entries_in(client, key):
            assert seconds.key_for(entry_id.time) == key
            found.append(int(fields[b"n"]))
    assert sorted(found) == [0, 1, 2]


async def test_effects_keep_their_order_and_each_entry_is_a_step_of_its_own(
    client: redis.asyncio.Redis, name: str
) -> None:
    await Stream(client, name).append_many({"n": n} for n in range(1200))

    async def handle(delivery: Delivery[Fields]) -> None:
        delivery.execute("RPUSH", f"{name}:list", delivery.value["n"])
        delivery.execute("SET", f"{name}:last", delivery.value["n"])
        delivery.emit(f"{name}:out", delivery.value)

    await handle_all(client, name, handle)
    assert await raw(client).lrange(f"{name}:list", 0, -1) == [b"%d" % n for n in range(1200)]
    assert await client.get(f"{name}:last") == b"1199"
    assert await numbers_in(client, f"{name}:out") == list(range(1200))


async def test_a_batch_may_have_effects_too(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, *range(100))

    async def handle(deliveries: Sequence[Delivery[Fields]]) -> None:
        for delivery in deliveries:
            delivery.emit(f"{name}:out", delivery.value)
            if delivery.value["n"] == "50" and delivery.attempt == 1:
                delivery.fail(Retry(delay=timedelta(0)))

    consumer = GroupConsumer(client, name, GROUP, "a")
    async with running(consumer.run_batches, handle, stop=consumer.stop):

        async def all_of_them() -> bool:
            return await client.xlen(f"{name}:out") == 100

        await until(all_of_them)
    assert sorted(await numbers_in(client, f"{name}:out")) == list(range(100))


async def test_what_a_failed_attempt_left_is_not_applied(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1, 2)

    async def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{name}:out", {"n": delivery.attempt})
        delivery.execute("INCR", f"{name}:n")
        if delivery.value["n"] == "1" or delivery.attempt == 1:
            raise ValueError

    await handle_all(client, name, handle)
    assert await numbers_in(client, f"{name}:out") == [2]
    assert await client.get(f"{name}:n") == b"1"
    assert [letter.cause for letter in await letters_in(client, name)] == [Cause.EXHAUSTED]


async def test_what_cannot_be_emitted_or_executed_fails_the_handler_that_tried(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1)
    caught = list[type[Exception]]()

    async def handle(delivery: Delivery[Fields]) -> None:
        bad: Any = delivery
        elsewhere = Stream(redis.asyncio.Redis(db=9), "elsewhere")
        calls: list[tuple[Any, ...]] = [
            (bad.emit, f"{name}:out", {"n": None}),
            (bad.emit, "", {"n": 1}),
            (bad.emit, elsewhere, {"n": 1}),
            (bad.execute, "BLPOP", f"{name}:list", 1),
            (bad.execute, "SET", f"{name}:text", None),
        ]
        for call, *arguments in calls:
            try:
                call(*arguments)
            except Exception as error:  # noqa: BLE001 - the test asks what it was
                caught.append(type(error))
        assert delivery.effects == ()

    await handle_all(client, name, handle)
    assert caught == [EncodeError, InvalidArgument, InvalidArgument, InvalidArgument, EncodeError]


# Effects that the server refuses ------------------------------------------------------------------------------------


async def test_the_failing_effect_of_one_entry_touches_no_other_of_its_batch(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, *range(100))
    await client.set(f"{name}:text", "x")

    async def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{name}:out", delivery.value)
        delivery.execute("INCR", f"{name}:n")
        if delivery.value["n"] == "60":
            delivery.emit(f"{name}:text", delivery.value)

    seen = Seen(handle)
    recorder = await handle_all(client, name, seen)
    assert sorted(seen.tries) == sorted([(n, 1) for n in range(100)] + [(60, 2), (60, 3)])
    assert await numbers_in(client, f"{name}:out") == [n for n in range(100) if n != 60]
    assert await client.get(f"{name}:n") == b"99"
    (letter,) = await letters_in(client, name)
    assert (letter.cause, letter.attempt, letter.error_type) == (Cause.EXHAUSTED, 3, "EffectFailed")
    assert f"XADD on '{name}:text' failed: WRONGTYPE it holds a string, not a stream" in letter.error
    assert letter.pairs == (b"n", b"60")
    errors = [event[3] for event in recorder.of("on_retry")]
    assert [(type(error), error.key, error.applied) for error in errors] == [(EffectFailed, f"{name}:text", 0)] * 2


async def test_it_succeeds_once_its_target_is_mended(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)
    await client.set(f"{name}:out", "x")

    async def handle(delivery: Delivery[Fields]) -> None:
        if delivery.attempt == 2:
            await client.delete(f"{name}:out")
        delivery.emit(f"{name}:out", delivery.value)

    recorder = await handle_all(client, name, handle)
    assert await numbers_in(client, f"{name}:out") == [1]
    assert len(recorder.of("on_retry")) == 1
    assert await letters_in(client, name) == []


async def test_what_was_applied_in_part_is_dead_lettered_saying_what_and_never_tried_again(
    client: redis.asyncio.Redis, name: str
) -> None:
    await write(client, name, 1, 2)
    await raw(client).hset(f"{name}:hash", "f", "text")

    async def handle(delivery: Delivery[Fields]) -> None:
        delivery.emit(f"{name}:out", delivery.value)
        delivery.execute("INCR", f"{name}:n")
        if delivery.value["n"] == "1":
            delivery.execute("HINCRBY", f"{name}:hash", "f", 1)
            delivery.execute("INCR", f"{name}:n")

    seen = Seen(handle)
    recorder = await handle_all(client, name, seen)
    assert seen.tries == [(1, 1), (2, 1)]
    assert await numbers_in(client, f"{name}:out") == [1, 2]
    assert await client.get(f"{name}:n") == b"2"
    (letter,) = await letters_in(client, name)
    assert (letter.cause, letter.attempt, letter.pairs) == (Cause.EFFECT_FAILED, 1, (b"n", b"1"))
    assert f"HINCRBY on '{name}:hash' failed" in letter.reason
    assert "2 effects before it were applied" in letter.reason
    ((_, cause, _, error),) = recorder.of("on_buried")
    assert (cause, error.command, error.applied) == (Cause.EFFECT_FAILED, "HINCRBY", 2)


async def test_out_of_memory_is_waited_out_and_neither_loses_nor_doubles(name: str) -> None:
    recorder = Recorder()
    with redis_server(settings={"maxmemory-policy": "noeviction"}) as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, name, *range(100))

            async def handle(delivery: Delivery[Fields]) -> None:
                delivery.emit(f"{name}:out", delivery.value)
                if delivery.value["n"] == "25" and not recorder.of("on_unavailable"):
                    await client.config_set("maxmemory", 1)

            seen = Seen(handle)
            consumer = GroupConsumer(client, name, GROUP, "a", count=10, min_idle_time=LEASE, observer=recorder)
            async with consuming(consumer, seen):
                await until(told(recorder, "on_unavailable", 3))
                assert "used memory > 'maxmemory'" in str(recorder.of("on_unavailable")[0][0])
                assert len(await numbers_in(client, f"{name}:out")) <= 26
                await client.config_set("maxmemory", 0)
                await until(settled(client, name))
                # In order, unless it takes so long that what was fetched ages, and is asked for again.
                assert sorted(await numbers_in(client, f"{name}:out")) == list(range(100))
            assert recorder.of("on_available")
            assert await letters_in(client, name) == []
