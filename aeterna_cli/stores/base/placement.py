"""Where a tenant's points live: shards, and the one row that is the truth of routing.

Both are tables of our own schema ``aeterna_ops`` in the platform's PostgreSQL. An application
honours a placement by three rules (``docs/formats.md`` has them in full):

- it reads at the *primary*;
- it writes at the primary, then at the *secondary* where there is one (conditional by version);
- while the state is ``held`` it starts no write of this tenant until the row changes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

ShardStatus = Literal["provisioning", "active", "draining", "offline"]
#: ``serving``: no secondary. ``dual``: a secondary. ``held``: writes wait, whatever the secondary.
PlacementState = Literal["serving", "dual", "held"]

#: NOTIFY's channel in PostgreSQL and the channel in Redis; the payload is ``Placement.news``.
CHANNEL = "aeterna_ops_placement"
REDIS_CHANNEL = "aeterna-ops:placement"
#: From each status to which others an operator may lead a shard; no move at all is always allowed.
SHARD_MOVES: Mapping[ShardStatus, frozenset[ShardStatus]] = {
    "provisioning": frozenset({"active", "offline"}),
    "active": frozenset({"draining"}),
    "draining": frozenset({"active", "offline"}),
    "offline": frozenset({"provisioning"}),
}


@dataclass(frozen=True)
class ShardRecord:
    """A shard: a Qdrant server, a collection in it, and where that has several tenants' keys a key.

    ``server`` is "" for the profile's own Qdrant, else a name of ``qdrant_servers``: credentials
    stay in profiles. ``url`` is for applications, without credentials. ``capacity`` is in points, 0
    for no limit.
    """

    name: str
    server: str
    url: str
    collection: str
    shard_key: str | None
    capacity: int
    status: ShardStatus
    created_at: datetime

    @property
    def place(self) -> "PointsPlace":
        """What a placement on this shard names."""
        return PointsPlace(self.name, self.collection, self.shard_key)


@dataclass(frozen=True)
class PointsPlace:
    """Where points lie. ``fallback_key``: the server routes between ``shard_key`` and this one
    (``{"target": ..., "fallback": ...}``, Qdrant 1.16+) while it moves them itself."""

    shard: str
    collection: str
    shard_key: str | None = None
    fallback_key: str | None = None


@dataclass(frozen=True)
class Placement:
    """One tenant's row. ``epoch`` grows by one with every change and never falls."""

    tenant: str  # the uuid as text
    primary: PointsPlace
    secondary: PointsPlace | None
    state: PlacementState
    epoch: int
    operation: str | None
    updated_at: datetime

    @property
    def news(self) -> str:
        """What is published of a change: enough to know that a cached placement is old.

        ASCII and shorter than NOTIFY's limit of 8,000 bytes, whatever the names are.
        """
        told = {
            "tenant": self.tenant,
            "epoch": self.epoch,
            "state": self.state,
            "shard": self.primary.shard,
            "collection": self.primary.collection,
        }
        return json.dumps(told, separators=(",", ":"))


@dataclass(frozen=True)
class Acknowledgement:
    """An application's instance and the newest epoch of a tenant that all its writes honour."""

    instance: str
    epoch: int
    seen_at: datetime
    alive: bool  # seen within twice the route's time to live, on the server's clock


class PlacementStore(Protocol):
    """See ``aeterna_cli.stores.postgres_placement.PostgresPlacement`` for the promises."""

    def ensure_schema(self) -> None: ...
    def shards(self) -> Sequence[ShardRecord]: ...
    def shard(self, name: str) -> ShardRecord | None: ...
    def add_shard(self, record: ShardRecord) -> None: ...
    def set_shard_status(self, name: str, status: ShardStatus) -> None: ...
    def remove_shard(self, name: str) -> None: ...
    def placements(self) -> Sequence[Placement]: ...
    def placement(self, tenant: str) -> Placement | None: ...
    def change(
        self,
        tenant: str,
        *,
        expected_epoch: int | None,
        primary: PointsPlace,
        secondary: PointsPlace | None,
        state: PlacementState,
        operation: str | None,
        lock_timeout: float,
    ) -> Placement: ...
    def acknowledgements(self, tenant: str, route_ttl: float) -> Sequence[Acknowledgement]: ...
