"""What was written since a moment, on both ends: the last check of a cutover, in milliseconds."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.mover import Delta, PointId
from aeterna_cli.stores.qdrant_mover_end import Condition, Line, QdrantEnd
from aeterna_cli.stores.qdrant_mover_marks import Marks
from aeterna_cli.stores.qdrant_mover_rounds import Repair

FIELD = "updated_at"
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # nano-, micro-, milliseconds: above, per second


def written_since(value: Any, since: float) -> Condition:
    """The condition on ``updated_at``, in the form that the platform writes it (``value``).

    Text is RFC 3339; a number is seconds, or a thousandth, millionth, billionth, by its size.
    """
    if isinstance(value, str):
        return {"key": FIELD, "range": {"gte": datetime.fromtimestamp(since, UTC).isoformat()}}
    unit = next((per for least, per in _UNITS if value >= least), 1.0)
    least = since * unit if isinstance(value, float) else int(since * unit)
    return {"key": FIELD, "range": {"gte": least}}


def sample_time(end: QdrantEnd, line: Line | None = None) -> Any:
    """``updated_at`` of one of the points; None where there is no point.

    ``RefusedError('updated_at_missing')`` for a value that is no time.
    """
    points, _ = end.scroll(line or end.writing, limit=1, payload=[FIELD], vector=False)
    if not points:
        return None
    value = (points[0].get("payload") or {}).get(FIELD)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise time_missing(end, 1)
    return value


def count_without_time(end: QdrantEnd) -> int:
    return end.count([{"is_empty": {"key": FIELD}}])


def time_missing(end: QdrantEnd, count: int) -> RefusedError:
    return RefusedError(
        "updated_at_missing",
        f"{count:,} points of this tenant in {end.description} have no usable `{FIELD}`",
        hint="the last check of a cutover reads what was written since the last round by it; use"
        " the contract `maintenance` without it",
        details={"points": count},
    )


def run_delta(marks: Marks, source: QdrantEnd, target: QdrantEnd, since: float) -> Delta:
    """Repairs what differs among the points written since then, then counts both ends exactly.

    Everything is asked at the same time, for writers may be waiting. The numbers mean something
    only while they do; after a repair they are asked again.
    """
    began = monotonic()
    repair = Repair(marks, source, target, 0.0)
    with ThreadPoolExecutor(4, "delta") as threads:
        numbers = threads.map(lambda end: end.count(), (source, target))
        theirs, ours = threads.map(lambda end: _changed(marks, end, since), (target, source))
        looked = theirs.keys() | ours.keys()
        for identifier in looked:
            if theirs.get(identifier) != ours.get(identifier):
                repair.suspect(identifier)
        repair.settle()
        left, right = numbers
        if repair.upserted or repair.deleted:
            left, right = threads.map(lambda end: end.count(), (source, target))
    seconds = monotonic() - began
    return Delta(seconds, len(looked), repair.upserted, repair.deleted, left, right)


def _changed(marks: Marks, end: QdrantEnd, since: float) -> dict[PointId, int]:
    """The marks of the points written since then."""
    if end.time_sample is None:
        end.time_sample = sample_time(end, end.reading)  # the other line is counting
    if end.time_sample is None:
        return {}
    condition = written_since(end.time_sample, since)
    found: dict[PointId, int] = {}
    offset: PointId | None = None
    while True:
        items, offset = marks.page(end, end.reading, offset, marks.limit(end), must=[condition])
        found.update(items)
        if offset is None:
            return found
