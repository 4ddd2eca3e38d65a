"""What a server holds, as plain values."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from streamkit.asyncio import EntryId


async def entries(client: redis.asyncio.Redis, *keys: str) -> list[tuple[EntryId, dict[bytes, bytes]]]:
    """Every entry of these streams, in order."""
    found: list[tuple[EntryId, dict[bytes, bytes]]] = []
    for key in keys:
        reply: Any = await client.xrange(key)
        found += [(EntryId.parse(entry_id), fields) for entry_id, fields in reply]
    return found


async def ids(client: redis.asyncio.Redis, *keys: str) -> list[EntryId]:
    """Their IDs."""
    return [entry_id for entry_id, _ in await entries(client, *keys)]


async def values(client: redis.asyncio.Redis, *keys: str) -> list[dict[bytes, bytes]]:
    """Their fields."""
    return [fields for _, fields in await entries(client, *keys)]


async def numbers(client: redis.asyncio.Redis, *keys: str) -> list[int]:
    """The field n of each."""
    return [int(fields[b"n"]) for _, fields in await entries(client, *keys)]


async def keys_like(client: redis.asyncio.Redis, pattern: str) -> set[str]:
    """The keys that match."""
    reply: Any = await client.keys(pattern)
    return {key.decode() for key in reply}
