"""What a consumer refuses, each with an error that says what to do; and nothing is acked meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis.asyncio

from streamkit.asyncio import (
    CappedStream,
    GroupConsumer,
    InvalidArgument,
    InvalidEntryId,
    NaiveDatetime,
    NotAPartition,
    NotEntered,
    PartitionedStream,
    PermissionDenied,
    Reject,
    RetryPolicy,
    ServerUnavailable,
    Stream,
    StreamkitError,
    WrongKeyType,
)
from streamkit.testing import redis_server
from tests.integration.asyncio._groups import GROUP, LEASE, Seen, consumers_in, pending_in
from tests.integration.asyncio._readers import limited, raw, write
from tests.integration.asyncio._runtime import client_of_the_other_half, streams_of_the_other_half

NOWHERE = "redis://127.0.0.1:1"
"""Nobody listens there: what does not need a server must not notice."""

BAD: list[tuple[dict[str, Any], type[StreamkitError], str]] = [
    ({"count": 0}, InvalidArgument, "count and dead_letters_maxlen must be 1 or more, not 0 and 100000"),
    ({"dead_letters_maxlen": 0}, InvalidArgument, "must be 1 or more, not 100 and 0"),
    ({"min_idle_time": timedelta(0)}, InvalidArgument, "min_idle_time must be at least a millisecond"),
    ({"min_idle_time": 60}, InvalidArgument, r"min_idle_time must be a timedelta, not 60; for seconds write"),
    ({"max_hold": timedelta(-1)}, InvalidArgument, "max_hold must be zero or more"),
    ({"dead_letters": ""}, InvalidArgument, "dead_letters must be a non-empty str"),
    ({"consumer": ""}, InvalidArgument, "consumer must be a non-empty str"),
    ({"consumer": b"a"}, InvalidArgument, "consumer must be a non-empty str"),
    ({"consumer": "streamkit:released"}, InvalidArgument, "is streamkit's own; choose another"),
    ({"group": ""}, InvalidArgument, "group must be a non-empty str"),
    ({"source": ""}, InvalidArgument, "source must be a non-empty str"),
    ({"source": []}, InvalidArgument, "source must not be empty"),
    ({"source": ["a", ""]}, InvalidArgument, "source must be a non-empty str"),
    ({"source": ["a", 1]}, InvalidArgument, "source must be a non-empty str"),
    ({"source": ["a", "b", "a"]}, InvalidArgument, "source must not name the same stream twice: a, b, a"),
    ({"source": ["a", "b"], "dead_letters": "b"}, InvalidArgument, "dead_letters must not be the source 'b'"),
    ({"start": "$"}, InvalidEntryId, "use streamkit.NEW"),
    ({"start": "soon"}, InvalidArgument, "start 'soon' is neither an entry ID nor the key"),
    ({"start": datetime(2025, 1, 1)}, NaiveDatetime, "has no time zone"),  # noqa: DTZ001 - the point
]


@pytest.mark.parametrize(("arguments", "error", "words"), BAD, ids=[str(each[0]) for each in BAD])
async def test_a_bad_argument_is_refused_when_the_consumer_is_made(
    arguments: dict[str, Any], error: type[StreamkitError], words: str
) -> None:
    async with redis.asyncio.Redis.from_url(NOWHERE) as client:
        rest: dict[str, Any] = {"source": "s", "group": GROUP, **arguments}
        with pytest.raises(error, match=words) as caught:
            GroupConsumer(client, rest.pop("source"), rest.pop("group"), **rest)
        assert type(caught.value) is error


async def test_a_start_that_fits_no_source_is_refused_too() -> None:
    async with redis.asyncio.Redis.from_url(NOWHERE) as client:
        days = PartitionedStream(client, "temps")
        GroupConsumer(client, days, GROUP, start="temps:20250101")
        with pytest.raises(NotAPartition, match="'other:20250101' is no partition of 'temps'"):
            GroupConsumer(client, days, GROUP, start="other:20250101")


async def test_a_client_or_stream_of_another_server_or_half_is_refused(name: str) -> None:
    other: Any = client_of_the_other_half()
    with pytest.raises(InvalidArgument, match="belongs to"):
        GroupConsumer(other, name, GROUP)
    async with redis.asyncio.Redis.from_url(NOWHERE) as client, redis.asyncio.Redis(db=9) as elsewhere:
        for stream in streams_of_the_other_half(name):
            with pytest.raises(InvalidArgument):
                GroupConsumer(client, stream, GROUP)
            with pytest.raises(InvalidArgument):
                GroupConsumer(client, [Stream(client, name), stream], GROUP)
        for source in (Stream(elsewhere, name), [Stream(client, "a"), CappedStream(elsewhere, name, maxlen=1)]):
            with pytest.raises(InvalidArgument, match="one atomic step needs one server and database"):
                GroupConsumer(client, source, GROUP)


async def test_bad_arguments_of_calls_are_refused_before_anything_is_sent(name: str) -> None:
    async with redis.asyncio.Redis.from_url(NOWHERE) as client:
        consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen()
        with pytest.raises(InvalidArgument, match="concurrency must be 1 or more, not 0"):
            await consumer.run(seen, concurrency=0)
        with pytest.raises(InvalidArgument, match="'a'"):
            await consumer.take_over("a")
        for step in (consumer.read, consumer.reap, consumer.ack, consumer.nack):
            with pytest.raises(NotEntered, match=r"\(\) works only inside"):
                await step()
        with pytest.raises(NotEntered, match=r"reject\(\) works only inside"):
            await consumer.reject(Any, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_bad_arguments_of_steps_are_refused(client: redis.asyncio.Redis, name: str) -> None:
    async with GroupConsumer(client, name, GROUP) as consumer:
        for step in (consumer.read, consumer.reap):
            with pytest.raises(InvalidArgument, match="count must be 1 or more, not 0"):
                await step(count=0)
        with pytest.raises(InvalidArgument, match="wait must be zero or more"):
            await consumer.read(wait=timedelta(-1))
    with pytest.raises(NotEntered):
        await consumer.read()


POLICIES: list[tuple[Callable[[], object], str]] = [
    (lambda: RetryPolicy(max_deliveries=0), "max_deliveries must be 1 or more, not 0"),
    (lambda: RetryPolicy(backoff=[]), "backoff must not be an empty table"),
    (lambda: RetryPolicy(backoff=[timedelta(-1)]), "a wait of backoff must be zero or more"),
]


@pytest.mark.parametrize(("make", "words"), POLICIES)
def test_a_policy_that_can_never_work_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make()


# Keys and servers that will not do ----------------------------------------------------------------------------------


async def every_way_in(consumer: GroupConsumer[Any]) -> list[type[Exception]]:
    """What each way of consuming raises."""

    async def enter() -> None:
        async with consumer:
            await consumer.read()

    async def run_batches() -> None:
        await consumer.run_batches(Seen())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def run() -> None:
        await consumer.run(Seen())

    async def run_together() -> None:
        await consumer.run(Seen(), concurrency=2)

    found = list[type[Exception]]()
    for way in (enter, run, run_batches, run_together):
        with limited(consumer):
            try:
                await way()
            except Exception as error:  # noqa: BLE001 - the tests ask what it was
                found.append(type(error))
    return found


async def test_a_source_of_another_type_is_refused(client: redis.asyncio.Redis, name: str) -> None:
    await client.set(name, "x")
    consumer = GroupConsumer(client, name, GROUP)
    assert await every_way_in(consumer) == [WrongKeyType] * 4
    with pytest.raises(WrongKeyType, match=f"the key '{name}' holds"):
        await consumer.run(Seen())
    with pytest.raises(WrongKeyType):
        await consumer.lag()
    with pytest.raises(WrongKeyType):
        await consumer.take_over("b")
    with pytest.raises(WrongKeyType):
        await consumer.leave()
    with pytest.raises(WrongKeyType):
        assert [entry.id async for entry in consumer.pending()] == []
    assert await client.get(name) == b"x"


async def test_a_source_that_becomes_another_type_ends_the_loop(client: redis.asyncio.Redis, name: str) -> None:
    await write(client, name, 1)

    async def replace(_: object) -> None:
        await client.delete(name)
        await client.set(name, "x")

    consumer = GroupConsumer(client, name, GROUP, min_idle_time=LEASE)
    with limited(consumer), pytest.raises(WrongKeyType):
        await consumer.run(Seen(replace))


async def test_dead_letters_in_a_key_of_another_type_end_the_loop_and_nothing_is_acked(
    client: redis.asyncio.Redis, name: str
) -> None:
    (bad,) = await write(client, name, 1)
    letters = f"{name}:letters"
    await client.set(letters, "x")

    async def handle(_: object) -> None:
        raise Reject("no")

    for _ in range(2):
        consumer = GroupConsumer(client, name, GROUP, "a", dead_letters=letters, min_idle_time=LEASE)
        with limited(consumer), pytest.raises(WrongKeyType, match=f"the key '{letters}' holds"):
            await consumer.run(Seen(handle))
        assert [entry_id for entry_id, _, _ in await pending_in(client, name)] == [bad]
    assert await client.get(letters) == b"x"
    await client.delete(letters)

    async def buried() -> bool:
        return await client.exists(letters) == 1

    consumer = GroupConsumer(client, name, GROUP, "a", dead_letters=letters, min_idle_time=LEASE)
    seen = Seen(handle)
    async with consumer:
        (delivery,) = await consumer.reap()
        await consumer.reject(delivery, "now it will do")
    assert await buried()
    assert seen.tries == []
    assert await pending_in(client, name) == []


async def test_a_server_that_is_not_there_is_told_at_once(name: str) -> None:
    async with redis.asyncio.Redis.from_url(NOWHERE) as client:
        consumer = GroupConsumer(client, name, GROUP)
        assert await every_way_in(consumer) == [ServerUnavailable] * 4
        for look in (consumer.lag, consumer.leave):
            with pytest.raises(ServerUnavailable, match="could not be reached"):
                await look()


async def test_a_server_that_went_since_is_told_at_once_too(name: str) -> None:
    with redis_server() as url:
        client = redis.asyncio.Redis.from_url(url)
        assert await GroupConsumer(client, name, GROUP).lag() == 0
    async with client:
        assert await every_way_in(GroupConsumer(client, name, GROUP)) == [ServerUnavailable] * 4


async def test_a_user_without_the_right_to_a_command_is_told_which(name: str) -> None:
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as admin:
            await write(admin, name, 1)
            rules = "ACL SETUSER app on >secret ~* +@all -xreadgroup"
            await raw(admin).execute_command(*rules.split())
        async with redis.asyncio.Redis.from_url(url, username="app", password="secret") as client:
            consumer = GroupConsumer(client, name, GROUP, "a")
            with limited(consumer), pytest.raises(PermissionDenied, match="xreadgroup"):
                await consumer.run(Seen())
            assert await consumers_in(client, name) == set()
