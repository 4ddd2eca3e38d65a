"""Set everything up in `.venv`, then run the temperature pipeline, the orders page or the tests.

    python3 tools/bootstrap.py pipeline [--days 3 ...]
    python3 tools/bootstrap.py orders [--port 8765 ...]
    python3 tools/bootstrap.py test [-s docs ...]

Needs Python 3.11 and nothing else: not even pip, which some distributions leave out. The pip used is the wheel in
`tools/vendor`; its checksum below is the one that the package index publishes for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REPORTS = ROOT / ".nox" / "reports"
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
PIP = ROOT / "tools" / "vendor" / "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"

EXAMPLES = ["--editable", f"{ROOT}[embedded,hiredis]", "--group", f"{ROOT}/pyproject.toml:examples"]
INSTALLS = {
    "pipeline": EXAMPLES,
    "orders": EXAMPLES,
    "test": ["--group", f"{ROOT}/pyproject.toml:nox"],
}
PROGRAMS = {"pipeline": "examples.temperatures.pipeline", "orders": "examples.orders"}
USAGE = f"usage: python3 tools/bootstrap.py {{{','.join(INSTALLS)}}} [arguments for it]"


def python_of(directory: Path) -> Path:
    """The interpreter of a virtual environment."""
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(*parts: str) -> str:
    """What an installation depends on: once it is done, it need not be repeated until this changes."""
    digest = hashlib.sha256(repr((sys.version, str(ROOT), parts)).encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS, PIP):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def set_up(command: str) -> Path:
    """Install what `command` needs into `.venv`, unless it is there, and return the environment's interpreter."""
    python = python_of(VENV)
    made_by = VENV / "made-by"
    if not made_by.is_file() or made_by.read_text() != sys.version or not python.exists():
        if VENV.exists():
            shutil.rmtree(VENV)
        print(f"making {VENV}", flush=True)
        venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(VENV)
        made_by.write_text(sys.version)
    arguments = INSTALLS[command]
    stamp = VENV / f"installed-{command}"
    wanted = fingerprint(*arguments)
    if not stamp.is_file() or stamp.read_text() != wanted:
        if hashlib.sha256(PIP.read_bytes()).hexdigest() != PIP_SHA256:
            sys.exit(f"{PIP} is not the file it should be: check it out again")
        print(f"installing what {command!r} needs", flush=True)
        pip = [str(python), str(PIP / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        status = subprocess.run([*pip, "--constraint", str(CONSTRAINTS), *arguments], cwd=ROOT, check=False).returncode
        if status:
            sys.exit(status)
        stamp.write_text(wanted)
    return python


def totals() -> str:
    """The sum of the test runs' reports, in one line."""
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for report in sorted(REPORTS.glob("*.xml")):
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - written a moment ago by our own pytest
            for name in counts:
                counts[name] += int(suite.get(name, "0"))
    failed = counts["failures"] + counts["errors"]
    return f"tests: {counts['tests'] - failed - counts['skipped']} passed, {failed} failed, {counts['skipped']} skipped"


def run_to_its_end(command: list[str], environment: dict[str, str]) -> int:
    """Run a program of the examples. Ctrl-C and signals are for it: it has servers to end."""
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda _number, _frame: process.terminate())
        return process.wait()


def main(arguments: list[str]) -> int:
    """Run one of the commands."""
    if sys.version_info < (3, 11):
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    if not arguments or arguments[0] not in INSTALLS:
        print(USAGE, file=sys.stderr)
        return 2
    command, *rest = arguments
    python = set_up(command)
    environment = {**os.environ, "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])}
    if command in PROGRAMS:
        # As a module: a script's own directory would come first in sys.path, with its inspect.py before Python's.
        module = [str(python), "-m", PROGRAMS[command], *rest]
        return run_to_its_end(module, environment)
    shutil.rmtree(REPORTS, ignore_errors=True)
    status = subprocess.run([str(python), "-m", "nox", *rest], cwd=ROOT, env=environment, check=False).returncode
    if REPORTS.is_dir():
        print(totals(), flush=True)
    if status:
        print("a session failed: see above", file=sys.stderr)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
