"""The rules for users of the server's ACL, as docs/guides/permissions.md shows them: nowhere else are they written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "permissions.md"
PASSWORD = "secret"
OPTIONAL = ("+info", "+command|info")


@dataclass(frozen=True)
class Rule:
    """What one user may do."""

    keys: tuple[str, ...]
    """Patterns."""
    commands: tuple[str, ...]
    """Each as ``+name`` or ``+name|subcommand``."""
    explained: frozenset[str]
    """What the table below the rule explains."""
    newer: tuple[str, ...] = ()
    """What comes in on newer servers."""

    def without(self, word: str) -> Rule:
        """The same without a pattern or a command."""
        keys, commands = (tuple(each for each in words if each != word) for words in (self.keys, self.commands))
        return replace(self, keys=keys, commands=commands)


def rules() -> dict[str, Rule]:
    """Every rule of the page, by its user."""
    found: dict[str, Rule] = {}
    for piece in re.split(r"^```text\nACL SETUSER ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        text, _, below = piece.partition("```")
        user, *words = text.split()
        commands = tuple(word for word in words if word.startswith("+"))
        if user in found:
            found[user] = replace(found[user], newer=tuple(word for word in commands if word not in OPTIONAL))
            continue
        assert words[:3] == ["reset", "on", f">{PASSWORD}"]
        keys = tuple(word for word in words[3:] if not word.startswith("+"))
        table = below.split("\n| commands | for |\n", 1)[1].split("\n\n", 1)[0].replace("\\|", "/")
        cells = [row.split("|")[1] for row in table.splitlines()[1:]]
        explained = {word.replace("/", "|") for cell in cells for word in re.findall(r"`(\+[^`]+)`", cell)}
        found[user] = Rule(keys, commands, frozenset(explained))
    return found


class Users:
    """Makes users of a server: each may do what a rule says, with keys of the test's own.

    Args:
        url: The server, for one who may do everything.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = redis.Redis.from_url(url)
        self._admin: Any = self._client

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    @contextmanager
    def user(self, rule: Rule, prefix: str, *more: str) -> Iterator[str]:
        """A user with this rule, for keys whose names begin so; gives the URL to connect with."""
        keys = [re.sub(r"~(\{?)", rf"~\g<1>{prefix}", pattern) for pattern in rule.keys]
        self._set(prefix, "reset", "on", f">{PASSWORD}", *keys, *rule.commands, *more)
        try:
            parts = urlsplit(self._url)
            netloc = f"{prefix}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"
            yield urlunsplit(parts._replace(netloc=netloc))
        finally:
            self._admin.execute_command("ACL", "DELUSER", prefix)

    def newer(self, rule: Rule, prefix: str) -> Sequence[str]:
        """What a rule needs besides on this server: nothing where it does not know all of that."""
        with suppress(redis.ResponseError):
            self._set(prefix, *rule.newer)
            self._admin.execute_command("ACL", "DELUSER", prefix)
            return rule.newer
        return ()

    def _set(self, *words: str) -> None:
        self._admin.execute_command("ACL", "SETUSER", *words)
