"""Handlers of the wrong half: what cannot be awaited is refused, not passed off as played."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import redis

from streamkit import Entry, InvalidArgument, Replayer


def test_a_coroutine_function_is_refused_by_the_synchronous_half(redis_url: str, name: str) -> None:
    handled: list[str] = []

    async def handle(entry: Entry[dict[str, str]]) -> None:
        handled.append(entry.value["n"])

    with redis.Redis.from_url(redis_url) as client:
        client.xadd(name, {"n": 1})
        handler: Any = handle
        replayer = Replayer(client, name)
        with pytest.raises(InvalidArgument, match=r"use streamkit\.asyncio"):
            replayer.play(handler)
        with pytest.raises(InvalidArgument, match=r"use streamkit\.asyncio"):
            replayer.play(partial(handler))
    assert handled == []
