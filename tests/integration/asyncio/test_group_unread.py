"""What is trimmed before a group had it is counted, though most looks for it are cut short."""

from __future__ import annotations

import random
from typing import Any

import pytest
import redis
import redis.asyncio

from streamkit._core.scripts import UNREAD, Script
from streamkit.asyncio import CappedStream, Delivery
from streamkit.testing import redis_server
from tests.integration.asyncio._failing import calls_of, consumer_of, through
from tests.integration.asyncio._groups import GROUP, Fields, Seen, consuming, includes, letters_in, settled
from tests.integration.asyncio._looking import entries
from tests.integration.asyncio._readers import raw, told, write
from tests.integration.asyncio._runtime import until
from tests.integration.asyncio.test_group_trimmed import nobody_waits
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

COUNT = 10
"""Entries in a read."""
SHARED = "-- What the scripts share"
WHOLE = Script("unread", "#!lua\n" + UNREAD.source[UNREAD.source.index(SHARED) :])
"""The script without its short cut."""


async def unread_in(client: redis.asyncio.Redis, key: str) -> list[int]:
    """How many entries each dead letter counts as unread."""
    letters = await letters_in(client, key)
    assert {letter.cause.value for letter in letters} <= {"unread"}
    return [letter.count for letter in letters]


async def outcome(client: redis.asyncio.Redis, script: Script, key: str, to: str) -> Any:
    """What a script makes of a copy of a stream: its reply, the group, and how many dead letters there are."""
    await client.delete(to, f"{to}:letters")
    await raw(client).copy(key, to)
    reply: Any = await raw(client).eval(script.source, 3, to, f"{to}:letters", f"{to}:redrives", GROUP, "a", 1000)
    return reply, await raw(client).xinfo_groups(to), await client.xlen(f"{to}:letters")


@pytest.mark.parametrize("seed", range(5))
async def test_the_short_cut_changes_nothing(client: redis.asyncio.Redis, name: str, seed: int) -> None:
    dice, counted = random.Random(seed), 0
    await write(client, name, 0)
    await raw(client).xgroup_create(name, GROUP, dice.choice(["0", "$"]))
    await raw(client).xgroup_create(name, "other", "0")
    for _ in range(150):
        ids = [str(entry_id) for entry_id, _ in await entries(client, name)]
        match dice.choice(["write", "write", "read", "read", "trim", "trim", "delete", "set", "make"]):
            case "write":
                await write(client, name, *range(dice.randrange(1, 12)))
            case "read":
                await raw(client).xreadgroup(GROUP, "a", {name: ">"}, count=dice.randrange(1, 8))
            case "trim":
                await raw(client).xtrim(name, maxlen=dice.randrange(len(ids) + 1), approximate=False)
            case "delete" if ids and dice.random() < 0.3:
                await client.xdel(name, dice.choice(ids))
            case "set" if ids:
                read = dice.choice([None, 0, 1, 10])
                await raw(client).xgroup_setid(name, GROUP, dice.choice(["0", "$", *ids]), entries_read=read)
            case "make" if dice.random() < 0.3:
                await raw(client).xgroup_destroy(name, GROUP)
                await raw(client).xgroup_create(name, GROUP, "0")
            case _:
                continue
        whole = await outcome(client, WHOLE, name, f"{{{name}}}:whole")
        assert await outcome(client, UNREAD, name, f"{{{name}}}:short") == whole
        counted += whole[2]
        if dice.random() < 0.5:
            await raw(client).eval(UNREAD.source, 3, name, f"{name}:l", f"{name}:r", GROUP, "a", 1000)
    assert counted


async def test_every_entry_of_a_stream_trimmed_behind_a_busy_consumer_is_handled_or_counted(
    client: redis.asyncio.Redis, name: str
) -> None:
    stream, total = CappedStream(client, name, maxlen=60, approximate=False), 3000
    written = 1

    async def go_ahead(_: Delivery[Fields]) -> None:
        # Three for each that is handled, so that the consumer falls behind and never waits.
        nonlocal written
        more = range(written, min(total, written + 3))
        written += len(more)
        await stream.append_many({"n": n} for n in more)

    recorder, seen = Recorder(), Seen(go_ahead)
    await stream.append({"n": 0})
    async with consuming(consumer_of(client, name, recorder, count=20), seen):
        await until(lambda: written == total)
        await until(settled(client, name))
    unread = await unread_in(client, name)
    assert sum(unread) > total / 3
    assert seen.tries == [(n, 1) for n in sorted(set(seen.numbers))]
    assert len(seen.tries) + sum(unread) == total
    assert [count for _, _, count, _, _ in recorder.of("on_unread")] == unread


async def test_a_loss_behind_a_cursor_that_was_set_back_is_counted_though_what_was_read_last_is_still_there(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    ids = await write(client, name, *range(100))
    with redis.Redis.from_url(redis_url) as plain:

        async def set_back(delivery: Delivery[Fields]) -> None:
            if delivery.value["n"] == "24" and not back:
                # The read after the one in hand is done, and its reply on its way.
                def ahead() -> bool:
                    groups: Any = plain.xinfo_groups(name)
                    return bool(groups[0]["pending"] > COUNT)

                await until(ahead)
                back.append(True)
                plain.xgroup_setid(name, GROUP, "0", entries_read=0)
                plain.xtrim(name, minid=str(ids[7]), approximate=False)

        back = list[bool]()
        recorder, seen = Recorder(), Seen(set_back)
        async with consuming(consumer_of(client, name, recorder, count=COUNT), seen):
            await until(lambda: bool(back))
            await until(settled(client, name))
    assert await unread_in(client, name) == [7]
    assert recorder.of("on_unread") == [(name, GROUP, 7, "0-0", str(ids[7]))]
    assert set(seen.handled) == set(range(100))


async def test_a_loss_while_the_connection_was_away_is_counted_by_a_server_that_forgot_the_script(
    redis_url: str, client: redis.asyncio.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    async with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        await write(client, name, 0)
        await until(settled(client, name))
        proxy.down()
        await until(told(recorder, "on_unavailable"))
        await until(lambda: nobody_waits(client))
        await write(client, name, *range(1, 101))
        await raw(client).xtrim(name, maxlen=10, approximate=False)
        # Once more just before it is looked for: other tests may run there, too.
        with redis.Redis.from_url(redis_url) as plain:
            proxy.call_before(plain.script_flush, matching=calls_of(UNREAD))
            proxy.up()
            await until(settled(client, name))
    assert seen.numbers == [0, *range(91, 101)]
    assert await unread_in(client, name) == [90]


async def test_a_loss_is_counted_while_the_server_is_out_of_memory() -> None:
    async def lose(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "24":
            await write(client, "s", *range(100, 300))
            await raw(client).xtrim("s", maxlen=20, approximate=False)
            await raw(client).config_set("maxmemory", "1")

    recorder, seen = Recorder(), Seen(lose)
    with redis_server() as url:
        async with redis.asyncio.Redis.from_url(url) as client:
            await write(client, "s", *range(100))
            async with consuming(consumer_of(client, "s", recorder, count=COUNT), seen):
                await until(includes(seen.handled, 299))
                await raw(client).config_set("maxmemory", "0")
                await until(settled(client, "s"))
            unread = await unread_in(client, "s")
    assert unread
    assert seen.tries == [(n, 1) for n in sorted(set(seen.numbers))]
    assert len(seen.tries) + sum(unread) == 300
