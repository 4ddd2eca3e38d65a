"""What may happen between a client of a cluster and its nodes while it looks for the one to ask."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from streamkit.asyncio import CappedStream, CheckpointedReader, ServerUnavailable, Stream
from streamkit.testing import Cluster
from tests.integration.asyncio._clusters import key_on
from tests.integration.asyncio._readers import collect, numbers_in, told
from tests.integration.asyncio._runtime import running, until
from tests.integration.asyncio._surviving import REDIRECTS, moved, other_master
from tests.integration.proxied import Proxied
from tests.integration.proxy import HOST, Matching, Proxy, Request
from tests.integration.recording import Recorder

pytestmark = pytest.mark.usefixtures("short_waits")

LIMIT = 1.0
APPENDS = (b"EVAL", b"EVALSHA")


@pytest.fixture
async def shaky(proxied: Proxied) -> AsyncIterator[Any]:
    """A client that goes through the proxies, and has looked for the nodes already."""
    async with redis.asyncio.RedisCluster.from_url(proxied.url, address_remap=proxied.remap) as shaky:
        client: Any = shaky
        await client.get("x")
        yield client


def first(count: int, word: bytes) -> Matching:
    """The first so many requests of this name, at whichever proxies that are asked with it."""
    found = list[Request]()

    def takes(request: Request) -> bool:
        if request[0] == word and len(found) < count:
            found.append(request)
            return True
        return False

    return takes


# Which node serves what ---------------------------------------------------------------------------------------------


async def test_nodes_that_are_lost_while_they_say_who_serves_what_are_passed_over(
    proxied: Proxied, shaky: Any, word: str
) -> None:
    proxied.fault("cut_after_request", matching=first(2, b"CLUSTER"), times=9)
    await Stream(shaky, word).append({"n": 1})
    assert proxied.cuts == 2
    assert proxied.stored(f"{word}*") == [1]


@contextmanager
def unserved(cluster: Cluster, slot: int) -> Iterator[None]:
    """Take a slot without keys from its master, so that all nodes agree that nobody serves it."""
    owner = cluster.master_of(slot)
    others = [node for node in cluster.nodes if node is not owner]
    agreed = 0
    while agreed < 3:  # what a node said of itself before may still be on its way
        agreed += 1
        for node in (owner, *others):
            slots: Any = node.call("CLUSTER", "SLOTS")
            if any(first <= slot <= last for first, last, *_ in slots):
                agreed = 0
                with suppress(redis.ResponseError):
                    node.call("CLUSTER", "DELSLOTS", slot)
    try:
        yield
    finally:
        owner.call("CLUSTER", "ADDSLOTS", slot)
        cluster.wait()


async def waits(proxied: Proxied, append: Callable[[], Coroutine[Any, Any, None]], mend: Callable[[], None]) -> None:
    """An append is tried until what is in its way is mended, and then done."""
    asked = proxied.sent(b"CLUSTER")
    async with running(append) as appending:
        # It asks anew each time that it tries.
        await until(lambda: appending.done or proxied.sent(b"CLUSTER") >= asked + 3)
        assert not appending.done
        mend()
        await appending.result()


async def test_a_slot_that_nobody_serves_is_named_and_an_append_waits_for_it(
    proxied: Proxied, shaky: Any, word: str
) -> None:
    slot = proxied.cluster.slot_of(word)

    async def append() -> None:
        assert await Stream(shaky, word).append_many([{"n": 1}]) == 1

    with ExitStack() as stack:
        stack.enter_context(unserved(proxied.cluster, slot))
        with pytest.raises(ServerUnavailable, match=f"no node of the cluster serves slot {slot}; wait"):
            async with CheckpointedReader(shaky, word, f"{word}:state"):
                pass
        await waits(proxied, append, stack.close)
    assert proxied.stored(f"{word}*") == [1]


async def test_a_plain_append_to_a_slot_that_nobody_serves_was_never_sent_and_waits_for_it(
    proxied: Proxied, shaky: Any, word: str
) -> None:
    async def append() -> None:
        await Stream(shaky, word).append({"n": 1})

    with ExitStack() as stack:
        stack.enter_context(unserved(proxied.cluster, proxied.cluster.slot_of(word)))
        await waits(proxied, append, stack.close)
    assert proxied.stored(f"{word}*") == [1]


async def test_nodes_that_disagree_about_a_slot_are_waited_for(proxied: Proxied, shaky: Any, word: str) -> None:
    cluster, slot = proxied.cluster, proxied.cluster.slot_of(word)
    node = cluster.master_of(slot)
    other = other_master(cluster, node)

    async def append() -> None:
        await Stream(shaky, word).append({"n": 1})

    # Each of both says that the other one has it.
    node.call("CLUSTER", "SETSLOT", slot, "NODE", other.id)
    try:
        redirected = proxied.redirected("MOVED")
        async with running(append) as appending:
            await until(lambda: appending.done or proxied.redirected("MOVED") >= redirected + 12)
            assert not appending.done
            node.call("CLUSTER", "SETSLOT", slot, "NODE", node.id)
            await appending.result()
    finally:
        node.call("CLUSTER", "SETSLOT", slot, "NODE", node.id)
        cluster.wait()
    assert proxied.stored(f"{word}*") == [1]


@pytest.fixture
def nameless(cluster: Cluster) -> Iterator[None]:
    """Nodes that do not know by which host they are reached, as behind a NAT: their redirects have none."""

    def announce(kind: str) -> None:
        for node in cluster.nodes:
            node.call("CONFIG", "SET", "cluster-preferred-endpoint-type", kind)

    announce("unknown-endpoint")
    yield
    announce("ip")


@REDIRECTS
@pytest.mark.usefixtures("nameless")
async def test_a_redirect_without_a_host_is_followed_on_the_same_one(
    proxied: Proxied, shaky: Any, word: str, kind: str
) -> None:
    stream, redirected = Stream(shaky, word), proxied.redirected(kind)
    await stream.append({"n": 0})
    with moved(proxied.cluster, word, kind) as (_, new):
        sent = {name: proxied.of(new).counts[name] for name in APPENDS}
        await stream.append({"n": 1})
        assert {name: proxied.of(new).counts[name] for name in APPENDS} != sent
    assert proxied.redirected(kind) > redirected
    assert proxied.stored(f"{word}*") == [0, 1]


# Nodes that the client does not know, or does not reach -------------------------------------------------------------


async def test_a_plain_append_whose_node_cannot_be_connected_to_was_never_sent_and_waits_for_it(
    proxied: Proxied, word: str
) -> None:
    key = key_on(proxied.cluster, proxied.cluster.masters()[-1], word)
    # Not entered: redis-py itself asks a node of its own choice then.
    client = redis.asyncio.RedisCluster.from_url(proxied.url, address_remap=proxied.remap)
    stream = Stream(client, key)
    assert await stream.length() == 0
    await client.aclose()

    async def append() -> None:
        await stream.append({"n": 1})

    proxied.of(key).down()
    await waits(proxied, append, proxied.of(key).up)
    await client.aclose()
    assert proxied.stored(f"{key}*") == [1]


def reaching(ports: dict[int, int]) -> dict[str, Any]:
    """Options of a client that reaches nodes at other ports than they say, as far as those are given."""

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        return HOST, ports.get(int(address[1]), int(address[1]))

    return {"address_remap": remap}


async def test_a_node_that_the_client_has_not_heard_of_is_reached_all_the_same(
    cluster: Cluster, nodes: Any, word: str
) -> None:
    ports = dict[int, int]()  # which change after the client has looked for its nodes
    async with redis.asyncio.RedisCluster.from_url(cluster.url, **reaching(ports)) as client:
        stream = Stream(client, word)
        await stream.append({"n": 0})
        with moved(cluster, word, "MOVED") as (_, new), Proxy(new.url) as proxy:
            ports[new.port] = urlsplit(proxy.url).port or 0
            await stream.append({"n": 1})
            assert sum(proxy.counts[name] for name in APPENDS) == 1
            # It was nobody's, and is not kept.
            await until(lambda: proxy.connections == 0)
            ports.clear()
    assert await numbers_in(nodes, word) == [0, 1]


async def test_what_any_node_may_be_asked_is_asked_of_the_first_that_is_there(cluster: Cluster, word: str) -> None:
    *others, there = cluster.masters()  # they are asked in the order of their slots
    with Proxy(there.url) as proxy, socket.socket() as holder:
        holder.bind((HOST, 0))  # and does not listen
        ports: dict[int, int] = {other.port: holder.getsockname()[1] for other in others}
        ports[there.port] = urlsplit(proxy.url).port or 0
        # Not entered: redis-py itself asks a node of its own choice then.
        client = redis.asyncio.RedisCluster.from_url(proxy.url, **reaching(ports))
        stream = CappedStream(client, key_on(cluster, there, word), max_age=timedelta(days=1))
        await stream.append({"n": 1})
        assert await stream.trim() == 0
        proxy.down()
        with pytest.raises(ServerUnavailable, match="the server could not be reached while"):
            await stream.trim()
        proxy.up()
        assert await stream.trim() == 0
        assert await stream.length() == 1
        await client.aclose()


@pytest.mark.steady
async def test_a_reader_to_whom_no_node_answers_ends_within_a_second(proxied: Proxied, shaky: Any, word: str) -> None:
    recorder = Recorder()
    reader = CheckpointedReader(shaky, word, f"{word}:state", observer=recorder)
    async with running(collect, reader, list[int](), stop=reader.stop) as run:
        await until(told(recorder, "on_waiting"))
        for proxy in proxied.proxies.values():
            proxy.hang()
            proxy.cut_all()
        await until(told(recorder, "on_unavailable"))
        # Connections are taken, and never answered.
        await until(lambda: any(proxy.connections for proxy in proxied.proxies.values()))
        asked = time.monotonic()
        reader.stop()
        await run.result()
        took = time.monotonic() - asked
        proxied.clear()
    assert took < LIMIT
    assert recorder.of("on_unsaved") == []
