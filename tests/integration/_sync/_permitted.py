# Generated from tests/integration/asyncio/_permitted.py by tools/generate_sync.py: do not edit.
"""Every block's whole work, done by a user with few rights: `test_permissions` runs it under the rules of the docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import pytest
import redis

from streamkit import (
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
from streamkit._core.keys import companion
from tests.integration._sync._groups import consuming, letters_in, milliseconds, settled, strand
from tests.integration._sync._letters import bury_many
from tests.integration._sync._readers import DAY, key_of, limited, midnight, numbers_in, raw, told, write
from tests.integration._sync._replays import follow, numbers_of
from tests.integration._sync._runtime import running, until
from tests.integration.recording import Recorder

Fields: TypeAlias = dict[str, str]

GROUP = "billing"
POLICY = RetryPolicy(max_deliveries=9, backoff=milliseconds(1))


@dataclass
class Scene:
    """What a block works on: keys of its own, and a client that may do everything, to prepare them and look at them.

    On a cluster keys whose prefix has a ``{tag}`` share a slot; those of any other lie where they happen to.
    """

    admin: redis.Redis
    prefix: str
    written: list[int] = field(default_factory=list[int])

    def key(self, name: str) -> str:
        """The key that the docs call so."""
        return f"{self.prefix}{name}"

    def write(self, key: str, count: int, at: datetime | None = None) -> None:
        """Append the next numbers, by plain XADD."""
        numbers = range(len(self.written), len(self.written) + count)
        write(self.admin, key, *numbers, at=at)
        self.written += numbers


Work: TypeAlias = Callable[[redis.Redis, Scene], None]


def nothing(scene: Scene) -> None:
    """No preparation is needed."""


@dataclass(frozen=True)
class Block:
    """A block's whole work, and what has to be there before it."""

    work: Work
    prepare: Callable[[Scene], None] = nothing
    resumes: bool = False
    """Whether the work goes on where it was refused, and ends as if it had not been."""


def now() -> datetime:
    return datetime.now(timezone.utc)


# Streams --------------------------------------------------------------------------------------------------------------


def append_in_every_way(stream: Stream | CappedStream | PartitionedStream | ShardedStream) -> None:
    """Five entries."""
    for _ in range(2):
        stream.append({"n": 0}, idempotency_key="one")
    stream.append({"n": 1}, at=now() + timedelta(seconds=1))
    assert stream.append_many([{"n": 2}, {"n": 3}]) == 2
    assert stream.append_many([{"n": 4}], times=[now() + timedelta(seconds=2)]) == 1
    assert stream.length() == 5


def append_to_a_stream(client: redis.Redis, scene: Scene) -> None:
    stream = Stream(client, scene.key("orders"))
    append_in_every_way(stream)
    assert (stream.info()).length == 5


def append_to_a_capped_stream(client: redis.Redis, scene: Scene) -> None:
    stream = CappedStream(client, scene.key("levels"), maxlen=5, approximate=False)
    append_in_every_way(stream)
    assert (stream.info()).length == 5
    assert stream.trim() == 0
    raw(scene.admin).xgroup_create(stream.key, GROUP, "0")
    assert len(strand(scene.admin, stream.key, "a", 1, GROUP)) == 1
    bounded = CappedStream(client, stream.key, maxlen=1, approximate=False)
    assert (bounded.trim(unless_pending=True)).held_back == 4
    assert CappedStream(client, stream.key, max_age=DAY).trim() == 0


def append_to_partitions(client: redis.Redis, scene: Scene) -> None:
    stream = PartitionedStream(client, scene.key("temps"))
    append_in_every_way(stream)
    keys = stream.keys()
    assert sum(info.length for info in stream.info()) == 5
    assert None not in [stream.expires_at(key) for key in keys]
    raw(scene.admin).persist(keys[0])
    assert stream.trim() == 0
    assert stream.expires_at(keys[0]) is not None


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


def write_two_days(scene: Scene) -> None:
    scene.write(key_of(scene.key("temps"), midnight(-1)), 6, midnight(-1))
    scene.write(key_of(scene.key("temps"), midnight()), 6, midnight())


def read_with_a_checkpoint(client: redis.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"), codec=Picky())
    averages = PartitionedStream(client, scene.key("averages"))
    state = scene.key("averages_state")
    reader: Any = CheckpointedReader(client, temps, state, state={"seen": 0}, follow=False, count=5)
    with limited(reader):
        with reader:
            for entry in reader:
                reader.emit(averages, entry.value)
                reader.state["seen"] += 1
    good = [number for number in scene.written if number % 5 != 2]
    assert (reader.saved()).state == {"seen": len(good)}
    assert [number for key in keys_of(scene, "averages") for number in numbers_in(scene.admin, key)] == good
    assert len(letters_in(scene.admin, companion(state, "dead-letters"))) == len(scene.written) - len(good)
    reader.reset()


def keys_of(scene: Scene, name: str) -> list[str]:
    """The partitions there are."""
    return list(PartitionedStream(scene.admin, scene.key(name)).keys())


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

    def __call__(self, delivery: Delivery[Fields]) -> None:
        number = int(delivery.value["n"])
        if number % 5 == 2:
            raise Reject("nobody pays that")
        if number % 5 == 3 and delivery.attempt == 1:
            raise Retry
        if number % 5 == 4:
            self.acked.add(number)
        else:
            delivery.emit(self._places.invoices(delivery.stream), delivery.value)


def consume(
    client: redis.Redis,
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
    with consumer:
        for delivery in [*consumer.read(count=5), *consumer.reap()]:
            try:
                clerk(delivery)
            except Reject as error:
                consumer.reject(delivery, error.reason)
            except Retry:
                consumer.nack(delivery)
            else:
                consumer.ack(delivery)
    newest = keys[-1]
    scene.write(newest, 5)
    ids = strand(scene.admin, newest, "gone", 2, GROUP)
    raw(scene.admin).xclaim(newest, GROUP, "gone", 0, ids, idle=10**6, justid=True)
    with consumer:
        for delivery in consumer.reap():
            consumer.nack(delivery)
    scene.write(newest, 5)
    strand(scene.admin, newest, "off", 2, GROUP)
    assert len([entry.id for entry in consumer.pending()]) >= 2
    assert consumer.lag() != 0
    assert consumer.take_over("off") == 2
    consumer = GroupConsumer(client, source, GROUP, "a", **options)
    conditions = [settled(scene.admin, key, GROUP) for key in keys]
    with consuming(consumer, clerk) as run:

        def over() -> bool:
            return run.done or False not in [condition() for condition in conditions]

        until(over)
    assert consumer.leave()
    bills = dict.fromkeys(map(places.invoices, keys))
    billed = [number for key in bills for number in numbers_in(scene.admin, key)]
    graves = dict.fromkeys(map(places.letters, keys))
    buried = [int(letter.fields[b"n"]) for key in graves for letter in letters_in(scene.admin, key)]
    left = [number for number in scene.written if number not in {*billed, *buried}]
    assert len(billed + buried) == len({*billed, *buried})
    assert all(number % 5 == 4 for number in left)


def write_orders(scene: Scene) -> None:
    scene.write(scene.key("orders"), 10)


def consume_a_stream(client: redis.Redis, scene: Scene) -> None:
    for source in (Stream(client, scene.key("orders")), CappedStream(client, scene.key("orders"), maxlen=1000)):
        consume(client, scene, source, [source.key])


def write_days(scene: Scene) -> None:
    """Two days, the older about to expire; and one that is held back for too long already."""
    old, yesterday = (key_of(scene.key("temps"), midnight(-days)) for days in (3, 1))
    scene.write(old, 3, midnight(-2) - timedelta(hours=1))
    scene.write(yesterday, 6, midnight(-1))
    for key in (old, yesterday):
        raw(scene.admin).pexpire(key, 30_000)
    scene.write(key_of(scene.key("temps"), midnight()), 6, midnight())


def consume_partitions(client: redis.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"))
    consume(client, scene, temps, keys_of(scene, "temps"), max_hold=timedelta(0))


# Dead letters, history, single runs -----------------------------------------------------------------------------------


def write_letters(scene: Scene) -> None:
    scene.write(scene.key("orders"), 1)
    bury_many(scene.admin, companion(scene.key("orders"), "dead-letters"), scene.key("orders"), 9)


def look_at_letters(client: redis.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, companion(scene.key("orders"), "dead-letters"))
    assert len([letter.id for letter in letters]) == letters.length() == letters.count() == 9
    assert [letter.id for letter in letters.letters(reverse=True, limit=1)] == [EntryId(9)]


def mend_letters(client: redis.Redis, scene: Scene) -> None:
    letters = DeadLetterQueue(client, companion(scene.key("orders"), "dead-letters"))
    assert letters.redrive(dry_run=True) == 9
    assert letters.redrive(["1-0", "2-0"]) == 2
    assert letters.redrive(limit=3) == 3
    assert letters.discard(["6-0"]) == 1
    assert letters.discard(end="7-0") == 1
    assert letters.trim() == 0


def replay(client: redis.Redis, scene: Scene) -> None:
    temps = PartitionedStream(client, scene.key("temps"))
    look_at_history(client, scene, temps, key_of(temps.name, now()))


def look_at_history(client: redis.Redis, scene: Scene, source: Source[Fields], newest: str, parts: int = 1) -> None:
    """Forwards, backwards, and on to what is written to a key."""
    recorder = Recorder()
    replayer = Replayer(client, source, observer=recorder)
    assert numbers_of(replayer.entries()) == scene.written
    assert numbers_of(replayer.entries(reverse=True)) == scene.written[::-1]

    def look(_entry: Entry[Fields]) -> None:
        pass

    assert replayer.play(look, speed=float("inf")) == len(scene.written)
    live: list[int] = []
    with running(follow, replayer, live, stop=replayer.stop) as run:
        begun = told(recorder, "on_start", parts)
        until(lambda: run.done or begun())
        write(scene.admin, newest, 77)
        until(lambda: run.done or live == [77])


def copy_history(client: redis.Redis, scene: Scene) -> None:
    replayer = Replayer(client, PartitionedStream(client, scene.key("temps")))
    for keep_ids in (True, False):
        assert replayer.copy(scene.key("history"), keep_ids=keep_ids) == len(scene.written)


def charge_once(client: redis.Redis, scene: Scene) -> None:
    charged: list[str] = []

    @once(client, scene.key("charge-card"))
    def charge(entry: Entry[Fields]) -> None:
        with pytest.raises(Retry, match="by another run"):
            charge(entry)
        if not charged:
            charged.append("no")
            raise LookupError
        charged.append("yes")

    entry = Entry(scene.key("orders"), EntryId(1), {"n": "1"})
    with pytest.raises(LookupError):
        charge(entry)
    for _ in range(2):
        charge(entry)
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
