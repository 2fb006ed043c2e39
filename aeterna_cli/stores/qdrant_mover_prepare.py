"""Making the place that a tenant moves to: collection, payload indexes; and what must be equal."""

from collections.abc import Callable, Mapping
from typing import Any

from aeterna_cli.errors import AeternaError, RefusedError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.qdrant import CollectionDescription
from aeterna_cli.stores.qdrant_http import QdrantHttp, part
from aeterna_cli.stores.qdrant_restore import WAIT, creation

#: Called with the kind and the name of what will be made, before it is.
Record = Callable[[str, str], None]


def collection_facts(http: QdrantHttp, name: str) -> dict[str, Any] | None:
    """The server's ``config`` and ``payload_schema`` of a collection; None where it is not."""
    try:
        found = http.call("GET", f"/collections/{part(name)}")
    except AeternaError as error:
        if error.details.get("status") == 404:
            return None
        raise
    return {"config": found["config"], "payload_schema": found.get("payload_schema") or {}}


def refuse_other_vectors(source: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """``RefusedError('vectors_differ')`` unless both configurations hold the same vectors.

    Size, distance, data type and names must be equal: the move is byte for byte. How they are
    indexed or compressed may differ.
    """
    ours, theirs = _vectors(source), _vectors(target)
    if ours != theirs:
        raise RefusedError(
            "vectors_differ",
            f"the target's vectors are {_told(theirs)}, the source's {_told(ours)}",
            hint="a move copies vectors as they are: the target must have the same size, distance"
            " and names",
            details={"source": ours, "target": theirs},
        )


def _vectors(config: Mapping[str, Any]) -> dict[str, Any]:
    parameters = config.get("params") or {}
    dense = parameters.get("vectors") or {}
    named = {"": dense} if "size" in dense else dense
    found: dict[str, Any] = {
        name: {
            "size": one["size"],
            "distance": one["distance"],
            "datatype": one.get("datatype") or "float32",
            "multivector": one.get("multivector_config") is not None,
        }
        for name, one in named.items()
    }
    found.update({name: {"sparse": True} for name in parameters.get("sparse_vectors") or {}})
    return dict(sorted(found.items()))


def _told(vectors: Mapping[str, Any]) -> str:
    each = [
        (f"{name}: " if name else "")
        + ("sparse" if one.get("sparse") else f"{one['size']} {one['distance']} {one['datatype']}")
        for name, one in vectors.items()
    ]
    return ", ".join(each) or "none"


def wanted_indexes(
    source_schema: Mapping[str, Any], field: str | None, updated_at: Any
) -> dict[str, Any]:
    """The payload indexes that the target needs: the source's, and what the move filters by.

    ``updated_at`` is a sample, which says what kind of index it wants; None for none.
    """
    wanted: dict[str, Any] = {
        name: one.get("params") or one["data_type"] for name, one in source_schema.items()
    }
    if field is not None:
        wanted.setdefault(field, {"type": "keyword", "is_tenant": True})
    if updated_at is not None:
        wanted.setdefault("version", {"type": "integer", "lookup": False, "range": True})
        kind = "datetime" if isinstance(updated_at, str) else "float"
        if isinstance(updated_at, int):
            kind = "integer"
        wanted.setdefault("updated_at", kind)
    return wanted


def refuse_other_indexes(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """``RefusedError('payload_index_differs')`` where a field is indexed as another type."""
    for name, schema in wanted.items():
        kind = schema if isinstance(schema, str) else schema["type"]
        found = present.get(name)
        if found is not None and found["data_type"] != kind:
            raise RefusedError(
                "payload_index_differs",
                f"the target indexes `{name}` as {found['data_type']}, the source as {kind}",
                hint="the application's filters would behave differently after the move",
                details={"field": name, "source": kind, "target": found["data_type"]},
            )


def make_target(
    settings: QdrantSettings,
    collection: str,
    source_config: Mapping[str, Any],
    indexes: Mapping[str, Any],
    record: Record,
) -> None:
    """The collection and its indexes are there when this returns; may be repeated.

    What has to be made is told to ``record`` first, so that a crash leaves nothing unknown. An
    existing collection keeps its configuration and gets the indexes that it lacks.
    """
    http = QdrantHttp(settings)
    try:
        found = collection_facts(http, collection)
        if found is None:
            record("collection", collection)
            description = CollectionDescription(
                collection, dict(source_config), {}, (), (), 0, "green"
            )
            body = creation(description)
            body.pop("sharding_method", None)
            http.call("PUT", f"/collections/{part(collection)}", body)
            found = collection_facts(http, collection) or {"payload_schema": {}}
        else:
            refuse_other_vectors(source_config, found["config"])
            refuse_other_indexes(found["payload_schema"], indexes)
        for name, schema in sorted(indexes.items()):
            if name not in found["payload_schema"]:
                record("index", name)
                body = {"field_name": name, "field_schema": schema}
                http.call("PUT", f"/collections/{part(collection)}/index", body, params=WAIT)
    finally:
        http.close()


def drop_index(settings: QdrantSettings, collection: str, field: str) -> None:
    """The index is not there when this returns."""
    http = QdrantHttp(settings)
    try:
        if collection_facts(http, collection) is not None:
            path = f"/collections/{part(collection)}/index/{part(field)}"
            http.call("DELETE", path, params=WAIT)
    finally:
        http.close()


def drop_empty_collection(settings: QdrantSettings, collection: str) -> bool:
    """Delete a collection without points; whether it is gone. One with points stays."""
    http = QdrantHttp(settings)
    try:
        if collection_facts(http, collection) is None:
            return True
        path = f"/collections/{part(collection)}"
        if int(http.call("POST", f"{path}/points/count", {"exact": True})["count"]):
            return False
        http.call("DELETE", path)
        return True
    finally:
        http.close()
