# Generated from tests/integration/asyncio/test_group_model.py by tools/generate_sync.py: do not edit.
"""Whatever befalls its consumers, a group settles each entry once: its effects are applied, or it is dead-lettered."""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis

from streamkit import Delivery, GroupConsumer, Observer, Reject, Retry, RetryPolicy, ServerUnavailable
from tests.integration._sync._groups import (
    GROUP,
    Fields,
    letters_in,
    milliseconds,
    pending_in,
    settled,
    side_by_side,
    strand,
)
from tests.integration._sync._looking import numbers
from tests.integration._sync._readers import raw, write
from tests.integration._sync._runtime import pause, running, until
from tests.integration.proxy import Proxy

pytestmark = pytest.mark.usefixtures("short_waits")

SEEDS = [int(seed) for seed in os.environ.get("STREAMKIT_SEEDS", "1 2 3 4").split()]
STEPS = 25
LEASE = timedelta(seconds=0.4)
POLICY = RetryPolicy(max_deliveries=3, backoff=milliseconds(10, 60), reject_on=KeyError)


class World:
    """Two streams of a group, consumers that come and go, and what befalls them, as dice have it."""

    def __init__(self, plain: redis.Redis, proxy: Proxy, name: str, seed: int) -> None:
        self.plain = plain
        self.proxy = proxy
        self.keys = [f"{{{name}}}:one", f"{{{name}}}:two"]
        self.out = f"{{{name}}}:out"
        self.letters = f"{{{name}}}:dead-letters"
        self.written = 0
        self.seed = seed
        self.dice = random.Random(seed)
        self.stopped: list[GroupConsumer[Fields]] = []

    def handle(self, delivery: Delivery[Fields]) -> None:
        """Succeed, emitting the number, or fail, or take a while, as the seed, the number and the attempt have it."""
        dice = random.Random(f"{self.seed} {delivery.value['n']} {delivery.attempt}")
        if dice.random() < 0.1:
            pause(dice.random() / 10)
        match dice.randrange(12):
            case 0:
                raise ValueError
            case 1:
                raise Retry(delay=timedelta(milliseconds=dice.randrange(50)))
            case 2 if dice.random() < 0.3:
                raise Reject("it has to be")
            case 3:
                delivery.emit(self.out, {"n": -1})
                raise ValueError  # with it goes what it had emitted
            case _:
                delivery.emit(self.out, {"n": delivery.value["n"]})

    def handle_batch(self, deliveries: Any) -> None:
        """The same with each of a batch."""
        for delivery in deliveries:
            try:
                self.handle(delivery)
            except Exception as error:  # noqa: BLE001 - said of each
                delivery.fail(error)

    def consumer(self, client: redis.Redis) -> GroupConsumer[Fields]:
        """Another consumer."""
        return GroupConsumer(
            client,
            self.keys,
            GROUP,
            min_idle_time=LEASE,
            retry=POLICY,
            dead_letters=self.letters,
            count=self.dice.choice([1, 7, 100]),
            observer=Observer(),
        )

    def consume(self, consumer: GroupConsumer[Fields], concurrency: int, way: str) -> None:
        """Run it, again if it was cut off as it started."""
        while consumer not in self.stopped:
            with suppress(ServerUnavailable):
                if way == "batches":
                    consumer.run_batches(self.handle_batch, concurrency=concurrency)
                elif way == "keys":
                    consumer.run(self.handle, concurrency=concurrency, key=by_last_digit)
                else:
                    consumer.run(self.handle, concurrency=concurrency)

    def stop(self, consumer: GroupConsumer[Fields]) -> None:
        """Stop it."""
        self.stopped.append(consumer)
        consumer.stop()

    def befall(self) -> None:
        """Something happens."""
        dice, key = self.dice, self.dice.choice(self.keys)
        match dice.choice(["append", "append", "append", "abandon", "steal", "cut", "lose", "wait"]):
            case "append":
                first = self.written
                self.written += dice.randrange(1, 40)
                write(self.plain, key, *range(first, self.written))
            case "abandon":
                self.abandon(key)
            case "steal":
                for entry_id, _, deliveries in (pending_in(self.plain, key))[:: dice.randrange(1, 4)]:
                    words = (name_of("thief", dice), 0, [str(entry_id)])
                    raw(self.plain).xclaim(key, GROUP, *words, retrycount=deliveries, justid=True)
            case "cut":
                self.proxy.cut_all()
            case "lose":
                self.proxy.cut_after_request(matching=dice.choice([b"EVALSHA", b"XACK", b"XREADGROUP"]))
            case _:
                pause(dice.random() / 5)

    def abandon(self, key: str) -> None:
        """Entries are read by one that goes at once."""
        words = ("GROUP", GROUP, name_of("dead", self.dice), "COUNT", self.dice.randrange(1, 20), "STREAMS", key, ">")
        raw(self.plain).execute_command("XREADGROUP", *words)

    def settle(self) -> None:
        """Nothing happens any more, and two consumers see to what is left."""
        self.proxy.clear()
        first, second = self.consumer(self.plain), self.consumer(self.plain)
        with (
            running(self.consume, first, 1, "entries", stop=partial(self.stop, first)),
            running(self.consume, second, 3, "entries", stop=partial(self.stop, second)),
        ):
            for key in self.keys:
                until(settled(self.plain, key), f"everything settled with seed {self.seed}")

    def check(self) -> None:
        """Each entry is settled once."""
        emitted = Counter(numbers(self.plain, self.out))
        buried = Counter(int(letter.fields[b"n"]) for letter in letters_in(self.plain, self.letters))
        assert emitted + buried == Counter(range(self.written)), f"seed {self.seed}"


def name_of(kind: str, dice: random.Random) -> str:
    """One of three of a kind."""
    return f"{kind}{dice.randrange(3)}"


def by_last_digit(delivery: Delivery[Fields]) -> str:
    """Ten keys."""
    return delivery.value["n"][-1]


def live(url: str, name: str, seed: int) -> None:
    """A world with its consumers, from its beginning to its end."""
    with Proxy(url) as proxy:
        with redis.Redis.from_url(url) as plain, redis.Redis.from_url(proxy.url) as proxied:
            world = World(plain, proxy, name, seed)
            for key in world.keys:
                write(plain, key, world.written)
                world.written += 1
                strand(plain, key, "dead0", 1)
            dice = world.dice
            for _ in range(3):
                consumers = [world.consumer(proxied) for _ in range(2)]
                terms = [(dice.choice([1, 4]), dice.choice(["entries", "batches", "keys"])) for _ in consumers]
                with (
                    running(world.consume, consumers[0], *terms[0], stop=partial(world.stop, consumers[0])) as first,
                    running(world.consume, consumers[1], *terms[1], stop=partial(world.stop, consumers[1])),
                ):
                    for step in range(STEPS):
                        world.befall()
                        if step == STEPS // 2:
                            world.stop(consumers[0])
                            if dice.random() < 0.5:
                                proxy.cut_all()
                    first.result()
            world.settle()
            world.check()


def test_each_entry_is_settled_once_whatever_happens(redis_url: str, name: str) -> None:
    side_by_side([(live, redis_url, f"{name}-{seed}", seed) for seed in SEEDS])
