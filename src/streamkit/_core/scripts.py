"""The server-side scripts: guard and effects as one step. Each declares its keys and starts with a shebang."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from importlib import resources

from streamkit._core.protocol import Command, Scalar


@dataclass(frozen=True)
class Script:
    """One script: its source, and the SHA1 by which a server that has seen it knows it."""

    name: str
    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: tuple[str, ...], arguments: tuple[Scalar, ...], *, known: bool) -> Command:
        """The command that runs it: by SHA1 where the server knows it, by source otherwise, which makes it known."""
        word: tuple[str, str] = ("EVALSHA", self.sha) if known else ("EVAL", self.source)
        return (*word, len(keys), *keys, *arguments)


_SOURCES: dict[str, str] = {}
_CALLED, _BUILT = (re.compile(rf"{before}'((?:(?:XINFO|XGROUP)', ')?[A-Z]+)'") for before in (r"call\(", r"= \{"))


def command_at(sha: str, line: int) -> str:
    """The command that a script runs in a line; empty: the script, or what it does there, is not known."""
    lines = _SOURCES.get(sha, "").splitlines()[:line]
    # Words that are put together begin in one of the lines above.
    command = _BUILT if lines and "call(unpack(" in lines[-1] else _CALLED
    found = next(filter(None, map(command.search, reversed(lines))), None)
    return found[1].replace("', '", " ") if found else ""


def by_source(command: Command) -> Command:
    """The same call by the script's source, for a server that may not have seen it."""
    _, sha, *rest = command
    return ("EVAL", _SOURCES[str(sha)], *rest)


def _read(name: str) -> str:
    return (resources.files("streamkit") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


def _load(name: str, *shared: str, before: tuple[str, ...] = (), flags: str = "") -> Script:
    script = Script(name, f"#!lua{flags}\n" + "".join(map(_read, (*before, "common", *shared, name))))
    _SOURCES[script.sha] = script.source
    return script


APPEND = _load("append")
OPEN = _load("open")
COMMIT = _load("commit", "effects")
EXPIRE = _load("expire")
SETTLE = _load("settle", "effects", "group")
CLAIM = _load("claim", "group")
BEGIN = _load("begin", "group")
BEAT = _load("beat", "group")
RELEASE = _load("release", "group")
TAKE_OVER = _load("take_over", "group")
# Not refused for want of memory, since the read behind it would not be, and would step over what is to be recorded.
UNREAD = _load("unread", "group", before=("last_kept",), flags=" flags=allow-oom")
HOLD = _load("hold", "group")
REST = _load("rest", "group")
RETIRE = _load("retire", "group")
REDRIVE = _load("redrive")
TRIM = _load("trim")
SHARE = _load("share")
ONCE_CLAIM = _load("once_claim")
ONCE_SETTLE = _load("once_settle")
