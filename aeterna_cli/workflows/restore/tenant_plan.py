"""``restore plan --tenant-id``: what would be written, deleted and kept, in every store."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.workflows.restore.tenant_choice import TenantChoice
from aeterna_cli.workflows.restore.tenant_keys import KeysChange
from aeterna_cli.workflows.restore.tenant_objects import ObjectsChange
from aeterna_cli.workflows.restore.tenant_open import OpenedTenant, opened_tenant
from aeterna_cli.workflows.restore.tenant_points import PointsChange
from aeterna_cli.workflows.restore.tenant_steps import Looked, TenantSteps


@dataclass(frozen=True)
class TenantPlan:
    """What a restore would do. ``moment`` is of the rows; ``skew_milliseconds`` how far before it
    each other store's part was read. ``conflicts`` must be 0 for the restore to run."""

    backup: str
    tenant: str
    slug: str
    mode: str
    moment: datetime
    skew_milliseconds: Mapping[str, int]
    tables: tuple[Mapping[str, Any], ...]
    collections: tuple[PointsChange, ...]
    keys: KeysChange | None
    objects: ObjectsChange | None
    conflicts: int
    conflicting: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]


def run(ctx: Context, choice: TenantChoice) -> Result:
    """Changes nothing. Raises what would end the restore before it changes anything, but for
    conflicts: those are shown."""
    with opened_tenant(ctx, choice) as opened:
        return result(planned(opened, TenantSteps(ctx, opened).look()))


def planned(opened: OpenedTenant, looked: Looked) -> TenantPlan:
    return TenantPlan(
        backup=opened.opened.id,
        tenant=opened.tenant.id,
        slug=opened.tenant.slug,
        mode=opened.choice.mode,
        moment=opened.moment,
        skew_milliseconds=opened.skew,
        tables=looked.rows,
        collections=looked.points,
        keys=looked.keys,
        objects=looked.objects,
        conflicts=looked.conflicts,
        conflicting=looked.conflicting,
        notes=looked.notes,
    )


def result(plan: TenantPlan) -> Result:
    return Result("aeterna.restore.plan.tenant/1", plan, lambda: view(plan))


def view(plan: TenantPlan) -> Table:
    lines = [
        f"as of {plan.moment.isoformat(timespec='milliseconds')}",
        *(f"{store} is {value} ms older" for store, value in plan.skew_milliseconds.items()),
        *(f"CONFLICT: {_conflict(one)}" for one in plan.conflicting),
        *([f"{plan.conflicts} conflicts: nothing can be restored before they are solved"]
          if plan.conflicts else []),
        *(f"note: {note}" for note in plan.notes),
        "rows that are the same, and everybody else's, are left alone",
    ]  # fmt: skip
    return Table(
        ["store", "what", "saved", "added", "deleted", "equal", "kept", "of others too"],
        list(_rows(plan)),
        right=frozenset({"saved", "added", "deleted", "equal", "kept", "of others too"}),
        title=f"restore tenant {plan.slug!r} from {plan.backup}, mode {plan.mode}",
        footer="\n".join(lines),
    )


def _conflict(one: Mapping[str, Any]) -> str:
    return f"{one['table']} ({one['unique']}): saved {one['staged']}, now held by {one['live']}"


def _rows(plan: TenantPlan) -> Iterator[list[str]]:
    for one in plan.tables:
        if any(one[name] for name in ("staged", "inserted", "deleted", "kept", "shared")):
            names = ("staged", "inserted", "deleted", "equal", "kept", "shared")
            yield ["postgres", one["table"], *(f"{one[name]:,}" for name in names)]
    for found in plan.collections:
        kept = found.archived - found.new
        equal = found.archived if found.equal else 0
        counts = (found.archived, found.new, found.surplus, equal, 0 if found.equal else kept, 0)
        yield ["qdrant", found.collection, *(f"{one:,}" for one in counts)]
    if plan.keys is not None:
        keys = plan.keys
        yield ["redis", "keys", f"{keys.archived:,}", "", f"{keys.surplus:,}", "", "",
               f"{keys.shared:,}"]  # fmt: skip
    if plan.objects is not None:
        objects = plan.objects
        added = objects.new + objects.changed
        tail = (objects.archived, added, objects.surplus, objects.equal)
        yield ["objects", "objects", *(f"{one:,}" for one in tail), "", ""]
