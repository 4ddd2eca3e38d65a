"""The pure core stays pure: it decides, and never talks to anything."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streamkit._core

MODULES = sorted(Path(streamkit._core.__file__).parent.glob("*.py"))
FORBIDDEN = {
    *(
        "asyncio",
        "concurrent",
        "contextvars",
        "http",
        "io",
        "multiprocessing",
        "os",
        "pathlib",
        "queue",
        "sched",
        "select",
    ),
    *("selectors", "shutil", "signal", "socket", "socketserver", "ssl", "subprocess", "tempfile", "threading", "time"),
    *("urllib", "_thread", "anyio", "redis"),
}


def imported(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere in the tree, those for annotations alone included."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def called(tree: ast.AST) -> set[str]:
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def test_the_core_was_found() -> None:
    assert {"following.py", "refusals.py", "scripts.py"} <= {module.name for module in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
class TestEveryModule:
    def test_imports_nothing_that_does_io(self, module: Path) -> None:
        names = {name for name in imported(ast.parse(module.read_text())) if name.partition(".")[0] in FORBIDDEN}
        # Error replies arrive as redis-py's exceptions, and one module sorts them.
        assert names == ({"redis.exceptions"} if module.stem == "refusals" else set())

    def test_uses_no_other_part_of_the_library(self, module: Path) -> None:
        for name in imported(ast.parse(module.read_text())):
            assert name.partition(".")[0] != "streamkit" or name.startswith("streamkit._core")

    def test_opens_nothing_and_waits_for_nothing(self, module: Path) -> None:
        tree = ast.parse(module.read_text())
        assert not called(tree) & {"open", "print", "input", "exec", "eval", "compile"}
        assert not any(
            isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)) for node in ast.walk(tree)
        )

    def test_reads_no_clock(self, module: Path) -> None:
        # The server's clock is handed in, so that every rule can be tried at every moment.
        for node in ast.walk(ast.parse(module.read_text())):
            assert not (
                isinstance(node, ast.Attribute)
                and node.attr in {"now", "utcnow", "today", "monotonic", "time_ns"}
                and isinstance(node.value, ast.Name)
                and node.value.id in {"datetime", "date", "time"}
            )
