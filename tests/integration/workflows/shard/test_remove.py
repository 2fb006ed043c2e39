"""``shard remove``: only what is empty, and never a collection."""

import pytest

from tests.integration.workflows.shard.sharding import LARGE, Sharding

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_an_empty_shard_goes_and_its_collection_stays(shards: Sharding) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    assert shards.refused("remove", "large", "--yes") == (7, "shard_status_move")
    shards.cli("drain", "large", "--yes")
    placed = shards.place("large", LARGE)
    assert shards.refused("remove", "large", "--yes") == (7, "shard_in_use")
    shards.unplace()
    assert shards.cli("remove", "large", "--dry-run")["shard"]["status"] == "draining"
    done = shards.cli("remove", "large", "--yes")
    assert done["shard"]["points"] > 0
    assert f"{done['shard']['points']:,} points" in done["notes"][0]
    assert shards.cli("list")["shards"] == []
    assert (shards.practice.open().cache_directory / "shards").read_text() == ""
    assert LARGE in {one["collection"] for one in shards.cli("list")["other_collections"]}
    assert shards.refused("remove", "large", "--yes") == (7, "shard_unknown")
    assert shards.practice.open().placement.placement(placed.tenant) is None


def test_points_that_a_move_left_behind_are_not_forgotten(shards: Sharding) -> None:
    for name in ("old", "new"):
        shards.cli("add", name, "--collection", name, "--create-like", LARGE, "--yes")
    placed = shards.place("new", "new")
    with shards.practice.open().qdrant as server:
        model = server.collection(LARGE)
    assert model is not None
    size = model.config["params"]["vectors"]["size"]
    point = {"id": 1, "vector": [1.0] * size, "payload": {"tenant_id": placed.tenant}}
    shards.qdrant("PUT", "/collections/old/points?wait=true", {"points": [point]})
    shards.cli("drain", "old", "--yes")
    assert shards.refused("remove", "old", "--yes") == (7, "shard_holds_points")
    shards.qdrant("POST", "/collections/old/points/delete?wait=true", {"points": [1]})
    shards.cli("remove", "old", "--yes")
    assert [one["name"] for one in shards.cli("list")["shards"]] == ["new"]


def test_a_server_that_is_gone_stops_it_unless_the_shard_is_offline(shards: Sharding) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    shards.place("large", LARGE)
    with shards.practice.sql() as connection:
        connection.execute(
            "INSERT INTO aeterna_ops.shard (name, server, collection, status)"
            " VALUES ('far', 'far', 'c', 'draining')"
        )
    assert shards.refused("remove", "far", "--yes")[0] == 2
    shards.practice.open().placement.set_shard_status("far", "offline")
    notes = shards.cli("remove", "far", "--yes")["notes"]
    assert any("was not asked" in note for note in notes)
