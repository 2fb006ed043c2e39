"""Taking a collection's data out: shard snapshots, and points by scroll where there are none."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import orjson

from aeterna_cli.errors import AeternaError, RemoteError, TransientError
from aeterna_cli.stores.base.qdrant import LiveDigest, PointDigest, ShardKey
from aeterna_cli.stores.qdrant_digests import DigestSum, combine
from aeterna_cli.stores.qdrant_http import (
    SNAPSHOT_SECONDS,
    Download,
    QdrantHttp,
    part,
    snapshots_refused,
)
from aeterna_cli.stores.qdrant_tar import TarWalk

_PAGE = 250
_PAGE_OF_IDS = 10_000
_NEWLINE = orjson.OPT_APPEND_NEWLINE


def shard_path(collection: str, shard_id: int) -> str:
    return f"/collections/{part(collection)}/shards/{shard_id}"


@contextmanager
def shard_snapshot(http: QdrantHttp, collection: str, shard_id: int) -> Iterator[Iterator[bytes]]:
    """A shard's snapshot as a stream that ends only when it is whole; see ``QdrantServer``."""
    path = shard_path(collection, shard_id)
    with ExitStack() as stack:
        try:
            body, checksum = _open_snapshot(http, path, stack)
        except AeternaError as error:
            refused = snapshots_refused(error, collection)
            raise (refused or error) from error
        yield _checked(body, f"shard {shard_id} of {collection}", checksum)


def _open_snapshot(http: QdrantHttp, path: str, stack: ExitStack) -> tuple[Download, str | None]:
    """Streamed where the server can, else stored on the server first and deleted afterwards."""
    try:
        return stack.enter_context(http.download(f"{path}/snapshot")), None
    except AeternaError as error:
        if not _has_no_streaming(error):
            raise
    made = http.call("POST", f"{path}/snapshots", params={"wait": "true"}, seconds=SNAPSHOT_SECONDS)
    stored = f"{path}/snapshots/{part(made['name'])}"
    stack.enter_context(_deleted_afterwards(http, stored))
    return stack.enter_context(http.download(stored)), made.get("checksum")


def _has_no_streaming(error: AeternaError) -> bool:
    """An unknown path is answered 404 with no explanation, an unknown shard with one."""
    return error.details.get("status") == 404 and error.message.endswith(": no explanation")


@contextmanager
def _deleted_afterwards(http: QdrantHttp, stored: str) -> Iterator[None]:
    """Leave no snapshot on the server's disk; what failed first is what is reported."""
    try:
        yield
    except BaseException as first:
        try:
            http.call("DELETE", stored, params={"wait": "true"})
        except AeternaError as second:
            first.add_note(f"{stored} was left on the server: {second.message}")
        raise
    http.call("DELETE", stored, params={"wait": "true"})


def _checked(body: Download, where: str, checksum: str | None) -> Iterator[bytes]:
    """The chunks as they are; the last one is followed by an error unless all was well."""
    walk, taken, digest = TarWalk(), 0, hashlib.sha256()
    for chunk in body.chunks:
        walk.feed(chunk)
        taken += len(chunk)
        if checksum is not None:
            digest.update(chunk)
        yield chunk
    if body.length is not None and taken != body.length:
        raise TransientError(
            "snapshot_truncated",
            f"the snapshot of {where} has {taken} bytes where {body.length} were announced",
        )
    walk.finish(where)
    if checksum is not None and digest.hexdigest() != checksum.lower():
        raise TransientError(
            "snapshot_checksum_differs", f"the snapshot of {where} arrived with another checksum"
        )


def scrolled_ids(http: QdrantHttp, collection: str, shard_key: ShardKey | None) -> Iterator[str]:
    """The ids of a shard key's points (of the whole collection for None) as text."""
    for page in pages(http, collection, shard_key, only_ids=True):
        yield from (str(point["id"]) for point in page)


def pages(
    http: QdrantHttp, collection: str, shard_key: ShardKey | None, *, only_ids: bool = False
) -> Iterator[list[dict[str, Any]]]:
    """All points of a shard key (of the whole collection for None) in pages, in id order."""
    whole = not only_ids
    limit = _PAGE if whole else _PAGE_OF_IDS
    request: dict[str, Any] = {"limit": limit, "with_payload": whole, "with_vector": whole}
    if shard_key is not None:
        request["shard_key"] = shard_key
    while True:
        answer = http.call("POST", f"/collections/{part(collection)}/points/scroll", request)
        points, following = answer["points"], answer.get("next_page_offset")
        if points:
            yield points
        if following is None:
            return
        if following == request.get("offset"):
            raise RemoteError("qdrant_scroll_stuck", f"scrolling {collection} does not advance")
        request["offset"] = following


def logical_chunks(
    http: QdrantHttp, collection: str, shard_key: ShardKey | None
) -> Iterator[bytes]:
    """NDJSON, one chunk a page; see ``QdrantServer.logical_capture``."""
    for page in pages(http, collection, shard_key):
        yield b"".join(
            orjson.dumps(
                {
                    "id": point["id"],
                    "vector": point.get("vector"),
                    "payload": point.get("payload") or {},
                    "shard_key": shard_key,
                },
                option=_NEWLINE,
            )
            for point in page
        )


def live_digest(http: QdrantHttp, collection: str, keys: tuple[ShardKey | None, ...]) -> LiveDigest:
    """Digests by scrolling every shard key on its own: a scroll over all hides double ids."""
    by_key: dict[ShardKey | None, PointDigest] = {}
    for key in keys:
        digest = DigestSum()
        for page in pages(http, collection, key):
            for point in page:
                digest.add(point["id"], point.get("vector"), point.get("payload"))
        by_key[key] = digest.result()
    return LiveDigest(combine(by_key.values()), by_key)
