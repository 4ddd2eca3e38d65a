"""redis-py by hand: XREADGROUP COUNT 500, with the XACK of the batch before in the same round trip."""

from __future__ import annotations

from typing import Any, cast

import redis
import redis.asyncio

from benchmarks.names import EVENTS, GROUP

READ = 500


def entries_of(reply: Any) -> list[tuple[str, dict[str, str]]]:
    """The entries of one stream: pairs over RESP2; a dict, with one more list, over RESP3."""
    if isinstance(reply, dict):
        entries: Any = next(iter(cast("dict[str, Any]", reply).values()))
        return cast("list[tuple[str, dict[str, str]]]", entries[0] if isinstance(entries[0], list) else entries)
    return cast("list[tuple[str, dict[str, str]]]", reply[0][1])


def handle(_entry_id: str, _fields: dict[str, str]) -> None:
    """Nothing, as ours does but for counting."""


async def handle_async(_entry_id: str, _fields: dict[str, str]) -> None:
    """The same to be awaited."""


def consume(client: redis.Redis, count: int) -> None:
    """What fails, what others left behind, and a lost reply are nobody's concern."""
    client.xgroup_create(EVENTS, GROUP, id="0")
    acks: list[str] = []
    handled = 0
    while handled < count:
        pipeline = client.pipeline(transaction=False)
        if acks:
            pipeline.xack(EVENTS, GROUP, *acks)
        pipeline.xreadgroup(GROUP, "rival", {EVENTS: ">"}, count=READ)
        entries = entries_of(pipeline.execute()[-1])
        acks = []
        for entry_id, fields in entries:
            handle(entry_id, fields)
            acks.append(entry_id)
        handled += len(acks)
    client.xack(EVENTS, GROUP, *acks)


async def consume_async(client: redis.asyncio.Redis, count: int) -> None:
    """The same with await."""
    await client.xgroup_create(EVENTS, GROUP, id="0")
    acks: list[str] = []
    handled = 0
    while handled < count:
        pipeline: Any = client.pipeline(transaction=False)
        if acks:
            pipeline.xack(EVENTS, GROUP, *acks)
        pipeline.xreadgroup(GROUP, "rival", {EVENTS: ">"}, count=READ)
        entries = entries_of((await pipeline.execute())[-1])
        acks = []
        for entry_id, fields in entries:
            await handle_async(entry_id, fields)
            acks.append(entry_id)
        handled += len(acks)
    await cast("Any", client).xack(EVENTS, GROUP, *acks)
