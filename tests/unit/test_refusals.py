"""Error replies: which are waited out, which need the script, which end the work, and what each says."""

from __future__ import annotations

import pytest
from redis import exceptions

from streamkit._core.errors import (
    CommandFailed,
    PermissionDenied,
    ServerError,
    ServerTooOld,
    ServerUnavailable,
    WrongKeyType,
)
from streamkit._core.refusals import Refusal, passing, refusal, typed, untrusted
from streamkit._core.scripts import BEAT, TRIM, Script

# As redis-py raises them: some prefixes are its classes and are cut off, others stay in front of the message.
PASSING = [
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    exceptions.ClusterDownError("The cluster is down"),
    exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    exceptions.ResponseError("OOM command not allowed when used memory > 'maxmemory'. script: f00, on @user_script:1."),
    exceptions.ResponseError("ERR Error running script: @user_script:5: -OOM command not allowed"),
    exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist"),
    exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
    exceptions.ResponseError("ERR @user_script: 3: -NOREPLICAS Not enough good replicas to write."),
    exceptions.ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL"),
    exceptions.ResponseError("LOADING Redis is loading the dataset in memory"),
    exceptions.ResponseError("CLUSTERDOWN Hash slot not served"),
    exceptions.ResponseError("TRYAGAIN Multiple keys request during rehashing of slot"),
    exceptions.ResponseError("UNBLOCKED force unblock from blocking operation"),
]
MOVED = [
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.MasterDownError("Link with MASTER is down"),
    exceptions.ResponseError("READONLY You can't write against a read only replica."),
    exceptions.ResponseError("-READONLY You can't write against a read only replica."),
    exceptions.ResponseError("MASTERDOWN Link with MASTER is down"),
]
MISSING = [
    exceptions.NoScriptError("No matching script. Please use EVAL."),
    exceptions.ResponseError("NOSCRIPT No matching script."),
]
FATAL = [
    exceptions.ResponseError("unknown command 'XADD'"),
    exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    exceptions.ResponseError("BUSYGROUP Consumer Group name already exists"),
    exceptions.ResponseError("value is not an integer or out of range"),
    exceptions.NoPermissionError("this user has no permissions to run the 'xadd' command"),
]


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_what_passes_by_itself_is_waited_out(error: Exception) -> None:
    assert refusal(error) is Refusal.WAIT


@pytest.mark.parametrize("error", MOVED, ids=str)
def test_a_server_that_is_no_master_any_more_is_looked_for_anew(error: Exception) -> None:
    assert refusal(error) is Refusal.MOVED


@pytest.mark.parametrize("error", [*PASSING, *MOVED], ids=str)
def test_both_are_told_as_a_server_that_refuses_for_now(error: Exception) -> None:
    assert passing(error)
    found = typed(error, doing="appending")
    assert isinstance(found, ServerUnavailable)
    assert str(found) == f"the server refuses for now while appending: {error}"


@pytest.mark.parametrize("error", MISSING, ids=str)
def test_a_script_that_the_server_forgot_is_sent_again(error: Exception) -> None:
    assert refusal(error) is Refusal.SCRIPT


@pytest.mark.parametrize("error", FATAL, ids=str)
def test_what_would_fail_again_ends_the_work(error: Exception) -> None:
    assert refusal(error) is Refusal.FATAL
    assert not passing(error)


def test_no_error_does_not_pass() -> None:
    assert not passing(None)
    assert not passing(KeyboardInterrupt())


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("Error 111 connecting to localhost:6379. Connection refused."),
        exceptions.TimeoutError("Timeout reading from socket"),
        OSError("Connection reset by peer"),
    ],
)
def test_a_server_that_cannot_be_reached_is_unavailable(error: Exception) -> None:
    found = typed(error, doing="reading 'temps'")
    assert isinstance(found, ServerUnavailable)
    assert isinstance(found, ConnectionError)
    assert str(found).startswith(f"the server could not be reached while reading 'temps': {error}; check the address")


def test_an_error_without_words_is_named_by_its_class() -> None:
    assert "while connecting: TimeoutError;" in str(typed(TimeoutError(), doing="connecting"))


@pytest.mark.parametrize(
    "error",
    [
        exceptions.NoPermissionError("this user has no permissions to run the 'xadd' command"),
        exceptions.ResponseError("NOPERM this user has no permissions"),
        exceptions.ResponseError("NOAUTH Authentication required."),
        exceptions.ResponseError("WRONGPASS invalid username-password pair"),
        exceptions.ResponseError("The user executing the script can't run this command or subcommand"),
        exceptions.ResponseError("ACL failure in script: this user has no permissions to access the key"),
    ],
    ids=str,
)
def test_what_the_user_may_not_is_denied(error: Exception) -> None:
    found = typed(error, doing="XLEN of 'temps'")
    assert isinstance(found, PermissionDenied)
    assert str(found) == f"the server refused XLEN of 'temps': {error}; grant the user this command and its keys"


def test_a_command_that_redis_7_0_does_not_name_is_found_in_the_script() -> None:
    def told(sha: str, line: int, words: str = "run this command or subcommand") -> str:
        message = f"The user executing the script can't {words} script: {sha}, on @user_script:{line}."
        return str(typed(exceptions.ResponseError(message), doing="trimming 's'"))

    def line_of(script: Script, words: str) -> int:
        return max(at for at, text in enumerate(script.source.splitlines(), start=1) if words in text)

    line = line_of(TRIM, "redis.call('XINFO', 'GROUPS', key)")
    assert f"@user_script:{line}. (XINFO GROUPS); grant the user this command and its keys" in told(TRIM.sha, line)
    # Words that were put together above.
    assert "(XCLAIM)" in told(BEAT.sha, line_of(BEAT, "call(unpack(words))"))
    for other in (told(TRIM.sha, 1), told("0" * 40, line), told(TRIM.sha, line, "access at least one of the keys")):
        assert "(" not in other


def test_a_certificate_that_is_not_trusted_is_no_server_that_is_away() -> None:
    error = exceptions.ConnectionError("Error 1 connecting: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    found = typed(error, doing="connecting")
    assert isinstance(found, ServerUnavailable)
    assert str(found).startswith("the server's certificate is not trusted while connecting: Error 1")
    assert untrusted(found)
    assert not untrusted(typed(exceptions.ConnectionError("Connection refused"), doing="connecting"))


def test_a_login_that_fails_is_told_from_a_right_that_is_missing() -> None:
    found = typed(exceptions.AuthenticationError("invalid username-password pair"), doing="connecting")
    assert isinstance(found, PermissionDenied)
    assert str(found).endswith("invalid username-password pair; check user name and password")


def test_a_pool_that_is_used_up_is_not_an_unreachable_server() -> None:
    found = typed(exceptions.ConnectionError("No connection available."), doing="connecting")
    assert isinstance(found, ServerUnavailable)
    assert "raise max_connections" in str(found)


def test_a_key_of_another_type_is_named() -> None:
    error = exceptions.ResponseError("WRONGTYPE Operation against a key")
    found = typed(error, doing="XLEN of 'temps'", key="temps")
    assert isinstance(found, WrongKeyType)
    assert (found.key, found.found) == ("temps", "value of another type")
    assert "'saving' holds" in str(typed(error, doing="saving"))


def test_anything_else_is_told_in_the_servers_words() -> None:
    found = typed(exceptions.ResponseError("ERR syntax error"), doing="appending")
    assert type(found) is CommandFailed
    assert str(found) == "the server refused appending: ERR syntax error"


@pytest.mark.parametrize("error", [ServerUnavailable("away"), ServerTooOld("6.2.14", "7.0")])
def test_an_error_that_is_ours_already_stays_itself(error: ServerError) -> None:
    assert typed(error, doing="anything") is error
