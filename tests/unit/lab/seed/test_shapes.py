"""What the seed puts into Qdrant, Redis and S3: the same for the same seed, each thing once."""

import json
from collections import Counter
from itertools import islice

import pytest

from aeterna_cli.lab.seed.key_shapes import SeedKey, seed_keys
from aeterna_cli.lab.seed.objects import seed_objects
from aeterna_cli.lab.seed.point_shapes import BACKEND_TENANT, CODE, collections, lots, points
from aeterna_cli.lab.seed.tenants import CROWD, HOSTILE, SHARED, tenants

EVERYONE = tenants(0.05, extra=30)
SLUGS = {tenant.slug for tenant in EVERYONE}


def test_keys_are_the_same_and_each_is_there_once() -> None:
    first = list(seed_keys(1, EVERYONE))
    assert first == list(seed_keys(1, EVERYONE))
    assert max(Counter(key.name for key in first).values()) == 1
    assert {key.name for key in first} != {key.name for key in seed_keys(2, EVERYONE)}
    owners = {slug for key in first for slug in key.tenants}
    assert SLUGS - owners == {"vacant-ltd"}


def _with(*, tenants: int, prefix: str) -> list[SeedKey]:
    return [
        key
        for key in seed_keys(1, EVERYONE)
        if len(key.tenants) == tenants and key.name.startswith(prefix)
    ]


def test_records_are_json_with_an_index() -> None:
    (shared,) = _with(tenants=2, prefix="aeterna:git_provider_connections:")
    assert isinstance(shared.value, str)
    assert len(json.loads(shared.value)["allowed_tenant_ids"]) == 2
    for key in seed_keys(1, EVERYONE):
        record = key.name.count(":") == 2 and key.index is not None
        assert not record or key.index == key.name.rsplit(":", 1)[0] + ":__index"


def test_a_hostile_tenant_is_named_by_its_slug_in_keys() -> None:
    assert f"governance:events:{HOSTILE}:{HOSTILE}" in {k.name for k in seed_keys(1, EVERYONE)}


@pytest.mark.parametrize("seed", [1, 7])
def test_points_of_every_lot_are_there_once(seed: int) -> None:
    made = {one.name: one for one in collections(seed, EVERYONE)}
    assert {SHARED, CROWD, "memories-large-corp", "aeterna_initech", *CODE} <= made.keys()
    assert made[CROWD].indexes == {}
    seen: set[tuple[str, str]] = set()
    for lot in lots(seed, EVERYONE):
        assert lot.shard_key is None or lot.shard_key in made[lot.collection].shard_keys
        found = list(points(seed, lot))
        assert len(found) == lot.count
        assert all(len(point["vector"]) == made[lot.collection].size for point in found)
        places = {(lot.collection, point["id"]) for point in found}
        assert len(places) == lot.count
        assert not places & seen
        seen |= places


def test_some_points_name_their_tenant_in_json_text_alone() -> None:
    lot = next(one for one in lots(1, EVERYONE) if one.collection == CROWD and one.count > 3)
    assert lot.tenant is not None
    payloads = [point["payload"] for point in points(1, lot)]
    assert 0 < sum("tenant_id" not in payload for payload in payloads) < len(payloads)
    assert {json.loads(one["metadata"])["tenant_id"] for one in payloads} == {lot.tenant.key(1)}
    assert all(json.loads(one["layer"]) for one in payloads)


def test_the_backends_payload_is_flat() -> None:
    lot = next(
        one
        for one in lots(1, EVERYONE)
        if one.tenant and one.tenant.slug == BACKEND_TENANT and one.collection[:8] == "aeterna_"
    )
    (payload, *_) = [point["payload"] for point in islice(points(1, lot), 1)]
    assert payload.keys().isdisjoint({"tenant_id", "metadata"})


def test_objects_are_the_same_and_each_is_there_once() -> None:
    first = list(seed_objects(1, EVERYONE))
    assert first == list(seed_objects(1, EVERYONE))
    assert len({one.key for one in first}) == len(first)
    assert SLUGS - {one.tenant for one in first} == {"vacant-ltd"}
    assert not any("\\" in one.key for one in first)
    assert {json.loads(one.body)["tenant"] for one in first} == {one.tenant for one in first}
