"""Every block's whole work, done by a user with few rights: `test_permissions` runs it under the rules of the docs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import pytest
import redis.asyncio

from streamkit._core.keys import companion
from streamkit.asyncio import (
    CappedStream,
    CheckpointedReader,
    DeadLetterQueue,
    Delivery,
    Entry,
    EntryId,
    GroupConsumer,
    PartitionedStream,
    Reject,
    Replayer,
    Retry,
    RetryPolicy,
    ShardedStream,
    Source,
    Stream,
    once,
)
from tests.integration.asyncio._groups import consuming, letters_in, milliseconds, settled, strand
from tests.integration.asyncio._letters import bury_many
from tests.integration.asyncio._readers import DAY, key_of, limited, midnight, numbers_in, raw, told, write
from tests.integration.asyncio._replays import follow, numbers_of
from tests.integration.asyncio._runtime import running, until
from tests.integration.recording import Recorder

Fields: TypeAlias = dict[str, str]

GROUP = "billing"
POLICY = RetryPolicy(max_deliveries=9, backoff=milliseconds(1))


@dataclass
class Scene:
    """What a block works on: keys of its own, and a client that may do everything, to prepare them and look at them.

    On a cluster keys whose prefix has a ``{tag}`` share a slot; those of any other lie where they happen to.
    """

    admin: redis.asyncio.Redis
    prefix: str
    written: list[int] = field(default_factory=list[int])

    def key(self, name: str) -> str:
        """The key that the docs call so."""
        return f"{self.prefix}{name}"

    async def write(self, key: str, count: int, at: datetime | None = None) -> None:
        """Append the next numbers, by plain XADD."""
        numbers = range(len(self.written), len(self.written) + count)
        await write(self.admin, key, *numbers, at=at)
        self.written += numbers


Work: TypeAlias = Callable[[redis.asyncio.Redis, Scene], Awaitable[None]]


async def nothing(scene: Scene) -> None:
    """No preparation is needed."""


@dataclass(frozen=True)
class Block:
    """A block's whole work, and what has to be there before it."""

    work: Work
    prepare: Callable[[Scene], Awaitable[None]] = nothing
    resumes: bool = False
    """Whether the work goes on where it was refused, and ends as if it had not been."""


def now() -> datetime:
    return datetime.now(timezone.utc)


# Streams --------------------------------------------------------------------------------------------------------------


async def append_in_every_way(stream: Stream | CappedStream | PartitionedStream | ShardedStream) -> None:
    """Five entries."""
    for _ in range(2):
        await stream.append({"n": 0}, idempotency_key="one")
    await stream.append({"n": 1}, at=now() + timedelta(seconds=1))
    assert await stream.append_many([{"n": 2}, {"n": 3}]) == 2
    assert await stream.append_many([{"n": 4}], times=[now() + timedelta(seconds=2)]) == 1
    assert await stream.length() == 5


async def append_to_a_stream(client: redis.asyncio.Redis, scene: Scene) -> None:
    stream = Stream(client, scene.key("orders"))
    await append_in_every_way(stream)
    assert (await stream.info()).length == 5


async def append_to_a_capped_stream(client: redis.asyncio.Redis, scene: Scene) -> None:
    stream = CappedStream(client, scene.key("levels"), maxlen=5, approximate=False)
    await append_in_every_way(stream)
    assert (await stream.info()).length == 5
    assert await stream.trim() == 0
    await raw(scene.admin).xgroup_create(stream.key, GROUP, "0")
    assert len(await strand(scene.admin, stream.key, "a", 1, GROUP)) == 1
    bounded = CappedStream(client, stream.key, maxlen=1, approximate=False)
    assert (await bounded.trim(unless_pending=True)).held_back == 4
    assert await CappedStream(client, stream.key, max_age=DAY).trim() == 0


async def append_to_partitions(client: redis.asyncio.Redis, scene: Scene) -> None:
    stream = PartitionedStream(client, scene.key("temps"))
    await append_in_every_way(stream)
    keys = await stream.keys()
    assert sum(info.length for info in await stream.info()) == 5
    assert None not in [await stream.expires_at(key) for key in keys]
    await raw(scene.admin).persist(keys[0])
    assert await stream.trim() == 0
    assert await stream.expires_at(keys[0]) is not None


# Readers --------------------------------------------------------------------------------------------------------------


class Picky:
    """A codec that reads numbers, but for every fifth."""

    def encode(self, value: Fields, /) -> Mapping[str, str]:
        return value

    def decode(self, fields: Mapping[bytes, bytes], /) -> Fields:
        if int(fields[b"n"]) % 5 == 2:
            msg = "no number that anybody likes"
            raise ValueError(msg)
        return {"n": fields[b"n"].decode()}


async def write_two_days(scene: Scene) -> None:
    await scene.write(key_of(scene.key("temps"), midnight(-1)), 6, midnight(-1))
    await scene.write(key_of(scene.key("temps"), midnight()), 6, midnight())


async def read_with_a_checkpoint(client: redis.asyncio.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"), codec=Picky())
    averages = PartitionedStream(client, scene.key("averages"))
    state = scene.key("averages_state")
    reader: Any = CheckpointedReader(client, temps, state, state={"seen": 0}, follow=False, count=5)
    with limited(reader):
        async with reader:
            async for entry in reader:
                reader.emit(averages, entry.value)
                reader.state["seen"] += 1
    good = [number for number in scene.written if number % 5 != 2]
    assert (await reader.saved()).state == {"seen": len(good)}
    assert [number for key in await keys_of(scene, "averages") for number in await numbers_in(scene.admin, key)] == good
    assert len(await letters_in(scene.admin, companion(state, "dead-letters"))) == len(scene.written) - len(good)
    await reader.reset()


async def keys_of(scene: Scene, name: str) -> list[str]:
    """The partitions there are."""
    return list(await PartitionedStream(scene.admin, scene.key(name)).keys())


# Groups ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Places:
    """What belongs to each key of a source."""

    invoices: Callable[[str], str]
    letters: Callable[[str], str]


def together(scene: Scene, source: Source[Fields]) -> Places:
    """One key for all invoices, one for all dead letters."""
    return Places(lambda _: scene.key("invoices"), lambda _: companion(source.name, "dead-letters"))


class Clerk:
    """Bills entries: every fifth is rejected, every fifth fails at first, every fifth is only acked."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.acked: set[int] = set()

    async def __call__(self, delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number % 5 == 2:
            raise Reject("nobody pays that")
        if number % 5 == 3 and delivery.attempt == 1:
            raise Retry
        if number % 5 == 4:
            self.acked.add(number)
        else:
            delivery.emit(self._places.invoices(delivery.stream), delivery.value)


async def consume(
    client: redis.asyncio.Redis,
    scene: Scene,
    source: Source[Fields],
    keys: list[str],
    places: Places | None = None,
    **options: Any,
) -> None:
    """All that a consumer does, with its whole lot at the end: nothing is lost, nothing billed twice."""
    places = together(scene, source) if places is None else places
    clerk, options = Clerk(places), {"retry": POLICY, **options}
    consumer: GroupConsumer[Fields] = GroupConsumer(client, source, GROUP, "a", delete_on_ack=True, **options)
    async with consumer:
        for delivery in [*await consumer.read(count=5), *await consumer.reap()]:
            try:
                await clerk(delivery)
            except Reject as error:
                await consumer.reject(delivery, error.reason)
            except Retry:
                await consumer.nack(delivery)
            else:
                await consumer.ack(delivery)
    newest = keys[-1]
    await scene.write(newest, 5)
    ids = await strand(scene.admin, newest, "gone", 2, GROUP)
    await raw(scene.admin).xclaim(newest, GROUP, "gone", 0, ids, idle=10**6, justid=True)
    async with consumer:
        for delivery in await consumer.reap():
            await consumer.nack(delivery)
    await scene.write(newest, 5)
    await strand(scene.admin, newest, "off", 2, GROUP)
    assert len([entry.id async for entry in consumer.pending()]) >= 2
    assert await consumer.lag() != 0
    assert await consumer.take_over("off") == 2
    consumer = GroupConsumer(client, source, GROUP, "a", **options)
    conditions = [settled(scene.admin, key, GROUP) for key in keys]
    async with consuming(consumer, clerk) as run:

        async def over() -> bool:
            return run.done or False not in [await condition() for condition in conditions]

        await until(over)
    assert await consumer.leave()
    bills = dict.fromkeys(map(places.invoices, keys))
    billed = [number for key in bills for number in await numbers_in(scene.admin, key)]
    graves = dict.fromkeys(map(places.letters, keys))
    buried = [int(letter.fields[b"n"]) for key in graves for letter in await letters_in(scene.admin, key)]
    left = [number for number in scene.written if number not in {*billed, *buried}]
    assert len(billed + buried) == len({*billed, *buried})
    assert all(number % 5 == 4 for number in left)


async def write_orders(scene: Scene) -> None:
    await scene.write(scene.key("orders"), 10)


async def consume_a_stream(client: redis.asyncio.Redis, scene: Scene) -> None:
    for source in (Stream(client, scene.key("orders")), CappedStream(client, scene.key("orders"), maxlen=1000)):
        await consume(client, scene, source, [source.key])


async def write_days(scene: Scene) -> None:
    """Two days, the older about to expire; and one that is held back for too long already."""
    old, yesterday = (key_of(scene.key("temps"), midnight(-days)) for days in (3, 1))
    await scene.write(old, 3, midnight(-2) - timedelta(hours=1))
    await scene.write(yesterday, 6, midnight(-1))
    for key in (old, yesterday):
        await raw(scene.admin).pexpire(key, 30_000)
    await scene.write(key_of(scene.key("temps"), midnight()), 6, midnight())


async def consume_partitions(client: redis.asyncio.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"))
    await consume(client, scene, temps, await keys_of(scene, "temps"), max_hold=timedelta(0))


# Dead letters, history, single runs -----------------------------------------------------------------------------------


async def write_letters(scene: Scene) -> None:
    await scene.write(scene.key("orders"), 1)
    await bury_many(scene.admin, companion(scene.key("orders"), "dead-letters"), scene.key("orders"), 9)


async def look_at_letters(client: redis.asyncio.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, companion(scene.key("orders"), "dead-letters"))
    assert len([letter.id async for letter in letters]) == await letters.length() == await letters.count() == 9
    assert [letter.id async for letter in letters.letters(reverse=True, limit=1)] == [EntryId(9)]


async def mend_letters(client: redis.asyncio.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, companion(scene.key("orders"), "dead-letters"))
    assert await letters.redrive(dry_run=True) == 9
    assert await letters.redrive(["1-0", "2-0"]) == 2
    assert await letters.redrive(limit=3) == 3
    assert await letters.discard(["6-0"]) == 1
    assert await letters.discard(end="7-0") == 1
    assert await letters.trim() == 0


async def replay(client: redis.asyncio.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"))
    await look_at_history(client, scene, temps, key_of(temps.name, now()))


async def look_at_history(
    client: redis.asyncio.Redis, scene: Scene, source: Source[Fields], newest: str, parts: int = 1
) -> None:
    """Forwards, backwards, and on to what is written to a key."""
    recorder = Recorder()
    replayer = Replayer(client, source, observer=recorder)
    assert await numbers_of(replayer.entries()) == scene.written
    assert await numbers_of(replayer.entries(reverse=True)) == scene.written[::-1]

    async def look(_entry: Entry[Fields]) -> None:
        pass

    assert await replayer.play(look, speed=float("inf")) == len(scene.written)
    live: list[int] = []
    async with running(follow, replayer, live, stop=replayer.stop) as run:
        begun = told(recorder, "on_start", parts)
        await until(lambda: run.done or begun())
        await write(scene.admin, newest, 77)
        await until(lambda: run.done or live == [77])


async def copy_history(client: redis.asyncio.Redis, scene: Scene) -> None:
    replayer = Replayer(client, PartitionedStream(client, scene.key("temps")))
    for keep_ids in (True, False):
        assert await replayer.copy(scene.key("history"), keep_ids=keep_ids) == len(scene.written)


async def charge_once(client: redis.asyncio.Redis, scene: Scene) -> None:
    charged: list[str] = []

    @once(client, scene.key("charge-card"))
    async def charge(entry: Entry[Fields]) -> None:
        with pytest.raises(Retry, match="by another run"):
            await charge(entry)
        if not charged:
            charged.append("no")
            raise LookupError
        charged.append("yes")

    entry = Entry(scene.key("orders"), EntryId(1), {"n": "1"})
    with pytest.raises(LookupError):
        await charge(entry)
    for _ in range(2):
        await charge(entry)
    assert charged == ["no", "yes"]


BLOCKS = {
    "shop": Block(append_to_a_stream),
    "gauge": Block(append_to_a_capped_stream),
    "station": Block(append_to_partitions),
    "meteorologist": Block(read_with_a_checkpoint, write_two_days, resumes=True),
    "clerk": Block(consume_a_stream, write_orders, resumes=True),
    "analyst": Block(consume_partitions, write_days, resumes=True),
    "viewer": Block(look_at_letters, write_letters),
    "support": Block(mend_letters, write_letters),
    "auditor": Block(replay, write_two_days),
    "archivist": Block(copy_history, write_two_days),
    "cashier": Block(charge_once),
}
"""By the users that the docs give the blocks."""
