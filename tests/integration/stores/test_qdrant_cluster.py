"""The cluster as every peer tells it, and changes of replicas that wait for the true state."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    FailedError,
    RefusedError,
    TransientError,
    UsageError,
)
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture
from aeterna_cli.stores.qdrant import QdrantServer
from aeterna_cli.stores.qdrant_cluster import QdrantCluster
from aeterna_cli.stores.qdrant_http import QdrantHttp
from tests.integration.lab.qdrant_peers import PeerServer, peers_running, wait_until
from tests.integration.lab.qdrant_process import DENSE, running
from tests.integration.stores.qdrant_server import lab_qdrant

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerServer]:
    with peers_running(tmp_path_factory.mktemp("qdrant") / "peers") as server:
        yield server


@pytest.fixture
def peers(shared: PeerServer) -> PeerServer:
    shared.heal()
    return shared


def settings(peers: PeerServer, url: int = 0) -> QdrantSettings:
    return QdrantSettings(url=peers.urls[url], peers=tuple(peers.urls), timeout=5)


@pytest.fixture
def cluster(peers: PeerServer) -> Iterator[QdrantCluster]:
    made = QdrantCluster(settings(peers), seconds=1)
    yield made
    made.close()


def states(peers: PeerServer, picture: ClusterPicture, shard: int = 0) -> dict[int, str]:
    found = picture.shard("c", shard)
    assert found is not None
    return {peers.peer_ids.index(peer): state for peer, state in found.states.items()}


def sound(peers: PeerServer, picture: ClusterPicture, shard: int = 0) -> list[int]:
    found = picture.shard("c", shard)
    assert found is not None
    return sorted(peers.peer_ids.index(peer) for peer in picture.sound(found))


# Looking


def test_the_picture_of_a_healthy_cluster(peers: PeerServer, cluster: QdrantCluster) -> None:
    peers.make("c", factor=2, shards=2, consistency=2)
    found = cluster.picture()
    assert found.quorum == frozenset(peers.peer_ids) == frozenset(found.known)
    assert found.commits_apart == 0
    assert not found.stale
    assert [one.address for one in found.answers] == peers.urls == list(cluster.addresses)
    assert found.emulated == "qdrant-edge"
    (collection,) = found.collections
    assert (collection.replication_factor, collection.write_consistency_factor) == (2, 2)
    assert (collection.status, collection.optimizer) == ("green", "ok")
    assert all(len(found.sound(shard)) == 2 for _, shard in found.shards())


def test_a_state_is_not_believed_of_a_peer_that_does_not_answer(
    peers: PeerServer, cluster: QdrantCluster
) -> None:
    peers.make("c", factor=2)
    peers.on("c", 0, 0, 1)
    peers.fault(1, "killed")
    found = wait_until(lambda: (one := cluster.picture()).quorum and one)
    assert states(peers, found) == {0: "Active", 1: "Active"}
    assert sound(peers, found) == [0]
    assert "cannot be reached" in found.answers[1].error
    assert found.answers[1].peer is None


def test_a_frozen_peer_does_not_hold_up_the_others(
    peers: PeerServer, cluster: QdrantCluster
) -> None:
    peers.make("c", factor=3)
    peers.fault(2, "frozen")
    began = time.monotonic()
    found = wait_until(lambda: (one := cluster.picture()).quorum and one)
    assert time.monotonic() - began < 5
    assert sound(peers, found) == [0, 1]
    assert "in time" in found.answers[2].error


def test_a_peer_that_is_cut_off_is_not_believed(peers: PeerServer, cluster: QdrantCluster) -> None:
    peers.make("c", factor=3)
    leader = peers.peer_ids.index(peers.raft(0)["leader"])
    peers.fault(leader, "cut")
    other = (leader + 1) % 3
    wait_until(lambda: peers.raft(other)["leader"] not in (None, peers.peer_ids[leader]))
    body = {"points": [{"id": 1, "vector": [1, 2, 3, 4]}]}
    peers.of(other, "PUT", "/collections/c/points?wait=true", body)
    found = cluster.picture()
    assert found.answers[leader].role == "Leader", "in its own eyes"
    assert found.quorum == frozenset(peers.peer_ids) - {peers.peer_ids[leader]}
    assert states(peers, found)[leader] == "Dead"
    assert len(sound(peers, found)) == 2
    (stale,) = found.stale
    assert f"peer {peers.peer_ids[leader]} believes" in stale


def test_without_a_majority_nothing_is_sound_and_nothing_is_changed(
    peers: PeerServer, cluster: QdrantCluster
) -> None:
    peers.make("c", factor=3)
    peers.fault(0, "killed")
    peers.fault(1, "killed")
    found = cluster.picture()
    assert found.quorum == frozenset()
    assert found.known.keys() == set(peers.peer_ids)
    assert sound(peers, found) == []
    with pytest.raises(RefusedError) as refused:
        cluster.drop("c", 0, peers.peer_ids[2], limit=2)
    assert refused.value.code == "qdrant_no_quorum"


def test_a_single_server_is_its_own_quorum(tmp_path: Path) -> None:
    with running(tmp_path / "one") as one:
        one.ask("PUT", "/collections/c", DENSE)
        made = QdrantCluster(QdrantSettings(url=f"http://127.0.0.1:{one.port}"))
        found = made.picture()
        assert len(found.quorum) == 1
        assert [len(found.sound(shard)) for _, shard in found.shards()] == [1]
        made.close()


def test_addresses_of_two_kinds_are_refused() -> None:
    with pytest.raises(UsageError):
        QdrantCluster(QdrantSettings(url="https://a", peers=("https://a", "http://b")))


# Changing


def test_a_shard_is_replicated_and_moved_when_the_call_returns(
    peers: PeerServer, cluster: QdrantCluster
) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 0)
    peers.transfers(seconds=0.5)
    one, two, three = peers.peer_ids
    cluster.replicate("c", 0, one, two, limit=10)
    assert peers.replicas("c") == {(0, 0): "Active", (0, 1): "Active"}
    cluster.replicate("c", 0, one, two, limit=10)
    cluster.move("c", 0, one, three, limit=10)
    assert peers.replicas("c", 2) == {(0, 1): "Active", (0, 2): "Active"}
    cluster.drop("c", 0, two, limit=5)
    cluster.drop("c", 0, two, limit=5)
    with pytest.raises(RefusedError) as last:
        cluster.drop("c", 0, three, limit=5)
    assert last.value.code == "qdrant_last_replica"
    assert peers.replicas("c") == {(0, 2): "Active"}


def test_a_transfer_that_is_stuck_ends_at_the_limit_and_goes_on_later(
    peers: PeerServer, cluster: QdrantCluster
) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 0)
    peers.transfers(hold=True)
    with pytest.raises(TransientError) as slow:
        cluster.replicate("c", 0, peers.peer_ids[0], peers.peer_ids[1], limit=1)
    assert slow.value.code == "qdrant_transfer_slow"
    (transfer,) = cluster.picture().collections[0].transfers
    assert transfer.seconds is not None
    assert peers.replicas("c") == {(0, 0): "Active", (0, 1): "Partial"}
    peers.transfers(hold=False)
    cluster.replicate("c", 0, peers.peer_ids[0], peers.peer_ids[1], limit=10)
    assert set(peers.replicas("c").values()) == {"Active"}


def test_a_transfer_that_fails_is_told(peers: PeerServer, cluster: QdrantCluster) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 0)
    peers.transfers(hold=True)
    looks: list[float] = []

    def die() -> None:
        looks.append(time.monotonic())
        if len(looks) == 3:
            peers.fault(1, "killed")

    with pytest.raises(FailedError) as failed:
        cluster.replicate("c", 0, peers.peer_ids[0], peers.peer_ids[1], limit=30, look=die)
    assert failed.value.code == "qdrant_transfer_failed"
    assert sound(peers, cluster.picture()) == [0]


def test_an_aborted_transfer_leaves_the_source(peers: PeerServer, cluster: QdrantCluster) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 0)
    peers.transfers(hold=True)
    with pytest.raises(TransientError):
        cluster.move("c", 0, peers.peer_ids[0], peers.peer_ids[1], limit=0.5)
    (transfer,) = cluster.picture().collections[0].transfers
    cluster.abort(transfer, limit=5)
    cluster.abort(transfer, limit=5)
    assert peers.replicas("c") == {(0, 0): "Active"}


def test_nothing_is_copied_from_a_replica_that_is_not_sound(
    peers: PeerServer, cluster: QdrantCluster
) -> None:
    peers.make("c", factor=2)
    peers.on("c", 0, 0, 1)
    peers.fault(1, "killed")
    wait_until(lambda: cluster.picture().quorum)
    with pytest.raises(RefusedError) as refused:
        cluster.replicate("c", 0, peers.peer_ids[1], peers.peer_ids[2], limit=5)
    assert refused.value.code == "qdrant_source_not_active"
    with pytest.raises(RefusedError) as last:
        cluster.drop("c", 0, peers.peer_ids[0], limit=5)
    assert last.value.code == "qdrant_last_replica", "the other is Active by its state only"


def test_a_peer_is_removed_only_when_it_is_empty(peers: PeerServer, cluster: QdrantCluster) -> None:
    peers.make("c", factor=2)
    peers.on("c", 0, 0, 2)
    with pytest.raises(RefusedError) as refused:
        cluster.remove_peer(peers.peer_ids[2], limit=5)
    assert refused.value.code == "qdrant_peer_not_empty"
    cluster.drop("c", 0, peers.peer_ids[2], limit=5)
    cluster.remove_peer(peers.peer_ids[2], limit=5)
    assert cluster.picture().known.keys() == set(peers.peer_ids[:2])


def test_a_peer_that_was_cut_off_recovers(peers: PeerServer, cluster: QdrantCluster) -> None:
    peers.fault(2, "cut")
    peers.of(0, "PUT", "/collections/c", DENSE)
    with pytest.raises(TransientError) as slow:
        cluster.recover(peers.peer_ids[2], limit=0.5)
    assert slow.value.code == "qdrant_recovery_slow"
    peers.back(2)
    cluster.recover(peers.peer_ids[2], limit=5)
    assert peers.raft(2)["commit"] == peers.raft(0)["commit"]


# The marker and the way that applications connect


def test_the_marker_is_read_through_every_peer(peers: PeerServer, cluster: QdrantCluster) -> None:
    number = cluster.write_marker()
    assert len(peers.replicas(OPS_COLLECTION)) == 3, "our own collection is on every peer"
    assert [cluster.marker(one) for one in peers.peer_ids] == [number] * 3
    peers.fault(0, "killed")
    wait_until(lambda: cluster.picture().quorum)
    assert cluster.write_marker() == number + 1
    assert cluster.marker(peers.peer_ids[2]) == number + 1


def test_an_application_goes_on_at_another_peer(peers: PeerServer) -> None:
    with QdrantServer(settings(peers)) as server:
        server.ensure_identity()
        server.write_marker(1)
        peers.fault(0, "killed")
        assert server.marker() == 1, "reading is asked again at once"
        assert server.description in peers.urls[1:]
        server.write_marker(2)
        assert server.marker() == 2
        peers.back(0)
        assert server.description != peers.urls[0], "it stays where it is served"


def test_a_write_that_may_have_arrived_is_not_sent_again(peers: PeerServer) -> None:
    with QdrantServer(settings(peers)) as server:
        server.ensure_identity()
        peers.of(0, "POST", "/lab/faults", {"every": "lost", "method": "PUT", "times": 1})
        with pytest.raises(AeternaError) as lost:
            server.write_marker(1)
        assert lost.value.code == "qdrant_unreachable"
        server.write_marker(2)
        assert server.description != peers.urls[0]


def test_without_peers_one_address_is_all_there_is(peers: PeerServer) -> None:
    with QdrantServer(QdrantSettings(url=peers.urls[0], timeout=5)) as server:
        peers.fault(0, "killed")
        with pytest.raises(TransientError):
            server.collections()


# Snapshots lie with the peers that have the shard


def test_every_shard_is_captured_and_restored_wherever_it_lies(peers: PeerServer) -> None:
    peers.make("c", factor=1, shards=3)
    assert sorted(peer for _, peer in peers.replicas("c")) == [0, 1, 2]
    peers.upsert("c", range(60))
    with QdrantServer(settings(peers)) as server:
        assert [one.code for one in server.findings("backup")] == []
        (description,) = server.describe()
        assert all(shard.local for shard in description.shards)
        images = {}
        for shard in description.shards:
            with server.capture_shard("c", shard.id) as chunks:
                images[shard.id] = b"".join(chunks)
        server.create_collection(description, replace=True)
        for number, image in images.items():
            server.upload_shard(description, number, [image], len(image))
        server.finish(description, {None: 60}, timeout=10)
    assert peers.ids("c", limit=100) == list(range(60))


def test_the_other_replicas_follow_the_one_that_was_restored(peers: PeerServer) -> None:
    peers.make("c", factor=2)
    peers.upsert("c", range(10))
    with QdrantServer(settings(peers)) as server:
        (description,) = server.describe()
        with server.capture_shard("c", 0) as chunks:
            image = b"".join(chunks)
        peers.transfers(hold=True)
        server.upload_shard(description, 0, [image], len(image))
        assert sorted(peers.replicas("c").values()) in (["Active", "Dead"], ["Active", "Recovery"])
        peers.transfers(hold=False)
        server.finish(description, {None: 10}, timeout=10)
    assert set(peers.replicas("c").values()) == {"Active"}


def test_a_peer_without_the_shard_gives_no_snapshot(peers: PeerServer) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 1)
    with QdrantServer(QdrantSettings(url=peers.urls[0], timeout=5)) as alone:
        assert [one.code for one in alone.findings("backup")] == ["qdrant_shard_elsewhere"]
        with pytest.raises(AeternaError) as refused, alone.capture_shard("c", 0) as chunks:
            list(chunks)
        assert "not a local shard" in refused.value.message


@pytest.mark.parametrize("fault", ["killed", "frozen", "cut"])
def test_a_writer_goes_on_and_loses_nothing_that_was_acknowledged(
    peers: PeerServer, fault: str
) -> None:
    """One retry by the writer itself, whose points may arrive twice."""
    peers.make("c", factor=2)
    peers.on("c", 0, 1, 2)
    http = QdrantHttp(settings(peers).model_copy(update={"timeout": 1.5}))
    acknowledged: list[tuple[int, float]] = []
    deadline = time.monotonic() + 20
    for number in range(10_000):
        if number == 20:
            peers.fault(0, fault)
        try:
            http.upsert("c", {"points": [{"id": number, "vector": [1, 2, 3, 4]}]})
        except TransientError:
            continue
        acknowledged.append((number, time.monotonic()))
        if http.url != peers.urls[0] and len(acknowledged) > 40:
            break
        assert time.monotonic() < deadline
    http.close()
    found = set(peers_ids(peers))
    assert {number for number, _ in acknowledged} <= found
    gaps = [after - before for (_, before), (_, after) in pairwise(acknowledged)]
    assert max(gaps) < 5


def peers_ids(peers: PeerServer) -> list[int]:
    body = {"limit": 10_000, "with_payload": False}
    found = peers.of(1, "POST", "/collections/c/points/scroll", body)
    return [point["id"] for point in found["points"]]


def test_a_refused_key_is_raised_and_no_peer_is_called_dead(tmp_path: Path) -> None:
    with lab_qdrant(tmp_path / "keyed") as server:
        url = f"http://127.0.0.1:{server.port}"
        made = QdrantCluster(QdrantSettings(url=url, api_key=SecretStr("wrong")))
        with pytest.raises(AuthenticationError) as refused:
            made.picture()
        assert "wrong" not in refused.value.message
        made.close()
