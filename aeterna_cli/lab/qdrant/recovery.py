"""Bringing snapshots back, with the traps of the real server.

- A shard takes the snapshot of any shard: of another key, id, collection, even another vector
  size. Nothing is compared (an open issue of the server: "Check shard compatibility on recovery").
- A collection with custom keys that does not exist is created without keys; then no shard is
  there to recover, nothing is restored, and the answer is true.
- The other replicas of a shard that was recovered are dead, and filled from it.
- Shards of the collection that the snapshot does not hold keep their points and stay Partial.
"""

import asyncio
import shutil
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant import snapshots
from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.files import read_document, remove_folder, write_document
from aeterna_cli.lab.qdrant.node import Node
from aeterna_cli.lab.qdrant.refusals import Refusal, bad_input, bad_request, service_error
from aeterna_cli.lab.qdrant.replicas import PARTIAL
from aeterna_cli.lab.qdrant.shard import THRIFTY, Shard, ensure_indexes
from aeterna_cli.stores import helpers

PRIORITIES = ("no_sync", "snapshot", "replica")
_DOWNLOAD_SECONDS = 60


def check_arguments(priority: Any, checksum: Any) -> None:
    """``Refusal`` 400 and 422 as on the server. Every priority is taken for ``snapshot``."""
    if priority not in (None, *PRIORITIES):
        raise bad_request(f"unknown variant `{priority}`, expected one of {', '.join(PRIORITIES)}")
    if checksum is not None and (
        len(checksum) != 64 or set(checksum.lower()) - set("0123456789abcdef")
    ):
        raise Refusal(422, "Validation error: [checksum: invalid sha256]")


async def verify_checksum(path: Path, checksum: str | None) -> None:
    if checksum is None:
        return
    found = await asyncio.to_thread(snapshots.sha256, path)
    if found != checksum.lower():
        raise Refusal(400, f"Snapshot checksum mismatch: expected {checksum}, got {found}")


async def recover_shard(node: Node, collection: Collection, shard: Shard, archive: Path) -> None:
    """The shard serves the points of the archive; on a fault it serves what it served before.

    The new directory counts once ``collection.json`` names it: a crash leaves either all of the
    old points or all of the new ones.
    """
    folder = collection.new_folder(shard.id)
    folder.parent.mkdir(exist_ok=True)
    try:
        await asyncio.to_thread(_unpack, archive, folder)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise service_error(f"failed to restore the shard snapshot: {error}") from error
    async with shard.lock:
        if shard.closed:
            shutil.rmtree(folder, ignore_errors=True)
            raise bad_request(f"shard {shard.id} has been dropped")
        try:
            before = shard.replace(folder, collection.payload_schema)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise service_error(f"failed to load the shard snapshot: {error}") from error
        shard.replicas.filled()
        collection.save()
    remove_folder(before, node.temporary)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacked and opened once, so that a bad archive never replaces anything."""
    engine.EdgeShard.unpack_snapshot(str(archive), str(folder))
    engine.EdgeShard.load(str(folder)).close()
    settings = folder / "edge_config.json"
    write_document(settings, {**read_document(settings), **THRIFTY})


async def recover_collection(node: Node, name: str, archive: Path) -> None:
    unpacked = node.temporary / f"recovery-{uuid.uuid4()}"
    unpacked.mkdir()
    try:
        await asyncio.to_thread(_untar, archive, unpacked)
        await _recover_collection(node, name, unpacked)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _untar(archive: Path, folder: Path) -> None:
    command = ["tar", "-S", "-C", str(folder), "-xf", str(archive)]
    done = helpers.run(command)
    if done.returncode != 0 or not (folder / "config.json").exists():
        raise service_error("failed to unpack the snapshot archive")


async def _recover_collection(node: Node, name: str, unpacked: Path) -> None:
    config = read_document(unpacked / "config.json")
    collection = node.collections.get(node.aliases.get(name, name))
    if collection is None:
        collection = node.create_from_config(name, config)
        collection.payload_schema = read_document(unpacked / "payload_index.json")["schema"]
        for shard in collection.shards.values():
            ensure_indexes(shard.edge, collection.payload_schema)
        collection.save()
    for option in ("vectors", "shard_number"):
        if config["params"][option] != collection.config["params"][option]:
            raise bad_input(f"Snapshot is not compatible with existing collection: {option}")
    here = node.peer_id
    shards = [one for one in collection.shards.values() if here in one.replicas.states]
    for shard in shards:
        shard.replicas.states[here] = PARTIAL
    collection.save()
    for shard in shards:
        source = unpacked / str(shard.id)
        if source.is_dir():
            archive = unpacked / f"{shard.id}.tar"
            await asyncio.to_thread(
                snapshots.run_tar, "-S", "-C", str(source), "-cf", str(archive), "."
            )
            await recover_shard(node, collection, shard, archive)


async def located(node: Node, location: str, api_key: str | None) -> tuple[Path, bool]:
    """The snapshot file of a ``location`` and whether it is a temporary one to delete."""
    parts = urllib.parse.urlsplit(location)
    if parts.scheme == "file":
        path = Path(urllib.parse.unquote(parts.path)).resolve()
        inside = path.is_relative_to(node.snapshots.resolve())
        if node.version.has("recover_from_snapshot_folder_only") and not inside:
            raise bad_input("file:// is only allowed for the snapshots directory")
        if not path.is_file():
            raise bad_input(f"Snapshot file {path} does not exist")
        return path, False
    if parts.scheme in ("http", "https"):
        path = snapshots.temporary_file(node)
        await asyncio.to_thread(_download, location, path, api_key)
        return path, True
    raise bad_input(f"Invalid snapshot URI {location}")


def _download(location: str, path: Path, api_key: str | None) -> None:
    headers = {} if api_key is None else {"api-key": api_key}
    request = urllib.request.Request(location, headers=headers)  # noqa: S310 - http(s) only
    try:
        with (
            urllib.request.urlopen(request, timeout=_DOWNLOAD_SECONDS) as body,  # noqa: S310 - http(s) only
            path.open("wb") as file,
        ):
            shutil.copyfileobj(body, file, 1 << 20)
    except (urllib.error.URLError, OSError) as error:
        raise service_error(f"failed to download the snapshot: {error}") from error
