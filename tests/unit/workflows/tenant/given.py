"""A census without any store: tenants of chosen sizes in chosen places."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aeterna_cli.datamap.closure import Order
from aeterna_cli.datamap.known import KnownTenants
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.settings import TenantSettings
from aeterna_cli.stores.base.catalogue import Role
from aeterna_cli.stores.base.placement import Placement, PointsPlace, ShardRecord
from aeterna_cli.stores.base.tenant_counts import Counted
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.tenant.advice import Advice, advise
from aeterna_cli.workflows.tenant.census import Census, CountedCollection, Depth, Owner, Share

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LIMITS = TenantSettings(small=10, medium=100)
SHARED = "memories-shared"


def identity(name: str) -> TenantIdentity:
    return TenantIdentity(name, f"{name}-slug", name, "active", NOW)


def shard(name: str, collection: str, **values: Any) -> ShardRecord:
    given: dict[str, Any] = {
        "server": "", "url": "", "shard_key": None, "capacity": 0, "status": "active",
        "created_at": NOW, **values,
    }  # fmt: skip
    return ShardRecord(name=name, collection=collection, **given)


def placed(tenant: str, record: ShardRecord, second: ShardRecord | None = None) -> Placement:
    places = [
        PointsPlace(one.name, one.collection, one.shard_key) if one else None
        for one in (record, second)
    ]
    assert places[0] is not None
    state = "dual" if second else "serving"
    return Placement(tenant, places[0], places[1], state, 1, None, NOW)  # type: ignore[arg-type]


def collection(
    name: str, owners: Mapping[Owner, int], *, rule: str = "a rule", kind: str = "shared"
) -> CountedCollection:
    counted = {owner: Counted(points, 0) for owner, points in owners.items()}
    return CountedCollection(
        server="", name=name, kind=kind, rule=rule, memory=True, method="facet", may_be=(),
        by_owner=counted, by_key={None: counted}, bytes_per_point=16,
    )  # fmt: skip


def census(
    collections: Sequence[CountedCollection],
    shards: Sequence[ShardRecord] = (),
    placements: Sequence[Placement] = (),
    *,
    vacant: Sequence[str] = (),
) -> Census:
    names = {o for one in collections for o in one.by_owner if isinstance(o, str)} | {*vacant}
    tenants = tuple(identity(name) for name in sorted(names))
    map_ = DataMap("aeterna", Role("us", False, True), None, {}, Order((), (), ()))
    made = Census(NOW, Depth(), map_, tenants, KnownTenants.of(tenants), {})
    made.shards, made.placements = shards, {one.tenant: one for one in placements}
    made.collections = list(collections)
    for one in tenants:
        points = sum(c.by_owner[one.id].points for c in collections if one.id in c.by_owner)
        made.shares[one.id] = Share(points=points, memory_points=points)
    return made


def advice(*values: Any, **more: Any) -> Mapping[str, Advice]:
    return advise(census(*values, **more), LIMITS)
