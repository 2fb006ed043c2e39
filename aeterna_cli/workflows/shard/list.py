"""``shard list``: where tenants' points lie, and how full it is there."""

from collections.abc import Sequence
from dataclasses import dataclass

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.stores.base.placement import ShardRecord
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.workflows.completion_names import remember
from aeterna_cli.workflows.shard.view import ShardView, view


@dataclass(frozen=True)
class OtherCollection:
    """A collection of one of the profile's servers that is no shard."""

    server: str
    collection: str


@dataclass(frozen=True)
class ShardList:
    """``unknown_servers`` did not answer when they were asked for their collections."""

    shards: tuple[ShardView, ...]
    other_collections: tuple[OtherCollection, ...]
    unknown_servers: tuple[str, ...]


def run(ctx: Context) -> Result:
    """By name. Nothing is made, not even the registry; its names are kept for completion."""
    store = ctx.deployment.placement
    prepared = store.prepared()
    records = store.shards() if prepared else []
    placements = store.placements() if prepared else []
    shards = tuple(view(ctx.deployment, record, placements) for record in records)
    others, silent = _others(ctx, records)
    remember(ctx, "shards", [one.name for one in shards])
    found = ShardList(shards, others, silent)
    return Result("aeterna.shard.list/1", found, lambda: _view(ctx, found))


def _others(
    ctx: Context, records: Sequence[ShardRecord]
) -> tuple[tuple[OtherCollection, ...], tuple[str, ...]]:
    registered = {(one.server, one.collection) for one in records}
    found, silent = [], []
    for name in ("", *sorted(ctx.profile.qdrant_servers)):
        try:
            with ctx.deployment.qdrant_server(name) as server:
                names = server.collections()
        except AeternaError:
            silent.append(name)
            continue
        found += [
            OtherCollection(name, one)
            for one in names
            if (name, one) not in registered and one != OPS_COLLECTION
        ]
    return tuple(found), tuple(silent)


def _view(ctx: Context, found: ShardList) -> Table | str:
    notes = _notes(found)
    if not found.shards:
        return "\n".join([f"no shards in {ctx.profile_name}", *notes])
    return Table(
        ["shard", "server", "collection", "key", "status", "tenants", "points", "capacity", "fill",
         "free"],
        [_row(one) for one in found.shards],
        right=frozenset({"tenants", "points", "capacity", "fill", "free"}),
        footer="\n".join(notes),
    )  # fmt: skip


def _notes(found: ShardList) -> list[str]:
    notes = [f"{one.name}: {one.fault}" for one in found.shards if one.fault]
    notes += [f"{_server(name)} does not answer" for name in found.unknown_servers]
    if found.other_collections:
        names = ", ".join(
            f"{one.server}/{one.collection}" if one.server else one.collection
            for one in found.other_collections
        )
        notes.append(f"collections that are no shard: {names}")
    return notes


def _server(name: str) -> str:
    return f"the Qdrant server {name}" if name else "the profile's Qdrant"


def _row(one: ShardView) -> list[str]:
    copies = f" (+{one.copies})" if one.copies else ""
    return [
        one.name,
        one.server or "-",
        one.collection,
        one.shard_key or "-",
        one.status,
        f"{one.tenants:,}{copies}",
        "unknown" if one.points is None else f"{one.points:,}",
        f"{one.capacity:,}" if one.capacity else "no limit",
        "-" if one.fill_percent is None else f"{one.fill_percent:g} %",
        "-" if one.free is None else f"{one.free:,}",
    ]
