"""Dead letters to try things on."""

from __future__ import annotations

from typing import Any

import redis.asyncio

from streamkit._core.dead_letters import Provenance
from streamkit.asyncio import Cause, EntryId

AT = 1_735_689_600_000


def provenance(stream: str, n: int = 1, cause: Cause = Cause.REJECTED, **more: Any) -> Provenance:
    """The provenance of an entry that a group could not handle."""
    told: dict[str, Any] = {"group": "billing", "consumer": "worker", "attempt": 2, **more}
    return Provenance(stream, f"{n}-0", cause, **told)


async def bury(
    client: redis.asyncio.Redis, key: str, provenance: Provenance, *fields: bytes, at: str = "*", ms: int = AT
) -> EntryId:
    """Write a letter as a consumer does; its ID."""
    plain: Any = client
    return EntryId.parse(await plain.execute_command("XADD", key, at, *provenance.fields(ms), *fields))


async def bury_many(client: redis.asyncio.Redis, key: str, stream: str, count: int) -> list[EntryId]:
    """Letters of the entries 0, 1, 2, ... of a stream, which need not exist; their IDs."""
    async with client.pipeline(transaction=False) as pipe:
        queue: Any = pipe
        for n in range(count):
            words = provenance(stream, n + 1).fields(AT + n)
            queue.execute_command("XADD", key, f"{n + 1}-0", *words, "n", n)
        ids: list[Any] = await pipe.execute()
    return [EntryId.parse(entry_id) for entry_id in ids]


async def raw(client: redis.asyncio.Redis, key: str) -> list[tuple[bytes, list[bytes]]]:
    """Every entry as it is: ID, fields and values in turn, names that come twice among them."""
    plain: Any = client
    reply: Any = await plain.eval("return redis.call('XRANGE', KEYS[1], '-', '+')", 1, key)
    return [(entry_id, list(flat)) for entry_id, flat in reply]
