"""``shard drain``: nobody new, and the way out for those who are there."""

import pytest

from aeterna_cli.operations.identifiers import uuid7
from aeterna_cli.operations.lease import Lease, LeaseRequest
from tests.integration.workflows.shard.sharding import LARGE, Sharding

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_a_shard_drains_and_serves_again(shards: Sharding) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    placed = shards.place("large", LARGE)
    assert shards.cli("drain", "large", "--dry-run")["dry_run"]
    assert shards.cli("list")["shards"][0]["status"] == "active"
    done = shards.cli("drain", "large", "--yes")
    assert done["shard"]["status"] == "draining"
    assert done["tenants"] == [placed.tenant]
    assert done["next_steps"] == [
        f"aeterna-cli tenant migrate --tenant-id {placed.tenant} --to-shard SHARD"
    ]
    assert shards.cli("drain", "large", "--yes")["operation"] == ""
    assert shards.cli("drain", "large", "--undo", "--yes")["shard"]["status"] == "active"
    kinds = [one["kind"] for one in shards.practice.operations()]
    assert kinds == ["shard.add", "shard.drain", "shard.drain"]


def test_what_is_not_served_from_cannot_drain(shards: Sharding) -> None:
    assert shards.refused("drain", "nobody's", "--yes") == (7, "shard_unknown")
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    assert shards.refused("drain", "'; --", "--yes") == (7, "shard_unknown")
    with shards.practice.sql() as connection:
        connection.execute("UPDATE aeterna_ops.shard SET status = 'offline'")
    assert shards.refused("drain", "large", "--yes") == (7, "shard_status_move")
    assert shards.refused("drain", "large", "--undo", "--yes") == (7, "shard_status_move")


@pytest.mark.parametrize("component", ["shards", "restore"])
def test_nothing_changes_beside_another_change_or_a_restore(
    shards: Sharding, component: str
) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    lease = Lease(
        shards.practice.open().objects, LeaseRequest(component), operation=uuid7(), actor="other"
    )
    lease.acquire()
    try:
        assert shards.refused("drain", "large", "--yes") == (3, "lease_held")
    finally:
        lease.release()
    assert shards.cli("list")["shards"][0]["status"] == "active"
