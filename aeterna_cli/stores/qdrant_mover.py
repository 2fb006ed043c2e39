"""Qdrant's mover: a tenant's points between collections, shard keys or servers, under live writes.

Proof: ``tests/integration/stores/test_qdrant_mover_races.py``, where a plain copy loses points.
"""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from aeterna_cli.errors import FailedError
from aeterna_cli.stores.base.mover import (
    Comparison,
    Copied,
    Delta,
    PointId,
    Round,
    Side,
    Strategy,
)
from aeterna_cli.stores.qdrant_mover_compare import compare_ends
from aeterna_cli.stores.qdrant_mover_delta import (
    count_without_time,
    run_delta,
    sample_time,
    time_missing,
)
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from aeterna_cli.stores.qdrant_mover_marks import MARKS, version_missing, versioned
from aeterna_cli.stores.qdrant_mover_rounds import never_settles, run_round, run_sweep
from aeterna_cli.stores.qdrant_mover_scan import one_ahead
from aeterna_cli.stores.qdrant_mover_writes import EndWrites

_REMOVALS = 10_000  # batches of one tenant without an end are somebody who still writes


def _nothing(_count: int) -> None:
    pass


class QdrantMover:
    """Brings ``target`` up to ``source``; both may be swapped for the way back.

    Errors of every call: those of ``QdrantEnd``; ``RefusedError('version_missing')`` where a point
    has no version and the strategy needs one; ``FailedError('point_ids_taken')`` where somebody
    else's point has an id of this tenant on the target (theirs is left alone).
    """

    def __init__(self, source: QdrantEnd, target: QdrantEnd, strategy: Strategy) -> None:
        self.source = source
        self.target = target
        self.strategy = strategy
        self._marks = MARKS[strategy]

    def close(self) -> None:
        self.source.close()
        self.target.close()

    def swapped(self) -> "QdrantMover":
        """The way back, over the same connections."""
        return QdrantMover(self.target, self.source, self.strategy)

    def check_source(self) -> Mapping[str, Any]:
        """How many points there are, and that each has what the strategy compares.

        ``RefusedError('version_missing' | 'updated_at_missing')`` with the number of those without.
        """
        if self.strategy == "versions":
            if self.source.count(must_not=[versioned()]):
                raise version_missing(self.source, [])
            without = count_without_time(self.source)
            if without:
                raise time_missing(self.source, without)
            sample_time(self.source)
        return {"points": self.source.count()}

    def copy(
        self, cursor: PointId | None, on_page: Callable[[Copied], None] = lambda _: None
    ) -> Copied:
        """Insert every point that the target lacks, in id order from ``cursor`` on.

        What the target has is left alone (on servers before 1.15.5 it is overwritten: there only
        the mover may write it). ``on_page`` gets a cursor that is safe to go on from; what it
        raises ends the copy.
        """
        writes = EndWrites(self.target)
        items = 0
        for points, following in one_ahead(self.source.pages(cursor), self.source.pace):
            writes.insert(points)
            items += len(points)
            done = Copied(following, items, following is None)
            on_page(done)
            if done.done:
                return done
        raise FailedError("copy_without_end", "the source's pages ended without saying so")

    def round(self) -> Round:
        """Compare all ids once and repair the target; see ``qdrant_mover_rounds``."""
        return run_round(self._marks, self.source, self.target)

    def sweep(self) -> Round:
        """Repair what only one end has, by ids alone. With a clean ``delta`` since a round it makes
        the ends equal where nobody writes: a deletion leaves no trace that a delta could see."""
        return run_sweep(self._marks, self.source, self.target)

    def rescue(self) -> Round:
        """Write to the target what both have and the source has newer, by version; nothing is
        inserted or deleted. Safe after a switch: what the target got meanwhile is newer."""
        return run_round(self._marks, self.source, self.target, only_newer=True)

    def rounds(
        self, most: int, on_round: Callable[[Round], None] = lambda _: None
    ) -> tuple[Round, ...]:
        """Rounds until one is clean. ``FailedError('rounds_do_not_settle')`` after ``most``."""
        done: list[Round] = []
        while len(done) < most:
            done.append(self.round())
            on_round(done[-1])
            if done[-1].clean:
                return tuple(done)
        raise never_settles(most, done[-1])

    def compare(self) -> Comparison:
        """Vectors and payload of every point; repairs nothing."""
        return compare_ends(self.strategy, self.source, self.target)

    def delta(self, since: float) -> Delta:
        """Repair what was written since then (UTC epoch seconds) and count both ends exactly."""
        return run_delta(self._marks, self.source, self.target, since)

    def end(self, side: Side) -> QdrantEnd:
        return self.source if side == "source" else self.target

    def count(self, side: Side) -> int:
        """Exact, and agreed by all replicas."""
        return self.end(side).count(consistency="all")

    def remove(self, side: Side, on_batch: Callable[[int], None] = _nothing) -> int:
        """Delete every point of the tenant there, by id and tenant; returns how many there were.

        None is left when this returns: counted exactly on all replicas.
        ``FailedError('points_left')`` where somebody goes on writing them.
        """
        end, removed, began = self.end(side), 0, monotonic()
        writes = EndWrites(end)
        for _ in range(_REMOVALS):
            points, _ = end.scroll(end.writing, limit=end.page, payload=False, vector=False)
            if not points:
                break
            writes.delete_ids([point["id"] for point in points])
            removed += len(points)
            on_batch(removed)
        left = self.count(side)
        if left:
            raise FailedError(
                "points_left",
                f"{left:,} points of the tenant are still in {end.description}"
                f" after {monotonic() - began:.0f} s",
                hint="somebody still writes them there",
                details={"points": left},
            )
        return removed
