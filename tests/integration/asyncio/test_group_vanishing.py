"""Groups and streams that vanish under a consumer; keys that become something else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from streamkit.asyncio import Delivery, RetryPolicy, WrongKeyType
from streamkit.testing import redis_server
from tests.integration.asyncio._failing import LEASE, consumer_of, through
from tests.integration.asyncio._groups import (
    GROUP,
    Fields,
    Seen,
    consuming,
    includes,
    letters_in,
    milliseconds,
    pending_in,
    settled,
)
from tests.integration.asyncio._readers import numbers_in, raw, told, write
from tests.integration.asyncio._runtime import pause, running, until
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")


async def flush(client: redis.asyncio.Redis) -> None:
    """Everything is gone."""
    await client.flushall()


async def delete(client: redis.asyncio.Redis) -> None:
    """The stream is gone."""
    await client.delete("s")


async def destroy(client: redis.asyncio.Redis) -> None:
    """The group is gone, the stream is there."""
    await raw(client).xgroup_destroy("s", GROUP)


async def rename(client: redis.asyncio.Redis) -> None:
    """The stream has another name."""
    await client.rename("s", "t")


ENDS: dict[str, Callable[[redis.asyncio.Redis], Awaitable[None]]] = {
    "FLUSHALL": flush,
    "DEL": delete,
    "DESTROY": destroy,
    "RENAME": rename,
}


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("end", ENDS)
async def test_a_group_that_vanishes_while_it_is_waited_in_is_made_anew(end: str, concurrency: int) -> None:
    recorder, seen = Recorder(), Seen()
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client, through(url) as (proxy, cut):
            consumer = consumer_of(cut, "s", recorder)

            async def run() -> None:
                await consumer.run(seen, concurrency=concurrency)

            async with running(run, stop=consumer.stop):
                await write(client, "s", 0)
                for n in range(1, 4):
                    await until(includes(seen.handled, n - 1))
                    await until(lambda: proxy.counts[b"XREADGROUP"] > 3)
                    await ENDS[end](client)
                    await until(told(recorder, "on_group_missing", n))
                    await write(client, "s", n)
                await until(settled(client, "s"))
            # It did not spin: some turns for each end, and the slices of the waiting between.
            assert proxy.counts[b"XGROUP"] <= 8
            assert proxy.counts[b"XREADGROUP"] < 200
    assert recorder.of("on_group_missing") == [("s", GROUP)] * 3
    assert seen.numbers[:1] == [0]
    assert set(seen.numbers) == {0, 1, 2, 3}
    if end != "DESTROY":
        assert seen.numbers == [0, 1, 2, 3]


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("end", ENDS)
async def test_a_group_that_vanishes_while_entries_are_in_hand_is_made_anew(end: str, concurrency: int) -> None:
    async def fail_some(delivery: Delivery[Fields]) -> None:
        if int(delivery.value["n"]) % 10 == 3 and delivery.attempt == 1:
            raise ValueError
        if delivery.value["n"] in {"20", "120"} and delivery.value["n"] not in ended:
            ended.append(delivery.value["n"])
            await ENDS[end](client)

    ended: list[str] = []
    recorder, seen = Recorder(), Seen(fail_some)
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            consumer = consumer_of(client, "s", recorder)

            async def run() -> None:
                await consumer.run(seen, concurrency=concurrency)

            async with running(run, stop=consumer.stop):
                await write(client, "s", *range(100))
                await until(told(recorder, "on_group_missing", 1))
                await write(client, "s", *range(100, 200))
                await until(told(recorder, "on_group_missing", 2))
                await write(client, "s", *range(200, 300))
                await until(settled(client, "s"))
            assert set(range(200, 300)) <= set(seen.handled)
            if end == "DESTROY":
                # Everything comes again, and nothing is lost.
                assert set(seen.handled) == set(range(300))
            assert await letters_in(client, "s") == []


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_effects_in_a_group_that_vanishes_before_they_are_applied_come_with_the_next_try(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    out, before = f"{{{name}}}:out", list[list[int]]()

    async def copy(delivery: Delivery[Fields]) -> None:
        delivery.emit(out, delivery.value)
        if delivery.value["n"] == "3" and not before:
            async with client.pipeline(transaction=True) as pipe:
                queue: Any = pipe
                queue.xrange(out)
                queue.xgroup_destroy(name, GROUP)
                applied, _ = await queue.execute()
            before.append([int(fields[b"n"]) for _, fields in applied])
            # In the middle of a read: those before it are to be settled now.
            await pause(LEASE.total_seconds())

    recorder, seen = Recorder(), Seen(copy)
    consumer = consumer_of(client, name, recorder, lease=LEASE)

    async def run() -> None:
        await consumer.run(seen, concurrency=concurrency)

    await write(client, name, *range(8))
    async with running(run, stop=consumer.stop):
        await until(told(recorder, "on_group_missing"))
        await until(settled(client, name))
    # All come again, and apart from what was applied to the old group, each is applied once.
    assert sorted(await numbers_in(client, out)) == sorted([*before[0], *range(8)])
    assert set(seen.tries) == {(n, 1) for n in range(8)}
    assert recorder.of("on_group_missing") == [(name, GROUP)]
    assert recorder.of("on_retry") == recorder.of("on_buried") == []


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("fault", ["cut_before_request", "cut_after_request"])
async def test_a_group_whose_making_anew_is_lost_is_read_all_the_same(
    redis_url: str, client: redis.asyncio.Redis, name: str, fault: str, concurrency: int
) -> None:
    recorder, seen = Recorder(), Seen()
    async with through(redis_url) as (proxy, cut):
        consumer = consumer_of(cut, name, recorder)

        async def run() -> None:
            await consumer.run(seen, concurrency=concurrency)

        async with running(run, stop=consumer.stop):
            await write(client, name, 1)
            await until(settled(client, name))
            getattr(proxy, fault)(matching=b"XGROUP")
            await client.delete(name)
            await until(lambda: proxy.cuts == 1)
            await until(told(recorder, "on_available"))
            await write(client, name, 2)
            await until(settled(client, name))
    assert seen.tries == [(1, 1), (2, 1)]
    assert len(recorder.of("on_unavailable")) == 1


async def test_of_two_sources_only_the_one_whose_group_vanished_is_begun_anew() -> None:
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client, through(url) as (proxy, cut):

            async def fail_first(delivery: Delivery[Fields]) -> None:
                if delivery.stream == "a" and delivery.attempt == 1:
                    raise ValueError

            recorder, seen = Recorder(), Seen(fail_first)
            retry = RetryPolicy(max_deliveries=3, backoff=milliseconds(1500))
            async with consuming(consumer_of(cut, ["a", "b"], recorder, retry=retry), seen):
                await write(client, "a", 1)
                await until(lambda: seen.tries == [(1, 1)])
                await until(lambda: proxy.counts[b"XREADGROUP"] > 6)
                before = proxy.counts[b"XREADGROUP"]
                await client.delete("b")
                await until(told(recorder, "on_group_missing"))
                await write(client, "b", 2)
                await until(lambda: 2 in seen.handled)
                assert proxy.counts[b"XREADGROUP"] - before < 50
                # The retry in the other source is still waited for.
                await until(settled(client, "a"))
            assert recorder.of("on_group_missing") == [("b", GROUP)]
            assert sorted(seen.tries) == [(1, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize("sources", [["s"], ["r", "s"]])
async def test_a_source_overwritten_while_it_is_waited_for_ends_the_loop(
    client: redis.asyncio.Redis, name: str, sources: list[str]
) -> None:
    keys = [f"{name}:{source}" for source in sources]
    bad = keys[-1]
    recorder, seen = Recorder(), Seen()
    consumer = consumer_of(client, keys, recorder)

    async def outcome() -> Exception | None:
        try:
            await consumer.run(seen)
        except WrongKeyType as error:
            return error
        return None

    async with running(outcome) as run:
        await write(client, bad, 1)
        await until(lambda: seen.numbers == [1])
        await client.set(bad, "x")
        error = await run.result()
        assert isinstance(error, WrongKeyType)
        assert f"'{bad}' holds a" in str(error)
    # The consumer is as good as new.
    await client.delete(bad)
    async with consuming(consumer, seen):
        await write(client, bad, 2)
        await until(lambda: seen.numbers == [1, 2])


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_source_overwritten_while_it_is_handled_ends_the_loop(
    client: redis.asyncio.Redis, name: str, concurrency: int
) -> None:
    async def overwrite(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "100":
            await client.set(name, "x")

    await write(client, name, *range(400))
    seen = Seen(overwrite)
    consumer = consumer_of(client, name, Recorder())
    with pytest.raises(WrongKeyType, match=f"'{name}' holds a"):
        await consumer.run(seen, concurrency=concurrency)
    assert len(seen.numbers) == len(set(seen.numbers)) < 400


async def test_a_dead_letter_stream_of_another_type_ends_the_loop_and_loses_nothing(
    client: redis.asyncio.Redis, name: str
) -> None:
    async def fail(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "2":
            raise ValueError

    recorder, seen = Recorder(), Seen(fail)
    letters = f"{{{name}}}:dead-letters"
    await client.set(letters, "x")
    await write(client, name, 1, 2, 3)
    retry = RetryPolicy(max_deliveries=1)
    with pytest.raises(WrongKeyType, match="dead-letters"):
        await consumer_of(client, name, recorder, retry=retry).run(seen)
    assert [deliveries for _, _, deliveries in await pending_in(client, name)].count(1) >= 1
    await client.delete(letters)
    async with consuming(consumer_of(client, name, recorder, lease=LEASE, retry=retry), seen):
        await until(settled(client, name))
    assert {1, 3} <= set(seen.handled)
    assert [letter.pairs for letter in await letters_in(client, name)] == [(b"n", b"2")]
