"""``tenant migration complete``: the source's points are deleted, and the move is certified."""

from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.plan import Danger
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_certificate import certificate
from aeterna_cli.workflows.tenant.move_operation import steer
from aeterna_cli.workflows.tenant.move_phases import Phase, require
from aeterna_cli.workflows.tenant.move_result import refuse_stale

KIND = "tenant.migration.complete"
_SCHEMA = "aeterna.tenant.migration.complete/1"


def run(ctx: Context, tenant_text: str) -> Result:
    """No point of the tenant is left in the source, counted on all replicas; no way back.

    ``RefusedError``: ``proof_stale``, ``source_written_to`` (somebody still writes to the source),
    the signing key's own where it is missing.
    """
    work = [("serve-alone", serve_alone), ("delete-source", delete_source), ("certify", certify)]
    return steer(
        ctx,
        tenant_text,
        (KIND, _SCHEMA),
        "complete the move",
        work,
        check=_check,
        danger=Danger.DESTRUCTIVE,
    )


def _check(move: TenantMove) -> None:
    SigningKey.load(move.place.signing_key_file)
    if move.phase is Phase.COMPLETING:
        return
    require(move.phase, Phase.COMPLETING)
    if not move.switched():
        raise RefusedError("move_phase", "the target does not serve this tenant")
    refuse_stale(move)


def serve_alone(move: TenantMove, run: StepRun) -> dict[str, Any]:
    """Nobody writes to the source any more: the row has no secondary, everybody honours it."""
    if move.phase is Phase.COMPLETING:
        return {}
    run.safe_point()
    found = move.present_placement()
    if found.secondary is not None:
        found = move.placed(move.target.place, None, "serving", expected=found.epoch)
    move.wait_for_instances(found.epoch)
    stray = _stray(move)
    move.note(evidence={"rescued_at_the_end": stray}, phase=Phase.COMPLETING)
    return {"epoch": found.epoch, "rescued": stray}


def _stray(move: TenantMove) -> int:
    """Points that the source has newer come along: writes that missed the switch.

    ``RefusedError('source_written_to')`` where they go on coming; nothing was deleted.
    """
    if move.strategy != "versions":
        return 0
    first = move.mover.rescue()
    if first.upserted and move.mover.rescue().upserted:
        raise RefusedError(
            "source_written_to",
            f"the source still gets writes: {first.upserted:,} points were newer there",
            hint="a writer does not honour the placement; find it before anything is deleted",
        )
    return first.upserted


def delete_source(move: TenantMove, run: StepRun) -> dict[str, Any]:
    """In batches, by id and tenant and shard key; counted afterwards."""
    removed = int(move.record.checkpoint.get("removed", 0))

    def on_batch(count: int) -> None:
        move.ctx.out.progress("deleting", removed + count, None, "points")
        run.safe_point()

    count = move.mover.remove("source", on_batch)
    move.note(checkpoint={"removed": removed + count})
    return {"removed": removed + count}


def certify(move: TenantMove, _run: StepRun) -> dict[str, Any]:
    key = SigningKey.load(move.place.signing_key_file)
    signed = certificate(move, key, int(move.record.checkpoint.get("removed", 0)))
    move.note(checkpoint={"made": []}, evidence={"certificate": signed}, phase=Phase.COMPLETE)
    return signed
