"""What a Qdrant collection is, and how a tenant's points in it are selected."""

from typing import Any

import pytest
from hypothesis import given

from aeterna_cli.datamap import rules
from aeterna_cli.datamap.collections import CollectionMap, classify_all, lossy, parse
from aeterna_cli.errors import UsageError
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardDescription, ShardReplica
from aeterna_cli.stores.base.tenants import TenantIdentity
from tests.unit.datamap.given_tenants import HOSTILE, NEIGHBOURS, one, slugs, tenant

SHIPPED = rules.load()
KEYWORD = {"tenant_id": {"data_type": "keyword"}, "created_at": {"data_type": "integer"}}


def described(
    name: str, schema: dict[str, Any] | None = None, keys: tuple[str, ...] = ()
) -> CollectionDescription:
    params: dict[str, Any] = {"vectors": {"size": 4, "distance": "Cosine"}}
    if keys:
        params["sharding_method"] = "custom"
    replicas = (ShardReplica("1", "Active"),)
    shards = tuple(ShardDescription(n, key, True, replicas) for n, key in enumerate(keys))
    return CollectionDescription(name, {"params": params}, schema or {}, (), shards, 0, "green")


def known(
    *collections: CollectionDescription, tenants: tuple[TenantIdentity, ...] = NEIGHBOURS
) -> CollectionMap:
    return classify_all(collections, SHIPPED, tenants)


@pytest.mark.parametrize(
    ("name", "kind", "owners"),
    [
        ("memory_embeddings", "shared", []),
        ("memories-shared", "shared", []),
        ("memories-acme-corp", "tenant", ["acme-corp"]),
        ("memories-acme_corp", "tenant", ["acme_corp"]),
        ("aeterna_tenant-1", "tenant", ["tenant-1"]),
        ("aeterna_tenant-11", "tenant", ["tenant-11"]),
        (f"aeterna_{HOSTILE}", "tenant", [HOSTILE]),
        (f"memories-{one('1').id}", "tenant", ["1"]),
        ("aeterna_ops_marker", "ours", []),
        ("aeterna_removed", "unknown", []),
        ("memories-", "unclassified", []),
        ("something", "unclassified", []),
        ("codesearch_acme_corp_api", "codesearch", ["acme-corp", "acme_corp", "acme"]),
        ("codesearch_acme_api", "codesearch", ["acme"]),
        ("codesearch_tenant_11_api", "codesearch", ["tenant-11"]),
        ("codesearch_tenant_1", "codesearch", []),
        ("codesearch_sidecar", "codesearch", []),
    ],
)
def test_every_naming_scheme(name: str, kind: str, owners: list[str]) -> None:
    (found,) = known(described(name)).classes
    assert found.kind == kind
    assert set(found.tenants) == {one(slug).id for slug in owners}


@given(slugs)
def test_a_collection_of_a_tenant_is_its_own(slug: str) -> None:
    mine = tenant(slug)
    everyone = (*NEIGHBOURS, mine)
    for name in (f"aeterna_{mine.id}", f"memories-{mine.id}"):
        (found,) = known(described(name), tenants=everyone).classes
        assert (found.kind, found.tenants) == ("tenant", (mine.id,))
    (code,) = known(described(f"codesearch_{lossy(slug)}_repo"), tenants=everyone).classes
    assert mine.id in code.tenants


@pytest.mark.parametrize(
    ("written", "lossily"),
    [("Acme-Corp", "acme_corp"), ("Acme Corp", "acme_corp"), ("ÄB.c", "äb.c"), ("a__b", "a__b")],
)
def test_the_lossy_name_is_the_platforms(written: str, lossily: str) -> None:
    assert lossy(written) == lossily


def test_the_platforms_own_names_are_no_tenants() -> None:
    """A tenant called ``shared`` or ``ops_marker`` owns nothing by that."""
    everyone = (tenant("shared"), tenant("ops_marker"))
    found = known(described("memories-shared"), described("aeterna_ops_marker"), tenants=everyone)
    assert [one.kind for one in found.classes] == ["shared", "ours"]
    assert all(one.tenants == () for one in found.classes)


def test_an_unknown_name_with_an_index_on_the_tenant_is_shared() -> None:
    (found,) = known(described("dedicated-1", KEYWORD)).classes
    assert (found.kind, found.field, found.indexed) == ("shared", "tenant_id", True)


def test_a_tenants_selections() -> None:
    mine = one("acme-corp")
    found = known(
        described("memory_embeddings"),
        described("memories-shared", KEYWORD, ("acme-corp", "shared")),
        described("aeterna_acme-corp"),
        described("aeterna_acme_corp"),
        described("codesearch_acme_corp_api"),
        described("memories-gone"),
    ).selections(mine)
    provider, shared, own, code = found
    assert provider.condition() == {
        "must": [{"key": "tenant_id", "match": {"any": [mine.id, "acme-corp"]}}]
    }
    assert provider.unfiltered() == {"must": [{"is_empty": {"key": "tenant_id"}}]}
    assert (provider.json_field, provider.json_path) == ("metadata", "tenant_id")
    assert shared.shard_keys == ("acme-corp", "shared")
    assert (own.collection, own.whole, own.certain) == ("aeterna_acme-corp", True, True)
    assert own.condition() is None
    assert own.unfiltered() is None
    assert (code.whole, code.certain) == (True, False)


def test_a_code_search_collection_of_one_tenant_is_never_certain() -> None:
    """It may be another's that was removed: a name alone allows no deletion."""
    (found,) = known(described("codesearch_tenant_11_api")).selections(one("tenant-11"))
    assert found.certain is False


def test_what_nobody_knows_is_listed() -> None:
    found = known(described("something"), described("aeterna_removed"), described("aeterna_1"))
    assert [one.collection for one in found.unclassified()] == ["something", "aeterna_removed"]
    assert [one.kind for one in found.classes] == ["unclassified", "unknown", "tenant"]


def test_a_collection_that_a_shard_lies_in_is_told_apart_by_payload() -> None:
    names = ("dedicated-1", "aeterna_removed", "memories-shared", "aeterna_1")
    found = classify_all([described(name) for name in names], SHIPPED, NEIGHBOURS, names)
    assert [(one.kind, one.field) for one in found.classes] == [
        ("shared", "tenant_id"), ("shared", "tenant_id"), ("shared", "tenant_id"),
        ("tenant", "tenant_id"),
    ]  # fmt: skip


def test_a_word_in_a_pattern_is_any_text() -> None:
    """Collections have no separator; two open parts side by side would be a guess."""
    rule = {"name": "years", "pattern": "t-{year}", "kind": "infrastructure"}
    (found,) = classify_all([described("t-20:26 x")], {"collection": [rule]}, ()).classes
    assert found.kind == "infrastructure"
    with pytest.raises(UsageError):
        parse({"collection": [{**rule, "pattern": "t-{year}-{month}"}]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "mine"},
        {"kind": "tenant", "pattern": "aeterna"},
        {"kind": "shared", "pattern": "a_{tenant}"},
        {"kind": "shared", "json": "metadata"},
        {"kind": "shared", "fields": "tenant_id"},
    ],
)
def test_a_malformed_rule_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError) as refused:
        parse({"collection": [{"name": "it", "pattern": "memories", **wrong}]})
    assert refused.value.code == "rules_invalid"
