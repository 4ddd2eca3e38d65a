"""Replies lost between a client of a cluster and its nodes: whatever retries there are, nothing is written twice."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import streamkit.asyncio.appending
import streamkit.asyncio.consuming
import streamkit.asyncio.lines
from streamkit._core import appends
from streamkit._core.retry import Backoff
from streamkit.asyncio import (
    AppendUncertain,
    CappedStream,
    CheckpointedReader,
    Delivery,
    RetryPolicy,
    ShardedStream,
    Stream,
)
from tests.integration.asyncio._clusters import keys_apart
from tests.integration.asyncio._failing import consumer_of
from tests.integration.asyncio._groups import GROUP, Fields, pending_in, settled
from tests.integration.asyncio._jobs import Sum
from tests.integration.asyncio._readers import midnight, numbers_in
from tests.integration.asyncio._replays import days_of
from tests.integration.asyncio._runtime import running, until
from tests.integration.asyncio._shards import customer_of, fill, keys_of, value_of
from tests.integration.asyncio._surviving import REDIRECTS, moved
from tests.integration.proxied import Proxied
from tests.integration.proxy import Request
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("quick", "short_waits")

SHARDS = 6
"""Their tags, 0 to 5, lie on all three masters."""
APPEND, APPENDS = b"EVAL", (b"EVAL", b"EVALSHA")
"""What an append goes out as: EVAL, or EVALSHA once the node knows the script."""
FAULTS = ["cut_before_request", "cut_after_request", "cut_amid_reply"]
PATIENT = RetryPolicy(max_deliveries=1000)


def as_it_is() -> dict[str, Any]:
    """The retries that redis-py does if it is not told."""
    return {}


def three_times() -> dict[str, Any]:
    """Retries of redis-py's own at once, three times."""
    return {"retry": Retry(NoBackoff(), 3)}


@pytest.fixture(params=[as_it_is, three_times])
async def shaky(request: pytest.FixtureRequest, proxied: Proxied) -> AsyncIterator[Any]:
    """A client that goes through the proxies, with redis-py's own retries."""
    options: dict[str, Any] = request.param()
    async with redis.asyncio.RedisCluster.from_url(proxied.url, address_remap=proxied.remap, **options) as shaky:
        yield shaky


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 40 entries, so that there are many, and short waits after failures, of which there are many, too."""
    monkeypatch.setattr(appends, "CHUNK", 40)
    monkeypatch.setattr(appends, "FIRST_CHUNK", 40)
    for module in (streamkit.asyncio.appending, streamkit.asyncio.consuming, streamkit.asyncio.lines):
        monkeypatch.setattr(module, "RECONNECT", Backoff(base=0.01, maximum=0.05))


def stream_of(kind: str, client: Any, name: str) -> Any:
    """A stream of that kind."""
    if kind == "capped":
        return CappedStream(client, name, maxlen=100_000)
    if kind == "partitioned":
        return days_of(client, name)
    if kind == "sharded":
        return ShardedStream(client, name, shards=SHARDS, key=customer_of)
    return Stream(client, name)


def over_days(count: int) -> list[datetime]:
    """So many times, over twenty days: their partitions lie on all nodes, if they have no tag."""
    return [midnight(n * 20 // count - 20) for n in range(count)]


def is_a_read(request: Request) -> bool:
    """Whether a reader asks for entries."""
    return request[0] in {b"XREAD", b"XRANGE"}


def is_of_the_loop(request: Request) -> bool:
    """Whether the loop of a group sends such."""
    return request[0] in {b"XREADGROUP", b"XACK", b"EVALSHA", b"XPENDING", b"XRANGE"}


def is_a_step(request: Request) -> bool:
    """Whether it is a checkpoint, or an ack, with something emitted."""
    return b"emit" in request


# One ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "capped", "partitioned", "sharded"])
async def test_a_plain_append_whose_reply_is_lost_is_uncertain_and_never_sent_again(
    proxied: Proxied, shaky: Any, word: str, kind: str
) -> None:
    for key, fault in zip(keys_apart(proxied.cluster, word), FAULTS, strict=True):
        stream, written = stream_of(kind, shaky, key), 0 if fault == "cut_before_request" else 1
        assert await stream.length() == 0
        sent = proxied.sent(*APPENDS)
        proxied.fault(fault, matching=APPEND)
        with pytest.raises(AppendUncertain, match="it may have been written") as caught:
            await stream.append(value_of(1))
        proxied.clear()
        assert proxied.sent(*APPENDS) == sent + 1
        assert caught.value.stream.startswith(key)
        assert proxied.stored(f"{key}*") == [1] * written
        # The client is as good as before.
        await stream.append(value_of(2))
        assert proxied.stored(f"{key}*") == [1] * written + [2]
    assert proxied.cuts == len(FAULTS)


@pytest.mark.parametrize("kind", ["capped", "partitioned", "sharded"])
async def test_a_named_append_whose_reply_is_lost_is_sent_again_and_written_once(
    proxied: Proxied, shaky: Any, word: str, kind: str
) -> None:
    for key in keys_apart(proxied.cluster, word):
        # All partitions share what is remembered of names, so that they have to share a slot.
        stream = stream_of(kind, shaky, f"{{{key}}}" if kind == "partitioned" else key)
        for n, fault in enumerate(FAULTS):
            cuts, sent, times = proxied.cuts, proxied.sent(*APPENDS), 1 + n
            # The node of the key, or of its shard.
            proxied.fault(fault, matching=APPEND, times=times)
            first = await stream.append(value_of(n), idempotency_key=f"k{n}")
            proxied.clear()
            assert proxied.cuts == cuts + times
            assert proxied.sent(*APPENDS) == sent + times + 1
            assert await stream.append(value_of(n), idempotency_key=f"k{n}") == first
        assert proxied.stored(f"*{key}*") == [*range(len(FAULTS))]


# Many ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["capped", "partitioned", "sharded"])
async def test_many_cuts_at_random_neither_lose_nor_double(proxied: Proxied, shaky: Any, word: str, kind: str) -> None:
    count = 1600
    for seed, proxy in enumerate(proxied.proxies.values()):
        proxy.cut_at_random(0.3, random.Random(seed), matching=APPEND)
    stream = stream_of(kind, shaky, word)
    times = over_days(count) if kind == "partitioned" else None
    assert await stream.append_many((value_of(n) for n in range(count)), times=times) == count
    assert proxied.stored(f"{word}*") == [*range(count)]
    if kind == "capped":
        assert proxied.of(word).cuts >= 5
    else:
        assert all(proxied.of(master).cuts for master in proxied.cluster.masters())


# Readers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["capped", "partitioned"])
async def test_a_reader_whose_reads_and_steps_are_lost_emits_everything_once(
    proxied: Proxied, shaky: Any, nodes: Any, word: str, kind: str
) -> None:
    count, recorder = 200, Recorder()
    source, state, _ = keys_apart(proxied.cluster, word)
    out, times = f"{{{state}}}:out", over_days(count) if kind == "partitioned" else None
    assert await stream_of(kind, nodes, source).append_many((value_of(n) for n in range(count)), times=times) == count
    reader = CheckpointedReader(
        shaky, stream_of(kind, shaky, source), state, state=Sum(), count=10, observer=recorder, follow=False
    )
    proxied.fault("cut_after_request", matching=is_a_read, nth=2)
    proxied.fault("cut_amid_reply", matching=is_a_read, nth=4)
    for nth in (1, 3, 4, 9, 12):
        proxied.of(state).cut_after_request(matching=is_a_step, nth=nth)
    proxied.of(state).cut_before_request(matching=is_a_step, nth=6)
    proxied.of(state).cut_amid_reply(matching=is_a_step, nth=7)
    async with reader:
        async for entry in reader:
            reader.state.total += int(entry.value["n"])
            reader.emit(out, entry.value)
    assert proxied.cuts >= 5
    assert await numbers_in(nodes, out) == [*range(count)]
    saved = await reader.saved()
    assert saved is not None
    assert saved.state == Sum(sum(range(count)))
    assert recorder.of("on_rewound") == recorder.of("on_gap") == []


# Groups -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run", "run concurrently", "run_batches"])
async def test_a_group_emits_everything_once_while_replies_are_lost_and_a_node_is_cut_off(
    proxied: Proxied, shaky: Any, nodes: Any, word: str, way: str
) -> None:
    count, dice, recorder = 150, random.Random(way), Recorder()
    begun, armed = threading.Event(), threading.Event()
    stream = stream_of("sharded", nodes, word)
    await fill(stream, range(count), customers=40)

    async def handle(delivery: Delivery[Fields]) -> None:
        # What is cut before the loop has begun is raised: it begins undisturbed.
        begun.set()
        await until(armed.is_set)
        delivery.emit(f"{word}:out:{delivery.stream.removeprefix(f'{word}:')}", delivery.value)

    async def handle_all(deliveries: Any) -> None:
        for delivery in deliveries:
            await handle(delivery)

    consumer = consumer_of(shaky, stream_of("sharded", shaky, word), recorder, retry=PATIENT, count=10)

    async def run() -> None:
        if way == "run_batches":
            await consumer.run_batches(handle_all)
        else:
            await consumer.run(handle, concurrency=4 if "concurrently" in way else 1)

    async with running(run, stop=consumer.stop) as loop:
        await until(lambda: begun.is_set() or loop.done)
        for place, proxy in enumerate(proxied.proxies.values()):
            proxy.cut_after_request(matching=is_a_step)
            proxy.cut_at_random(0.03, random.Random(f"{way} {place}"), matching=is_of_the_loop)
        # One node loses all its connections at once, at moments that are counted in requests.
        cut_off = proxied.of(dice.choice(proxied.cluster.masters()))
        for nth in dice.sample(range(3, 15), 3):
            cut_off.call_before(cut_off.cut_all, matching=is_of_the_loop, nth=nth)
        armed.set()
        for key in await keys_of(stream):
            await until(settled(nodes, key))
        proxied.clear()
    assert proxied.cuts > 1
    assert recorder.of("on_unavailable")
    assert proxied.stored(f"{word}:out:*") == [*range(count)]
    assert [each for key in await keys_of(stream) for each in await pending_in(nodes, key)] == []
    for event in ("on_lease_lost", "on_buried", "on_dead_letter", "on_gap"):
        assert recorder.of(event) == []


# Redirects ----------------------------------------------------------------------------------------------------------


# A node that is held up may refuse for a moment, or be replaced: what was cut then is no append.
@pytest.mark.steady
@pytest.mark.parametrize(
    ("way", "kind"),
    # What is remembered of a new name is a new key, which the node that a slot moves to refuses until the move is over.
    [("plain", "MOVED"), ("plain", "ASK"), ("named", "MOVED"), ("many", "MOVED"), ("many", "ASK")],
)
async def test_an_append_that_was_redirected_and_whose_reply_is_lost_then_is_not_doubled(
    proxied: Proxied, shaky: Any, word: str, way: str, kind: str
) -> None:
    stream, cluster = Stream(shaky, word), proxied.cluster
    assert await stream.append_many({"n": n} for n in range(50)) == 50
    for times, fault in enumerate(FAULTS, 1):
        cuts, redirected, first = proxied.cuts, proxied.redirected(kind), await stream.length()
        with moved(cluster, word, kind) as (_, new):
            getattr(proxied.of(new), fault)(matching=APPEND, times=times)
            if way == "plain":
                with pytest.raises(AppendUncertain):
                    await stream.append({"n": first})
                proxied.clear()
                if fault == "cut_before_request":
                    await stream.append({"n": first})
            elif way == "named":
                await stream.append({"n": first}, idempotency_key=fault)
            else:
                assert await stream.append_many({"n": n} for n in range(first, first + 150)) == 150
        # Of two chunks on their way, one connection's end takes both replies.
        assert proxied.cuts > cuts if way == "many" else proxied.cuts == cuts + (1 if way == "plain" else times)
        assert proxied.redirected(kind) > redirected
    count = 50 + (150 if way == "many" else 1) * len(FAULTS)
    assert proxied.stored(f"{word}*") == [*range(count)]


@REDIRECTS
async def test_a_reader_whose_steps_were_redirected_and_whose_replies_are_lost_then_emits_everything_once(
    proxied: Proxied, shaky: Any, nodes: Any, word: str, kind: str
) -> None:
    source, state, _ = keys_apart(proxied.cluster, word)
    assert await Stream(nodes, source).append_many({"n": n} for n in range(100)) == 100
    out, recorder, redirected = f"{{{state}}}:out", Recorder(), proxied.redirected(kind)
    reader = CheckpointedReader(shaky, source, state, count=10, observer=recorder, follow=False)
    with ExitStack() as stack:
        async with reader:
            async for entry in reader:
                if entry.value["n"] == "30":
                    await reader.commit()
                    _, new = stack.enter_context(moved(proxied.cluster, state, kind))
                    proxied.of(new).cut_after_request(matching=is_a_step, times=2)
                reader.emit(out, entry.value)
        assert proxied.redirected(kind) > redirected
    assert proxied.cuts == 2
    assert await numbers_in(nodes, out) == [*range(100)]
    assert recorder.of("on_rewound") == []


@REDIRECTS
async def test_a_group_whose_steps_were_redirected_and_whose_replies_are_lost_then_emits_everything_once(
    proxied: Proxied, shaky: Any, nodes: Any, word: str, kind: str
) -> None:
    out, recorder = f"{{{word}}}:out", Recorder()
    reached, gates = list[str](), {n: threading.Event() for n in ("30", "60")}
    assert await Stream(nodes, word).append_many({"n": n} for n in range(100)) == 100

    async def handle(delivery: Delivery[Fields]) -> None:
        number = str(delivery.value["n"])
        if number in gates:
            reached.append(number)
            await until(gates[number].is_set)
        delivery.emit(out, delivery.value)

    consumer = consumer_of(shaky, word, recorder, count=10)
    async with running(consumer.run, handle, stop=consumer.stop) as loop:
        await until(lambda: bool(reached) or loop.done)
        redirected = proxied.redirected(kind)
        with moved(proxied.cluster, word, kind) as (old, new):
            stepped = list[None]()
            proxied.of(old).call_before(lambda: stepped.append(None), matching=is_a_step)
            proxied.of(new).cut_after_request(matching=is_a_step, times=2)
            gates["30"].set()
            # Where keys of the group's that do not exist yet are refused, too, it goes on only after the move.
            await until(lambda: proxied.cuts == 2)
        proxied.of(new).cut_after_request(matching=is_a_step)
        gates["60"].set()
        await until(settled(nodes, word))
    assert stepped
    assert proxied.redirected(kind) > redirected
    assert proxied.cuts == 3
    assert await numbers_in(nodes, out) == [*range(100)]
    assert await pending_in(nodes, word) == []
    assert recorder.of("on_lease_lost") == []


@pytest.mark.parametrize("fault", FAULTS[:2])
async def test_an_own_loop_whose_group_is_made_anew_in_a_lost_call_comes_back_to_its_key(
    proxied: Proxied, shaky: Any, nodes: Any, word: str, fault: str
) -> None:
    first, second, _ = keys_apart(proxied.cluster, word)
    recorder, found = Recorder(), list[tuple[str, str]]()
    async with consumer_of(shaky, [first, second], recorder) as consumer:

        async def read_all() -> bool:
            deliveries = await consumer.read()
            found.extend((each.stream, each.value["n"]) for each in deliveries)
            await consumer.ack(*deliveries)
            return len(found) == 2

        assert await read_all() is False
        await nodes.xgroup_destroy(first, GROUP)
        for n, key in enumerate((first, second)):
            await nodes.xadd(key, {"n": n})
        getattr(proxied.of(first), fault)(matching=b"XGROUP")
        await until(read_all)
        assert await consumer.read() == []
    assert proxied.cuts == 1
    assert sorted(found) == sorted([(first, "0"), (second, "1")])
    # Only the one node was left alone for a while.
    assert [error.node is not None for error, _, _ in recorder.of("on_unavailable")] == [True]
    assert await pending_in(nodes, first) == await pending_in(nodes, second) == []
