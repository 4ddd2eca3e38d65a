"""Starts everything: a server (or takes yours), the stream, both groups, and a page to play with it.

python -m examples.orders [--port 8765] [--redis-url URL | --redis-host HOST --redis-port PORT]
                          [--stream-key demo:events:orders] [--no-reset]
"""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from datetime import timedelta

from examples import common
from examples.orders.settings import Settings
from streamkit.testing import redis_server

PORT = 8765


def positive_seconds(text: str) -> timedelta:
    """The value of an option with a duration."""
    seconds = float(text)
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("give 0.1 to 86400 seconds")
    return timedelta(seconds=seconds)


def port_number(text: str) -> int:
    """The value of an option with a port."""
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError("give a port from 0 to 65535")
    return port


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.orders",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--redis-url",
        metavar="URL",
        help=f"the server, such as redis://localhost:6379/0; default: {common.REDIS_URL}, or else a private server",
    )
    parser.add_argument("--redis-host", metavar="HOST", help="the server, by its host")
    parser.add_argument("--redis-port", metavar="PORT", type=port_number, help="the server, by its port")
    parser.add_argument("--stream-key", metavar="KEY", default=Settings.stream_key, help="default: %(default)s")
    parser.add_argument("--no-reset", action="store_true", help="go on with what the stream and its groups hold")
    parser.add_argument(
        "--port",
        type=port_number,
        default=PORT,
        help="the page's port on 127.0.0.1; 0: a free one; default: %(default)s",
    )
    parser.add_argument(
        "--min-idle-time",
        metavar="SECONDS",
        type=positive_seconds,
        default=Settings.min_idle_time,
        help="how long an event lies untouched before others may reap it; default: 10",
    )
    parser.add_argument(
        "--sweep-every",
        metavar="SECONDS",
        type=positive_seconds,
        default=Settings.sweep_every,
        help="how often the timer reaps; default: 20",
    )
    parsed = parser.parse_args(arguments)
    if parsed.redis_url and (parsed.redis_host or parsed.redis_port):
        parser.error("give --redis-url, or --redis-host and --redis-port, not both")
    if not parsed.stream_key:
        parser.error("--stream-key must not be empty")
    return parsed


def url_of(parsed: argparse.Namespace) -> str | None:
    """The server to use; None: a private one."""
    if parsed.redis_host or parsed.redis_port is not None:
        host = parsed.redis_host or "localhost"
        return f"redis://{f'[{host}]' if ':' in host else host}:{parsed.redis_port or 6379}/0"
    return parsed.redis_url or os.environ.get(common.REDIS_URL) or None


def main() -> int:
    """Run until Ctrl-C."""
    parsed = parse()
    try:
        from examples.orders.serving import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        common.note(f"error: {error}; this example needs: pip install fastapi uvicorn")
        return 1
    settings = Settings(
        stream_key=parsed.stream_key,
        min_idle_time=parsed.min_idle_time,
        sweep_every=parsed.sweep_every,
        reset=not parsed.no_reset,
    )
    with ExitStack() as stack:
        url = url_of(parsed)
        if url is None:
            with common.deaf_to_ctrl_c():
                url = stack.enter_context(redis_server())
            print(f"Started a private server that ends with this program: {url}", flush=True)
        return run(url, settings, parsed.port)


if __name__ == "__main__":
    common.run(main)
