"""The frame of every command that changes a move: one lease per tenant, one plan, one result."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import execute
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows import leases
from aeterna_cli.workflows.tenant.move import TenantMove, quietly, unfinished
from aeterna_cli.workflows.tenant.move_result import result
from aeterna_cli.workflows.tenant.resolve import resolve

Work = Callable[[TenantMove, StepRun], dict[str, Any]]


def make_plan(
    tenant: TenantIdentity,
    kind: str,
    summary: str,
    facts: Mapping[str, Any],
    steps: Sequence[Step],
    *,
    danger: Danger = Danger.REVERSIBLE,
) -> Plan:
    """Not restartable: the record of the move knows how far it is, the same command goes on."""
    return Plan(
        kind=kind,
        summary=summary,
        target=tenant.id,
        danger=danger,
        facts=facts,
        steps=tuple(steps),
        leases=(LeaseRequest(leases.tenant(tenant.id)), LeaseRequest(leases.RESTORE, shared=True)),
        confirm_name=tenant.slug,
        restartable=False,
    )


def steer(
    ctx: Context,
    tenant_text: str,
    kind_and_schema: tuple[str, str],
    verb: str,
    work: Sequence[tuple[str, Work]],
    *,
    check: Callable[[TenantMove], None],
    danger: Danger = Danger.REVERSIBLE,
) -> Result:
    """Run a command on the unfinished move of a tenant: checked, confirmed, journalled.

    The move is read again under the lease: another command may have moved it on meanwhile.
    """
    kind, schema = kind_and_schema
    tenant = resolve(ctx.deployment, tenant_text)
    seen = unfinished(ctx, tenant)
    try:
        check(seen)
        facts = {
            "move": seen.record.id,
            "phase": seen.record.phase,
            "source": dict(seen.record.source),
            "target": dict(seen.record.target),
        }
        if ctx.flags.dry_run:
            return result(schema, seen)
    finally:
        seen.close()
    holder: list[TenantMove] = []

    def step_of(do: Work) -> Callable[[StepRun], dict[str, Any]]:
        def run(run: StepRun) -> dict[str, Any]:
            if not holder:
                holder.append(unfinished(ctx, tenant))
                holder[0].let_go()
                check(holder[0])
            return do(holder[0], run)

        return run

    steps = [Step(name, step_of(do)) for name, do in work]
    summary = f"{verb} of tenant {tenant.slug} from {seen.source.shard} to {seen.target.shard}"
    try:
        plan = make_plan(tenant, kind, summary, facts, steps, danger=danger)
        outcome = execute(plan, ctx.run_environment())
        return result(schema, holder[0], operation=outcome.operation)
    except AeternaError as error:
        for one in holder:
            quietly(one)
        told(error, tenant, holder[0] if holder else seen)
        raise
    finally:
        for one in holder:
            one.close()


def told(error: AeternaError, tenant: TenantIdentity, move: TenantMove) -> None:
    """The error says what the move is at, and how to look at it."""
    error.details = {**error.details, "move": move.record.id, "phase": move.record.phase}
    look = f"aeterna-cli tenant migration status --tenant-id {tenant.id}"
    if look not in error.next_steps:
        error.next_steps = (*error.next_steps, look)
