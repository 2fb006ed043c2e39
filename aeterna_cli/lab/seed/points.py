"""The seed in Qdrant: every collection that a deployment has, made anew and filled."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import FailedError, TransientError
from aeterna_cli.lab.part import Place
from aeterna_cli.lab.qdrant_process import API_KEY
from aeterna_cli.lab.seed.point_shapes import (
    ALIASES,
    Lot,
    SeedCollection,
    collections,
    lots,
    points,
)
from aeterna_cli.lab.seed.tenants import Tenant

if TYPE_CHECKING:
    import httpx

BATCH = 500


def write(place: Place, seed: int, everyone: Sequence[Tenant]) -> int:
    """Every collection is made anew and filled; how many points there are."""
    import httpx

    headers = {"api-key": place.secrets.read(API_KEY) or ""}
    with httpx.Client(base_url=place.url("qdrant"), headers=headers, timeout=60) as client:
        for collection in collections(seed, everyone):
            _collection(client, collection)
        count = sum(_fill(client, seed, lot) for lot in _together(lots(seed, everyone)))
        actions = [
            {"create_alias": {"alias_name": alias, "collection_name": name}}
            for alias, name in ALIASES.items()
        ]
        _ask(client, "POST", "/collections/aliases", {"actions": actions})
    return count


def _collection(client: "httpx.Client", wanted: SeedCollection) -> None:
    name = wanted.name
    _ask(client, "DELETE", f"/collections/{name}")
    body: dict[str, Any] = {
        "vectors": {"size": wanted.size, "distance": "Cosine"},
        "on_disk_payload": True,
        "replication_factor": 1,
    }
    if wanted.shard_keys:
        body |= {"sharding_method": "custom", "shard_number": 1}
    _ask(client, "PUT", f"/collections/{name}", body)
    for key in wanted.shard_keys:
        _ask(client, "PUT", f"/collections/{name}/shards", {"shard_key": key})
    for field, schema in wanted.indexes.items():
        index = {"field_name": field, "field_schema": schema}
        _ask(client, "PUT", f"/collections/{name}/index?wait=true", index)


def _together(found: Iterator[Lot]) -> list[list[Lot]]:
    """Lots of one place, so that a thousand tenants with a few points each fill whole batches."""
    places: dict[tuple[str, str | None], list[Lot]] = {}
    for lot in found:
        places.setdefault((lot.collection, lot.shard_key), []).append(lot)
    return list(places.values())


def _fill(client: "httpx.Client", seed: int, place: list[Lot]) -> int:
    batch: list[dict[str, Any]] = []
    for lot in place:
        for point in points(seed, lot):
            batch.append(point)
            if len(batch) == BATCH:
                _upsert(client, lot, batch)
                batch = []
    if batch:
        _upsert(client, place[-1], batch)
    return sum(lot.count for lot in place)


def _upsert(client: "httpx.Client", lot: Lot, batch: list[dict[str, Any]]) -> None:
    body: dict[str, Any] = {"points": batch}
    if lot.shard_key:
        body["shard_key"] = lot.shard_key
    _ask(client, "PUT", f"/collections/{lot.collection}/points?wait=true", body)


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
