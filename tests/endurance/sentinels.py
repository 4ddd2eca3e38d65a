"""A primary and its replica, watched by a Sentinel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamkit.testing import redis_server
from tests.endurance.halves import Half
from tests.endurance.servers import REPLICATED, follow
from tests.endurance.waiting import until
from tests.integration.sentinel import MASTER, sentinel_of


class Watched:
    """The two servers, and their Sentinel.

    Attributes:
        old: A client of the first primary.
        new: A client of the one that takes over.
    """

    def __init__(self, old: redis.Redis, new: redis.Redis, watcher: Any, address: tuple[str, int]) -> None:
        self.old = old
        self.new = new
        self._watcher = watcher
        self._address = address
        # Instead of 10 and 2 s. Not the period of its pings: a replica is only chosen if it was heard of within five of
        # these, or within three of INFO-PERIOD. TILT: a Sentinel that was held up does nothing for half a minute.
        for words in (("INFO-PERIOD", "1000"), ("PUBLISH-PERIOD", "100"), ("TILT-TRIGGER", "60000")):
            watcher.execute_command("SENTINEL", "DEBUG", *words)
        # Long enough that one that was held up does not take a primary for dead which is well.
        watcher.sentinel_set(MASTER, "down-after-milliseconds", "2000")
        watcher.sentinel_set(MASTER, "failover-timeout", "5000")  # it tries again after twice as long
        until(lambda: len(watcher.sentinel_slaves(MASTER)) == 1, "the Sentinel knows the replica")

    def client(self, half: Half) -> Any:
        """A client of whatever is the primary."""
        return half.sentinels.Sentinel([self._address]).master_for(MASTER)

    def fail_over(self, *, crash: bool = False) -> None:
        """Wait until the replica has taken over, when it was told to, or from a primary that is killed."""
        if crash:
            psutil.Process(self.old.info("server")["process_id"]).kill()
        else:
            until(self._asked, "the Sentinel begins a failover")
        until(lambda: self.new.info("replication")["role"] == "master", "the failover")

    def _asked(self) -> bool:
        try:
            self._watcher.execute_command("SENTINEL", "FAILOVER", MASTER)
        except redis.ResponseError as error:
            if "NOGOODSLAVE" in str(error):
                return False  # it has not heard of the replica lately
            raise
        return True


@contextmanager
def watched() -> Iterator[Watched]:
    """Start all three."""
    with ExitStack() as stack:
        url, other = (stack.enter_context(redis_server(settings=REPLICATED)) for _ in range(2))
        # A Sentinel cuts the connections of a server whose role it changes: those of the test as well.
        stubborn = Retry(NoBackoff(), 5)
        old, new = (stack.enter_context(redis.Redis.from_url(each, retry=stubborn)) for each in (url, other))
        follow(new, url)
        host, port = stack.enter_context(sentinel_of(url))
        watcher = stack.enter_context(redis.Redis(host=host, port=port))
        yield Watched(old, new, watcher, (host, port))
