"""Runs every example in README.md, docs/ and the docstrings, each file's in order, against a real server.

An example finds only what the examples above it in the same file made, and `REDIS_URL`. `await` may stand at the top
level. If it has lines `# > ...`, these are what it prints. `skip: next "reason"` in a comment above leaves one out.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest
import redis
from sybil import Document, Example, Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import CodeBlockParser as MarkdownCodeBlockParser
from sybil.parsers.markdown import SkipParser as MarkdownSkipParser
from sybil.parsers.rest import CodeBlockParser, DocTestParser, SkipParser

import streamkit
import streamkit.asyncio
import streamkit.testing
from streamkit.testing import redis_server

ROOT = Path(__file__).resolve().parents[2]


def evaluate(example: Example) -> None:
    """Run a block, in the loop of its file if it awaits anything."""
    name = str(example.path)
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    output = io.StringIO()
    with redirect_stdout(output):
        if code.co_flags & inspect.CO_COROUTINE:
            example.namespace["__loop__"].run_until_complete(eval(code, example.namespace))
        else:
            exec(code, example.namespace)
    promised = [line.strip()[4:] for line in example.parsed.splitlines() if line.strip().startswith("# > ")]
    if promised:
        assert output.getvalue().splitlines() == promised


class DocStrings(PythonDocStringDocument):
    """The docstrings of a module; unlike in the base, their examples don't find what the module imports and defines."""

    def __init__(self, text: str, path: str) -> None:
        Document.__init__(self, text, path)


MARKDOWN = Sybil(parsers=[MarkdownCodeBlockParser(language="python", evaluator=evaluate), MarkdownSkipParser()])
DOCSTRINGS = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=evaluate), DocTestParser(), SkipParser()],
    document_types={".py": DocStrings},
)


def documents() -> list[Document]:
    """All files that have examples."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    modules = sorted((ROOT / "src").rglob("*.py"))
    parsed = [MARKDOWN.parse(page) for page in pages] + [DOCSTRINGS.parse(module) for module in modules]
    return [document for document in parsed if list(document)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.mark.parametrize("document", documents(), ids=lambda document: str(Path(document.path).relative_to(ROOT)))
def test_examples(document: Document, server: str) -> None:
    with redis.Redis.from_url(server) as client:
        client.flushall()
    loop = asyncio.new_event_loop()
    try:
        document.namespace.update(REDIS_URL=server, __loop__=loop, __name__="__main__")
        for example in document:
            example.evaluate()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def test_the_readme_has_examples() -> None:
    """Guards the collection above: a parser that finds nothing passes everything."""
    assert any(Path(document.path).name == "README.md" for document in documents())


def test_everything_public_is_in_the_reference() -> None:
    pages = {page.stem: page.read_text("utf-8") for page in (ROOT / "docs" / "api").glob("*.md")}

    def missing(module: ModuleType, names: Iterable[str], text: str) -> list[str]:
        return [f"{module.__name__}.{name}" for name in names if not re.search(rf":: {name}$", text, re.MULTILINE)]

    shared = "".join(text for stem, text in pages.items() if stem != "asynchronous")
    twins = [name for name in streamkit.__all__ if getattr(streamkit, name) is not getattr(streamkit.asyncio, name)]
    assert missing(streamkit, streamkit.__all__, shared) == []
    assert missing(streamkit.asyncio, twins, pages["asynchronous"]) == []
    assert missing(streamkit.testing, streamkit.testing.__all__, pages["servers"]) == []
    assert set(streamkit.asyncio.__all__) == set(streamkit.__all__)
