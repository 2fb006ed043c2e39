"""``tenant list``: every tenant, what it has, how large it is, where its memories lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes
from aeterna_cli.workflows.completion_names import remember
from aeterna_cli.workflows.tenant import advice, census
from aeterna_cli.workflows.tenant.view import (
    TenantLine,
    by_size,
    moment,
    nobody_lines,
    number,
    printable,
    shell_safe,
    tenant_line,
    total_lines,
    where,
)

_NEVER = datetime.min.replace(tzinfo=UTC)
#: by what tenants are ordered; numbers and times begin with the largest and newest
SORTS: dict[str, Callable[[TenantLine], Any]] = {
    "memories": lambda one: (-one.counts.memories, one.slug or ""),
    "growth": lambda one: (-one.counts.memories_30d, -one.counts.memories_7d, one.slug or ""),
    "points": lambda one: (-one.counts.points, one.slug or ""),
    "rows": lambda one: (-(one.counts.rows or 0), one.slug or ""),
    "slug": lambda one: one.slug or "",
    "name": lambda one: (one.name, one.slug or ""),
    "created": lambda one: (-(one.created_at or _NEVER).timestamp(), one.slug or ""),
}


@dataclass(frozen=True)
class Wanted:
    """Which tenants, in which order; checked. ``limit`` 0 is all of them."""

    size: str | None
    status: str | None
    sort: str
    limit: int
    everything: bool


def wanted(
    size: str | None, status: str | None, sort: str, limit: int, *, everything: bool
) -> Wanted:
    """``UsageError`` for a class or an order that there is not."""
    if size is not None and size not in advice.CLASSES:
        known = ", ".join(advice.CLASSES)
        raise UsageError("class_unknown", f"unknown class {size!r}: one of {known}")
    if sort not in SORTS:
        raise UsageError("sort_unknown", f"unknown order {sort!r}: one of {', '.join(SORTS)}")
    if limit < 0:
        raise UsageError("limit_out_of_range", "--limit must be 0 (all) or more")
    return Wanted(size, status, sort, limit, everything)


def run(ctx: Context, asked: Wanted) -> Result:
    """The tenants that were asked for, then what is nobody's, then the stores' own totals.

    Whatever was asked for, the lines of ``nobody`` and the total are of everything. The names of
    all tenants are kept for the shells' completion.
    """
    limits = advice.checked(ctx.profile.tenants)
    taken = census.take(ctx, census.Depth(rows=True, everything=asked.everything))
    advised = advice.advise(taken, limits)
    everyone = [tenant_line(taken, one, advised[one.id]) for one in taken.tenants]
    remember(ctx, "tenants", shell_safe(taken.tenants))
    chosen = sorted(
        (
            one
            for one in everyone
            if asked.size in (None, one.size) and asked.status in (None, one.status)
        ),
        key=SORTS[asked.sort],
    )
    shown = chosen[: asked.limit] if asked.limit else chosen
    lines = [*shown, *nobody_lines(taken), *total_lines(taken)]
    return Result(
        "aeterna.tenant.list/1", lines, lambda: _view(ctx, lines, everyone, asked.everything)
    )


def _view(
    ctx: Context, lines: Sequence[TenantLine], everyone: Sequence[TenantLine], everything: bool
) -> Table:
    more = ["keys", "objects", "bytes (points: estimate)"] if everything else []
    columns = ["id", "slug", "name", "status", "created", "memories", "7 d", "30 d", "class",
               "shard", "rows", "points", *more]  # fmt: skip
    shown = sum(one.kind == "tenant" for one in lines)
    classes = ", ".join(f"{count:,} {size}" for size, count in by_size(everyone).items())
    return Table(
        columns,
        [_row(one, everything) for one in lines],
        title=f"profile {ctx.profile_name}",
        right=frozenset({"memories", "7 d", "30 d", "rows", "points", *more}),
        footer=f"{shown:,} of {len(everyone):,} tenants shown; {classes or 'none'};"
        " memories: the larger of rows and points; a shard in brackets is a collection only",
    )


def _row(one: TenantLine, everything: bool) -> list[str]:
    counts = one.counts
    sizes = (counts.row_bytes, counts.point_bytes_estimate, counts.key_bytes, counts.object_bytes)
    more = [number(counts.keys), number(counts.objects), human_bytes(sum(n or 0 for n in sizes))]
    nobody = one.kind == "nobody"
    return [
        one.id or ("(no tenant)" if nobody else ""),
        printable(one.slug or (one.name if nobody else "")),
        f"({printable(one.why)})" if nobody else printable(one.name),
        printable(one.status or "-"),
        moment(one.created_at),
        number(counts.memories),
        number(counts.memories_7d),
        number(counts.memories_30d),
        one.size or "-",
        where(one.shard, one.collection),
        number(counts.rows),
        number(counts.points),
        *(more if everything else []),
    ]
