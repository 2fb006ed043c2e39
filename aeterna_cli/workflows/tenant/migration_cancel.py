"""``tenant migration cancel``: before the switch, as if there had been no move."""

from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_by_server import drop_key
from aeterna_cli.workflows.tenant.move_maintenance import forget_holding
from aeterna_cli.workflows.tenant.move_operation import steer
from aeterna_cli.workflows.tenant.move_phases import Phase, require
from aeterna_cli.workflows.tenant.move_undo import empty_target, serve_source_alone

KIND = "tenant.migration.cancel"
_SCHEMA = "aeterna.tenant.migration.cancel/1"


def run(ctx: Context, tenant_text: str) -> Result:
    """The secondary, the target's points, and what the move made are gone; nothing else is.

    ``RefusedError('move_switched')`` after the switch: that is a rollback.
    """
    return steer(
        ctx, tenant_text, (KIND, _SCHEMA), "cancel the move", [("cancel", cancel)], check=_check
    )


def _check(move: TenantMove) -> None:
    if move.switched():
        raise RefusedError(
            "move_switched",
            "the target serves this tenant already: cancelling would lose what was written there",
            next_steps=[f"aeterna-cli tenant migration rollback --tenant-id {move.tenant.id}"],
        )
    if move.phase is not Phase.CANCELLING:
        require(move.phase, Phase.CANCELLING)


def cancel(move: TenantMove, run: StepRun) -> dict[str, Any]:
    forget_holding(move, move.source, move.target)
    if move.phase is not Phase.CANCELLING:
        move.note(phase=Phase.CANCELLING)
    serve_source_alone(move)
    if move.by_server:
        drop_key(move)
    found = empty_target(move, run.safe_point)
    move.note(evidence={"undone": found}, phase=Phase.CANCELLED)
    return found
