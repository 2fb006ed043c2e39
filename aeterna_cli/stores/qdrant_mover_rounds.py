"""A round: every id on both ends compared, real differences repaired on the target.

Order is what makes it safe. A difference is looked at again, target first and source second, once
it has lasted ``Pace.grace``: most are second writes on their way. Only then a point that the source
no longer has is deleted on the target, unless it is newer than what was seen; and what the target
lacks is read from the source again and written unless the target has something newer. What a round
writes may itself come too late, so rounds go on until one of them wrote nothing.
"""

from time import monotonic, sleep, time

from aeterna_cli.errors import FailedError
from aeterna_cli.stores.base.mover import PointId, Round
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from aeterna_cli.stores.qdrant_mover_marks import IdPages, Marks
from aeterna_cli.stores.qdrant_mover_scan import Scan
from aeterna_cli.stores.qdrant_mover_writes import EndWrites, Point


class Repair:
    """Looks again at ids that seemed to differ, and repairs the target. Counts what it did.

    ``only_newer``: points that both have and the source has newer, nothing else.
    """

    def __init__(
        self,
        marks: Marks,
        source: QdrantEnd,
        target: QdrantEnd,
        grace: float,
        *,
        only_newer: bool = False,
    ) -> None:
        self._only_newer = only_newer
        self.upserted = 0
        self.deleted = 0
        self.ahead = 0
        self._marks = marks
        self._source = source
        self._target = target
        self._grace = grace
        self._writes = EndWrites(target)
        self._suspects: list[PointId] = []
        self._newest = 0.0

    def suspect(self, identifier: PointId) -> None:
        """It differed when it was read; looked at again soon."""
        self._suspects.append(identifier)
        self._newest = monotonic()
        if len(self._suspects) >= self._source.page:
            self.settle()

    def settle(self) -> None:
        """Every suspect is either equal now or repaired when this returns."""
        ids, self._suspects = self._suspects, []
        if not ids:
            return
        sleep(max(0.0, self._newest + self._grace - monotonic()))
        behind, surplus = self._looked_at_again(ids)
        if surplus:
            self._marks.drop(self._writes, surplus)
            self.deleted += len(surplus)
        if behind:
            self._marks.put(self._writes, behind)
            self.upserted += len(behind)

    def _looked_at_again(self, ids: list[PointId]) -> tuple[list[Point], list[tuple[PointId, int]]]:
        """What the target lacks and what it has too much. The target is read first."""
        theirs = self._marks.of_ids(self._target, ids)
        ours = self._source.of_ids(ids)
        behind, surplus = [], []
        for one in ids:
            point, mark = ours.get(one), theirs.get(one)
            if point is None:
                if mark is not None and not self._only_newer:
                    surplus.append((one, mark))
            elif mark is None and self._only_newer:
                continue
            elif mark is None or self._marks.behind(mark, self._marks.of_point(point)):
                behind.append(point)
            elif self._marks.ahead(mark, self._marks.of_point(point)):
                self.ahead += 1
        self._refuse_strangers(behind, theirs)
        return behind, surplus

    def _refuse_strangers(self, behind: list[Point], theirs: dict[PointId, int]) -> None:
        self._writes.refuse_taken([one["id"] for one in behind if one["id"] not in theirs])


def run_round(
    marks: Marks, source: QdrantEnd, target: QdrantEnd, *, only_newer: bool = False
) -> Round:
    """One pass over all ids; see the module."""
    started, began = time(), monotonic()
    scan = Scan(marks, source, target)
    repair = Repair(marks, source, target, target.pace.grace, only_newer=only_newer)
    for identifier, _, _ in scan.different():
        repair.suspect(identifier)
    repair.settle()
    return Round(
        started,
        monotonic() - began,
        scan.source,
        scan.target,
        repair.upserted,
        repair.deleted,
        repair.ahead,
    )


def run_sweep(marks: Marks, source: QdrantEnd, target: QdrantEnd) -> Round:
    """A round that looks at ids alone: what only one end has is repaired, versions are not
    compared. For a moment in which nobody writes: nothing is given time to arrive."""
    started, began = time(), monotonic()
    scan = Scan(IdPages(), source, target)
    repair = Repair(marks, source, target, 0.0)
    for identifier, _, _ in scan.different():
        repair.suspect(identifier)
    repair.settle()
    return Round(
        started,
        monotonic() - began,
        scan.source,
        scan.target,
        repair.upserted,
        repair.deleted,
        repair.ahead,
    )


def never_settles(rounds: int, last: Round) -> FailedError:
    """Rounds that go on finding differences: something else is wrong."""
    return FailedError(
        "rounds_do_not_settle",
        f"after {rounds} rounds the target still differs: {last.upserted:,} points were missing or"
        f" old, {last.deleted:,} too many, {last.ahead:,} newer than in the source",
        hint="somebody else writes to the target, or writers do not honour the placement",
        details={"upserted": last.upserted, "deleted": last.deleted, "ahead": last.ahead},
    )
