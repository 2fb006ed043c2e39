"""``tenant migration rollback``: the source serves again, and the target's copy is removed."""

from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import TransientError
from aeterna_cli.operations.plan import Danger
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_cutover import Cutover, after_switch
from aeterna_cli.workflows.tenant.move_maintenance import Maintenance
from aeterna_cli.workflows.tenant.move_operation import steer
from aeterna_cli.workflows.tenant.move_phases import Phase, require
from aeterna_cli.workflows.tenant.move_undo import empty_target, serve_source_alone

KIND = "tenant.migration.rollback"
_SCHEMA = "aeterna.tenant.migration.rollback/1"


def run(ctx: Context, tenant_text: str) -> Result:
    """The source serves everything that was written since the switch, too.

    The same switch as the cutover, with the ends swapped and the same bound; missed, the target
    serves on and nothing was changed.
    """
    work = [("switch-back", switch_back), ("undo", undo)]
    return steer(
        ctx,
        tenant_text,
        (KIND, _SCHEMA),
        "roll back the move",
        work,
        check=_check,
        danger=Danger.REVERSIBLE,
    )


def _check(move: TenantMove) -> None:
    if move.phase is not Phase.ROLLING_BACK:
        require(move.phase, Phase.ROLLING_BACK)


def switch_back(move: TenantMove, run: StepRun) -> dict[str, Any]:
    if move.phase is not Phase.ROLLING_BACK:
        move.note(phase=Phase.ROLLING_BACK)
    if not move.switched() and not move.record.checkpoint.get("switching"):
        return {}
    maintenance = move.contract == "maintenance"
    way = Maintenance(move, back=True) if maintenance else Cutover(move, back=True)
    try:
        found = way.run(run.safe_point).as_document()
    except TransientError:
        move.note(phase=Phase.SOAK)  # the target serves on
        raise
    checked = after_switch(move, run.safe_point, back=True)
    move.note(evidence={"rollback": found, "after_rollback": checked})
    return found


def undo(move: TenantMove, run: StepRun) -> dict[str, Any]:
    """Nothing of the move is left at the target."""
    serve_source_alone(move)
    found = empty_target(move, run.safe_point)
    move.note(evidence={"undone": found}, phase=Phase.ROLLED_BACK)
    return found
