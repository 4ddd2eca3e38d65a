# Generated from tests/integration/asyncio/test_group_errors.py by tools/generate_sync.py: do not edit.
"""What a consumer refuses, each with an error that says what to do; and nothing is acked meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis

from streamkit import (
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
from tests.integration._sync._groups import GROUP, LEASE, Seen, consumers_in, pending_in
from tests.integration._sync._readers import limited, raw, write
from tests.integration._sync._runtime import client_of_the_other_half, streams_of_the_other_half

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
def test_a_bad_argument_is_refused_when_the_consumer_is_made(
    arguments: dict[str, Any], error: type[StreamkitError], words: str
) -> None:
    with redis.Redis.from_url(NOWHERE) as client:
        rest: dict[str, Any] = {"source": "s", "group": GROUP, **arguments}
        with pytest.raises(error, match=words) as caught:
            GroupConsumer(client, rest.pop("source"), rest.pop("group"), **rest)
        assert type(caught.value) is error


def test_a_start_that_fits_no_source_is_refused_too() -> None:
    with redis.Redis.from_url(NOWHERE) as client:
        days = PartitionedStream(client, "temps")
        GroupConsumer(client, days, GROUP, start="temps:20250101")
        with pytest.raises(NotAPartition, match="'other:20250101' is no partition of 'temps'"):
            GroupConsumer(client, days, GROUP, start="other:20250101")


def test_a_client_or_stream_of_another_server_or_half_is_refused(name: str) -> None:
    other: Any = client_of_the_other_half()
    with pytest.raises(InvalidArgument, match="belongs to"):
        GroupConsumer(other, name, GROUP)
    with redis.Redis.from_url(NOWHERE) as client, redis.Redis(db=9) as elsewhere:
        for stream in streams_of_the_other_half(name):
            with pytest.raises(InvalidArgument):
                GroupConsumer(client, stream, GROUP)
            with pytest.raises(InvalidArgument):
                GroupConsumer(client, [Stream(client, name), stream], GROUP)
        for source in (Stream(elsewhere, name), [Stream(client, "a"), CappedStream(elsewhere, name, maxlen=1)]):
            with pytest.raises(InvalidArgument, match="one atomic step needs one server and database"):
                GroupConsumer(client, source, GROUP)


def test_bad_arguments_of_calls_are_refused_before_anything_is_sent(name: str) -> None:
    with redis.Redis.from_url(NOWHERE) as client:
        consumer, seen = GroupConsumer(client, name, GROUP, "a"), Seen()
        with pytest.raises(InvalidArgument, match="concurrency must be 1 or more, not 0"):
            consumer.run(seen, concurrency=0)
        with pytest.raises(InvalidArgument, match="'a'"):
            consumer.take_over("a")
        for step in (consumer.read, consumer.reap, consumer.ack, consumer.nack):
            with pytest.raises(NotEntered, match=r"\(\) works only inside"):
                step()
        with pytest.raises(NotEntered, match=r"reject\(\) works only inside"):
            consumer.reject(Any, "no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_bad_arguments_of_steps_are_refused(client: redis.Redis, name: str) -> None:
    with GroupConsumer(client, name, GROUP) as consumer:
        for step in (consumer.read, consumer.reap):
            with pytest.raises(InvalidArgument, match="count must be 1 or more, not 0"):
                step(count=0)
        with pytest.raises(InvalidArgument, match="wait must be zero or more"):
            consumer.read(wait=timedelta(-1))
    with pytest.raises(NotEntered):
        consumer.read()


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


def every_way_in(consumer: GroupConsumer[Any]) -> list[type[Exception]]:
    """What each way of consuming raises."""

    def enter() -> None:
        with consumer:
            consumer.read()

    def run_batches() -> None:
        consumer.run_batches(Seen())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def run() -> None:
        consumer.run(Seen())

    def run_together() -> None:
        consumer.run(Seen(), concurrency=2)

    found = list[type[Exception]]()
    for way in (enter, run, run_batches, run_together):
        with limited(consumer):
            try:
                way()
            except Exception as error:  # noqa: BLE001 - the tests ask what it was
                found.append(type(error))
    return found


def test_a_source_of_another_type_is_refused(client: redis.Redis, name: str) -> None:
    client.set(name, "x")
    consumer = GroupConsumer(client, name, GROUP)
    assert every_way_in(consumer) == [WrongKeyType] * 4
    with pytest.raises(WrongKeyType, match=f"the key '{name}' holds"):
        consumer.run(Seen())
    with pytest.raises(WrongKeyType):
        consumer.lag()
    with pytest.raises(WrongKeyType):
        consumer.take_over("b")
    with pytest.raises(WrongKeyType):
        consumer.leave()
    with pytest.raises(WrongKeyType):
        assert [entry.id for entry in consumer.pending()] == []
    assert client.get(name) == b"x"


def test_a_source_that_becomes_another_type_ends_the_loop(client: redis.Redis, name: str) -> None:
    write(client, name, 1)

    def replace(_: object) -> None:
        client.delete(name)
        client.set(name, "x")

    consumer = GroupConsumer(client, name, GROUP, min_idle_time=LEASE)
    with limited(consumer), pytest.raises(WrongKeyType):
        consumer.run(Seen(replace))


def test_dead_letters_in_a_key_of_another_type_end_the_loop_and_nothing_is_acked(
    client: redis.Redis, name: str
) -> None:
    (bad,) = write(client, name, 1)
    letters = f"{name}:letters"
    client.set(letters, "x")

    def handle(_: object) -> None:
        raise Reject("no")

    for _ in range(2):
        consumer = GroupConsumer(client, name, GROUP, "a", dead_letters=letters, min_idle_time=LEASE)
        with limited(consumer), pytest.raises(WrongKeyType, match=f"the key '{letters}' holds"):
            consumer.run(Seen(handle))
        assert [entry_id for entry_id, _, _ in pending_in(client, name)] == [bad]
    assert client.get(letters) == b"x"
    client.delete(letters)

    def buried() -> bool:
        return client.exists(letters) == 1

    consumer = GroupConsumer(client, name, GROUP, "a", dead_letters=letters, min_idle_time=LEASE)
    seen = Seen(handle)
    with consumer:
        (delivery,) = consumer.reap()
        consumer.reject(delivery, "now it will do")
    assert buried()
    assert seen.tries == []
    assert pending_in(client, name) == []


def test_a_server_that_is_not_there_is_told_at_once(name: str) -> None:
    with redis.Redis.from_url(NOWHERE) as client:
        consumer = GroupConsumer(client, name, GROUP)
        assert every_way_in(consumer) == [ServerUnavailable] * 4
        for look in (consumer.lag, consumer.leave):
            with pytest.raises(ServerUnavailable, match="could not be reached"):
                look()


def test_a_server_that_went_since_is_told_at_once_too(name: str) -> None:
    with redis_server() as url:
        client = redis.Redis.from_url(url)
        assert GroupConsumer(client, name, GROUP).lag() == 0
    with client:
        assert every_way_in(GroupConsumer(client, name, GROUP)) == [ServerUnavailable] * 4


def test_a_user_without_the_right_to_a_command_is_told_which(name: str) -> None:
    with redis_server() as url:
        with redis.Redis.from_url(url) as admin:
            write(admin, name, 1)
            rules = "ACL SETUSER app on >secret ~* +@all -xreadgroup"
            raw(admin).execute_command(*rules.split())
        with redis.Redis.from_url(url, username="app", password="secret") as client:
            consumer = GroupConsumer(client, name, GROUP, "a")
            with limited(consumer), pytest.raises(PermissionDenied, match="xreadgroup"):
                consumer.run(Seen())
            assert consumers_in(client, name) == set()
