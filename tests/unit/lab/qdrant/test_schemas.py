"""Collection configurations: defaults, refusals, what an older version drops."""

from typing import Any

import pytest

pytest.importorskip("qdrant_edge")

from aeterna_cli.lab.qdrant.refusals import Refusal
from aeterna_cli.lab.qdrant.schemas import (
    engine_index,
    index_schema,
    new_config,
    update_config,
)
from aeterna_cli.lab.qdrant.versions import Version

NOW = Version.parse("1.17.1")
VECTORS = {"size": 384, "distance": "Cosine"}


def test_the_servers_defaults_are_filled_in() -> None:
    config = new_config({"vectors": VECTORS, "hnsw_config": {"m": 8}}, NOW)
    assert config["params"]["shard_number"] == config["params"]["replication_factor"] == 1
    assert "sharding_method" not in config["params"]
    assert (config["hnsw_config"]["m"], config["hnsw_config"]["ef_construct"]) == (8, 100)
    assert config["strict_mode_config"] == {"enabled": False}


def test_an_older_version_drops_what_it_does_not_know() -> None:
    body = {"vectors": VECTORS, "metadata": {"a": 1}, "strict_mode_config": {"enabled": True}}
    assert new_config(body, NOW)["metadata"] == {"a": 1}
    assert "metadata" not in new_config(body, Version.parse("1.15.5"))
    assert "strict_mode_config" not in new_config(body, Version.parse("1.12.6"))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"vectors": []}, 400),
        ({"vectors": {"size": 4}}, 400),
        ({"vectors": {"size": "4", "distance": "Cosine"}}, 400),
        ({"vectors": {"size": 4, "distance": "cosine"}}, 400),
        ({"vectors": {"size": 0, "distance": "Cosine"}}, 422),
        ({"vectors": {"size": 70000, "distance": "Cosine"}}, 422),
        ({"vectors": {"a": {"size": 4, "distance": "Dot", "datatype": "float8"}}}, 400),
        ({"vectors": VECTORS, "shard_number": 0}, 400),
        ({"vectors": VECTORS, "shard_number": "2"}, 400),
        ({"vectors": VECTORS, "sharding_method": "tenant"}, 400),
    ],
)
def test_wrong_configurations(body: dict[str, Any], status: int) -> None:
    with pytest.raises(Refusal) as caught:
        new_config(body, NOW)
    assert caught.value.status == status


def test_vectors_and_sharding_cannot_be_changed() -> None:
    config = new_config({"vectors": VECTORS}, NOW)
    changes = {
        "params": {"replication_factor": 2, "shard_number": 9, "vectors": {}},
        "optimizers_config": {"indexing_threshold": 1},
        "metadata": {"b": 2},
    }
    update_config(config, changes, NOW)
    assert config["params"]["vectors"] == VECTORS
    assert (config["params"]["shard_number"], config["params"]["replication_factor"]) == (1, 2)
    assert config["optimizer_config"]["indexing_threshold"] == 1
    assert config["metadata"] == {"b": 2}


def test_an_index_is_shown_as_it_was_made() -> None:
    assert index_schema("keyword") == {"data_type": "keyword"}
    asked = {"type": "integer", "lookup": True, "range": False}
    assert index_schema(asked) == {"data_type": "integer", "params": asked}
    assert engine_index(index_schema(asked)).lookup is True


@pytest.mark.parametrize("found", [None, "words", {"type": "words"}, {}, 1])
def test_unknown_indexes(found: Any) -> None:
    with pytest.raises(Refusal):
        index_schema(found)
