"""A PostgreSQL with our tables, an application's role of exactly the documented rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from aeterna_cli.stores.base.placement import Placement, PointsPlace, ShardRecord
from aeterna_cli.stores.postgres_placement import PostgresPlacement
from aeterna_cli.stores.postgres_placement_schema import application_sql
from tests.integration.stores.postgres_server import PASSWORD, LocalPostgres, postgres

APPLICATION = 'the "application"'
SHARED = PointsPlace("shared", "memories-shared")
DEDICATED = PointsPlace("dedicated-1", "memories-large", "large", "default")


class PlacementServer:
    """A server, its placement store, and how an application connects to it."""

    def __init__(self, server: LocalPostgres) -> None:
        self.server = server
        self.store = PostgresPlacement(server.settings())

    def prepare(self) -> "PlacementServer":
        self.server.execute(f'CREATE ROLE "{APPLICATION.replace(chr(34), chr(34) * 2)}" LOGIN')
        self.store.ensure_schema()
        self.server.execute(application_sql(APPLICATION))
        for place in (SHARED, DEDICATED):
            self.store.add_shard(record(place.shard, place.collection, shard_key=place.shard_key))
        return self

    def application(self) -> Any:
        """A new connection of the application's role."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.server.port, dbname="postgres", user=APPLICATION,
            password=PASSWORD,
        )  # fmt: skip

    def placed(self, tenant: str | None = None, primary: PointsPlace = SHARED) -> Placement:
        """A new tenant's first row."""
        return self.store.change(
            tenant or str(uuid4()), expected_epoch=None, primary=primary, secondary=None,
            state="serving", operation=None, lock_timeout=5,
        )  # fmt: skip

    def changed(self, before: Placement, **values: Any) -> Placement:
        """The row with these values instead, one epoch on."""
        wanted: dict[str, Any] = {
            "expected_epoch": before.epoch, "primary": before.primary,
            "secondary": before.secondary, "state": before.state, "operation": before.operation,
            "lock_timeout": 5.0, **values,
        }  # fmt: skip
        return self.store.change(before.tenant, **wanted)

    def acknowledged(self, tenant: str, route_ttl: float = 60) -> list[int]:
        return [one.epoch for one in self.store.acknowledgements(tenant, route_ttl) if one.alive]


def record(name: str, collection: str, **values: Any) -> ShardRecord:
    given: dict[str, Any] = {
        "server": "", "url": "http://127.0.0.1:6333", "shard_key": None, "capacity": 0,
        "status": "active", "created_at": datetime.now(UTC), **values,
    }  # fmt: skip
    return ShardRecord(name=name, collection=collection, **given)


@contextmanager
def placement_server(folder: Path, major: int = 18) -> Iterator[PlacementServer]:
    with postgres(folder, major) as server:
        made = PlacementServer(server)
        try:
            yield made.prepare()
        finally:
            made.store.close()
