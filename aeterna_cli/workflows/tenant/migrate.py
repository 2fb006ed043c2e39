"""``tenant migrate``: a tenant's points to another shard, while the application goes on."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError, UsageError
from aeterna_cli.operations.plan import Step
from aeterna_cli.operations.runner import execute
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.stores.base.moves import MoveRecord
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.qdrant_mover_keys import ALLOWED_BY_NAME
from aeterna_cli.workflows.tenant.migration_cutover import switch
from aeterna_cli.workflows.tenant.move import TenantMove, new_record, quietly, store_of
from aeterna_cli.workflows.tenant.move_operation import make_plan, told
from aeterna_cli.workflows.tenant.move_phases import BEFORE_THE_SWITCH
from aeterna_cli.workflows.tenant.move_places import source_spot, target_spot
from aeterna_cli.workflows.tenant.move_preflight import check, check_places, refuse_other_target
from aeterna_cli.workflows.tenant.move_result import result
from aeterna_cli.workflows.tenant.move_steps import MoveSteps
from aeterna_cli.workflows.tenant.resolve import resolve

KIND = "tenant.migrate"
_SCHEMA = "aeterna.tenant.migrate/1"
#: What ``--allow`` may name: a risk that is otherwise refused.
ALLOWABLE = (ALLOWED_BY_NAME,)


@dataclass(frozen=True)
class MigrateOptions:
    tenant: str
    shard: str
    collection: str | None
    wait: bool
    allow: tuple[str, ...] = ()
    share: float = 1.0


def options(
    tenant: str,
    shard: str,
    *,
    collection: str | None,
    wait: bool,
    allow: Sequence[str] = (),
    percent: int = 100,
) -> MigrateOptions:
    """``UsageError`` for what can never be meant; nothing is contacted."""
    for name, text in (("--tenant-id", tenant), ("--to-shard", shard), ("--from", collection)):
        if text is not None and ("\0" in text or not text or len(text) > 255):
            raise UsageError("name_invalid", f"{name} is not a usable name: {text[:80]!r}")
    unknown = sorted(set(allow) - set(ALLOWABLE))
    if unknown:
        raise UsageError(
            "allow_unknown",
            f"--allow {unknown[0]!r} means nothing",
            hint=f"known: {', '.join(ALLOWABLE)}",
        )
    return MigrateOptions(tenant, shard, collection, wait, tuple(allow), percent / 100)


def run(ctx: Context, asked: MigrateOptions) -> Result:
    """The target is ready to serve when this returns (with ``wait`` it serves); the same command
    goes on wherever an earlier one was cut off. See ``runbooks/tenant.md``.

    Refusals (7) before anything changed: those of ``move_places`` and ``move_preflight``.
    ``ConflictError('lease_held')`` while another operation works on the tenant.
    """
    tenant = resolve(ctx.deployment, asked.tenant)
    begin, facts = _begin(ctx, tenant, asked)
    with ExitStack() as stack:
        move = begin(False)
        stack.callback(move.close)
        if ctx.flags.dry_run:
            return result(_SCHEMA, move)
        holder: list[TenantMove] = []

        def begun() -> TenantMove:
            made = begin(True)
            stack.callback(made.close)
            holder.append(made)
            return made

        plan = make_plan(
            tenant,
            KIND,
            f"move tenant {tenant.slug} from {move.source.shard} to {asked.shard}",
            facts,
            _steps(MoveSteps(begun), asked.wait),
        )
        try:
            outcome = execute(plan, ctx.run_environment())
        except AeternaError as error:
            for one in holder:
                quietly(one, error)
                told(error, tenant, one)
            raise
        return result(_SCHEMA, holder[0], operation=outcome.operation)


def _steps(steps: MoveSteps, wait: bool) -> list[Step]:
    def cut_over(run: StepRun) -> dict[str, object]:
        return switch(steps.move, run) if steps.move.phase in BEFORE_THE_SWITCH else {}

    found = [
        Step("record", steps.record, note="before anything is made"),
        Step("prepare", steps.prepare),
        Step("copy", steps.copy),
        Step("catch-up", steps.catch_up),
        Step("verify", steps.verify),
        Step("warm", steps.warm),
    ]
    return [*found, Step("cutover", cut_over, note="writes wait for a moment")] if wait else found


def _begin(
    ctx: Context, tenant: TenantIdentity, asked: MigrateOptions
) -> tuple[Callable[[bool], TenantMove], dict[str, object]]:
    """How the move is had (``True``: under the lease, a new one is written down), and the plan's
    facts. An unfinished move is gone on with, a new one checked first."""
    store = store_of(ctx)
    known = store.unfinished(tenant.id)
    if known is not None:
        going_on = TenantMove(ctx, tenant, known)
        refuse_other_target(going_on, asked.shard)
        facts = {"move": known.id, "target": dict(known.target), "wait": asked.wait}

        def again(_write: bool) -> TenantMove:
            found = store.unfinished(tenant.id) or known
            paced = {**found.checkpoint, "share": asked.share}  # written down with the next note
            return TenantMove(ctx, tenant, replace(found, checkpoint=paced))

        return again, facts
    record, facts = _new(ctx, tenant, asked)

    def begin(write: bool) -> TenantMove:
        if write:
            ctx.deployment.placement.ensure_schema()
            store.ensure_schema()
            store.begin(record)
        return TenantMove(ctx, tenant, record)

    return begin, facts


def _new(
    ctx: Context, tenant: TenantIdentity, asked: MigrateOptions
) -> tuple[MoveRecord, dict[str, object]]:
    target, shard = target_spot(ctx.deployment, asked.shard)
    source = source_spot(ctx.deployment, tenant, asked.collection)
    check_places(tenant.slug, source, target)
    record = new_record(ctx, tenant, source, replace(target, field=source.field))
    record = replace(record, checkpoint={"allowed": list(asked.allow), "share": asked.share})
    move = TenantMove(ctx, tenant, record)
    try:
        return record, {**check(move, shard), "wait": asked.wait}
    finally:
        move.close()
