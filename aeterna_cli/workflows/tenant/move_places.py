"""Where a tenant's points are, where they shall be, and how either is reached."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.backoff import Backoff
from aeterna_cli.stores.base.mover import Pace, TenantItems
from aeterna_cli.stores.base.placement import PointsPlace, ShardRecord
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION, CollectionDescription
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_placement_faults import shard_unknown
from aeterna_cli.stores.qdrant_mover_end import PATIENT, QdrantEnd

FIELD = "tenant_id"


@dataclass(frozen=True)
class Spot:
    """A place of points and the server that it is on (a name of ``qdrant_servers``, "" for the
    profile's own). ``field`` names the tenant in a payload; None: the collection is the tenant's.
    """

    shard: str
    server: str
    collection: str
    shard_key: str | None = None
    fallback_key: str | None = None
    field: str | None = FIELD

    @property
    def place(self) -> PointsPlace:
        return PointsPlace(self.shard, self.collection, self.shard_key, self.fallback_key)

    @property
    def address(self) -> tuple[str, str, str | None]:
        return self.server, self.collection, self.shard_key

    def as_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Spot":
        return cls(**document)


def spot_of(record: ShardRecord) -> Spot:
    return Spot(record.name, record.server, record.collection, record.shard_key)


def settings_of(place: Deployment, server: str) -> QdrantSettings:
    """``UsageError('qdrant_server_unknown')`` for a name that the profile does not have."""
    place.qdrant_server(server)  # knows how to refuse
    return place.profile.qdrant_servers[server] if server else place.profile.qdrant


def end_of(
    place: Deployment,
    spot: Spot,
    tenant: TenantIdentity,
    *,
    timeout: float | None = None,
    backoff: Backoff = PATIENT,
    pace: Pace | None = None,
) -> QdrantEnd:
    """The tenant's points there. ``timeout`` (seconds) shortens the profile's: writers wait."""
    settings = settings_of(place, spot.server)
    if timeout is not None:
        settings = settings.model_copy(update={"timeout": min(settings.timeout, timeout)})
    items = TenantItems(tenant.values, spot.field)
    return QdrantEnd(settings, spot.place, items, backoff=backoff, pace=pace)


# -- the target


def target_spot(place: Deployment, name: str) -> tuple[Spot, ShardRecord]:
    """``RefusedError``: ``shard_unknown``, ``shard_not_active`` (draining, offline, ...)."""
    store = place.placement
    record = store.shard(name) if store.prepared() else None
    if record is None:
        raise shard_unknown(name)
    if record.status != "active":
        raise RefusedError(
            "shard_not_active",
            f"the shard {name!r} is {record.status}: no tenant moves there",
            next_steps=["aeterna-cli shard list"],
        )
    return spot_of(record), record


# -- the source


def source_spot(place: Deployment, tenant: TenantIdentity, wanted: str | None) -> Spot:
    """By the placement row; without one where the tenant's points are found, or ``wanted``.

    ``RefusedError``: ``source_unknown`` (no points anywhere), ``source_ambiguous`` (several
    places), ``source_not_a_shard`` (the place is not registered), ``source_differs`` (``wanted`` is
    not where the placement says).
    """
    store = place.placement
    placement = store.placement(tenant.id) if store.prepared() else None
    if placement is None:
        return _registered(place, _found(place, tenant, wanted))
    primary = placement.primary
    if wanted is not None and wanted != primary.collection:
        raise RefusedError(
            "source_differs",
            f"the placement of {tenant.slug} says {primary.collection}, not {wanted}",
            hint="--from is for tenants without a placement",
        )
    record = store.shard(primary.shard)
    spot = Spot(
        primary.shard,
        record.server if record else "",
        primary.collection,
        primary.shard_key,
        primary.fallback_key,
    )
    found = _places(place, tenant, primary.collection, spot.server)
    whole = any(one.field is None for one in found)
    return replace(spot, field=None) if whole else spot


def _registered(place: Deployment, found: Spot) -> Spot:
    """The shard's name; a placement can name nothing else."""
    store = place.placement
    for record in store.shards() if store.prepared() else []:
        if (record.server, record.collection, record.shard_key) == found.address:
            return replace(found, shard=record.name)
    key = f" --shard-key {found.shard_key}" if found.shard_key is not None else ""
    raise RefusedError(
        "source_not_a_shard",
        f"the tenant's points are in {found.collection}, which is no registered shard",
        next_steps=[f"aeterna-cli shard add NAME --collection {found.collection}{key}"],
        details={"collection": found.collection, "shard_key": found.shard_key},
    )


def _found(place: Deployment, tenant: TenantIdentity, wanted: str | None) -> Spot:
    found = _places(place, tenant, wanted, "")
    if len(found) == 1:
        return found[0]
    if not found:
        where = f"in {wanted}" if wanted else "in any collection of memories"
        raise RefusedError(
            "source_unknown",
            f"{tenant.slug} has no points {where}",
            hint="nothing can be moved; a first memory makes its place",
            next_steps=["add --from COLLECTION where the profile does not know the collection"],
        )
    listed = ", ".join(
        one.collection + (f" (shard key {one.shard_key})" if one.shard_key is not None else "")
        for one in found
    )
    raise RefusedError(
        "source_ambiguous",
        f"points of {tenant.slug} are in several places: {listed}",
        hint="a move takes one of them along; the others would be left behind",
        next_steps=["add --from COLLECTION"],
        details={"places": [one.as_document() for one in found]},
    )


def _places(
    place: Deployment, tenant: TenantIdentity, wanted: str | None, server: str
) -> list[Spot]:
    """Every collection and shard key of memories that has points of the tenant."""
    patterns = {one for rule in place.profile.restore.orphan_rules for one in rule.collections}
    with place.qdrant_server(server) as store:
        described = [store.collection(name) for name in store.collections()]
    found: list[Spot] = []
    for one in described:
        if one is None or one.name == OPS_COLLECTION:
            continue
        chosen = one.name == wanted if wanted else any(fnmatchcase(one.name, p) for p in patterns)
        if chosen:
            found += _in_collection(place, tenant, one, server)
    return found


def _in_collection(
    place: Deployment, tenant: TenantIdentity, one: CollectionDescription, server: str
) -> list[Spot]:
    found = []
    for key in one.shard_keys():
        spot = Spot("", server, one.name, None if key is None else str(key))
        end = end_of(place, spot, tenant)
        try:
            count = end.count()
        finally:
            end.close()
        if count:
            found.append(spot)
    if found or one.custom_sharding or one.points == 0:
        return found
    names = {f"{prefix}{value}" for prefix in ("memories-", "aeterna_") for value in tenant.values}
    return [Spot("", server, one.name, field=None)] if one.name in names else []
