"""What every change of the shard registry shares: its plan's frame, its result."""

from collections.abc import Mapping, Sequence
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.output.result import Result
from aeterna_cli.stores.base.placement import ShardRecord
from aeterna_cli.stores.postgres_placement_faults import shard_unknown
from aeterna_cli.workflows.completion_names import remember
from aeterna_cli.workflows.leases import RESTORE, SHARDS
from aeterna_cli.workflows.shard.view import ShardChange, tenants_of, view

_SHOWN = 20


def make_plan(
    ctx: Context, kind: str, summary: str, facts: Mapping[str, Any], steps: Sequence[Step]
) -> Plan:
    """Not restartable: the same command again looks at what is there and does what is left."""
    return Plan(
        kind=kind,
        summary=summary,
        target=ctx.deployment.id,
        danger=Danger.REVERSIBLE,
        facts=facts,
        steps=tuple(steps),
        leases=(LeaseRequest(SHARDS), LeaseRequest(RESTORE, shared=True)),
        restartable=False,
    )


def registered(ctx: Context, name: str) -> ShardRecord:
    """``RefusedError('shard_unknown')`` where there is none, or no registry yet."""
    store = ctx.deployment.placement
    found = store.shard(name) if store.prepared() else None
    if found is None:
        raise shard_unknown(name)
    return found


def result(
    ctx: Context,
    schema: str,
    record: ShardRecord,
    headline: str,
    *,
    operation: str = "",
    notes: Sequence[str] = (),
    next_steps: Sequence[str] = (),
) -> Result:
    """The shard as it is now (as it would be, in a dry run); names for completion are renewed."""
    store = ctx.deployment.placement
    prepared = store.prepared()
    placements = store.placements() if prepared else []
    done = ShardChange(
        ctx.flags.dry_run,
        operation,
        view(ctx.deployment, record, placements),
        tenants_of(placements, record.name),
        tuple(notes),
        tuple(next_steps),
    )
    if operation:
        remember(ctx, "shards", [one.name for one in store.shards()])
    return Result(schema, done, lambda: _view(done, headline))


def moves(tenants: Sequence[str]) -> tuple[str, ...]:
    """The commands that empty a shard."""
    return tuple(
        f"aeterna-cli tenant migrate --tenant-id {tenant} --to-shard SHARD" for tenant in tenants
    )


def refuse_status(record: ShardRecord, what: str, step: str) -> RefusedError:
    return RefusedError(
        "shard_status_move",
        f"the shard {record.name!r} is {record.status}: {what}",
        next_steps=[step],
    )


def _view(done: ShardChange, headline: str) -> str:
    shard = done.shard
    points = "unknown" if shard.points is None else f"{shard.points:,}"
    lines = [
        headline,
        f"  server      {shard.server or 'the profile’s own'} ({shard.url})",
        f"  collection  {shard.collection}"
        + (f", shard key {shard.shard_key}" if shard.shard_key is not None else ""),
        f"  status      {shard.status}",
        f"  points      {points}"
        + (f" of {shard.capacity:,} ({shard.fill_percent:g} %)" if shard.fill_percent else ""),
        f"  tenants     {shard.tenants:,}" + (f", copies of {shard.copies:,}" * bool(shard.copies)),
        *(f"  note: {note}" for note in done.notes),
        *(f"  next: {step}" for step in done.next_steps[:_SHOWN]),
    ]
    if len(done.next_steps) > _SHOWN:
        lines.append(f"  and {len(done.next_steps) - _SHOWN:,} more: see -o json")
    return "\n".join(lines)
