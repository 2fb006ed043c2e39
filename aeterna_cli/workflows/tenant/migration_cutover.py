"""``tenant migration cutover``: the target serves from now on."""

from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_by_server import check_after, cut_over_by_server
from aeterna_cli.workflows.tenant.move_cutover import Cutover, after_switch
from aeterna_cli.workflows.tenant.move_maintenance import Maintenance
from aeterna_cli.workflows.tenant.move_operation import steer
from aeterna_cli.workflows.tenant.move_phases import Phase, require
from aeterna_cli.workflows.tenant.move_result import refuse_stale

KIND = "tenant.migration.cutover"
_SCHEMA = "aeterna.tenant.migration.cutover/1"


def run(ctx: Context, tenant_text: str) -> Result:
    """The target serves when this returns, and by contract ``dual`` the source is kept current.

    ``TransientError('cutover_missed')`` (4): the bound of the hold was missed, nothing was changed.
    ``RefusedError('proof_stale')``: verify again first.
    """
    return steer(ctx, tenant_text, (KIND, _SCHEMA), "switch", [("cutover", switch)], check=_check)


def _check(move: TenantMove) -> None:
    if move.phase is Phase.SOAK or move.switched():
        return
    require(move.phase, Phase.SOAK)
    if not move.by_server:
        refuse_stale(move)


def switch(move: TenantMove, run: StepRun) -> dict[str, Any]:
    """Also where the switch itself was done before a crash, and only the check after it is left."""
    found = dict(move.record.evidence.get("cutover") or {})
    if move.phase is not Phase.SOAK:
        cut_off = bool(move.record.checkpoint.get("switching"))
        if move.by_server:
            found = cut_over_by_server(move, run.safe_point)
        elif not move.switched() or cut_off:
            way = Maintenance(move) if move.contract == "maintenance" else Cutover(move)
            found = way.run(run.safe_point).as_document()
        # a command that died right after the switch took the length of its hold along
        found = found or {"epoch": move.present_placement().epoch, "hold_seconds": None}
        move.note(evidence={"cutover": found}, phase=Phase.SOAK)
    if "after_switch" not in move.record.evidence:
        checked = check_after(move) if move.by_server else after_switch(move, run.safe_point)
        move.note(evidence={"after_switch": checked})
    return found
