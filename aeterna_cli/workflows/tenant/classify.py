"""``tenant classify``: how large every tenant is, and which of them should be elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError, UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.settings import TenantSettings
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.tenant import advice, census
from aeterna_cli.workflows.tenant.advice import Advice, SizeClass
from aeterna_cli.workflows.tenant.census import MONTH, Census
from aeterna_cli.workflows.tenant.view import (
    Counts,
    counts_of,
    moment,
    nobody_lines,
    number,
    printable,
    total_lines,
    where,
)

_RANK = {"large": 0, "medium": 1, "small": 2}


@dataclass(frozen=True)
class Classified:
    """``size`` is the class by the thresholds in force here, ``size_by_settings`` by those of the
    profile. ``certain`` is False where the class would be another one if no memory's row were also
    a point. ``above`` are the memories above the threshold of the class below, ``below`` those that
    are left until the next class (None for large); ``days_left`` until then at the last 30 days'
    pace, None where it does not grow."""

    id: str
    slug: str
    name: str
    status: str
    created_at: datetime | None
    size: SizeClass
    size_by_settings: SizeClass
    certain: bool
    above: int
    below: int | None
    days_left: int | None
    counts: Counts
    advice: Advice


@dataclass(frozen=True)
class Unowned:
    """What is no tenant's, or the total of everything (``what`` is ``total``)."""

    what: str
    why: str
    counts: Counts


@dataclass(frozen=True)
class Classification:
    """``small`` and ``medium`` are the thresholds in force: up to so many memories. ``tenants`` are
    in the order of advice, the largest first; ``nobody`` and ``total`` as of ``tenant list``."""

    taken_at: datetime
    small: int
    medium: int
    sizes: dict[str, int]
    to_move: int
    tenants: tuple[Classified, ...]
    nobody: tuple[Unowned, ...]
    total: Counts


def limits_of(ctx: Context, small: int | None, medium: int | None) -> TenantSettings:
    """The profile's thresholds, or those to be tried; ``UsageError('thresholds_inverted')``."""
    own = ctx.profile.tenants
    for value in (small, medium):
        if value is not None and value < 1:
            raise UsageError("threshold_out_of_range", "a threshold is at least 1 memory")
    tried = TenantSettings(small=small or own.small, medium=medium or own.medium)
    return advice.checked(tried)


def run(ctx: Context, limits: TenantSettings, *, exit_code: bool) -> Result:
    """Reads memories alone: rows of their table and points, one pass over each.

    With ``exit_code`` the result is printed and ``FindingsError('tenants_should_move')`` follows
    where a move is recommended.
    """
    taken = census.take(ctx, census.Depth())
    found = _classified(taken, limits, ctx.profile.tenants)
    result = Result("aeterna.tenant.classify/1", found, lambda: _view(ctx, found))
    if exit_code and found.to_move:
        ctx.out.result(result)
        raise FindingsError(
            "tenants_should_move",
            f"{found.to_move:,} tenants should be on another shard",
            hint="each line says why, and where to",
            next_steps=[one.advice.command for one in found.tenants if one.advice.command][:5],
        )
    return result


def _classified(taken: Census, limits: TenantSettings, settings: TenantSettings) -> Classification:
    advised = advice.advise(taken, limits)
    known = {one.id: one for one in taken.tenants}
    tenants = tuple(
        _one(taken, known[identifier], one, limits, settings) for identifier, one in advised.items()
    )
    sizes = {size: sum(one.size == size for one in tenants) for size in advice.CLASSES}
    *others, total = [*nobody_lines(taken), *total_lines(taken)]
    return Classification(
        taken_at=taken.taken_at,
        small=limits.small,
        medium=limits.medium,
        sizes={str(size): count for size, count in sizes.items()},
        to_move=sum(one.advice.move for one in tenants),
        tenants=tenants,
        nobody=tuple(Unowned(one.name, one.why, one.counts) for one in others),
        total=total.counts,
    )


def _one(
    taken: Census,
    tenant: TenantIdentity,
    advised: Advice,
    limits: TenantSettings,
    settings: TenantSettings,
) -> Classified:
    share = taken.shares[tenant.id]
    memories = share.memories
    lower = {"small": 0, "medium": limits.small, "large": limits.medium}[advised.size]
    upper = {"small": limits.small, "medium": limits.medium, "large": None}[advised.size]
    below = None if upper is None else upper - memories
    days = None if below is None or not share.month else below * MONTH.days // share.month
    return Classified(
        id=tenant.id,
        slug=tenant.slug,
        name=tenant.name,
        status=tenant.status,
        created_at=tenant.created_at,
        size=advised.size,
        size_by_settings=advice.size_class(memories, settings),
        certain=advice.size_class(share.memories_at_most, limits) == advised.size,
        above=memories - lower,
        below=below,
        days_left=days,
        counts=counts_of(taken, share),
        advice=advised,
    )


def _view(ctx: Context, found: Classification) -> Table:
    rows = [_row(one) for one in found.tenants]
    rows += [
        ["(no tenant)", f"{printable(one.what)} ({printable(one.why)})", "-",
         number(one.counts.memories), "-", "-", "-", "-", "-", "-"]
        for one in found.nobody
        if one.counts.points or one.counts.memories
    ]  # fmt: skip
    sizes = ", ".join(f"{count:,} {size}" for size, count in found.sizes.items())
    commands = [one.advice.command for one in found.tenants if one.advice.command]
    return Table(
        ["id", "tenant", "class", "memories", "to next", "30 d", "shard", "recommended", "move",
         "why"],
        rows,
        title=f"profile {ctx.profile_name}: small up to {found.small:,}, medium up to"
        f" {found.medium:,} memories; {moment(found.taken_at)}",
        right=frozenset({"memories", "to next", "30 d"}),
        footer="\n".join(
            [f"{len(found.tenants):,} tenants: {sizes}; {found.to_move:,} should move", *commands]
        ),
    )  # fmt: skip


def _row(one: Classified) -> Sequence[str]:
    changed = "" if one.size == one.size_by_settings else f" (now {one.size_by_settings})"
    return [
        one.id,
        printable(one.slug),
        one.size + changed + ("" if one.certain else " or more"),
        number(one.counts.memories),
        number(one.below),
        number(one.counts.memories_30d),
        where(one.advice.shard, one.advice.collection),
        printable(one.advice.recommended_shard or "-"),
        "yes" if one.advice.move else "no",
        printable(one.advice.why),
    ]
