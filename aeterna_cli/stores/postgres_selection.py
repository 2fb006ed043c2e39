"""Selections as SQL: one tenant's rows, and the owners of all rows in one pass.

Values are bound, names are composed: neither is ever formatted into a statement. Text is compared
as text, so a value that is no uuid never raises. The uuids of version 5 are computed here: the
server could only do so with an extension.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from psycopg import sql

from aeterna_cli.stores.base.selection import AnyOf, Parent, Reference, Selection, TenantColumn
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_connection import Connection

#: what PostgreSQL surely reads as a uuid; anything else in a text column is no reference
UUID_TEXT = "^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$"
_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Clause:
    """A piece of SQL and what its named placeholders are bound to."""

    query: sql.Composed
    parameters: Mapping[str, Any]


def uuid5_of(text: str) -> str:
    """What the platform's identity sync derives from a unit's id (source: its github.rs)."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, text))


class TenantRows:
    """The rows of one tenant, on one connection.

    Where a selection needs derived uuids, the ids that they come from are read on the connection
    when the clause is made: within one transaction of REPEATABLE READ it means one snapshot.
    """

    def __init__(self, connection: Connection, tenant: TenantIdentity) -> None:
        self._connection = connection
        self._tenant = tenant
        values = list(tenant.values)
        self._parameters: dict[str, Any] = {
            "tenant_texts": values,
            "tenant_uuids": [one for one in values if _CANONICAL.fullmatch(one)],
        }
        self._aliases = (f"p{number}" for number in count())
        self._derived: dict[tuple[Parent, str, bool], str] = {}

    def predicate(self, selection: Selection, alias: str = "t") -> Clause:
        """A condition on the table that goes by ``alias``: true for the tenant's rows.

        For others it is false or NULL: negate it with ``IS NOT TRUE``. Bind ``parameters`` by
        name, beside the caller's own; they are the same for every clause made here. The caller's
        own names in the statement go through ``identifier``.
        """
        query = sql.Composed([sql.SQL("("), self._mine(selection, alias), sql.SQL(")")])
        return Clause(query, self._parameters)

    def others(self, selection: Selection, alias: str = "t") -> Clause:
        """A condition that is true for rows that somebody else has as well: another tenant, or
        what belongs to the whole instance (``__root__``). They must outlive the tenant."""
        query = sql.Composed([sql.SQL("("), self._theirs(selection, alias), sql.SQL(")")])
        return Clause(query, self._parameters)

    # -- the tenant's own

    def _mine(self, selection: Selection, alias: str) -> sql.Composable:
        return guarded(selection, alias, self._plainly_mine(selection, alias))

    def _plainly_mine(self, selection: Selection, alias: str) -> sql.Composable:
        match selection:
            case TenantColumn():
                return _among(selection, alias)
            case AnyOf(options):
                return sql.SQL(" OR ").join(self._mine(one, alias) for one in options)
            case Reference(match="uuid5"):
                name = self._derive(selection, others=False)
                return sql.SQL("{} = ANY({}::text[])").format(
                    _as_text(alias, selection.columns[0]), sql.Placeholder(name)
                )
            case Reference(parent=parent):
                inner = next(self._aliases)
                own, theirs = compared(selection, alias, inner)
                return sql.SQL("({}) IN (SELECT {} FROM {} AS {} WHERE {})").format(
                    sql.SQL(", ").join(own),
                    sql.SQL(", ").join(theirs),
                    relation(parent),
                    sql.Identifier(inner),
                    self._mine(parent.selection, inner),
                )

    # -- somebody else's

    def _theirs(self, selection: Selection, alias: str) -> sql.Composable:
        return guarded(selection, alias, self._plainly_theirs(selection, alias))

    def _plainly_theirs(self, selection: Selection, alias: str) -> sql.Composable:
        match selection:
            case TenantColumn(column):
                return sql.SQL("{} <> ALL({}::text[])").format(
                    _as_text(alias, column), sql.Placeholder("tenant_texts")
                )
            case AnyOf(options):
                return sql.SQL(" OR ").join(self._theirs(one, alias) for one in options)
            case Reference(match="uuid5"):
                name = self._derive(selection, others=True)
                return sql.SQL("{} = ANY({}::text[])").format(
                    _as_text(alias, selection.columns[0]), sql.Placeholder(name)
                )
            case Reference(parent=parent):
                inner = next(self._aliases)
                return sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {} AND ({}))").format(
                    relation(parent),
                    sql.Identifier(inner),
                    joined(selection, alias, inner),
                    self._theirs(parent.selection, inner),
                )

    def _derive(self, reference: Reference, *, others: bool) -> str:
        """The name of the parameter with the uuids derived from the parent's texts."""
        key = (reference.parent, reference.parent_columns[0], others)
        if key not in self._derived:
            chosen = self._theirs if others else self._mine
            query = sql.SQL("SELECT DISTINCT {} FROM {} AS {} WHERE {}").format(
                _as_text("d", reference.parent_columns[0]),
                relation(reference.parent),
                sql.Identifier("d"),
                chosen(reference.parent.selection, "d"),
            )
            rows = self._connection.execute(query, self._parameters).fetchall()
            name = f"derived_{len(self._derived)}"
            self._parameters[name] = [uuid5_of(text) for (text,) in rows if text is not None]
            self._derived[key] = name
        return self._derived[key]


def _among(selection: TenantColumn, alias: str) -> sql.Composable:
    """In the column's own type, so that an index on it serves."""
    column = identifier(alias, selection.column)
    if selection.type == "uuid":
        return sql.SQL("{} = ANY({}::uuid[])").format(column, sql.Placeholder("tenant_uuids"))
    plain = selection.type == "text" or selection.type.startswith("character varying")
    text = column if plain else _as_text(alias, selection.column)
    return sql.SQL("{} = ANY({}::text[])").format(text, sql.Placeholder("tenant_texts"))


def identifier(*names: str) -> sql.Identifier:
    """A name for a statement that is executed with parameters, where ``%`` would begin one."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


def relation(table: Parent) -> sql.Identifier:
    return identifier(table.schema, table.name)


def _as_text(alias: str, column: str) -> sql.Composed:
    return sql.SQL("{}::text").format(identifier(alias, column))


def compared(
    reference: Reference, alias: str, parent: str
) -> tuple[Sequence[sql.Composable], Sequence[sql.Composable]]:
    """The expressions on both sides that are equal where the reference holds."""
    own = [identifier(alias, column) for column in reference.columns]
    theirs = [identifier(parent, column) for column in reference.parent_columns]
    if reference.match == "same":
        return own, theirs
    if reference.match in ("text", "uuid5"):
        return [_as_text(alias, reference.columns[0])], [
            _as_text(parent, reference.parent_columns[0])
        ]
    checked = sql.SQL("CASE WHEN {0} ~ {1} THEN {0}::uuid END").format(
        theirs[0], sql.Literal(UUID_TEXT)
    )
    return own, [checked]


def joined(reference: Reference, alias: str, parent: str) -> sql.Composable:
    """The condition under which a row and its parent's belong together."""
    own, theirs = compared(reference, alias, parent)
    pairs = [sql.SQL("{} = {}").format(one, other) for one, other in zip(own, theirs, strict=True)]
    return sql.SQL(" AND ").join(pairs)


def guarded(selection: Selection, alias: str, condition: sql.Composable) -> sql.Composable:
    """The condition, for rows that the reference counts for."""
    if not isinstance(selection, Reference) or selection.when_null is None:
        return condition
    return sql.SQL("({} IS NULL AND {})").format(identifier(alias, selection.when_null), condition)
