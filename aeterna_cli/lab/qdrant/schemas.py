"""What a collection is made of: its configuration, checked, and what the engine needs of it."""

from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant.refusals import bad_format, bad_input, invalid
from aeterna_cli.lab.qdrant.versions import Version

_DISTANCES = {
    "Cosine": engine.Distance.Cosine,
    "Dot": engine.Distance.Dot,
    "Euclid": engine.Distance.Euclid,
    "Manhattan": engine.Distance.Manhattan,
}
_DATATYPES = {
    "float32": engine.VectorStorageDatatype.Float32,
    "float16": engine.VectorStorageDatatype.Float16,
    "uint8": engine.VectorStorageDatatype.Uint8,
}
_HNSW = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
_OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 20000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
}
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0}
_INDEX_KINDS = {
    "keyword": engine.KeywordIndexParams,
    "integer": engine.IntegerIndexParams,
    "float": engine.FloatIndexParams,
    "bool": engine.BoolIndexParams,
    "datetime": engine.DatetimeIndexParams,
    "uuid": engine.UuidIndexParams,
    "geo": engine.GeoIndexParams,
    "text": engine.TextIndexParams,
}
_INDEX_OPTIONS = {
    "keyword": {"is_tenant", "on_disk", "enable_hnsw"},
    "integer": {"lookup", "range", "is_principal", "on_disk", "enable_hnsw"},
    "float": {"is_principal", "on_disk", "enable_hnsw"},
    "datetime": {"is_principal", "on_disk", "enable_hnsw"},
    "uuid": {"is_tenant", "on_disk", "enable_hnsw"},
    "bool": {"on_disk", "enable_hnsw"},
    "geo": {"on_disk", "enable_hnsw"},
    "text": {"min_token_len", "max_token_len", "lowercase", "phrase_matching", "on_disk"},
}
_PARAMETERS = ("replication_factor", "write_consistency_factor", "read_fan_out_factor")


def new_config(body: dict[str, Any], version: Version) -> dict[str, Any]:
    """The configuration of a new collection with the server's defaults filled in.

    The shape is the one that ``GET /collections/{name}`` shows. What the imitated version does
    not know is dropped without a word, as the server does.
    """
    method = body.get("sharding_method") or "auto"
    if method not in ("auto", "custom"):
        raise bad_format(f"unknown variant `{method}`, expected `auto` or `custom`")
    parameters: dict[str, Any] = {
        "vectors": _vectors(body.get("vectors", {})),
        "shard_number": _positive(body, "shard_number", 1),
        "replication_factor": _positive(body, "replication_factor", 1),
        "write_consistency_factor": _positive(body, "write_consistency_factor", 1),
        "on_disk_payload": body.get("on_disk_payload", True),
    }
    if method == "custom":
        parameters["sharding_method"] = "custom"
    if body.get("sparse_vectors"):
        parameters["sparse_vectors"] = body["sparse_vectors"]
    config = {
        "params": parameters,
        "hnsw_config": {**_HNSW, **(body.get("hnsw_config") or {})},
        "optimizer_config": {**_OPTIMIZER, **(body.get("optimizers_config") or {})},
        "wal_config": {**_WAL, **(body.get("wal_config") or {})},
        "quantization_config": body.get("quantization_config"),
    }
    if version.has("strict_mode"):
        config["strict_mode_config"] = {"enabled": False, **(body.get("strict_mode_config") or {})}
    if version.has("collection_metadata") and body.get("metadata"):
        config["metadata"] = body["metadata"]
    return config


def _positive(body: dict[str, Any], name: str, default: int) -> int:
    found = body.get(name)
    if found is None:
        return default
    if not isinstance(found, int) or isinstance(found, bool):
        raise bad_format(f"{name}: invalid type, expected a number")
    if found < 1:
        raise bad_format(f"{name}: invalid value: integer `{found}`, expected a nonzero u32")
    return found


def _vectors(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise bad_format("data did not match any variant of untagged enum VectorsConfig")
    for one in [found] if "size" in found else found.values():
        size = one.get("size") if isinstance(one, dict) else None
        if not isinstance(size, int) or one.get("distance") not in _DISTANCES:
            raise bad_format("data did not match any variant of untagged enum VectorsConfig")
        if not 1 <= size <= 65536:
            raise invalid(f"vectors.size: value {size} invalid, must be from 1 to 65536")
        if one.get("datatype") not in (None, *_DATATYPES):
            raise bad_format(f"unknown datatype `{one['datatype']}`")
    return found


def update_config(config: dict[str, Any], body: dict[str, Any], version: Version) -> None:
    """Apply a PATCH to the configuration, in place. Vectors and sharding cannot be changed."""
    for name, wanted in (body.get("params") or {}).items():
        if name in (*_PARAMETERS, "on_disk_payload") and wanted is not None:
            config["params"][name] = wanted
    for source, target in (
        ("hnsw_config", "hnsw_config"),
        ("optimizers_config", "optimizer_config"),
    ):
        config[target].update(body.get(source) or {})
    if body.get("quantization_config") is not None:
        found = body["quantization_config"]
        config["quantization_config"] = None if found == "Disabled" else found
    if version.has("strict_mode") and body.get("strict_mode_config"):
        config["strict_mode_config"].update(body["strict_mode_config"])
    if version.has("collection_metadata") and body.get("metadata"):
        config["metadata"] = {**config.get("metadata", {}), **body["metadata"]}


def engine_config(parameters: dict[str, Any]) -> engine.EdgeConfig:
    """Few threads and everything cold: a hundred shards must fit on a small machine."""
    vectors = parameters["vectors"]
    dense = {"": vectors} if "size" in vectors else vectors
    return engine.EdgeConfig(
        vectors={name: _vector_parameters(one) for name, one in dense.items()},
        sparse_vectors={
            name: engine.EdgeSparseVectorParams() for name in parameters.get("sparse_vectors", {})
        }
        or None,
        max_search_threads=1,
        payload_memory=engine.Memory.Cold,
    )


def _vector_parameters(found: dict[str, Any]) -> engine.EdgeVectorParams:
    multiple = found.get("multivector_config")
    datatype = found.get("datatype")
    return engine.EdgeVectorParams(
        size=found["size"],
        distance=_DISTANCES[found["distance"]],
        datatype=None if datatype is None else _DATATYPES[datatype],
        multivector_config=None
        if multiple is None
        else engine.MultiVectorConfig(engine.MultiVectorComparator.MaxSim),
        memory=engine.Memory.Cold,
    )


def index_schema(found: Any) -> dict[str, Any]:
    """A payload index as ``payload_schema`` shows it, without its number of points."""
    if isinstance(found, str):
        kind, parameters = found, None
    elif isinstance(found, dict) and isinstance(found.get("type"), str):
        kind, parameters = found["type"], found
    else:
        raise bad_format("data did not match any variant of untagged enum PayloadFieldSchema")
    if kind not in _INDEX_KINDS:
        raise bad_format("data did not match any variant of untagged enum PayloadFieldSchema")
    if (
        kind == "integer"
        and parameters
        and not (parameters.get("lookup", True) or parameters.get("range", True))
    ):
        raise bad_input("the integer index needs `lookup` or `range`")
    schema: dict[str, Any] = {"data_type": kind}
    if parameters is not None:
        schema["params"] = parameters
    return schema


def engine_index(schema: dict[str, Any]) -> Any:
    kind = schema["data_type"]
    options = {
        name: value
        for name, value in schema.get("params", {}).items()
        if name in _INDEX_OPTIONS[kind] and value is not None
    }
    return _INDEX_KINDS[kind](**options)
