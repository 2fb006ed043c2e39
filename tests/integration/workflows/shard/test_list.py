"""``shard list``: exact figures, faults told and not fatal, names for completion."""

import pytest

from tests.integration.workflows.shard.sharding import LARGE, SHARED, Sharding

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_before_the_first_shard_every_collection_is_named_as_none(shards: Sharding) -> None:
    found = shards.cli("list")
    names = {one["collection"] for one in found["other_collections"]}
    assert found["shards"] == []
    assert {LARGE, SHARED} <= names
    assert "aeterna_ops_marker" not in names
    assert not shards.practice.open().placement.prepared()


def test_figures_are_exact_and_names_are_kept(shards: Sharding) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--capacity", "100", "--yes")
    shards.cli("add", "new", "--collection", "new", "--create-like", "large", "--yes")
    for _ in range(2):
        shards.place("large", LARGE)
    shown = {one["name"]: one for one in shards.cli("list")["shards"]}
    points = shown["large"]["points"]
    assert points > 100
    assert shown["large"]["tenants"] == 2
    assert (shown["large"]["fill_percent"], shown["large"]["free"]) == (points, 0)
    assert (shown["new"]["points"], shown["new"]["fill_percent"]) == (0, None)
    folder = shards.practice.open().cache_directory
    assert (folder / "shards").read_text() == "large\nnew\n"
    table = shards.practice.cli.ok("shard", "list", "-o", "table").out
    assert f"{points:,}" in table
    assert "collections that are no shard: " in table


def test_a_server_that_is_gone_is_told_and_the_rest_is_shown(shards: Sharding) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    with shards.practice.sql() as connection:
        connection.execute(
            "INSERT INTO aeterna_ops.shard (name, server, collection, status)"
            " VALUES ('far', 'far', 'c', 'active'), ('gone', '', 'gone', 'active')"
        )
    shown = {one["name"]: one for one in shards.cli("list")["shards"]}
    assert (shown["far"]["points"], "far" in shown["far"]["fault"]) == (None, True)
    assert "missing" in shown["gone"]["fault"]
    assert shown["large"]["points"] > 0
