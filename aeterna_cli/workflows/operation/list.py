"""``operation list``: what was done, and what was cut off."""

from aeterna_cli.context import Context
from aeterna_cli.errors import TransientError
from aeterna_cli.operations.journal import ENDED, OperationSummary, list_operations
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table


def run(ctx: Context, unfinished: bool) -> Result:
    """Oldest first. Without the repository only what this machine knows is shown, and said so."""
    try:
        found = list_operations(ctx.deployment.objects, ctx.state_directory)
    except TransientError as error:
        ctx.out.warn(f"only what this machine knows: {error.message}")
        found = list_operations(None, ctx.state_directory)
    if unfinished:
        found = [one for one in found if one.state not in ENDED]
    return Result("aeterna.operation.list/1", found, lambda: _view(found))


def _view(found: list[OperationSummary]) -> Table | str:
    if not found:
        return "no operations"
    rows = [
        [
            one.operation,
            one.started.isoformat(timespec="seconds"),
            one.kind,
            one.state,
            one.actor,
            one.summary,
        ]
        for one in found
    ]
    return Table(["operation", "started", "kind", "state", "actor", "what"], rows)
