"""Bringing a collection's points back: shard snapshots as they were taken, or points one by one."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from aeterna_cli.errors import FailedError, InterruptedByUser, RefusedError
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardKey
from aeterna_cli.stores.qdrant_holders import addresses, holding
from aeterna_cli.stores.qdrant_http import SNAPSHOT_SECONDS, QdrantHttp
from aeterna_cli.stores.qdrant_image import lines_of
from aeterna_cli.stores.qdrant_restore import WAIT, collection_path, recorded_ids, shard_ids

_BATCH_POINTS = 250
_BATCH_BYTES = 8 << 20  # a JSON body may have at most 32 MB


def target_shard(http: QdrantHttp, description: CollectionDescription, shard_id: int) -> int:
    """The id in the new collection of the shard recorded as ``shard_id``: by key and place in it.

    ``RefusedError('shard_layout_differs')`` where the new collection has other shards;
    ``RefusedError('shard_not_local')`` where no peer that we know the address of holds it.
    """
    cluster = http.call("GET", f"{collection_path(description.name)}/cluster")
    shard = next((one for one in description.shards if one.id == shard_id), None)
    recorded = recorded_ids(description, shard.key) if shard else []
    present = shard_ids(http, description.name).get(shard.key, []) if shard else []
    if shard is None or len(present) != len(recorded) or (len(present) > 1 and present != recorded):
        raise RefusedError(
            "shard_layout_differs",
            f"{description.name} has the shards {present} where the backup has {recorded}",
            hint="points are placed by shard id: restore a logical image instead",
        )
    target = present[recorded.index(shard_id)]
    known = addresses(http)
    within_reach = {one["shard_id"] for one in cluster["local_shards"]} | {
        one["shard_id"] for one in cluster["remote_shards"] if one["peer_id"] in known
    }
    if target not in within_reach:
        raise RefusedError(
            "shard_not_local",
            f"shard {target} of {description.name} lies on another peer",
            hint="name every peer in qdrant.peers, or restore a logical image",
        )
    return target


def _multipart(stream: Iterable[bytes], size: int, boundary: str) -> tuple[Iterator[bytes], int]:
    """The body of a form with one file, and its length; nothing is held in memory."""
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="snapshot"; filename="shard.snapshot"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield head
        sent = 0
        for chunk in stream:
            sent += len(chunk)
            if sent <= size:
                yield chunk
        if sent != size:
            raise FailedError(
                "upload_size_differs", f"the image has {sent} bytes where {size} were promised"
            )
        yield tail

    return body(), len(head) + size + len(tail)


def upload(
    http: QdrantHttp,
    description: CollectionDescription,
    shard_id: int,
    stream: Iterable[bytes],
    size: int,
    *,
    sha256: str | None,
) -> None:
    """See ``QdrantServer.upload_shard``."""
    target = target_shard(http, description, shard_id)
    with holding(http, description.name, target) as peer:
        _send(peer, description.name, target, (stream, size), sha256)


def _send(
    http: QdrantHttp,
    collection: str,
    target: int,
    image: tuple[Iterable[bytes], int],
    sha256: str | None,
) -> None:
    """``image`` is the stream and its size."""
    boundary = secrets.token_hex(24)
    body, length = _multipart(*image, boundary)
    params = {"priority": "snapshot", **WAIT}
    if sha256 is not None:
        params["checksum"] = sha256
    http.call(
        "POST",
        f"{collection_path(collection)}/shards/{target}/snapshots/upload",
        content=body,
        params=params,
        headers={
            "content-type": f"multipart/form-data; boundary={boundary}",
            "content-length": str(length),
        },
        seconds=SNAPSHOT_SECONDS,
    )


def upsert_lines(
    http: QdrantHttp, collection: str, stream: Iterable[bytes], stop: Callable[[], bool]
) -> int:
    """See ``QdrantServer.logical_restore``."""
    batch: list[dict[str, Any]] = []
    key: ShardKey | None = None
    size = total = 0
    for line in lines_of(stream):
        point = _point(line)
        found = point.pop("shard_key", None)
        if batch and (found != key or len(batch) >= _BATCH_POINTS or size >= _BATCH_BYTES):
            total += _upsert(http, collection, key, batch)
            batch, size = [], 0
            if stop():
                raise InterruptedByUser("interrupted", f"stopped after {total} points")
        key, size = found, size + len(line)
        batch.append(point)
    return total + _upsert(http, collection, key, batch)


def _point(line: bytes) -> dict[str, Any]:
    try:
        point = orjson.loads(line)
        known = {"id": point["id"], "vector": point["vector"], "payload": point["payload"]}
        return {**known, "shard_key": point.get("shard_key")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FailedError("logical_image_damaged", "a line of the image is no point") from error


def _upsert(
    http: QdrantHttp, collection: str, key: ShardKey | None, points: list[dict[str, Any]]
) -> int:
    if points:
        body: dict[str, Any] = {
            "points": [{**point, "vector": point["vector"] or {}} for point in points]
        }
        if key is not None:
            body["shard_key"] = key
        http.upsert(collection, body)
    return len(points)
