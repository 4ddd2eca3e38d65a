"""How a task is ended for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task, and wait until it has ended.

    Once may not be enough: before Python 3.12 `asyncio.wait_for`, within which redis-py reads and writes, can swallow
    a cancellation that comes as its work is done.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
