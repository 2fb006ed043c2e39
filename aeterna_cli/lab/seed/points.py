"""The seed in Qdrant: a shared collection with custom shard keys, and one collection per tenant."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import FailedError, TransientError
from aeterna_cli.lab.part import Place
from aeterna_cli.lab.qdrant_process import API_KEY
from aeterna_cli.lab.seed.tenants import DIMENSIONS, SHARED, Tenant, memories, vectors

if TYPE_CHECKING:
    import httpx

BATCH = 500
INDEXES = {
    "tenant_id": {"type": "keyword", "is_tenant": True},
    "created_at": {"type": "integer", "lookup": True, "range": True},
    "layer": "keyword",
}
ALIASES = {"memories-current": SHARED, "large": "memories-large-corp"}


def write(place: Place, seed: int, everyone: Sequence[Tenant]) -> int:
    """Every collection is made anew and filled; how many points there are."""
    import httpx

    headers = {"api-key": place.secrets.read(API_KEY) or ""}
    with httpx.Client(base_url=place.url("qdrant"), headers=headers, timeout=60) as client:
        for name in dict.fromkeys(tenant.collection for tenant in everyone):
            keys = [t.shard_key for t in everyone if t.collection == name and t.shard_key]
            _collection(client, name, keys)
        count = sum(_fill(client, seed, tenant) for tenant in everyone)
        actions = [
            {"create_alias": {"alias_name": alias, "collection_name": name}}
            for alias, name in ALIASES.items()
        ]
        _ask(client, "POST", "/collections/aliases", {"actions": actions})
    return count


def _collection(client: "httpx.Client", name: str, shard_keys: list[str]) -> None:
    _ask(client, "DELETE", f"/collections/{name}")
    body: dict[str, Any] = {
        "vectors": {"size": DIMENSIONS, "distance": "Cosine"},
        "on_disk_payload": True,
        "replication_factor": 1,
    }
    if shard_keys:
        body |= {"sharding_method": "custom", "shard_number": 1}
    _ask(client, "PUT", f"/collections/{name}", body)
    for key in shard_keys:
        _ask(client, "PUT", f"/collections/{name}/shards", {"shard_key": key})
    for field, schema in INDEXES.items():
        index = {"field_name": field, "field_schema": schema}
        _ask(client, "PUT", f"/collections/{name}/index?wait=true", index)


def _fill(client: "httpx.Client", seed: int, tenant: Tenant) -> int:
    count = tenant.memories + tenant.only_points
    batch: list[dict[str, Any]] = []
    for point in _points(seed, tenant, count):
        batch.append(point)
        if len(batch) == BATCH:
            _upsert(client, tenant, batch)
            batch = []
    if batch:
        _upsert(client, tenant, batch)
    return count


def _points(seed: int, tenant: Tenant, count: int) -> Iterator[dict[str, Any]]:
    """The platform's payload: the layer is a quoted JSON string, the metadata JSON text."""
    places = vectors(seed, tenant, count)
    key = str(tenant.id(seed))
    for vector, memory in zip(places, memories(seed, tenant), strict=False):
        second = int(memory.moment.timestamp())
        yield {
            "id": memory.id,
            "vector": vector.tolist(),
            "payload": {
                "id": memory.id,
                "content": memory.content,
                "layer": json.dumps(memory.layer.capitalize()),
                "created_at": second,
                "updated_at": second,
                "tenant_id": key,
                "metadata": json.dumps({"tenant_id": key, "user_id": memory.user}),
            },
        }


def _upsert(client: "httpx.Client", tenant: Tenant, batch: list[dict[str, Any]]) -> None:
    body: dict[str, Any] = {"points": batch}
    if tenant.shard_key:
        body["shard_key"] = tenant.shard_key
    _ask(client, "PUT", f"/collections/{tenant.collection}/points?wait=true", body)


def _ask(client: "httpx.Client", method: str, path: str, body: Any = None) -> None:
    import httpx
    import orjson

    content = orjson.dumps(body) if body is not None else None
    try:
        answer = client.request(
            method, path, content=content, headers={"content-type": "application/json"}
        )
    except httpx.TransportError as error:
        raise TransientError("lab_qdrant_unreachable", f"the lab's Qdrant: {error}") from error
    if answer.status_code not in (200, 202) and not (
        method == "DELETE" and answer.status_code == 404
    ):
        raise FailedError(
            "lab_seed_refused", f"{method} {path} was answered with {answer.status_code}"
        )
