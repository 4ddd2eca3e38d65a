# Generated from tests/integration/asyncio/test_group_unread.py by tools/generate_sync.py: do not edit.
"""What is trimmed before a group had it is counted, though most looks for it are cut short."""

from __future__ import annotations

import random
from typing import Any

import pytest
import redis

from streamkit import CappedStream, Delivery
from streamkit._core.scripts import UNREAD, Script
from streamkit.testing import redis_server
from tests.integration._sync._failing import calls_of, consumer_of, through
from tests.integration._sync._groups import GROUP, Fields, Seen, consuming, includes, letters_in, settled
from tests.integration._sync._looking import entries
from tests.integration._sync._readers import raw, told, write
from tests.integration._sync._runtime import until
from tests.integration._sync.test_group_trimmed import nobody_waits
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

COUNT = 10
"""Entries in a read."""
SHARED = "-- What the scripts share"
WHOLE = Script("unread", "#!lua\n" + UNREAD.source[UNREAD.source.index(SHARED) :])
"""The script without its short cut."""


def unread_in(client: redis.Redis, key: str) -> list[int]:
    """How many entries each dead letter counts as unread."""
    letters = letters_in(client, key)
    assert {letter.cause.value for letter in letters} <= {"unread"}
    return [letter.count for letter in letters]


def outcome(client: redis.Redis, script: Script, key: str, to: str) -> Any:
    """What a script makes of a copy of a stream: its reply, the group, and how many dead letters there are."""
    client.delete(to, f"{to}:letters")
    raw(client).copy(key, to)
    reply: Any = raw(client).eval(script.source, 3, to, f"{to}:letters", f"{to}:redrives", GROUP, "a", 1000)
    return reply, raw(client).xinfo_groups(to), client.xlen(f"{to}:letters")


@pytest.mark.parametrize("seed", range(5))
def test_the_short_cut_changes_nothing(client: redis.Redis, name: str, seed: int) -> None:
    dice, counted = random.Random(seed), 0
    write(client, name, 0)
    raw(client).xgroup_create(name, GROUP, dice.choice(["0", "$"]))
    raw(client).xgroup_create(name, "other", "0")
    for _ in range(150):
        ids = [str(entry_id) for entry_id, _ in entries(client, name)]
        match dice.choice(["write", "write", "read", "read", "trim", "trim", "delete", "set", "make"]):
            case "write":
                write(client, name, *range(dice.randrange(1, 12)))
            case "read":
                raw(client).xreadgroup(GROUP, "a", {name: ">"}, count=dice.randrange(1, 8))
            case "trim":
                raw(client).xtrim(name, maxlen=dice.randrange(len(ids) + 1), approximate=False)
            case "delete" if ids and dice.random() < 0.3:
                client.xdel(name, dice.choice(ids))
            case "set" if ids:
                read = dice.choice([None, 0, 1, 10])
                raw(client).xgroup_setid(name, GROUP, dice.choice(["0", "$", *ids]), entries_read=read)
            case "make" if dice.random() < 0.3:
                raw(client).xgroup_destroy(name, GROUP)
                raw(client).xgroup_create(name, GROUP, "0")
            case _:
                continue
        whole = outcome(client, WHOLE, name, f"{{{name}}}:whole")
        assert outcome(client, UNREAD, name, f"{{{name}}}:short") == whole
        counted += whole[2]
        if dice.random() < 0.5:
            raw(client).eval(UNREAD.source, 3, name, f"{name}:l", f"{name}:r", GROUP, "a", 1000)
    assert counted


def test_every_entry_of_a_stream_trimmed_behind_a_busy_consumer_is_handled_or_counted(
    client: redis.Redis, name: str
) -> None:
    stream, total = CappedStream(client, name, maxlen=60, approximate=False), 3000
    written = 1

    def go_ahead(_: Delivery[Fields]) -> None:
        # Three for each that is handled, so that the consumer falls behind and never waits.
        nonlocal written
        more = range(written, min(total, written + 3))
        written += len(more)
        stream.append_many({"n": n} for n in more)

    recorder, seen = Recorder(), Seen(go_ahead)
    stream.append({"n": 0})
    with consuming(consumer_of(client, name, recorder, count=20), seen):
        until(lambda: written == total)
        until(settled(client, name))
    unread = unread_in(client, name)
    assert sum(unread) > total / 3
    assert seen.tries == [(n, 1) for n in sorted(set(seen.numbers))]
    assert len(seen.tries) + sum(unread) == total
    assert [count for _, _, count, _, _ in recorder.of("on_unread")] == unread


def test_a_loss_behind_a_cursor_that_was_set_back_is_counted_though_what_was_read_last_is_still_there(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    ids = write(client, name, *range(100))
    with redis.Redis.from_url(redis_url) as plain:

        def set_back(delivery: Delivery[Fields]) -> None:
            if delivery.value["n"] == "24" and not back:
                # The read after the one in hand is done, and its reply on its way.
                def ahead() -> bool:
                    groups: Any = plain.xinfo_groups(name)
                    return bool(groups[0]["pending"] > COUNT)

                until(ahead)
                back.append(True)
                plain.xgroup_setid(name, GROUP, "0", entries_read=0)
                plain.xtrim(name, minid=str(ids[7]), approximate=False)

        back = list[bool]()
        recorder, seen = Recorder(), Seen(set_back)
        with consuming(consumer_of(client, name, recorder, count=COUNT), seen):
            until(lambda: bool(back))
            until(settled(client, name))
    assert unread_in(client, name) == [7]
    assert recorder.of("on_unread") == [(name, GROUP, 7, "0-0", str(ids[7]))]
    assert set(seen.handled) == set(range(100))


def test_a_loss_while_the_connection_was_away_is_counted_by_a_server_that_forgot_the_script(
    redis_url: str, client: redis.Redis, name: str
) -> None:
    recorder, seen = Recorder(), Seen()
    with through(redis_url) as (proxy, cut), consuming(consumer_of(cut, name, recorder), seen):
        write(client, name, 0)
        until(settled(client, name))
        proxy.down()
        until(told(recorder, "on_unavailable"))
        until(lambda: nobody_waits(client))
        write(client, name, *range(1, 101))
        raw(client).xtrim(name, maxlen=10, approximate=False)
        # Once more just before it is looked for: other tests may run there, too.
        with redis.Redis.from_url(redis_url) as plain:
            proxy.call_before(plain.script_flush, matching=calls_of(UNREAD))
            proxy.up()
            until(settled(client, name))
    assert seen.numbers == [0, *range(91, 101)]
    assert unread_in(client, name) == [90]


def test_a_loss_is_counted_while_the_server_is_out_of_memory() -> None:
    def lose(delivery: Delivery[Fields]) -> None:
        if delivery.value["n"] == "24":
            write(client, "s", *range(100, 300))
            raw(client).xtrim("s", maxlen=20, approximate=False)
            raw(client).config_set("maxmemory", "1")

    recorder, seen = Recorder(), Seen(lose)
    with redis_server() as url:
        with redis.Redis.from_url(url) as client:
            write(client, "s", *range(100))
            with consuming(consumer_of(client, "s", recorder, count=COUNT), seen):
                until(includes(seen.handled, 299))
                raw(client).config_set("maxmemory", "0")
                until(settled(client, "s"))
            unread = unread_in(client, "s")
    assert unread
    assert seen.tries == [(n, 1) for n in sorted(set(seen.numbers))]
    assert len(seen.tries) + sum(unread) == 300
