"""Tenants whose points lie on another Qdrant server than the profile's own: no backup reads it."""

from aeterna_cli.deployment import Deployment
from aeterna_cli.repository.manifest import LeftOut

_WHY = "a backup reads the profile's own Qdrant server; back that one up by a profile of its own"


def points_elsewhere(place: Deployment, tenant: str | None = None) -> tuple[LeftOut, ...]:
    """By shard, what of all tenants (of one, by its id) is on another server; reads only."""
    if not place.placement.prepared():
        return ()
    servers = {one.name: one.server for one in place.placement.shards() if one.server}
    tenants: dict[str, int] = {}
    for placement in place.placement.placements():
        if placement.primary.shard in servers and tenant in (None, placement.tenant):
            shard = placement.primary.shard
            tenants[shard] = tenants.get(shard, 0) + 1
    return tuple(
        LeftOut(
            what=f"the points of {_tenants(count)} at shard {shard}, on {servers[shard]}", why=_WHY
        )
        for shard, count in sorted(tenants.items())
    )


def _tenants(count: int) -> str:
    return "one tenant" if count == 1 else f"{count:,} tenants"
