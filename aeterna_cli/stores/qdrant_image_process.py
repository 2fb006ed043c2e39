"""The child process that opens a shard snapshot with Qdrant's own engine.

``python -m aeterna_cli.stores.qdrant_image_process SNAPSHOT WORK_DIR IDS_FILE`` prints one JSON
object: ``{"points", "digest", "marker"}``, or ``{"error", "message"}`` with exit code 1. It is a
process of its own because the engine is native code reading foreign data: if it dies, only this
does. Everything it writes lies in WORK_DIR, which the caller removes.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aeterna_cli.errors import AeternaError, FailedError, RefusedError
from aeterna_cli.stores.qdrant_digests import DigestSum
from aeterna_cli.stores.qdrant_marker import marker_number
from aeterna_cli.stores.qdrant_tar import refuse_hostile

_PAGE = 256


def _plain(vectors: Any, engine: Any) -> Any:
    """The engine's vectors in the REST API's shape."""
    if isinstance(vectors, engine.SparseVector):
        return {"indices": vectors.indices, "values": vectors.values}
    if isinstance(vectors, dict):
        return {name: _plain(value, engine) for name, value in vectors.items()}
    return vectors


def _records(shard: Any, engine: Any) -> Iterator[Any]:
    offset = None
    while True:
        page, offset = shard.scroll(
            engine.ScrollRequest(offset=offset, limit=_PAGE, with_payload=True, with_vector=True)
        )
        yield from page
        if offset is None:
            return


def _open(snapshot: Path, folder: Path, engine: Any) -> Any:
    try:
        engine.EdgeShard.unpack_snapshot(str(snapshot), str(folder))
        return engine.EdgeShard.load(str(folder))
    # the engine raises bare Exception and, on a panic, a BaseException of its own
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise FailedError(
            "image_unreadable",
            f"the Qdrant engine cannot open this snapshot: {str(error)[:300]}",
            hint="the snapshot is damaged, or newer than the engine installed here",
        ) from error


def facts(snapshot: Path, work: Path, ids: Path) -> dict[str, Any]:
    """Count, digest and marker of a snapshot; its ids go to ``ids``, one a line, sorted."""
    refuse_hostile(snapshot)
    try:
        import qdrant_edge as engine
    except ImportError as error:
        raise RefusedError(
            "qdrant_engine_missing",
            "the Qdrant engine is not installed: a snapshot cannot be opened here",
            next_steps=["install aeterna-cli again: qdrant-edge-py belongs to it"],
        ) from error
    shard = _open(snapshot, work / "shard", engine)
    digest = DigestSum()
    marker: int | None = None
    with ids.open("w", encoding="ascii") as file:
        for record in _records(shard, engine):
            digest.add(record.id, _plain(record.vector, engine), record.payload)
            file.write(f"{record.id}\n")
            found = marker_number(record.id, record.payload)
            marker = found if marker is None else marker
    shard.close()
    result = digest.result()
    return {"points": result.points, "digest": result.digest, "marker": marker}


def main(arguments: list[str]) -> int:
    snapshot, work, ids = (Path(argument) for argument in arguments)
    try:
        answer, code = facts(snapshot, work, ids), 0
    except AeternaError as error:
        answer = {"error": error.code, "message": error.message, "hint": error.hint}
        code = 1
    sys.stdout.write(json.dumps(answer))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
