"""``tenant show``: all that one tenant has, place by place."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes
from aeterna_cli.stores.base.placement import Placement, PointsPlace
from aeterna_cli.stores.base.tenant_counts import Volume
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.tenant import advice, census
from aeterna_cli.workflows.tenant.advice import Advice
from aeterna_cli.workflows.tenant.census import Census
from aeterna_cli.workflows.tenant.census_points import copies_in, second_places
from aeterna_cli.workflows.tenant.resolve import choose
from aeterna_cli.workflows.tenant.view import (
    Counts,
    counts_of,
    moment,
    number,
    printable,
    where,
)


@dataclass(frozen=True)
class Held:
    """What the tenant has in one place. ``store`` is postgres, qdrant, redis or objects; ``place``
    a table, a collection (with its server and shard key), a rule of keys or a bucket and a rule.

    ``shared`` of these are somebody else's as well (persons of two tenants, keys of several), None
    where that cannot be. ``copy``: points that a running move has here a second time.
    ``bytes_estimated``: the bytes are, those of points always.
    """

    store: str
    place: str
    kind: str
    count: int
    bytes: int
    bytes_estimated: bool
    shared: int | None
    copy: bool


@dataclass(frozen=True)
class PlacementView:
    """The tenant's row of ``aeterna_ops.tenant_placement``."""

    state: str
    epoch: int
    shard: str
    collection: str
    shard_key: str | None
    secondary_shard: str | None
    secondary_collection: str | None
    secondary_shard_key: str | None
    operation: str | None
    updated_at: datetime


@dataclass(frozen=True)
class Doubtful:
    """What could be this tenant's and nobody can tell: by no rule, or by a name that may mean
    several. It is in nobody's counts."""

    store: str
    place: str
    why: str
    count: int


@dataclass(frozen=True)
class Shown:
    """``held`` has no empty places; ``shared_persons`` are rows about persons who belong to another
    tenant too."""

    taken_at: datetime
    id: str
    slug: str
    name: str
    status: str
    created_at: datetime | None
    advice: Advice
    counts: Counts
    placement: PlacementView | None
    held: tuple[Held, ...]
    shared_persons: int
    doubtful: tuple[Doubtful, ...]


def asked(argument: str | None, option: str | None) -> str:
    """Which tenant is meant; ``UsageError('tenant_missing')`` where none or two are named."""
    named = [one for one in (argument, option) if one is not None]
    if len(set(named)) != 1:
        raise UsageError(
            "tenant_missing",
            "name one tenant: by its id, its slug or its name",
            next_steps=["aeterna-cli tenant list"],
        )
    return named[0]


def run(ctx: Context, text: str) -> Result:
    """One pass over each store, as for ``tenant list --all-stores``: the same numbers.

    ``RefusedError`` as of ``resolve.choose`` for a tenant that there is not, or that is several.
    """
    limits = advice.checked(ctx.profile.tenants)
    _refuse_unknown(ctx, text)
    taken = census.take(ctx, census.Depth(rows=True, everything=True))
    tenant = choose(text, taken.tenants)
    shared = _shared_rows(ctx, taken, tenant)
    persons = sum(count for label, count in shared.items() if taken.map.tables[label].shared)
    shown = Shown(
        taken_at=taken.taken_at,
        id=tenant.id,
        slug=tenant.slug,
        name=tenant.name,
        status=tenant.status,
        created_at=tenant.created_at,
        advice=advice.advise(taken, limits)[tenant.id],
        counts=counts_of(taken, taken.shares[tenant.id]),
        placement=_placement(taken.placements.get(tenant.id)),
        held=tuple(_held(taken, tenant.id, shared)),
        shared_persons=persons,
        doubtful=tuple(_doubtful(taken, tenant.id)),
    )
    return Result("aeterna.tenant.show/1", shown, lambda: _view(shown))


def _refuse_unknown(ctx: Context, text: str) -> None:
    """Before every store is read."""
    from aeterna_cli.workflows.tenant.resolve import resolve

    resolve(ctx.deployment, text)


def _shared_rows(ctx: Context, taken: Census, tenant: TenantIdentity) -> dict[str, int]:
    """Rows of the tenant that somebody else has too, by table where that can be."""
    from aeterna_cli.stores.postgres_connection import connect, postgres_errors
    from aeterna_cli.stores.postgres_table_totals import shared_rows

    tables = [one for one in taken.map.of_tenants if one.shared]
    with postgres_errors(), closing(connect(ctx.profile.postgres)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return dict(shared_rows(connection, tables, tenant))


def _placement(found: Placement | None) -> PlacementView | None:
    if found is None:
        return None
    second = found.secondary or PointsPlace("", "")
    return PlacementView(
        state=found.state,
        epoch=found.epoch,
        shard=found.primary.shard,
        collection=found.primary.collection,
        shard_key=found.primary.shard_key,
        secondary_shard=second.shard or None,
        secondary_collection=second.collection or None,
        secondary_shard_key=second.shard_key,
        operation=found.operation,
        updated_at=found.updated_at,
    )


# -- place by place


def _held(taken: Census, tenant: str, shared: dict[str, int]) -> Iterator[Held]:
    for label, owners in taken.rows.items():
        found = owners.get(tenant)
        if found is not None and found.rows:
            kind = taken.map.tables[label].scope
            yield _place(
                "postgres", label, kind, Volume(found.rows, found.bytes), shared.get(label)
            )
    yield from _points(taken, tenant)
    if taken.keys is not None:
        for rule, volume in sorted(taken.keys.by_tenant.get(tenant, {}).items()):
            yield _place("redis", rule, "keys", volume)
    for store, tally in taken.objects.items():
        for rule, volume in sorted(tally.by_tenant.get(tenant, {}).items()):
            yield _place("objects", f"{store}: {rule}", "objects", volume)


def _place(store: str, place: str, kind: str, volume: Volume, shared: int | None = None) -> Held:
    return Held(
        store=store,
        place=place,
        kind=kind,
        count=volume.count,
        bytes=volume.bytes,
        bytes_estimated=store == "qdrant",
        shared=shared,
        copy=False,
    )


def _points(taken: Census, tenant: str) -> Iterator[Held]:
    second = second_places(taken)
    for found in taken.collections:
        copies = copies_in(found, tenant, second).points
        for key, owners in found.by_key.items():
            points = owners[tenant].points if tenant in owners else 0
            if points:
                name = f"{found.server}/{found.name}" if found.server else found.name
                name = name if key is None else f"{name} [{key}]"
                volume = Volume(points, points * found.bytes_per_point)
                copied = bool(copies) and second[tenant].shard_key in (None, key)
                yield replace(_place("qdrant", name, found.kind, volume), copy=copied)


def _doubtful(taken: Census, tenant: str) -> Iterator[Doubtful]:
    for table in taken.map.unclassified:
        rows = sum(one.rows for one in taken.rows.get(table.label, {}).values())
        yield Doubtful("postgres", table.label, "no rule tells whose rows these are", rows)
    for found in taken.collections:
        points = sum(one.points for one in found.by_owner.values())
        if tenant in found.may_be:
            why = "its name may mean this tenant"
            yield Doubtful("qdrant", found.name, why, points)
        elif found.kind in ("unclassified", "unknown"):
            yield Doubtful("qdrant", found.name, "no rule tells whose points these are", points)
    tallies = {"redis": taken.keys} if taken.keys is not None else {}
    for store, tally in {**tallies, **taken.objects}.items():
        for form, sampled in tally.unclassified.items():
            kind = "redis" if store == "redis" and tally is taken.keys else "objects"
            yield Doubtful(kind, form, "no rule knows this name", sampled.volume.count)


# -- for people


def _view(shown: Shown) -> Table:
    rows = [
        [
            one.store,
            printable(one.place) + (" (copy of a running move)" if one.copy else ""),
            one.kind,
            number(one.count),
            number(one.shared) if one.shared else "-",
            ("about " if one.bytes_estimated else "") + human_bytes(one.bytes),
        ]
        for one in shown.held
    ]
    rows += [
        [one.store, printable(one.place), f"not counted: {one.why}", number(one.count), "-", "-"]
        for one in shown.doubtful
    ]
    return Table(
        ["store", "place", "kind", "count", "shared", "bytes"],
        rows,
        title=_title(shown),
        right=frozenset({"count", "shared", "bytes"}),
        footer="\n".join(_footer(shown)),
    )


def _title(shown: Shown) -> str:
    return (
        f"{printable(shown.name)} ({printable(shown.slug)}, {shown.id}), {shown.status},"
        f" created {moment(shown.created_at)}"
    )


def _footer(shown: Shown) -> Iterator[str]:
    counts, found = shown.counts, shown.advice
    yield (
        f"{found.size}: {counts.memories:,} memories ({counts.memory_points:,} points,"
        f" {counts.memory_rows:,} rows; at most {counts.memories_at_most:,}),"
        f" {counts.memories_7d:,} of the last 7 days, {counts.memories_30d:,} of 30"
    )
    place = where(found.shard, found.collection)
    state = "no placement" if shown.placement is None else f"placed, {shown.placement.state}"
    if shown.placement is not None and shown.placement.secondary_shard:
        state += f", also on {printable(shown.placement.secondary_shard)}"
    yield f"shard {place} ({state}); move: {'yes' if found.move else 'no'}, {printable(found.why)}"
    if shown.shared_persons:
        yield f"{shown.shared_persons:,} rows are about persons of another tenant too"
    if found.command:
        yield found.command
