"""Moving one tenant's items from one place to another while the application writes.

A mover brings the target up to the source and says what it saw; it never decides who serves. It
has no memory of its own: every call may be repeated after a crash, and only the copy has a cursor.
Qdrant's is ``aeterna_cli.stores.qdrant_mover.QdrantMover``; another store is another class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from aeterna_cli.stores.base.qdrant import PointDigest

PointId = int | str
#: ``versions``: every item carries a version that grows with each write, and others may write the
#: target too. ``digests``: no version; content is compared, and only the mover writes the target.
Strategy = Literal["versions", "digests"]
Side = Literal["source", "target"]


@dataclass(frozen=True)
class TenantItems:
    """Which items are the tenant's: ``field`` holds one of ``values``.

    ``field`` None: the whole place is this tenant's, as in a collection per tenant.
    """

    values: tuple[str, ...]
    field: str | None = "tenant_id"


@dataclass(frozen=True)
class Pace:
    """How hard a mover works. ``page`` items with content and ``scan_page`` without at a time;
    ``share`` of the time it is busy (0.5: as long idle as busy), so that others get through.
    ``grace`` is how long a difference must last to be one: in-flight second writes arrive."""

    page: int = 250
    scan_page: int = 2000
    share: float = 1.0
    grace: float = 0.05


@dataclass(frozen=True)
class Copied:
    """How far the base copy is. ``cursor`` is where to go on, None with ``done``."""

    cursor: PointId | None
    items: int
    done: bool


@dataclass(frozen=True)
class Round:
    """One comparison of all ids, and what was repaired. Times are seconds, ``started`` UTC epoch.

    ``ahead``: items newer in the target than in the source although the source is written first.
    """

    started: float
    seconds: float
    source: int
    target: int
    upserted: int
    deleted: int
    ahead: int

    @property
    def clean(self) -> bool:
        """Nothing was repaired: such a round cannot have resurrected anything."""
        return not (self.upserted or self.deleted or self.ahead)


@dataclass(frozen=True)
class Comparison:
    """Every item's content on both sides. ``examples`` are at most 20 ids that differ.

    ``unexplained`` of the differences have equal versions: content changed without a new version.
    """

    seconds: float
    source: PointDigest
    target: PointDigest
    differences: int
    unexplained: int
    examples: tuple[PointId, ...]

    @property
    def equal(self) -> bool:
        return self.differences == 0 and self.source == self.target


@dataclass(frozen=True)
class Delta:
    """What was written since a moment, and exact numbers. Equal numbers after a clean delta mean
    equal sets of ids: every id of the source was seen in the target."""

    seconds: float
    looked_at: int
    upserted: int
    deleted: int
    source: int
    target: int

    @property
    def equal(self) -> bool:
        return self.source == self.target


class Mover(Protocol):
    """See ``aeterna_cli.stores.qdrant_mover.QdrantMover`` for the promises."""

    strategy: Strategy

    def check_source(self) -> Mapping[str, Any]: ...
    def copy(self, cursor: PointId | None, on_page: Callable[[Copied], None]) -> Copied: ...
    def round(self) -> Round: ...
    def sweep(self) -> Round: ...
    def compare(self) -> Comparison: ...
    def delta(self, since: float) -> Delta: ...
    def count(self, side: Side) -> int: ...
    def remove(self, side: Side, on_batch: Callable[[int], None]) -> int: ...
