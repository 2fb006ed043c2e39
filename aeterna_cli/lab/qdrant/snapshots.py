"""Snapshots as files: making, describing, listing, and the traps of their names and contents.

GNU tar packs them because it keeps the holes of the engine's sparse files: a shard of ten points
would otherwise become 260 MB.
"""

import asyncio
import hashlib
import time
import uuid
from pathlib import Path
from typing import Any

from aeterna_cli.lab.qdrant import wire
from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.files import remove_file
from aeterna_cli.lab.qdrant.node import Node
from aeterna_cli.lab.qdrant.refusals import not_found, service_error
from aeterna_cli.lab.qdrant.shard import Shard
from aeterna_cli.stores import helpers

SUFFIX = ".snapshot"


def _stamp() -> str:
    """Whole seconds, as on the server: a second snapshot in the same second replaces the first."""
    return time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime())


def collection_folder(node: Node, name: str) -> Path:
    return node.snapshots / name


def shard_folder(node: Node, name: str, shard: int) -> Path:
    return node.snapshots / name / "shards" / str(shard)


def run_tar(*arguments: str) -> None:
    """``Refusal`` 500 when tar fails."""
    done = helpers.run(["tar", *arguments])
    if done.returncode != 0:
        raise service_error(f"tar: {done.stderr.strip()[-300:]}")


def _pack(source: Path, target: Path, prefix: str, *, append: bool) -> None:
    """The layout of the server's streamed shard snapshots, below ``prefix``."""
    run_tar(
        "-S",
        "--format=gnu",
        "-C",
        str(source),
        r"--transform=s,^segments/\([^/]*\)/,segments/\1/files/,",
        f"--transform=s,^,{prefix},",
        "-rf" if append else "-cf",
        str(target),
        "segments",
        "wal",
        "replica_state.json",
        "shard_config.json",
    )


async def pack_shard(
    node: Node, shard: Shard, target: Path, prefix: str = "", *, append: bool = False
) -> None:
    """Writers wait meanwhile: the snapshot is the shard at one moment, with its log."""
    async with shard.lock:
        if shard.closed:
            raise not_found(f"shard {shard.id} not found")
        shard.edge.flush()
        state = {
            "is_local": True,
            "this_peer_id": node.peer_id,
            "peers": {str(n): state for n, state in shard.replicas.states.items()},
        }
        (shard.folder / "replica_state.json").write_bytes(wire.dumps(state))
        kind = wire.dumps({"type": "ReplicaSet"})
        (shard.folder / "shard_config.json").write_bytes(kind)
        await asyncio.to_thread(_pack, shard.folder, target, prefix, append=append)


def temporary_file(node: Node) -> Path:
    return node.temporary / f"{uuid.uuid4()}{SUFFIX}"


async def make_shard_snapshot(node: Node, collection: Collection, shard: Shard) -> dict[str, Any]:
    folder = shard_folder(node, collection.name, shard.id)
    name = f"{collection.name}-shard-{shard.id}-{_stamp()}{SUFFIX}"
    beside = temporary_file(node)
    await pack_shard(node, shard, beside)
    return await asyncio.to_thread(_publish, beside, folder / name)


async def make_collection_snapshot(node: Node, collection: Collection) -> dict[str, Any]:
    """The peer's shards, the configuration, the indexes and the key mapping; never the aliases."""
    beside = temporary_file(node)
    contents = node.temporary / f"{uuid.uuid4()}"
    contents.mkdir()
    names = _write_description(node, collection, contents)
    await asyncio.to_thread(run_tar, "-C", str(contents), "-cf", str(beside), *names)
    local = [one for one in collection.shards.values() if node.peer_id in one.replicas.states]
    for shard in local:
        await pack_shard(node, shard, beside, f"{shard.id}/", append=True)
    name = f"{collection.name}-{node.peer_id}-{_stamp()}{SUFFIX}"
    return await asyncio.to_thread(
        _publish, beside, collection_folder(node, collection.name) / name
    )


def _write_description(node: Node, collection: Collection, folder: Path) -> list[str]:
    mapping = [
        {"key": key, "shard_ids": [shard.id for shard in collection.of_key(key)]}
        for key in collection.shard_keys()
    ]
    documents: dict[str, Any] = {
        "config.json": collection.config,
        "payload_index.json": {"schema": collection.payload_schema},
        "shard_key_mapping.json": mapping,
    }
    for name, document in documents.items():
        (folder / name).write_bytes(wire.dumps(document))
    (folder / "version.info").write_text(node.version.text)
    return [*documents, "version.info"]


def _publish(beside: Path, target: Path) -> dict[str, Any]:
    """The finished file under its name, with its checksum beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    checksum = sha256(beside)
    beside.replace(target)
    _checksum_file(target).write_text(checksum)
    return describe(target)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.checksum")


def describe(path: Path) -> dict[str, Any]:
    status = path.stat()
    checksum = _checksum_file(path)
    return {
        "name": path.name,
        "creation_time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(status.st_mtime)),
        "size": status.st_size,
        "checksum": checksum.read_text() if checksum.exists() else None,
    }


def listing(folder: Path) -> list[dict[str, Any]]:
    return [describe(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def existing(folder: Path, name: str) -> Path:
    """``Refusal`` 404 when there is no such snapshot; never a path outside of the folder."""
    path = folder / name
    if Path(name).name != name or not path.is_file() or not name.endswith(SUFFIX):
        raise not_found(f"Snapshot {name}")
    return path


def delete(folder: Path, name: str) -> None:
    path = existing(folder, name)
    path.unlink()
    remove_file(_checksum_file(path))
