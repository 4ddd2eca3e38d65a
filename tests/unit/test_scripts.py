"""The scripts: called by their hash where the server knows them, written by the rules of cluster servers."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import pytest

from streamkit._core import scripts
from streamkit._core.scripts import COMMIT, EXPIRE, REST, SETTLE, UNREAD, Script

ALL = [script for script in vars(scripts).values() if isinstance(script, Script)]


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
class TestEveryScript:
    def test_starts_with_a_shebang(self, script: Script) -> None:
        assert re.match(r"#!lua( flags=allow-oom)?\n", script.source)

    def test_is_known_by_the_hash_of_its_source(self, script: Script) -> None:
        assert script.sha == hashlib.sha1(script.source.encode(), usedforsecurity=False).hexdigest()

    def test_makes_no_key_names(self, script: Script) -> None:
        # Servers in a cluster route by the declared keys: none may be put together inside.
        assert "KEYS[1]" in script.source
        assert not re.search(r"KEYS\[[^]]+\]\s*\.\.|\.\.\s*KEYS\[", script.source)

    def test_neither_blocks_nor_scans(self, script: Script) -> None:
        assert not re.search(r"'(KEYS|SCAN|BLOCK)'", script.source)
        # What is left of a partition is read to be buried, without waiting.
        assert ("'XREADGROUP'" in script.source) == (script is REST)


def test_a_script_the_server_knows_is_called_by_its_hash() -> None:
    assert COMMIT.call(("state", "out"), ("token", 1), known=True) == (
        "EVALSHA",
        COMMIT.sha,
        2,
        "state",
        "out",
        "token",
        1,
    )


def test_one_it_does_not_know_is_sent_by_its_source() -> None:
    assert EXPIRE.call(("temps:20250101",), (5,), known=False) == ("EVAL", EXPIRE.source, 1, "temps:20250101", 5)


def test_every_file_is_a_script_or_a_part_of_one() -> None:
    files = {path.name for path in (resources.files("streamkit") / "scripts").iterdir() if path.name.endswith(".lua")}
    parts = {"common.lua": SETTLE, "effects.lua": SETTLE, "group.lua": SETTLE, "last_kept.lua": UNREAD}
    assert files == {f"{script.name}.lua" for script in ALL} | parts.keys()
    for part, script in parts.items():
        source = (resources.files("streamkit") / "scripts" / part).read_text(encoding="utf-8")
        assert source in script.source


def test_scripts_differ() -> None:
    assert len({script.sha for script in ALL}) == len(ALL)
    assert Script("a", "return 1").sha != Script("a", "return 2").sha
