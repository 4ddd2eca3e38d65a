"""Fixtures for what only the asyncio half has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client as a user would make it."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client
