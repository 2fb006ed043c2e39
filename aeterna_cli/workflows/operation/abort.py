"""``operation abort``: give an unfinished operation up."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.confirm import confirm
from aeterna_cli.operations.journal import ENDED, state_of
from aeterna_cli.operations.plan import Danger, Plan
from aeterna_cli.operations.runner import abort
from aeterna_cli.output.result import Result


@dataclass(frozen=True)
class Abandoned:
    """``left``: folders of this machine with data in the clear that nobody will clean up."""

    operation: str
    dry_run: bool
    left: tuple[str, ...]


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
    given_up = Abandoned(operation, ctx.flags.dry_run, _left(journal.records[0].data["plan"]))
    if not ctx.flags.dry_run:
        confirm(question, around.answers, profile=around.profile, environment=around.environment)
        abort(operation, around)
    return Result("aeterna.operation.abort/1", given_up, lambda: _view(given_up))


def _left(plan: Mapping[str, Any]) -> tuple[str, ...]:
    folders = plan.get("in_the_clear", ())  # older journals have none
    if not folders or not os.path.lexists(folders[0]):
        return ()
    return tuple(folder for folder in folders if os.path.lexists(folder))


def _view(done: Abandoned) -> str:
    first = "would give up operation" if done.dry_run else "gave up operation"
    if not done.left:
        return f"{first} {done.operation}"
    return "\n".join(
        [
            f"{first} {done.operation}",
            "left on this machine, not encrypted:",
            *(f"  {folder}" for folder in done.left),
            "remove it when nobody needs it any more",
        ]
    )
