"""Who may talk to the page's server: this machine's own browser, from the page itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost")
OWN_HEADER = "x-orders"
"""A header of our own. A page of another origin cannot send it without being allowed to, and nobody ever is."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests by another name (DNS rebinding), and changes that another origin asks for.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(message)
            await send(message)

        problem = objection(scope["method"], Headers(scope=scope), scope["server"])
        if problem is None:
            await self._app(scope, receive, send_guarded)
        else:
            await JSONResponse({"error": problem}, status_code=403)(scope, receive, send_guarded)


def objection(method: str, headers: Headers, server: tuple[str, int] | None) -> str | None:
    """What is wrong with a request; None: nothing."""
    port = server[1] if server else 80
    own = {f"{name}:{port}" for name in NAMES}.union(NAMES if port == 80 else ())
    host = headers.get("host", "")
    if host not in own:
        return f"this server is {NAMES[0]}:{port}, not {host!r}"
    if method in {"GET", "HEAD"}:
        return None
    origin = headers.get("origin")
    if origin is None and OWN_HEADER not in headers:
        return f"a request without an Origin needs the header {OWN_HEADER.title()}"
    if origin is not None and origin != f"http://{host}":
        return "this page takes no orders from other origins"
    return None


def _add_headers(message: MutableMapping[str, object]) -> None:
    found = message.setdefault("headers", [])
    assert isinstance(found, list)  # noqa: S101 - says so to the type checkers; ASGI promises it
    message["headers"] = [*found, *((name.lower().encode(), value.encode()) for name, value in HEADERS.items())]
