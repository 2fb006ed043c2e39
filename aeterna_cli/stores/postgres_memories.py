"""Memories as rows: how many each tenant has, and how many came lately, in one pass over a table.

The table is read in the caller's transaction, as with ``postgres_owners``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, Protocol

from psycopg import sql

from aeterna_cli.stores.base.catalogue import Column
from aeterna_cli.stores.postgres_connection import Connection, postgres_errors
from aeterna_cli.stores.postgres_selection import identifier


class MemoryTable(Protocol):
    """A table with a tenant's value in a column of its own."""

    @property
    def schema(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def columns(self) -> tuple[Column, ...]: ...


@dataclass(frozen=True)
class MemoryRows:
    """``live`` are the rows that are not marked as deleted; ``recent`` and ``longer`` are those of
    them created since the two moments, 0 where the table has no time of creation."""

    rows: int
    live: int
    recent: int
    longer: int


def memories_by_owner(
    connection: Connection,
    table: MemoryTable,
    owner: str,
    *,
    recent: datetime,
    longer: datetime,
) -> Mapping[str | None, MemoryRows]:
    """Exact, by the text of the ``owner`` column; None are rows that name nobody."""
    types = {column.name: column.type for column in table.columns}
    live = _sql("t.deleted_at IS NULL" if "deleted_at" in types else "true")
    query = sql.SQL(
        "SELECT {}::text, count(*), count(*) FILTER (WHERE {live}),"
        " count(*) FILTER (WHERE {live} AND {recent}),"
        " count(*) FILTER (WHERE {live} AND {longer}) FROM {} AS t GROUP BY 1"
    ).format(
        identifier("t", owner),
        identifier(table.schema, table.name),
        live=live,
        recent=_since(types, "recent"),
        longer=_since(types, "longer"),
    )
    with postgres_errors():
        rows = connection.execute(query, {"recent": recent, "longer": longer}).fetchall()
    return {value: MemoryRows(*counts) for value, *counts in rows}


def _since(types: Mapping[str, str], moment: LiteralString) -> sql.Composable:
    """Platforms of some versions keep seconds since the epoch where others keep a time."""
    kind = types.get("created_at")
    if kind is None:
        return _sql("false")
    plain: LiteralString = (
        "t.created_at >= extract(epoch FROM {}::timestamptz)"
        if kind in ("bigint", "integer")
        else "t.created_at >= {}::timestamptz"
    )
    return sql.SQL(plain).format(sql.Placeholder(moment))


def _sql(text: LiteralString) -> sql.SQL:
    return sql.SQL(text)
