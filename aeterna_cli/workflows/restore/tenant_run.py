"""``restore run --tenant-id``: one tenant back, everybody else untouched."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError, RefusedError
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import OperationOutcome, execute, resume
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, as_plain, human_seconds
from aeterna_cli.workflows import leases
from aeterna_cli.workflows.restore.tenant_choice import TenantChoice
from aeterna_cli.workflows.restore.tenant_open import OpenedTenant, opened_tenant
from aeterna_cli.workflows.restore.tenant_plan import planned, result, view
from aeterna_cli.workflows.restore.tenant_steps import TenantSteps
from aeterna_cli.workflows.tenant.archive import KEYS, OBJECTS, POINTS, ROWS

KIND = "restore.run.tenant"


@dataclass(frozen=True)
class TenantRestored:
    """What a restore did. ``untouched_rows`` were proven by digests to be as they were; drift in
    ``findings`` (errors, warnings) is also the exit code (8)."""

    backup: str
    operation: str
    tenant: str
    slug: str
    mode: str
    moment: datetime
    seconds: float
    tables: tuple[Mapping[str, Any], ...]
    collections: tuple[Mapping[str, Any], ...]
    keys: Mapping[str, Any] | None
    objects: Mapping[str, Any] | None
    untouched_rows: int
    sequences: tuple[str, ...]
    findings: tuple[Mapping[str, Any], ...]
    drift: bool


def run(ctx: Context, choice: TenantChoice) -> Result:
    """The tenant is as it was saved (``missing``: nothing that was saved is missing) when this
    returns, and nobody else's data changed; see ``runbooks/restore.md``.

    Conflicts with others' unique values: ``RefusedError('values_taken')``, ``('points_taken')``
    before anything is written. Drift: the result is printed, then ``FindingsError``.
    """
    with opened_tenant(ctx, choice) as opened:
        steps = TenantSteps(ctx, opened)
        shown = planned(opened, steps.look())
        if ctx.flags.dry_run:
            return result(shown)
        ctx.out.note(as_plain(view(shown)).rstrip())
        if shown.conflicts:
            raise RefusedError(
                "values_taken",
                f"{shown.conflicts} saved values belong to others now",
                hint="nothing was changed; each conflict names the saved row and the live one",
                next_steps=["aeterna-cli restore plan --tenant-id ... -o json"],
                details={"count": shown.conflicts, "conflicts": list(shown.conflicting)},
            )
        outcome = execute(_plan(ctx, opened, steps), ctx.run_environment())
        return _finish(ctx, opened, outcome)


def resumed(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    """Go on with a restore that was cut off. The slice is opened (or extracted) again."""
    choice = TenantChoice.from_document(first["plan"]["parameters"]["choice"])
    with opened_tenant(ctx, choice) as opened:
        made = _plan(ctx, opened, TenantSteps(ctx, opened))
        outcome = resume(operation, lambda _first: made, ctx.run_environment())
        return _finish(ctx, opened, outcome)


def _plan(ctx: Context, opened: OpenedTenant, steps: TenantSteps) -> Plan:
    tenant, choice = opened.tenant, opened.choice
    replace = choice.mode == "replace"
    document = {**choice.as_document(), "backup": opened.opened.id, "tenant": tenant.id}
    return Plan(
        kind=KIND,
        summary=f"restore tenant {tenant.slug!r} of {ctx.profile_name} from {opened.opened.id}",
        target=tenant.id,
        danger=Danger.DESTRUCTIVE if replace else Danger.REVERSIBLE,
        facts={"backup": opened.opened.id, "tenant": tenant.id, "mode": choice.mode},
        steps=_steps(opened, steps),
        leases=(
            LeaseRequest(leases.tenant(tenant.id)),
            LeaseRequest(leases.RESTORE, shared=True),
            LeaseRequest(leases.BACKUPS, shared=True),
        ),
        confirm_name=tenant.slug,
        notes=opened.notes,
        parameters={"choice": document},
    )


def _steps(opened: OpenedTenant, steps: TenantSteps) -> tuple[Step, ...]:
    every = {
        ROWS: Step("rows", steps.restore_rows, note="in one transaction"),
        POINTS: Step("points", steps.restore_points),
        KEYS: Step("keys", steps.restore_keys),
        OBJECTS: Step("objects", steps.restore_objects),
    }
    return (
        Step("check", steps.check, note="before anything is written"),
        *(step for part, step in every.items() if part in opened.parts),
        Step("compare", steps.compare, note="against the backup"),
    )


def _finish(ctx: Context, opened: OpenedTenant, outcome: OperationOutcome) -> Result:
    """The result of a finished restore; drift ends the command with exit 8 after it was printed."""
    results, tenant = outcome.results, opened.tenant
    rows = results.get("rows", {})
    findings = tuple(results["compare"]["findings"])
    done = TenantRestored(
        backup=opened.opened.id,
        operation=outcome.operation,
        tenant=tenant.id,
        slug=tenant.slug,
        mode=opened.choice.mode,
        moment=opened.moment,
        seconds=round(outcome.seconds, 3),
        tables=tuple(rows.get("changes", ())),
        collections=tuple(results.get("points", {}).get("changes", ())),
        keys=results.get("keys"),
        objects=results.get("objects"),
        untouched_rows=int(rows.get("untouched", 0)),
        sequences=tuple(rows.get("sequences", ())),
        findings=findings,
        drift=any(one["severity"] in ("error", "warning") for one in findings),
    )
    shown = Result("aeterna.restore.run.tenant/1", done, lambda: _view(done))
    if not done.drift:
        return shown
    ctx.out.result(shown)
    raise FindingsError(
        "restore_drift",
        "the tenant's data are in place, but not everything is what was saved",
        hint="each finding above names what differs; who writes meanwhile is seen too",
        operation=outcome.operation,
    )


def _view(done: TenantRestored) -> Table:
    rows = [
        ["postgres", one["table"], f"{one['inserted']:,}", f"{one['deleted']:,}"]
        for one in done.tables
        if one["inserted"] or one["deleted"]
    ]
    rows += [
        ["qdrant", one["collection"], f"{one['new']:,}", f"{one['surplus']:,}"]
        for one in done.collections
    ]
    lines = [
        f"tenant {done.slug!r} as of {done.moment.isoformat(timespec='milliseconds')}"
        f" in {human_seconds(done.seconds)}",
        f"{done.untouched_rows:,} other rows are proven to be as they were",
        *(f"moved forward: sequence {one}" for one in done.sequences),
        *(f"{one['severity']}: {one['subject']}: {one['message']}" for one in done.findings),
    ]
    return Table(
        ["store", "what", "added", "deleted"],
        rows,
        right=frozenset({"added", "deleted"}),
        title=f"restored from {done.backup}, mode {done.mode}",
        footer="\n".join(lines),
    )
