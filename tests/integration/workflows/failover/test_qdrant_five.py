"""Two of five peers die at once; their addresses do not tell which is which."""

from pathlib import Path

import pytest

from aeterna_cli.workflows.failover.component import Request
from tests.integration.lab.qdrant_peers import peers_running, wait_until
from tests.integration.workflows.failover.staging import Staging, component

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration


def test_redundancy_is_restored_without_two_of_five(tmp_path: Path) -> None:
    with peers_running(tmp_path / "peers", peers=5) as peers:
        peers.make("c", factor=3, shards=4)
        peers.on("c", 0, 0, 3, 4)
        peers.fault(3, "killed")
        peers.fault(4, "killed")
        made = component(peers.urls)
        wait_until(lambda: peers.raft(0)["leader"] in peers.peer_ids[:3])
        status = made.status()
        assert [one.state for one in status.nodes] == ["Active"] * 3 + ["unreachable"] * 2
        assert {one.code for one in status.findings if one.severity == "error"} == {
            "qdrant_peer_unreachable"
        }
        found = made.preflight(Request("failover"))
        assert not found.refusals
        Staging().run(made.stages(Request("failover"), found))
        places = peers.replicas("c")
        assert {peer for _, peer in places} == {0, 1, 2}
        assert sorted(shard for shard, _ in places) == sorted([0, 1, 2, 3] * 3)
        assert set(places.values()) == {"Active"}
        made.close()
