"""Every point's vectors and payload on both ends, by digest, while the application writes."""

from time import monotonic, sleep

from aeterna_cli.stores.base.mover import Comparison, PointId, Strategy
from aeterna_cli.stores.base.qdrant import PointDigest
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from aeterna_cli.stores.qdrant_mover_marks import DigestMarks, VersionMarks
from aeterna_cli.stores.qdrant_mover_order import Marked
from aeterna_cli.stores.qdrant_mover_scan import Scan
from aeterna_cli.stores.qdrant_mover_writes import Point

_MODULUS = 1 << 256
_LOOKS = 5  # at a point whose second write may be on its way
_EXAMPLES = 20
_DIGESTS, _VERSIONS = DigestMarks(), VersionMarks()


class _Sum:
    """Of one end: as ``qdrant_digests.DigestSum``, from hashes that are known already."""

    def __init__(self) -> None:
        self.points = 0
        self.total = 0

    def add(self, mark: int) -> None:
        self.points += 1
        self.total += mark

    def result(self) -> PointDigest:
        return PointDigest(self.points, f"{self.total % _MODULUS:064x}")


class Compared:
    """Adds up both ends; what differs is read again until it is equal or the same twice."""

    def __init__(self, strategy: Strategy, source: QdrantEnd, target: QdrantEnd) -> None:
        self.source, self.target = _Sum(), _Sum()
        self.differences = 0
        self.unexplained = 0
        self.examples: list[PointId] = []
        self._versions = strategy == "versions"
        self._from, self._to = source, target
        self._suspects: list[PointId] = []

    def same(self, items: list[Marked[int]]) -> None:
        for _, mark in items:
            self.source.add(mark)
            self.target.add(mark)

    def suspect(self, identifier: PointId) -> None:
        self._suspects.append(identifier)
        if len(self._suspects) >= self._from.page:
            self.settle()

    def settle(self) -> None:
        """Every suspect is counted: equal, gone on both ends, or a difference."""
        ids, self._suspects = self._suspects, []
        for look in range(_LOOKS if self._versions else 1):
            if not ids:
                return
            sleep(self._to.pace.grace * (1 + look))
            ids = self._looked_at_again(ids, last=look == _LOOKS - 1 or not self._versions)

    def _looked_at_again(self, ids: list[PointId], *, last: bool) -> list[PointId]:
        """Those that may still be on their way."""
        theirs, ours = self._to.of_ids(ids), self._from.of_ids(ids)
        waiting = []
        for one in ids:
            left, right = theirs.get(one), ours.get(one)
            if left is None and right is None:
                continue
            equal = left is not None and right is not None and _hash(left) == _hash(right)
            unexplained = not equal and self._same_version(left, right)
            if not (equal or unexplained or last):
                waiting.append(one)
                continue
            self._count(one, left, right, equal=equal, unexplained=unexplained)
        return waiting

    def _same_version(self, left: Point | None, right: Point | None) -> bool:
        if not self._versions or left is None or right is None:
            return False
        return _VERSIONS.of_point(left) == _VERSIONS.of_point(right)

    def _count(
        self,
        identifier: PointId,
        left: Point | None,
        right: Point | None,
        *,
        equal: bool,
        unexplained: bool,
    ) -> None:
        if left is not None:
            self.target.add(_hash(left))
        if right is not None:
            self.source.add(_hash(right))
        if equal:
            return
        self.differences += 1
        self.unexplained += unexplained
        if len(self.examples) < _EXAMPLES:
            self.examples.append(identifier)


def _hash(point: Point) -> int:
    return _DIGESTS.of_point(point)


def compare_ends(strategy: Strategy, source: QdrantEnd, target: QdrantEnd) -> Comparison:
    """One pass over everything; repairs nothing."""
    began = monotonic()
    compared = Compared(strategy, source, target)
    scan = Scan(_DIGESTS, source, target, compared.same)
    for identifier, _, _ in scan.different():
        compared.suspect(identifier)
    compared.settle()
    return Comparison(
        monotonic() - began,
        compared.source.result(),
        compared.target.result(),
        compared.differences,
        compared.unexplained,
        tuple(compared.examples),
    )
