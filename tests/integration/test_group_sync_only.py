"""What only the synchronous half can get wrong: handlers whose result somebody would have to await."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest
import redis

from streamkit import Delivery, GroupConsumer, InvalidArgument
from tests.integration._sync._groups import GROUP, Seen, consuming, pending_in
from tests.integration._sync._readers import limited, write
from tests.integration._sync._runtime import until


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as a user would make it."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


async def coroutine(_: object) -> None:
    """A handler written for asyncio."""
    await asyncio.sleep(0)


class Later:
    """Something that can be awaited and is no coroutine."""

    def __await__(self) -> Generator[None, None, None]:
        yield None


def later(_: object) -> Awaitable[None]:
    """A handler that gives such a thing."""
    return Later()


HANDLERS: list[Callable[[Any], Awaitable[None]]] = [coroutine, later]


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("handler", HANDLERS, ids=["coroutine", "awaitable"])
def test_a_handler_that_would_have_to_be_awaited_is_an_error_and_no_ack(
    client: redis.Redis, name: str, handler: Any, concurrency: int
) -> None:
    write(client, name, 1, 2, 3)
    consumer = GroupConsumer(client, name, GROUP, "a")
    for run in (consumer.run, consumer.run_batches):
        words = r"cannot await: its entry was not handled; use streamkit\.asyncio, or give a plain function"
        with limited(consumer), pytest.raises(InvalidArgument, match=words):
            run(handler, concurrency=concurrency)
        assert len(pending_in(client, name)) + (consumer.lag() or 0) == 3
    # They come again, to a handler that does its work.
    seen = Seen()
    with consuming(consumer, seen):
        until(lambda: len(seen.handled) == 3)
    assert pending_in(client, name) == []


def test_any_other_result_is_nobodys_business(client: redis.Redis, name: str) -> None:
    write(client, name, 1, 2, 3)
    handled = list[str]()

    def handle(delivery: Delivery[dict[str, str]]) -> Any:
        handled.append(delivery.value["n"])
        return len(handled) or None

    with consuming(GroupConsumer(client, name, GROUP, "a"), handle):
        until(lambda: len(handled) == 3)
    assert pending_in(client, name) == []
