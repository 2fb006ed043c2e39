"""All rows of tables, whosever they are. The tables are read in the caller's transaction."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from psycopg import sql

from aeterna_cli.stores.base.selection import Count, Selectable
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_connection import Connection, postgres_errors
from aeterna_cli.stores.postgres_selection import TenantRows, identifier


class Named(Protocol):
    @property
    def label(self) -> str: ...
    @property
    def schema(self) -> str: ...
    @property
    def name(self) -> str: ...


def totals(
    connection: Connection, tables: Iterable[Named], *, sizes: bool = False
) -> Mapping[str, Count]:
    """Exact rows (and with ``sizes`` bytes) by table label, every row once."""
    size = sql.SQL("coalesce(sum(pg_column_size(t.*)), 0)") if sizes else sql.SQL("0")
    found: dict[str, Count] = {}
    with postgres_errors():
        for table in tables:
            query = sql.SQL("SELECT count(*), {} FROM {} AS t").format(
                size, sql.Identifier(table.schema, table.name)
            )
            rows, total = connection.execute(query).fetchall()[0]
            found[table.label] = Count(rows, int(total))
    return found


def shared_rows(
    connection: Connection, tables: Iterable[Selectable], tenant: TenantIdentity
) -> Mapping[str, int]:
    """The tenant's rows that another tenant, or the whole instance, has as well, by table label."""
    rows = TenantRows(connection, tenant)
    found: dict[str, int] = {}
    with postgres_errors():
        for table in tables:
            if table.selection is None:
                continue
            mine, theirs = rows.predicate(table.selection), rows.others(table.selection)
            query = sql.SQL("SELECT count(*) FROM {} AS t WHERE {} AND {}").format(
                identifier(table.schema, table.name), mine.query, theirs.query
            )
            values = {**mine.parameters, **theirs.parameters}
            found[table.label] = connection.execute(query, values).fetchall()[0][0]
    return found
