"""What every command of a move answers with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aeterna_cli.errors import AeternaError, RefusedError, TransientError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_seconds
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_phases import BEFORE_THE_SWITCH, next_commands

#: How long a comparison of all content is proof enough to switch or to delete by it.
PROOF_HOURS = 24
_LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class MoveStatus:
    """A move as it is now. Times are RFC 3339, durations seconds.

    ``served_by`` is the shard of the placement row, None without one. ``prediction`` is how long
    writes will be held, ``held`` how long they were. ``proof_until`` is when the last comparison of
    all content stops being proof.
    """

    move: str
    tenant: str
    slug: str
    contract: str
    phase: str
    source: str
    target: str
    served_by: str | None
    state: str | None
    epoch: int | None
    source_points: int | None
    target_points: int | None
    copied: int
    points_per_second: int | None
    rounds: int
    prediction: float | None
    held: float | None
    attempts: int | None
    proof_equal: bool | None
    proof_until: str | None
    began: str
    updated: str
    operation: str
    dry_run: bool
    evidence: Mapping[str, Any]
    next_steps: tuple[str, ...]


def status(move: TenantMove, *, operation: str = "", count: bool = True) -> MoveStatus:
    """Reads only; ``count`` asks both ends for exact numbers."""
    record, placement = move.record, move.placement
    evidence = record.evidence
    cutover, copied = evidence.get("cutover") or {}, evidence.get("copy") or {}
    proof = evidence.get("proof") or {}
    until = proof_until(move)
    return MoveStatus(
        move=record.id,
        tenant=move.tenant.id,
        slug=move.tenant.slug,
        contract=record.contract,
        phase=record.phase,
        source=move.source.shard,
        target=move.target.shard,
        served_by=placement.primary.shard if placement else None,
        state=placement.state if placement else None,
        epoch=placement.epoch if placement else None,
        source_points=_points(move, "source") if count else None,
        target_points=_points(move, "target") if count else None,
        copied=int(copied.get("points", record.checkpoint.get("copied", 0))),
        points_per_second=copied.get("points_per_second"),
        rounds=len(evidence.get("rounds", [])),
        prediction=record.prediction,
        held=cutover.get("hold_seconds"),
        attempts=cutover.get("attempts"),
        proof_equal=proof.get("equal"),
        proof_until=until.isoformat() if until else None,
        began=record.created_at.isoformat(),
        updated=record.updated_at.isoformat(),
        operation=operation,
        dry_run=move.ctx.flags.dry_run,
        evidence=dict(evidence),
        next_steps=next_commands(move.phase, move.tenant.id),
    )


def _points(move: TenantMove, side: Any) -> int | None:
    """None where that place was never made or is gone, and where its server does not answer: what
    the move is at is told all the same."""
    if side == "target" and move.by_server and move.phase in BEFORE_THE_SWITCH:
        return None  # a key that only becomes readable with the switch
    try:
        return move.hasty(_LOOK_SECONDS).count(side)
    except TransientError as error:
        move.ctx.out.warn(error.message)
        return None
    except AeternaError as error:
        if error.code in ("qdrant_not_found", "qdrant_refused"):
            return None
        raise


def proof_until(move: TenantMove) -> datetime | None:
    at = (move.record.evidence.get("proof") or {}).get("at")
    return None if at is None else datetime.fromisoformat(at) + timedelta(hours=PROOF_HOURS)


def refuse_stale(move: TenantMove) -> None:
    """``RefusedError('proof_stale')``: what was compared so long ago proves nothing today."""
    until = proof_until(move)
    if until is None or until < move.ctx.clock():
        raise RefusedError(
            "proof_stale",
            "the last comparison of all content is "
            + ("missing" if until is None else f"no proof any more since {until.isoformat()}"),
            next_steps=[f"aeterna-cli tenant migration verify --tenant-id {move.tenant.id}"],
        )


def result(schema: str, move: TenantMove, *, operation: str = "") -> Result:
    found = status(move, operation=operation)
    return Result(schema, found, lambda: view(found))


def view(found: MoveStatus) -> str:
    """A few lines for a tired human."""

    def number(points: int | None) -> str:
        return "none" if points is None else f"{points:,} points"

    lines = [
        f"tenant {found.slug}: {found.source} -> {found.target}, phase {found.phase}"
        f" (contract {found.contract})",
        f"  served by   {found.served_by or 'the application’s default'}"
        + (f", {found.state}, epoch {found.epoch}" if found.state else ""),
        f"  source      {number(found.source_points)}",
        f"  target      {number(found.target_points)}",
        f"  copied      {found.copied:,}"
        + (f" at {found.points_per_second:,} points/s" if found.points_per_second else ""),
    ]
    if found.prediction is not None:
        lines.append(f"  prediction  writes held for {human_seconds(found.prediction)}")
    if found.held is not None:
        lines.append(f"  held        {human_seconds(found.held)} (attempt {found.attempts or 1})")
    if found.proof_until is not None:
        count = (found.evidence.get("proof") or {}).get("differences", 0)
        verdict = "equal" if found.proof_equal else f"{count:,} points written meanwhile"
        lines.append(f"  proof       {verdict}, good until {found.proof_until}")
    lines += [f"  next: {step}" for step in found.next_steps]
    return "\n".join(lines)
