"""What one pass over a store tells of every tenant, and whom such a pass asks whose a thing is.

The stores count; what a name or a value means is decided by the data map, which stands above them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from aeterna_cli.stores.base.qdrant import ShardKey


@dataclass(frozen=True)
class Counted:
    """Points, and how many of them were created since the moment that was asked for, and since an
    earlier one (``longer``)."""

    points: int
    recent: int
    longer: int = 0

    def plus(self, other: "Counted") -> "Counted":
        recent, longer = self.recent + other.recent, self.longer + other.longer
        return Counted(self.points + other.points, recent, longer)


@dataclass(frozen=True)
class PointsQuestion:
    """One collection to be counted.

    ``owner`` is the key under which a collection of one tenant is counted as a whole ("" where
    nobody can tell whose it is); None for a shared one, whose points are told apart by ``field``,
    or, where a point has none, by ``json_path`` inside the JSON text of ``json_field``. ``indexed``
    and ``created_indexed`` say whether the fields have payload indexes. ``most_asked`` is strict
    mode's limit of one answer, 0 without.
    """

    collection: str
    owner: str | None
    field: str
    json_field: str
    json_path: str
    created: str
    indexed: bool
    created_indexed: bool
    shard_keys: tuple[ShardKey | None, ...]
    vector_bytes: int
    most_asked: int


@dataclass(frozen=True)
class CollectionCount:
    """One collection's points by the value that names their tenant in it, exact at that moment.

    ``by_tenant`` counts a point once. ``by_key`` counts per shard key, and a point that lies under
    two keys (as during a promotion) under both. ``nameless`` points name no tenant at all.
    ``method``: ``count`` (a whole collection), ``facet`` (the server's own index) or ``scroll``.
    ``bytes_per_point`` is an **estimate**: the vectors as float32 and the payload of a sample as
    JSON, without indexes.
    """

    collection: str
    by_tenant: Mapping[str, Counted]
    by_key: Mapping[ShardKey | None, Mapping[str, Counted]]
    nameless: Counted
    method: Literal["count", "facet", "scroll"]
    bytes_per_point: int

    @property
    def points(self) -> int:
        return sum(found.points for found in self.by_tenant.values()) + self.nameless.points


@dataclass
class Volume:
    """How many things, and their bytes as the store itself states them."""

    count: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.count += 1
        self.bytes += size


@dataclass
class Sampled:
    """Things that no rule knows, by the shape of their names, with one of them as it is."""

    sample: str
    volume: Volume = field(default_factory=Volume)


@dataclass
class Tally:
    """Keys or objects of one pass, each in exactly one of these, but for ``shared``.

    ``by_tenant``: per tenant id and rule; a thing of several tenants is in each one's and, once, in
    ``shared``. ``others``: per holder (``nobody``, ``index``, ``ours``, ``unknown``, ``ambiguous``,
    ``unreadable``) and rule. ``unclassified``: by shape. ``total``: everything, once.
    """

    by_tenant: dict[str, dict[str, Volume]] = field(default_factory=dict)
    shared: dict[str, Volume] = field(default_factory=dict)
    others: dict[str, dict[str, Volume]] = field(default_factory=dict)
    unclassified: dict[str, Sampled] = field(default_factory=dict)
    total: Volume = field(default_factory=Volume)

    def of(self, tenant: str) -> Volume:
        """Everything of one tenant."""
        rules = self.by_tenant.get(tenant, {}).values()
        return Volume(sum(v.count for v in rules), sum(v.bytes for v in rules))


class Judged(Protocol):
    """Whose a thing is; see ``aeterna_cli.datamap.keys.KeyClass``."""

    @property
    def rule_name(self) -> str: ...
    @property
    def holder(self) -> str: ...
    @property
    def tenants(self) -> tuple[str, ...]: ...


class JudgedKey(Judged, Protocol):
    @property
    def reads_value(self) -> bool: ...


K = TypeVar("K", bound=JudgedKey)


class KeyJudge(Protocol[K]):
    """See ``aeterna_cli.datamap.keys.KeyMap``."""

    def classify(self, key: bytes) -> K: ...
    def in_value(self, found: K, value: bytes | None) -> K: ...


class ObjectJudge(Protocol):
    """See ``aeterna_cli.datamap.objects.ObjectMap``."""

    def classify(self, name: str, store: str) -> Judged: ...
