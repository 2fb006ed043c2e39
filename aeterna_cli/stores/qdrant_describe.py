"""What a Qdrant server is and holds, beside the points: versions, collections, shards, worries."""

import re
from collections.abc import Callable, Collection
from typing import Any

from aeterna_cli.errors import AeternaError, RefusedError, RemoteError
from aeterna_cli.stores.base.qdrant import (
    CollectionDescription,
    QdrantIdentity,
    ShardDescription,
    ShardKey,
    ShardReplica,
)
from aeterna_cli.stores.qdrant_holders import addresses
from aeterna_cli.stores.qdrant_http import QdrantHttp, part

OLDEST = (1, 12)


def version_numbers(version: str) -> tuple[int, ...]:
    """``1.19.0-dev`` is (1, 19, 0); ``RemoteError('qdrant_version_unknown')`` for no version."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        raise RemoteError("qdrant_version_unknown", f"the server calls its version {version!r}")
    return tuple(int(number or 0) for number in found.groups())


def server_version(http: QdrantHttp) -> str:
    """The version, at least 1.12; ``RefusedError('qdrant_too_old')`` below."""
    answer = http.call("GET", "/")
    if not isinstance(answer, dict) or "qdrant" not in str(answer.get("title", "")).lower():
        raise RemoteError("not_qdrant", f"{http.description} does not answer like Qdrant")
    version = str(answer.get("version"))
    if version_numbers(version) < OLDEST:
        raise RefusedError(
            "qdrant_too_old",
            f"Qdrant {version} cannot stream shard snapshots: 1.12 or later is needed",
            next_steps=["upgrade Qdrant one minor version at a time, 1.17.1 or later is advised"],
        )
    return version


def collection_names(http: QdrantHttp) -> tuple[str, ...]:
    answer = http.call("GET", "/collections")
    return tuple(sorted(entry["name"] for entry in answer["collections"]))


def read_identity(http: QdrantHttp, identity_key: Callable[[], str | None]) -> QdrantIdentity:
    version = server_version(http)
    cluster = http.call("GET", "/cluster")
    enabled = cluster.get("status") == "enabled"
    state = cluster.get("consensus_thread_status") or {}
    return QdrantIdentity(
        version=version,
        cluster_enabled=enabled,
        peers=tuple(sorted(cluster.get("peers") or {})),
        consensus=str(state.get("consensus_thread_status", "unknown")) if enabled else "disabled",
        collections=collection_names(http),
        identity_key=identity_key(),
    )


def cluster_information(http: QdrantHttp, collection: str) -> dict[str, Any]:
    answer: dict[str, Any] = http.call("GET", f"/collections/{part(collection)}/cluster")
    return answer


def shards_of(cluster: dict[str, Any], known: Collection[int] = ()) -> tuple[ShardDescription, ...]:
    """The shards by id, which is the order in which their keys were made.

    An active replica on a peer of ``known`` is as good as a local one: its snapshot can be had.
    """
    replicas: dict[int, list[ShardReplica]] = {}
    keys: dict[int, ShardKey | None] = {}
    local = {shard["shard_id"] for shard in cluster["local_shards"]}
    local |= {
        shard["shard_id"]
        for shard in cluster["remote_shards"]
        if shard["peer_id"] in known and shard["state"] == "Active"
    }
    here = str(cluster["peer_id"])
    for shard in [*cluster["local_shards"], *cluster["remote_shards"]]:
        replica = ShardReplica(str(shard.get("peer_id", here)), str(shard["state"]))
        replicas.setdefault(shard["shard_id"], []).append(replica)
        keys[shard["shard_id"]] = shard.get("shard_key")
    return tuple(
        ShardDescription(number, keys[number], number in local, tuple(replicas[number]))
        for number in sorted(replicas)
    )


def exact_count(
    http: QdrantHttp,
    collection: str,
    shard_key: ShardKey | None,
    matching: dict[str, Any] | None = None,
) -> int:
    """A count over several keys counts a point once per key: ask key by key."""
    body: dict[str, Any] = {"exact": True}
    if matching is not None:
        body["filter"] = matching
    if shard_key is not None:
        body["shard_key"] = shard_key
    return int(http.call("POST", f"/collections/{part(collection)}/points/count", body)["count"])


def outline_collection(
    http: QdrantHttp, name: str, aliases: dict[str, list[str]]
) -> CollectionDescription:
    """A description without its points (0): cheap, and given while a shard may not be read."""
    answer = http.call("GET", f"/collections/{part(name)}")
    schema = {
        field: {key: value for key, value in entry.items() if key != "points"}
        for field, entry in (answer.get("payload_schema") or {}).items()
    }
    return CollectionDescription(
        name=name,
        config=answer["config"],
        payload_schema=schema,
        aliases=tuple(sorted(aliases.get(name, []))),
        shards=shards_of(cluster_information(http, name), addresses(http)),
        points=0,
        status=str(answer["status"]),
    )


def describe_collection(
    http: QdrantHttp, name: str, aliases: dict[str, list[str]]
) -> CollectionDescription:
    description = outline_collection(http, name, aliases)
    points = sum(exact_count(http, name, key) for key in description.shard_keys())
    return CollectionDescription(**{**vars(description), "points": points})


def describe_all(http: QdrantHttp) -> list[CollectionDescription]:
    """Every collection. One that is dropped meanwhile is left out."""
    return _each(http, describe_collection)


def outline_all(http: QdrantHttp) -> list[CollectionDescription]:
    """As ``describe_all``, without points."""
    return _each(http, outline_collection)


def _each(
    http: QdrantHttp,
    describe: Callable[[QdrantHttp, str, dict[str, list[str]]], CollectionDescription],
) -> list[CollectionDescription]:
    aliases: dict[str, list[str]] = {}
    for entry in http.call("GET", "/aliases")["aliases"]:
        aliases.setdefault(entry["collection_name"], []).append(entry["alias_name"])
    found = []
    for name in collection_names(http):
        try:
            found.append(describe(http, name, aliases))
        except AeternaError as error:
            if error.details.get("status") != 404 or name in collection_names(http):
                raise
    return found
