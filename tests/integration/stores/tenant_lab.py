"""The tenants of the session's lab and what the seed says that it wrote for each of them."""

from collections import Counter

from aeterna_cli.lab.seed.point_shapes import Lot, lots, points
from aeterna_cli.lab.seed.run import DEFAULT_SEED
from aeterna_cli.lab.seed.tenants import EPOCH, Tenant, tenants
from aeterna_cli.stores.base.tenants import TenantIdentity

SEED = DEFAULT_SEED
EVERYONE = tenants(0.05)


def identity(tenant: Tenant) -> TenantIdentity:
    return TenantIdentity(
        str(tenant.id(SEED)), tenant.slug, tenant.name, tenant.status, created_at=EPOCH
    )


IDENTITIES = tuple(identity(tenant) for tenant in EVERYONE)
IDS = {tenant.slug: str(tenant.id(SEED)) for tenant in EVERYONE}


def written(collection: str) -> dict[str, int]:
    """Points of a collection by the slug of their tenant; nobody's under ``""``."""
    found: Counter[str] = Counter()
    for lot in lots(SEED, EVERYONE):
        if lot.collection == collection:
            found[lot.tenant.slug if lot.tenant is not None else ""] += lot.count
    return dict(found)


def moments(lot: Lot) -> list[int]:
    return [point["payload"].get("created_at", 0) for point in points(SEED, lot)]
