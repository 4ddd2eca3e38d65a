"""What the tests of both halves share beside the server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

import streamkit._sync.looking
import streamkit._sync.reading
import streamkit.asyncio.looking
import streamkit.asyncio.reading
from streamkit.testing import Cluster
from tests.integration.proxied import Proxied


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads block for a tenth of a second at a time, so that stopping a loop at the end of a test takes no longer."""
    for module in (streamkit._sync.reading, streamkit.asyncio.reading):
        monkeypatch.setattr(module, "SLICE_MS", 100)
    for module in (streamkit._sync.looking, streamkit.asyncio.looking):
        monkeypatch.setattr(module, "SLICE", 0.1)


@pytest.fixture
def proxied(cluster: Cluster) -> Iterator[Proxied]:
    """The cluster, behind proxies."""
    with Proxied(cluster) as proxied:
        yield proxied


@pytest.fixture
def word() -> str:
    """A word for the keys of one test on the cluster, which is gone with all of them after the run."""
    return f"w{uuid.uuid4().hex[:12]}"
