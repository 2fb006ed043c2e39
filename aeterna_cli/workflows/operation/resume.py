"""``operation resume``: go on where an operation was cut off."""

from collections.abc import Callable, Mapping
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.journal import Journal
from aeterna_cli.operations.runner import resume
from aeterna_cli.output.result import Result

Resume = Callable[[Context, str, Mapping[str, Any]], Result]


def run(ctx: Context, operation: str) -> Result:
    """The operation's own result. Which kinds can be resumed is said by ``_kinds``.

    ``RefusedError``: ``operation_unknown``, ``operation_ended``, ``operation_not_restartable``.
    """
    journal = Journal(ctx.deployment.objects, ctx.state_directory, operation, clock=ctx.clock)
    journal.load()
    first = journal.records[0].data
    kind = first["plan"]["kind"]
    known = _kinds()
    if kind not in known:
        raise RefusedError(
            "operation_not_restartable",
            f"a {kind} is not resumed: it starts anew",
            next_steps=[f"aeterna-cli operation abort {operation}"],
        )
    return known[kind](ctx, operation, first)


def _kinds() -> Mapping[str, Resume]:
    return {
        "restore.run": _restore,
        "restore.run.tenant": _restore_tenant,
        "backup.prune": _prune,
        "dr-drill.run": _drill,
        "failover.switchover": _failover,
        "failover.run": _failover,
    }


def _restore(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    from aeterna_cli.workflows.restore.run import finish, rebuild

    plan, steps = rebuild(ctx, first)
    outcome = resume(operation, lambda _first: plan, ctx.run_environment())
    return finish(ctx, steps.opened, steps.choice, str(first["plan"]["facts"]["target"]), outcome)


def _restore_tenant(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    from aeterna_cli.workflows.restore import tenant_run

    return tenant_run.resumed(ctx, operation, first)


def _prune(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    from aeterna_cli.workflows.backup import prune

    return prune.resumed(ctx, operation, first)


def _drill(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    """Rolls back what it broke; it is not run again."""
    from aeterna_cli.workflows.dr_drill import run

    return run.rolled_back(ctx, operation, first)


def _failover(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    from aeterna_cli.workflows.failover import switching

    return switching.resumed(ctx, operation, first)
