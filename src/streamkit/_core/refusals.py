"""Error replies, sorted by what can be done about them. redis-py strips some prefixes, so its classes count too."""

from __future__ import annotations

import enum
import re

from redis import exceptions

from streamkit._core.errors import CommandFailed, PermissionDenied, ServerError, ServerUnavailable, WrongKeyType
from streamkit._core.scripts import command_at

_DENIED_IN_SCRIPT = ("ACL failure in script", "executing the script can't", "NOPERM ")
_PLACE = re.compile(r"script: ([0-9a-f]{40}), on @user_script:(\d+)")


class Refusal(enum.Enum):
    """What an error reply calls for."""

    WAIT = "wait"
    """The server refuses for now: out of memory, loading, moving, not writable. Nothing was done; try again."""
    MOVED = "moved"
    """This server is not the master any more, or not in contact with it: find the master by connecting anew."""
    SCRIPT = "script"
    """The script is not in the server's cache: send its source."""
    FATAL = "fatal"
    """Trying again would fail again."""


_MOVED_PREFIXES = ("READONLY", "-READONLY", "MASTERDOWN")
_MOVED_CLASSES = (exceptions.ReadOnlyError, exceptions.MasterDownError)
_WAIT_PREFIXES = (
    "LOADING",
    "BUSY ",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "UNBLOCKED",
)
_WAIT_CLASSES = (
    exceptions.BusyLoadingError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)


def refusal(error: Exception) -> Refusal:
    """What an error reply calls for."""
    message = str(error)
    if isinstance(error, exceptions.NoScriptError) or message.startswith("NOSCRIPT"):
        return Refusal.SCRIPT
    if isinstance(error, _MOVED_CLASSES) or message.startswith(_MOVED_PREFIXES):
        return Refusal.MOVED
    if isinstance(error, _WAIT_CLASSES) or message.startswith(_WAIT_PREFIXES):
        return Refusal.WAIT
    # OOM and NOREPLICAS inside a script arrive with the script's own preface in front.
    if "-OOM" in message or "used memory > 'maxmemory'" in message or "-NOREPLICAS" in message:
        return Refusal.WAIT
    return Refusal.FATAL


def passing(error: BaseException | None) -> bool:
    """Whether an error reply says that the server refuses for now."""
    return isinstance(error, Exception) and refusal(error) in {Refusal.WAIT, Refusal.MOVED}


def untrusted(error: object) -> bool:
    """Whether TLS failed for the server's certificate, which no waiting mends."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def typed(error: Exception, *, doing: str, key: str = "") -> ServerError:
    """The streamkit error for an error reply or a failed connection; ``doing`` says what was tried, with its key."""
    message = str(error)
    if isinstance(error, ServerError):
        return error
    if isinstance(error, exceptions.AuthenticationError):
        return PermissionDenied(f"the server refused the login while {doing}: {message}; check user name and password")
    denied = isinstance(error, exceptions.NoPermissionError) or message.startswith(("NOPERM", "NOAUTH", "WRONGPASS"))
    if denied or any(phrase in message for phrase in _DENIED_IN_SCRIPT):
        told = f"{message}{_unnamed(message)}"
        return PermissionDenied(f"the server refused {doing}: {told}; grant the user this command and its keys")
    if message.startswith("WRONGTYPE"):
        return WrongKeyType(key or doing, found="value of another type", needed="stream")
    if passing(error) or isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError)):
        return _unavailable(error, message, doing)
    return CommandFailed(f"the server refused {doing}: {message}")


def _unnamed(message: str) -> str:
    """The command that Redis 7.0 does not name when a script may not run it: the one in the line it does name."""
    place = _PLACE.search(message)
    command = command_at(place[1], int(place[2])) if place and "this command" in message else ""
    return f" ({command})" if command else ""


def _unavailable(error: Exception, message: str, doing: str) -> ServerUnavailable:
    if passing(error):
        return ServerUnavailable(f"the server refuses for now while {doing}: {message}")
    if message.startswith(("No connection available", "Too many connections")):
        return ServerUnavailable(
            f"the client's connection pool is used up while {doing} ({message}); raise max_connections: an append_many "
            "holds one connection while it takes its values"
        )
    if untrusted(message):
        return ServerUnavailable(
            f"the server's certificate is not trusted while {doing}: {message}; give the client the CA that signed it "
            "(ssl_ca_certs), and the host name that it is for"
        )
    return ServerUnavailable(
        f"the server could not be reached while {doing}: {message or type(error).__name__}; "
        "check the address, and that the server is running"
    )
