"""Qdrant's peers taken out of service and missed: against the lab's emulated cluster."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import (
    AeternaError,
    DegradedError,
    FailedError,
    RefusedError,
    TransientError,
    UsageError,
)
from aeterna_cli.operations.kill_points import VARIABLE
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.workflows.failover import qdrant_stages
from aeterna_cli.workflows.failover.component import Preflight, Request
from aeterna_cli.workflows.failover.qdrant_stages import COPY, DROP, MARKER, VERIFY
from tests.integration.lab.qdrant_peers import PeerServer, peers_running, wait_until
from tests.integration.workflows.failover.staging import OPENED, Staging, component

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration
POINTS = 30
_COUNT = "/collections/c/points/count"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerServer]:
    with peers_running(tmp_path_factory.mktemp("qdrant") / "peers") as server:
        yield server


@pytest.fixture
def peers(shared: PeerServer) -> Iterator[PeerServer]:
    shared.heal()
    yield shared
    while OPENED:
        OPENED.pop().close()


def filled(peers: PeerServer, *on: int, **shape: Any) -> None:
    """A collection with points, its only shard on these peers, and our own collection."""
    peers.make("c", factor=shape.pop("factor", len(on)), **shape)
    peers.on("c", 0, *on)
    peers.http, whole = peers.clients[on[0]], peers.http
    try:
        peers.upsert("c", range(POINTS))
    finally:
        peers.http = whole


def name(peers: PeerServer, number: int) -> str:
    return f"127.0.0.1:{peers.ports[number]}"


def codes(found: Preflight) -> set[str]:
    return {one.code for one in found.refusals}


def switchover(peers: PeerServer, number: int, **options: Any) -> dict[str, Any]:
    request = Request("switchover", to=name(peers, number))
    made = component(peers.urls, **options)
    found = made.preflight(request)
    assert not found.refusals, found.refusals
    return Staging().run(made.stages(request, found))


def failover(peers: PeerServer, to: str | None = None, **options: Any) -> dict[str, Any]:
    request = Request("failover", to=to)
    made = component(peers.urls, **options)
    found = made.preflight(request)
    assert not found.refusals, found.refusals
    return Staging().run(made.stages(request, found))


def lose(peers: PeerServer, number: int, fault: str = "killed") -> int:
    """The peer is away and another leads; the number of one that is well."""
    peers.fault(number, fault)
    other = (number + 1) % 3
    wait_until(lambda: peers.raft(other)["leader"] not in (None, peers.peer_ids[number]))
    return other


# Status


def test_a_healthy_cluster_has_nothing_to_lose(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    status = component(peers.urls).status()
    assert status.findings == ()
    assert status.primary is None
    assert [one.state for one in status.nodes] == ["Active"] * 3
    assert all(one.healthy and one.role == "peer" for one in status.nodes)
    assert status.loss is not None
    assert (status.loss.bytes, status.loss.certain) == (0, True)
    assert "emulated" in status.emulated
    assert component(peers.urls).new_primary() is None


def test_a_single_replica_is_what_a_death_would_lose(peers: PeerServer) -> None:
    filled(peers, 2, factor=1)
    status = component(peers.urls).status()
    assert {one.code for one in status.findings} == {
        "qdrant_replication_low",
        "qdrant_shard_single",
    }
    assert status.loss is not None
    assert status.loss.bytes is None
    assert "c, shard 0" in status.loss.message
    assert status.nodes[2].facts["only_here"] == ["c, shard 0"]


def test_a_dead_peer_is_named_although_its_replicas_look_active(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    lose(peers, 1)
    status = component(peers.urls).status()
    assert status.nodes[1].state == "unreachable"
    assert status.nodes[1].facts["peer_id"] == str(peers.peer_ids[1]), "the only one that is left"
    assert {one.code for one in status.findings} == {
        "qdrant_peer_unreachable",
        "qdrant_shard_single",
    }


def test_without_a_majority_nobody_claims_to_know(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    peers.fault(1, "killed")
    peers.fault(2, "frozen")
    status = component(peers.urls).status()
    assert "qdrant_no_quorum" in {one.code for one in status.findings}
    assert status.loss is not None
    assert status.loss.bytes is None
    assert not status.loss.certain


# Refusals


def test_an_unknown_node_is_told_with_those_that_are_there(peers: PeerServer) -> None:
    with pytest.raises(UsageError) as unknown:
        component(peers.urls).preflight(Request("switchover", to="127.0.0.1:1"))
    assert unknown.value.code == "node_unknown"
    assert name(peers, 0) in unknown.value.hint


def test_a_switchover_wants_the_peer_that_goes(peers: PeerServer) -> None:
    found = component(peers.urls).preflight(Request("switchover"))
    assert codes(found) == {"qdrant_peer_not_named"}
    told = component(peers.urls).preflight(Request("switchover", to=str(peers.peer_ids[0])))
    assert told.candidate == name(peers, 0)
    assert told.leader is None
    assert any("taken out of service" in one.message for one in told.findings)


def test_no_peer_goes_while_another_is_away(peers: PeerServer) -> None:
    filled(peers, 0, 1, 2)
    lose(peers, 2)
    found = component(peers.urls).preflight(Request("switchover", to=name(peers, 0)))
    assert {"qdrant_quorum_would_be_lost", "qdrant_peer_unreachable"} <= codes(found)
    dead = component(peers.urls).preflight(Request("switchover", to=name(peers, 2)))
    assert "qdrant_peer_away" in codes(dead)


def test_no_peer_goes_that_every_update_wants(peers: PeerServer) -> None:
    filled(peers, 0, 1, 2, consistency=3)
    found = component(peers.urls).preflight(Request("switchover", to=name(peers, 0)))
    assert codes(found) == {"qdrant_peer_needed"}
    without = component(peers.urls, drop_replicas=True)
    assert not without.preflight(Request("switchover", to=name(peers, 0))).refusals


def test_a_living_peer_is_not_failed_over(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    found = component(peers.urls).preflight(Request("failover", to=name(peers, 1)))
    assert codes(found) == {"qdrant_peer_alive"}


def test_without_a_majority_nothing_is_begun(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    peers.fault(1, "killed")
    peers.fault(2, "killed")
    found = component(peers.urls).preflight(Request("failover"))
    assert "qdrant_no_quorum" in codes(found)


def test_a_member_without_an_address_is_not_taken_for_dead(peers: PeerServer) -> None:
    filled(peers, 0, 2)
    found = component(peers.urls[:2]).preflight(Request("failover"))
    assert codes(found) == {"qdrant_peer_unlisted"}
    assert found.facts["out_of_service"] == found.facts["drops"] == []
    named = component(peers.urls[:2]).preflight(Request("failover", to=str(peers.peer_ids[2])))
    assert codes(named) == {"qdrant_peer_maybe_alive"}


# A planned one


def test_the_only_replica_is_copied_before_the_peer_may_go(peers: PeerServer) -> None:
    filled(peers, 0, factor=1)
    results = switchover(peers, 0)
    assert results[VERIFY]["may_be_stopped"] == str(peers.peer_ids[0])
    assert len(results[VERIFY]["marker_read_through"]) == 2
    other = lose(peers, 0)
    assert peers.of(other, "POST", _COUNT, {"exact": True}) == {"count": POINTS}
    body = {"points": [{"id": 99, "vector": [1, 2, 3, 4]}]}
    peers.of(other, "PUT", "/collections/c/points?wait=true", body)


def test_what_is_redundant_stays_where_it_is(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    results = switchover(peers, 0)
    assert results[COPY] == {"copies": []}
    assert peers.replicas("c") == {(0, 0): "Active", (0, 1): "Active"}


def test_updates_go_on_that_want_two_replicas(peers: PeerServer) -> None:
    filled(peers, 0, 1, consistency=2)
    switchover(peers, 0)
    assert len(peers.replicas("c")) == 3
    other = lose(peers, 0)
    body = {"points": [{"id": 99, "vector": [1, 2, 3, 4]}]}
    peers.of(other, "PUT", "/collections/c/points?wait=true", body)


def test_an_emptied_peer_has_no_replica_and_the_factor_is_kept(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    results = switchover(peers, 0, drop_replicas=True)
    assert results[DROP]["drops"]
    assert peers.replicas("c") == {(0, 1): "Active", (0, 2): "Active"}
    assert all(peer != 0 for _, peer in peers.replicas(OPS_COLLECTION))


def test_a_transfer_that_is_stuck_changes_nothing(peers: PeerServer) -> None:
    filled(peers, 0, factor=1)
    peers.transfers(hold=True)
    request = Request("switchover", to=name(peers, 0))
    made = component(peers.urls, drop_replicas=True, copy_seconds=1)
    staging = Staging()
    with pytest.raises(TransientError) as slow:
        staging.run(made.stages(request, made.preflight(request)))
    assert slow.value.code == "qdrant_transfer_slow"
    assert DROP not in staging.results
    assert peers.replicas("c") == {(0, 0): "Active"}, "the half-made replica is taken back"
    assert peers.running("c") == []


def test_a_copy_with_fewer_points_is_not_trusted(
    peers: PeerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdrant_stages, "COMPARE_SECONDS", 0.5)
    filled(peers, 0, factor=1)
    peers.transfers(lose=3)
    request = Request("switchover", to=name(peers, 0))
    made = component(peers.urls, drop_replicas=True)
    staging = Staging()
    with pytest.raises(FailedError) as differs:
        staging.run(made.stages(request, made.preflight(request)))
    assert differs.value.code == "qdrant_copy_differs"
    assert differs.value.details == {str(peers.peer_ids[0]): 30, **differs.value.details}
    assert peers.replicas("c")[0, 0] == "Active", "nothing was dropped"


def test_an_old_server_is_not_trusted_with_copies_under_updates(tmp_path: Path) -> None:
    with peers_running(tmp_path / "old", "--version", "1.16.3") as old:
        filled(old, 0, factor=1)
        request = Request("switchover", to=name(old, 0))
        made = component(old.urls)
        assert codes(made.preflight(request)) == {"qdrant_transfers_lose_updates"}
        assert not made.preflight(replace(request, fenced=True)).refusals
        old.on("c", 0, 0, 1)
        assert not made.preflight(request).refusals, "where nothing is copied, nothing is lost"
        made.close()


def test_a_marker_that_is_gone_fails_the_switchover(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    request = Request("switchover", to=name(peers, 0))
    made = component(peers.urls)
    stages = made.stages(request, made.preflight(request))
    staging = Staging()
    staging.run(stages[:1])
    assert staging.results[MARKER]["marker"] >= 1
    peers.of(0, "DELETE", f"/collections/{OPS_COLLECTION}")
    with pytest.raises(FailedError) as lost:
        staging.run(stages)
    assert lost.value.code == "qdrant_marker_lost"


# An unplanned one


@pytest.mark.parametrize("fault", ["killed", "frozen", "cut"])
def test_redundancy_is_restored_without_a_peer(peers: PeerServer, fault: str) -> None:
    filled(peers, 0, 1)
    component(peers.urls)._store.write_marker()
    other = lose(peers, 1, fault)
    results = failover(peers)
    assert peers.replicas("c", other) == {(0, 0): "Active", (0, 2): "Active"}
    assert results[DROP]["drops"]
    assert str(peers.peer_ids[1]) in peers.of(other, "GET", "/cluster")["peers"]
    peers.back(1)
    assert peers.of(1, "POST", _COUNT, {"exact": True}) == {"count": POINTS}
    failover(peers)


def test_a_dead_peer_is_removed_only_when_asked(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    lose(peers, 1)
    failover(peers, name(peers, 1), remove_peer=True)
    assert set(peers.of(0, "GET", "/cluster")["peers"]) == {
        str(peers.peer_ids[0]),
        str(peers.peer_ids[2]),
    }
    failover(peers, name(peers, 1), remove_peer=True)


def test_what_died_with_its_peer_is_said_and_its_replica_is_kept(peers: PeerServer) -> None:
    filled(peers, 1, factor=1)
    lose(peers, 1)
    with pytest.raises(DegradedError) as degraded:
        failover(peers)
    assert degraded.value.details["unserved"] == ["c, shard 0"]
    assert peers.replicas("c") == {(0, 1): "Active"}
    removing = component(peers.urls, remove_peer=True).preflight(Request("failover"))
    assert codes(removing) == {"qdrant_peer_has_the_last"}
    peers.back(1)
    assert peers.of(0, "POST", _COUNT, {"exact": True}) == {"count": POINTS}


def test_a_peer_that_comes_back_is_not_dropped_from(peers: PeerServer) -> None:
    filled(peers, 0, 1)
    lose(peers, 1)
    request = Request("failover")
    made = component(peers.urls)
    stages = made.stages(request, made.preflight(request))
    staging = Staging()
    staging.run([stage for stage in stages if stage.name in (MARKER, COPY)])
    peers.back(1)
    with pytest.raises(RefusedError) as back:
        staging.run(stages)
    assert back.value.code == "qdrant_peer_alive"
    assert peers.replicas("c")[0, 1] in ("Active", "Recovery", "Dead")


# Killed in the middle

_POINTS = [
    f"step:{stage}:{place}"
    for stage in (MARKER, COPY, DROP, VERIFY)
    for place in ("before", "middle", "after")
    if (stage, place) not in {(MARKER, "middle"), (VERIFY, "middle")}
]


@pytest.mark.parametrize("point", _POINTS)
@pytest.mark.parametrize("intent", ["switchover", "failover"])
def test_kill_9_anywhere_and_the_same_again_ends_well(
    peers: PeerServer, tmp_path: Path, intent: str, point: str
) -> None:
    filled(peers, 0, 1, shards=1)
    if intent == "failover":
        lose(peers, 1)
    request = {"intent": intent, "to": name(peers, 1)}
    options = {"drop_replicas": True} if intent == "switchover" else {}
    command = [sys.executable, "-m", "tests.integration.workflows.failover.staging"]
    command += [str(tmp_path / "state"), json.dumps(request), json.dumps(options), *peers.urls]
    killed = subprocess.run(command, env={**os.environ, VARIABLE: point}, check=False)
    assert killed.returncode == -9
    sound = [state for state in peers.replicas("c").values() if state == "Active"]
    assert sound, "the last replica is never dropped"
    assert peers.of(0, "POST", _COUNT, {"exact": True}) == {"count": POINTS}
    subprocess.run(command, check=True)
    assert peers.replicas("c") == {(0, 0): "Active", (0, 2): "Active"}
    assert peers.of(2, "POST", _COUNT, {"exact": True}) == {"count": POINTS}


def test_errors_are_typed_where_the_cluster_dies_meanwhile(peers: PeerServer) -> None:
    filled(peers, 0, factor=1)
    request = Request("switchover", to=name(peers, 0))
    made = component(peers.urls)
    stages = made.stages(request, made.preflight(request))
    peers.fault(1, "killed")
    peers.fault(2, "killed")
    with pytest.raises(AeternaError) as gone:
        Staging().run(stages)
    assert gone.value.code == "qdrant_quorum_would_be_lost"
