"""Bringing a collection back: configuration, shard keys, shard snapshots or points, aliases last.

A collection snapshot recovered into a missing collection of custom shard keys restores nothing and
says that it did; so the collection is made first, then its payload indexes and keys, and every
shard is uploaded on its own. The order of keys matters: points of a key of several shards are
placed by the shards' ids, so those ids must come out the same.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from aeterna_cli.errors import (
    ConflictError,
    FailedError,
    RefusedError,
    TransientError,
)
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardKey
from aeterna_cli.stores.qdrant_http import SNAPSHOT_SECONDS, QdrantHttp, part

KNOWN_PARAMETERS = frozenset(
    {
        "vectors",
        "sparse_vectors",
        "shard_number",
        "sharding_method",
        "replication_factor",
        "write_consistency_factor",
        "on_disk_payload",
        "read_fan_out_factor",
        "read_fan_out_delay_ms",
    }
)
KNOWN_OPTIONS = frozenset(
    {
        "params",
        "hnsw_config",
        "optimizer_config",
        "wal_config",
        "quantization_config",
        "strict_mode_config",
        "metadata",
    }
)
#: parameters that creation does not know but an update does
_UPDATED = ("read_fan_out_factor", "read_fan_out_delay_ms")
_WIDEST_GAP = 64  # every filler shard costs the server memory and files for a moment
_POLL = 0.2
WAIT = {"wait": "true"}


def creation(description: CollectionDescription) -> dict[str, Any]:
    """The body that creates this collection again, without strict mode (it is set last)."""
    config = description.config
    body = {
        key: value
        for key, value in config.get("params", {}).items()
        if key in KNOWN_PARAMETERS and key not in _UPDATED
    }
    for option in ("hnsw_config", "wal_config", "quantization_config", "metadata"):
        body[option] = config.get(option)
    body["optimizers_config"] = config.get("optimizer_config")
    return {key: value for key, value in body.items() if value is not None}


def collection_path(name: str) -> str:
    return f"/collections/{part(name)}"


def exists(http: QdrantHttp, name: str) -> bool:
    """Whether a collection of this name is there; an alias of this name does not count."""
    answer = http.call("GET", "/collections")
    return any(entry["name"] == name for entry in answer["collections"])


def aliases(http: QdrantHttp) -> dict[str, str]:
    """Every alias and the collection that it points to."""
    found = http.call("GET", "/aliases")["aliases"]
    return {entry["alias_name"]: entry["collection_name"] for entry in found}


def create(http: QdrantHttp, description: CollectionDescription, *, replace: bool) -> None:
    """See ``QdrantServer.create_collection``."""
    name = description.name
    if not description.restorable:
        raise RefusedError(
            "own_collection",
            f"{name} holds the identity of the server that was backed up and is never restored",
        )
    if description.custom_sharding:
        _refuse_layout(http, description)
    aliased = aliases(http).get(name)
    if aliased is not None:
        raise ConflictError(
            "collection_name_is_alias",
            f"{name} is an alias of {aliased} here: a collection of this name cannot be made",
            hint="remove or rename the alias first",
        )
    if exists(http, name):
        if not replace:
            raise ConflictError(
                "collection_exists",
                f"the collection {name} exists already",
                hint="restoring over it deletes it first and wants an explicit confirmation",
            )
        http.call("DELETE", collection_path(name))
    _make(http, description)
    if not description.custom_sharding:
        return
    start = _create_keys(http, description, 0)
    if start is not None:
        http.call("DELETE", collection_path(name))
        _make(http, description)
        if _create_keys(http, description, start) is not None:
            raise _ids_differ(name, "the server numbers shards in another way")


def _make(http: QdrantHttp, description: CollectionDescription) -> None:
    """The empty collection with its payload indexes, without shard keys."""
    name = description.name
    http.call("PUT", collection_path(name), creation(description))
    _update(http, description)
    make_indexes(http, description)


def make_indexes(http: QdrantHttp, description: CollectionDescription) -> None:
    """The payload indexes of the description are there; one that is already stays as it is."""
    name = description.name
    for field, entry in sorted(description.payload_schema.items()):
        body = {"field_name": field, "field_schema": entry.get("params") or entry["data_type"]}
        http.call(
            "PUT", f"{collection_path(name)}/index", body, params=WAIT, seconds=SNAPSHOT_SECONDS
        )


def _update(http: QdrantHttp, description: CollectionDescription) -> None:
    parameters = description.config.get("params", {})
    changes = {key: parameters[key] for key in _UPDATED if parameters.get(key) is not None}
    if changes:
        http.call("PATCH", collection_path(description.name), {"params": changes})


def shard_ids(http: QdrantHttp, collection: str) -> dict[ShardKey | None, list[int]]:
    """The ids of the shards of every key, in order, wherever they lie."""
    cluster = http.call("GET", f"{collection_path(collection)}/cluster")
    found: dict[ShardKey | None, set[int]] = {}
    for shard in [*cluster["local_shards"], *cluster["remote_shards"]]:
        found.setdefault(shard.get("shard_key"), set()).add(shard["shard_id"])
    return {key: sorted(ids) for key, ids in found.items()}


def _create_keys(http: QdrantHttp, description: CollectionDescription, start: int) -> int | None:
    """Make the keys where the server numbers shards from ``start``; else say from which it does.

    New ids follow the highest one: a key that is dropped again takes up the gap before a key of
    several shards, whose ids must come out the same. Single shards need no such care.
    """
    fillers: list[str] = []
    following, first = start, None
    for key in description.shard_keys():
        wanted = recorded_ids(description, key)
        gap = wanted[0] - following if len(wanted) > 1 else 0
        if gap > 0:
            fillers.append(f"aeterna-ops-filler-{secrets.token_hex(8)}")
            made = _create_key(http, description.name, fillers[-1], gap)
            first = made[0] if first is None else first
        made = _create_key(http, description.name, key, len(wanted))
        first = made[0] if first is None else first
        if len(wanted) > 1 and made != wanted:
            if first == start:
                raise _ids_differ(description.name, f"key {key!r} had {wanted}, would get {made}")
            return first
        following = made[-1] + 1
    for filler in fillers:
        _drop_key(http, description.name, filler)
    return None


def _refuse_layout(http: QdrantHttp, description: CollectionDescription) -> None:
    """Before anything is deleted: can the keys be made here, with the ids that they need?"""
    cluster = http.call("GET", "/cluster")
    if cluster.get("status") != "enabled":
        raise RefusedError(
            "cluster_mode_needed",
            f"{description.name} has custom shard keys, which this standalone Qdrant cannot make",
            next_steps=["start Qdrant with cluster.enabled: true (one node is enough)"],
        )
    following = 0
    for key in description.shard_keys():
        wanted = recorded_ids(description, key)
        if len(wanted) > 1:
            contiguous = wanted == list(range(wanted[0], wanted[0] + len(wanted)))
            if not contiguous or wanted[0] - following > _WIDEST_GAP:
                raise _ids_differ(description.name, f"key {key!r} had {wanted}")
            following = wanted[0]
        following += len(wanted)


def _ids_differ(name: str, reason: str) -> RefusedError:
    return RefusedError(
        "shard_ids_differ",
        f"the shards of {name} cannot be made again with the same ids: {reason}",
        hint="points are placed by shard id: restore a logical image instead",
    )


def recorded_ids(description: CollectionDescription, key: ShardKey | None) -> list[int]:
    return [shard.id for shard in description.shards if shard.key == key]


def _create_key(http: QdrantHttp, name: str, key: ShardKey | None, shards: int) -> list[int]:
    http.call("PUT", f"{collection_path(name)}/shards", {"shard_key": key, "shards_number": shards})
    return shard_ids(http, name)[key]


def _drop_key(http: QdrantHttp, name: str, key: ShardKey | None) -> None:
    http.call("POST", f"{collection_path(name)}/shards/delete", {"shard_key": key})


def wait_ready(
    http: QdrantHttp,
    description: CollectionDescription,
    points: Mapping[ShardKey | None, int],
    counted: Callable[[ShardKey | None], int],
    timeout: float,
) -> None:
    """Green or yellow, all shards active, and every key with its exact number of points.

    ``FailedError('restored_count_differs')`` once the server is ready and a count is another;
    ``TransientError('collection_not_ready')`` after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    state = "unknown"
    while True:
        try:
            state = _state(http, description.name)
            if state == "ready":
                break
        except TransientError as error:
            state = error.message
        if time.monotonic() > deadline:
            raise TransientError(
                "collection_not_ready",
                f"{description.name} is not ready after {timeout:g} s: {state}",
            )
        time.sleep(_POLL)
    for key, wanted in points.items():
        found = counted(key)
        if found != wanted:
            of_key = "" if key is None else f", shard key {key!r}"
            raise FailedError(
                "restored_count_differs",
                f"{description.name}{of_key} has {found} points where the backup has {wanted}",
                hint="something else writes to it, or the restore is incomplete; no alias was set",
            )


def _state(http: QdrantHttp, name: str) -> str:
    status = http.call("GET", collection_path(name))["status"]
    if status not in ("green", "yellow"):
        return f"its status is {status}"
    cluster = http.call("GET", f"{collection_path(name)}/cluster")
    states = {one["state"] for one in [*cluster["local_shards"], *cluster["remote_shards"]]}
    if states - {"Active"}:
        return f"shards are {', '.join(sorted(states))}"
    return "transfers are running" if cluster.get("shard_transfers") else "ready"


def set_strict_mode(http: QdrantHttp, description: CollectionDescription) -> None:
    strict = description.config.get("strict_mode_config")
    if strict:
        http.call("PATCH", collection_path(description.name), {"strict_mode_config": strict})


def point_aliases(http: QdrantHttp, description: CollectionDescription) -> None:
    """All aliases of the collection in one atomic call; one that points elsewhere is moved."""
    present = aliases(http)
    actions: list[dict[str, Any]] = []
    for alias in description.aliases:
        if present.get(alias) == description.name:
            continue
        if alias in present:
            actions.append({"delete_alias": {"alias_name": alias}})
        wanted = {"collection_name": description.name, "alias_name": alias}
        actions.append({"create_alias": wanted})
    if actions:
        http.call("POST", "/collections/aliases", {"actions": actions})
