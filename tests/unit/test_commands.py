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
        (commands.xinfo_stream("temps"), "XINFO STREAM temps"),
        (commands.xlen("temps"), "XLEN temps"),
        (commands.exists("temps"), "EXISTS temps"),
        (commands.pexpiretime("temps"), "PEXPIRETIME temps"),
        (commands.unlink("a", "b"), "UNLINK a b"),
        (commands.hgetall("state"), "HGETALL state"),
        (commands.xtrim("temps", commands.trim_words("MAXLEN", "~", 120, "")), "XTRIM temps MAXLEN ~ 120"),
        (commands.xtrim("temps", commands.trim_words("MINID", "~", 5, 0)), "XTRIM temps MINID ~ 5 LIMIT 0"),
        (commands.HAS_XCFGSET, "COMMAND INFO XCFGSET"),
        (commands.hmget("state", "a", "b"), "HMGET state a b"),
        (commands.TIME, "TIME"),
        (commands.INFO_SERVER, "INFO server"),
        (commands.INFO_MEMORY, "INFO memory"),
    ],
)
def test_each_command_is_written_as_in_the_manual(command: Command, words: str) -> None:
    assert " ".join(map(str, command)) == words
