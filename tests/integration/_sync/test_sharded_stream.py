# Generated from tests/integration/asyncio/test_sharded_stream.py by tools/generate_sync.py: do not edit.
"""One stream over several keys: each entry goes to its shard, in order, and what was written is what is said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis

from streamkit import (
    CheckpointedReader,
    EncodeError,
    EntryId,
    InvalidArgument,
    JsonCodec,
    OutOfOrder,
    PartitionedStream,
    ShardedStream,
    Stream,
    WrongKeyType,
)
from tests.integration._sync._readers import DAY, midnight, numbers_in, raw
from tests.integration._sync._runtime import client_of_the_other_half
from tests.integration._sync._shards import (
    KINDS,
    SHARDS,
    capped,
    customer_of,
    daily,
    fill,
    in_order,
    keys_of,
    sharded,
    value_of,
)

TENANTS = ["tenant_a", "tenant_b"]


def numbers_of(client: Any, stream: ShardedStream) -> list[list[int]]:
    """The numbers in each key that holds something."""
    return [numbers_in(client, key) for key in keys_of(stream)]


@pytest.mark.parametrize("kind", KINDS)
def test_entries_with_equal_keys_lie_in_one_shard_in_order(store: Any, name: str, kind: str) -> None:
    stream = sharded(store, name, kind)
    fill(stream, range(3000), 30)
    found = numbers_of(store, stream)
    assert sorted(n for numbers in found for n in numbers) == list(range(3000))
    assert len(found) == SHARDS
    places = [{n % 30 for n in numbers} for numbers in found]
    assert sum(map(len, places)) == 30
    assert all(in_order(numbers, 30) for numbers in found)
    assert stream.length() == 3000
    assert [info.length for info in stream.info()] == [len(numbers) for numbers in found]


def test_an_entry_is_appended_to_its_shard(store: Any, name: str) -> None:
    stream = sharded(store, name)
    for n in range(10):
        shard = stream.shard_of(value_of(n))
        assert shard in stream.shards
        entry_id = stream.append(value_of(n))
        assert (raw(store).xrevrange(shard.name, count=1))[0][0].decode() == str(entry_id)
    assert stream.length() == 10
    assert stream.shard_names == ("0", "1", "2", "3")
    assert [shard.name for shard in stream.shards] == [f"{name}:{{{n}}}" for n in range(SHARDS)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_append_is_known_again_by_its_key(store: Any, name: str, kind: str) -> None:
    stream = sharded(store, name, kind)
    first = stream.append(value_of(1), idempotency_key="one")
    assert stream.append(value_of(1), idempotency_key="one") == first
    assert stream.length() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_entries_have_the_times_they_are_given(store: Any, name: str, kind: str) -> None:
    stream = sharded(store, name, kind)
    times = [midnight() - DAY + timedelta(minutes=n) for n in range(2000)]
    values: list[Any] = [{**value_of(n), "at": times[n].isoformat()} for n in range(2000)]
    assert stream.append_many(values[:1000], times=times[:1000]) == 1000
    assert stream.append_many(values[1000:], times=lambda value: datetime.fromisoformat(str(value["at"]))) == 1000
    at = stream.append(value_of(2000), at=midnight() + 2 * DAY)
    assert at == EntryId.at(midnight() + 2 * DAY)
    for key in keys_of(stream):
        for entry_id, fields in raw(store).xrange(key):
            if int(fields[b"n"]) < 2000:
                assert EntryId.parse(entry_id).time == times[int(fields[b"n"])]
    assert stream.length() == 2001


def test_capped_shards_are_held_to_their_length(store: Any, name: str) -> None:
    stream = sharded(store, name, "capped", 2)
    fill(stream, range(6000))
    assert stream.length() == 2000


def test_partitions_of_shards_lie_in_the_shards_slot(store: Any, name: str) -> None:
    stream = sharded(store, name, "partitioned", 2)
    times = [midnight(-n) for n in (2, 2, 1, 1, 0, 0)]
    assert stream.append_many([value_of(n, 2) for n in range(6)], times=times) == 6
    days = [f"{midnight(-n):%Y%m%d}" for n in (2, 1, 0)]
    keys = [f"{name}:{{{shard}}}:{day}" for shard in "01" for day in days]
    assert set(keys_of(stream)) <= set(keys)
    assert stream.length() == 6
    for shard in stream.shards:
        assert isinstance(shard, PartitionedStream)
        for key in shard.keys():
            assert shard.expires_at(key) is not None


def test_tenants_have_shards_by_their_names(store: Any, name: str) -> None:
    stream = ShardedStream(store, name, shards=TENANTS, key=customer_of)
    values: list[Any] = [{"n": n, "customer": TENANTS[n % 2]} for n in range(100)]
    assert stream.append_many(values) == 100
    stream.append({"n": 100, "customer": "tenant_a"})
    assert numbers_in(store, f"{name}:{{tenant_a}}") == list(range(0, 102, 2))
    assert numbers_in(store, f"{name}:{{tenant_b}}") == list(range(1, 100, 2))
    assert stream.shard_names == tuple(TENANTS)


def test_nothing_is_nothing(store: Any, name: str) -> None:
    stream = sharded(store, name)
    assert stream.append_many([]) == 0
    assert stream.length() == 0
    assert [info.length for info in stream.info()] == [0] * SHARDS


# What goes wrong ----------------------------------------------------------------------------------------------------


def test_before_a_wrong_key_everything_is_written(store: Any, name: str) -> None:
    stream = ShardedStream(store, name, shards=TENANTS, key=customer_of)
    values: list[Any] = [{"n": n, "customer": "nobody" if n == 60 else TENANTS[n % 2]} for n in range(100)]
    with pytest.raises(InvalidArgument, match=r"has no shard 'nobody'; it has .*written before it: 60\)$"):
        stream.append_many(values)
    assert stream.length() == 60
    with pytest.raises(InvalidArgument, match=r"has no shard 'nobody'; it has tenant_a, tenant_b$"):
        stream.append(values[60])


def test_before_an_error_of_the_users_everything_is_written(store: Any, name: str) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        for n in range(30):
            yield value_of(n)
        raise ZeroDivisionError

    stream = sharded(store, name)
    with pytest.raises(ZeroDivisionError):
        stream.append_many(broken())
    assert stream.length() == 30
    with pytest.raises(KeyError, match="customer"):
        stream.append_many([*map(value_of, range(20)), {"n": 20}])
    assert stream.length() == 50


def test_before_the_end_of_the_times_everything_is_written(store: Any, name: str) -> None:
    stream = sharded(store, name)
    with pytest.raises(InvalidArgument, match=r"the times ended before the values; .*written before it: 7\)$"):
        stream.append_many(map(value_of, range(20)), times=[midnight() + timedelta(seconds=n) for n in range(7)])
    assert stream.length() == 7


@pytest.mark.parametrize("bad", [{}, {"n": None}, {"n": ["a"]}])
def test_what_was_written_before_a_value_that_cannot_be_is_what_the_error_says(store: Any, name: str, bad: Any) -> None:
    stream = ShardedStream(store, name, shards=SHARDS, key=lambda value: str(value.get("customer", "none")))
    values: list[Any] = [bad if n == 2500 else value_of(n, 100) for n in range(9000)]
    with pytest.raises(EncodeError) as caught:
        stream.append_many(values)
    length = stream.length()
    assert str(caught.value).endswith(f" (entries of this call written before it: {length})")
    assert str(caught.value).count("written before it") == 1
    assert all(in_order(numbers, 100) for numbers in numbers_of(store, stream))


def test_what_was_written_before_a_time_out_of_order_is_what_the_error_says(store: Any, name: str) -> None:
    stream = sharded(store, name)
    times = [midnight() + timedelta(seconds=n if n != 700 else 0) for n in range(1000)]
    with pytest.raises(OutOfOrder) as caught:
        stream.append_many((value_of(n) for n in range(1000)), times=times)
    assert caught.value.appended == stream.length()
    assert caught.value.stream == stream.shard_of(value_of(700)).name


def test_a_codec_that_fails_is_raised_after_what_was_written(store: Any, name: str) -> None:
    stream = ShardedStream(store, name, shards=2, key=customer_of, codec=JsonCodec())
    with pytest.raises(TypeError, match="not JSON serializable"):
        stream.append_many([*map(value_of, range(1000)), {"customer": "c1", "n": object()}])
    length = stream.length()
    with pytest.raises(TypeError, match="not JSON serializable"):
        stream.append({"customer": "c1", "n": object()})
    assert stream.append_many([value_of(1)]) == 1
    assert stream.length() == length + 1


def test_a_shard_of_another_type_is_an_error(store: Any, name: str) -> None:
    stream = sharded(store, name)
    key = stream.shard_of(value_of(3)).name
    store.set(key, "x")
    with pytest.raises(WrongKeyType, match=f"{key}.*"):
        stream.append_many(map(value_of, range(100)))
    with pytest.raises(WrongKeyType):
        stream.append(value_of(3))
    with pytest.raises(WrongKeyType):
        stream.length()
    with pytest.raises(WrongKeyType):
        stream.info()


def test_what_cannot_work_is_refused_at_once(store: Any, name: str) -> None:
    untyped: Any = ShardedStream
    with pytest.raises(InvalidArgument, match="give the codec to the streams that of= makes"):
        untyped(store, name, shards=2, key=customer_of, codec=JsonCodec(), of=daily)
    with pytest.raises(InvalidArgument, match=r"of= must make the stream '.*:\{0\}' from the key it is given"):
        ShardedStream(store, name, shards=2, key=customer_of, of=lambda client, _: Stream(client, name))
    with pytest.raises(InvalidArgument, match="must have no braces"):
        ShardedStream(store, f"{{{name}}}", shards=2, key=customer_of)
    with pytest.raises(InvalidArgument, match="has shards, and a checkpoint has one position: use ShardedReader"):
        CheckpointedReader(store, sharded(store, name), f"{name}:c")
    with pytest.raises(InvalidArgument, match="belongs to"):
        ShardedStream(client_of_the_other_half(), name, shards=2, key=customer_of)


def test_shards_lie_on_one_server(client: redis.Redis, redis_url: str, name: str) -> None:
    with redis.Redis.from_url(f"{redis_url.rpartition('/')[0]}/1") as other:
        with pytest.raises(InvalidArgument, match=r"the shard '.*:\{0\}' belongs to a client of"):
            ShardedStream(client, name, shards=2, key=customer_of, of=lambda _, key: capped(other, key))
