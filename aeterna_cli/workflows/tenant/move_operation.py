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
        if ctx.flags.dry_run:
            return result(schema, seen)
    finally:
        seen.close()
    held = _Held(ctx, tenant, check)
    steps = [Step(name, held.step(do)) for name, do in work]
    summary = f"{verb} of tenant {tenant.slug} from {seen.source.shard} to {seen.target.shard}"
    try:
        plan = make_plan(tenant, kind, summary, _facts(seen), steps, danger=danger)
        outcome = execute(plan, ctx.run_environment())
        return result(schema, held.move, operation=outcome.operation)
    except AeternaError as error:
        if held.opened is not None:
            quietly(held.opened, error)
        told(error, tenant, held.opened or seen)
        raise
    finally:
        if held.opened is not None:
            held.opened.close()


class _Held:
    """The move as it is under the lease, read when the first step asks for it."""

    def __init__(
        self, ctx: Context, tenant: TenantIdentity, check: Callable[[TenantMove], None]
    ) -> None:
        self._ctx = ctx
        self._tenant = tenant
        self._check = check
        self.opened: TenantMove | None = None

    @property
    def move(self) -> TenantMove:
        if self.opened is None:
            self.opened = unfinished(self._ctx, self._tenant)
            self.opened.let_go()
            self._check(self.opened)
        return self.opened

    def step(self, work: Work) -> Callable[[StepRun], dict[str, Any]]:
        return lambda run: work(self.move, run)


def _facts(move: TenantMove) -> dict[str, Any]:
    return {
        "move": move.record.id,
        "phase": move.record.phase,
        "source": dict(move.record.source),
        "target": dict(move.record.target),
    }


def told(error: AeternaError, tenant: TenantIdentity, move: TenantMove) -> None:
    """The error says what the move is at, and how to look at it."""
    error.details = {**error.details, "move": move.record.id, "phase": move.record.phase}
    look = f"aeterna-cli tenant migration status --tenant-id {tenant.id}"
    if look not in error.next_steps:
        error.next_steps = (*error.next_steps, look)
