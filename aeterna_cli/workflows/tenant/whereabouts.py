"""Where one tenant is in every store of a deployment, and what nobody can say whose it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aeterna_cli.datamap.collections import CollectionMap, PointSelection
from aeterna_cli.datamap.keys import KeyMap
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.objects import ObjectMap
from aeterna_cli.datamap.rules import Rules
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.placement import PointsPlace
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION, CollectionDescription
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.datamap.build import (
    build,
    collections_of,
    keys_of,
    objects_of,
    registered,
    rules_of,
    tenants_of,
)
from aeterna_cli.workflows.tenant.resolve import choose

_NOBODY = TenantIdentity("", "", "", "", None)


@dataclass(frozen=True)
class Whereabouts:
    """``everyone`` are all tenants of the same moment: whose a key or a collection is can only be
    told by knowing them all. ``shards`` are the collections of the profile's own Qdrant server that
    registered shards lie in: several tenants may be there, with an index on ``tenant_id`` or not.
    """

    tenant: TenantIdentity
    everyone: tuple[TenantIdentity, ...]
    map: DataMap
    rules: Rules
    shards: frozenset[str] = frozenset()

    @property
    def keys(self) -> KeyMap:
        return keys_of(self.rules, self.everyone)

    @property
    def objects(self) -> ObjectMap:
        return objects_of(self.rules, self.everyone)

    def mentioned(self, name: str | bytes) -> bool:
        """Whether a name that no rule knows says this tenant's id or slug."""
        text = name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
        return any(one.encode("utf-8", "surrogatepass") in text for one in self.tenant.values)

    def collections(self, described: Sequence[CollectionDescription]) -> CollectionMap:
        known = [one for one in described if one.name != OPS_COLLECTION]
        return collections_of(known, self.rules, self.everyone, self.shards)

    def mapped(self, described: Sequence[CollectionDescription]) -> DataMap:
        """The map with the collections of the profile's own Qdrant server in it, those that shards
        lie in among them."""
        found = collections_of(described, self.rules, self.everyone, self.shards)
        return replace(self.map, collections={"": found})

    def selections(self, described: Sequence[CollectionDescription]) -> "Selections":
        """Where the tenant's points may lie, and which collections nobody can be sure of."""
        found = self.collections(described)
        doubtful = {one.collection for one in found.classes if one.ambiguous}
        mine = [one for one in found.selections(self.tenant) if one.collection not in doubtful]
        named = [
            one.collection
            for one in found.classes
            if one.ambiguous and self.tenant.id in one.tenants
        ]
        unclassified = [one.collection for one in found.unclassified()]
        return Selections(tuple(mine), tuple(named), tuple(unclassified))


@dataclass(frozen=True)
class Selections:
    """``doubtful`` collections may be this tenant's or another's by their names; ``unclassified``
    ones fit no rule."""

    mine: tuple[PointSelection, ...]
    doubtful: tuple[str, ...]
    unclassified: tuple[str, ...]


@dataclass
class Unclassified:
    """Things that no rule knows; of ``named`` ones the name says the tenant's id or slug."""

    count: int = 0
    named: int = 0

    def add(self, named: bool) -> None:
        self.count += 1
        self.named += named


def find(place: Deployment, text: str, settings: PostgresSettings | None = None) -> Whereabouts:
    """The tenant that ``text`` means on the server of ``settings`` (the profile's without).

    Errors as of ``workflows.tenant.resolve``.
    """
    known = everyone(place, settings)
    return replace(known, tenant=choose(text, known.everyone))


def everyone(place: Deployment, settings: PostgresSettings | None = None) -> Whereabouts:
    """All tenants of a server, none of them chosen yet; errors as of ``tenants_of``."""
    map_ = build(place, settings)
    shards = frozenset(registered(place).get("", ()))
    return Whereabouts(_NOBODY, tenants_of(place, map_, settings), map_, rules_of(place), shards)


def placed_at(place: Deployment, tenant: TenantIdentity) -> PointsPlace | None:
    """Where the placement says that the tenant's memories are; None where there is none."""
    try:
        found = place.placement.placement(tenant.id)
    except RefusedError as error:
        if error.code != "placement_not_prepared":
            raise
        return None
    return found.primary if found is not None else None
