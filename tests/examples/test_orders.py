"""The orders demo behind its page: what it does, what it refuses and in which words, who may talk to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis.asyncio

from examples.orders.app import make_app
from examples.orders.demo import Demo
from examples.orders.settings import Settings
from examples.orders.watching import Watch
from streamkit import RetryPolicy
from streamkit.testing import redis_server

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0
ORIGIN = "http://127.0.0.1:8765"
RETRY = RetryPolicy(max_deliveries=3, backoff=[timedelta(milliseconds=20)])


class Behind:
    """A demo, and requests to its page as its own script makes them."""

    def __init__(self, demo: Demo, watch: Watch, client: httpx.AsyncClient) -> None:
        self.demo = demo
        self.watch = watch
        self.client = client

    async def post(self, path: str, **body: object) -> httpx.Response:
        return await self.client.post(f"/api/{path}", json=body, headers={"Origin": ORIGIN})

    async def done(self, path: str, **body: object) -> dict[str, Any]:
        response = await self.post(path, **body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def replayed(self, **query: str | int) -> dict[str, Any]:
        response = await self.client.get("/api/replay", params=query)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first snapshot that is as wanted."""
        deadline = time.monotonic() + DEADLINE
        while True:
            snapshot = await self.watch.snapshot()
            if condition(snapshot):
                return snapshot
            assert time.monotonic() < deadline, snapshot
            await asyncio.sleep(0.02)


def group_of(snapshot: dict[str, Any], name: str = "notifications") -> dict[str, Any]:
    (found,) = [each for each in snapshot["groups"] if each["name"] == name]
    return dict(found)


def consumers_of(snapshot: dict[str, Any], name: str = "notifications") -> dict[str, Any]:
    return {each["name"]: each for each in group_of(snapshot, name)["consumers"]}


@asynccontextmanager
async def opened(url: str, settings: Settings) -> AsyncIterator[Behind]:
    async with redis.asyncio.Redis.from_url(url) as client, Demo(client, settings) as demo, Watch(demo) as watch:
        transport = httpx.ASGITransport(make_app(demo, watch))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as page:
            yield Behind(demo, watch, page)


def settings_of(name: str, *, reset: bool = True) -> Settings:
    return Settings(
        stream_key=name,
        min_idle_time=timedelta(seconds=0.5),
        sweep_every=timedelta(seconds=600),
        retry=RETRY,
        reset=reset,
    )


@pytest.fixture
async def behind(redis_url: str, name: str) -> AsyncIterator[Behind]:
    async with opened(redis_url, settings_of(name)) as each:
        yield each


# -- what it does -----------------------------------------------------------------------------------------------------


async def test_both_groups_handle_every_event_and_two_share_the_work(behind: Behind) -> None:
    answer = await behind.done("produce", count=200, type="order.paid", customer="Ada")
    assert answer["message"] == "200 events produced."
    # A snapshot is put together bit by bit: one after all was acked tells of all that was acked.
    await behind.until(lambda each: each["tally"]["acked"] == 400)
    snapshot = await behind.watch.snapshot()
    assert snapshot["stream"]["length"] == snapshot["tally"]["produced"] == 200
    assert snapshot["tail"][0]["fields"].keys() == {"type", "order_id", "customer", "amount", "ts_ms"}
    assert {each["fields"]["type"] for each in snapshot["tail"]} == {"order.paid"}
    assert {each["fields"]["customer"] for each in snapshot["tail"]} == {"Ada"}
    assert consumers_of(snapshot, "analytics")["worker-c"]["processed"] == 200
    shares = {name: each["processed"] for name, each in consumers_of(snapshot).items()}
    assert sum(shares.values()) == 200
    assert set(shares) == {"worker-a", "worker-b"}
    assert min(shares.values()) > 0
    assert snapshot["turnover"] != "0"
    await behind.until(lambda each: {one["lag"] for one in each["groups"]} == {0})


async def test_a_steady_rate_begins_and_ends(behind: Behind) -> None:
    await behind.done("rate", rate=100)
    await behind.until(lambda each: each["rate"] == 100 and each["tally"]["produced"] > 50)
    await behind.done("rate", rate=0)
    produced = behind.demo.tally.produced
    await behind.until(lambda each: each["tally"]["acked"] >= 2 * produced)


async def test_crashed_deliveries_are_pending_until_a_peer_reaps_them(behind: Behind) -> None:
    await behind.done("crash", group="analytics", consumer="worker-c")
    await behind.done("produce", count=10)
    # worker-c is there again, under its name, and does not touch what it crashed with.
    snapshot = await behind.until(lambda each: consumers_of(each, "analytics")["worker-c"]["processed"] == 7)
    snapshot = await behind.until(
        lambda each: [one["idle_ms"] >= 500 for one in group_of(each, "analytics")["entries"]] == [True] * 3
    )
    assert [one["deliveries"] for one in group_of(snapshot, "analytics")["entries"]] == [1] * 3
    await behind.done("consumers/add", group="analytics", consumer="worker-d")
    answer = await behind.done("reap", group="analytics", consumer="worker-d")
    assert answer == {"message": "worker-d took over 3 events.", "taken": 3}
    snapshot = await behind.until(lambda each: consumers_of(each, "analytics")["worker-d"]["processed"] == 3)
    assert snapshot["tally"]["claimed"] == 3
    assert (await behind.done("reap", group="analytics", consumer="worker-d"))["taken"] == 0


async def test_the_timer_reaps_into_a_peer_by_itself(redis_url: str, name: str) -> None:
    settings = Settings(name, min_idle_time=timedelta(seconds=0.5), sweep_every=timedelta(seconds=1), retry=RETRY)
    async with opened(redis_url, settings) as behind:
        await behind.done("timer", on=False)
        await behind.done("crash", group="notifications", consumer="worker-a", count=1)
        while behind.demo.teams["notifications"].workers["worker-a"].crashes:
            await behind.done("produce", count=2)
            await asyncio.sleep(0.05)
        await behind.until(lambda each: [one["idle_ms"] > 1500 for one in group_of(each)["entries"]] == [True])
        await behind.done("timer", on=True)
        await behind.until(lambda each: each["tally"]["claimed"] == 1)
        reaped = "the timer had worker-b reap 1"
        await behind.until(lambda each: any(reaped in line["text"] for line in each["log"]))


async def test_a_poison_pill_fails_waits_dies_and_comes_back_when_it_is_mended(behind: Behind) -> None:
    await behind.done("poison")
    snapshot = await behind.until(lambda each: len(each["dead"]["letters"]) == 1)
    (letter,) = snapshot["dead"]["letters"]
    assert (letter["cause"], letter["attempt"], letter["redrives"]) == ("exhausted", 3, 0)
    assert letter["why"].startswith("Unnotifiable: order o-00001 has no customer")
    assert letter["fields"]["customer"] == ""
    # Not mended: it comes back, and dies again.
    assert (await behind.done("redrive", ids=[letter["id"]]))["message"] == "1 event redriven."
    snapshot = await behind.until(lambda each: [one["redrives"] for one in each["dead"]["letters"]] == [1])
    await behind.done("mend", on=True)
    await behind.done("redrive", ids=[each["id"] for each in snapshot["dead"]["letters"]])
    snapshot = await behind.until(lambda each: sum(one["processed"] for one in consumers_of(each).values()) == 1)
    assert snapshot["stream"]["length"] == 3
    await behind.until(lambda each: each["dead"]["length"] == 0)


async def test_a_dead_letter_is_discarded(behind: Behind) -> None:
    await behind.done("poison")
    snapshot = await behind.until(lambda each: len(each["dead"]["letters"]) == 1)
    ids = [each["id"] for each in snapshot["dead"]["letters"]]
    assert (await behind.done("discard", ids=ids))["message"] == "1 event discarded."
    assert (await behind.done("discard", ids=ids))["message"] == "0 events discarded."
    assert (await behind.done("redrive", ids=ids))["message"] == "0 events redriven."
    assert (await behind.until(lambda each: each["dead"]["length"] == 0))["stream"]["length"] == 1


async def test_who_is_removed_hands_over_first(behind: Behind) -> None:
    await behind.done("crash", group="notifications", consumer="worker-b", count=3)
    worker = behind.demo.teams["notifications"].workers["worker-b"]
    while worker.crashes:
        await behind.done("produce", count=10)
        await asyncio.sleep(0.05)
    produced = behind.demo.tally.produced
    answer = await behind.done("consumers/remove", group="notifications", consumer="worker-b")
    assert answer == {"message": "worker-b left notifications; 3 pending handed to worker-a.", "moved": 3}
    await behind.until(lambda each: list(consumers_of(each)) == ["worker-a"] and each["tally"]["acked"] == 2 * produced)
    response = await behind.post("consumers/remove", group="notifications", consumer="worker-a")
    assert response.status_code == 409
    assert "last consumer of notifications: add another one first" in response.json()["error"]


async def test_replay_gives_any_range_and_touches_no_group(behind: Behind) -> None:
    await behind.done("produce", count=20)
    whole = (await behind.replayed())["entries"]
    ids = [each["id"] for each in whole]
    assert len(ids) == 20
    some = await behind.replayed(start=ids[5], end=f" {ids[9]} ")
    assert some["entries"] == whole[5:10]
    assert some["message"] == "5 events replayed."
    newest = await behind.replayed(limit=3, reverse="true")
    assert [each["id"] for each in newest["entries"]] == ids[:-4:-1]
    assert newest["more"]
    assert (await behind.until(lambda each: each["tally"]["acked"] == 40))["tally"]["produced"] == 20


async def test_trim_and_reset(behind: Behind) -> None:
    await behind.done("produce", count=30)
    await behind.done("consumers/add", group="analytics", consumer="worker-x")
    await behind.until(lambda each: each["tally"]["acked"] == 60)
    assert (await behind.done("trim", length=10))["message"] == "Trimmed to 10: 20 events removed."
    assert (await behind.until(lambda each: each["stream"]["length"] == 10))["tally"]["produced"] == 30
    await behind.done("reset")
    snapshot = await behind.until(lambda each: each["tally"]["produced"] == 0 and each["stream"]["length"] == 0)
    assert list(consumers_of(snapshot, "analytics")) == ["worker-c"]
    await behind.done("produce", count=5)
    await behind.until(lambda each: each["tally"]["acked"] == 10)


async def test_no_reset_goes_on_and_removes_who_was_left_behind(redis_url: str, name: str) -> None:
    async with opened(redis_url, settings_of(name)) as behind:
        await behind.done("consumers/add", group="analytics", consumer="worker-x")
        await behind.done("crash", group="analytics", consumer="worker-x", count=1)
        while behind.demo.teams["analytics"].workers["worker-x"].crashes:
            await behind.done("produce", count=5)
            await asyncio.sleep(0.05)
        produced = behind.demo.tally.produced
    async with opened(redis_url, settings_of(name, reset=False)) as behind:
        snapshot = await behind.until(lambda each: "worker-x" in consumers_of(each, "analytics"))
        assert snapshot["stream"]["length"] == produced
        left = consumers_of(snapshot, "analytics")["worker-x"]
        assert (left["running"], left["pending"]) == (False, 1)
        assert (await behind.post("reap", group="analytics", consumer="worker-x")).status_code == 404
        answer = await behind.done("consumers/remove", group="analytics", consumer="worker-x")
        assert answer["moved"] == 1
        await behind.until(lambda each: list(consumers_of(each, "analytics")) == ["worker-c"])


# -- what it refuses --------------------------------------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("produce", {}, 422, "count: Field required"),
    ("produce", {"count": 0}, 422, "count: Input should be greater than or equal to 1"),
    ("produce", {"count": 1001}, 422, "count: Input should be less than or equal to 1000"),
    ("produce", {"count": "many"}, 422, "count: Input should be a valid integer"),
    ("produce", {"count": 1.5}, 422, "count: Input should be a valid integer"),
    ("produce", {"count": 1, "type": "order.eaten"}, 422, "type: Input should be 'order.placed'"),
    ("produce", {"count": 1, "customer": " "}, 422, "customer: String should have at least 1 character"),
    ("produce", {"count": 1, "customer": "x" * 61}, 422, "customer: String should have at most 60"),
    ("produce", {"count": 1, "colour": "red"}, 422, "colour: Extra inputs are not permitted"),
    ("rate", {"rate": -1}, 422, "rate: Input should be greater"),
    ("rate", {"rate": 201}, 422, "rate: Input should be less"),
    ("trim", {"length": -1}, 422, "length: Input should be greater"),
    ("crash", {"group": "notifications", "consumer": "nobody"}, 404, "no consumer nobody"),
    ("crash", {"group": "nobody", "consumer": "worker-a"}, 404, "there are notifications and analytics"),
    ("crash", {"group": "notifications", "consumer": "worker-a", "count": 0}, 422, "count: Input should be greater"),
    ("reap", {"group": "notifications", "consumer": "worker-c"}, 404, "no consumer worker-c"),
    ("consumers/add", {"group": "analytics", "consumer": "worker-c"}, 409, "has a consumer worker-c already"),
    ("consumers/add", {"group": "analytics", "consumer": "<b>"}, 409, "a name has 1 to 32 letters"),
    ("consumers/add", {"group": "analytics", "consumer": "streamkit:released"}, 409, "a name has 1 to 32 letters"),
    ("consumers/add", {"group": "analytics", "consumer": " "}, 422, "consumer: String should have at least 1"),
    ("consumers/remove", {"group": "notifications", "consumer": "nobody"}, 404, "no consumer nobody"),
    ("redrive", {"ids": []}, 422, "ids: List should have at least 1 item"),
    ("redrive", {"ids": ["first"]}, 400, "is no entry ID"),
    ("discard", {"ids": ["1-2-3"]}, 400, "is no entry ID"),
    ("timer", {"on": "perhaps"}, 422, "on: Input should be a valid boolean"),
]


async def test_bad_input_is_answered_in_words(behind: Behind) -> None:
    for path, body, status, words in BAD:
        response = await behind.post(path, **body)
        assert response.status_code == status, (path, body)
        assert words in response.json()["error"], (path, body)
        assert "Traceback" not in response.text


BAD_RANGES: list[tuple[dict[str, str], int, str]] = [
    ({"start": "yesterday"}, 400, "'yesterday' is no entry ID"),
    ({"end": "$"}, 400, "is no entry ID"),
    ({"start": "9-0", "end": "5-0"}, 400, "later"),
    ({"limit": "0"}, 400, "limit must be 1 to 1000"),
    ({"limit": "ten"}, 422, "limit: Input should be a valid integer"),
    ({"start": "1" * 65}, 422, "start: String should have at most 64"),
]


async def test_a_bad_range_is_answered_in_words(behind: Behind) -> None:
    for query, status, words in BAD_RANGES:
        response = await behind.client.get("/api/replay", params=query)
        assert response.status_code == status, query
        assert words in response.json()["error"], query


async def test_what_is_no_json_or_no_page_is_answered_in_words(behind: Behind) -> None:
    response = await behind.client.post("/api/produce", content="{", headers={"Origin": ORIGIN})
    assert response.status_code == 422
    assert "JSON" in response.json()["error"] or "dictionary" in response.json()["error"]
    assert (await behind.client.get("/api/nothing")).json() == {"error": "Not Found"}
    assert (await behind.client.get("/api/produce")).json() == {"error": "Method Not Allowed"}
    for path in ("/docs", "/redoc", "/openapi.json", "/static/../app.py", "/static/%2e%2e/app.py"):
        assert (await behind.client.get(path)).status_code == 404


async def test_a_group_has_a_limit(behind: Behind) -> None:
    for number in range(6):
        await behind.done("consumers/add", group="notifications", consumer=f"more-{number}")
    response = await behind.post("consumers/add", group="notifications", consumer="too-many")
    assert response.status_code == 409
    assert "has 8 consumers" in response.json()["error"]


# -- who may talk to it -----------------------------------------------------------------------------------------------


async def test_changes_asked_for_by_other_origins_are_refused(behind: Behind) -> None:
    strangers = [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1:8765"},
        {"Origin": "http://localhost:8765"},
        {"Origin": "http://evil.example", "X-Orders": "1"},
    ]
    for headers in strangers:
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            as_kind = {**headers, "Content-Type": kind}
            response = await behind.client.post("/api/produce", headers=as_kind, content='{"count": 1}')
            assert response.status_code == 403, headers
            assert "rigin" in response.json()["error"], headers
        asking = {**headers, "Access-Control-Request-Method": "POST"}
        response = await behind.client.options("/api/produce", headers=asking)
        assert response.status_code == 403, headers
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert behind.demo.tally.produced == 0


async def test_the_page_itself_and_a_person_with_curl_may(behind: Behind) -> None:
    for headers in ({"Origin": ORIGIN}, {"X-Orders": "1"}):
        response = await behind.client.post("/api/produce", json={"count": 1}, headers=headers)
        assert response.status_code == 200
        assert not [name for name in response.headers if name.startswith("access-control")]


async def test_another_name_of_the_host_is_refused(behind: Behind) -> None:
    for host in ("evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil:8765", ""):
        for path in ("/", "/api/replay", "/static/app.js"):
            response = await behind.client.get(path, headers={"Host": host})
            assert response.status_code == 403, host
            assert response.json()["error"].startswith("this server is 127.0.0.1:8765")
    ours = {"Host": "localhost:8765", "Origin": "http://localhost:8765"}
    assert (await behind.client.post("/api/rate", json={"rate": 0}, headers=ours)).status_code == 200


async def test_the_page_loads_nothing_from_elsewhere(behind: Behind) -> None:
    response = await behind.client.get("/")
    assert response.headers["content-security-policy"].startswith("default-src 'self';")
    assert response.headers["x-content-type-options"] == "nosniff"
    static = ROOT / "examples" / "orders" / "static"
    for path in static.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in "\n".join(
            line.split(" // ")[0] for line in text.splitlines() if not line.startswith("//")
        ), path
        assert "innerHTML" not in text


# -- the program ------------------------------------------------------------------------------------------------------


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "STREAMKIT_REDIS_URL"}
    command = [sys.executable, "-m", "examples.orders", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def test_the_port_and_the_server_are_checked_first() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = program(f"--port={taken.getsockname()[1]}", "--redis-url=redis://127.0.0.1:1/0")
        assert done.returncode == 1
        assert "cannot be used" in done.stderr
        assert done.stderr.count("\n") == 1
    for arguments in (["--redis-url=redis://127.0.0.1:1/0"], ["--redis-host=127.0.0.1", "--redis-port=1"]):
        done = program("--port=0", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
    done = program("--redis-url=nonsense", "--port=0")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "'nonsense' is no URL of a server" in done.stderr
    done = program("--redis-url=redis://127.0.0.1:1/0", "--redis-host=localhost")
    assert done.returncode == 2
    assert "not both" in done.stderr


@pytest.mark.steady
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_listens_on_loopback_only_and_ends_at_once_with_a_page_open(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "examples.orders", "--port=0"]
    environment = {name: value for name, value in os.environ.items() if name != "STREAMKIT_REDIS_URL"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("The page: "):
                    break
            address = lines[-1].split()[2]
            assert lines[0].startswith("Started a private server")
            assert [line for line in lines if "worker-a, worker-b" in line]
            with httpx.stream("GET", f"{address}api/events", timeout=DEADLINE) as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                events = (line for line in response.iter_lines() if line.startswith("data: "))
                shown = next(line for line in events if "worker-c" in line)
                assert json.loads(shown.removeprefix("data: "))["stream"]["key"] == "demo:events:orders"
                listening = {
                    each.laddr.ip
                    for each in psutil.Process(process.pid).net_connections("tcp")
                    if each.status == psutil.CONN_LISTEN
                }
                assert listening == {"127.0.0.1"}
                children = psutil.Process(process.pid).children()
                began = time.monotonic()
                process.send_signal(number)
                for _ in events:
                    pass
            output, errors = process.communicate(timeout=DEADLINE)
            took = time.monotonic() - began
        finally:
            if process.poll() is None:
                process.kill()
    assert (process.returncode, errors) == (0, "")
    assert output.endswith("Stopped.\n")
    assert not [child for child in children if child.is_running()]
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert took < 2 * max(1, busy)


async def test_a_server_that_goes_away_is_said_and_waited_for(unused_tcp_port: int) -> None:
    with redis_server(port=unused_tcp_port) as url:
        first = AsyncExitStack()
        behind = await first.enter_async_context(opened(url, settings_of("orders")))
        await behind.done("produce", count=10)
        await behind.until(lambda each: each["tally"]["acked"] == 20)
    async with first:
        await told(behind, lambda latest: "The server cannot be asked" in latest.get("error", ""))
        with redis_server(port=unused_tcp_port):
            await told(behind, lambda latest: "stream" in latest)
            await behind.done("produce", count=10)
            await behind.until(lambda each: each["tally"]["acked"] == 40)


async def told(behind: Behind, condition: Callable[[dict[str, Any]], object]) -> None:
    """Wait until the page is sent what is wanted."""
    deadline = time.monotonic() + DEADLINE
    while not condition(json.loads(behind.watch.latest)):
        assert time.monotonic() < deadline, behind.watch.latest
        await asyncio.sleep(0.02)


async def test_letters_without_fields_cannot_be_redriven(behind: Behind) -> None:
    await behind.done("produce", count=10)
    await behind.until(lambda each: each["tally"]["acked"] == 20)
    await behind.done("produce", count=1000)
    await behind.done("trim", length=0)
    snapshot = await behind.until(lambda each: {one["cause"] for one in each["dead"]["letters"]} == {"unread"})
    response = await behind.post("redrive", ids=[each["id"] for each in snapshot["dead"]["letters"]])
    assert response.status_code == 409
    assert "no fields" in response.json()["error"]
