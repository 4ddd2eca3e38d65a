"""A cluster behind proxies: one for each node, through which every connection of a client goes.

    with Proxied(cluster) as proxied, redis.RedisCluster.from_url(proxied.url, address_remap=proxied.remap) as client:
        proxied.of("key").cut_after_request(matching=b"EVAL")  # done by the key's node, its reply is lost
        ...
        assert proxied.cuts == 1

What is stored is asked of the nodes themselves.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import Self

from streamkit.testing import Cluster, Node
from tests.integration.proxy import HOST, Matching, Proxy


class Proxied:
    """Proxies for the nodes of a cluster, replicas among them.

    Attributes:
        cluster: The cluster.
        proxies: The proxy of each node.
        url: Where clients connect; they must be given ``address_remap=proxied.remap``, too.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.proxies = {node: Proxy(node.url) for node in cluster.nodes}
        self._ports = {node.port: urlsplit(proxy.url).port or 0 for node, proxy in self.proxies.items()}
        self.url = self.proxies[cluster.masters()[0]].url
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for proxy in self.proxies.values():
            self._stack.enter_context(proxy)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def remap(self, address: tuple[str, int]) -> tuple[str, int]:
        """The address of a node's proxy, from the one by which the nodes know it; a proxy's stays as it is."""
        _, port = address
        return HOST, self._ports.get(int(port), int(port))

    def of(self, key: str | Node) -> Proxy:
        """The proxy of a node, or of the master that has a key."""
        return self.proxies[self.cluster.master_of(key) if isinstance(key, str) else key]

    def fault(self, name: str, *, matching: Matching = b"", nth: int = 1, times: float = 1) -> None:
        """Ask every proxy for the fault of this name."""
        for proxy in self.proxies.values():
            getattr(proxy, name)(matching=matching, nth=nth, times=times)

    def clear(self) -> None:
        """Forget every fault asked for."""
        for proxy in self.proxies.values():
            proxy.clear()

    @property
    def cuts(self) -> int:
        """How many connections were cut by a fault, at all nodes together."""
        return sum(proxy.cuts for proxy in self.proxies.values())

    def sent(self, *names: bytes) -> int:
        """How often these commands came by, at all nodes together."""
        return sum(proxy.counts[name] for proxy in self.proxies.values() for name in names)

    def stored(self, pattern: str) -> list[int]:
        """The field n of every entry in every stream whose key is like that, on whichever master it lies; sorted."""
        return sorted(
            int(fields[b"n"])
            for node in self.cluster.masters()
            for key in _list(node.call("KEYS", pattern))
            if node.call("TYPE", key) == b"stream"
            for _, fields in _list(node.call("XRANGE", key, "-", "+"))
        )

    def redirected(self, kind: str) -> int:
        """How many commands the nodes have refused so far with MOVED or ASK, the word at the error's beginning."""
        found = 0
        for node in self.cluster.masters():
            stats: Any = node.call("INFO", "errorstats")
            found += int(stats.get(f"errorstat_{kind}", {"count": 0})["count"])
        return found


def _list(reply: Any) -> list[Any]:
    return list(reply)
