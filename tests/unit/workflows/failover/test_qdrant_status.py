"""Every deviation of a Qdrant cluster has its finding."""

from typing import Any

import pytest

from aeterna_cli.settings import FailoverSettings
from aeterna_cli.stores.base.qdrant_cluster import (
    ClusterPicture,
    CollectionReplicas,
    PeerAnswer,
    ShardReplicas,
    ShardTransfer,
)
from aeterna_cli.workflows.failover.qdrant_status import status_of
from tests.unit.workflows.failover.pictures import active, collection, picture

TARGET = FailoverSettings()


def found(shown: ClusterPicture, **target: Any) -> dict[str, str]:
    findings = status_of(shown, FailoverSettings(**target)).findings
    return {one.code: one.severity for one in findings}


def transfer(seconds: int | None) -> ShardTransfer:
    return ShardTransfer("c", 0, 1, 3, True, "snapshot", seconds, "n/m")


@pytest.mark.parametrize(
    ("of", "code", "severity"),
    [
        (collection("c", active(1, 2), factor=1), "qdrant_replication_low", "warning"),
        (collection("c", active(1, 2), status="red"), "qdrant_collection_red", "error"),
        (collection("c", active(1, 2), status="yellow"), "qdrant_collection_busy", "info"),
        (collection("c", active(1, 2), optimizer="disk"), "qdrant_optimizer_failed", "warning"),
        (collection("c", active(1, 2), resharding=("up",)), "qdrant_resharding", "error"),
        (collection("c", active(1, 2), transfers=(transfer(5),)), "qdrant_transfer_running",
         "info"),
        (collection("c", active(1, 2), transfers=(transfer(None),)), "qdrant_transfer_running",
         "info"),
        (collection("c", active(1, 2), transfers=(transfer(601),)), "qdrant_transfer_long",
         "warning"),
        (collection("c", active(1, 2), consistency=2), "qdrant_writes_need_every_replica",
         "warning"),
        (collection("c", {1: "Active", 2: "Active", 3: "Recovery"}), "qdrant_replica_not_active",
         "warning"),
        (CollectionReplicas("c", "green", "ok", 2, 1, (
            ShardReplicas("c", 0, None, active(1, 2, 3), {3: "they differ"}),)),
         "qdrant_replica_disputed", "warning"),
    ],
)  # fmt: skip
def test_one_deviation_is_one_finding(of: CollectionReplicas, code: str, severity: str) -> None:
    assert found(picture(of)) == {code: severity}


def test_a_shard_without_a_sound_replica_is_an_error() -> None:
    assert found(picture(collection("c", {1: "Dead", 2: "Dead"}))) == {
        "qdrant_shard_unserved": "error",
        "qdrant_replica_not_active": "warning",
    }


def test_the_cluster_itself() -> None:
    assert found(picture(), qdrant_peers=5) == {"qdrant_peers_few": "warning"}
    assert found(picture(commits_apart=3)) == {"qdrant_commits_apart": "warning"}
    assert found(picture(stale=("c, shard 0: peer 9",))) == {"qdrant_view_stale": "warning"}
    assert found(picture(quorum=(1, 2))) == {"qdrant_peer_outside": "error"}
    assert set(found(picture(quorum=()))) == {"qdrant_peer_outside", "qdrant_no_quorum"}


def test_a_server_without_cluster_mode_says_so() -> None:
    answer = PeerAnswer("http://a:6333", peer=0, clustered=False)
    shown = ClusterPicture((answer,), {}, frozenset(), ())
    assert found(shown, qdrant_peers=1)["qdrant_standalone"] == "error"


def test_what_a_death_would_lose_names_the_shards_and_their_peer() -> None:
    status = status_of(picture(collection("c", active(1, 2), active(3))), TARGET)
    assert status.loss is not None
    assert status.loss.message == "1 shards that are only on qdrant-2: c, shard 1"
    assert status.node("qdrant-2") is not None
    assert status.emulated == "", "a real server says nothing of a lab"
