"""``operation abort``: give an unfinished operation up."""

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.confirm import confirm
from aeterna_cli.operations.journal import ENDED, state_of
from aeterna_cli.operations.plan import Danger, Plan
from aeterna_cli.operations.runner import abort
from aeterna_cli.output.result import Result


def run(ctx: Context, operation: str) -> Result:
    """It is marked abandoned and cannot be resumed; nothing that it did is undone.

    ``RefusedError``: ``operation_unknown``, ``operation_ended``, also of a dry run.
    """
    around = ctx.run_environment()
    journal = around.journal(operation)
    journal.load()
    state = state_of(journal.records)
    if state in ENDED:
        raise RefusedError("operation_ended", f"operation {operation} is {state}")
    question = Plan(
        kind="operation.abort",
        summary=f"give up operation {operation}",
        target=operation,
        danger=Danger.REVERSIBLE,
        facts={},
        steps=(),
    )
    data = {"operation": operation, "state": "abandoned"}
    if ctx.flags.dry_run:
        return Result("aeterna.operation.abort/1", data, lambda: f"would give up {operation}")
    confirm(question, around.answers, profile=around.profile, environment=around.environment)
    abort(operation, around)
    return Result("aeterna.operation.abort/1", data, lambda: f"operation {operation} is abandoned")
