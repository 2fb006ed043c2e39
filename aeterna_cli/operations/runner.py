"""Carrying out a plan: confirmed, under leases, journalled step by step, resumable when cut off."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aeterna_cli import __version__
from aeterna_cli.errors import AeternaError, ConflictError, RefusedError
from aeterna_cli.operations.confirm import confirm
from aeterna_cli.operations.holding import held
from aeterna_cli.operations.identifiers import uuid7
from aeterna_cli.operations.journal import ENDED, state_of
from aeterna_cli.operations.lease import living_holders
from aeterna_cli.operations.plan import Plan
from aeterna_cli.operations.run import Run
from aeterna_cli.operations.run_environment import OperationOutcome, RunEnvironment

__all__ = ["OperationOutcome", "RunEnvironment", "abort", "execute", "kill_points", "resume"]


def execute(
    plan: Plan, around: RunEnvironment, *, replan: Callable[[], Plan] | None = None
) -> OperationOutcome:
    """Carry the plan out; every step has its effect when this returns.

    Confirmed first; then planned again where ``replan`` is given: ``RefusedError('plan_changed')``
    if its fingerprint moved meanwhile. On failure the journal says how far it came, the error names
    the operation, and ``resume`` goes on (a plan that is not restartable is marked abandoned).
    """
    if around.dry_run:
        return OperationOutcome("", dry_run=True)
    confirm(plan, around.answers, profile=around.profile, environment=around.environment)
    if replan is not None:
        _refuse_moved(plan, replan())
    operation = uuid7()
    with held(plan, around, operation) as leases:
        run = Run(plan, around, around.journal(operation), leases)
        return run.to_the_end("started", _first_record(plan, around))


def resume(
    operation: str, rebuild: Callable[[Mapping[str, Any]], Plan], around: RunEnvironment
) -> OperationOutcome:
    """Go on with an operation that was cut off. ``rebuild`` makes its plan from record 0.

    Steps with a result are skipped, the one without is repeated. ``RefusedError``:
    ``operation_ended``, ``operation_not_restartable``, ``plan_changed`` (other steps than then).
    """
    journal = around.journal(operation)
    journal.load()
    first = journal.records[0].data
    if state_of(journal.records) in ENDED:
        raise RefusedError(
            "operation_ended", f"operation {operation} is {state_of(journal.records)}"
        )
    if not first["plan"]["restartable"]:
        raise RefusedError(
            "operation_not_restartable",
            f"a {first['plan']['kind']} is not resumed: it starts anew",
            next_steps=[f"aeterna-cli operation abort {operation}"],
        )
    plan = rebuild(first)
    if [step.name for step in plan.steps] != first["plan"]["steps"]:
        raise RefusedError("plan_changed", "the plan of this operation has other steps now")
    confirm(plan, around.answers, profile=around.profile, environment=around.environment)
    with held(plan, around, operation) as leases:
        run = Run(plan, around, journal, leases)
        return run.to_the_end("resumed", {"actor": around.actor, "reason": around.reason})


def abort(operation: str, around: RunEnvironment) -> None:
    """Mark an unfinished operation abandoned; nothing of it is undone.

    ``RefusedError('operation_ended')``; ``ConflictError('lease_held')`` while it runs, and until
    its lease is void where its process died on another machine.
    """
    journal = around.journal(operation)
    journal.load()
    if state_of(journal.records) in ENDED:
        raise RefusedError(
            "operation_ended", f"operation {operation} is {state_of(journal.records)}"
        )
    plan = journal.records[0].data["plan"]
    for lease in plan["leases"]:
        _refuse_alive(operation, lease["component"], around)
    journal.append("abandoned", {"actor": around.actor, "reason": around.reason})
    around.audit(operation, plan, "abandoned")


def kill_points(plan: Plan) -> Iterator[str]:
    """Every point at which a test may kill this plan: around each journal write and each step."""
    records = 1 + 2 * len(plan.steps) + 1
    for sequence in range(records):
        yield f"journal:{sequence}:before"
        yield f"journal:{sequence}:after"
    for step in plan.steps:
        for place in ("before", "middle", "after"):
            yield f"step:{step.name}:{place}"


def _refuse_alive(operation: str, component: str, around: RunEnvironment) -> None:
    if around.store is None:
        return
    try:
        holders = living_holders(around.store, component, void=around.void)
    except AeternaError:
        if not around.break_glass:
            raise
        return
    for one in holders:
        if one.operation == operation:
            raise ConflictError(
                "lease_held",
                f"operation {operation} is running: {one.actor} holds {component}",
                hint=f"its last sign of life is of {one.beat}; stop it first",
                next_steps=[f"aeterna-cli operation show {operation}"],
                operation=operation,
                details={"component": component, "process": one.process},
            )


def _first_record(plan: Plan, around: RunEnvironment) -> dict[str, Any]:
    return {
        "plan": plan.as_document(),
        "fingerprint": plan.fingerprint,
        "profile": around.profile,
        "environment": around.environment,
        "actor": around.actor,
        "reason": around.reason,
        "change": around.change,
        "tool_version": __version__,
        "break_glass": around.break_glass,
    }


def _refuse_moved(plan: Plan, again: Plan) -> None:
    if plan.fingerprint == again.fingerprint:
        return
    before, after = plan.as_document(), again.as_document()
    changed = sorted(key for key in before if before[key] != after[key])
    raise RefusedError(
        "plan_changed",
        f"what the plan rests on has changed while it was confirmed: {', '.join(changed)}",
        hint="nothing was changed; look at the new plan",
        details={"changed": changed},
    )
