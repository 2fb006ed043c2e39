"""``tenant migration verify``: every point's content on both ends, compared anew."""

from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError, RefusedError
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
    """The proof is renewed when this returns.

    ``FindingsError('ends_differ')`` (8) where both ends do not hold the same and no version
    explains it, ``FailedError('content_differs')`` where content changed without its version.
    """
    shown = steer(
        ctx, tenant_text, (KIND, _SCHEMA), "verify the move", [("verify", _verify)], check=_check
    )
    evidence = getattr(shown.data, "evidence", {})
    if not ctx.flags.dry_run and _settled(evidence):
        return shown
    if ctx.flags.dry_run:
        return shown
    ctx.out.result(shown)
    raise FindingsError(
        "ends_differ",
        f"{evidence['proof']['differences']:,} points differ between source and target",
        hint="while the application writes, some do; where they stay, somebody writes to one end",
        next_steps=[f"aeterna-cli tenant migration verify --tenant-id {tenant_text}"],
    )


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


def _settled(evidence: Any) -> bool:
    """Equal, or only what a running application explains."""
    found = evidence.get("proof", {})
    return bool(found.get("equal")) or found.get("unexplained") == 0
