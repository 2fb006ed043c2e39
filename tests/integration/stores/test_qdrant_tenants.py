"""Whose the points are: exactly what the seed wrote, in every naming scheme, under every trap."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from aeterna_cli.datamap import rules
from aeterna_cli.datamap.collections import CollectionMap, classify_all
from aeterna_cli.errors import InterruptedByUser, TransientError
from aeterna_cli.lab import profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.point_shapes import BACKEND_TENANT, CODE, lots
from aeterna_cli.lab.seed.tenants import CROWD, SHARED
from aeterna_cli.stores.base.tenant_counts import CollectionCount, Counted
from aeterna_cli.stores.qdrant_http import QdrantHttp, part
from aeterna_cli.stores.qdrant_tenants import QdrantTenants
from tests.integration.stores.qdrant_server import LabQdrant, lab_qdrant
from tests.integration.stores.tenant_lab import EVERYONE, IDENTITIES, IDS, SEED, moments, written
from tests.unit.datamap.given_tenants import HOSTILE, NEIGHBOURS, one

pytestmark = pytest.mark.integration
RULES = rules.load()
KEYWORD = {"type": "keyword", "is_tenant": True}
INTEGER = {"type": "integer", "lookup": True, "range": True}
SINCE = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)


def of_tenants(count: CollectionCount) -> dict[str, int]:
    """Points by tenant id, whatever value names the tenant in the collection."""
    names = {value: one.id for one in IDENTITIES for value in one.values}
    found: dict[str, int] = {}
    for value, counted in count.by_tenant.items():
        found[names.get(value, value)] = found.get(names.get(value, value), 0) + counted.points
    return found


@pytest.fixture
def known(lab: Lab) -> Iterator[tuple[CollectionMap, QdrantTenants]]:
    settings = profile.build(lab.place()).qdrant
    tenants = QdrantTenants(settings)
    yield classify_all(tenants.outlines(), RULES, IDENTITIES), tenants
    tenants.close()


def test_what_the_seed_wrote_is_what_is_found(
    known: tuple[CollectionMap, QdrantTenants],
) -> None:
    collections, tenants = known
    counts = tenants.count(collections.questions(), since=SINCE)
    seeded = {lot.collection for lot in lots(SEED, EVERYONE)}
    assert seeded <= counts.keys()
    for name in seeded - set(CODE):
        wanted = {IDS[slug]: number for slug, number in written(name).items()}
        assert of_tenants(counts[name]) == wanted, name
        assert counts[name].nameless == Counted(0, 0)
    for name in seeded:
        recent = sum(found.recent for found in counts[name].by_tenant.values())
        made = [m for lot in lots(SEED, EVERYONE) if lot.collection == name for m in moments(lot)]
        assert recent == sum(moment >= SINCE.timestamp() for moment in made), name
    assert (counts[SHARED].method, counts[CROWD].method) == ("facet", "scroll")
    assert counts[f"aeterna_{IDS[BACKEND_TENANT]}"].method == "count"
    assert not {found.collection for found in collections.unclassified()} & seeded


def test_the_lossy_collections_of_the_lab_are_nobodys_for_certain(
    known: tuple[CollectionMap, QdrantTenants],
) -> None:
    collections, tenants = known
    meant, sidecar = (collections[name] for name in CODE)
    assert set(meant.tenants) == {IDS["acme-corp"], IDS["acme_corp"]}
    assert (sidecar.kind, sidecar.tenants) == ("codesearch", ())
    counts = tenants.count(collections.questions())
    assert {name: set(counts[name].by_tenant) for name in CODE} == {name: {""} for name in CODE}
    for tenant in IDENTITIES[:2]:
        (found,) = [s for s in collections.selections(tenant) if s.collection == CODE[0]]
        assert found.certain is False


class Scratch:
    """A Qdrant of the test's own."""

    def __init__(self, server: LabQdrant) -> None:
        self.server = server
        self.settings = server.client()._http._settings
        self.http = QdrantHttp(self.settings)

    def collection(self, name: str, *keys: str, indexes: bool = True, **config: object) -> None:
        body: dict[str, Any] = {"vectors": {"size": 4, "distance": "Dot"}, **config}
        if keys:
            body |= {"sharding_method": "custom", "shard_number": 1}
        self.http.call("PUT", f"/collections/{part(name)}", body)
        for key in keys:
            self.http.call("PUT", f"/collections/{part(name)}/shards", {"shard_key": key})
        if indexes:
            for field, schema in (("tenant_id", KEYWORD), ("created_at", INTEGER)):
                index = {"field_name": field, "field_schema": schema}
                self.http.call("PUT", f"/collections/{part(name)}/index?wait=true", index)

    def put(self, name: str, key: str | None, first: int, payloads: list[dict[str, Any]]) -> None:
        points = [
            {"id": str(UUID(int=first + n)), "vector": [1.0, 0, 0, n], "payload": payload}
            for n, payload in enumerate(payloads)
        ]
        body: dict[str, Any] = {"points": points}
        if key is not None:
            body["shard_key"] = key
        self.http.upsert(name, body)

    def count(
        self,
        name: str,
        *,
        most_values: int = 50_000,
        since: datetime | None = None,
        longer: datetime | None = None,
    ):  # type: ignore[no-untyped-def]
        tenants = QdrantTenants(self.settings, most_values=most_values)
        found = classify_all(tenants.outlines(), RULES, NEIGHBOURS)
        counts = tenants.count(found.questions(), since=since, longer=longer)
        tenants.close()
        return counts[name]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabQdrant]:
    with lab_qdrant(tmp_path_factory.mktemp("qdrant")) as started:
        yield started


@pytest.fixture
def scratch(server: LabQdrant) -> Iterator[Scratch]:
    made = Scratch(server)
    yield made
    for entry in made.http.call("GET", "/collections")["collections"]:
        made.http.call("DELETE", f"/collections/{part(entry['name'])}")
    made.http.close()


def payload(tenant: str | None, created: int = 0, inside: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"created_at": created, "content": "x" * 50}
    if tenant is not None:
        found["tenant_id"] = tenant
    if inside is not None:
        found["metadata"] = json.dumps({"tenant_id": inside, "user_id": "u"})
    return found


@pytest.mark.parametrize("indexes", [True, False])
def test_a_point_under_two_shard_keys_is_one_point(scratch: Scratch, indexes: bool) -> None:
    """As during a promotion inside a collection, until the old copy is deleted."""
    scratch.collection("memories-shared", "shared", "acme", indexes=indexes)
    scratch.put("memories-shared", "shared", 1, [payload("acme", n) for n in range(5)])
    scratch.put("memories-shared", "acme", 1, [payload("acme", n) for n in range(5)])
    scratch.put("memories-shared", "shared", 100, [payload("1"), payload(None, 9, "acme")])
    scratch.put("memories-shared", "acme", 101, [payload(None, 9, "acme")])
    found = scratch.count("memories-shared", since=datetime.fromtimestamp(3, UTC))
    assert found.by_tenant == {"acme": Counted(6, 3), "1": Counted(1, 0)}
    assert found.by_key == {
        "shared": {"acme": Counted(6, 3), "1": Counted(1, 0)},
        "acme": {"acme": Counted(6, 3)},
    }
    everything = scratch.http.call(
        "POST", "/collections/memories-shared/points/count", {"exact": True}
    )
    assert everything["count"] == 13, "the server counts those points twice: nothing is tested"
    assert found.points == 7


def test_a_shard_key_that_is_being_filled_is_not_asked(scratch: Scratch) -> None:
    """The server refuses to read it: counting goes on all the same, and does not count it."""
    scratch.collection("memories-shared", "shared")
    scratch.put("memories-shared", "shared", 1, [payload("acme") for _ in range(3)])
    body = {"shard_key": "acme", "shards_number": 1, "initial_state": "Partial"}
    scratch.http.call("PUT", "/collections/memories-shared/shards", body)
    with pytest.raises(TransientError), scratch.server.client() as client:
        client.describe()
    found = scratch.count("memories-shared")
    assert found.by_key == {"shared": {"acme": Counted(3, 0)}}
    assert found.by_tenant == {"acme": Counted(3, 0)}


def test_a_collection_of_one_tenant_under_two_keys(scratch: Scratch) -> None:
    scratch.collection("memories-acme", "old", "new")
    for key in ("old", "new"):
        scratch.put("memories-acme", key, 1, [payload("acme", n) for n in range(4)])
    found = scratch.count("memories-acme", since=datetime.fromtimestamp(2, UTC))
    assert found.by_tenant == {one("acme").id: Counted(4, 2)}
    assert {key: counted[one("acme").id] for key, counted in found.by_key.items()} == {
        "old": Counted(4, 2),
        "new": Counted(4, 2),
    }


@pytest.mark.parametrize("indexes", [True, False])
def test_a_tenant_inside_json_text_alone(scratch: Scratch, indexes: bool) -> None:
    scratch.collection("memory_embeddings", indexes=indexes)
    scratch.put(
        "memory_embeddings",
        None,
        1,
        [
            payload("acme"),
            payload("acme", inside="1"),  # the field goes before the text
            payload(None, inside="acme"),
            payload(None, inside="tenant-11"),
            payload(None),
            {"metadata": "no json"},
            {"metadata": {"tenant_id": "acme"}},
            {"tenant_id": None, "metadata": json.dumps([1])},
        ],
    )
    found = scratch.count("memory_embeddings")
    assert found.method == ("facet" if indexes else "scroll")
    assert {value: counted.points for value, counted in found.by_tenant.items()} == {
        "acme": 4,
        "tenant-11": 1,
    }
    assert found.nameless.points == 3


def test_more_values_than_a_facet_may_name_are_scrolled(scratch: Scratch) -> None:
    scratch.collection("memories-shared")
    scratch.put("memories-shared", None, 1, [payload(f"t{n % 6}", n) for n in range(30)])
    since = datetime.fromtimestamp(24, UTC)
    few = scratch.count("memories-shared", most_values=6, since=since)
    many = scratch.count("memories-shared", most_values=7, since=since)
    assert (few.method, many.method) == ("scroll", "facet")
    assert few.by_tenant == many.by_tenant == {f"t{n}": Counted(5, 1) for n in range(6)}


def test_hostile_and_neighbouring_values(scratch: Scratch) -> None:
    values = ["tenant-1", "tenant-11", "1", "11", HOSTILE, "acme-corp", "acme_corp"]
    scratch.collection("memories-shared", "a b", HOSTILE[:20])
    for index, key in enumerate(("a b", HOSTILE[:20])):
        scratch.put("memories-shared", key, 1 + 100 * index, [payload(value) for value in values])
    found = scratch.count("memories-shared")
    assert found.by_tenant == {value: Counted(2, 0) for value in values}


def test_strict_mode_limits_are_kept(scratch: Scratch) -> None:
    strict = {"enabled": True, "max_query_limit": 5, "unindexed_filtering_retrieve": False}
    scratch.collection("memories-shared", strict_mode_config=strict)
    scratch.put("memories-shared", None, 1, [payload(f"t{n % 7}") for n in range(21)])
    found = scratch.count("memories-shared")
    assert found.by_tenant == {f"t{n}": Counted(3, 0) for n in range(7)}


def test_strict_mode_without_an_index_on_the_time_is_no_obstacle(scratch: Scratch) -> None:
    """A tenant's own collection has no payload index, and a filter on the time would need one."""
    strict = {"enabled": True, "max_query_limit": 5, "unindexed_filtering_retrieve": False}
    scratch.collection("memories-acme-corp", indexes=False, strict_mode_config=strict)
    created = [{**payload("acme-corp"), "created_at": 1000 + n} for n in range(12)]
    scratch.put("memories-acme-corp", None, 1, created)
    moments = [datetime.fromtimestamp(1000 + n, tz=UTC) for n in (9, 2)]
    found = scratch.count("memories-acme-corp", since=moments[0], longer=moments[1])
    assert list(found.by_tenant.values()) == [Counted(12, 3, 10)]


@pytest.mark.parametrize("indexes", [True, False])
def test_two_moments_are_counted_in_one_pass(scratch: Scratch, indexes: bool) -> None:
    scratch.collection("memories-shared", indexes=indexes)
    for number, who in enumerate(("acme-corp", "globex")):
        created = [{**payload(who), "created_at": 1000 + n} for n in range(number, 12)]
        scratch.put("memories-shared", None, 1 + 100 * number, created)
    moments = [datetime.fromtimestamp(1000 + n, tz=UTC) for n in (9, 1)]
    found = scratch.count("memories-shared", since=moments[0], longer=moments[1])
    assert found.method == ("facet" if indexes else "scroll")
    assert found.by_tenant == {"acme-corp": Counted(12, 3, 11), "globex": Counted(11, 3, 11)}


def test_bytes_are_vectors_and_a_sample_of_the_payload(scratch: Scratch) -> None:
    scratch.collection("memories-shared")
    scratch.put("memories-shared", None, 1, [payload("acme") for _ in range(10)])
    text = json.dumps(payload("acme"), separators=(",", ":"))
    assert scratch.count("memories-shared").bytes_per_point == 4 * 4 + len(text)


def test_an_empty_collection_and_one_that_is_dropped(scratch: Scratch) -> None:
    scratch.collection("memories-shared")
    found = scratch.count("memories-shared")
    assert (found.by_tenant, found.points, found.bytes_per_point) == ({}, 0, 16)
    with scratch.server.client() as client:
        described = client.describe()
    scratch.http.call("DELETE", "/collections/memories-shared")
    questions = classify_all(described, RULES, NEIGHBOURS).questions()
    tenants = QdrantTenants(scratch.settings)
    assert tenants.count(questions) == {}
    tenants.close()


def test_a_stop_ends_the_scroll(scratch: Scratch) -> None:
    scratch.collection("memory_embeddings", indexes=False)
    scratch.put("memory_embeddings", None, 1, [payload("acme")])
    with scratch.server.client() as client:
        questions = classify_all(client.describe(), RULES, NEIGHBOURS).questions()
    tenants = QdrantTenants(scratch.settings)
    with pytest.raises(InterruptedByUser):
        tenants.count(questions, stop=lambda: True)
    tenants.close()
