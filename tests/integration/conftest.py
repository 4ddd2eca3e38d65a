"""What the tests of both halves share beside the server."""

from __future__ import annotations

import pytest

import streamkit._sync.reading
import streamkit.asyncio.reading


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers block for a tenth of a second at a time, so that stopping one at the end of a test takes no longer."""
    for module in (streamkit._sync.reading, streamkit.asyncio.reading):
        monkeypatch.setattr(module, "SLICE_MS", 100)
