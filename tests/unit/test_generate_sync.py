"""tools/generate_sync.py: what is rewritten, what is refused, and what its check notices."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "generate_sync.py"
if not TOOL.is_file():
    pytest.skip("the tools are part of the repository only", allow_module_level=True)


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_sync", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = load()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one source, already generated."""
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    for source, target, _ in tool.TREES:
        (tmp_path / source).mkdir(parents=True)
        (tmp_path / target).mkdir(parents=True)
        for directory in (source, target):
            (tmp_path / directory / "_runtime.py").write_text(f"# by hand, in {directory}\nimport asyncio\n")
    (tmp_path / "src/streamkit/asyncio/_reader.py").write_text("async def read() -> int:\n    return await once()\n")
    assert tool.main([]) == 0
    return tmp_path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def f():\n    await g()", "def f():\n    g()"),
        ("x = await f(await g())", "x = f(g())"),
        ("async with a as b, c:\n    pass", "with a as b, c:\n    pass"),
        ("x = [y async for y in z]", "x = [y for y in z]"),
        ("async def __aenter__(self): ...", "def __enter__(self): ..."),
        ("raise StopAsyncIteration", "raise StopIteration"),
        ("await self._pool.aclose()", "self._pool.close()"),
        ("await anext(aiter(x))", "next(iter(x))"),
        ("def f() -> AsyncIterator[Entry[T]]: ...", "def f() -> Iterator[Entry[T]]: ..."),
        ("def f() -> AsyncGenerator[A[B, C], D]: ...", "def f() -> Generator[A[B, C], D, None]: ..."),
        ("def f() -> AsyncGenerator[A]: ...", "def f() -> Generator[A, None, None]: ..."),
        ("H = Callable[[A], Awaitable[dict[str, B]]]", "H = Callable[[A], dict[str, B]]"),
        ("H = Callable[[A], Coroutine[Any, Any, B]]", "H = Callable[[A], B]"),
        ("from contextlib import asynccontextmanager", "from contextlib import contextmanager"),
        ("import redis.asyncio", "import redis"),
        ("import redis.asyncio as redis", "import redis"),
        ("from redis.asyncio.cluster import RedisCluster", "from redis.cluster import RedisCluster"),
        ("from streamkit.asyncio import Stream", "from streamkit._sync import Stream"),
        ("from ._runtime import Lock  # await: why", "from ._runtime import Lock  # await: why"),
        ('f"{await f(x)} of {n}"', 'f"{f(x)} of {n}"'),
        ("x = 1  # then `await reader.commit()`", "x = 1  # then `reader.commit()`"),
        ('"""An asynchronous reader. They await the others."""', '"""A synchronous reader. They await the others."""'),
        ('"""Use `streamkit.asyncio.Stream`."""', '"""Use `streamkit.Stream`."""'),
        ('"streamkit.asyncio._runtime.X"', '"streamkit._sync._runtime.X"'),
        ("asynchrony = awaited", "asynchrony = awaited"),
        ("π, x = 'é', await f()", "π, x = 'é', f()"),
    ],
)
def test_rewrites(source: str, expected: str) -> None:
    assert tool.synchronous(source + "\n", "streamkit._sync") == expected + "\n"


def test_tests_import_the_public_package() -> None:
    source = "from streamkit.asyncio import Stream\nfrom streamkit.asyncio._runtime import X\n"
    expected = "from streamkit import Stream\nfrom streamkit._sync._runtime import X\n"
    assert tool.synchronous(source, "streamkit") == expected


def test_a_docstring_example_becomes_synchronous() -> None:
    source = '"""Doc.\n\n    async with r:\n        async for entry in r:\n            await r.commit()\n"""\n'
    expected = '"""Doc.\n\n    with r:\n        for entry in r:\n            r.commit()\n"""\n'
    assert tool.in_text(source) == expected


@pytest.mark.parametrize("source", ["import asyncio", "from asyncio import Lock", "x = asyncio.Lock()"])
def test_asyncio_itself_is_refused(source: str) -> None:
    with pytest.raises(tool.RefusedError, match=r"^line 2: asyncio itself belongs into _runtime\.py$"):
        tool.synchronous(f"\n{source}\n", "streamkit._sync")


def test_generated_files_are_current(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (tree / "src/streamkit/_sync/_reader.py").read_text()
    assert text == (
        "# Generated from src/streamkit/asyncio/_reader.py by tools/generate_sync.py: do not edit.\n"
        "def read() -> int:\n    return once()\n"
    )
    assert tool.main(["--check"]) == 0
    assert "the generated files are current" in capsys.readouterr().out


def test_unused_imports_go_and_the_rest_are_sorted(tree: Path) -> None:
    source = tree / "src/streamkit/asyncio/_handlers.py"
    source.write_text(
        "from collections.abc import Awaitable, Callable\n\nfrom redis.asyncio import Redis\n\n"
        "Handler = Callable[[Redis], Awaitable[None]]\n"
    )
    assert tool.main([]) == 0
    text = (tree / "src/streamkit/_sync/_handlers.py").read_text()
    assert text.partition("\n")[2] == (
        "from collections.abc import Callable\n\nfrom redis import Redis\n\nHandler = Callable[[Redis], None]\n"
    )


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("src/streamkit/_sync/_reader.py", None, "src/streamkit/_sync/_reader.py: missing"),
        ("src/streamkit/_sync/_reader.py", "+\nx = 1\n", "src/streamkit/_sync/_reader.py: not current"),
        ("src/streamkit/_sync/_old.py", "x = 1\n", "src/streamkit/_sync/_old.py: has no source"),
        ("src/streamkit/asyncio/_new.py", "x = 1\n", "src/streamkit/_sync/_new.py: missing"),
        ("tests/integration/asyncio/test_new.py", "x = 1\n", "tests/integration/_sync/test_new.py: missing"),
    ],
)
def test_the_check_fails(
    tree: Path, capsys: pytest.CaptureFixture[str], path: str, content: str | None, said: str
) -> None:
    file = tree / path
    if content is None:
        file.unlink()
    elif content.startswith("+"):
        file.write_text(file.read_text() + content[1:])
    else:
        file.write_text(content)
    before = sorted(tree.rglob("*"))
    assert tool.main(["--check"]) == 1
    assert said in capsys.readouterr().out
    assert sorted(tree.rglob("*")) == before
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0


def test_a_refused_source_is_an_error(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "src/streamkit/asyncio/_reader.py").write_text("import asyncio\n")
    assert tool.main([]) == 1
    assert "src/streamkit/asyncio/_reader.py: line 1: asyncio itself" in capsys.readouterr().err
