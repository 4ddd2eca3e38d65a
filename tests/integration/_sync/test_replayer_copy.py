# Generated from tests/integration/asyncio/test_replayer_copy.py by tools/generate_sync.py: do not edit.
"""Copying history: to any stream, with new IDs or the old ones, nothing doubled, nothing out of order."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import redis

from streamkit import (
    AppendUncertain,
    CappedStream,
    DataclassCodec,
    EncodeError,
    EntryId,
    InvalidArgument,
    JsonCodec,
    OutOfOrder,
    PartitionedStream,
    Replayer,
    RetentionExceeded,
    ServerUnavailable,
    Stream,
    WrongKeyType,
)
from streamkit._core.retry import Backoff
from streamkit.testing import redis_server
from tests.integration._sync._looking import ids, numbers
from tests.integration._sync._readers import MONTH_OF_DAYS, key_of, midnight, raw, write
from tests.integration._sync._replays import days_of, write_at, write_many
from tests.integration._sync._runtime import running, until
from tests.integration.proxy import Proxy
from tests.integration.recording import Recorder
from tests.integration.suspended import suspended

LIMIT = 1.0


@dataclass(frozen=True)
class Reading:
    """A value."""

    n: int


def words_of(client: redis.Redis, key: str) -> list[list[bytes]]:
    """The entries of a stream as they are stored, repeated names and all."""
    script = "local f = {} for i, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do f[i] = e[2] end return f"
    return list(raw(client).eval(script, 1, key))


def add(client: redis.Redis, key: str, words: Sequence[str | bytes]) -> None:
    """Append an entry, whose names may repeat."""
    raw(client).execute_command("XADD", key, "*", *words)


# Where to ------------------------------------------------------------------------------------------------------------


def test_a_copy_keeps_the_order_and_the_server_numbers_it(client: redis.Redis, name: str) -> None:
    write_at(client, name, *(f"{1000 + n}-5" for n in range(1234)))
    before = (raw(client).time())[0] * 1000
    for to in (f"{name}:key", Stream(client, f"{name}:stream")):
        assert Replayer(client, name).copy(to) == 1234
    for key in (f"{name}:key", f"{name}:stream"):
        assert numbers(client, key) == list(range(1234))
        assert (ids(client, key))[0].ms >= before


def test_kept_ids_are_the_same(client: redis.Redis, name: str) -> None:
    written = write_at(client, name, *(f"{1000 + n // 3}-{n}" for n in range(700)))
    for to in (f"{name}:key", Stream(client, f"{name}:stream")):
        assert Replayer(client, name).copy(to, keep_ids=True) == 700
    assert ids(client, f"{name}:key") == ids(client, f"{name}:stream") == written
    assert numbers(client, f"{name}:key") == list(range(700))


def test_only_the_range_is_copied(client: redis.Redis, name: str) -> None:
    write_at(client, name, 1000, 2000, 3000, 4000)
    assert Replayer(client, name).copy(f"{name}:copy", start="2000", end=EntryId(3000)) == 2
    assert numbers(client, f"{name}:copy") == [1, 2]
    assert Replayer(client, f"{name}:none").copy(f"{name}:copy") == 0


def test_a_copy_goes_on_where_one_before_it_ended(client: redis.Redis, name: str) -> None:
    written = write_at(client, name, *range(1000, 1100))
    replayer = Replayer(client, name)
    assert replayer.copy(f"{name}:copy", end=written[59], keep_ids=True) == 60
    (last,) = [entry.id for entry in Replayer(client, f"{name}:copy").entries(limit=1, reverse=True)]
    assert replayer.copy(f"{name}:copy", start=last.after(), keep_ids=True) == 40
    assert ids(client, f"{name}:copy") == written


def test_a_capped_target_is_trimmed_as_it_is_written(client: redis.Redis, name: str) -> None:
    write_many(client, name, range(700))
    capped = CappedStream(client, f"{name}:capped", maxlen=50, approximate=False)
    assert Replayer(client, name).copy(capped) == 700
    assert numbers(client, f"{name}:capped") == list(range(650, 700))


def test_a_partitioned_target_gets_entries_where_their_times_belong(client: redis.Redis, name: str) -> None:
    for day in (-3, -2, 0):
        write(client, key_of(name, midnight(day)), *range(100 * day, 100 * day + 60), at=midnight(day))
    target = PartitionedStream(client, f"{name}:copy", retention=MONTH_OF_DAYS)
    replayer = Replayer(client, days_of(client, name))
    assert replayer.copy(target, keep_ids=True) == 180
    assert target.keys() == [key_of(f"{name}:copy", midnight(day)) for day in (-3, -2, 0)]
    expected = [number for day in (-3, -2, 0) for number in range(100 * day, 100 * day + 60)]
    assert numbers(client, *target.keys()) == expected
    assert target.expires_at(target.key_for(midnight(-3))) == midnight(-3) + MONTH_OF_DAYS
    # From one key into partitions, and by the server's own numbers into today's.
    assert replayer.copy(f"{name}:flat", keep_ids=True) == 180
    again = PartitionedStream(client, f"{name}:again", retention=MONTH_OF_DAYS)
    assert Replayer(client, f"{name}:flat").copy(again, keep_ids=True) == 180
    assert [info.length for info in again.info()] == [60, 60, 60]
    today = PartitionedStream(client, f"{name}:today")
    assert replayer.copy(today) == 180
    assert numbers(client, *today.keys()) == expected
    assert len(today.keys()) <= 2


def test_values_go_through_both_codecs(client: redis.Redis, name: str) -> None:
    source = Stream(client, name, codec=DataclassCodec(Reading))
    source.append_many([Reading(1), Reading(2)])
    target = Stream(client, f"{name}:json", codec=JsonCodec(loads=load, dumps=dump))
    assert Replayer(client, source).copy(target) == 2
    assert words_of(client, f"{name}:json") == [[b"data", b"1"], [b"data", b"2"]]


def load(data: bytes) -> Reading:
    return Reading(int(data))


def dump(value: Any) -> str:
    return str(value.n)


def none_for_110(value: Any) -> Any:
    return None if value["n"] == "110" else "1"


def test_to_a_key_fields_go_as_they_are(client: redis.Redis, name: str) -> None:
    entries: list[Sequence[str | bytes]] = [
        ["a", "1", "a", "2"],
        ["b", b"\xff\x00"],
        [b"\xfe", "1", "b", "2", b"\xfe", "1"],
        *[["a", str(n), "a", "x"] for n in range(20)],
    ]
    for words in entries:
        add(client, name, words)
    source = Stream(client, name, codec=JsonCodec())
    assert Replayer(client, source, observer=Recorder()).copy(f"{name}:copy") == 23
    assert Replayer(client, f"{name}:copy").copy(f"{name}:kept", keep_ids=True) == 23
    assert words_of(client, f"{name}:copy") == words_of(client, name)
    assert words_of(client, f"{name}:kept") == words_of(client, name)


def test_what_cannot_be_decoded_is_not_copied_to_a_stream(client: redis.Redis, name: str) -> None:
    source, recorder = Stream(client, name, codec=JsonCodec(loads=int)), Recorder()
    for value in (1, "x", 3):
        raw(client).xadd(name, {"data": value})
    target = Stream(client, f"{name}:copy", codec=JsonCodec(loads=int))
    assert Replayer(client, source, observer=recorder).copy(target, keep_ids=True) == 2
    assert [entry.value for entry in Replayer(client, target).entries()] == [1, 3]
    assert len(recorder.of("on_undecodable")) == 1


def test_another_server_may_be_the_target(client: redis.Redis, name: str) -> None:
    write_many(client, name, range(300))
    with redis_server() as url:
        with redis.Redis.from_url(url) as other:
            assert Replayer(client, name).copy(Stream(other, name)) == 300
            assert numbers(other, name) == list(range(300))
    assert client.xlen(name) == 300


def test_progress_is_told_after_each_page(client: redis.Redis, name: str) -> None:
    write_many(client, name, range(1250))
    counts = list[int]()
    assert Replayer(client, name).copy(f"{name}:copy", progress=counts.append) == 1250
    assert counts == sorted(set(counts))
    assert counts[-1] == 1250
    assert len(counts) > 2

    def interrupt(copied: int) -> None:
        raise ZeroDivisionError(copied)

    with pytest.raises(ZeroDivisionError) as raised:
        Replayer(client, name).copy(f"{name}:interrupted", progress=interrupt)
    assert client.xlen(f"{name}:interrupted") == raised.value.args[0]


# What is refused ----------------------------------------------------------------------------------------------------


def test_a_copy_onto_itself_is_refused(client: redis.Redis, name: str) -> None:
    days, key = days_of(client, name), key_of(name, midnight())
    for source, to in (
        (name, name),
        (name, Stream(client, name)),
        (name, CappedStream(client, name, maxlen=5)),
        (days, days),
        (days, key),
        (days, Stream(client, key)),
        (key, days),
    ):
        with pytest.raises(InvalidArgument, match="would read what it writes"):
            Replayer(client, source).copy(to)
    with redis.Redis.from_url("redis://127.0.0.1:1") as elsewhere:
        with pytest.raises(InvalidArgument, match="would read what it writes"):
            Replayer(elsewhere, name).copy(name)
    with redis_server() as url:
        with redis.Redis.from_url(url) as other:
            write(client, name, 1)
            assert Replayer(client, name).copy(Stream(other, name)) == 1


def test_what_is_no_target_is_refused(client: redis.Redis, name: str) -> None:
    replayer = Replayer(client, name)
    targets: list[Any] = [None, "", 5]
    for to in targets:
        with pytest.raises(InvalidArgument, match="to must be"):
            replayer.copy(to)
    with pytest.raises(InvalidArgument, match="progress must be a function"):
        replayer.copy(f"{name}:copy", progress=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidArgument, match="NEW"):
        replayer.copy(f"{name}:copy", start="$")


def test_kept_ids_must_be_above_the_newest_of_the_target(client: redis.Redis, name: str) -> None:
    write_at(client, name, 1000, 2000, 3000)
    write_at(client, f"{name}:copy", 2000)
    for to in (f"{name}:copy", Stream(client, f"{name}:copy")):
        with pytest.raises(OutOfOrder, match="2000-0"):
            Replayer(client, name).copy(to, keep_ids=True)
    assert client.xlen(f"{name}:copy") == 1
    # A stream that bumps what is out of order would give other IDs.
    day = midnight(-1)
    written = write(client, key_of(name, day), 0, at=day)
    bumping = PartitionedStream(client, f"{name}:bump", out_of_order="bump")
    bumping.append({"n": 9}, at=day + timedelta(hours=1))
    with pytest.raises(OutOfOrder, match=str(written[0])):
        Replayer(client, days_of(client, name)).copy(bumping, keep_ids=True)


def test_an_error_says_how_many_were_copied_before_it(client: redis.Redis, name: str) -> None:
    write(client, key_of(name, midnight(-1)), *range(120), at=midnight(-1))
    write_at(client, key_of(name, midnight()), 1000)
    source = days_of(client, name)
    with pytest.raises(RetentionExceeded) as refused:
        Replayer(client, source).copy(PartitionedStream(client, f"{name}:copy"), keep_ids=True)
    assert refused.value.appended == 120
    bad: Any = JsonCodec(dumps=none_for_110)
    with pytest.raises(EncodeError, match=r"written before it: 100\)"):
        Replayer(client, source).copy(Stream(client, f"{name}:bad", codec=bad))
    assert client.xlen(f"{name}:bad") == 100
    client.set(f"{name}:text", "x")
    with pytest.raises(WrongKeyType, match=f"{name}:text"):
        Replayer(client, source).copy(f"{name}:text")


# The server is away, or the user has had enough ---------------------------------------------------------------------


@pytest.mark.parametrize("keep_ids", [False, True], ids=["numbered", "kept"])
def test_cuts_neither_lose_nor_double(
    redis_url: str, client: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch, *, keep_ids: bool
) -> None:
    for module in ("streamkit._sync.paging", "streamkit._sync.appending"):
        monkeypatch.setattr(f"{module}.RECONNECT", Backoff(base=0.002, maximum=0.02))
    write_many(client, name, range(3000))
    with Proxy(redis_url) as proxy:
        proxy.cut_at_random(0.4, random.Random(3), matching=lambda request: request[0].startswith((b"EVAL", b"XRANGE")))
        with redis.Redis.from_url(proxy.url) as shaky:
            replayer = Replayer(shaky, name, observer=Recorder())
            assert replayer.copy(Stream(shaky, f"{name}:copy"), keep_ids=keep_ids) == 3000
        assert proxy.cuts >= 3
    assert numbers(client, f"{name}:copy") == list(range(3000))


def test_stopped_it_ends_after_a_page_and_says_how_many(client: redis.Redis, name: str) -> None:
    write_many(client, name, range(3000))
    replayer = Replayer(client, name)
    copied = replayer.copy(f"{name}:copy", progress=lambda count: replayer.stop() if count >= 500 else None)
    assert 500 <= copied < 3000
    assert numbers(client, f"{name}:copy") == list(range(copied))
    assert replayer.copy(f"{name}:again") == 3000


@pytest.mark.steady
@pytest.mark.parametrize("trouble", ["suspended", "down"])
def test_a_target_in_trouble_does_not_keep_it_from_stopping(client: redis.Redis, name: str, trouble: str) -> None:
    write_many(client, name, range(3000))
    counts = list[int]()
    with redis_server() as url, Proxy(url) as proxy, ExitStack() as stack:
        with redis.Redis.from_url(proxy.url) as other:
            pid = (raw(other).info("server"))["process_id"]
            replayer = Replayer(client, name, observer=Recorder())

            def make_trouble(count: int) -> None:
                counts.append(count)
                if trouble == "down":
                    proxy.down()
                else:
                    stack.enter_context(suspended(pid))

            def copy() -> Exception | None:
                try:
                    replayer.copy(Stream(other, name), progress=make_trouble)
                except (AppendUncertain, ServerUnavailable) as error:
                    return error
                return None

            with running(copy) as run:
                until(lambda: len(counts) == 1)
                asked = time.monotonic()
                replayer.stop()
                error = run.result()
                assert time.monotonic() - asked < LIMIT
    # What it was about to write may have been written, and that is said; or it had not begun to.
    assert counts == [100]
    assert error is None or "entries of this call written before it: 100" in str(error)
