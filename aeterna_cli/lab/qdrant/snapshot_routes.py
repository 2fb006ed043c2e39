"""Snapshots of shards and collections: make, list, stream, download, delete, recover, upload."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, Response, StreamingResponse

from aeterna_cli.lab.qdrant import recovery, snapshots, wire
from aeterna_cli.lab.qdrant.calls import Call, Entry
from aeterna_cli.lab.qdrant.files import remove_file
from aeterna_cli.lab.qdrant.refusals import Refusal, bad_input, bad_request

_COLLECTION = "/collections/{name}"
_SHARD = "/collections/{name}/shards/{shard:int}"
_CHUNK = 1 << 18

log = logging.getLogger(__name__)


async def _finished(call: Call, work: Callable[[], Awaitable[Any]]) -> Any:
    """The result, or with ``wait=false`` 202 at once and a fault only in the log."""
    if call.wait(True):
        return await work()
    task = asyncio.create_task(_logged(work()))
    call.node.background.add(task)
    task.add_done_callback(call.node.background.discard)
    return Response(
        wire.dumps({"status": "accepted", "time": 0.0}), 202, media_type="application/json"
    )


async def _logged(work: Awaitable[Any]) -> None:
    try:
        await work
    except Refusal as refusal:
        log.error("a snapshot operation in the background failed: %s", refusal.message)


# Making and reading


async def make_shard(call: Call) -> Any:
    collection, shard = call.collection, call.shard
    return await _finished(
        call, lambda: snapshots.make_shard_snapshot(call.node, collection, shard)
    )


async def make_collection(call: Call) -> Any:
    collection = call.collection
    return await _finished(call, lambda: snapshots.make_collection_snapshot(call.node, collection))


def _shard_folder(call: Call) -> Path:
    return snapshots.shard_folder(call.node, call.collection.name, call.shard.id)


def _collection_folder(call: Call) -> Path:
    return snapshots.collection_folder(call.node, call.collection.name)


def _folder_entries(prefix: str, folder_of: Callable[[Call], Path]) -> list[Entry]:
    async def listing(call: Call) -> Any:
        return await asyncio.to_thread(snapshots.listing, folder_of(call))

    async def download(call: Call) -> Response:
        path = snapshots.existing(folder_of(call), call.path("snapshot"))
        if call.fault == "truncate":
            size = path.stat().st_size
            headers = {"content-length": str(size)}
            return StreamingResponse(_read(path.open("rb"), size // 2), headers=headers)
        return FileResponse(path, media_type="application/octet-stream")

    async def delete(call: Call) -> Any:
        folder, name = folder_of(call), call.path("snapshot")
        snapshots.existing(folder, name)

        async def work() -> bool:
            snapshots.delete(folder, name)
            return True

        return await _finished(call, work)

    return [
        Entry("GET", f"{prefix}/snapshots", listing),
        Entry("GET", f"{prefix}/snapshots/{{snapshot}}", download),
        Entry("DELETE", f"{prefix}/snapshots/{{snapshot}}", delete),
    ]


async def stream_shard(call: Call) -> Response:
    """No length, no checksum; cut short by a fault it ends as if all were well."""
    path = snapshots.temporary_file(call.node)
    await snapshots.pack_shard(call.node, call.shard, path)
    size = path.stat().st_size
    part = size // 2 if call.fault == "truncate" else size
    body = _read(path.open("rb"), part)
    path.unlink()
    return StreamingResponse(body, media_type="application/octet-stream")


async def _read(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    """The first ``size`` bytes."""
    with file:
        while size > 0:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, size))
            size -= len(chunk)
            yield chunk


# Bringing back


async def recover_collection(call: Call) -> Any:
    body = await call.body()
    recovery.check_arguments(body.get("priority"), body.get("checksum"))

    async def work() -> bool:
        place = await recovery.located(call.node, body["location"], body.get("api_key"))
        return await _use(call, *place, body.get("checksum"))

    return await _finished(call, work)


async def recover_shard(call: Call) -> Any:
    """``location`` is a URL, or the name of a file in the shard's snapshot folder."""
    body, folder = await call.body(), _shard_folder(call)
    recovery.check_arguments(body.get("priority"), body.get("checksum"))

    async def work() -> bool:
        location = str(body["location"])
        if location.startswith("file:"):
            raise bad_input("a shard is recovered from http(s) or a file name")
        if location.startswith(("http://", "https://")):
            place = await recovery.located(call.node, location, body.get("api_key"))
        else:
            place = (snapshots.existing(folder, location), False)
        return await _use(call, *place, body.get("checksum"))

    return await _finished(call, work)


async def upload(call: Call) -> Any:
    """To the shard in the path, or to the collection when there is none."""
    checksum = call.query("checksum")
    recovery.check_arguments(call.query("priority"), checksum)
    call.wait(True)
    if "shard" in call.request.path_params:
        _ = call.shard
    path = await _uploaded(call)
    return await _finished(call, lambda: _use(call, path, True, checksum))


async def _uploaded(call: Call) -> Path:
    if not call.request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refusal(400, "Content type error: multipart/form-data expected")
    path = snapshots.temporary_file(call.node)
    async with call.request.form() as form:
        file = form.get("snapshot")
        if not isinstance(file, UploadFile):
            raise bad_request("Field `snapshot` is missing")
        with path.open("wb") as target:
            while chunk := await file.read(1 << 20):
                await asyncio.to_thread(target.write, chunk)
    return path


async def _use(call: Call, path: Path, temporary: bool, checksum: str | None) -> bool:
    try:
        await recovery.verify_checksum(path, checksum)
        if "shard" in call.request.path_params:
            await recovery.recover_shard(call.node, call.collection, call.shard, path)
        else:
            await recovery.recover_collection(call.node, call.path("name"), path)
    finally:
        if temporary:
            remove_file(path)
    return True


ENTRIES = [
    Entry("POST", f"{_COLLECTION}/snapshots", make_collection),
    Entry("PUT", f"{_COLLECTION}/snapshots/recover", recover_collection),
    Entry("POST", f"{_COLLECTION}/snapshots/upload", upload),
    *_folder_entries(_COLLECTION, _collection_folder),
    Entry("POST", f"{_SHARD}/snapshots", make_shard),
    Entry("GET", f"{_SHARD}/snapshot", stream_shard),
    Entry("PUT", f"{_SHARD}/snapshots/recover", recover_shard),
    Entry("POST", f"{_SHARD}/snapshots/upload", upload),
    *_folder_entries(_SHARD, _shard_folder),
]
