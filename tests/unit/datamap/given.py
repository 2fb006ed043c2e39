"""Catalogues made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from aeterna_cli.datamap import table_rules
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.tables import map_tables
from aeterna_cli.stores.base.catalogue import Catalogue, CatalogueTable, Column, ForeignKey, Role


def table(
    name: str,
    columns: str,
    keys: Mapping[str, str] | None = None,
    *,
    schema: str = "public",
    **changes: Any,
) -> CatalogueTable:
    """``columns`` are ``name:type`` words, with ``?`` where NULL is allowed; ``keys`` are foreign
    keys by column, as ``table.column``. The first column is the primary key."""
    made = []
    for word in columns.split():
        column, _, kind = word.partition(":")
        made.append(Column(column, kind.rstrip("?") or "text", word.endswith("?")))
    foreign = []
    for column, target in (keys or {}).items():
        parent, _, theirs = target.rpartition(".")
        foreign.append(ForeignKey(f"{column}_key", (column,), parent, (theirs,), "no action"))
    values: dict[str, Any] = {
        "primary_key": (made[0].name,),
        "unique": ((made[0].name,),),
        "foreign_keys": tuple(foreign),
        **changes,
    }
    return CatalogueTable(schema, name, columns=tuple(made), **values)


TENANTS = table("tenants", "id:uuid slug name status created_at:timestamptz?")


def mapped(
    *tables: CatalogueTable, rules: Sequence[Mapping[str, Any]] = (), role: str = "someone"
) -> DataMap:
    catalogue = Catalogue("platform", Role(role, False, False), (TENANTS, *tables))
    return map_tables(catalogue, table_rules.parse(rules))
