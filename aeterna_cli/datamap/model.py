"""The map of a deployment: what is where, and how a tenant's part of it is selected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from aeterna_cli.datamap.closure import Order
from aeterna_cli.datamap.collections import CollectionClass, CollectionMap
from aeterna_cli.datamap.keys import KeyMap
from aeterna_cli.datamap.objects import ObjectMap
from aeterna_cli.datamap.table_rules import Scope, Subject, TableRule
from aeterna_cli.stores.base.catalogue import (
    CatalogueTable,
    Column,
    ForeignKey,
    Role,
    TenantTable,
)
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.selection import Reference, Selection, TenantColumn


@dataclass(frozen=True)
class MappedTable:
    """A table, whose it is and how one tenant's rows are selected (None: it has no tenants' rows).

    ``shared``: by design a row may belong to several tenants; use ``TenantRows.others`` before one
    is deleted. ``reads`` are the tables that the selection looks into: empty them later.
    """

    table: CatalogueTable
    scope: Scope
    selection: Selection | None
    shared: bool
    reads: tuple[str, ...]
    rule: TableRule

    @property
    def label(self) -> str:
        return self.table.label

    @property
    def schema(self) -> str:
        return self.table.schema

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.table.columns

    @property
    def primary_key(self) -> tuple[str, ...]:
        return self.table.primary_key

    @property
    def unique(self) -> tuple[tuple[str, ...], ...]:
        return self.table.unique

    @property
    def foreign_keys(self) -> tuple[ForeignKey, ...]:
        return self.table.foreign_keys

    @property
    def triggers(self) -> tuple[str, ...]:
        return self.table.triggers

    @property
    def sequences(self) -> tuple[str, ...]:
        return self.table.sequences

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return self.rule.subjects

    @property
    def rebuildable(self) -> str:
        return self.rule.rebuildable


@dataclass(frozen=True)
class DataMap:
    """``tables`` by label, by name. ``root`` is None where the database has no table of tenants.

    ``order`` tells in which order all of them are filled and emptied; ``findings`` what speaks
    against trusting the tables' part, errors first.

    The other stores are there where somebody asked for them: ``collections`` by Qdrant server (""
    is the profile's own), ``keys``, ``objects``. A map of tables alone says nothing about them.
    """

    database: str
    role: Role
    root: TenantTable | None
    tables: Mapping[str, MappedTable]
    order: Order
    findings: tuple[Finding, ...] = field(default=())
    collections: Mapping[str, CollectionMap] = field(default_factory=dict)
    keys: KeyMap | None = None
    objects: ObjectMap | None = None

    @cached_property
    def unclassified(self) -> tuple[MappedTable, ...]:
        return tuple(one for one in self.tables.values() if one.scope == "unclassified")

    @cached_property
    def unclassified_collections(self) -> tuple[CollectionClass, ...]:
        """Those that fit no rule. One that fits a rule with nobody known in it is somebody's, who
        is gone: no other tenant's points are looked for there."""
        return tuple(
            one
            for found in self.collections.values()
            for one in found.classes
            if one.kind == "unclassified"
        )

    @cached_property
    def of_tenants(self) -> tuple[MappedTable, ...]:
        """The tables with tenants' rows, in insert order."""
        found = (self.tables[label] for label in self.order.insert)
        return tuple(one for one in found if one.selection is not None)

    @property
    def insert_order(self) -> tuple[str, ...]:
        return self.order.insert

    @property
    def delete_order(self) -> tuple[str, ...]:
        return self.order.delete


def told(selection: Selection | None) -> str:
    """A selection in words: ``tenant_id``, ``team_id -> teams.id``."""
    if selection is None:
        return ""
    if isinstance(selection, TenantColumn):
        return selection.column
    if isinstance(selection, Reference):
        kind = {"uuid5": " as uuid5"}.get(selection.match, "")
        own, theirs = ", ".join(selection.columns), ", ".join(selection.parent_columns)
        when = f" where {selection.when_null} is null" if selection.when_null else ""
        return f"{own} -> {selection.parent.name}.{theirs}{kind}{when}"
    return " or ".join(told(one) for one in selection.options)
