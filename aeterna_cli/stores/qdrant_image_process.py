"""The child process that opens a shard snapshot with Qdrant's own engine.

``python -m aeterna_cli.stores.qdrant_image_process SNAPSHOT WORK_DIR IDS_FILE`` prints one JSON
object: ``{"points", "digest", "marker"}``, or ``{"error", "message"}`` with exit code 1. With a
fourth word, a ``PointTest`` as JSON, only the points that it is true for are counted and digested,
and IDS_FILE gets them whole: NDJSON of ``id``, ``vector``, ``payload``. It is a process of its own
because the engine is native code reading foreign data: if it dies, only this does. Everything it
writes lies in WORK_DIR, which the caller removes.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aeterna_cli.errors import AeternaError, FailedError, RefusedError
from aeterna_cli.stores.qdrant_digests import DigestSum
from aeterna_cli.stores.qdrant_marker import marker_number
from aeterna_cli.stores.qdrant_selection import PointTest
from aeterna_cli.stores.qdrant_tar import refuse_hostile

_PAGE = 256


def _plain(vectors: Any, engine: Any) -> Any:
    """The engine's vectors in the REST API's shape."""
    if isinstance(vectors, engine.SparseVector):
        return {"indices": vectors.indices, "values": vectors.values}
    if isinstance(vectors, dict):
        return {name: _plain(value, engine) for name, value in vectors.items()}
    return vectors


def _records(shard: Any, engine: Any, condition: Any = None) -> Iterator[Any]:
    offset = None
    while True:
        page, offset = shard.scroll(
            engine.ScrollRequest(
                offset=offset,
                limit=_PAGE,
                filter=condition,
                with_payload=True,
                with_vector=True,
            )
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


def _opened(snapshot: Path, work: Path) -> tuple[Any, Any]:
    """The engine and the shard in it."""
    refuse_hostile(snapshot)
    try:
        import qdrant_edge as engine
    except ImportError as error:
        raise RefusedError(
            "qdrant_engine_missing",
            "the Qdrant engine is not installed: a snapshot cannot be opened here",
            next_steps=["install aeterna-cli again: qdrant-edge-py belongs to it"],
        ) from error
    return engine, _open(snapshot, work / "shard", engine)


def facts(snapshot: Path, work: Path, ids: Path) -> dict[str, Any]:
    """Count, digest and marker of a snapshot; its ids go to ``ids``, one a line, sorted."""
    engine, shard = _opened(snapshot, work)
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


def selected(snapshot: Path, work: Path, target: Path, test: PointTest) -> dict[str, Any]:
    """Count and digest of the points that ``test`` is true for; they go to ``target``."""
    import orjson

    engine, shard = _opened(snapshot, work)
    digest = DigestSum()
    with target.open("wb") as file:
        for record in _chosen(shard, engine, test):
            vectors = _plain(record.vector, engine)
            digest.add(record.id, vectors, record.payload)
            name = record.id if isinstance(record.id, int) else str(record.id)
            point = {"id": name, "vector": vectors, "payload": record.payload or {}}
            file.write(orjson.dumps(point, option=orjson.OPT_APPEND_NEWLINE))
    shard.close()
    result = digest.result()
    return {"points": result.points, "digest": result.digest, "marker": None}


def _chosen(shard: Any, engine: Any, test: PointTest) -> Iterator[Any]:
    """The engine's own filter first: one tenant of many must not read everybody's vectors."""
    if test.whole:
        yield from _records(shard, engine)
        return
    named = engine.FieldCondition(key=test.field, match=engine.MatchAny(list(test.values)))
    yield from _records(shard, engine, engine.Filter(must=[named]))
    if test.json_field:
        unnamed = engine.Filter(must=[engine.IsEmptyCondition(test.field)])
        for record in _records(shard, engine, unnamed):
            if test.by_text(record.payload):
                yield record


def main(arguments: list[str]) -> int:
    snapshot, work, target = (Path(argument) for argument in arguments[:3])
    code = 0
    try:
        if len(arguments) > 3:
            test = PointTest.from_document(json.loads(arguments[3]))
            answer = selected(snapshot, work, target, test)
        else:
            answer = facts(snapshot, work, target)
    except AeternaError as error:
        answer = {"error": error.code, "message": error.message, "hint": error.hint}
        code = 1
    sys.stdout.write(json.dumps(answer))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
