"""The map as data for people and programs."""

from collections.abc import Sequence
from dataclasses import dataclass

from aeterna_cli.datamap.model import MappedTable, told
from aeterna_cli.datamap.table_rules import Subject


@dataclass(frozen=True)
class DescribedColumn:
    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class DescribedTable:
    """``selection`` says how one tenant's rows are found, "" where there are none.
    ``estimated_rows`` is the server's, None before its first ANALYZE."""

    table: str
    scope: str
    shared: bool
    selection: str
    estimated_rows: int | None
    primary_key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]
    foreign_keys: tuple[str, ...]
    row_security: str  # off, on, forced
    triggers: tuple[str, ...]
    sequences: tuple[str, ...]
    privileges: tuple[str, ...]
    subjects: tuple[Subject, ...]
    rebuildable: str
    note: str
    columns: tuple[DescribedColumn, ...]


def tables(chosen: Sequence[MappedTable]) -> tuple[DescribedTable, ...]:
    return tuple(_table(one) for one in chosen)


def _table(mapped: MappedTable) -> DescribedTable:
    table = mapped.table
    security = "forced" if table.rls_forced else "on"
    return DescribedTable(
        table=mapped.label,
        scope=mapped.scope,
        shared=mapped.shared,
        selection=told(mapped.selection),
        estimated_rows=table.estimated_rows,
        primary_key=table.primary_key,
        unique=table.unique,
        foreign_keys=tuple(
            f"{', '.join(key.columns)} -> {key.target} ({', '.join(key.target_columns)})"
            f" on delete {key.on_delete}"
            for key in table.foreign_keys
        ),
        row_security=security if table.rls_enabled else "off",
        triggers=table.triggers,
        sequences=table.sequences,
        privileges=tuple(sorted(table.privileges)),
        subjects=mapped.subjects,
        rebuildable=mapped.rebuildable,
        note=mapped.rule.note,
        columns=tuple(DescribedColumn(c.name, c.type, c.nullable) for c in table.columns),
    )
