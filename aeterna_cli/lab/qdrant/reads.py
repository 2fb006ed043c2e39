"""Reading points: over one shard or several, as one collection."""

from collections.abc import Sequence
from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.filters import filter_of
from aeterna_cli.lab.qdrant.points import (
    PointId,
    id_order,
    id_text,
    payload_selector,
    point_id,
    point_ids,
    record_json,
    scored_json,
    vector,
)
from aeterna_cli.lab.qdrant.refusals import bad_format, invalid
from aeterna_cli.lab.qdrant.shard import Shard
from aeterna_cli.lab.qdrant.strict import check_filter, check_limit
from aeterna_cli.lab.qdrant.versions import Version

_DIRECTIONS = {"asc": engine.Direction.Asc, "desc": engine.Direction.Desc}


def chosen(collection: Collection, body: dict[str, Any], version: Version) -> list[Shard]:
    return collection.read_shards(body.get("shard_key"), fallback=version.has("point_replication"))


def _limit(collection: Collection, body: dict[str, Any]) -> int:
    found = body.get("limit")
    limit = 10 if found is None else found
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise bad_format("limit: invalid type, expected usize")
    if limit < 1:
        raise invalid(f"limit: value {limit} invalid, must be 1 or larger")
    check_limit(collection.config, limit)
    return limit


def _order(body: dict[str, Any]) -> engine.OrderBy | None:
    found = body.get("order_by")
    if found is None:
        return None
    if isinstance(found, str):
        found = {"key": found}
    return engine.OrderBy(
        found["key"], _DIRECTIONS.get(found.get("direction") or "asc"), found.get("start_from")
    )


def scroll(
    collection: Collection, shards: Sequence[Shard], body: dict[str, Any], version: Version
) -> dict[str, Any]:
    """One page in the order of ids, a point that lies in several shards once."""
    limit = _limit(collection, body)
    order = _order(body)
    check_filter(collection, body.get("filter"), "unindexed_filtering_retrieve")
    offset = body.get("offset")
    request = engine.ScrollRequest(
        offset=None if offset is None else point_id(offset),
        limit=limit + (order is None),
        filter=filter_of(body.get("filter"), version),
        with_payload=payload_selector(body.get("with_payload", True)),
        with_vector=body.get("with_vector") or False,
        order_by=order,
    )
    found = [(record, shard) for shard in shards for record in shard.edge.scroll(request)[0]]
    if order is not None:
        downwards = isinstance(body["order_by"], dict) and (
            body["order_by"].get("direction") == "desc"
        )
        found.sort(key=lambda one: one[0].order_value, reverse=downwards)
    elif len(shards) > 1:
        unique = {id_text(record.id): (record, shard) for record, shard in found}
        found = [unique[one] for one in sorted(unique, key=id_order)]
    following = id_text(found[limit][0].id) if order is None and len(found) > limit else None
    points = [record_json(record, shard.key) for record, shard in found[:limit]]
    return {"points": points, "next_page_offset": following}


def count(
    collection: Collection, shards: Sequence[Shard], body: dict[str, Any], version: Version
) -> dict[str, int]:
    """A point that lies in several shards counts several times."""
    check_filter(collection, body.get("filter"), "unindexed_filtering_retrieve")
    condition = filter_of(body.get("filter"), version)
    exact = body.get("exact", True)
    return {"count": sum(shard.count(condition, exact=exact) for shard in shards)}


def retrieve(shards: Sequence[Shard], body: dict[str, Any]) -> list[dict[str, Any]]:
    """The points that are there, in the order asked."""
    ids = point_ids(body["ids"])
    found: dict[PointId, dict[str, Any]] = {}
    selector = payload_selector(body.get("with_payload", True))
    for shard in shards:
        for record in shard.edge.retrieve(list(ids), selector, body.get("with_vector") or False):
            found.setdefault(id_text(record.id), record_json(record, shard.key))
    return [found[one] for one in dict.fromkeys(ids) if one in found]


def query(
    collection: Collection, shards: Sequence[Shard], body: dict[str, Any], version: Version
) -> list[dict[str, Any]]:
    """Nearest neighbours of a vector, or just some points when there is no query."""
    limit = _limit(collection, body)
    check_filter(collection, body.get("filter"), "unindexed_filtering_retrieve")
    wanted = body.get("query")
    if isinstance(wanted, dict) and "indices" not in wanted:
        if wanted.keys() - {"nearest"}:
            raise bad_format("the lab answers nearest queries only")
        wanted = wanted["nearest"]
    request = engine.QueryRequest(
        limit=limit,
        query=None if wanted is None else engine.Query.Nearest(vector(wanted), body.get("using")),
        filter=filter_of(body.get("filter"), version),
        with_payload=payload_selector(body.get("with_payload", False)),
        with_vector=body.get("with_vector") or False,
    )
    found = [(point, shard) for shard in shards for point in shard.edge.query(request)]
    found.sort(key=lambda one: -one[0].score)
    unique: dict[PointId, dict[str, Any]] = {}
    for point, shard in found:
        unique.setdefault(id_text(point.id), scored_json(point, shard.key))
    return list(unique.values())[:limit]


def facet(
    shards: Sequence[Shard], body: dict[str, Any], version: Version
) -> dict[str, list[dict[str, Any]]]:
    """The values of an indexed field and how many points have each."""
    limit = body.get("limit") or 10
    request = engine.FacetRequest(
        body["key"],
        limit=limit,
        exact=bool(body.get("exact", False)),
        filter=filter_of(body.get("filter"), version),
    )
    total: dict[Any, int] = {}
    for shard in shards:
        for hit in shard.edge.facet(request).hits:
            total[hit.value] = total.get(hit.value, 0) + hit.count
    ordered = sorted(total.items(), key=lambda one: (-one[1], str(one[0])))
    return {"hits": [{"value": value, "count": number} for value, number in ordered[:limit]]}
