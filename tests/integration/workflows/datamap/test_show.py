"""``datamap show``: every table of the platform as our notes of it say."""

import pytest

from aeterna_cli.lab.seed.tenants import HOSTILE
from tests.integration.datamap_facts import facts, names, scope
from tests.integration.deployment import Practice
from tests.integration.stores.tenant_lab import IDS

pytestmark = pytest.mark.integration


def test_all_tables_are_classified_as_they_are(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "show").data
    known = facts()
    assert len(known) == 63
    assert data["unclassified"] == []
    assert {one["table"]: one["scope"] for one in data["tables"]} == {
        table: scope(row) for table, row in known.items()
    }
    assert sorted(data["insert_order"]) == sorted(known)
    assert data["insert_order"][0] == "tenants"
    assert data["select_first"] == ["users"]


def test_keys_and_persons_are_as_the_notes_say(practice: Practice) -> None:
    tables = {one["table"]: one for one in practice.cli.ok("datamap", "show").data["tables"]}
    for table, row in facts().items():
        one = tables[table]
        key = [name.strip().strip('"') for name in row["pk"].strip("()").split(",")]
        assert one["primary_key"] == key, table
        about = {subject["column"] for subject in one["subjects"]}
        told, documents = names(row["subject_columns"]), names(row["jsonb"])
        assert told <= about, table
        assert about - told <= documents, table
        whole = {subject["column"] for subject in one["subjects"] if not subject["path"]}
        assert whole == told, table
        security = {"-": "off", "on": "on", "FORCE": "forced"}[row["rls"]]
        assert one["row_security"] == security, table


def test_parents_are_filled_before_their_children(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "show").data
    place = {table: number for number, table in enumerate(data["insert_order"])}
    checked = 0
    for one in data["tables"]:
        for key in one["foreign_keys"]:
            parent = key.partition(" -> ")[2].partition(" ")[0]
            if parent != one["table"]:
                assert place[parent] < place[one["table"]]
                checked += 1
    assert checked >= 35


@pytest.mark.parametrize("form", ["table", "csv", "ndjson"])
def test_one_table_with_everything_known_of_it(practice: Practice, form: str) -> None:
    said = practice.cli.ok("datamap", "show", "--table", "users", "-o", form).out
    for text in ("memberships.user_id", "default_tenant_id", "email", "audit_users"):
        assert text in said
    assert "device_id" not in said  # of another table


def test_every_collection_is_told_with_what_its_points_are_found_by(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "show", "--store", "qdrant").data
    assert (data["tables"], data["keys"], data["objects"]) == ([], [], [])
    found = {one["collection"]: one for one in data["collections"]}
    shared = found["memories-shared"]
    assert (shared["kind"], shared["field"], shared["json"], shared["certain"]) == (
        "shared", "tenant_id", "metadata.tenant_id", True,
    )  # fmt: skip
    assert shared["shard_keys"] == ["acme-corp", "acme_corp", "globex"]
    assert (found["memory_embeddings"]["indexed"], shared["indexed"]) == (False, True)
    assert found["memories-large-corp"]["tenants"] == [IDS["large-corp"]]
    ours = found.pop("aeterna_ops_marker", None)  # there as soon as somebody has made a backup
    assert ours is None or ours["kind"] == "ours"
    assert {one["kind"] for one in found.values()} == {"shared", "tenant", "codesearch"}
    doubted = {name for name, one in found.items() if not one["certain"]}
    assert doubted == {"codesearch_acme_corp_api", "codesearch_chunks"}


def test_every_shape_of_key_and_object_is_told(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "show").data
    keys = {one["name"]: one for one in data["keys"]}
    token = keys["refresh token"]
    assert (token["holder"], token["index"]) == (
        "value: tenant_id, tenantId", "aeterna:refresh_tokens:__index",
    )  # fmt: skip
    assert (keys["embedding cache"]["holder"], keys["embedding cache"]["ttl"]) == ("name", "24h")
    assert keys["embedding cache"]["rebuildable"]
    assert keys["tenant changed"]["what"] == "channel"
    assert keys["operations"]["holder"] == "ours"
    objects = {one["name"]: one for one in data["objects"]}
    assert objects["graph"]["prefixes"] == ["graph/{tenant}/"]
    text = practice.cli.ok("datamap", "show", "-o", "table").out
    for name in ("memory_entries", "memories-shared", "emb:{tenant}:{model}:{hash}", "graph/"):
        assert name in text


@pytest.mark.parametrize("tenant", ["acme-corp", HOSTILE])
def test_of_one_tenant_only_what_may_have_its_data(practice: Practice, tenant: str) -> None:
    data = practice.cli.ok("datamap", "show", "--tenant", tenant).data
    identifier = IDS[tenant]
    assert data["tenant"] == identifier
    for one in data["collections"]:
        assert one["kind"] == "shared" or identifier in one["tenants"]
    keys = {one["name"]: one for one in data["keys"]}
    assert set(keys["embedding cache"]["patterns"]) == {
        f"emb:{value}:{{model}}:{{hash}}" for value in (identifier, tenant)
    }
    assert "oauth state" not in keys
    objects = {one["name"]: one for one in data["objects"]}
    assert set(objects["graph"]["prefixes"]) == {f"graph/{identifier}/", f"graph/{tenant}/"}
    assert "codesearch_indexer_shards" not in {one["table"] for one in data["tables"]}


def test_another_store_has_no_tables(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "show", "--store", "redis").data
    assert (data["tables"], data["collections"], data["objects"]) == ([], [], [])
    assert data["keys"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--table", "userz"), "table_unknown"),
        (("--table", "'; DROP TABLE users; --"), "table_unknown"),
        (("--store", "oracle"), "store_unknown"),
        (("--store", "redis", "--table", "users"), "table_without_postgres"),
    ],
)
def test_what_is_not_there_is_wrong_usage(
    practice: Practice, words: tuple[str, ...], code: str
) -> None:
    ran = practice.cli("datamap", "show", *words)
    assert (ran.code, ran.error["code"]) == (2, code)
    if "userz" in words:
        assert "users" in ran.error["hint"]
