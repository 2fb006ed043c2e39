"""``shard remove``: the record of an empty shard goes; its collection stays."""

from collections.abc import Sequence

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError, RefusedError
from aeterna_cli.operations.plan import Step
from aeterna_cli.operations.runner import execute
from aeterna_cli.output.result import Result
from aeterna_cli.stores.base.placement import Placement, ShardRecord
from aeterna_cli.stores.postgres_placement_faults import shard_in_use
from aeterna_cli.workflows.shard.change import make_plan, refuse_status, registered, result
from aeterna_cli.workflows.shard.view import tenants_of, view

KIND = "shard.remove"
_SCHEMA = "aeterna.shard.remove/1"
_BATCH = 500  # tenants in one filter: servers in strict mode limit its conditions


def run(ctx: Context, name: str) -> Result:
    """The registry does not know the shard any more; nothing is deleted on the Qdrant server, and
    ``notes`` say what is left there.

    ``RefusedError``: ``shard_unknown``, ``shard_in_use`` (placements name it),
    ``shard_holds_points`` (of tenants that are placed elsewhere: a move that was not completed),
    ``shard_status_move`` (drain it first). A server that does not answer is an error unless the
    shard is offline.
    """
    record = registered(ctx, name)
    store = ctx.deployment.placement
    placements = store.placements()
    tenants = tenants_of(placements, name)
    if tenants:
        raise shard_in_use(name, tenants)
    if record.status == "active":
        raise refuse_status(
            record, "drain it first, so that nobody comes", f"aeterna-cli shard drain {name}"
        )
    notes = (*_looked(ctx, record, placements), *_left(ctx, record, placements))
    if ctx.flags.dry_run:
        return result(ctx, _SCHEMA, record, f"would remove shard {name}", notes=notes)
    made = make_plan(
        ctx,
        KIND,
        f"remove shard {name} of {ctx.profile_name} from the registry",
        {"shard": name, "collection": record.collection, "left": list(notes)},
        [Step("registry", lambda _run: _remove(ctx, name))],
    )
    outcome = execute(made, ctx.run_environment())
    return result(ctx, _SCHEMA, record, f"removed shard {name}", operation=outcome.operation,
                  notes=notes)  # fmt: skip


def _remove(ctx: Context, name: str) -> None:
    store = ctx.deployment.placement
    if store.shard(name) is not None:  # a repeated step
        store.remove_shard(name)


def _looked(ctx: Context, record: ShardRecord, placements: Sequence[Placement]) -> tuple[str, ...]:
    try:
        _refuse_points(ctx, record, [one.tenant for one in placements])
    except RefusedError:
        raise
    except AeternaError as error:
        if record.status != "offline":
            raise
        return (f"its server was not asked for points of placed tenants: {error.message}",)
    return ()


def _refuse_points(ctx: Context, record: ShardRecord, tenants: Sequence[str]) -> None:
    with ctx.deployment.qdrant_server(record.server) as server:
        found = server.collection(record.collection)
        if found is None or record.shard_key not in (None, *found.shard_keys()):
            return
        keys = found.shard_keys() if record.shard_key is None else (record.shard_key,)
        for start in range(0, len(tenants), _BATCH):
            some = list(tenants[start : start + _BATCH])
            matching = {"must": [{"key": "tenant_id", "match": {"any": some}}]}
            points = sum(server.count(record.collection, key, matching) for key in keys)
            if points:
                raise RefusedError(
                    "shard_holds_points",
                    f"the shard {record.name!r} holds {points:,} points of tenants that are placed"
                    " elsewhere",
                    hint="a move left its source behind: complete it, or delete them there",
                    next_steps=["aeterna-cli operation list --unfinished"],
                )


def _left(ctx: Context, record: ShardRecord, placements: Sequence[Placement]) -> tuple[str, ...]:
    shown = view(ctx.deployment, record, placements)
    where = f"{record.collection} at {record.url}"
    if shown.points is None:
        return (f"what is left at {where} is not known: {shown.fault}",)
    key = f", shard key {record.shard_key}" if record.shard_key is not None else ""
    return (f"the collection {where}{key} stays, with {shown.points:,} points",)
