# Generated from tests/integration/asyncio/_looking.py by tools/generate_sync.py: do not edit.
"""What a server holds, as plain values."""

from __future__ import annotations

from typing import Any

import redis

from streamkit import EntryId


def entries(client: redis.Redis, *keys: str) -> list[tuple[EntryId, dict[bytes, bytes]]]:
    """Every entry of these streams, in order."""
    found: list[tuple[EntryId, dict[bytes, bytes]]] = []
    for key in keys:
        reply: Any = client.xrange(key)
        found += [(EntryId.parse(entry_id), fields) for entry_id, fields in reply]
    return found


def ids(client: redis.Redis, *keys: str) -> list[EntryId]:
    """Their IDs."""
    return [entry_id for entry_id, _ in entries(client, *keys)]


def values(client: redis.Redis, *keys: str) -> list[dict[bytes, bytes]]:
    """Their fields."""
    return [fields for _, fields in entries(client, *keys)]


def numbers(client: redis.Redis, *keys: str) -> list[int]:
    """The field n of each."""
    return [int(fields[b"n"]) for _, fields in entries(client, *keys)]


def keys_like(client: redis.Redis, pattern: str) -> set[str]:
    """The keys that match."""
    reply: Any = client.keys(pattern)
    return {key.decode() for key in reply}
