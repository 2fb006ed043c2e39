"""By what two points of one id are compared: a version that grows, or a digest of the content."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.mover import PointId, Strategy
from aeterna_cli.stores.qdrant_digests import point_hash
from aeterna_cli.stores.qdrant_mover_end import Condition, Line, QdrantEnd
from aeterna_cli.stores.qdrant_mover_order import Marked
from aeterna_cli.stores.qdrant_mover_writes import LARGEST_VERSION, EndWrites, Point

Page = tuple[list[Marked[int]], PointId | None]


class MarkedPages(Protocol):
    """A point's id and a number by which two points of one id are compared."""

    def page(
        self,
        end: QdrantEnd,
        line: Line,
        offset: PointId | None,
        limit: int,
        must: Sequence[Condition] = (),
    ) -> Page:
        """One page in id order, and where the next one starts."""

    def limit(self, end: QdrantEnd) -> int:
        """How many fit into a page."""


class Marks(MarkedPages, Protocol):
    """A mark is a number; what it means for two of them to differ is the strategy's."""

    strategy: Strategy

    def of_ids(self, end: QdrantEnd, ids: Sequence[PointId]) -> dict[PointId, int]:
        """Of the points that are there now."""

    def of_point(self, point: Point) -> int:
        """Of a whole point."""

    def behind(self, target: int, source: int) -> bool:
        """Whether the target must be given the source's."""

    def ahead(self, target: int, source: int) -> bool:
        """Whether the target has what the source cannot have had."""

    def put(self, writes: EndWrites, points: Sequence[Point]) -> None: ...

    def drop(self, writes: EndWrites, seen: Iterable[tuple[PointId, int]]) -> None: ...


class VersionMarks:
    """The payload's ``version``; writes apply only over what is older."""

    strategy: Strategy = "versions"
    _FIELDS = ("version",)

    def limit(self, end: QdrantEnd) -> int:
        return end.scan_page

    def page(
        self,
        end: QdrantEnd,
        line: Line,
        offset: PointId | None,
        limit: int,
        must: Sequence[Condition] = (),
    ) -> Page:
        points, following = end.scroll(
            line, limit=limit, offset=offset, must=must, payload=list(self._FIELDS), vector=False
        )
        try:
            found = [(point["id"], point["payload"]["version"]) for point in points]
        except (KeyError, TypeError) as error:
            raise version_missing(end, points) from error
        if not all(type(version) is int for _, version in found):
            raise version_missing(end, points)
        return found, following

    def of_ids(self, end: QdrantEnd, ids: Sequence[PointId]) -> dict[PointId, int]:
        found = end.of_ids(ids, payload=list(self._FIELDS), vector=False)
        return {one: self._checked(end, point) for one, point in found.items()}

    def _checked(self, end: QdrantEnd, point: Point) -> int:
        version = (point.get("payload") or {}).get("version")
        if type(version) is not int:
            raise version_missing(end, [point])
        return version

    def of_point(self, point: Point) -> int:
        version = (point.get("payload") or {}).get("version")
        if type(version) is not int or not 0 <= version <= LARGEST_VERSION:
            raise _no_version(1, f"point {point['id']}")
        return version

    def behind(self, target: int, source: int) -> bool:
        return target < source

    def ahead(self, target: int, source: int) -> bool:
        return target > source

    def put(self, writes: EndWrites, points: Sequence[Point]) -> None:
        writes.upsert_newer(points)

    def drop(self, writes: EndWrites, seen: Iterable[tuple[PointId, int]]) -> None:
        writes.delete_seen(seen)


class DigestMarks:
    """A hash of id, vectors and payload; right where only the mover writes the target."""

    strategy: Strategy = "digests"

    def limit(self, end: QdrantEnd) -> int:
        return end.page

    def page(
        self,
        end: QdrantEnd,
        line: Line,
        offset: PointId | None,
        limit: int,
        must: Sequence[Condition] = (),
    ) -> Page:
        points, following = end.scroll(line, limit=limit, offset=offset, must=must)
        return [(point["id"], self.of_point(point)) for point in points], following

    def of_ids(self, end: QdrantEnd, ids: Sequence[PointId]) -> dict[PointId, int]:
        return {one: self.of_point(point) for one, point in end.of_ids(ids).items()}

    def of_point(self, point: Point) -> int:
        return point_hash(point["id"], point.get("vector"), point.get("payload"))

    def behind(self, target: int, source: int) -> bool:
        return target != source

    def ahead(self, target: int, source: int) -> bool:
        return False

    def put(self, writes: EndWrites, points: Sequence[Point]) -> None:
        writes.overwrite(points)

    def drop(self, writes: EndWrites, seen: Iterable[tuple[PointId, int]]) -> None:
        writes.delete_ids([one for one, _ in seen])


class IdPages:
    """Ids alone, for a scan that asks only who is there: every mark is 0. Reading no payload takes
    two thirds of the time."""

    def limit(self, end: QdrantEnd) -> int:
        return end.scan_page

    def page(
        self,
        end: QdrantEnd,
        line: Line,
        offset: PointId | None,
        limit: int,
        must: Sequence[Condition] = (),
    ) -> Page:
        points, following = end.scroll(
            line, limit=limit, offset=offset, must=must, payload=False, vector=False
        )
        return [(point["id"], 0) for point in points], following


MARKS: dict[Strategy, Marks] = {"versions": VersionMarks(), "digests": DigestMarks()}


def versioned() -> dict[str, Any]:
    """The condition that a point has a version that can be compared."""
    return {"key": "version", "range": {"gte": 0, "lte": LARGEST_VERSION}}


def version_missing(end: QdrantEnd, seen: Sequence[Point]) -> RefusedError:
    """How many of the tenant's points lack a version, counted now."""
    count = end.count(must_not=[versioned()])
    if count == 0:  # a number with a fraction passes the filter
        count = sum(type((one.get("payload") or {}).get("version")) is not int for one in seen)
    return _no_version(max(count, 1), end.description)


def _no_version(count: int, where: str) -> RefusedError:
    return RefusedError(
        "version_missing",
        f"{count:,} points of this tenant in {where} have no usable `version` in their payload",
        hint="a whole number from 0 to 2^53 that grows with every write; without it use the"
        " contract `maintenance`",
        details={"points": count},
    )


def pages(
    marks: Marks, end: QdrantEnd, line: Line, limit: int | None = None
) -> Iterator[list[Marked[int]]]:
    """All pages, each in order, one after the other."""
    offset: PointId | None = None
    while True:
        items, offset = marks.page(end, line, offset, limit or marks.limit(end))
        yield items
        if offset is None:
            return
