"""A server that is none: it says which version it is, and OK to everything else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.integration.proxy import HOST, frames, words_of


@contextmanager
def server_of_version(version: str) -> Iterator[str]:
    """Listen, and answer INFO as a Redis of this version does; gives the URL."""
    listener = socket.create_server((HOST, 0))
    taken: list[socket.socket] = []
    closing = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for frame in frames(connection):
                connection.sendall(_answer(words_of(frame)[0].upper(), version))

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            if closing.is_set():
                connection.close()
                return
            taken.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    threads = [threading.Thread(target=accept, daemon=True)]
    threads[0].start()
    try:
        yield f"redis://{HOST}:{listener.getsockname()[1]}/0"
    finally:
        closing.set()
        with socket.create_connection(listener.getsockname(), timeout=1):
            threads[0].join()
        listener.close()
        for connection in taken:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads[1:]:
            thread.join()


def _answer(command: bytes, version: str) -> bytes:
    if command == b"INFO":
        text = f"# Server\r\nredis_version:{version}\r\n".encode()
        return b"$%d\r\n%s\r\n" % (len(text), text)
    if command == b"HELLO":
        return b"%3\r\n+server\r\n+redis\r\n+version\r\n+6.2\r\n+proto\r\n:3\r\n"
    if command == b"COMMAND":
        return b"*1\r\n*-1\r\n"
    return b"+OK\r\n"
