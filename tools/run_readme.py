"""Run a Markdown file's first Python example against the installed streamkit, with a server of its own.

    python tools/run_readme.py README.md

As in the documentation's tests, the example finds one name that it doesn't define: `REDIS_URL`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import streamkit
from streamkit.testing import redis_server


def main(path: str) -> None:
    """Run it; an example that fails raises."""
    text = Path(path).read_text("utf-8")
    block = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if not block:
        sys.exit(f"{path} has no Python example")
    line = text.count("\n", 0, block.start(1))
    code = compile("\n" * line + block[1], path, "exec")
    with redis_server() as url:
        exec(code, {"__name__": "__main__", "REDIS_URL": url})  # noqa: S102 - our own README
    print(f"{path}: the first example ran with {streamkit.__file__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
