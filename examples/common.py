"""What the examples share: the server to use, programs in processes of their own, how to fail politely."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import redis

from streamkit import StreamkitError
from streamkit.testing import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REDIS_URL = "STREAMKIT_REDIS_URL"
STOPPED = {0, -signal.SIGTERM, 128 + signal.SIGTERM}
"""How a consumer ends that was asked to: after saving, or before it had begun."""


def argument_parser(description: str | None, *, private: bool = False) -> argparse.ArgumentParser:
    """A parser that shows a program's docstring as its help, and knows --redis-url unless the server is private."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if not private:
        parser.add_argument(
            "--redis-url",
            metavar="URL",
            default=os.environ.get(REDIS_URL),
            help=f"the server, such as redis://localhost:6379/0; default: {REDIS_URL}, or else a private server",
        )
    return parser


@contextmanager
def connected(url: str | None) -> Iterator[tuple[redis.Redis, str]]:
    """A client for the server at this URL, and the URL; without one, for a private server that is ended at the end."""
    with ExitStack() as stack:
        if not url:
            with deaf_to_ctrl_c():
                url = stack.enter_context(redis_server())
            note(f"Started a private server that ends with this program; share it: --redis-url {url}")
        try:
            client = redis.Redis.from_url(url)
        except ValueError as error:
            sys.exit(f"error: {url!r} is no URL of a server: {error}")
        yield stack.enter_context(client), url


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started in here do not hear Ctrl-C: the program that started them ends them, in its own order."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


class Child(subprocess.Popen[bytes]):
    """A program of an example, running in a process of its own; leaving its ``with`` block ends it."""

    def __init__(self, program: Path, *arguments: str, url: str) -> None:
        self.script = program.name
        command = [sys.executable, str(program), *arguments]
        try:
            with deaf_to_ctrl_c():
                super().__init__(command, env={**os.environ, REDIS_URL: url})
        except KeyboardInterrupt:  # pressed meanwhile
            self.kill()
            raise

    def __exit__(self, *_: object) -> None:
        """End it, the hard way if need be."""
        self.terminate()
        try:
            self.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()


class Request:
    """Whether a signal has asked a program to end, for `stop_on_signals`."""

    made = False

    def stop(self) -> None:
        """What the signal does."""
        self.made = True


def note(message: str) -> None:
    """Say something beside a program's output."""
    print(message, file=sys.stderr, flush=True)


def run(main: Callable[[], int]) -> NoReturn:
    """Run a program and exit; what went wrong is told in one line, and a signal to end lets it clean up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda signum, _: sys.exit(128 + signum))
    try:
        sys.exit(main())
    except (StreamkitError, redis.RedisError) as error:
        sys.exit(f"error: {error}")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}; the example needs: pip install rich matplotlib")
    except BrokenPipeError:
        # Whoever read our output has seen enough (`... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
