"""Points: JSON to the engine's types and back."""

import uuid
from collections.abc import Sequence
from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant import wire
from aeterna_cli.lab.qdrant.refusals import Refusal, bad_format, bad_request

PointId = int | str
ShardKey = str | int


def point_id(found: Any) -> PointId:
    """An unsigned 64-bit number or a UUID in its usual form; ``Refusal`` 400 for anything else."""
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 64:
        return found
    if isinstance(found, str):
        try:
            return str(uuid.UUID(found))
        except ValueError:
            pass
    raise bad_format(
        f"value {found} is not a valid point ID, valid values are either an unsigned integer "
        "or a UUID"
    )


def point_ids(found: Any) -> list[PointId]:
    if not isinstance(found, list):
        raise bad_format("points: expected a sequence of point IDs")
    return [point_id(one) for one in found]


def id_text(found: Any) -> PointId:
    """The engine gives UUID objects; the wire has text."""
    return found if isinstance(found, int) else str(found)


def id_order(found: PointId) -> tuple[int, int, str]:
    """Numbers before UUIDs, each by value: the order of a scroll."""
    return (0, found, "") if isinstance(found, int) else (1, 0, found)


def vector(found: Any) -> Any:
    if isinstance(found, dict):
        if found.keys() == {"indices", "values"}:
            return engine.SparseVector(found["indices"], found["values"])
        return {name: vector(one) for name, one in found.items()}
    if isinstance(found, list):
        return found
    raise bad_format("data did not match any variant of untagged enum VectorStruct")


def points_of(body: dict[str, Any]) -> list[tuple[PointId, Any, dict[str, Any] | None]]:
    """The points of an upsert as (id, vector, payload), from a list or a batch of columns."""
    if "batch" in body:
        return _columns(body["batch"])
    found = body.get("points")
    if not isinstance(found, list):
        raise bad_format("missing field `points`")
    if not found:
        raise Refusal(422, "Validation error in JSON body: [points: length 0 invalid]")
    return [(point_id(one["id"]), vector(one["vector"]), one.get("payload")) for one in found]


def _columns(batch: dict[str, Any]) -> list[tuple[PointId, Any, dict[str, Any] | None]]:
    ids = point_ids(batch["ids"])
    vectors = batch["vectors"]
    if isinstance(vectors, dict):
        names = list(vectors)
        rows: Sequence[Any] = [
            dict(zip(names, row, strict=True)) for row in zip(*vectors.values(), strict=True)
        ]
    else:
        rows = vectors
    payloads = batch.get("payloads") or [None] * len(ids)
    if not len(ids) == len(rows) == len(payloads):
        raise bad_request("number of ids, vectors and payloads differ")
    return [
        (one, vector(row), payload) for one, row, payload in zip(ids, rows, payloads, strict=True)
    ]


def payload_selector(found: Any) -> Any:
    """``with_payload``: a flag, a list of fields, or include/exclude."""
    if isinstance(found, list):
        return engine.PayloadSelector.Include(found)
    if isinstance(found, dict):
        if "include" in found:
            return engine.PayloadSelector.Include(found["include"])
        return engine.PayloadSelector.Exclude(found["exclude"])
    return bool(found)


def _vector_json(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _vector_json(one) for name, one in found.items()}
    if isinstance(found, engine.SparseVector):
        return {"indices": found.indices, "values": wire.float32(found.values)}
    if found and isinstance(found[0], list):
        return [wire.float32(one) for one in found]
    return wire.float32(found)


def record_json(record: Any, shard_key: ShardKey | None) -> dict[str, Any]:
    """One point of a scroll or retrieve."""
    document: dict[str, Any] = {"id": id_text(record.id), "payload": record.payload}
    if record.vector is not None:
        document["vector"] = _vector_json(record.vector)
    if shard_key is not None:
        document["shard_key"] = shard_key
    if getattr(record, "order_value", None) is not None:
        document["order_value"] = record.order_value
    return document


def scored_json(point: Any, shard_key: ShardKey | None) -> dict[str, Any]:
    """One hit of a query."""
    document = {"id": id_text(point.id), "version": point.version, "score": point.score}
    if point.payload is not None:
        document["payload"] = point.payload
    if point.vector is not None:
        document["vector"] = _vector_json(point.vector)
    if shard_key is not None:
        document["shard_key"] = shard_key
    return document
