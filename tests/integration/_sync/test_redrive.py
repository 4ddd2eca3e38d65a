# Generated from tests/integration/asyncio/test_redrive.py by tools/generate_sync.py: do not edit.
"""Moving dead letters back: each in one step, none twice, none lost, its fields byte for byte."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import redis

import streamkit._sync.insisting
import streamkit._sync.partitioned
from streamkit import (
    CappedStream,
    Cause,
    DeadLetterQueue,
    Delivery,
    EntryId,
    GroupConsumer,
    InvalidArgument,
    Observer,
    PartitionedStream,
    PermissionDenied,
    RedriveFailed,
    Reject,
    ServerUnavailable,
    Stream,
    WrongKeyType,
)
from streamkit._core import redrives
from streamkit._core.retry import Backoff
from streamkit.testing import redis_server
from tests.integration._sync._letters import bury, bury_many, provenance, raw
from tests.integration._sync._looking import ids, keys_like, numbers
from tests.integration._sync._runtime import running, until
from tests.integration.proxy import Fault, Proxy

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten letters a call, so that there are many, and short waits."""
    monkeypatch.setattr(redrives, "MOVES", 10)
    monkeypatch.setattr(streamkit._sync.insisting, "RECONNECT", Backoff(base=0.01, maximum=0.05))


def letters_of(name: str) -> str:
    """The dead letters of a stream, where a group writes them."""
    return f"{{{name}}}:dead-letters"


def stream_with_letters(client: redis.Redis, name: str, count: int) -> DeadLetterQueue:
    """A stream with one entry of its own, numbered -1, and the dead letters 0 to count - 1 beside it."""
    client.xadd(name, {"n": -1})
    bury_many(client, letters_of(name), name, count)
    return DeadLetterQueue(client, letters_of(name), observer=Observer())


def recorded(client: redis.Redis, stream: str) -> dict[str, int]:
    """How often the entries of a stream were moved back, by their IDs."""
    found: Any = client.zrange(f"{{{stream}}}:redrives", 0, -1, withscores=True)
    return {entry_id.decode(): int(score) % 1000 for entry_id, score in found}


# Moving -------------------------------------------------------------------------------------------------------------


def test_letters_go_back_to_where_they_came_from_in_order(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 1050)
    assert queue.redrive() == 1050
    assert numbers(client, name) == list(range(-1, 1050))
    assert queue.length() == 0
    assert queue.redrive() == 0


def test_the_fields_come_back_byte_for_byte(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": 0})
    flat = [b"data", b"{", b"data", b"", b"\xff\x00", b"\r\n", b"streamkit:at", b"5", b"streamkit:redrives", b"7"]
    bury(client, letters_of(name), provenance(name, cause=Cause.UNDECODABLE), *flat)
    assert DeadLetterQueue(client, letters_of(name)).redrive() == 1
    (_, (_, fields)) = raw(client, name)
    assert fields == flat
    assert list((recorded(client, name)).values()) == [1]


def test_it_is_remembered_how_often_an_entry_was_moved_back(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": 0})
    for redriven in (0, 1, 2, 998, 999, 5000):
        bury(client, letters_of(name), provenance(name, redrives=redriven), b"n", b"1")
    record = f"{{{name}}}:redrives"
    now = time.time_ns() // 1_000_000
    client.zadd(record, {"1-0": (now - 31 * DAY_MS) * 1000 + 4, "2-0": (now - 29 * DAY_MS) * 1000 + 5})
    assert DeadLetterQueue(client, letters_of(name)).redrive(max_redrives=10_000) == 6
    _, *moved = map(str, ids(client, name))
    assert recorded(client, name) == {"2-0": 5, **dict(zip(moved, [1, 2, 3, 999, 999, 999], strict=True))}
    score: Any = client.zscore(record, moved[0])
    assert abs(score // 1000 - now) < 60_000
    assert 29 * DAY_MS < client.pttl(record) <= 30 * DAY_MS


def test_letters_that_were_moved_back_often_are_passed_over(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": -1})
    often = [bury(client, letters_of(name), provenance(name, n + 1, redrives=n), b"n", b"%d" % n) for n in range(6)]
    queue = DeadLetterQueue(client, letters_of(name))
    assert queue.redrive(dry_run=True) == 3
    assert queue.redrive() == 3
    assert queue.redrive(max_redrives=5) == 2
    assert queue.redrive() == 0
    assert numbers(client, name) == [-1, 0, 1, 2, 3, 4]
    assert queue.redrive([often[5]]) == 1
    assert numbers(client, name) == [-1, 0, 1, 2, 3, 4, 5]


def reject_next(client: redis.Redis, name: str) -> None:
    """A consumer that rejects one entry and ends."""
    consumer = GroupConsumer(client, name, "billing", observer=Observer())

    def reject(_: Delivery) -> None:
        consumer.stop()
        raise Reject("no such card")

    consumer.run(reject)


def test_an_entry_that_a_group_rejects_again_and_again_does_not_go_in_circles(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": 7})
    queue = DeadLetterQueue(client, letters_of(name))
    for redriven in range(4):
        reject_next(client, name)
        (letter,) = {letter.id: letter for letter in queue}.values()
        assert (letter.cause, letter.reason, letter.redrives) == (Cause.REJECTED, "no such card", redriven)
        assert (letter.group, letter.attempt, letter.fields) == ("billing", 1, {b"n": b"7"})
        assert letter.entry_id == (ids(client, name))[-1]
        assert queue.redrive() == (1 if redriven < 3 else 0)
    assert numbers(client, name) == [7, 7, 7, 7]


def test_only_as_many_as_the_limit_allows(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 60)
    assert queue.redrive(limit=0) == 0
    assert queue.redrive(limit=13) == 13
    assert queue.redrive(limit=10) == 10
    assert queue.redrive([f"{n}-0" for n in range(40, 60)], limit=3) == 3
    assert numbers(client, name) == [-1, *range(23), 39, 40, 41]
    assert queue.redrive(limit=1000) == 34


def test_a_dry_run_moves_nothing(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 30)
    assert queue.redrive(dry_run=True) == 30
    assert queue.redrive(dry_run=True, limit=12) == 12
    assert queue.redrive(["3-0", "4-0", "77-0"], dry_run=True, rate=0.001) == 2
    assert queue.redrive(dry_run=True, to=f"{name}:new") == 30
    assert queue.length() == 30
    assert numbers(client, name) == [-1]
    assert keys_like(client, f"*{name}*") == {name, letters_of(name)}


def test_not_faster_than_asked_for(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 21)
    now: Any = client.time()
    start, began = now[0] * 1000 + now[1] // 1000, time.monotonic()
    assert queue.redrive(rate=50) == 21
    # Five at a time, the last one when twenty have had their time, counted from the beginning.
    assert 0.39 < time.monotonic() - began < 5
    moved = [entry_id.ms for entry_id in ids(client, name)][1:]
    assert moved[-1] - start >= 390
    assert moved[10] - start >= 190


def test_only_what_the_filters_leave(client: redis.Redis, name: str) -> None:
    client.xadd(name, {"n": -1})
    for n in range(40):
        group, cause = ("billing", "shipping")[n % 2], (Cause.REJECTED, Cause.EXHAUSTED)[n // 2 % 2]
        told = provenance(name, n, cause, group=group)
        bury(client, letters_of(name), told, b"n", b"%d" % n, at=f"{n + 1}-0")
    queue = DeadLetterQueue(client, letters_of(name))
    assert queue.redrive(group="billing", cause=Cause.REJECTED, end="20-0") == 5
    assert numbers(client, name) == [-1, 0, 4, 8, 12, 16]
    assert queue.redrive(group="shipping", start="31-0") == 5
    assert queue.redrive(start=datetime.now(timezone.utc)) == 0
    assert queue.length() == 30


def test_only_those_named(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 30)
    chosen: list[EntryId | str] = [*(EntryId(n) for n in range(1, 26)), "29-0", "5-0", "77-0"]
    assert queue.redrive(chosen) == 26
    assert numbers(client, name) == [-1, *range(25), 28]


def test_letters_without_fields_stay(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 3)
    trimmed = bury(client, letters_of(name), provenance(name, 9, Cause.TRIMMED))
    unread = bury(client, letters_of(name), provenance(name, 9, Cause.UNREAD, count=5))
    assert queue.redrive(dry_run=True) == 3
    assert queue.redrive() == 3
    assert queue.length() == 2
    bury(client, letters_of(name), provenance(name, 9), b"n", b"3")
    everything: list[EntryId] = [letter.id for letter in queue]
    with pytest.raises(RedriveFailed, match=f"{trimmed}, {unread} have no fields to move back") as caught:
        queue.redrive(everything)
    assert (caught.value.redriven, caught.value.left) == (1, 2)
    assert numbers(client, name) == [-1, 0, 1, 2, 3]


def test_letters_that_come_meanwhile_are_left(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy, redis.Redis.from_url(redis_url) as plain:
        with redis.Redis.from_url(proxy.url) as client:
            queue = stream_with_letters(client, name, 25)
            fields: Any = provenance(name).fields(5)
            other: Any = plain

            def again() -> None:
                """Write a letter, as a consumer does whose handler fails again at once."""
                other.execute_command("XADD", letters_of(name), "*", *fields, "n", "99")

            proxy.call_before(again, matching=lambda words: words[0].startswith(b"EVAL"), times=3)
            assert queue.redrive() == 25
            assert queue.length() == 3


# Where to -----------------------------------------------------------------------------------------------------------


def test_a_stream_that_is_gone_is_not_made_anew(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 3)
    gone = f"{name}:20250101"
    for n in range(15):
        bury(client, letters_of(name), provenance(gone, n), b"n", b"%d" % (10 + n))
    bury_many(client, f"{name}:more", name, 1)
    bury(client, letters_of(name), provenance(name), b"n", b"3")
    for dry_run in (True, False):
        with pytest.raises(RedriveFailed, match=f"the stream '{gone}' does not exist any more") as caught:
            queue.redrive(dry_run=dry_run)
        assert (caught.value.streams, caught.value.left, caught.value.redriven) == ((gone,), 15, 4)
        assert "say where its letters are to go with to=" in str(caught.value)
    assert numbers(client, name) == [-1, 0, 1, 2, 3]
    assert not client.exists(gone, f"{{{gone}}}:redrives")
    assert queue.length() == 15
    assert queue.redrive(to=name) == 15
    assert numbers(client, name) == [-1, 0, 1, 2, 3, *range(10, 25)]


def test_elsewhere_by_key(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 15)
    other = f"{name}:again"
    assert queue.redrive(to=other, limit=12) == 12
    assert queue.redrive(to=Stream(client, other)) == 3
    assert numbers(client, other) == list(range(15))
    assert len(recorded(client, other)) == 15
    assert client.ttl(other) == -1
    assert numbers(client, name) == [-1]


def test_elsewhere_trimmed_as_ever(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 25)
    capped = CappedStream(client, f"{name}:capped", maxlen=4, approximate=False)
    assert queue.redrive(to=capped) == 25
    assert numbers(client, capped.key) == [21, 22, 23, 24]


def test_elsewhere_into_the_partition_of_today(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 12)
    days = PartitionedStream(client, f"{name}:days", retention=timedelta(days=3))
    assert queue.redrive(to=days) == 12
    (key,) = days.keys()
    assert numbers(client, key) == list(range(12))
    newest = (ids(client, key))[-1]
    assert days.expires_at(key) == newest.time + timedelta(days=3)


@pytest.mark.parametrize("off", [timedelta(days=-1), timedelta(days=1)])
def test_the_partition_is_that_of_the_servers_clock(
    client: redis.Redis, name: str, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    queue = stream_with_letters(client, name, 25)
    days = PartitionedStream(client, f"{name}:days")

    def wrong() -> int:
        return time.time_ns() + off // timedelta(microseconds=1) * 1000

    monkeypatch.setattr(streamkit._sync.partitioned, "time", SimpleNamespace(time_ns=wrong))
    assert queue.redrive(to=days) == 25
    (key,) = days.keys()
    assert key == days.key_for((ids(client, key))[-1].time)
    assert numbers(client, key) == list(range(25))


def test_a_wrong_type_of_key_moves_nothing(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 5)
    client.set(f"{name}:text", "x")
    with pytest.raises(WrongKeyType, match=f"the key '{name}:text' holds a string, not a stream"):
        queue.redrive(to=f"{name}:text")
    client.set(f"{{{name}}}:redrives", "x")
    with pytest.raises(WrongKeyType, match=rf"the key '\{{{name}\}}:redrives' holds a string, not a zset"):
        queue.redrive()
    client.delete(name)
    client.set(name, "x")
    with pytest.raises(WrongKeyType, match=f"the key '{name}' holds a string, not a stream"):
        queue.redrive()
    assert queue.length() == 5


def test_a_wrong_type_found_late_says_what_was_moved(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 10)
    client.set(f"{name}:text", "x")
    bury(client, letters_of(name), provenance(f"{name}:text"), b"n", b"10")
    with pytest.raises(WrongKeyType, match=r"\(entries of this call written before it: 10\)"):
        queue.redrive()
    assert numbers(client, name) == list(range(-1, 10))
    assert queue.length() == 1


def test_what_the_server_refuses_stays(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 2)
    full = f"{name}:full"
    plain: Any = client
    plain.xadd(full, {"n": 0}, "18446744073709551615-18446744073709551615")
    bury(client, letters_of(name), provenance(full), b"n", b"2")
    with pytest.raises(RedriveFailed, match=f"the stream '{full}' refused an entry: ") as caught:
        queue.redrive()
    assert (caught.value.redriven, caught.value.left) == (2, 1)
    assert queue.length() == 1


def test_what_cannot_be_is_refused_at_once(redis_url: str, name: str) -> None:
    unreachable = redis.Redis(port=1)
    queue = DeadLetterQueue(unreachable, "letters")
    for to in ("letters", Stream(unreachable, "letters")):
        with pytest.raises(InvalidArgument, match="'letters' cannot be moved to itself"):
            queue.redrive(to=to)
    with pytest.raises(InvalidArgument, match="give either ids or group, cause, start and end, not both"):
        queue.redrive(["5-1"], cause=Cause.REJECTED)
    wrong: list[dict[str, Any]] = [{"limit": -1}, {"rate": 0}, {"max_redrives": 0}, {"ids": "5-1"}, {"to": ""}]
    for arguments in wrong:
        with pytest.raises(InvalidArgument):
            queue.redrive(**arguments)
    with redis.Redis.from_url(redis_url) as client:
        with pytest.raises(InvalidArgument, match="one atomic step needs one server and database"):
            queue.redrive(to=Stream(client, name))


# When replies are lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [None, "partitioned"])
def test_a_lost_reply_doubles_nothing_and_counts(redis_url: str, name: str, to: str | None) -> None:
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            queue = stream_with_letters(client, name, 100)
            days = PartitionedStream(client, f"{name}:days")
            proxy.cut_after_request(matching=b"EVAL", nth=1)
            proxy.cut_after_request(matching=b"EVAL", nth=4)
            proxy.cut_before_request(matching=b"EVAL", nth=5)
            proxy.cut_amid_reply(matching=b"EVAL", nth=7)
            proxy.cut_amid_reply(matching=b"EVAL", nth=8)
            assert queue.redrive(to=None if to is None else days) == 100
            assert proxy.cuts == 5
            target = name if to is None else (days.keys())[0]
            assert numbers(client, target) == list(range(-1 if to is None else 0, 100))
            assert len(recorded(client, target)) == 100
            assert queue.length() == 0


def test_lost_replies_of_a_dry_run_move_nothing(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            queue = stream_with_letters(client, name, 30)
            proxy.cut_after_request(matching=b"EVAL", nth=2)
            assert queue.redrive(dry_run=True) == 30
            assert (proxy.cuts, queue.length()) == (1, 30)


@pytest.mark.parametrize("seed", range(5))
def test_a_bad_network_loses_and_doubles_nothing(redis_url: str, name: str, seed: int) -> None:
    dice = random.Random(seed)
    with Proxy(redis_url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            queue = stream_with_letters(client, name, 200)
            assert queue.length() == 200
            faults = (Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AMID)
            proxy.cut_at_random(0.3, dice, matching=lambda words: words[0] != b"CLIENT", faults=faults)
            moved = queue.redrive()
            proxy.clear()
            assert proxy.cuts > 3
            assert moved == 200
            assert numbers(client, name) == list(range(-1, 200))


def test_several_at_once_share_the_letters(redis_url: str, name: str) -> None:
    with redis.Redis.from_url(redis_url) as client, redis.Redis.from_url(redis_url) as other:
        queue = stream_with_letters(client, name, 500)
        twin = DeadLetterQueue(other, letters_of(name))

        def first() -> int:
            return queue.redrive()

        def second() -> int:
            return twin.redrive()

        with running(first) as one, running(second) as two, running(first) as three:
            assert one.result() + two.result() + three.result() == 500
        assert sorted(numbers(client, name)) == list(range(-1, 500))


def test_a_forgotten_script_is_sent_again(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy, redis.Redis.from_url(redis_url) as plain:
        with redis.Redis.from_url(proxy.url) as client:
            queue = stream_with_letters(client, name, 50)
            flush: Any = plain.script_flush
            proxy.call_before(flush, matching=b"EVALSHA", nth=2)
            assert queue.redrive() == 50
        assert proxy.counts[b"EVAL"] >= 1


# When the server refuses --------------------------------------------------------------------------------------------

NEEDED = ("xadd", "xdel", "zadd", "zremrangebyscore", "pexpire")


def test_a_user_who_may_not_do_all_of_it_does_none() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        admin: Any = plain
        with redis.Redis.from_url(url) as client:
            stream_with_letters(client, "orders", 5)
            before = raw(client, letters_of("orders"))
            admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
            days_key = PartitionedStream(client, "days").key_for(datetime.now(timezone.utc))
            with redis.Redis.from_url(url, username="app", password="secret") as limited:
                queue = DeadLetterQueue(limited, letters_of("orders"))
                partitioned = PartitionedStream(limited, "days")
                capped = CappedStream(limited, "capped", maxlen=1)
                cases: list[tuple[str, Any]] = [(command, None) for command in NEEDED]
                for command, to in [*cases, ("pexpireat", partitioned), ("xtrim", capped)]:
                    admin.execute_command("ACL", "SETUSER", "app", f"-{command}")
                    with pytest.raises(PermissionDenied, match="grant the user this command and its keys"):
                        queue.redrive(to=to)
                    admin.execute_command("ACL", "SETUSER", "app", f"+{command}")
                    assert raw(client, letters_of("orders")) == before
                    assert numbers(client, "orders") == [-1]
                    assert not client.exists("{orders}:redrives", "capped", days_key)
                assert queue.redrive() == 5


def test_a_refusal_for_now_is_waited_out() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain, Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            queue = stream_with_letters(client, "orders", 50)
            proxy.call_before(lambda: plain.config_set("maxmemory", "1"), matching=b"EVAL", nth=3)

            def redrive() -> int:
                return queue.redrive()

            with running(redrive) as redriving:
                until(lambda: proxy.counts[b"EVALSHA"] + proxy.counts[b"EVAL"] >= 5)
                assert not redriving.done
                plain.config_set("maxmemory", "0")
                assert redriving.result() == 50
            assert numbers(client, "orders") == list(range(-1, 50))


def test_a_server_that_stays_away_says_what_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamkit._sync.insisting, "PATIENCE", 0.2)
    with redis_server() as url, Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            queue = stream_with_letters(client, "orders", 50)
            proxy.call_before(proxy.down, matching=b"EVAL", nth=3)
            with pytest.raises(ServerUnavailable, match=r"\(entries of this call written before it: 20\)"):
                queue.redrive()
            proxy.clear()
            # Moved, or not: the call that the connection was lost under.
            rest = queue.redrive()
            assert rest in {20, 30}
            assert numbers(client, "orders") == list(range(-1, 50))


# Stopping -----------------------------------------------------------------------------------------------------------


def test_a_long_redrive_can_be_stopped(client: redis.Redis, name: str) -> None:
    queue = stream_with_letters(client, name, 50)

    def redrive() -> int:
        return queue.redrive(rate=0.1)

    def begun() -> bool:
        return queue.length() < 50

    with running(redrive) as redriving:
        until(begun)
        queue.stop()
        moved = redriving.result()
    assert 1 <= moved <= 3
    assert queue.length() == 50 - moved
    # A signal may come just before the redrive; it ends that one, and no other.
    queue.stop()
    assert queue.redrive() == 0
    assert queue.redrive() == 50 - moved
    assert numbers(client, name) == list(range(-1, 50))
