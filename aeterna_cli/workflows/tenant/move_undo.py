"""Taking away what a move made at its target, and nothing else."""

from collections.abc import Callable
from typing import Any

from aeterna_cli.errors import AeternaError
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.stores.qdrant_mover_keys import drop_empty_key
from aeterna_cli.stores.qdrant_mover_prepare import drop_empty_collection, drop_index
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_places import settings_of


def serve_source_alone(move: TenantMove) -> None:
    """The source serves and nobody writes to the target any more when this returns."""
    found = move.placement
    if found is None:
        return
    if (found.primary, found.secondary, found.state) != (move.source.place, None, "serving"):
        found = move.placed(move.source.place, None, "serving", expected=found.epoch)
    move.wait_for_instances(found.epoch)


def empty_target(move: TenantMove, safe_point: Callable[[], None]) -> dict[str, Any]:
    """No point of the tenant is there, and nothing that only the move needed: its collection and
    shard key (unless somebody else uses them by now), its payload indexes.

    What was made is known from the record, which names it before it is made.
    """
    removed = 0
    if _target_is_there(move):
        removed = move.mover.remove("target", lambda _count: safe_point())
    kill_point("move:emptied")
    left = []
    made = move.things_made
    settings = settings_of(move.place, move.target.server)
    collection_gone = False
    for kind, name in made:
        if kind == "collection":
            collection_gone = drop_empty_collection(settings, name)
            if not collection_gone:
                left.append([kind, name])
    for kind, name in made:
        if collection_gone:
            break
        if kind == "shard_key" and not drop_empty_key(move.mover.target):
            left.append([kind, name])
        if kind == "index" and ["collection", move.target.collection] not in left:
            drop_index(settings, move.target.collection, name)
    return {"points_removed": removed, "left_in_use": left}


def _target_is_there(move: TenantMove) -> bool:
    """Nothing was copied to a place that was never made."""
    try:
        move.mover.target.count()
    except AeternaError as error:
        if error.code == "qdrant_not_found" or "not found" in error.message.lower():
            return False
        raise
    return True
