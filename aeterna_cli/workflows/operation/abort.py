"""``operation abort``: give an unfinished operation up."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.confirm import confirm
from aeterna_cli.operations.journal import ENDED, state_of
from aeterna_cli.operations.plan import Danger, Plan
from aeterna_cli.operations.runner import abort
from aeterna_cli.output.result import Result


def run(ctx: Context, operation: str) -> Result:
    """It is marked abandoned and cannot be resumed; nothing that it did is undone.

    Folders with data in the clear that it leaves on this machine are named, never removed: what
    they hold may be the only copy of a recovery that took an hour.
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
    left = _left(journal.records[0].data["plan"])
    data = {"operation": operation, "state": "abandoned", "left": left}
    if ctx.flags.dry_run:
        would = f"would give up {operation}"
        return Result("aeterna.operation.abort/1", data, lambda: "\n".join([would, *_words(left)]))
    confirm(question, around.answers, profile=around.profile, environment=around.environment)
    abort(operation, around)
    done = f"operation {operation} is abandoned"
    return Result("aeterna.operation.abort/1", data, lambda: "\n".join([done, *_words(left)]))


def _left(plan: Mapping[str, Any]) -> list[str]:
    folders = plan["in_the_clear"]
    if not folders or not os.path.lexists(folders[0]):
        return []
    return [folder for folder in folders if os.path.lexists(folder)]


def _words(left: Sequence[str]) -> list[str]:
    if not left:
        return []
    return [
        "left on this machine, not encrypted:",
        *(f"  {folder}" for folder in left),
        "remove it when nobody needs it any more",
    ]
