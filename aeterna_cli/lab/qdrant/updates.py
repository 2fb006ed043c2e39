"""What a request changes: bodies of update requests to engine operations per shard."""

from collections.abc import Callable
from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.filters import filter_of
from aeterna_cli.lab.qdrant.points import PointId, point_ids, points_of
from aeterna_cli.lab.qdrant.refusals import bad_format, bad_request
from aeterna_cli.lab.qdrant.shard import Change, Shard
from aeterna_cli.lab.qdrant.strict import check_batch, check_filter
from aeterna_cli.lab.qdrant.versions import Version

Operation = engine.UpdateOperation
_MODES = {
    "upsert": engine.UpdateMode.Upsert,
    "insert_only": engine.UpdateMode.InsertOnly,
    "update_only": engine.UpdateMode.UpdateOnly,
}


def _rings(collection: Collection, body: dict[str, Any], version: Version) -> list[list[Shard]]:
    return collection.write_rings(body.get("shard_key"), fallback=version.has("point_replication"))


def upsert(collection: Collection, body: dict[str, Any], version: Version) -> list[Change]:
    """``update_filter`` and ``update_mode`` are ignored by versions that do not know them."""
    points = points_of(body)
    check_batch(collection.config, len(points))
    condition = mode = None
    if version.has("conditional_update"):
        condition = filter_of(body.get("update_filter"), version)
    if version.has("update_mode") and body.get("update_mode") is not None:
        if body["update_mode"] not in _MODES:
            raise bad_format(f"unknown variant `{body['update_mode']}` of update_mode")
        mode = _MODES[body["update_mode"]]
    changes = []
    for ring in _rings(collection, body, version):
        placed: dict[Shard, list[engine.Point]] = {}
        ids: dict[Shard, list[PointId]] = {}
        for number, vector, payload in points:
            shard = collection.place(ring, number)
            placed.setdefault(shard, []).append(engine.Point(number, vector, payload))
            ids.setdefault(shard, []).append(number)
        for shard, group in placed.items():
            changes.append(
                Change(shard, Operation.upsert_points(group, condition, mode), ids[shard])
            )
    return changes


def _selected(
    collection: Collection,
    body: dict[str, Any],
    version: Version,
    by_ids: Callable[[list[Any]], Operation],
    by_filter: Callable[[engine.Filter], Operation],
) -> list[Change]:
    """An operation on points named by id (each in its shard) or by filter (in all shards)."""
    rings = _rings(collection, body, version)
    if body.get("points") is not None:
        ids = point_ids(body["points"])
        changes = []
        for ring in rings:
            groups: dict[Shard, list[Any]] = {}
            for one in ids:
                groups.setdefault(collection.place(ring, one), []).append(one)
            changes += [Change(shard, by_ids(group), group) for shard, group in groups.items()]
        return changes
    if body.get("filter") is None:
        raise bad_request("No filter or points specified")
    condition = filter_of(body["filter"], version) or engine.Filter()
    check_filter(collection, body["filter"], "unindexed_filtering_update")
    return [Change(shard, by_filter(condition), None) for ring in rings for shard in ring]


def delete(collection: Collection, body: dict[str, Any], version: Version) -> list[Change]:
    return _selected(
        collection, body, version, Operation.delete_points, Operation.delete_points_by_filter
    )


def set_payload(collection: Collection, body: dict[str, Any], version: Version) -> list[Change]:
    payload, key = body["payload"], body.get("key")
    return _selected(
        collection,
        body,
        version,
        lambda ids: Operation.set_payload(ids, payload, key),
        lambda condition: Operation.set_payload_by_filter(condition, payload, key),
    )


def overwrite_payload(
    collection: Collection, body: dict[str, Any], version: Version
) -> list[Change]:
    payload = body["payload"]
    return _selected(
        collection,
        body,
        version,
        lambda ids: Operation.overwrite_payload(ids, payload),
        lambda condition: Operation.overwrite_payload_by_filter(condition, payload),
    )


def delete_payload(collection: Collection, body: dict[str, Any], version: Version) -> list[Change]:
    keys = body["keys"]
    return _selected(
        collection,
        body,
        version,
        lambda ids: Operation.delete_payload(ids, keys),
        lambda condition: Operation.delete_payload_by_filter(condition, keys),
    )


def clear_payload(collection: Collection, body: dict[str, Any], version: Version) -> list[Change]:
    return _selected(
        collection, body, version, Operation.clear_payload, Operation.clear_payload_by_filter
    )


BY_NAME: dict[str, Callable[[Collection, dict[str, Any], Version], list[Change]]] = {
    "upsert": upsert,
    "delete": delete,
    "set_payload": set_payload,
    "overwrite_payload": overwrite_payload,
    "delete_payload": delete_payload,
    "clear_payload": clear_payload,
}
