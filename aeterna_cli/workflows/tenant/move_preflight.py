"""What must hold before a move changes anything. Reads only."""

from collections.abc import Mapping
from typing import Any

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.placement import ShardRecord
from aeterna_cli.stores.qdrant_mover_prepare import (
    collection_facts,
    refuse_other_indexes,
    refuse_other_vectors,
    wanted_indexes,
)
from aeterna_cli.stores.qdrant_mover_writes import can_condition
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_by_server import check_server
from aeterna_cli.workflows.tenant.move_phases import BEFORE_THE_SWITCH, Phase, next_commands
from aeterna_cli.workflows.tenant.move_places import Spot


def check_places(tenant: str, source: Spot, target: Spot) -> None:
    """``RefusedError('already_there')``: nothing to do, nothing was done."""
    if source.shard == target.shard or source.address == target.address:
        raise RefusedError(
            "already_there",
            f"{tenant} is served by the shard {target.shard} already",
            next_steps=["aeterna-cli shard list"],
        )


def check(move: TenantMove, shard: ShardRecord) -> Mapping[str, Any]:
    """The facts that the plan rests on; refusals are in ``runbooks/tenant.md``."""
    application = move.place.profile.application
    _check_contract(move)
    facts = dict(move.mover.check_source())
    source, target = move.mover.source, move.mover.target
    seen = collection_facts(target.writing.http, move.target.collection)
    ours = collection_facts(source.writing.http, move.source.collection) or {}
    there = elsewhere = 0
    if seen is not None:
        refuse_other_vectors(ours["config"], seen["config"])
        refuse_other_indexes(seen["payload_schema"], indexes(move, ours["payload_schema"]))
        if move.target.shard_key is None or move.target.shard_key in _keys(move):
            there, elsewhere = target.count(), _all_points(move)
    _check_target(move, shard, facts["points"], there, elsewhere)
    return {
        **facts,
        "contract": application.contract,
        "source": move.source.as_document(),
        "target": move.target.as_document(),
        "source_version": ".".join(map(str, source.version)),
        "target_version": ".".join(map(str, target.version)),
        "target_exists": seen is not None,
    }


def indexes(move: TenantMove, source_schema: Mapping[str, Any]) -> dict[str, Any]:
    """The payload indexes that the target needs."""
    from aeterna_cli.stores.qdrant_mover_delta import sample_time

    sample = sample_time(move.mover.source) if move.strategy == "versions" else None
    return wanted_indexes(source_schema, move.source.field, sample)


def _check_contract(move: TenantMove) -> None:
    application = move.place.profile.application
    if move.contract == "maintenance":
        missing = [name for name in ("hold", "switch", "release") if not getattr(application, name)]
        if missing:
            raise RefusedError(
                "hooks_missing",
                f"the contract maintenance needs programs for {', '.join(missing)}",
                hint="application.hold stops this tenant's writes, application.switch points the"
                " application at the new place, application.release lets it write again",
                next_steps=["aeterna-cli config show"],
            )
    if move.by_server:
        check_server(move)
    if move.contract != "dual":
        return
    for end in (move.mover.source, move.mover.target):
        if not can_condition(end.version):
            text = ".".join(map(str, end.version))
            raise RefusedError(
                "qdrant_too_old",
                f"Qdrant {text} at {end.description} cannot compare before it writes: a second"
                " writer would overwrite newer points",
                next_steps=[
                    "upgrade Qdrant one minor version at a time: see runbooks/tenant.md",
                    "or declare the contract maintenance or reread",
                ],
            )
    if move.living_instances() == 0:
        raise RefusedError(
            "no_instances",
            f"no living instance of the application has named {move.tenant.slug}",
            hint="the contract dual needs to know who writes: the placement client registers an"
            " instance with its first write of a tenant",
        )


def _check_target(
    move: TenantMove, shard: ShardRecord, points: int, there: int, elsewhere: int
) -> None:
    if there:
        raise RefusedError(
            "target_not_empty",
            f"{there:,} points of {move.tenant.slug} are in the target already",
            hint="a move could not tell them from its own; they are of an earlier time",
            details={"points": there},
        )
    if shard.capacity and elsewhere + points > shard.capacity:
        raise RefusedError(
            "shard_full",
            f"the shard {shard.name} has {elsewhere:,} of {shard.capacity:,} points:"
            f" {points:,} more do not fit",
            next_steps=["aeterna-cli shard list"],
        )
    if move.target.field is None and elsewhere:
        raise RefusedError(
            "tenant_field_missing",
            f"the points of {move.tenant.slug} do not name their tenant: they need a collection"
            " of their own, and the target holds others",
        )


def _all_points(move: TenantMove) -> int:
    """Of everybody, in the target's collection and shard key."""
    with move.place.qdrant_server(move.target.server) as server:
        return server.count(move.target.collection, move.target.shard_key)


def _keys(move: TenantMove) -> tuple[Any, ...]:
    with move.place.qdrant_server(move.target.server) as server:
        found = server.collection(move.target.collection)
    return () if found is None else found.shard_keys()


def refuse_other_target(move: TenantMove, wanted: str) -> None:
    """Going on means going on to the same place. ``RefusedError('move_to_elsewhere')``."""
    if move.phase not in BEFORE_THE_SWITCH and move.phase is not Phase.SOAK:
        raise RefusedError(
            "move_phase",
            f"the last move of {move.tenant.slug} is {move.phase.value}: end that first",
            next_steps=next_commands(move.phase, move.tenant.id),
        )
    if move.target.shard != wanted:
        raise RefusedError(
            "move_to_elsewhere",
            f"{move.tenant.slug} is on its way to {move.target.shard}, not to {wanted}",
            next_steps=[
                f"aeterna-cli tenant migration status --tenant-id {move.tenant.id}",
                f"aeterna-cli tenant migration cancel --tenant-id {move.tenant.id}",
            ],
        )
