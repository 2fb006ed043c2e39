"""A shard as commands show it: what is registered, who is placed there, what the server holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError
from aeterna_cli.stores.base.placement import Placement, ShardRecord, ShardStatus


@dataclass(frozen=True)
class ShardView:
    """``server`` is "" for the profile's own Qdrant. ``tenants`` are served from here, ``copies``
    are secondaries of a move. ``points`` are exact, None where ``fault`` says why they are not
    known; ``fill_percent`` and ``free`` are None without a capacity (0) or without points."""

    name: str
    server: str
    url: str
    collection: str
    shard_key: str | None
    status: ShardStatus
    tenants: int
    copies: int
    points: int | None
    capacity: int
    fill_percent: float | None
    free: int | None
    created_at: datetime
    fault: str


@dataclass(frozen=True)
class ShardChange:
    """What a change of the registry did; with ``dry_run`` it did not. ``operation`` is empty where
    nothing was to be done. ``tenants`` are the ids of those placed here."""

    dry_run: bool
    operation: str
    shard: ShardView
    tenants: tuple[str, ...]
    notes: tuple[str, ...]
    next_steps: tuple[str, ...]


def view(deployment: Deployment, record: ShardRecord, placements: Sequence[Placement]) -> ShardView:
    """The shard now; a server that does not answer is a ``fault``, no error."""
    points, fault = _points(deployment, record)
    known = points is not None and record.capacity > 0
    return ShardView(
        name=record.name,
        server=record.server,
        url=record.url,
        collection=record.collection,
        shard_key=record.shard_key,
        status=record.status,
        tenants=sum(one.primary.shard == record.name for one in placements),
        copies=sum(_copies(one, record.name) for one in placements),
        points=points,
        capacity=record.capacity,
        fill_percent=round(100 * (points or 0) / record.capacity, 1) if known else None,
        free=max(0, record.capacity - (points or 0)) if known else None,
        created_at=record.created_at,
        fault=fault,
    )


def tenants_of(placements: Sequence[Placement], shard: str) -> tuple[str, ...]:
    """Everybody whose placement names the shard, as primary or secondary."""
    return tuple(
        one.tenant for one in placements if one.primary.shard == shard or _copies(one, shard)
    )


def _copies(placement: Placement, shard: str) -> bool:
    return placement.secondary is not None and placement.secondary.shard == shard


def _points(deployment: Deployment, record: ShardRecord) -> tuple[int | None, str]:
    try:
        with deployment.qdrant_server(record.server) as server:
            found = server.collection(record.collection)
            if found is None:
                return None, f"the collection {record.collection} is missing"
            if record.shard_key is None:
                return found.points, ""
            if record.shard_key not in found.shard_keys():
                return 0, ""  # the move that needs the key makes it
            return server.count(record.collection, record.shard_key), ""
    except AeternaError as error:
        return None, error.message
