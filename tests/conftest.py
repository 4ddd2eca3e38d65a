"""The server that tests run against: `STREAMKIT_REDIS_URL`, or a private one for the whole run."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import cast

import pytest
import redis

from streamkit.testing import redis_server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a server to use, shared by all tests of the run."""
    url = os.environ.get("STREAMKIT_REDIS_URL")
    if url:
        yield url
    else:
        with redis_server() as private:
            yield private


@pytest.fixture
def name(redis_url: str) -> Iterator[str]:
    """A name for the keys of one test; every key that begins with it is deleted afterwards."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    yield prefix
    with redis.Redis.from_url(redis_url) as client:
        for pattern in (f"{prefix}*", f"{{{prefix}*"):
            for key in cast("Iterator[bytes]", client.scan_iter(pattern, count=1000)):
                client.delete(key)
