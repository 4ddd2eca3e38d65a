"""The private cluster that `streamkit.testing` starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator

import psutil
import pytest
import redis

from streamkit import InvalidArgument
from streamkit._testing import forming
from streamkit.testing import Cluster, ClusterNotReady, ServerNotStarted, redis_cluster
from tests.integration._sync._surviving import replicated
from tests.integration.suspended import suspended

PROGRAM = """
import signal
from streamkit.testing import redis_cluster

signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run behind a terminal, it is ignored
with redis_cluster(masters=1, replicas=0) as cluster:
    print(*(node.pid for node in cluster.nodes), flush=True)
    input()
"""


@pytest.fixture
def client(cluster: Cluster) -> Iterator[redis.RedisCluster]:
    with redis.RedisCluster.from_url(cluster.url) as client:
        yield client


@pytest.fixture
def tag() -> str:
    """What all keys of a test have in common, so that they are in one slot."""
    return f"{{{uuid.uuid4().hex}}}"


def test_it_is_whole_and_takes_writes_everywhere(cluster: Cluster, client: redis.RedisCluster) -> None:
    masters = cluster.masters()
    assert len(cluster.nodes) == 6
    assert [len(cluster.replicas_of(master)) for master in masters] == [1, 1, 1]
    keys = {cluster.slot_of(key): key for key in (f"key-{n}" for n in range(200))}
    assert {cluster.master_of(slot) for slot in keys} == set(masters)
    for slot, key in keys.items():
        assert client.set(key, slot)
        assert cluster.master_of(key).call("GET", key) == b"%d" % slot
        client.delete(key)


def test_a_replica_takes_over_from_a_master_that_was_killed(
    cluster: Cluster, client: redis.RedisCluster, tag: str
) -> None:
    client.set(tag, "kept")
    master = cluster.master_of(tag)
    replicated(master)
    (replica,) = cluster.replicas_of(master)
    pid, port = master.pid, master.port
    cluster.kill(master)
    assert not psutil.pid_exists(pid)
    assert not master.running
    assert cluster.master_of(tag) is replica
    cluster.restart(master)
    assert (master.port, master.running) == (port, True)
    assert master.pid != pid
    assert cluster.replicas_of(replica) == [master]
    assert client.get(tag) == b"kept"


def test_a_replica_takes_over_from_a_master_that_is_frozen(cluster: Cluster, tag: str) -> None:
    master = cluster.master_of(tag)
    with suspended(master.pid):
        assert cluster.master_of(tag) is not master
        assert master not in cluster.masters()
    cluster.wait()
    assert cluster.replicas_of(cluster.master_of(tag)) == [master]


def test_all_that_are_down_are_started_again_at_once(cluster: Cluster, tag: str) -> None:
    replica = cluster.replicas_of(cluster.master_of(tag))[0]
    other = next(node for node in cluster.nodes if node not in (replica, cluster.master_of(tag)))
    cluster.kill(replica)
    cluster.kill(other)
    cluster.restart()
    assert all(node.running for node in cluster.nodes)
    assert cluster.replicas_of(cluster.master_of(tag)) == [replica]


def test_a_master_hands_over_to_its_replica_and_takes_back(
    cluster: Cluster, client: redis.RedisCluster, tag: str
) -> None:
    client.set(tag, "kept")
    master = cluster.master_of(tag)
    replica = cluster.fail_over(master)
    assert cluster.master_of(tag) is replica
    assert cluster.replicas_of(replica) == [master]
    assert client.get(tag) == b"kept"
    assert cluster.fail_over(replica) is master
    assert client.get(tag) == b"kept"


def test_a_replica_has_nothing_to_hand_over(cluster: Cluster) -> None:
    replica = cluster.replicas_of(cluster.masters()[0])[0]
    with pytest.raises(InvalidArgument, match="has no replica that could take over"):
        cluster.fail_over(replica)


def test_in_the_middle_of_a_migration_a_client_is_sent_on(
    cluster: Cluster, client: redis.RedisCluster, tag: str
) -> None:
    names = [f"{tag}{n}" for n in range(4)]
    for name in names:
        client.set(name, name)
    slot = cluster.slot_of(tag)
    source = cluster.master_of(tag)
    target = next(master for master in cluster.masters() if master is not source)
    cluster.begin_migration(slot, target)
    assert cluster.move_keys(slot, keys=[names[2]]) == [names[2].encode()]
    assert cluster.master_of(tag) is source
    assert source.call("GET", names[0]) == names[0].encode()
    # Older redis-pys have no exceptions of their own for these in a client that knows of no cluster.
    with pytest.raises(redis.ResponseError, match=f"{slot} 127.0.0.1:{target.port}"):
        source.call("GET", names[2])
    with pytest.raises(redis.ResponseError, match="Multiple keys request during rehashing"):
        source.call("MGET", names[0], names[2])
    assert [client.get(name) for name in names] == [name.encode() for name in names]
    assert len(cluster.move_keys(slot, count=2)) == 2
    cluster.end_migration(slot)
    assert cluster.master_of(tag) is target
    assert target.call("MGET", *names) == [name.encode() for name in names]
    with pytest.raises(redis.ResponseError, match=f"{slot} 127.0.0.1:{target.port}"):
        source.call("GET", names[0])


def test_a_slot_moves_there_and_back(cluster: Cluster, client: redis.RedisCluster, tag: str) -> None:
    for n in range(250):
        client.set(f"{tag}{n}", n)
    source = cluster.master_of(tag)
    target = next(master for master in cluster.masters() if master is not source)
    cluster.migrate_slot(cluster.slot_of(tag), target)
    assert target.call("CLUSTER", "COUNTKEYSINSLOT", cluster.slot_of(tag)) == 250
    cluster.migrate_slot(cluster.slot_of(tag), source)
    assert source.call("CLUSTER", "COUNTKEYSINSLOT", cluster.slot_of(tag)) == 250


def test_a_migration_needs_a_beginning_and_another_master(cluster: Cluster) -> None:
    with pytest.raises(InvalidArgument, match=r"call begin_migration\(\) first"):
        cluster.end_migration(7)
    with pytest.raises(InvalidArgument, match=r"slot 7 is at .* already"):
        cluster.migrate_slot(7, cluster.master_of(7))


def test_settings_reach_every_node_and_a_password_every_way() -> None:
    with redis_cluster(masters=2, settings={"requirepass": "s/cret", "maxmemory": "50mb"}) as cluster:
        assert all(node.call("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"52428800"] for node in cluster.nodes)
        first, second = cluster.masters()
        with redis.RedisCluster.from_url(cluster.url) as client:
            client.set("key", "value")
            slot = cluster.slot_of("key")
            cluster.migrate_slot(slot, second if cluster.master_of(slot) is first else first)
            assert cluster.fail_over(cluster.master_of(slot)) in cluster.nodes[2:]
            assert client.get("key") == b"value"
        with redis.Redis.from_url(first.url) as single:
            assert single.ping()


def test_without_replicas_a_lost_master_stays_lost_and_its_slots_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_cluster(replicas=0) as cluster:
        lost = cluster.master_of("key")
        cluster.kill(cluster.nodes[0])
        assert cluster.url == cluster.nodes[1].url
        cluster.kill(lost)
        monkeypatch.setattr(forming, "DEADLINE", 0.3)
        with pytest.raises(ClusterNotReady, match=r"slot \d+ has no master"):
            cluster.master_of("key")
        monkeypatch.undo()
        cluster.restart()
        assert cluster.master_of("key") is lost
        pids = [node.pid for node in cluster.nodes]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_nothing_runs_on_after_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        pids = [int(word) for word in program.stdout.readline().split()]
        assert [psutil.pid_exists(pid) for pid in pids] == [True]
        program.send_signal(signal.SIGINT)
        program.wait(60)  # its input is open for as long
        errors = program.stderr.read()
    assert b"KeyboardInterrupt" in errors
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_cluster_needs_a_master_and_a_server() -> None:
    with pytest.raises(InvalidArgument, match="give one master or more"), redis_cluster(masters=0):
        pass
    with pytest.raises(ServerNotStarted, match="cannot be run"), redis_cluster(binary="/no/such/server"):
        pass
