"""``datamap show``: where tenants' and persons' data lives, and how it is selected there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from aeterna_cli.context import Context
from aeterna_cli.datamap import described
from aeterna_cli.datamap.described import DescribedCollection, DescribedKey, DescribedObject
from aeterna_cli.datamap.model import DataMap, MappedTable
from aeterna_cli.errors import UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.datamap import describe
from aeterna_cli.workflows.datamap.build import begin, some_stores
from aeterna_cli.workflows.datamap.describe import DescribedTable
from aeterna_cli.workflows.tenant.resolve import choose


@dataclass(frozen=True)
class Shown:
    """``tenant`` is the id of the one who was asked for, else "". ``insert_order``: parents first;
    emptied in reverse. ``select_first``: tables whose keys must be read before anything is deleted.
    What was not asked for is empty."""

    profile: str
    database: str
    role: str
    tenant: str
    unclassified: tuple[str, ...]
    insert_order: tuple[str, ...]
    select_first: tuple[str, ...]
    tables: tuple[DescribedTable, ...]
    collections: tuple[DescribedCollection, ...]
    keys: tuple[DescribedKey, ...]
    objects: tuple[DescribedObject, ...]


@dataclass(frozen=True)
class Asked:
    stores: tuple[str, ...]
    table: str | None
    tenant: str | None


def asked(store: str | None, table: str | None, tenant: str | None) -> Asked:
    """``UsageError('table_without_postgres')`` where another store is asked for a table."""
    stores = some_stores(store)
    if table is None:
        return Asked(stores, None, tenant)
    if "postgres" not in stores:
        raise UsageError(
            "table_without_postgres",
            f"--table is of PostgreSQL, not of {store}",
            next_steps=[f"leave out --store {store}"],
        )
    return Asked(("postgres",), table, tenant)


def run(ctx: Context, wanted: Asked) -> Result:
    """Reads catalogues and the table of tenants, no other data. ``UsageError('table_unknown')``
    offers the closest names; errors as of ``datamap.build.begin``."""
    tenants = wanted.tenant is not None or "qdrant" in wanted.stores
    begun = begin(ctx.deployment, tenants=tenants)
    tenant = choose(wanted.tenant, begun.tenants) if wanted.tenant is not None else None
    map_ = begun.whole(wanted.stores)
    chosen = _chosen(map_, wanted.table, tenant) if "postgres" in wanted.stores else []
    shown = Shown(
        profile=ctx.deployment.name,
        database=map_.database,
        role=map_.role.name,
        tenant=tenant.id if tenant is not None else "",
        unclassified=tuple(one.label for one in map_.unclassified),
        insert_order=map_.insert_order,
        select_first=map_.order.select_first,
        tables=describe.tables(chosen),
        collections=tuple(
            one
            for server, found in map_.collections.items()
            for one in described.collections(server, found, tenant)
        ),
        keys=tuple(described.keys(map_.keys, tenant)) if map_.keys is not None else (),
        objects=tuple(described.objects(map_.objects, tenant)) if map_.objects is not None else (),
    )
    one = shown.tables[0] if wanted.table is not None and shown.tables else None
    return Result("aeterna.datamap.show/1", shown, lambda: _details(one) if one else _view(shown))


def _chosen(
    map_: DataMap, label: str | None, tenant: TenantIdentity | None
) -> Sequence[MappedTable]:
    if label is None:
        tables = map_.tables.values()
        return [one for one in tables if tenant is None or one.selection is not None]
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
    rows = [*_tables(shown), *_collections(shown), *_keys(shown), *_objects(shown)]
    counts = {
        "tables": len(shown.tables), "collections": len(shown.collections),
        "shapes of keys": len(shown.keys), "shapes of objects": len(shown.objects),
    }  # fmt: skip
    told = [f"{number} {what}" for what, number in counts.items() if number]
    unknown = len(shown.unclassified) if shown.tables else 0
    unknown += sum(one.kind == "unclassified" for one in shown.collections)
    return Table(
        ["store", "what", "kind", "one tenant's", "rows (estimate)", "about persons"],
        rows,
        title=f"profile {shown.profile}, database {shown.database}"
        + (f", tenant {shown.tenant}" if shown.tenant else ""),
        right=frozenset({"rows (estimate)"}),
        footer=f"{', '.join(told) or 'nothing'}; {unknown} unclassified",
    )


def _tables(shown: Shown) -> Iterator[list[str]]:
    for one in shown.tables:
        yield [
            "postgres",
            one.table,
            one.scope + (", shared" if one.shared else ""),
            one.selection,
            "" if one.estimated_rows is None else f"{one.estimated_rows:,}",
            ", ".join(dict.fromkeys(subject.column for subject in one.subjects)),
        ]


def _collections(shown: Shown) -> Iterator[list[str]]:
    for one in shown.collections:
        part = {"shared": " or ".join(filter(None, (one.field, one.json)))}.get(one.kind, "")
        if one.tenants:
            part = ("all: " if one.certain else "not certain: ") + ", ".join(one.tenants)
        name = f"{one.server}: {one.collection}" if one.server else one.collection
        yield ["qdrant", name, one.kind, part, "", ""]


def _keys(shown: Shown) -> Iterator[list[str]]:
    for one in shown.keys:
        ending = "" if one.what == "channel" else f", ttl {one.ttl}"
        index = f", in {one.index}" if one.index else ""
        for pattern in one.patterns:
            yield ["redis", pattern, f"{one.what}, {one.role}{ending}", one.holder + index, "", ""]


def _objects(shown: Shown) -> Iterator[list[str]]:
    for one in shown.objects:
        yield ["objects", one.pattern, one.role, " or ".join(one.prefixes), "", ""]


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
