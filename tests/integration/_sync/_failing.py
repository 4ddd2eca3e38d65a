# Generated from tests/integration/asyncio/_failing.py by tools/generate_sync.py: do not edit.
"""What the tests of consumers and failing servers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import redis

from streamkit import GroupConsumer, RetryPolicy
from streamkit._core.scripts import Script
from tests.integration._sync._groups import GROUP, QUICK, Fields
from tests.integration.proxy import Proxy, Request
from tests.integration.recording import Recorder

LONG = timedelta(seconds=60)
"""A min_idle_time longer than any test takes."""
LEASE = timedelta(seconds=0.4)
"""One for tests in which entries change hands."""


def consumer_of(
    client: redis.Redis,
    source: Any,
    recorder: Recorder,
    *,
    lease: timedelta = LONG,
    retry: RetryPolicy = QUICK,
    **options: Any,
) -> GroupConsumer[Fields]:
    """A consumer whose entries are its own for longer than a test takes, unless it is told otherwise."""
    return GroupConsumer(client, source, GROUP, min_idle_time=lease, observer=recorder, retry=retry, **options)


def calls_of(script: Script) -> Callable[[Request], bool]:
    """Which requests run a script."""
    words = {script.sha.encode(), script.source.encode()}
    return lambda request: request[0].startswith(b"EVAL") and request[1] in words


@contextmanager
def through(url: str) -> Iterator[tuple[Proxy, redis.Redis]]:
    """A proxy to a server, and a client that goes through it."""
    with Proxy(url) as proxy:
        with redis.Redis.from_url(proxy.url) as client:
            yield proxy, client
