"""Whose rows are these? Counts of a table by tenant, for all tenants in one pass.

The tables are read in the caller's transaction; begin it with REPEATABLE READ, READ ONLY for counts
of one moment. What row security hides is not counted: see ``require_readable`` first.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from psycopg import sql

from aeterna_cli.stores.base.catalogue import TenantTable
from aeterna_cli.stores.base.selection import (
    AnyOf,
    Count,
    Parent,
    Reference,
    Selectable,
    Selection,
    TenantColumn,
)
from aeterna_cli.stores.postgres_connection import Connection, postgres_errors
from aeterna_cli.stores.postgres_selection import (
    compared,
    guarded,
    identifier,
    joined,
    relation,
    uuid5_of,
)

#: by tenant id; a value that is no tenant's (``__root__``, an orphan's) is told as it is; None are
#: rows that name nobody
Owners = Mapping[str | None, Count]

# names of ours among the table's own columns, which may be called anything else
_KINDS = sql.Identifier("aeterna kinds of rows")
_NUMBER, _ROWS, _BYTES = (sql.Identifier(f"aeterna {name}") for name in ("number", "rows", "bytes"))


def count_by_owner(
    connection: Connection,
    tables: Iterable[Selectable],
    root: TenantTable,
    *,
    sizes: bool = False,
) -> Mapping[str, Owners]:
    """Exact rows (and with ``sizes`` bytes) by table label and tenant id.

    One pass for each table. A row of several tenants counts for each of them, once. Tables without
    a selection are left out.
    """
    counter = _Counter(connection, root, sizes)
    with postgres_errors():
        return {
            table.label: counter.count(table, table.selection)
            for table in tables
            if table.selection is not None
        }


class _Counter:
    def __init__(self, connection: Connection, root: TenantTable, sizes: bool) -> None:
        self._connection = connection
        self._root = root
        self._sizes = sizes
        self._tenant_of = _tenant_of(connection, root)
        self._aliases = (f"o{number}" for number in count())
        self._parameters: dict[str, Any] = {}
        self._derived: dict[tuple[Parent, str], tuple[str, str]] = {}

    def count(self, table: Selectable, selection: Selection) -> Owners:
        place = identifier(table.schema, table.name)
        if single(selection):
            rows = self._single(place, selection)
        else:
            rows = self._several(place, selection)
        found: dict[str | None, Count] = defaultdict(lambda: Count(0))
        for value, number, size in rows:
            owner = self._tenant_of.get(value, value)
            found[owner] = Count(found[owner].rows + number, found[owner].bytes + int(size or 0))
        return dict(found)

    # -- at most one owner

    def _single(self, place: sql.Identifier, selection: Selection) -> Iterable[tuple[Any, ...]]:
        owner, joins = self._owner(selection, "t")
        query = sql.SQL("SELECT {}, count(*), {} FROM {} AS t {} GROUP BY 1").format(
            owner, self._size(), place, joins
        )
        return self._run(query)

    def _owner(self, selection: Selection, alias: str) -> tuple[sql.Composable, sql.Composable]:
        """The owner's value as an expression, and the joins that it needs; NULL is nobody."""
        if isinstance(selection, TenantColumn):
            return sql.SQL("{}::text").format(identifier(alias, selection.column)), sql.SQL("")
        assert isinstance(selection, Reference)  # noqa: S101  # ``single`` was asked
        inner = next(self._aliases)
        if selection.match == "uuid5":
            return sql.Identifier(inner, "owner"), self._derived_join(selection, alias, inner)
        owner, joins = self._owner(selection.parent.selection, inner)
        return owner, sql.SQL("LEFT JOIN {} AS {} ON {} {}").format(
            relation(selection.parent),
            sql.Identifier(inner),
            guarded(selection, alias, joined(selection, alias, inner)),
            joins,
        )

    def _derived_join(self, reference: Reference, alias: str, inner: str) -> sql.Composable:
        keys, owners = self._derive(reference)
        condition = sql.SQL("{}::text = {}").format(
            identifier(alias, reference.columns[0]), sql.Identifier(inner, "derived")
        )
        return sql.SQL(
            "LEFT JOIN unnest({}::text[], {}::text[]) AS {} (derived, owner) ON {}"
        ).format(
            sql.Placeholder(keys),
            sql.Placeholder(owners),
            sql.Identifier(inner),
            guarded(reference, alias, condition),
        )

    # -- perhaps several

    def _several(self, place: sql.Identifier, selection: Selection) -> Iterable[tuple[Any, ...]]:
        """One pass brings the rows down to the values that decide, with their number; owners are
        looked up for those. An owner that two options name counts once."""
        pairs = sql.SQL(" UNION ALL ").join(
            sql.SQL(
                "SELECT t.{number} AS place, {owner} AS owner FROM {kinds} AS t {joins}"
            ).format(number=_NUMBER, kinds=_KINDS, owner=owner, joins=joins)
            for owner, joins in (self._owner_relation(one, "t") for one in options(selection))
        )
        query = sql.SQL(
            "WITH {kinds} AS MATERIALIZED (SELECT *, row_number() OVER () AS {number} FROM"
            " (SELECT {columns}, count(*) AS {rows}, {size} AS {bytes} FROM {place} AS t"
            " GROUP BY {columns}) AS grouped),"
            " owners AS MATERIALIZED (SELECT DISTINCT o.place, coalesce(n.tenant, o.owner) AS owner"
            " FROM ({pairs}) AS o LEFT JOIN ({names}) AS n ON n.value = o.owner"
            " WHERE o.owner IS NOT NULL)"
            " SELECT o.owner, sum(k.{rows})::bigint, sum(k.{bytes})"
            " FROM {kinds} AS k LEFT JOIN owners AS o ON o.place = k.{number} GROUP BY 1"
        ).format(
            kinds=_KINDS,
            number=_NUMBER,
            rows=_ROWS,
            bytes=_BYTES,
            columns=sql.SQL(", ").join(identifier("t", one) for one in _deciding(selection)),
            size=self._size(),
            place=place,
            pairs=pairs,
            names=self._names(),
        )
        return self._run(query)

    def _owner_relation(
        self, option: Selection, alias: str
    ) -> tuple[sql.Composable, sql.Composable]:
        """As ``_owner``; a parent with several owners becomes a relation of keys and owners."""
        if not isinstance(option, Reference) or single(option):
            return self._owner(option, alias)
        inner = next(self._aliases)
        if option.match == "uuid5":
            return sql.Identifier(inner, "owner"), self._derived_join(option, alias, inner)
        keys, row = self._keys_and_owners(option), next(self._aliases)
        own, _ = compared(option, alias, row)
        equal = [
            sql.SQL("{} = {}").format(one, sql.Identifier(inner, f"k{n}"))
            for n, one in enumerate(own)
        ]
        return sql.Identifier(inner, "owner"), sql.SQL("JOIN ({}) AS {} ON {}").format(
            keys,
            sql.Identifier(inner),
            guarded(option, alias, sql.SQL(" AND ").join(equal)),
        )

    def _keys_and_owners(self, reference: Reference) -> sql.Composable:
        """The parent's compared values with each owner, every pair once."""
        made: list[sql.Composable] = []
        for option in options(reference.parent.selection):
            row = next(self._aliases)
            owner, joins = self._owner_relation(option, row)
            _, theirs = compared(reference, row, row)
            keys = [
                sql.SQL("{} AS {}").format(one, sql.Identifier(f"k{n}"))
                for n, one in enumerate(theirs)
            ]
            made.append(
                sql.SQL("SELECT {}, {} AS owner FROM {} AS {} {}").format(
                    sql.SQL(", ").join(keys),
                    owner,
                    relation(reference.parent),
                    sql.Identifier(row),
                    joins,
                )
            )
        return sql.SQL(" UNION ").join(made)

    # -- what both need

    def _derive(self, reference: Reference) -> tuple[str, str]:
        """Parameters with the derived uuids of all the parent's rows, and their owners."""
        key = (reference.parent, reference.parent_columns[0])
        if key not in self._derived:
            pairs = sql.SQL("SELECT DISTINCT k0, owner FROM ({}) AS every").format(
                self._keys_and_owners(reference)
            )
            rows = [row for row in self._run(pairs) if row[0] is not None and row[1] is not None]
            number = len(self._derived)
            self._derived[key] = (f"derived_{number}", f"owners_{number}")
            self._parameters[f"derived_{number}"] = [uuid5_of(str(one)) for one, _ in rows]
            self._parameters[f"owners_{number}"] = [owner for _, owner in rows]
        return self._derived[key]

    def _names(self) -> sql.Composable:
        """Every value of every tenant, with its id."""
        place = identifier(self._root.schema, self._root.name)
        own = identifier(self._root.id)
        names = [sql.SQL("SELECT {0}::text AS value, {0}::text AS tenant FROM {1}")]
        if self._root.slug is not None:
            names.append(sql.SQL("SELECT {2}::text, {0}::text FROM {1}"))
        slug = identifier(self._root.slug or self._root.id)
        return sql.SQL(" UNION ").join(one.format(own, place, slug) for one in names)

    def _size(self) -> sql.SQL:
        return sql.SQL("sum(pg_column_size(t.*))") if self._sizes else sql.SQL("0")

    def _run(self, query: sql.Composed) -> Iterable[tuple[Any, ...]]:
        return self._connection.execute(query, self._parameters).fetchall()


def single(selection: Selection) -> bool:
    """Whether no row can have two owners."""
    if isinstance(selection, Reference):
        return selection.unique and single(selection.parent.selection)
    return isinstance(selection, TenantColumn)


def options(selection: Selection) -> Iterable[Selection]:
    """The selection's alternatives, flat."""
    if isinstance(selection, AnyOf):
        return [one for option in selection.options for one in options(option)]
    return [selection]


def _deciding(selection: Selection) -> Iterable[str]:
    """The columns of the table itself that its selection looks at."""
    found: dict[str, None] = {}
    for one in options(selection):
        if isinstance(one, TenantColumn):
            found[one.column] = None
        elif isinstance(one, Reference):
            found |= dict.fromkeys(one.columns)
            if one.when_null is not None:
                found[one.when_null] = None
    return found


def _tenant_of(connection: Connection, root: TenantTable) -> Mapping[str | None, str]:
    """Every value of a tenant by which rows may name it. An id counts before another's slug."""
    columns = [root.id] if root.slug is None else [root.slug, root.id]
    found: dict[str | None, str] = {}
    for column in columns:
        query = sql.SQL("SELECT {}::text, {}::text FROM {}").format(
            sql.Identifier(column),
            sql.Identifier(root.id),
            sql.Identifier(root.schema, root.name),
        )
        found.update(connection.execute(query).fetchall())
    found.pop(None, None)
    return found
