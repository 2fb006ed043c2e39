"""A tenant's rows in PostgreSQL: which columns of which tables, selected by the map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aeterna_cli.datamap.model import DataMap, MappedTable
from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.tenants import TenantIdentity

if TYPE_CHECKING:
    from aeterna_cli.stores.postgres_connection import Connection
    from aeterna_cli.stores.postgres_copy import RowSlice
    from aeterna_cli.stores.postgres_slice import Judge
    from aeterna_cli.stores.postgres_slice_table import Conditions, SliceTable


@dataclass(frozen=True)
class ArchivedTable:
    """One table in a tenant's archive. ``columns`` are names and the server's words for types;
    ``shared``: rows that others have too are among them and are never deleted by a restore."""

    label: str
    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]
    shared: bool
    volume: str
    rows: int
    digest: str
    lines: str

    def as_document(self) -> dict[str, Any]:
        return {
            "table": self.label,
            "schema": self.schema,
            "name": self.name,
            "columns": [{"name": name, "type": kind} for name, kind in self.columns],
            "shared": self.shared,
            "volume": self.volume,
            "rows": self.rows,
            "digest": self.digest,
            "lines": self.lines,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "ArchivedTable":
        columns = tuple((one["name"], one["type"]) for one in document["columns"])
        plain = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**{**plain, "label": document["table"], "columns": columns})


def stored_columns(table: MappedTable) -> tuple[tuple[str, str], ...]:
    """Every column that somebody wrote; the server makes the generated ones."""
    return tuple((one.name, one.type) for one in table.columns if not one.generated)


def row_slice(connection: "Connection", table: MappedTable, tenant: TenantIdentity) -> "RowSlice":
    """The tenant's rows of one table, as this connection's transaction sees them."""
    from aeterna_cli.stores.postgres_copy import RowSlice
    from aeterna_cli.stores.postgres_selection import TenantRows

    assert table.selection is not None  # noqa: S101 - the caller took a table of tenants
    clause = TenantRows(connection, tenant).predicate(table.selection)
    names = tuple(name for name, _ in stored_columns(table))
    return RowSlice(table.schema, table.name, names, clause.query, clause.parameters)


def judge(map_: DataMap, tenant: TenantIdentity) -> "Judge":
    """What ``SliceSession`` asks about each table, inside its own transaction."""
    from aeterna_cli.stores.postgres_selection import TenantRows
    from aeterna_cli.stores.postgres_slice_table import Conditions

    def conditions(connection: "Connection", table: "SliceTable") -> "Conditions":
        selection = map_.tables[table.label].selection
        assert selection is not None  # noqa: S101 - ``matched`` took tables of tenants only
        rows = TenantRows(connection, tenant)
        mine, others = rows.predicate(selection), rows.others(selection)
        return Conditions(mine.query, others.query, {**mine.parameters, **others.parameters})

    return conditions


def matched(
    map_: DataMap, archived: Sequence[ArchivedTable]
) -> tuple[list["SliceTable"], list[str]]:
    """The archive's tables as the live database has them, in insert order, and the live tables of
    tenants that the archive does not know: they are left alone.

    ``RefusedError('schema_differs')`` where the saved rows do not fit the live tables: nothing is
    ever converted by guessing.
    """
    by_label = {one.label: one for one in archived}
    problems: list[str] = []
    found: list[SliceTable] = []
    for table in map_.of_tenants:
        saved = by_label.pop(table.label, None)
        if saved is not None:
            problems += _misfits(saved, table)
            found.append(_slice_table(len(found), saved, table))
    problems += [f"{one.label} is not there" for one in by_label.values() if one.rows]
    if problems:
        raise RefusedError(
            "schema_differs",
            f"the saved rows do not fit the database: {'; '.join(problems[:5])}",
            hint="the platform's schema changed since the backup: migrate it to the same version",
            details={"differences": problems},
        )
    known = {one.label for one in archived}
    return found, [one.label for one in map_.of_tenants if one.label not in known]


def _slice_table(number: int, saved: ArchivedTable, table: MappedTable) -> "SliceTable":
    from aeterna_cli.stores.postgres_slice_table import SliceTable

    return SliceTable(
        number=number,
        label=table.label,
        schema=table.schema,
        name=table.name,
        partitioned=table.table.partitioned,
        columns=tuple(name for name, _ in saved.columns),
        primary_key=table.primary_key,
        shared=table.shared,
        evidence=table.scope == "audit",
    )


def _misfits(saved: ArchivedTable, table: MappedTable) -> list[str]:
    if not saved.rows:
        return []
    live = table.table.by_name
    found = []
    for name, kind in saved.columns:
        column = live.get(name)
        if column is None or column.generated:
            found.append(f"{saved.label}.{name} is not there")
        elif column.type != kind:
            found.append(f"{saved.label}.{name} was {kind} and is {column.type}")
    return found
