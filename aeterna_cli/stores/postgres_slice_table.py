"""One table of a tenant's restore: what is staged, what is there, what goes and what comes.

Four sets of rows per table, all in temporary tables of one session, so that nobody else sees them:

- *staged*: the rows of the archive;
- *present*: where live rows lie that are the tenant's, or whose key is staged and which are
  nobody's (their parent was deleted); each with whether somebody else has it too, and whether it
  *goes*;
- *coming*: the staged rows that will be inserted.

Where a live row lies (``ctid``) does not change while one transaction of REPEATABLE READ looks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql

from aeterna_cli.stores.postgres_copy import columns_list, row_of

Mode = Literal["missing", "replace"]


@dataclass(frozen=True)
class SliceTable:
    """A table as the archive and the live catalogue agree on it. ``columns`` are the archive's;
    ``number`` tells the temporary tables apart. ``shared``: a row may be several tenants'.
    ``evidence``: rows are records of what was done; those that came since never go."""

    number: int
    label: str
    schema: str
    name: str
    partitioned: bool
    columns: tuple[str, ...]
    primary_key: tuple[str, ...]
    shared: bool
    evidence: bool = False

    @property
    def relation(self) -> sql.Composable:
        """For FROM and DELETE: without what inherits from it, with its partitions."""
        name = sql.Identifier(self.schema, self.name)
        return name if self.partitioned else sql.SQL("ONLY {}").format(name)

    @property
    def target(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def staged(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", f"staged_{self.number}")

    @property
    def present(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", f"present_{self.number}")

    @property
    def coming(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", f"coming_{self.number}")


@dataclass(frozen=True)
class Conditions:
    """Which live rows (alias ``t``) are the tenant's, and which somebody else has."""

    mine: sql.Composable
    others: sql.Composable
    parameters: Mapping[str, Any]


def staging(table: SliceTable) -> sql.Composed:
    """An empty temporary table of the columns' own types, kept until the session ends."""
    return sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} AS t WITH NO DATA").format(
        table.staged, columns_list(table.columns, "t"), table.target
    )


def staged_key(table: SliceTable) -> sql.Composed:
    return sql.SQL("CREATE INDEX ON {} ({})").format(table.staged, columns_list(table.primary_key))


def same_key(table: SliceTable, one: str, other: str) -> sql.Composed:
    pairs = [
        sql.SQL("{} = {}").format(sql.Identifier(one, name), sql.Identifier(other, name))
        for name in table.primary_key
    ]
    return sql.SQL(" AND ").join(pairs)


def same_row(table: SliceTable, one: str, other: str) -> sql.Composed:
    """As text: some types (json, point) have no equality of their own."""
    return sql.SQL("{}::text = {}::text").format(
        row_of(table.columns, one), row_of(table.columns, other)
    )


def equal_staged(table: SliceTable) -> sql.Composable:
    """Whether the live row ``t`` is staged as it is; never without a key to find it by."""
    if not table.primary_key:
        return sql.SQL("false")
    return sql.SQL("EXISTS (SELECT FROM {} AS s WHERE {} AND {})").format(
        table.staged, same_key(table, "s", "t"), same_row(table, "s", "t")
    )


def presence(table: SliceTable, conditions: Conditions, mode: Mode) -> sql.Composed:
    """Makes *present*. Nothing that somebody else has too ever goes."""
    mine: sql.Composable = sql.SQL("({}) IS TRUE").format(conditions.mine)
    if table.primary_key:
        adopted = sql.SQL("(EXISTS (SELECT FROM {} AS s WHERE {}) AND ({}) IS NOT TRUE)").format(
            table.staged, same_key(table, "s", "t"), conditions.others
        )
        mine = sql.SQL("({} OR {})").format(mine, adopted)
    shared: sql.Composable = sql.SQL("false")
    if table.shared:
        shared = sql.SQL("({}) IS TRUE").format(conditions.others)
    return sql.SQL(
        "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT part, place, shared, equal,"
        " replaceable AND NOT shared AND NOT equal AS going"
        " FROM (SELECT t.tableoid AS part, t.ctid AS place, {} AS shared, {} AS equal,"
        " {} AS replaceable FROM {} AS t WHERE {} OFFSET 0) AS found"
    ).format(
        table.present,
        shared,
        equal_staged(table),
        _replaceable(table, mode),
        table.relation,
        mine,
    )


def _replaceable(table: SliceTable, mode: Mode) -> sql.Composable:
    """Whether the live row ``t`` may go: of evidence only what its saved form replaces."""
    if mode != "replace" or (table.evidence and not table.primary_key):
        return sql.SQL("false")
    if not table.evidence:
        return sql.SQL("true")
    return sql.SQL("EXISTS (SELECT FROM {} AS s WHERE {})").format(
        table.staged, same_key(table, "s", "t")
    )


def arrival(table: SliceTable, mode: Mode) -> sql.Composed:
    """Makes *coming*: what is staged and will have no live row of its key any more."""
    head = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT s.* FROM {} AS s").format(
        table.coming, table.staged
    )
    if table.primary_key:
        same = same_key(table, "s", "t")
    elif mode == "missing" or table.evidence:
        same = same_row(table, "s", "t")
    else:
        return head
    return sql.SQL("{} WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {} AND NOT {})").format(
        head, table.relation, same, goes(table)
    )


def listed(table: SliceTable, also: sql.Composable | None = None) -> sql.Composed:
    """Whether the live row ``t`` is *present* (and ``also`` holds of that entry ``p``)."""
    return sql.SQL(
        "EXISTS (SELECT FROM {} AS p WHERE p.part = t.tableoid AND p.place = t.ctid{})"
    ).format(table.present, sql.SQL(" AND {}").format(also) if also else sql.SQL(""))


def goes(table: SliceTable) -> sql.Composed:
    return listed(table, sql.SQL("p.going"))


def stays(table: SliceTable) -> sql.Composed:
    return listed(table, sql.SQL("NOT p.going"))


def written() -> sql.Composable:
    """Whether this transaction wrote the live row ``t``; true without savepoints only."""
    return sql.SQL("t.xmin = pg_current_xact_id()::xid")


def deletion(table: SliceTable) -> sql.Composed:
    return sql.SQL(
        "DELETE FROM {} AS t USING {} AS p"
        " WHERE p.going AND t.tableoid = p.part AND t.ctid = p.place"
    ).format(table.relation, table.present)


def insertion(table: SliceTable) -> sql.Composed:
    """Values of identity columns are kept as they are."""
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS s").format(
        table.target,
        columns_list(table.columns),
        columns_list(table.columns, "s"),
        table.coming,
    )


def key_text(columns: Sequence[str], alias: str) -> sql.Composed:
    """The key of a row for people."""
    return sql.SQL("ROW({})::text").format(columns_list(columns, alias))
