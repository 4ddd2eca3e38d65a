"""A proxy between a client and its server that loses replies, cuts connections and hangs, at exactly chosen moments.

    with Proxy(url) as proxy:
        client = redis.Redis.from_url(proxy.url)
        proxy.cut_after_request(matching=b"EVALSHA", nth=3)  # the third is applied, its reply is lost
        ...
        assert proxy.cuts == 1

It reads both directions as RESP, so that it knows which reply belongs to which request. It runs in threads of its own,
so that it serves threads and tasks alike. Not for MONITOR, SUBSCRIBE or CLIENT REPLY, which break "one request, one
reply".
"""

from __future__ import annotations

import enum
import random
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import Self

Request: TypeAlias = Sequence[bytes]
"""The words of a command."""
Matching: TypeAlias = "bytes | Callable[[Request], bool]"
"""Which requests: those whose name begins with it or that have it as a word (empty: all); or what a function says."""

HOST = "127.0.0.1"
PIECE = 1 << 18


class Fault(enum.Enum):
    """What happens to a request."""

    CUT_BEFORE = enum.auto()
    """The connection is cut before the server sees the request."""
    CUT_AFTER = enum.auto()
    """The server answers the request; the connection is cut instead of delivering that."""
    CUT_AMID = enum.auto()
    """The first half of the reply is delivered, then the connection is cut."""
    HANG = enum.auto()
    """The request goes through, and nothing after it in either direction, until `Proxy.resume`."""


CUTS = (Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_AMID)


@dataclass
class _Rule:
    matching: Matching
    skip: int
    times: float
    action: Callable[[Request], Fault | None]

    def takes(self, request: Request) -> bool:
        """Whether this request's turn has come."""
        if self.times < 1 or not _matches(self.matching, request):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Proxy:
    """Passes bytes on between clients and the server at ``url``; breaks what the methods below ask for.

    Attributes:
        url: Where clients connect.
        counts: How often each command came by, by its name in capitals.
        cuts: How many connections were cut by a fault.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or HOST, parts.port or 6379)
        self._listener = socket.create_server((HOST, 0))
        netloc = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        self.url = urlunsplit(parts._replace(netloc=f"{netloc}{HOST}:{self._listener.getsockname()[1]}"))
        self.counts: Counter[bytes] = Counter()
        self.cuts = 0
        self._rules: list[_Rule] = []
        self._pairs: set[_Pair] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._down = False
        self._closed = False

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._flowing.set()
        # A blocked accept() is not woken on every system by closing its socket, but by a visitor.
        with suppress(OSError), socket.create_connection(self._listener.getsockname(), timeout=1):
            pass
        self._threads[0].join()
        self._listener.close()
        self.cut_all()
        for thread in self._threads:
            thread.join()

    # What to break ----------------------------------------------------------------------------------------------------

    def cut_before_request(self, *, matching: Matching = b"", nth: int = 1, times: float = 1) -> None:
        """Cut the connection instead of passing on the nth matching request from now on, and the next ``times - 1``."""
        self._add(matching, nth, times, lambda _: Fault.CUT_BEFORE)

    def cut_after_request(self, *, matching: Matching = b"", nth: int = 1, times: float = 1) -> None:
        """Have the server do the nth matching request from now on, and cut the connection instead of its reply."""
        self._add(matching, nth, times, lambda _: Fault.CUT_AFTER)

    def cut_amid_reply(self, *, matching: Matching = b"", nth: int = 1, times: float = 1) -> None:
        """Cut the connection in the middle of the reply to the nth matching request from now on."""
        self._add(matching, nth, times, lambda _: Fault.CUT_AMID)

    def cut_at_random(
        self, chance: float, dice: random.Random, *, matching: Matching = b"", faults: Sequence[Fault] = CUTS
    ) -> None:
        """From now on cut at a matching request with this chance, before or after it or amid its reply."""
        self._add(matching, 1, float("inf"), lambda _: dice.choice(faults) if dice.random() < chance else None)

    def call_before(
        self, function: Callable[[], object], *, matching: Matching = b"", nth: int = 1, times: float = 1
    ) -> None:
        """Call a function, in a thread of the proxy's, before the nth matching request from now on is passed on."""

        def call(_: Request) -> None:
            function()

        self._add(matching, nth, times, call)

    def hang(self, *, matching: Matching | None = None, nth: int = 1) -> None:
        """Let nothing through any more, at once, or from the nth matching request on, which the server still gets."""
        if matching is None:
            self._flowing.clear()
        else:
            self._add(matching, nth, 1, lambda _: Fault.HANG)

    def resume(self) -> None:
        """Let through what was held up, and go on."""
        self._flowing.set()

    def down(self) -> None:
        """Cut every connection, and every new one as it comes, until `up`."""
        self._down = True
        self.cut_all()

    def up(self) -> None:
        """Take connections again."""
        self._down = False

    def cut_all(self) -> None:
        """Cut every connection; new ones are welcome."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()

    def clear(self) -> None:
        """Forget every fault asked for, and let everything through."""
        with self._lock:
            self._rules.clear()
        self._down = False
        self._flowing.set()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._pairs)

    # How it works -----------------------------------------------------------------------------------------------------

    def _add(self, matching: Matching, nth: int, times: float, action: Callable[[Request], Fault | None]) -> None:
        with self._lock:
            self._rules.append(_Rule(matching, nth - 1, times, action))

    def _start(self, main: Callable[[], None]) -> None:
        thread = threading.Thread(target=main, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closed:
                client.close()
                return
            upstream = None
            if not self._down:
                with suppress(OSError):
                    upstream = socket.create_connection(self._upstream)
            if upstream is None:
                client.close()
                continue
            for side in (client, upstream):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(self, client, upstream)
            with self._lock:
                self._pairs.add(pair)
            self._start(pair.requests)
            self._start(pair.replies)

    def passed(self) -> None:
        """Wait while everything hangs."""
        self._flowing.wait()

    def fault_of(self, request: Request) -> Fault | None:
        """Count a request and find out what is to happen to it."""
        with self._lock:
            self.counts[request[0].upper()] += 1
            due = [rule for rule in self._rules if rule.takes(request)]
        # Outside the lock: an action may talk to the server, even through this proxy.
        faults = [fault for rule in due if (fault := rule.action(request)) is not None]
        return faults[0] if faults else None

    def was_cut(self) -> None:
        """Count a cut."""
        with self._lock:
            self.cuts += 1

    def forget(self, pair: _Pair) -> None:
        """Note that a connection has ended."""
        with self._lock:
            self._pairs.discard(pair)


class _Pair:
    """One connection of a client's and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket, upstream: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._upstream = upstream
        self._awaited: deque[Fault | None] = deque()
        self._lock = threading.Lock()
        self._ends = 2

    def cut(self) -> None:
        """End both connections; the two threads find out."""
        for side in (self._client, self._upstream):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def requests(self) -> None:
        """Pass on what the client sends."""
        with suppress(OSError):
            for frame in frames(self._client):
                fault = self._proxy.fault_of(words_of(frame))
                self._proxy.passed()
                if fault is Fault.CUT_BEFORE:
                    self._proxy.was_cut()
                    break
                if fault is Fault.HANG:
                    self._proxy.hang()
                self._awaited.append(fault)
                self._upstream.sendall(frame)
        self._end()

    def replies(self) -> None:
        """Pass on what the server answers."""
        with suppress(OSError):
            for frame in frames(self._upstream):
                # A push (RESP3) answers nothing.
                fault = None if frame.startswith(b">") else self._awaited.popleft()
                self._proxy.passed()
                if fault in {Fault.CUT_AFTER, Fault.CUT_AMID}:
                    if fault is Fault.CUT_AMID:
                        self._client.sendall(frame[: max(1, len(frame) // 2)])
                    self._proxy.was_cut()
                    break
                self._client.sendall(frame)
        self._end()

    def _end(self) -> None:
        self.cut()
        with self._lock:
            self._ends -= 1
            if self._ends:
                return
        self._client.close()
        self._upstream.close()
        self._proxy.forget(self)


def frames(source: socket.socket) -> Iterator[bytes]:
    """Everything a socket receives, one RESP value at a time."""
    buffer = bytearray()
    missing = 0
    while True:
        piece = source.recv(PIECE)
        if not piece:
            return
        buffer += piece
        # A large value is not looked at again with each of its pieces.
        if len(piece) < missing:
            missing -= len(piece)
            continue
        missing = 0
        start = 0
        while start < len(buffer):
            end, missing = _end_of(buffer, start)
            if not end:
                break
            yield bytes(buffer[start:end])
            start = end
        del buffer[:start]


def words_of(frame: bytes) -> list[bytes]:
    """The words of a request: an array of bulk strings."""
    words: list[bytes] = []
    at = frame.index(b"\r\n") + 2
    while at < len(frame):
        newline = frame.index(b"\r\n", at)
        size = int(frame[at + 1 : newline])
        words.append(frame[newline + 2 : newline + 2 + size])
        at = newline + size + 4
    return words


def _end_of(buffer: bytearray, start: int) -> tuple[int, int]:
    """Where the value beginning at ``start`` ends, or 0 and how many bytes are missing at least."""
    at, due = start, 1
    while due:
        newline = buffer.find(b"\r\n", at)
        if newline < 0:
            return 0, 1
        kind = buffer[at]
        due -= 1
        if kind in b"$=!":
            size = int(buffer[at + 1 : newline])
            at = newline + 2 if size < 0 else newline + size + 4
            if at > len(buffer):
                return 0, at - len(buffer)
        else:
            if kind in b"*~>":
                due += max(0, int(buffer[at + 1 : newline]))
            elif kind == ord("%"):
                due += 2 * int(buffer[at + 1 : newline])
            at = newline + 2
    return at, 0


def _matches(matching: Matching, request: Request) -> bool:
    if callable(matching):
        return matching(request)
    return request[0].upper().startswith(matching.upper()) or matching in request
