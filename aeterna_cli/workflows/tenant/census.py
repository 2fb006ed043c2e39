"""Everything that every tenant has: one pass over each store, whatever the number of tenants.

PostgreSQL is counted in one snapshot; the other stores go on changing while they are counted. What
is no known tenant's is told as ``Nobody``, never left out:

    rows, keys, objects of all tenants + nobody's - what several have = the store's own total
    points and copies of all tenants + nobody's = the store's own total
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import TypeVar

from aeterna_cli.context import Context
from aeterna_cli.datamap.known import KnownTenants
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.rules import Rules
from aeterna_cli.deployment import Deployment
from aeterna_cli.stores.base.moves import MoveRecord
from aeterna_cli.stores.base.placement import Placement, ShardRecord
from aeterna_cli.stores.base.qdrant import ShardKey
from aeterna_cli.stores.base.selection import Count
from aeterna_cli.stores.base.tenant_counts import Counted, Tally
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.datamap.build import rules_of

WEEK, MONTH = timedelta(days=7), timedelta(days=30)

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Nobody:
    """What no known tenant has: a text (a value that stores hold, a table, a collection, a rule or
    the shape of a name), "" where things name nobody, and why it is nobody's."""

    what: str
    why: str


@dataclass
class Share:
    """What one has. ``points`` leaves out ``copies``: points that a running move has in a second
    place. ``point_bytes`` is an estimate (vectors and a sample of payloads, without indexes);
    ``row_bytes`` and ``key_bytes`` are the server's, without indexes; ``week`` and ``month`` count
    what was created in the last 7 and 30 days. What was not asked for is 0.
    """

    rows: int = 0
    row_bytes: int = 0
    points: int = 0
    copies: int = 0
    point_bytes: int = 0
    keys: int = 0
    key_bytes: int = 0
    objects: int = 0
    object_bytes: int = 0
    memory_rows: int = 0
    memory_rows_week: int = 0
    memory_rows_month: int = 0
    memory_points: int = 0
    memory_points_week: int = 0
    memory_points_month: int = 0

    def add(self, other: "Share") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    # A memory that was synchronised is a row and a point of the same id, one that the API wrote is
    # a point alone, and one whose embedding is to come a row alone. Only reading every id would
    # tell how many there are; the larger number is what there is at least.

    @property
    def memories(self) -> int:
        return max(self.memory_rows, self.memory_points)

    @property
    def memories_at_most(self) -> int:
        return self.memory_rows + self.memory_points

    @property
    def week(self) -> int:
        return max(self.memory_rows_week, self.memory_points_week)

    @property
    def month(self) -> int:
        return max(self.memory_rows_month, self.memory_points_month)


Owner = str | Nobody  # a tenant's id, or nobody


@dataclass(frozen=True)
class CountedCollection:
    """One collection. ``memory``: its points are memories. ``by_key`` counts what lies under two
    shard keys twice, ``by_owner`` once. ``rule`` is "" where none knows the name;
    ``may_be`` are tenants that its name may mean."""

    server: str
    name: str
    kind: str
    rule: str
    memory: bool
    method: str
    may_be: tuple[str, ...]
    by_owner: Mapping[Owner, Counted]
    by_key: Mapping[ShardKey | None, Mapping[Owner, Counted]]
    bytes_per_point: int


@dataclass(frozen=True)
class Depth:
    """How much is counted: memories always; with ``rows`` every table; with ``everything`` keys,
    objects and the bytes of all stores as well."""

    rows: bool = False
    everything: bool = False

    @property
    def week(self) -> bool:
        """Whether what the last 7 days brought is counted: one question more to every index."""
        return self.rows


@dataclass
class Census:
    """``several`` is what is in more than one tenant's share, by how much too often. ``rows`` are
    those of every table by owner, ``moves`` the unfinished ones by tenant, ``objects`` the tallies
    by bucket."""

    taken_at: datetime
    depth: Depth
    map: DataMap
    tenants: tuple[TenantIdentity, ...]
    known: KnownTenants
    rules: Rules
    shards: Sequence[ShardRecord] = ()
    placements: Mapping[str, Placement] = field(default_factory=dict)
    moves: Mapping[str, MoveRecord] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    nobody: dict[Nobody, Share] = field(default_factory=dict)
    several: Share = field(default_factory=Share)
    total: Share = field(default_factory=Share)
    rows: dict[str, Mapping[Owner, Count]] = field(default_factory=dict)
    collections: list[CountedCollection] = field(default_factory=list)
    keys: Tally | None = None
    objects: dict[str, Tally] = field(default_factory=dict)

    def share(self, owner: Owner) -> Share:
        if isinstance(owner, Nobody):
            return self.nobody.setdefault(owner, Share())
        return self.shares[owner]

    def owner(self, value: str | None) -> Owner:
        """Whose a thing is that names this text."""
        if not value:
            return Nobody("", "names no tenant")
        found = self.known.named(value)
        if len(found) == 1:
            return found[0]
        if value == "__root__":
            return Nobody(value, "the whole instance's")
        return Nobody(value, "two tenants' name" if found else "no such tenant")


Told = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Surroundings:
    """What counting needs of a command: the stores, whom to tell how far it is, when to stop."""

    place: Deployment
    told: Told
    stopped: Callable[[], bool]
    check: Callable[[], None]

    def each(self, step: str, things: Sequence[T], unit: str) -> Iterator[T]:
        """The things, with a safe point and a word before each."""
        for number, one in enumerate(things):
            self.check()
            self.told(step, number, len(things), unit)
            yield one


def take(ctx: Context, depth: Depth, *, now: datetime | None = None) -> Census:
    """Reads every store that ``depth`` asks for; changes none.

    ``AuthenticationError`` where our role may not see every row that is counted: a part would look
    like all. ``RefusedError('root_missing')`` where there is no table of tenants; else the stores'
    errors. Memory grows with the number of tenants (and of orphans' names), never with their data.
    """
    from aeterna_cli.workflows.tenant import census_points, census_rest, census_rows

    around = Surroundings(
        ctx.deployment, ctx.out.progress, lambda: ctx.stop.requested, ctx.stop.check
    )
    census = census_rows.begin(around, depth, rules_of(ctx.deployment), now or ctx.clock())
    census.shards, census.placements = _placed(ctx.deployment)
    census.moves = _moves(ctx.deployment)
    census_points.count(around, census)
    if depth.everything:
        census_rest.count_keys(around, census)
        census_rest.count_objects(around, census)
    return census


def _placed(place: Deployment) -> tuple[Sequence[ShardRecord], Mapping[str, Placement]]:
    """Shards and placements; nothing where nobody has registered any."""
    if not place.placement.prepared():
        return (), {}
    placements = {one.tenant: one for one in place.placement.placements()}
    return place.placement.shards(), placements


def _moves(place: Deployment) -> Mapping[str, MoveRecord]:
    """The moves that have not ended, by tenant."""
    from aeterna_cli.stores.postgres_moves import PostgresMoves

    found = PostgresMoves(place.profile.postgres).every_unfinished()
    return {one.tenant: one for one in found}


def sum_of(shares: Iterable[Share]) -> Share:
    total = Share()
    for one in shares:
        total.add(one)
    return total
