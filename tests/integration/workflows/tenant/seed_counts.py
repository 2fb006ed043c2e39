"""What the seed wrote for each tenant, by its own generators: no map and no store is asked."""

from collections import Counter
from collections.abc import Mapping

from aeterna_cli.lab.seed.key_shapes import seed_keys
from aeterna_cli.lab.seed.objects import seed_objects
from aeterna_cli.lab.seed.point_shapes import CODE, lots
from aeterna_cli.lab.seed.schemas import SCHEMAS
from aeterna_cli.lab.seed.tables import everything
from aeterna_cli.lab.seed.tenants import Tenant
from tests.integration.stores.tenant_lab import EVERYONE, SEED

By = Mapping[str, int]  # by slug


def table_rows(everyone: tuple[Tenant, ...]) -> Counter[str]:
    """Rows by table."""
    found: Counter[str] = Counter()
    for rows in everything(SEED, everyone, SCHEMAS["complete"]):
        found[rows.table] += sum(1 for _ in rows.rows)
    return found


def added_by(tenant: Tenant) -> Counter[str]:
    """What the seed would not have written without this tenant, by table."""
    return table_rows(EVERYONE) - table_rows(tuple(one for one in EVERYONE if one != tenant))


def memory_rows() -> By:
    """Those that are not marked as deleted."""
    slugs = {one.key(SEED): one.slug for one in EVERYONE}
    found: Counter[str] = Counter({one.slug: 0 for one in EVERYONE})
    for rows in everything(SEED, EVERYONE, SCHEMAS["complete"]):
        if rows.table == "memory_entries":
            columns = rows.columns.split()
            owner, deleted = columns.index("tenant_id"), columns.index("deleted_at")
            found.update(slugs[row[owner]] for row in rows.rows if row[deleted] is None)
    return found


def memory_points() -> By:
    found: Counter[str] = Counter({one.slug: 0 for one in EVERYONE})
    for lot in lots(SEED, EVERYONE):
        if lot.tenant is not None:
            assert lot.collection not in CODE
            found[lot.tenant.slug] += lot.count
    return found


def all_points() -> int:
    return sum(lot.count for lot in lots(SEED, EVERYONE))


def keys() -> By:
    found: Counter[str] = Counter({one.slug: 0 for one in EVERYONE})
    for key in seed_keys(SEED, EVERYONE):
        found.update(key.tenants)
    return found


def objects() -> Mapping[str, tuple[int, int]]:
    """Objects and their bytes."""
    found = {one.slug: (0, 0) for one in EVERYONE}
    for one in seed_objects(SEED, EVERYONE):
        if one.tenant is not None:
            count, size = found[one.tenant]
            found[one.tenant] = (count + 1, size + len(one.body))
    return found
