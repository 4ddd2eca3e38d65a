"""What all endurance tests use."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.endurance.halves import HALVES, Half
from tests.endurance.servers import PrivateServer


@pytest.fixture(params=HALVES)
def half(request: pytest.FixtureRequest) -> Half:
    """Each half of the library in turn."""
    return HALVES[request.param]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What was left open fails the test that left it, not one of the next."""
    yield
    gc.collect()


@pytest.fixture
def server() -> Iterator[PrivateServer]:
    """A server of the test's own."""
    with PrivateServer() as server:
        yield server
