"""What a workload needs of a deployment: its tenants' ids, the servers of shards, placements."""

import difflib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aeterna_cli.errors import AeternaError, UsageError
from aeterna_cli.lab.workload.placing import Placing
from aeterna_cli.settings import Profile, QdrantSettings
from aeterna_cli.stores.base.placement import PointsPlace

if TYPE_CHECKING:
    from aeterna_cli.stores.postgres_placement import PostgresPlacement


@dataclass(frozen=True)
class Named:
    id: str
    slug: str


def tenant(profile: Profile, word: str) -> Named:
    """By slug or id. ``UsageError('tenant_unknown')`` with the closest slugs."""
    from aeterna_cli.stores.postgres_connection import connect, postgres_errors

    with postgres_errors(), connect(profile.postgres) as connection:
        query = "SELECT id::text, slug FROM public.tenants WHERE slug = %s OR id::text = %s"
        row = connection.execute(query, (word, word)).fetchone()
        if row is None:
            slugs = connection.execute("SELECT slug FROM public.tenants LIMIT 10000").fetchall()
    if row is None:
        close = difflib.get_close_matches(word, [one for (one,) in slugs], 3)
        raise UsageError(
            "tenant_unknown",
            f"no tenant is called {word!r}",
            hint=f"did you mean {' or '.join(map(repr, close))}?" if close else "",
        )
    return Named(*row)


class ShardServers:
    """The server of a place by the shard that it names: that of the registered shard, else the
    profile's own. Any number of threads."""

    def __init__(self, profile: Profile, store: "PostgresPlacement") -> None:
        self._profile = profile
        self._store = store
        self._servers: dict[str, QdrantSettings] = {"": profile.qdrant}
        self._lock = threading.Lock()

    def __call__(self, place: PointsPlace) -> QdrantSettings:
        with self._lock:
            found = self._servers.get(place.shard)
            if found is None:
                found = self._servers[place.shard] = self._look(place.shard)
        return found

    def _look(self, shard: str) -> QdrantSettings:
        record = self._store.shard(shard)
        if record is None or not record.server:
            return self._profile.qdrant
        try:
            return self._profile.qdrant_servers[record.server]
        except KeyError as error:
            raise UsageError(
                "qdrant_server_unknown",
                f"shard {shard!r} lies on {record.server!r}, which the profile does not name",
                hint=f"add [qdrant_servers.{record.server}] to the profile",
            ) from error


def primary(store: "PostgresPlacement", tenant: str) -> PointsPlace | None:
    """Where the placement row says that this tenant is served; None without one."""
    try:
        found = store.placement(tenant)
    except AeternaError as error:
        if error.code == "placement_not_prepared":
            return None
        raise
    return found.primary if found else None


def placing(
    profile: Profile,
    store: "PostgresPlacement",
    contract: Literal["dual", "reread"],
    *,
    instances: int = 1,
    hold_limit: float = 10.0,
) -> Placing:
    """The placements as so many instances of an application see them."""
    from aeterna_cli.client import PlacementClient
    from aeterna_cli.stores.postgres_connection import connect

    clients = [
        PlacementClient(
            lambda: connect(profile.postgres),
            instance=f"workload-{number}",
            route_ttl=profile.application.route_ttl,
            contract=contract,
            hold_limit=hold_limit,
        )
        for number in range(instances)
    ]
    return Placing(clients, lambda tenant: primary(store, tenant))
