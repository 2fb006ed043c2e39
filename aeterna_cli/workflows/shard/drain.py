"""``shard drain``: nobody new comes to a shard; who is there is named with the way out."""

from dataclasses import replace

from aeterna_cli.context import Context
from aeterna_cli.operations.plan import Step
from aeterna_cli.operations.runner import execute
from aeterna_cli.output.result import Result
from aeterna_cli.stores.base.placement import SHARD_MOVES, ShardStatus
from aeterna_cli.workflows.shard.change import make_plan, moves, refuse_status, registered, result
from aeterna_cli.workflows.shard.view import tenants_of

KIND = "shard.drain"
_SCHEMA = "aeterna.shard.drain/1"


def run(ctx: Context, name: str, undo: bool) -> Result:
    """The shard is draining (with ``undo``: active again); no tenant was moved.

    Nothing changes where it is so already. ``RefusedError``: ``shard_unknown``,
    ``shard_status_move`` for one that is not served from at all.
    """
    record = registered(ctx, name)
    wanted: ShardStatus = "active" if undo else "draining"
    store = ctx.deployment.placement
    tenants = tenants_of(store.placements(), name)
    steps = () if undo else (moves(tenants) or (f"aeterna-cli shard remove {name}",))
    if record.status != wanted and (
        wanted not in SHARD_MOVES[record.status] or record.status == "provisioning"
    ):
        step = f"aeterna-cli shard remove {name}"
        raise refuse_status(record, f"it cannot become {wanted}", step)
    word = "serves" if undo else "drains"
    if ctx.flags.dry_run or record.status == wanted:
        again = "would be so" if ctx.flags.dry_run else "already"
        shown = replace(record, status=wanted)
        return result(ctx, _SCHEMA, shown, f"shard {name} {word} ({again})", next_steps=steps)
    made = make_plan(
        ctx,
        KIND,
        f"{'serve from' if undo else 'drain'} shard {name} of {ctx.profile_name}",
        {"shard": name, "from": record.status, "to": wanted, "tenants": list(tenants)},
        [Step("status", lambda _run: store.set_shard_status(name, wanted))],
    )
    outcome = execute(made, ctx.run_environment())
    changed = registered(ctx, name)
    return result(ctx, _SCHEMA, changed, f"shard {name} {word}", operation=outcome.operation,
                  next_steps=steps)  # fmt: skip
