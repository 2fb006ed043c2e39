"""The PostgreSQL part of the census: tenants, memories, and every table's rows in one snapshot."""

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from aeterna_cli.datamap.known import KnownTenants
from aeterna_cli.datamap.model import DataMap, MappedTable
from aeterna_cli.datamap.privileges import require_readable
from aeterna_cli.datamap.rules import Rules
from aeterna_cli.stores.base.selection import Count, TenantColumn
from aeterna_cli.workflows.datamap.build import of_catalogue, root_of
from aeterna_cli.workflows.tenant.census import (
    MONTH,
    WEEK,
    Census,
    Depth,
    Nobody,
    Owner,
    Share,
    Surroundings,
)

if TYPE_CHECKING:
    from aeterna_cli.stores.postgres_connection import Connection

MEMORIES = "memory_entries"


def begin(around: Surroundings, depth: Depth, rules: Rules, now: datetime) -> Census:
    """The tenants and their rows, counted in one transaction."""
    from aeterna_cli.stores import postgres_catalogue
    from aeterna_cli.stores.postgres_connection import connect, postgres_errors

    with postgres_errors(), closing(connect(around.place.profile.postgres)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        catalogue = postgres_catalogue.catalogue(connection)
        map_ = of_catalogue(catalogue, rules)
        root = root_of(map_)
        require_readable(map_, _wanted(map_, depth))
        tenants = tuple(postgres_catalogue.tenants(connection, root))
        census = Census(now, depth, map_, tenants, KnownTenants.of(tenants), rules)
        census.shares.update((one.id, Share()) for one in tenants)
        _memories(connection, census)
        if depth.rows:
            _tables(connection, census, around)
    return census


def _wanted(map_: DataMap, depth: Depth) -> list[MappedTable]:
    """The tables that will be read."""
    tables = map_.tables.values()
    names = {MEMORIES, root_of(map_).label}
    return [one for one in tables if depth.rows or one.label in names]


def _memories(connection: "Connection", census: Census) -> None:
    """Nothing where the platform has no such table: schemas are partial."""
    from aeterna_cli.stores.postgres_memories import memories_by_owner

    table = census.map.tables.get(MEMORIES)
    if table is None or not isinstance(table.selection, TenantColumn):
        return
    moments = {"recent": census.taken_at - WEEK, "longer": census.taken_at - MONTH}
    found = memories_by_owner(connection, table, table.selection.column, **moments)
    for value, counts in found.items():
        share = Share(
            memory_rows=counts.live,
            memory_rows_week=counts.recent,
            memory_rows_month=counts.longer,
        )
        census.share(census.owner(value)).add(share)
        census.total.add(share)


def _tables(connection: "Connection", census: Census, around: Surroundings) -> None:
    from aeterna_cli.stores.postgres_owners import count_by_owner, single
    from aeterna_cli.stores.postgres_table_totals import totals

    sizes = census.depth.everything
    chosen = census.map.of_tenants
    counted = around.each("counting rows", chosen, "tables")
    owners = count_by_owner(connection, counted, root_of(census.map), sizes=sizes)
    by_label = census.map.tables
    several = [one for one in chosen if one.selection and not single(one.selection)]
    nobodys = [one for one in by_label.values() if one.selection is None]
    every = totals(connection, around.each("adding up", several + nobodys, "tables"), sizes=sizes)
    for label, found in owners.items():
        _shared_out(census, label, found, every.get(label))
    for table in nobodys:
        why = f"{table.scope} table"
        rows: dict[Owner, Count] = {Nobody(table.label, why): every[table.label]}
        _add(census, table.label, rows, every[table.label])


def _shared_out(
    census: Census, label: str, found: Mapping[str | None, Count], every: Count | None
) -> None:
    """``every``: the table's rows, each once, where some may have been counted for several."""
    owners: dict[Owner, Count] = {}
    for value, count in found.items():
        known = value is not None and value in census.shares
        owner: Owner = value if known and value is not None else census.owner(value)
        before = owners.get(owner, Count(0))
        owners[owner] = Count(before.rows + count.rows, before.bytes + count.bytes)
    _add(census, label, owners, every)


def _add(census: Census, label: str, owners: Mapping[Owner, Count], every: Count | None) -> None:
    rows = sum(one.rows for one in owners.values())
    size = sum(one.bytes for one in owners.values())
    once = every or Count(rows, size)
    for owner, count in owners.items():
        census.share(owner).add(Share(rows=count.rows, row_bytes=count.bytes))
    census.several.add(Share(rows=rows - once.rows, row_bytes=size - once.bytes))
    census.total.add(Share(rows=once.rows, row_bytes=once.bytes))
    census.rows[label] = owners
