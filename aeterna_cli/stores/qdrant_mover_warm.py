"""Whether a target is ready to be asked: indexed, and its answers those of the source."""

from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from aeterna_cli.errors import RemoteError, TransientError
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd

_POLL = 0.2
_SAMPLES = 8
_NEIGHBOURS = 10


@dataclass(frozen=True)
class Neighbours:
    """Nearest neighbours of sample points: ``agreed`` of ``asked`` ids were the same."""

    samples: int
    asked: int
    agreed: int

    @property
    def recall(self) -> float:
        return self.agreed / self.asked if self.asked else 1.0


def wait_green(end: QdrantEnd, timeout: float) -> None:
    """The collection is green: nothing waits to be optimised or indexed.

    ``RemoteError('collection_red')`` for one that failed; ``TransientError('not_indexed_yet')``.
    """
    deadline = monotonic() + timeout
    while True:
        found = end.writing.call("GET", end.path)
        status = str(found["status"])
        waiting = (found.get("update_queue") or {}).get("length") or 0
        if status == "green" and not waiting:
            return
        if status == "red":
            raise RemoteError("collection_red", f"{end.description} reports the status red")
        if monotonic() > deadline:
            raise TransientError(
                "not_indexed_yet", f"{end.description} is {status} after {timeout:g} s"
            )
        sleep(_POLL)


def same_neighbours(source: QdrantEnd, target: QdrantEnd) -> Neighbours:
    """Sample points' neighbours on both ends, asked as the application asks. While it writes, some
    may differ for that reason alone."""
    points, _ = source.scroll(source.writing, limit=_SAMPLES, payload=False)
    asked = agreed = samples = 0
    for point in points:
        query = _query(point.get("vector"))
        if query is None:
            continue
        samples += 1
        left, right = (_nearest(end, query) for end in (source, target))
        asked += len(left)
        agreed += len(left & right)
    return Neighbours(samples, asked, agreed)


def _query(vector: Any) -> dict[str, Any] | None:
    """A query by the first dense vector; None where a point has none."""
    if isinstance(vector, list) and vector and not isinstance(vector[0], list):
        return {"query": vector}
    for name, one in sorted((vector or {}).items()) if isinstance(vector, dict) else ():
        if isinstance(one, list) and one and not isinstance(one[0], list):
            return {"query": one, "using": name}
    return None


def _nearest(end: QdrantEnd, query: dict[str, Any]) -> set[Any]:
    body = {**query, "filter": {"must": end.tenant}, "limit": _NEIGHBOURS}
    answer = end.writing.call("POST", f"{end.path}/points/query", end.addressed(body))
    return {one["id"] for one in answer["points"]}
