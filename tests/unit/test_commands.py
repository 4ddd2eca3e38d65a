"""Commands as the server's manual writes them."""

from __future__ import annotations

import pytest

from streamkit._core import commands
from streamkit._core.ids import EntryId
from streamkit._core.protocol import Command


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (commands.xread("temps", EntryId(5, 1), 100), "XREAD COUNT 100 STREAMS temps 5-1"),
        (commands.xread("temps", EntryId(5, 1), 100, 500), "XREAD COUNT 100 BLOCK 500 STREAMS temps 5-1"),
        (commands.xread("temps", EntryId(0), 1, 0), "XREAD COUNT 1 BLOCK 0 STREAMS temps 0-0"),
        (commands.xrange("temps", EntryId(5), EntryId(6, 1), 10), "XRANGE temps 5-0 6-1 COUNT 10"),
        (commands.xrevrange("temps", EntryId(5), EntryId(6, 1), 10), "XREVRANGE temps 6-1 5-0 COUNT 10"),
        (commands.xdel("temps", EntryId(5), EntryId(6, 1)), "XDEL temps 5-0 6-1"),
        (commands.xinfo_stream("temps"), "XINFO STREAM temps"),
        (commands.xlen("temps"), "XLEN temps"),
        (commands.exists("temps"), "EXISTS temps"),
        (commands.pexpiretime("temps"), "PEXPIRETIME temps"),
        (commands.unlink("a", "b"), "UNLINK a b"),
        (commands.hgetall("state"), "HGETALL state"),
        (commands.xtrim("temps", commands.trim_words("MAXLEN", "~", 120, "")), "XTRIM temps MAXLEN ~ 120"),
        (commands.xtrim("temps", commands.trim_words("MINID", "~", 5, 0)), "XTRIM temps MINID ~ 5 LIMIT 0"),
        (commands.HAS_XCFGSET, "COMMAND INFO XCFGSET"),
        (commands.HAS_XACKDEL, "COMMAND INFO XACKDEL"),
        (commands.xackdel("k", "g", ["1-0", "2-0"]), "XACKDEL k g ACKED IDS 2 1-0 2-0"),
        (commands.hmget("state", "a", "b"), "HMGET state a b"),
        (commands.TIME, "TIME"),
        (commands.INFO_SERVER, "INFO server"),
        (commands.INFO_MEMORY, "INFO memory"),
        (commands.xack("temps", "g", ["1-0", "2-0"]), "XACK temps g 1-0 2-0"),
        (commands.xgroup_create("temps", "g", "0", make=True), "XGROUP CREATE temps g 0 MKSTREAM"),
        (commands.xgroup_create("temps", "g", "$", make=False), "XGROUP CREATE temps g $"),
        (commands.xgroup_create("temps", "g", "5-1", read=7), "XGROUP CREATE temps g 5-1 ENTRIESREAD 7"),
        (commands.xreadgroup(["temps"], "g", "a", 10), "XREADGROUP GROUP g a COUNT 10 STREAMS temps >"),
        (commands.xreadgroup(["a", "b"], "g", "c", 1, 500), "XREADGROUP GROUP g c COUNT 1 BLOCK 500 STREAMS a b > >"),
        (commands.xpending("temps", "g", "-", 100), "XPENDING temps g - + 100"),
        (commands.xpending("temps", "g", "(1-0", 100), "XPENDING temps g (1-0 + 100"),
        (commands.xpending("temps", "g", "-", 100, "c"), "XPENDING temps g - + 100 c"),
        (commands.xinfo_groups("temps"), "XINFO GROUPS temps"),
        (commands.hset("record", "a", 1, "b", "2"), "HSET record a 1 b 2"),
        (commands.hsetnx("record", "a", 1), "HSETNX record a 1"),
    ],
)
def test_each_command_is_written_as_in_the_manual(command: Command, words: str) -> None:
    assert " ".join(map(str, command)) == words
