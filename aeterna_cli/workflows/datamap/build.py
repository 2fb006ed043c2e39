"""Maps of a deployment, and the one place where they are made.

``build`` reads PostgreSQL's catalogue alone, which is all that work on tables needs. ``begin`` adds
the tenants, without whom nobody can tell whose a collection, a key or an object is; what it returns
asks each further store when it is wanted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aeterna_cli.datamap import rules as files
from aeterna_cli.datamap import table_rules
from aeterna_cli.datamap.collections import CollectionMap, classify_all
from aeterna_cli.datamap.keys import KeyMap
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.objects import ObjectMap
from aeterna_cli.datamap.privileges import require_readable
from aeterna_cli.datamap.rules import Rules
from aeterna_cli.datamap.tables import map_tables
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.catalogue import Catalogue, TenantTable
from aeterna_cli.stores.base.qdrant import CollectionDescription
from aeterna_cli.stores.base.tenants import TenantIdentity

STORES = ("postgres", "qdrant", "redis", "objects")


def build(place: Deployment, settings: PostgresSettings | None = None) -> DataMap:
    """The tables' part of the map: reads the catalogue, never a table's rows, and the rules.

    ``settings``: another server with the platform's schema than the profile's.
    ``UsageError('rules_invalid')`` before anything is contacted; the store's errors otherwise. The
    map may have unclassified tables and findings: ask ``datamap.privileges`` before it is used.
    """
    from aeterna_cli.stores.postgres_catalogue import read

    found = rules_of(place)
    return of_catalogue(read(settings or place.profile.postgres), found)


def rules_of(place: Deployment) -> Rules:
    """Ours and the profile's, all of them understood; ``UsageError`` otherwise."""
    found = files.load(place.profile.datamap.rules)
    table_rules.parse(found["table"])
    collections_of((), found, ())
    keys_of(found, ())
    objects_of(found, ())
    return found


def of_catalogue(catalogue: Catalogue, rules: Rules) -> DataMap:
    return map_tables(catalogue, table_rules.parse(rules["table"]))


def collections_of(
    described: Iterable[CollectionDescription],
    rules: Rules,
    tenants: Iterable[TenantIdentity],
    registered: Iterable[str] = (),
) -> CollectionMap:
    """``registered``: the collections of this server that shards lie in."""
    return classify_all(described, rules, tenants, frozenset(registered))


def keys_of(rules: Rules, tenants: Iterable[TenantIdentity]) -> KeyMap:
    return KeyMap.of(rules, tenants)


def objects_of(rules: Rules, tenants: Iterable[TenantIdentity]) -> ObjectMap:
    return ObjectMap.of(rules, tenants)


def root_of(map_: DataMap) -> TenantTable:
    """The table of tenants; ``RefusedError('root_missing')`` where there is none."""
    if map_.root is None:
        raise RefusedError(
            "root_missing",
            f"the database {map_.database} has no table of tenants",
            hint="check postgres.database in the profile",
            next_steps=["aeterna-cli datamap check"],
        )
    return map_.root


def tenants_of(
    place: Deployment, map_: DataMap, settings: PostgresSettings | None = None
) -> tuple[TenantIdentity, ...]:
    """Every tenant, or an error: ``AuthenticationError`` where our role would not see all of them,
    ``RefusedError('root_missing')``."""
    from contextlib import closing

    from aeterna_cli.stores.postgres_catalogue import tenants
    from aeterna_cli.stores.postgres_connection import connect, postgres_errors

    root = root_of(map_)
    require_readable(map_, [one for one in map_.tables.values() if one.scope == "root"])
    with postgres_errors(), closing(connect(settings or place.profile.postgres)) as connection:
        return tuple(tenants(connection, root))


@dataclass(frozen=True)
class Begun:
    """A map of tables, and everything that the other stores' parts are made of."""

    place: Deployment
    rules: Rules
    map: DataMap
    tenants: tuple[TenantIdentity, ...]

    @property
    def servers(self) -> Sequence[str]:
        """The profile's Qdrant servers, its own ("") first."""
        return ("", *sorted(self.place.profile.qdrant_servers))

    def collections(self, server: str) -> CollectionMap:
        """What the collections of one server are; the store's errors."""
        described = self.place.qdrant_tenants(server).outlines()
        shards = registered(self.place).get(server, ())
        return collections_of(described, self.rules, self.tenants, shards)

    @property
    def keys(self) -> KeyMap:
        return keys_of(self.rules, self.tenants)

    @property
    def objects(self) -> ObjectMap:
        return objects_of(self.rules, self.tenants)

    def whole(self, stores: Iterable[str] = STORES) -> DataMap:
        """The map with these stores' parts; asks every Qdrant server where qdrant is among them."""
        wanted = frozenset(stores)
        asked = self.servers if "qdrant" in wanted else ()
        return replace(
            self.map,
            collections={server: self.collections(server) for server in asked},
            keys=self.keys if "redis" in wanted else None,
            objects=self.objects if "objects" in wanted else None,
        )


def begin(place: Deployment, map_: DataMap | None = None, *, tenants: bool = True) -> Begun:
    """Pass the ``map_`` of tables where there is one already; errors as of ``build`` and
    ``tenants_of``. Without ``tenants`` only rules can be told, not whose a thing is."""
    tables = map_ or build(place)
    return Begun(place, rules_of(place), tables, tenants_of(place, tables) if tenants else ())


def some_stores(store: str | None) -> tuple[str, ...]:
    """``UsageError('store_unknown')`` for a word that names none; all of them without one."""
    if store is None:
        return STORES
    if store not in STORES:
        known = ", ".join(STORES)
        raise UsageError("store_unknown", f"unknown store {store!r}: {known}")
    return (store,)


def registered(place: Deployment) -> Mapping[str, set[str]]:
    """The collections that shards lie in, by server; nothing where nobody has registered any."""
    found: dict[str, set[str]] = {}
    if place.placement.prepared():
        for shard in place.placement.shards():
            found.setdefault(shard.server, set()).add(shard.collection)
    return found
