"""Moving dead letters back: each in one step, none twice, none lost, its fields byte for byte."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import redis.asyncio

import streamkit.asyncio.insisting
import streamkit.asyncio.partitioned
from streamkit._core import redrives
from streamkit._core.retry import Backoff
from streamkit.asyncio import (
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
from streamkit.testing import redis_server
from tests.integration.asyncio._letters import bury, bury_many, provenance, raw
from tests.integration.asyncio._looking import ids, keys_like, numbers
from tests.integration.asyncio._runtime import running, until
from tests.integration.proxy import Fault, Proxy

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten letters a call, so that there are many, and short waits."""
    monkeypatch.setattr(redrives, "MOVES", 10)
    monkeypatch.setattr(streamkit.asyncio.insisting, "RECONNECT", Backoff(base=0.01, maximum=0.05))


def letters_of(name: str) -> str:
    """The dead letters of a stream, where a group writes them."""
    return f"{{{name}}}:dead-letters"


async def stream_with_letters(client: redis.asyncio.Redis, name: str, count: int) -> DeadLetterQueue:
    """A stream with one entry of its own, numbered -1, and the dead letters 0 to count - 1 beside it."""
    await client.xadd(name, {"n": -1})
    await bury_many(client, letters_of(name), name, count)
    return DeadLetterQueue(client, letters_of(name), observer=Observer())


async def recorded(client: redis.asyncio.Redis, stream: str) -> dict[str, int]:
    """How often the entries of a stream were moved back, by their IDs."""
    found: Any = await client.zrange(f"{{{stream}}}:redrives", 0, -1, withscores=True)
    return {entry_id.decode(): int(score) % 1000 for entry_id, score in found}


# Moving -------------------------------------------------------------------------------------------------------------


async def test_letters_go_back_to_where_they_came_from_in_order(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 1050)
    assert await queue.redrive() == 1050
    assert await numbers(client, name) == list(range(-1, 1050))
    assert await queue.length() == 0
    assert await queue.redrive() == 0


async def test_the_fields_come_back_byte_for_byte(client: redis.asyncio.Redis, name: str) -> None:
    await client.xadd(name, {"n": 0})
    flat = [b"data", b"{", b"data", b"", b"\xff\x00", b"\r\n", b"streamkit:at", b"5", b"streamkit:redrives", b"7"]
    await bury(client, letters_of(name), provenance(name, cause=Cause.UNDECODABLE), *flat)
    assert await DeadLetterQueue(client, letters_of(name)).redrive() == 1
    (_, (_, fields)) = await raw(client, name)
    assert fields == flat
    assert list((await recorded(client, name)).values()) == [1]


async def test_it_is_remembered_how_often_an_entry_was_moved_back(client: redis.asyncio.Redis, name: str) -> None:
    await client.xadd(name, {"n": 0})
    for redriven in (0, 1, 2, 998, 999, 5000):
        await bury(client, letters_of(name), provenance(name, redrives=redriven), b"n", b"1")
    record = f"{{{name}}}:redrives"
    now = time.time_ns() // 1_000_000
    await client.zadd(record, {"1-0": (now - 31 * DAY_MS) * 1000 + 4, "2-0": (now - 29 * DAY_MS) * 1000 + 5})
    assert await DeadLetterQueue(client, letters_of(name)).redrive(max_redrives=10_000) == 6
    _, *moved = map(str, await ids(client, name))
    assert await recorded(client, name) == {"2-0": 5, **dict(zip(moved, [1, 2, 3, 999, 999, 999], strict=True))}
    score: Any = await client.zscore(record, moved[0])
    assert abs(score // 1000 - now) < 60_000
    assert 29 * DAY_MS < await client.pttl(record) <= 30 * DAY_MS


async def test_letters_that_were_moved_back_often_are_passed_over(client: redis.asyncio.Redis, name: str) -> None:
    await client.xadd(name, {"n": -1})
    often = [
        await bury(client, letters_of(name), provenance(name, n + 1, redrives=n), b"n", b"%d" % n) for n in range(6)
    ]
    queue = DeadLetterQueue(client, letters_of(name))
    assert await queue.redrive(dry_run=True) == 3
    assert await queue.redrive() == 3
    assert await queue.redrive(max_redrives=5) == 2
    assert await queue.redrive() == 0
    assert await numbers(client, name) == [-1, 0, 1, 2, 3, 4]
    assert await queue.redrive([often[5]]) == 1
    assert await numbers(client, name) == [-1, 0, 1, 2, 3, 4, 5]


async def reject_next(client: redis.asyncio.Redis, name: str) -> None:
    """A consumer that rejects one entry and ends."""
    consumer = GroupConsumer(client, name, "billing", observer=Observer())

    async def reject(_: Delivery) -> None:
        consumer.stop()
        raise Reject("no such card")

    await consumer.run(reject)


async def test_an_entry_that_a_group_rejects_again_and_again_does_not_go_in_circles(
    client: redis.asyncio.Redis, name: str
) -> None:
    await client.xadd(name, {"n": 7})
    queue = DeadLetterQueue(client, letters_of(name))
    for redriven in range(4):
        await reject_next(client, name)
        (letter,) = {letter.id: letter async for letter in queue}.values()
        assert (letter.cause, letter.reason, letter.redrives) == (Cause.REJECTED, "no such card", redriven)
        assert (letter.group, letter.attempt, letter.fields) == ("billing", 1, {b"n": b"7"})
        assert letter.entry_id == (await ids(client, name))[-1]
        assert await queue.redrive() == (1 if redriven < 3 else 0)
    assert await numbers(client, name) == [7, 7, 7, 7]


async def test_only_as_many_as_the_limit_allows(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 60)
    assert await queue.redrive(limit=0) == 0
    assert await queue.redrive(limit=13) == 13
    assert await queue.redrive(limit=10) == 10
    assert await queue.redrive([f"{n}-0" for n in range(40, 60)], limit=3) == 3
    assert await numbers(client, name) == [-1, *range(23), 39, 40, 41]
    assert await queue.redrive(limit=1000) == 34


async def test_a_dry_run_moves_nothing(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 30)
    assert await queue.redrive(dry_run=True) == 30
    assert await queue.redrive(dry_run=True, limit=12) == 12
    assert await queue.redrive(["3-0", "4-0", "77-0"], dry_run=True, rate=0.001) == 2
    assert await queue.redrive(dry_run=True, to=f"{name}:new") == 30
    assert await queue.length() == 30
    assert await numbers(client, name) == [-1]
    assert await keys_like(client, f"*{name}*") == {name, letters_of(name)}


async def test_not_faster_than_asked_for(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 21)
    now: Any = await client.time()
    start, began = now[0] * 1000 + now[1] // 1000, time.monotonic()
    assert await queue.redrive(rate=50) == 21
    # Five at a time, the last one when twenty have had their time, counted from the beginning.
    assert 0.39 < time.monotonic() - began < 5
    moved = [entry_id.ms for entry_id in await ids(client, name)][1:]
    assert moved[-1] - start >= 390
    assert moved[10] - start >= 190


async def test_only_what_the_filters_leave(client: redis.asyncio.Redis, name: str) -> None:
    await client.xadd(name, {"n": -1})
    for n in range(40):
        group, cause = ("billing", "shipping")[n % 2], (Cause.REJECTED, Cause.EXHAUSTED)[n // 2 % 2]
        told = provenance(name, n, cause, group=group)
        await bury(client, letters_of(name), told, b"n", b"%d" % n, at=f"{n + 1}-0")
    queue = DeadLetterQueue(client, letters_of(name))
    assert await queue.redrive(group="billing", cause=Cause.REJECTED, end="20-0") == 5
    assert await numbers(client, name) == [-1, 0, 4, 8, 12, 16]
    assert await queue.redrive(group="shipping", start="31-0") == 5
    assert await queue.redrive(start=datetime.now(timezone.utc)) == 0
    assert await queue.length() == 30


async def test_only_those_named(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 30)
    chosen: list[EntryId | str] = [*(EntryId(n) for n in range(1, 26)), "29-0", "5-0", "77-0"]
    assert await queue.redrive(chosen) == 26
    assert await numbers(client, name) == [-1, *range(25), 28]


async def test_letters_without_fields_stay(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 3)
    trimmed = await bury(client, letters_of(name), provenance(name, 9, Cause.TRIMMED))
    unread = await bury(client, letters_of(name), provenance(name, 9, Cause.UNREAD, count=5))
    assert await queue.redrive(dry_run=True) == 3
    assert await queue.redrive() == 3
    assert await queue.length() == 2
    await bury(client, letters_of(name), provenance(name, 9), b"n", b"3")
    everything: list[EntryId] = [letter.id async for letter in queue]
    with pytest.raises(RedriveFailed, match=f"{trimmed}, {unread} have no fields to move back") as caught:
        await queue.redrive(everything)
    assert (caught.value.redriven, caught.value.left) == (1, 2)
    assert await numbers(client, name) == [-1, 0, 1, 2, 3]


async def test_letters_that_come_meanwhile_are_left(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy, redis.Redis.from_url(redis_url) as plain:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            queue = await stream_with_letters(client, name, 25)
            fields: Any = provenance(name).fields(5)
            other: Any = plain

            def again() -> None:
                """Write a letter, as a consumer does whose handler fails again at once."""
                other.execute_command("XADD", letters_of(name), "*", *fields, "n", "99")

            proxy.call_before(again, matching=lambda words: words[0].startswith(b"EVAL"), times=3)
            assert await queue.redrive() == 25
            assert await queue.length() == 3


# Where to -----------------------------------------------------------------------------------------------------------


async def test_a_stream_that_is_gone_is_not_made_anew(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 3)
    gone = f"{name}:20250101"
    for n in range(15):
        await bury(client, letters_of(name), provenance(gone, n), b"n", b"%d" % (10 + n))
    await bury_many(client, f"{name}:more", name, 1)
    await bury(client, letters_of(name), provenance(name), b"n", b"3")
    for dry_run in (True, False):
        with pytest.raises(RedriveFailed, match=f"the stream '{gone}' does not exist any more") as caught:
            await queue.redrive(dry_run=dry_run)
        assert (caught.value.streams, caught.value.left, caught.value.redriven) == ((gone,), 15, 4)
        assert "say where its letters are to go with to=" in str(caught.value)
    assert await numbers(client, name) == [-1, 0, 1, 2, 3]
    assert not await client.exists(gone, f"{{{gone}}}:redrives")
    assert await queue.length() == 15
    assert await queue.redrive(to=name) == 15
    assert await numbers(client, name) == [-1, 0, 1, 2, 3, *range(10, 25)]


async def test_elsewhere_by_key(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 15)
    other = f"{name}:again"
    assert await queue.redrive(to=other, limit=12) == 12
    assert await queue.redrive(to=Stream(client, other)) == 3
    assert await numbers(client, other) == list(range(15))
    assert len(await recorded(client, other)) == 15
    assert await client.ttl(other) == -1
    assert await numbers(client, name) == [-1]


async def test_elsewhere_trimmed_as_ever(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 25)
    capped = CappedStream(client, f"{name}:capped", maxlen=4, approximate=False)
    assert await queue.redrive(to=capped) == 25
    assert await numbers(client, capped.key) == [21, 22, 23, 24]


async def test_elsewhere_into_the_partition_of_today(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 12)
    days = PartitionedStream(client, f"{name}:days", retention=timedelta(days=3))
    assert await queue.redrive(to=days) == 12
    (key,) = await days.keys()
    assert await numbers(client, key) == list(range(12))
    newest = (await ids(client, key))[-1]
    assert await days.expires_at(key) == newest.time + timedelta(days=3)


@pytest.mark.parametrize("off", [timedelta(days=-1), timedelta(days=1)])
async def test_the_partition_is_that_of_the_servers_clock(
    client: redis.asyncio.Redis, name: str, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    queue = await stream_with_letters(client, name, 25)
    days = PartitionedStream(client, f"{name}:days")

    def wrong() -> int:
        return time.time_ns() + off // timedelta(microseconds=1) * 1000

    monkeypatch.setattr(streamkit.asyncio.partitioned, "time", SimpleNamespace(time_ns=wrong))
    assert await queue.redrive(to=days) == 25
    (key,) = await days.keys()
    assert key == days.key_for((await ids(client, key))[-1].time)
    assert await numbers(client, key) == list(range(25))


async def test_a_wrong_type_of_key_moves_nothing(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 5)
    await client.set(f"{name}:text", "x")
    with pytest.raises(WrongKeyType, match=f"the key '{name}:text' holds a string, not a stream"):
        await queue.redrive(to=f"{name}:text")
    await client.set(f"{{{name}}}:redrives", "x")
    with pytest.raises(WrongKeyType, match=rf"the key '\{{{name}\}}:redrives' holds a string, not a zset"):
        await queue.redrive()
    await client.delete(name)
    await client.set(name, "x")
    with pytest.raises(WrongKeyType, match=f"the key '{name}' holds a string, not a stream"):
        await queue.redrive()
    assert await queue.length() == 5


async def test_a_wrong_type_found_late_says_what_was_moved(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 10)
    await client.set(f"{name}:text", "x")
    await bury(client, letters_of(name), provenance(f"{name}:text"), b"n", b"10")
    with pytest.raises(WrongKeyType, match=r"\(entries of this call written before it: 10\)"):
        await queue.redrive()
    assert await numbers(client, name) == list(range(-1, 10))
    assert await queue.length() == 1


async def test_what_the_server_refuses_stays(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 2)
    full = f"{name}:full"
    plain: Any = client
    await plain.xadd(full, {"n": 0}, "18446744073709551615-18446744073709551615")
    await bury(client, letters_of(name), provenance(full), b"n", b"2")
    with pytest.raises(RedriveFailed, match=f"the stream '{full}' refused an entry: ") as caught:
        await queue.redrive()
    assert (caught.value.redriven, caught.value.left) == (2, 1)
    assert await queue.length() == 1


async def test_what_cannot_be_is_refused_at_once(redis_url: str, name: str) -> None:
    unreachable = redis.asyncio.Redis(port=1)
    queue = DeadLetterQueue(unreachable, "letters")
    for to in ("letters", Stream(unreachable, "letters")):
        with pytest.raises(InvalidArgument, match="'letters' cannot be moved to itself"):
            await queue.redrive(to=to)
    with pytest.raises(InvalidArgument, match="give either ids or group, cause, start and end, not both"):
        await queue.redrive(["5-1"], cause=Cause.REJECTED)
    wrong: list[dict[str, Any]] = [{"limit": -1}, {"rate": 0}, {"max_redrives": 0}, {"ids": "5-1"}, {"to": ""}]
    for arguments in wrong:
        with pytest.raises(InvalidArgument):
            await queue.redrive(**arguments)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        with pytest.raises(InvalidArgument, match="one atomic step needs one server and database"):
            await queue.redrive(to=Stream(client, name))


# When replies are lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [None, "partitioned"])
async def test_a_lost_reply_doubles_nothing_and_counts(redis_url: str, name: str, to: str | None) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            queue = await stream_with_letters(client, name, 100)
            days = PartitionedStream(client, f"{name}:days")
            proxy.cut_after_request(matching=b"EVAL", nth=1)
            proxy.cut_after_request(matching=b"EVAL", nth=4)
            proxy.cut_before_request(matching=b"EVAL", nth=5)
            proxy.cut_amid_reply(matching=b"EVAL", nth=7)
            proxy.cut_amid_reply(matching=b"EVAL", nth=8)
            assert await queue.redrive(to=None if to is None else days) == 100
            assert proxy.cuts == 5
            target = name if to is None else (await days.keys())[0]
            assert await numbers(client, target) == list(range(-1 if to is None else 0, 100))
            assert len(await recorded(client, target)) == 100
            assert await queue.length() == 0


async def test_lost_replies_of_a_dry_run_move_nothing(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            queue = await stream_with_letters(client, name, 30)
            proxy.cut_after_request(matching=b"EVAL", nth=2)
            assert await queue.redrive(dry_run=True) == 30
            assert (proxy.cuts, await queue.length()) == (1, 30)


@pytest.mark.parametrize("seed", range(5))
async def test_a_bad_network_loses_and_doubles_nothing(redis_url: str, name: str, seed: int) -> None:
    dice = random.Random(seed)
    with Proxy(redis_url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            queue = await stream_with_letters(client, name, 200)
            assert await queue.length() == 200
            faults = (Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AMID)
            proxy.cut_at_random(0.3, dice, matching=lambda words: words[0] != b"CLIENT", faults=faults)
            moved = await queue.redrive()
            proxy.clear()
            assert proxy.cuts > 3
            assert moved == 200
            assert await numbers(client, name) == list(range(-1, 200))


async def test_several_at_once_share_the_letters(redis_url: str, name: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client, redis.asyncio.Redis.from_url(redis_url) as other:
        queue = await stream_with_letters(client, name, 500)
        twin = DeadLetterQueue(other, letters_of(name))

        async def first() -> int:
            return await queue.redrive()

        async def second() -> int:
            return await twin.redrive()

        async with running(first) as one, running(second) as two, running(first) as three:
            assert await one.result() + await two.result() + await three.result() == 500
        assert sorted(await numbers(client, name)) == list(range(-1, 500))


async def test_a_forgotten_script_is_sent_again(redis_url: str, name: str) -> None:
    with Proxy(redis_url) as proxy, redis.Redis.from_url(redis_url) as plain:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            queue = await stream_with_letters(client, name, 50)
            flush: Any = plain.script_flush
            proxy.call_before(flush, matching=b"EVALSHA", nth=2)
            assert await queue.redrive() == 50
        assert proxy.counts[b"EVAL"] >= 1


# When the server refuses --------------------------------------------------------------------------------------------

NEEDED = ("xadd", "xdel", "zadd", "zremrangebyscore", "pexpire")


async def test_a_user_who_may_not_do_all_of_it_does_none() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain:
        admin: Any = plain
        async with redis.asyncio.Redis.from_url(url) as client:
            await stream_with_letters(client, "orders", 5)
            before = await raw(client, letters_of("orders"))
            admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
            days_key = PartitionedStream(client, "days").key_for(datetime.now(timezone.utc))
            async with redis.asyncio.Redis.from_url(url, username="app", password="secret") as limited:
                queue = DeadLetterQueue(limited, letters_of("orders"))
                partitioned = PartitionedStream(limited, "days")
                capped = CappedStream(limited, "capped", maxlen=1)
                cases: list[tuple[str, Any]] = [(command, None) for command in NEEDED]
                for command, to in [*cases, ("pexpireat", partitioned), ("xtrim", capped)]:
                    admin.execute_command("ACL", "SETUSER", "app", f"-{command}")
                    with pytest.raises(PermissionDenied, match="grant the user this command and its keys"):
                        await queue.redrive(to=to)
                    admin.execute_command("ACL", "SETUSER", "app", f"+{command}")
                    assert await raw(client, letters_of("orders")) == before
                    assert await numbers(client, "orders") == [-1]
                    assert not await client.exists("{orders}:redrives", "capped", days_key)
                assert await queue.redrive() == 5


async def test_a_refusal_for_now_is_waited_out() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as plain, Proxy(url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            queue = await stream_with_letters(client, "orders", 50)
            proxy.call_before(lambda: plain.config_set("maxmemory", "1"), matching=b"EVAL", nth=3)

            async def redrive() -> int:
                return await queue.redrive()

            async with running(redrive) as redriving:
                await until(lambda: proxy.counts[b"EVALSHA"] + proxy.counts[b"EVAL"] >= 5)
                assert not redriving.done
                plain.config_set("maxmemory", "0")
                assert await redriving.result() == 50
            assert await numbers(client, "orders") == list(range(-1, 50))


async def test_a_server_that_stays_away_says_what_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamkit.asyncio.insisting, "PATIENCE", 0.2)
    with redis_server() as url, Proxy(url) as proxy:
        async with redis.asyncio.Redis.from_url(proxy.url) as client:
            queue = await stream_with_letters(client, "orders", 50)
            proxy.call_before(proxy.down, matching=b"EVAL", nth=3)
            with pytest.raises(ServerUnavailable, match=r"\(entries of this call written before it: 20\)"):
                await queue.redrive()
            proxy.clear()
            # Moved, or not: the call that the connection was lost under.
            rest = await queue.redrive()
            assert rest in {20, 30}
            assert await numbers(client, "orders") == list(range(-1, 50))


# Stopping -----------------------------------------------------------------------------------------------------------


async def test_a_long_redrive_can_be_stopped(client: redis.asyncio.Redis, name: str) -> None:
    queue = await stream_with_letters(client, name, 50)

    async def redrive() -> int:
        return await queue.redrive(rate=0.1)

    async def begun() -> bool:
        return await queue.length() < 50

    async with running(redrive) as redriving:
        await until(begun)
        queue.stop()
        moved = await redriving.result()
    assert 1 <= moved <= 3
    assert await queue.length() == 50 - moved
    # A signal may come just before the redrive; it ends that one, and no other.
    queue.stop()
    assert await queue.redrive() == 0
    assert await queue.redrive() == 50 - moved
    assert await numbers(client, name) == list(range(-1, 50))
