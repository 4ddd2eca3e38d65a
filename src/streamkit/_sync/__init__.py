"""The synchronous half: `_runtime` is hand-written, the rest generated from `streamkit.asyncio`."""
