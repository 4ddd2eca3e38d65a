"""Write the synchronous half from the asynchronous one, or with `--check` say what is not current.

    python tools/generate_sync.py [--check]

What differs between the halves beyond `await` and names stands in `_runtime.py`, written by hand in both; so are
`__init__.py` and `conftest.py`. A source that needs asyncio itself is refused: that, too, belongs into `_runtime.py`.

Code is rewritten token by token, so that comments and line breaks stay; comments and strings, docstrings among them,
by pattern. The result goes through ruff.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# (source, generated, what `streamkit.asyncio` is called there); in either, these names are written by hand:
TREES = (
    ("src/streamkit/asyncio", "src/streamkit/_sync", "streamkit._sync"),
    ("tests/integration/asyncio", "tests/integration/_sync", "streamkit"),
)
BY_HAND = {"__init__.py", "_runtime.py", "conftest.py"}

NAMES = {
    "AbstractAsyncContextManager": "AbstractContextManager",
    "AsyncContextManager": "ContextManager",
    "AsyncExitStack": "ExitStack",
    "AsyncGenerator": "Generator",
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "AsyncMock": "Mock",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aclosing": "closing",
    "aiter": "iter",
    "anext": "next",
    "asynccontextmanager": "contextmanager",
    "enter_async_context": "enter_context",
    "push_async_callback": "callback",
    "push_async_exit": "push",
    "pytest_asyncio": "pytest",
}
IN_TEXT: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\bawait (?=[\w.\[\]]+\()"), ""),  # a call, not "to await one's turn"
    (re.compile(r"\basync (?=(?:def|for|with)\b)"), ""),
    (re.compile(r"\b([Aa])n asynchronous"), r"\1 synchronous"),
    (re.compile(r"\b([Aa])synchronous"), lambda match: "Synchronous" if match[1] == "A" else "synchronous"),
    (re.compile(r"\bredis\.asyncio\b"), "redis"),
    (re.compile(r"\btests([./])integration\1asyncio\b"), r"tests\1integration\1_sync"),
    (re.compile(rf"\b(?:{'|'.join(NAMES)})\b"), lambda match: NAMES[match[0]]),
]
FSTRING_START, FSTRING_END = (getattr(tokenize, name, -1) for name in ("FSTRING_START", "FSTRING_END"))


class RefusedError(Exception):
    """The source has something that can't be made synchronous by renaming."""


@dataclass
class Token:
    """A token, or a whole f-string (one token before Python 3.12, several since), and where it stands in the text."""

    kind: int
    text: str
    start: int
    end: int
    line: int


def tokens_of(source: str) -> Iterator[Token]:
    """Read tokens, but for line breaks that end no statement."""
    starts = [0]
    for line in io.StringIO(source):
        starts.append(starts[-1] + len(line))
    opened: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        start, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if token.type == FSTRING_START:
            opened.append(start)
        elif token.type == FSTRING_END:
            start = opened.pop()
            if not opened:
                yield Token(tokenize.STRING, source[start:end], start, end, token.start[0])
        elif not opened and token.type not in {tokenize.NL, tokenize.ENDMARKER}:
            yield Token(token.type, token.string, start, end, token.start[0])


def is_module(name: str | None) -> bool:
    """Whether this is a module of the half, and not one of the names that the public package has, too."""
    return bool(name) and (ROOT / "src" / "streamkit" / "asyncio" / f"{name}.py").is_file()


def in_text(text: str) -> str:
    """Rewrite a comment or a string."""
    text = re.sub(
        r"\bstreamkit\.asyncio\b(\.(\w+))?",
        lambda match: f"streamkit._sync.{match[2]}" if is_module(match[2]) else f"streamkit{match[1] or ''}",
        text,
    )
    for pattern, replacement in IN_TEXT:
        text = re.sub(pattern, replacement, text)
    return text


def closing_bracket(tokens: list[Token], opening: int) -> tuple[int, list[int]]:
    """The index of the bracket that closes the one at `opening`, and those of the commas directly inside."""
    depth, commas = 0, list[int]()
    for index in range(opening, len(tokens)):
        text = tokens[index].text
        if text in {"(", "[", "{"}:
            depth += 1
        elif text in {")", "]", "}"}:
            depth -= 1
            if not depth:
                return index, commas
        elif text == "," and depth == 1:
            commas.append(index)
    raise RefusedError(f"line {tokens[opening].line}: a bracket is not closed")


def without_asyncio(tokens: list[Token], index: int, package: str) -> tuple[int, int, str]:
    """The edit that takes `asyncio`, the name at `index`, out of a dotted name."""
    texts = [token.text for token in tokens[max(index - 2, 0) : index + 3]]
    token, dot = tokens[index], tokens[index - 1]
    match texts:
        case ["redis", ".", "asyncio", *_]:
            return dot.start, token.end, ""
        case ["streamkit", ".", "asyncio", ".", name] if is_module(name):
            return dot.start, token.end, "._sync"
        case ["streamkit", ".", "asyncio", *_]:
            return dot.start, token.end, package.removeprefix("streamkit")
        case ["integration", ".", "asyncio", *_]:
            return token.start, token.end, "_sync"
        case _:
            raise RefusedError(f"line {token.line}: asyncio itself belongs into _runtime.py")


def synchronous(source: str, package: str) -> str:
    """Rewrite the text of a module; it still has to be formatted."""
    tokens = list(tokens_of(source))
    edits: list[tuple[int, int, str]] = []
    for index, token in enumerate(tokens):
        if token.kind in {tokenize.COMMENT, tokenize.STRING}:
            edits.append((token.start, token.end, in_text(token.text)))
        if token.kind != tokenize.NAME:
            continue
        subscribed = tokens[index + 1].text == "["
        if token.text in {"async", "await"}:
            edits.append((token.start, tokens[index + 1].start, ""))
        elif token.text == "asyncio":
            edits.append(without_asyncio(tokens, index, package))
        elif token.text in {"Awaitable", "Coroutine"} and subscribed:
            end, commas = closing_bracket(tokens, index + 1)
            result = tokens[commas[1] + 1] if token.text == "Coroutine" else tokens[index + 2]
            edits += [(token.start, result.start, ""), (tokens[end].start, tokens[end].end, "")]
        elif token.text == "AsyncGenerator" and subscribed:
            end, commas = closing_bracket(tokens, index + 1)
            rest = ", None" if commas else ", None, None"
            edits += [(token.start, token.end, "Generator"), (tokens[end].start, tokens[end].start, rest)]
        elif token.text in NAMES:
            edits.append((token.start, token.end, NAMES[token.text]))
    for start, end, replacement in sorted(edits, reverse=True):
        source = source[:start] + replacement + source[end:]
    # `import redis.asyncio as redis` has become an alias for nothing
    return re.sub(r"^(\s*)import redis as redis$", r"\1import redis", source, flags=re.MULTILINE)


def ruff(*arguments: str, text: str) -> str:
    """What ruff makes of `text`."""
    command = [sys.executable, "-m", "ruff", *arguments, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", check=False, cwd=ROOT)
    if done.returncode:
        raise RefusedError(done.stderr.strip())
    return done.stdout


def generate(source: Path, target: Path, package: str) -> str:
    """The whole text of a generated module."""
    text = synchronous(source.read_text("utf-8"), package)
    name = source.relative_to(ROOT).as_posix()
    text = f"# Generated from {name} by tools/generate_sync.py: do not edit.\n{text}"
    where = ("--stdin-filename", str(target))
    text = ruff("check", "--quiet", "--fix-only", "--select", "I,F401", *where, text=text)
    return ruff("format", "--quiet", *where, text=text)


def main(arguments: list[str] | None = None) -> int:
    """Generate, or check."""
    parser = argparse.ArgumentParser(description="Write the synchronous half from the asynchronous one.")
    parser.add_argument("--check", action="store_true", help="change nothing; say what is not current, and exit with 1")
    check: bool = parser.parse_args(arguments).check
    stale: list[str] = []
    failed = False
    for source_tree, target_tree, package in TREES:
        wanted: set[Path] = set()
        for source in sorted((ROOT / source_tree).rglob("*.py")):
            if source.name in BY_HAND:
                continue
            target = ROOT / target_tree / source.relative_to(ROOT / source_tree)
            wanted.add(target)
            try:
                text = generate(source, target, package)
            except (RefusedError, SyntaxError, tokenize.TokenError) as error:
                print(f"{source.relative_to(ROOT)}: {error}", file=sys.stderr)
                failed = True
                continue
            if target.is_file() and target.read_bytes() == text.encode():
                continue
            stale.append(f"{target.relative_to(ROOT)}: {'not current' if target.is_file() else 'missing'}")
            if not check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, "utf-8", newline="\n")
        for orphan in sorted((ROOT / target_tree).rglob("*.py")):
            if orphan.name not in BY_HAND and orphan not in wanted:
                stale.append(f"{orphan.relative_to(ROOT)}: has no source")
                if not check:
                    orphan.unlink()
    if stale:
        print("\n".join(stale))
    elif not failed:
        print("the generated files are current")
    return 1 if failed or (check and stale) else 0


if __name__ == "__main__":
    sys.exit(main())
