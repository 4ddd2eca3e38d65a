"""Where and with what the numbers were taken."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import redis
from redis.utils import HIREDIS_AVAILABLE


def require_hiredis() -> None:
    """Exit without hiredis, which both sides use: redis-py's own parser would make the rivals much slower."""
    if not HIREDIS_AVAILABLE:
        msg = 'the rivals need hiredis to be at their best: pip install "streamkit[hiredis]"'
        raise SystemExit(msg)


def describe(client: redis.Redis) -> str:
    """Machine, interpreter, libraries and server, in a line each."""
    server = client.info("server")
    name = "Valkey" if "valkey_version" in server else "Redis"
    lines = {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{package} {_version(package)}" for package in ("redis", "hiredis", "streamkit")),
        "server": f"{name} {server.get('valkey_version', server['redis_version'])}",
    }
    return "\n".join(f"{name:>10}: {value}" for name, value in lines.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(from its sources)"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
