"""A move between two shard keys of one collection: the server copies, and switches by itself.

The application names ``{"target", "fallback"}`` from the preparation on: until the target key is
active the server reads and writes the fallback, afterwards the target. So there is nothing to hold,
and no stop between the copy and the switch: both are the cutover. See ``qdrant_mover_keys``.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.placement import PointsPlace
from aeterna_cli.stores.qdrant_mover_keys import ALLOWED_BY_NAME, KeyTransfer, refuse_version
from aeterna_cli.workflows.tenant.move import TenantMove

_SECONDS = 24 * 3600.0


def transfer_of(move: TenantMove) -> KeyTransfer:
    return KeyTransfer(move.mover.source, move.mover.target)


def check_server(move: TenantMove) -> None:
    """``RefusedError``: ``qdrant_too_old``, ``qdrant_transfer_unsafe``, ``cluster_mode_needed``,
    ``shard_key_layout``, ``shard_key_taken``."""
    allowed = ALLOWED_BY_NAME in move.record.checkpoint.get("allowed", [])
    refuse_version(move.mover.target.version, allowed=allowed)
    transfer = transfer_of(move)
    transfer.refuse_unable()
    if transfer.states():
        raise RefusedError(
            "shard_key_taken",
            f"the shard key {move.target.shard_key!r} exists already: a transfer would make it"
            " unreadable for whoever is there",
            hint="the server moves a tenant to a key of its own, which the move makes",
        )


def routed(move: TenantMove) -> PointsPlace:
    """What the application names while the server decides."""
    return PointsPlace(
        move.source.shard,
        move.target.collection,
        move.target.shard_key,
        move.source.shard_key,
    )


def prepare_key(move: TenantMove) -> None:
    """The key is there, not readable yet, and everybody names both keys."""
    transfer_of(move).prepare(move.made)
    found = move.placement
    if found is None:
        found = move.placed(move.source.place, None, "serving", expected=None)
    if found.primary != routed(move):
        found = move.placed(routed(move), None, "serving", expected=found.epoch)
    move.wait_for_instances(found.epoch)


def cut_over_by_server(move: TenantMove, safe_point: Callable[[], None]) -> dict[str, Any]:
    """The target key serves when this returns, and the row says so.

    ``FailedError('transfer_failed')``: the server reads and writes the fallback as before, and the
    same command drops the key and starts again.
    """
    transfer = transfer_of(move)
    began = monotonic()
    transfer.prepare(move.made)
    transfer.start()

    def look(text: str) -> None:
        move.ctx.out.progress(text, round(monotonic() - began), None, "seconds")
        safe_point()

    transfer.wait(look, _SECONDS)
    found = move.present_placement()
    if found.primary != move.target.place:
        found = move.placed(move.target.place, None, "serving", expected=found.epoch)
    return {
        "attempts": 1,
        "hold_seconds": 0.0,
        "by_server": True,
        "transfer_seconds": round(monotonic() - began, 3),
        "epoch": found.epoch,
    }


def check_after(move: TenantMove) -> dict[str, Any]:
    """What the old key has newer comes along. What only it has was deleted since, or lost: their
    number is written down, for nothing but the application knows which."""
    move.wait_for_instances(move.present_placement().epoch)
    rescued = move.mover.rescue()
    return {
        "rescued": rescued.upserted,
        "source": rescued.source,
        "target": rescued.target,
    }


def drop_key(move: TenantMove) -> None:
    """Before the switch only: no transfer runs and the key is gone."""
    transfer_of(move).drop()
