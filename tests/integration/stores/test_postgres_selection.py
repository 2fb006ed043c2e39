"""One tenant's rows and everybody's counts, against what the seed wrote."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from psycopg import sql

from aeterna_cli.datamap import rules, table_rules
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.tables import map_tables
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import superuser
from aeterna_cli.lab.seed.schemas import SCHEMAS
from aeterna_cli.lab.seed.tables import everything
from aeterna_cli.lab.seed.tables.world import TWO_TENANTS
from aeterna_cli.lab.seed.tenants import HOSTILE, Tenant, identifier
from aeterna_cli.lab.seed.tenants import tenants as seeded
from aeterna_cli.stores.base.selection import Reference, Selection, TenantColumn
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_catalogue import catalogue, tenants
from aeterna_cli.stores.postgres_owners import count_by_owner
from aeterna_cli.stores.postgres_selection import TenantRows, identifier as name_of, uuid5_of
from tests.integration.tenant_database import SCALE, SEED, tenant_database

pytestmark = pytest.mark.integration

EXTRA = 12


class Place:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.map_ = mapped(connection)
        assert self.map_.root is not None
        self.root = self.map_.root

    @property
    def tenants(self) -> Mapping[str, TenantIdentity]:
        return {one.slug: one for one in tenants(self.connection, self.root)}

    def rows(self, tenant: TenantIdentity) -> Mapping[str, int]:
        """The tenant's rows by table, each table asked by its predicate."""
        mine = TenantRows(self.connection, tenant)
        return {
            table.label: self.count(mine, table.selection)
            for table in self.map_.of_tenants
            if table.selection is not None
            for mine in [Condition(self, mine, table.schema, table.name)]
        }


def mapped(connection: Any) -> DataMap:
    return map_tables(catalogue(connection), table_rules.parse(rules.load()["table"]))
