"""The five ways in which the platform names collections, and the points of each: pure data.

Code search points are small and stand for chunks of source: what matters is the name of their
collection, which is a lossy form of the tenant's, and that no payload tells whose they are.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from aeterna_cli.lab.seed.tenants import (
    CROWD,
    DIMENSIONS,
    SHARED,
    Memory,
    Tenant,
    identifier,
    memories,
    vectors,
)

PROVIDER = 6  # older memories of a tenant that lie in the provider's default collection
BACKEND = 5  # memories of one tenant in a collection that is named by its id
CHUNKS = 12  # points of a code search collection
CODE_DIMENSIONS = 8
#: In the provider's default collection every so many points name their tenant in JSON text alone.
ONLY_IN_JSON = 3
INDEXES = {
    "tenant_id": {"type": "keyword", "is_tenant": True},
    "created_at": {"type": "integer", "lookup": True, "range": True},
    "layer": "keyword",
}
#: The first may be acme-corp's or acme_corp's; the second is the sidecar's and no tenant's.
CODE = ("codesearch_acme_corp_api", "codesearch_chunks")
#: The tenant with a collection of the per-tenant backend.
BACKEND_TENANT = "globex"


@dataclass(frozen=True)
class SeedCollection:
    """One collection; with shard keys it is sharded by them."""

    name: str
    size: int
    shard_keys: tuple[str, ...] = ()
    indexes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lot:
    """Points of one tenant (of nobody for None) in one place."""

    collection: str
    shard_key: str | None
    tenant: Tenant | None
    count: int


def collections(seed: int, everyone: Sequence[Tenant]) -> Iterator[SeedCollection]:
    inhabited = [tenant for tenant in everyone if not tenant.vacant]
    for name in dict.fromkeys([tenant.collection for tenant in inhabited] + [CROWD]):
        keys = tuple(t.shard_key for t in inhabited if t.collection == name and t.shard_key)
        yield SeedCollection(name, DIMENSIONS, keys, {} if name == CROWD else INDEXES)
    yield from (
        SeedCollection(backend_name(seed, tenant), DIMENSIONS)
        for tenant in inhabited
        if tenant.slug == BACKEND_TENANT
    )
    yield from (SeedCollection(name, CODE_DIMENSIONS) for name in CODE)


def backend_name(seed: int, tenant: Tenant) -> str:
    return f"aeterna_{tenant.id(seed)}"


def lots(seed: int, everyone: Sequence[Tenant]) -> Iterator[Lot]:
    for tenant in everyone:
        if tenant.vacant:
            continue
        count = tenant.memories + tenant.only_points
        yield Lot(tenant.collection, tenant.shard_key, tenant, count)
        if tenant.collection != CROWD:
            yield Lot(CROWD, None, tenant, min(PROVIDER, count))
        if tenant.slug == BACKEND_TENANT:
            yield Lot(backend_name(seed, tenant), None, tenant, min(BACKEND, count))
    yield from (Lot(name, None, None, CHUNKS) for name in CODE)


def points(seed: int, lot: Lot) -> Iterator[dict[str, Any]]:
    """The points of a lot as the REST API takes them."""
    if lot.tenant is None:
        yield from _chunks(seed, lot)
        return
    places = vectors(seed, lot.tenant, lot.count)
    remembered = islice(memories(seed, lot.tenant), lot.count)
    for number, (vector, memory) in enumerate(zip(places, remembered, strict=True)):
        own = lot.collection == lot.tenant.collection
        key = memory.id if own else str(identifier(seed, lot.tenant.slug, lot.collection, number))
        yield {
            "id": key,
            "vector": vector.tolist(),
            "payload": _payload(seed, lot, number, memory, key),
        }


def _payload(seed: int, lot: Lot, number: int, memory: Memory, key: str) -> dict[str, Any]:
    """The provider's payload: the layer is a quoted JSON string, the metadata JSON text. The
    per-tenant backend's is flat and names no tenant."""
    assert lot.tenant is not None  # noqa: S101 - only called for a tenant's lot
    second, tenant = int(memory.moment.timestamp()), lot.tenant.key(seed)
    common = {"content": memory.content, "created_at": second, "updated_at": second}
    if lot.tenant.slug == BACKEND_TENANT and lot.collection.startswith("aeterna_"):
        return {**common, "layer": memory.layer, "user_id": memory.user}
    payload = {
        "id": key,
        **common,
        "layer": json.dumps(memory.layer.capitalize()),
        "tenant_id": tenant,
        "metadata": json.dumps({"tenant_id": tenant, "user_id": memory.user}),
    }
    if lot.collection == CROWD and number % ONLY_IN_JSON == ONLY_IN_JSON - 1:
        del payload["tenant_id"]
    return payload


def _chunks(seed: int, lot: Lot) -> Iterator[dict[str, Any]]:
    for number in range(lot.count):
        spread = hashlib.blake2b(f"{seed}/{lot.collection}/{number}".encode(), digest_size=8)
        yield {
            "id": str(identifier(seed, lot.collection, number)),
            "vector": [byte / 255 + 0.01 for byte in spread.digest()],
            "payload": {"path": f"src/file_{number}.rs", "language": "rust", "line": number * 40},
        }


ALIASES = {"memories-current": SHARED, "large": "memories-large-corp"}
