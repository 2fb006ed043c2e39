"""``tenant migration verify``: every point's content on both ends, compared anew."""

from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_operation import steer
from aeterna_cli.workflows.tenant.move_phases import Phase
from aeterna_cli.workflows.tenant.move_steps import proof

#: Before, nothing is there to compare; after, there is one copy only.
COMPARABLE = (Phase.VERIFY, Phase.WARM, Phase.CUTOVER, Phase.SOAK)
KIND = "tenant.migration.verify"
_SCHEMA = "aeterna.tenant.migration.verify/1"


def run(ctx: Context, tenant_text: str) -> Result:
    """The proof is renewed when this returns; ``evidence.proof`` has the digests of both ends.

    ``FailedError('content_differs')`` where points have equal versions and different content.
    Points that a version explains are those which are written meanwhile, or second writes that were
    lost: their number is told. Without versions (``maintenance``) all differences are only told.
    """
    work = [("verify", _verify)]
    return steer(ctx, tenant_text, (KIND, _SCHEMA), "verify the move", work, check=_check)


def _check(move: TenantMove) -> None:
    if move.phase not in COMPARABLE or (move.by_server and move.phase is not Phase.SOAK):
        raise RefusedError(
            "move_phase",
            f"the move is in phase {move.phase.value}: there is nothing to compare yet",
        )


def _verify(move: TenantMove, run: StepRun) -> dict[str, Any]:
    """After the switch the target leads: what the source lacks by then is on its way to it."""
    run.safe_point()
    if move.phase is Phase.SOAK and move.contract == "dual" and not move.by_server:
        move.mover.swapped().round()
    elif move.phase is not Phase.SOAK:
        move.mover.round()
    return proof(move)
