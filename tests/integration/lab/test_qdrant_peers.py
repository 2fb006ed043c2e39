"""The lab's emulated peers: replicas, consensus, transfers and faults as on the real server."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab.qdrant_peers import PeerServer, peers_running, wait_until
from tests.integration.lab.qdrant_process import DENSE, TransportError, running

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerServer]:
    with peers_running(tmp_path_factory.mktemp("qdrant") / "peers") as server:
        yield server


@pytest.fixture
def peers(shared: PeerServer) -> PeerServer:
    """Three peers that are well, and no collection."""
    shared.heal()
    return shared


def points(number: int) -> dict[str, Any]:
    return {"points": [{"id": number, "vector": [1, 2, 3, 4]}]}


def write(peers: PeerServer, through: int, status: int = 200, number: int = 1) -> Any:
    path = "/collections/c/points?wait=true"
    return peers.of(through, "PUT", path, points(number), status)


def change(peers: PeerServer, operation: str, status: int = 200, **arguments: Any) -> Any:
    path = "/collections/c/cluster?timeout=1"
    return peers.of(0, "POST", path, {operation: arguments}, status)


def ends(peers: PeerServer, source: int, target: int, shard: int = 0) -> dict[str, int]:
    ids = peers.peer_ids
    return {"shard_id": shard, "from_peer_id": ids[source], "to_peer_id": ids[target]}


# The picture


def test_every_peer_tells_of_the_same_cluster(peers: PeerServer) -> None:
    seen = [peers.of(n, "GET", "/cluster") for n in range(3)]
    assert [one["peer_id"] for one in seen] == peers.peer_ids
    assert all(set(one["peers"]) == {str(n) for n in peers.peer_ids} for one in seen)
    assert len({one["raft_info"]["commit"] for one in seen}) == 1
    assert sorted(one["raft_info"]["role"] for one in seen) == ["Follower", "Follower", "Leader"]
    assert len({one["raft_info"]["leader"] for one in seen}) == 1
    answer = peers.clients[1].get("/cluster")
    assert answer.headers["x-aeterna-lab"] == "qdrant-edge"


def test_replicas_are_spread_as_the_factor_says(peers: PeerServer) -> None:
    peers.make("c", factor=2, shards=3)
    found = peers.replicas("c")
    assert len(found) == 6
    assert [sum(peer == n for _, peer in found) for n in range(3)] == [2, 2, 2]
    assert all(peers.replicas("c", n) == found for n in range(3))
    peers.make("d", factor=5)
    assert len(peers.replicas("d")) == 3, "never more replicas than peers"
    local = [peers.of(n, "GET", "/collections/c/cluster")["local_shards"] for n in range(3)]
    assert [len(one) for one in local] == [2, 2, 2]


def test_one_peer_has_no_operations_between_peers(tmp_path: Path) -> None:
    with running(tmp_path / "one") as one:
        one.ask("PUT", "/collections/c", DENSE)
        body = {"drop_replica": {"shard_id": 0, "peer_id": 1}}
        assert "ClusterOperations" in one.ask("POST", "/collections/c/cluster", body, 400)
        assert one.http.get("/lab/peers").status_code == 404


# Transfers


def test_a_shard_is_replicated_moved_and_dropped(peers: PeerServer) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 0)
    peers.transfers(hold=True)
    assert change(peers, "replicate_shard", **ends(peers, 0, 1)) is True
    assert peers.replicas("c") == {(0, 0): "Active", (0, 1): "Partial"}
    (transfer,) = peers.running("c", seen_by=2)
    assert (transfer["sync"], transfer["from"], transfer["to"]) == (
        True, peers.peer_ids[0], peers.peer_ids[1])  # fmt: skip
    assert "started 0s ago" in transfer["comment"]
    assert "already involved" in change(peers, "move_shard", 400, **ends(peers, 0, 2))
    peers.transfers(hold=False)
    peers.wait_active("c")
    assert change(peers, "move_shard", **ends(peers, 0, 2)) is True
    wait_until(lambda: peers.replicas("c") == {(0, 1): "Active", (0, 2): "Active"})
    change(peers, "drop_replica", shard_id=0, peer_id=peers.peer_ids[1])
    last = change(peers, "drop_replica", 400, shard_id=0, peer_id=peers.peer_ids[2])
    assert "must have at least one active replica" in last
    assert "is not active" in change(peers, "replicate_shard", 400, **ends(peers, 0, 1))


def test_a_transfer_is_aborted_and_restarted(peers: PeerServer) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 0)
    peers.transfers(hold=True)
    assert "does not exist" in change(peers, "abort_transfer", 404, **ends(peers, 0, 1))
    change(peers, "move_shard", **ends(peers, 0, 1))
    change(peers, "restart_transfer", **ends(peers, 0, 1), method="snapshot")
    assert [one["method"] for one in peers.running("c")] == ["snapshot"]
    change(peers, "abort_transfer", **ends(peers, 0, 1))
    assert peers.replicas("c") == {(0, 0): "Active"}, "an aborted move leaves nothing behind"
    change(peers, "replicate_shard", **ends(peers, 0, 1))
    change(peers, "drop_replica", shard_id=0, peer_id=peers.peer_ids[1])
    assert peers.running("c") == []


# A peer is away


def test_a_killed_peer_is_found_out_by_a_write_and_recovers(peers: PeerServer) -> None:
    peers.make("c", factor=2)
    peers.on("c", 0, 0, 1)
    peers.fault(1, "killed")
    with pytest.raises(TransportError):
        peers.clients[1].get("/")
    assert peers.replicas("c")[0, 1] == "Active", "nobody has noticed: states alone tell nothing"
    assert peers.of(2, "POST", "/collections/c/points/count", {"exact": True}) == {"count": 0}
    write(peers, 2)
    assert peers.replicas("c") == {(0, 0): "Active", (0, 1): "Dead"}
    peers.transfers(hold=True)
    peers.back(1)
    wait_until(lambda: peers.running("c"))
    assert peers.replicas("c")[0, 1] == "Recovery"
    assert peers.clients[1].get("/readyz").status_code == 503
    peers.transfers(hold=False)
    peers.wait_active("c", seen_by=1)
    assert peers.clients[1].get("/readyz").status_code == 200
    metrics = peers.clients[1].get("/metrics").text
    assert 'collection_dead_replicas{id="c"} 0' in metrics


def test_a_shard_whose_only_peer_is_away_is_not_served(peers: PeerServer) -> None:
    peers.make("c", factor=1)
    peers.on("c", 0, 1)
    peers.fault(1, "killed")
    count = "/collections/c/points/count"
    assert "read operations failed" in peers.of(0, "POST", count, {"exact": True}, 500)
    assert "transport error" in write(peers, 0, 500)
    assert peers.replicas("c")[0, 1] == "Active", "the last active replica is never made dead"


def test_a_write_that_wants_more_replicas_than_answer_fails(peers: PeerServer) -> None:
    peers.make("c", factor=2, consistency=2)
    peers.on("c", 0, 0, 1)
    peers.fault(1, "killed")
    assert "transport error" in write(peers, 0, 500)
    assert peers.replicas("c")[0, 1] == "Active"
    state = {"collection": "c", "shard_id": 0, "state": "Dead", "peer_id": peers.peer_ids[1]}
    peers.of(0, "POST", "/lab/replica", state)
    write(peers, 0)


def test_a_frozen_peer_hangs_and_its_requests_are_answered_late(peers: PeerServer) -> None:
    peers.make("c", factor=3)
    peers.fault(2, "frozen")
    with pytest.raises(TransportError):
        peers.clients[2].get("/cluster", timeout=0.3)
    before = time.monotonic()
    write(peers, 0)
    assert time.monotonic() - before > 0.9, "the first write waits for it"
    assert peers.replicas("c")[0, 2] == "Dead"
    peers.back(2)
    peers.wait_active("c", seen_by=2)


def test_a_peer_that_is_cut_off_remembers(peers: PeerServer) -> None:
    peers.make("c", factor=3)
    peers.fault(0, "cut")
    wait_until(lambda: peers.raft(1)["leader"] not in (None, peers.peer_ids[0]))
    write(peers, 1)
    peers.of(1, "PUT", "/collections/new", DENSE)
    assert peers.replicas("c", 1)[0, 0] == "Dead"
    assert peers.replicas("c", 0)[0, 0] == "Active"
    assert peers.of(0, "GET", "/collections/new", None, 404)
    assert peers.raft(0)["commit"] < peers.raft(1)["commit"]
    assert "deactivation timed out" in write(peers, 0, 500, number=9)
    assert peers.of(1, "POST", "/collections/c/points/count", {"exact": True}) == {"count": 1}
    peers.back(0)
    peers.wait_active("c", seen_by=0)
    assert peers.raft(0) == {**peers.raft(1), "role": peers.raft(0)["role"]}


# Consensus


def test_without_a_majority_nothing_is_agreed_upon(peers: PeerServer) -> None:
    leader = peers.raft(0)["leader"]
    last = peers.peer_ids.index(leader)
    for number in {0, 1, 2} - {last}:
        peers.fault(number, "killed")
    error = peers.of(last, "PUT", "/collections/c?timeout=1", DENSE, 500)
    assert "Waiting for consensus operation commit failed" in error
    assert peers.raft(last)["role"] == "Leader", "it does not know that nobody follows"
    assert peers.of(last, "GET", "/cluster")["message_send_failures"]
    peers.heal()
    assert peers.of(0, "GET", "/collections") == {"collections": []}


def test_a_follower_without_a_leader_says_so(peers: PeerServer) -> None:
    follower = next(n for n in range(3) if peers.peer_ids[n] != peers.raft(0)["leader"])
    peers.fault(follower, "cut")
    error = peers.of(follower, "PUT", "/collections/c?timeout=1", DENSE, 500)
    assert "leader is not established within 1s" in error
    assert peers.raft(follower)["leader"] is None


def test_a_new_leader_is_elected(peers: PeerServer) -> None:
    before = peers.raft(0)
    leader = peers.peer_ids.index(before["leader"])
    peers.fault(leader, "killed")
    other = (leader + 1) % 3
    peers.of(other, "PUT", "/collections/c", DENSE)
    after = peers.raft(other)
    assert after["leader"] not in (None, before["leader"])
    assert after["term"] == before["term"] + 1


def test_a_peer_is_removed_only_empty_or_by_force(peers: PeerServer) -> None:
    peers.make("c", factor=2)
    peers.on("c", 0, 0, 2)
    peer = f"/cluster/peer/{peers.peer_ids[2]}"
    assert "there are shards on it" in peers.of(0, "DELETE", peer, None, 400)
    assert peers.of(0, "DELETE", f"{peer}?force=true") is True
    assert peers.replicas("c") == {(0, 0): "Active"}
    assert str(peers.peer_ids[2]) not in peers.of(0, "GET", "/cluster")["peers"]
    peers.back(2)
    assert str(peers.peer_ids[2]) in peers.of(0, "GET", "/cluster")["peers"]
    assert peers.of(0, "POST", "/cluster/recover") is True


def test_telemetry_of_the_cluster_tells_who_answers(peers: PeerServer) -> None:
    peers.make("c", factor=2)
    peers.fault(1, "killed")
    found = peers.of(0, "GET", "/cluster/telemetry")
    (shard,) = found["collections"]["c"]["shards"]
    assert len(shard["replicas"]) == 2
    answers = {int(n): one["responsive"] for n, one in found["cluster"]["peers"].items()}
    assert [answers[n] for n in peers.peer_ids] == [True, False, True]


# Restart


def test_replica_states_and_peers_survive_a_crash(tmp_path: Path) -> None:
    with peers_running(tmp_path / "peers", "--version", "1.16.0") as server:
        server.make("c", factor=2)
        server.on("c", 0, 0, 1)
        server.fault(1, "killed")
        write(server, 0)
        server.transfers(hold=True)
        ids, commit = server.peer_ids, server.raft(0)["commit"]
        assert server.http.get("/cluster/telemetry").status_code == 404, "since 1.17"
        server.kill()
        server.process = server.launch()
        wait_until(lambda: _readable(server, "c"))
        assert server.replicas("c")[0, 1] in ("Dead", "Recovery", "Active")
        assert server.raft(0)["commit"] >= commit
        assert [one["id"] for one in server.ask("GET", "/lab/peers")] == ids
        server.wait_active("c")
        assert server.of(2, "POST", "/collections/c/points/count", {"exact": True}) == {"count": 1}
        assert server.stop() == 0


def _readable(server: PeerServer, name: str) -> bool:
    try:
        return server.clients[0].get(f"/collections/{name}").status_code == 200
    except TransportError:
        return False


def test_fewer_ports_than_peers_are_refused(tmp_path: Path) -> None:
    with peers_running(tmp_path / "peers") as server:
        assert server.stop() == 0
        server.words = ("--allow-faults",)
        process = server.launch()
        assert process.wait(timeout=30) == 2
        assert "lab_qdrant_peers" in server.log.read_text()


# The shapes


def test_the_official_client_understands_every_answer(peers: PeerServer) -> None:
    """An independent reading of the API: its models refuse unknown states and missing fields."""
    from qdrant_client.http import models

    peers.make("c", factor=2)
    peers.on("c", 0, 0, 1)
    peers.transfers(hold=True)
    change(peers, "replicate_shard", **ends(peers, 0, 2))
    for number in range(3):
        found = peers.of(number, "GET", "/collections/c/cluster")
        read = models.CollectionClusterInfo.model_validate(found)
        assert [one.to for one in read.shard_transfers] == [peers.peer_ids[2]]
        status = peers.of(number, "GET", "/cluster")
        read_status = models.ClusterStatusOneOf1.model_validate(status)
        assert read_status.peer_id == peers.peer_ids[number]
        telemetry = peers.of(number, "GET", "/cluster/telemetry")
        models.DistributedTelemetryData.model_validate(telemetry)
    peers.fault(1, "killed")
    wait_until(lambda: peers.raft(0)["leader"] not in (None, peers.peer_ids[1]))
    telemetry = peers.of(0, "GET", "/cluster/telemetry")
    models.DistributedTelemetryData.model_validate(telemetry)


def test_who_waits_for_a_peer_that_is_away_holds_up_nobody_else(peers: PeerServer) -> None:
    peers.make("c", factor=3)
    peers.fault(0, "cut")
    wait_until(lambda: peers.raft(1)["leader"] not in (None, peers.peer_ids[0]))
    waiting = threading.Thread(target=write, args=(peers, 0, 500, 7))
    waiting.start()
    took = []
    for number in range(20):
        before = time.monotonic()
        write(peers, 1, number=number)
        took.append(time.monotonic() - before)
    assert waiting.is_alive(), "it is not told yet that it failed"
    assert max(took) < 2
    waiting.join()
