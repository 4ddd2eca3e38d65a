"""The rules for users of the server's ACL, as docs/guides/permissions.md shows them: nowhere else are they written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis

from streamkit.testing import Cluster

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "permissions.md"
PASSWORD = "secret"
OPTIONAL = ("+info", "+command|info")
CLUSTER = "\n## On a cluster\n"
"""Where the page turns from whole rules to what is to be added to them."""


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

    def joined(self, other: Rule) -> Rule:
        """The same with another's patterns and commands."""
        return replace(self, keys=self.keys + other.keys, commands=self.commands + other.commands)

    def of_shards(self, name: str) -> Rule:
        """The same for a sharded stream of this name, in place of the stream that the first pattern is about."""
        plain = [pattern.replace("{", "").replace("}", "") for pattern in self.keys]
        stream = re.split(r"[~:]", plain[0])[1]
        return replace(self, keys=tuple(each.replace(f"~{stream}", f"~{name}:{{*}}") for each in plain))


def rules() -> dict[str, Rule]:
    """Every rule of the page, by its user."""
    found: dict[str, Rule] = {}
    for user, words, below in _settings(PAGE.read_text("utf-8").partition(CLUSTER)[0]):
        commands = tuple(word for word in words if word.startswith("+"))
        if user in found:
            found[user] = replace(found[user], newer=tuple(word for word in commands if word not in OPTIONAL))
            continue
        assert words[:3] == ["reset", "on", f">{PASSWORD}"]
        keys = tuple(word for word in words[3:] if not word.startswith("+"))
        found[user] = Rule(keys, commands, _explained(below))
    return found


def additions() -> dict[str, Rule]:
    """What is to be added to rules on a cluster, by the user: the first of them to the rule of every block."""
    found: dict[str, Rule] = {}
    for user, words, below in _settings(PAGE.read_text("utf-8").partition(CLUSTER)[2]):
        commands = tuple(word for word in words if word.startswith("+"))
        keys = tuple(word for word in words if not word.startswith("+"))
        found[user] = Rule(keys, commands, _explained(below))
    return found


def _settings(page: str) -> Iterator[tuple[str, list[str], str]]:
    """Each ACL SETUSER that stands alone: the user, the rule's words, and the text below."""
    for piece in re.split(r"^```text\nACL SETUSER ", page, flags=re.MULTILINE)[1:]:
        text, _, below = piece.partition("```")
        user, *words = text.split()
        yield user, words, below


def _explained(below: str) -> frozenset[str]:
    """The commands in the first column of the next table."""
    table = below.partition("\n| commands | for |\n")[2].partition("\n\n")[0].replace("\\|", "/")
    cells = [row.split("|")[1] for row in table.splitlines()[1:]]
    return frozenset(word.replace("/", "|") for cell in cells for word in re.findall(r"`(\+[^`]+)`", cell))


class Users:
    """Makes users of a server: each may do what a rule says, with keys of the test's own.

    Args:
        url: The server, for one who may do everything.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = redis.Redis.from_url(url)
        admin: Any = self._client
        self._calls: list[Callable[..., object]] = [admin.execute_command]

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    @contextmanager
    def user(self, rule: Rule, prefix: str, *more: str) -> Iterator[str]:
        """A user with this rule, for keys whose names begin so; gives the URL to connect with."""
        name = re.sub(r"\W", "", prefix)
        keys = [placed(pattern, prefix) for pattern in rule.keys]
        self._set(name, "reset", "on", f">{PASSWORD}", *keys, *rule.commands, *more)
        try:
            parts = urlsplit(self._url)
            netloc = f"{name}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"
            yield urlunsplit(parts._replace(netloc=netloc))
        finally:
            self._call("DELUSER", name)

    def withdraw(self, prefix: str, command: str) -> None:
        """Take a command away from a user who is there."""
        self._set(re.sub(r"\W", "", prefix), f"-{command.removeprefix('+')}")

    def newer(self, rule: Rule, prefix: str) -> Sequence[str]:
        """What a rule needs besides on this server: nothing where it does not know all of that."""
        with suppress(redis.ResponseError):
            self._set(prefix, *rule.newer)
            self._call("DELUSER", prefix)
            return rule.newer
        return ()

    def _set(self, *words: str) -> None:
        self._call("SETUSER", *words)

    def _call(self, *words: str) -> None:
        for call in self._calls:
            call("ACL", *words)


class ClusterUsers(Users):
    """The same of all nodes of a cluster: none of them tells another of its users."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.url)
        self._calls = [node.call for node in cluster.nodes]


def placed(pattern: str, prefix: str) -> str:
    """A pattern of the page for keys whose names begin so; behind a prefix with a ``{tag}`` no other stands."""
    if prefix.startswith("{"):
        return re.sub(r"~\{([^}]*)\}", r"~\1", pattern).replace("~", f"~{prefix}")
    return re.sub(r"~(\{?)", rf"~\g<1>{prefix}", pattern)
