# Generated from tests/integration/asyncio/test_errors.py by tools/generate_sync.py: do not edit.
"""Servers that cannot be used: what is raised, and that its message says what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import redis

from streamkit import (
    CappedStream,
    NaiveDatetime,
    PartitionedStream,
    PermissionDenied,
    ServerError,
    ServerUnavailable,
    Stream,
    StreamkitError,
)
from streamkit.testing import redis_server

NOON = datetime.now(timezone.utc).replace(hour=12, minute=0, second=0, microsecond=0)


def use(client: redis.Redis, name: str, operation: str) -> None:
    """Do one thing."""
    capped = CappedStream(client, name, maxlen=10)
    partitioned = PartitionedStream(client, name)
    key = partitioned.key_for(NOON)
    todo: Any = {
        "append": lambda: capped.append({"n": 1}),
        "append named": lambda: partitioned.append({"n": 1}, idempotency_key="k"),
        "append at": lambda: partitioned.append({"n": 1}, at=NOON),
        "append_many": lambda: Stream(client, name).append_many([{"n": 1}]),
        "append_many at": lambda: partitioned.append_many([{"n": 1}], times=[NOON]),
        "length": capped.length,
        "info": capped.info,
        "trim": capped.trim,
        "lengths": partitioned.length,
        "infos": partitioned.info,
        "keys": partitioned.keys,
        "expires_at": lambda: partitioned.expires_at(key),
        "trims": partitioned.trim,
    }
    todo[operation]()


OPERATIONS = (
    "append", "append named", "append at", "append_many", "append_many at", "length", "info", "trim",
    "lengths", "infos", "keys", "expires_at", "trims",
)  # fmt: skip


@pytest.fixture(scope="module")
def nowhere() -> Iterator[str]:
    """An address where nobody listens, and nobody else will."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{holder.getsockname()[1]}/0"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_cannot_be_reached(nowhere: str, name: str, operation: str) -> None:
    with redis.Redis.from_url(nowhere) as client:
        with pytest.raises(ServerUnavailable, match="the server could not be reached while") as caught:
            use(client, name, operation)
    assert isinstance(caught.value, ConnectionError)
    assert "check the address, and that the server is running" in str(caught.value)


def test_bad_arguments_are_found_before_the_server_is_missed(nowhere: str, name: str) -> None:
    with redis.Redis.from_url(nowhere) as client:
        with pytest.raises(NaiveDatetime, match="has no time zone"):
            PartitionedStream(client, name).append({"n": 1}, at=NOON.replace(tzinfo=None))


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A server whose default user has a password, and some users who may not do all."""
    with redis_server() as url, redis.Redis.from_url(url) as admin:
        admin.execute_command("CONFIG", "SET", "requirepass", "secret")
        yield url
        admin.execute_command("CONFIG", "SET", "requirepass", "")


@pytest.mark.parametrize("operation", ["append", "append_many", "keys", "trim"])
@pytest.mark.parametrize("credentials", [{}, {"password": "wrong"}, {"username": "nobody", "password": "x"}])
def test_a_wrong_password_or_none(guarded: str, name: str, credentials: dict[str, Any], operation: str) -> None:
    with redis.Redis.from_url(guarded, **credentials) as client:
        with pytest.raises(PermissionDenied, match="the server refused") as caught:
            use(client, name, operation)
    assert isinstance(caught.value, ServerError)
    assert not isinstance(caught.value, ConnectionError)
    # Redis 7 and Valkey word it differently, and so do HELLO, AUTH and everything else.
    assert any(word in str(caught.value).lower() for word in ("authenticat", "invalid username-password"))


@pytest.mark.parametrize(
    ("rules", "operation"),
    [
        ("~other* +@all", "append"),
        ("~other* +@all", "append at"),
        ("~other* +@all", "length"),
        ("~other* +@all", "trim"),
        ("~other* +@all", "keys"),
        ("~other* +@all", "trims"),
        ("~* +@all -eval -evalsha", "append"),
        ("~* +@all -eval -evalsha", "append_many"),
        ("~* +@all -xadd", "append"),
        ("~* +@all -xadd", "append_many at"),
        ("~* +@all -xtrim", "append"),
        ("~* +@all -xtrim", "trim"),
        ("~* +@all -pexpireat", "append at"),
        ("~* +@all -pexpireat", "append_many at"),
        ("~* +@all -set", "append named"),
        ("~* +@all -zadd", "append_many"),
        ("~* +@all -zscore", "append_many"),
        ("~* +@all -type", "append"),
        ("~* +@all -xlen", "length"),
        ("~* +@all -xinfo", "info"),
        ("~* +@all -exists", "keys"),
        ("~* +@all -pexpiretime", "expires_at"),
        ("~* +@all -time", "keys"),
    ],
)
def test_a_right_that_is_missing_is_an_error_at_once_and_nothing_is_written(
    guarded: str, name: str, rules: str, operation: str
) -> None:
    with redis.Redis.from_url(guarded, password="secret") as admin:
        admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", *rules.split())
        with redis.Redis.from_url(guarded, username=name, password="pw") as client:
            with pytest.raises(PermissionDenied, match="the server refused") as caught:
                use(client, name, operation)
        message = str(caught.value)
        assert "grant the user this command and its keys" in message
        # Redis 7.0 does not say which one, when it is asked for by a script.
        if "-" in rules and "executing the script" not in message:
            assert rules.partition("-")[2].split()[0] in message.lower()
        assert admin.keys(f"*{name}*") == []


def test_a_user_who_may_not_ask_for_info_may_still_append(guarded: str, name: str) -> None:
    with redis.Redis.from_url(guarded, password="secret") as admin:
        admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", "~*", "+@all", "-info", "-command")
        with redis.Redis.from_url(guarded, username=name, password="pw") as client:
            for operation in OPERATIONS:
                use(client, f"{name}:{operation}", operation)
        admin.delete(*admin.keys(f"*{name}*"))


def test_a_guard_key_of_another_type_is_named(client: redis.Redis, name: str) -> None:
    client.set(f"{{{name}}}:appends", "text")
    with pytest.raises(StreamkitError, match=f"{{{name}}}:appends"):
        Stream(client, name).append_many([{"n": 1}])
    client.hset(f"{{{name}}}:once:k", "a", "b")
    with pytest.raises(StreamkitError, match=f"{{{name}}}:once:k"):
        Stream(client, name).append({"n": 1}, idempotency_key="k")
    assert not client.exists(name)
