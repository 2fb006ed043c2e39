"""``datamap show``: where tenants' and persons' data lives, and how it is selected there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from aeterna_cli.context import Context
from aeterna_cli.datamap.model import DataMap, MappedTable
from aeterna_cli.errors import UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.workflows.datamap import describe
from aeterna_cli.workflows.datamap.build import build
from aeterna_cli.workflows.datamap.describe import DescribedTable

STORES = ("postgres", "qdrant", "redis", "objects")


@dataclass(frozen=True)
class Shown:
    """``insert_order``: parents first; emptied in reverse. ``select_first``: tables whose keys must
    be read before anything is deleted."""

    profile: str
    database: str
    role: str
    unclassified: tuple[str, ...]
    insert_order: tuple[str, ...]
    select_first: tuple[str, ...]
    tables: tuple[DescribedTable, ...]
    collections: tuple[Mapping[str, str], ...]
    keys: tuple[Mapping[str, str], ...]
    objects: tuple[Mapping[str, str], ...]


def run(ctx: Context, store: str | None, table: str | None) -> Result:
    """Reads catalogues, never data. ``UsageError('table_unknown')`` offers the closest names."""
    if store is not None and store not in STORES:
        known = ", ".join(STORES)
        raise UsageError("store_unknown", f"unknown store {store!r}: {known}")
    map_ = build(ctx.deployment)
    chosen = _chosen(map_, table) if store in (None, "postgres") else []
    shown = Shown(
        ctx.deployment.name,
        map_.database,
        map_.role.name,
        tuple(one.label for one in map_.unclassified),
        map_.insert_order,
        map_.order.select_first,
        describe.tables(chosen),
        (),
        (),
        (),
    )
    one = shown.tables[0] if table is not None and shown.tables else None
    return Result("aeterna.datamap.show/1", shown, lambda: _details(one) if one else _view(shown))


def _chosen(map_: DataMap, label: str | None) -> Sequence[MappedTable]:
    if label is None:
        return list(map_.tables.values())
    if label not in map_.tables:
        close = get_close_matches(label, map_.tables, n=3)
        raise UsageError(
            "table_unknown",
            f"there is no table {label!r}",
            hint=f"did you mean {', '.join(close)}?" if close else "names are as in datamap show",
            next_steps=["aeterna-cli datamap show"],
        )
    return [map_.tables[label]]


def _view(shown: Shown) -> Table:
    rows = [
        [
            one.table,
            one.scope + (", shared" if one.shared else ""),
            one.selection,
            "" if one.estimated_rows is None else f"{one.estimated_rows:,}",
            ", ".join(dict.fromkeys(subject.column for subject in one.subjects)),
        ]
        for one in shown.tables
    ]
    return Table(
        ["table", "scope", "one tenant's rows", "rows (estimate)", "about persons"],
        rows,
        title=f"profile {shown.profile}, database {shown.database}",
        right=frozenset({"rows (estimate)"}),
        footer=f"{len(rows)} tables, {len(shown.unclassified)} unclassified",
    )


def _details(one: DescribedTable) -> Table:
    """One table, a line for each thing known of it."""
    rows = [
        ["scope", one.scope + (", a row may belong to several tenants" if one.shared else "")],
        *(["one tenant's rows", path] for path in one.selection.split(" or ") if path),
        ["primary key", ", ".join(one.primary_key)],
        *(["unique", ", ".join(key)] for key in one.unique if key != one.primary_key),
        *(["foreign key", key] for key in one.foreign_keys),
        ["row security", one.row_security],
        *(["trigger", name] for name in one.triggers),
        *(["sequence", name] for name in one.sequences),
        *(
            [
                "about a person",
                f"{s.column}{s.path[1:]}: {s.kind}, erasure: {s.erase}"
                + (f" ({s.ground})" if s.ground else ""),
            ]
            for s in one.subjects
        ),
        ["rebuildable", one.rebuildable or "no"],
        ["note", one.note],
        *(["column", f"{c.name} {c.type}{'' if c.nullable else ' not null'}"] for c in one.columns),
    ]
    return Table(["what", "value"], [row for row in rows if row[1]], title=one.table)
