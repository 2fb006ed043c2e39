"""``shard add``: checked first, made once, finished by the same command wherever it is killed."""

import pytest

from tests.integration.workflows.shard.sharding import LARGE, SHARED, Sharding

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_a_collection_that_is_there_becomes_a_shard(shards: Sharding) -> None:
    words = ("add", "large", "--collection", LARGE, "--capacity", "5000", "--yes")
    planned = shards.cli(*words, "--dry-run")
    assert (planned["dry_run"], planned["shard"]["status"]) == (True, "provisioning")
    assert shards.cli("list")["shards"] == []
    done = shards.cli(*words)
    shard = done["shard"]
    assert (shard["name"], shard["status"], shard["collection"]) == ("large", "active", LARGE)
    count = shards.qdrant("POST", f"/collections/{LARGE}/points/count", {"exact": True})["count"]
    assert (shard["points"], shard["free"]) == (count, 5000 - count)
    again = shards.cli(*words)
    assert (again["operation"], again["shard"]) == ("", shard)
    assert [one["kind"] for one in shards.practice.operations()] == ["shard.add"]


def test_a_place_is_made_like_another(shards: Sharding) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    shards.cli("add", "new", "--collection", "the new one %;'", "--create-like", "large", "--yes")
    shards.cli("add", "like-keys", "--collection", "plain", "--create-like", SHARED, "--yes")
    shards.cli("add", "keyed", "--collection", "keyed", "--create-like", SHARED, "--shard-key",
               "one", "--yes")  # fmt: skip
    with shards.practice.open().qdrant as server:
        model, made = server.collection(LARGE), server.collection("the new one %;'")
        plain, keyed = server.collection("plain"), server.collection("keyed")
    assert model is not None
    assert made is not None
    assert made.config == model.config
    assert made.payload_schema == model.payload_schema != {}
    assert (made.points, made.aliases) == (0, ())
    assert plain is not None
    assert plain.shard_keys() == (None,)
    assert keyed is not None
    assert keyed.shard_keys() == ("one",)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "a b", "--collection", LARGE), (2, "shard_name_invalid")),
        (("add", "x\ny", "--collection", LARGE), (2, "shard_name_invalid")),
        (("add", "ü" * 100, "--collection", LARGE), (2, "shard_name_invalid")),
        (("add", "a", "--collection", ""), (2, "name_invalid")),
        (("add", "a", "--collection", "c" * 256), (2, "name_invalid")),
        (("add", "a", "--collection", "c/d"), (2, "name_invalid")),
        (("add", "a", "--collection", LARGE, "--capacity", "-1"), (2, "usage")),
        (("add", "a", "--collection", LARGE, "--server", "no'where"), (2, "qdrant_server_unknown")),
        (("add", "a", "--collection", "no such; %'"), (7, "collection_missing")),
        (("add", "a", "--collection", "memories-current"), (7, "collection_is_alias")),
        (("add", "a", "--collection", "aeterna_ops_marker"), (7, "own_collection")),
        (("add", "a", "--collection", SHARED), (7, "shard_key_needed")),
        (("add", "a", "--collection", LARGE, "--shard-key", "k"),
         (7, "collection_without_shard_keys")),
        (("add", "a", "--collection", "b", "--create-like", "nothing"), (7, "model_missing")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_before_anything_changes(
    shards: Sharding, words: tuple[str, ...], expected: tuple[int, str]
) -> None:
    assert shards.refused(*words, "--yes") == expected
    assert shards.practice.operations() == []
    assert not shards.practice.open().placement.prepared()


def test_a_name_or_a_place_that_means_something_else(shards: Sharding) -> None:
    shards.cli("add", "large", "--collection", LARGE, "--yes")
    other = ("add", "large", "--collection", LARGE, "--capacity", "7", "--yes")
    assert shards.refused(*other) == (3, "shard_exists")
    taken = ("add", "second", "--collection", LARGE, "--yes")
    assert shards.refused(*taken) == (3, "shard_place_taken")
    body = {"vectors": {"size": 3, "distance": "Dot"}}
    shards.qdrant("PUT", "/collections/small", body)
    unlike = ("add", "third", "--collection", "small", "--create-like", "large", "--yes")
    assert shards.refused(*unlike) == (7, "collection_differs")
    assert [one["name"] for one in shards.cli("list")["shards"]] == ["large"]


def test_without_a_yes_nothing_changes(shards: Sharding) -> None:
    ran = shards.practice.cli("shard", "add", "large", "--collection", LARGE)
    assert ran.code != 0
    assert not shards.practice.open().placement.prepared()


@pytest.mark.parametrize("step", ["registry", "register", "collection", "check", "activate"])
def test_killed_anywhere_the_same_command_ends_it(shards: Sharding, step: str) -> None:
    words = ("add", "new", "--collection", "new", "--create-like", LARGE, "--yes")
    assert shards.practice.killed_at(f"step:{step}:after", "shard", *words)
    found = shards.cli("list")["shards"]
    assert [one["status"] for one in found] in ([], ["provisioning"], ["active"])
    assert shards.cli(*words)["shard"]["status"] == "active"
    with shards.practice.open().qdrant as server:
        made, model = server.collection("new"), server.collection(LARGE)
    assert made is not None
    assert model is not None
    assert made.payload_schema == model.payload_schema
