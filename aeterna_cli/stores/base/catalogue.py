"""A PostgreSQL database as its own catalogue describes it: tables, keys, and what our role may do.

Facts only; what they mean for tenants is decided in ``aeterna_cli.datamap``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def label(schema: str, name: str) -> str:
    """A table's name for people, rules and mappings: ``users``, ``other.users``, ``"Odd"."x.y"``.

    Unambiguous whatever the names hold. Never put into SQL.
    """
    parts = (name,) if schema == "public" else (schema, name)
    return ".".join(one if _PLAIN.fullmatch(one) else quoted(one) for one in parts)


def quoted(*names: str) -> str:
    """A name as SQL that a person pastes."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


@dataclass(frozen=True)
class Column:
    """``type`` is the server's own word for it: ``uuid``, ``character varying(255)``, ``jsonb``."""

    name: str
    type: str
    nullable: bool
    generated: bool = False

    @property
    def json(self) -> bool:
        return self.type in ("json", "jsonb")


@dataclass(frozen=True)
class ForeignKey:
    """``target`` is the label of the table that ``target_columns`` belong to."""

    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str  # no action, restrict, cascade, set null, set default


@dataclass(frozen=True)
class CatalogueTable:
    """An ordinary table, or a partitioned one that stands for its partitions.

    ``unique`` has the columns of every unique constraint and every unique index on whole rows, the
    primary key's among them. ``rows_hidden``: row security would hide rows from our role.
    ``estimated_rows`` is None before the first ANALYZE.
    """

    schema: str
    name: str
    partitioned: bool = False
    columns: tuple[Column, ...] = ()
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    rls_enabled: bool = False
    rls_forced: bool = False
    rows_hidden: bool = False
    triggers: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    estimated_rows: int | None = None
    schema_usage: bool = True
    privileges: frozenset[str] = frozenset(PRIVILEGES)
    extension: str | None = None
    inherits: bool = False

    @property
    def label(self) -> str:
        return label(self.schema, self.name)

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        return {column.name: column for column in self.columns}

    def identifies(self, columns: Iterable[str]) -> bool:
        """Whether there is at most one row for values of these columns."""
        given = set(columns)
        return any(given.issuperset(key) for key in self.unique if key)


@dataclass(frozen=True)
class Role:
    name: str
    superuser: bool
    bypasses_rls: bool


@dataclass(frozen=True)
class Catalogue:
    database: str
    role: Role
    tables: tuple[CatalogueTable, ...] = field(default_factory=tuple)

    @cached_property
    def by_label(self) -> Mapping[str, CatalogueTable]:
        return {table.label: table for table in self.tables}


@dataclass(frozen=True)
class TenantTable:
    """The table whose rows are tenants, and which of its columns say what. None: it has none."""

    schema: str
    name: str
    id: str = "id"
    slug: str | None = "slug"
    title: str | None = "name"
    status: str | None = "status"
    created_at: str | None = "created_at"

    @property
    def label(self) -> str:
        return label(self.schema, self.name)
