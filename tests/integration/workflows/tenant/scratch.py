"""A deployment that a tenant test may change: a database and a Qdrant of its own beside the lab."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import BACKUP, superuser
from aeterna_cli.lab.seed.tenants import Tenant
from aeterna_cli.stores.base.placement import PointsPlace, ShardRecord
from aeterna_cli.stores.postgres_placement import PostgresPlacement
from aeterna_cli.stores.qdrant_http import QdrantHttp, part
from tests.command_line import CommandLine
from tests.integration.deployment import Practice, practise
from tests.integration.stores.qdrant_server import LabQdrant, lab_qdrant
from tests.integration.tenant_database import SEED, tenant_database

KEYWORD = {"type": "keyword", "is_tenant": True}
INTEGER = {"type": "integer", "lookup": True, "range": True}


@dataclass
class Scratch:
    """The deployment, its servers, and how to put things there."""

    practice: Practice
    database: str
    qdrant: LabQdrant
    _last: int = 0
    _connections: dict[int, QdrantHttp] = field(default_factory=dict)

    @property
    def cli(self) -> CommandLine:
        return self.practice.cli

    def data(self, *words: str) -> Any:
        return self.cli.ok("tenant", *words).data

    @contextmanager
    def sql(self) -> Iterator[Any]:
        with superuser(self.practice.lab.place(), self.database) as connection:
            yield connection

    def collection(
        self, name: str, *keys: str, indexes: bool = True, server: LabQdrant | None = None
    ) -> None:
        http = self._http(server)
        body: dict[str, Any] = {"vectors": {"size": 4, "distance": "Dot"}}
        if keys:
            body |= {"sharding_method": "custom", "shard_number": 1}
        http.call("PUT", f"/collections/{part(name)}", body)
        for key in keys:
            http.call("PUT", f"/collections/{part(name)}/shards", {"shard_key": key})
        for name_of, schema in (("tenant_id", KEYWORD), ("created_at", INTEGER)):
            if indexes:
                index = {"field_name": name_of, "field_schema": schema}
                http.call("PUT", f"/collections/{part(name)}/index?wait=true", index)

    def points(
        self,
        collection: str,
        tenant: str | None,
        count: int,
        *,
        key: str | None = None,
        first: int | None = None,
        created: datetime | None = None,
        server: LabQdrant | None = None,
    ) -> int:
        """Points that name this tenant; the number of the first, for copies elsewhere."""
        start = self._last + 1 if first is None else first
        self._last = max(self._last, start + count)
        payload: dict[str, Any] = {} if tenant is None else {"tenant_id": tenant}
        payload["created_at"] = int((created or datetime(2026, 1, 1, tzinfo=UTC)).timestamp())
        points = [
            {"id": str(UUID(int=start + n)), "vector": [1.0, 0, 0, n], "payload": payload}
            for n in range(count)
        ]
        body: dict[str, Any] = {"points": points}
        if key is not None:
            body["shard_key"] = key
        self._http(server).upsert(collection, body)
        return start

    def _http(self, server: LabQdrant | None) -> QdrantHttp:
        """A connection to this server, kept until the deployment is closed."""
        wanted = server or self.qdrant
        if wanted.port not in self._connections:
            self._connections[wanted.port] = QdrantHttp(wanted.client()._http._settings)
        return self._connections[wanted.port]

    def close(self) -> None:
        for http in self._connections.values():
            http.close()
        self._placement.close()

    # -- shards and placements

    def prepare(self) -> None:
        """The tables of placement are there."""
        from psycopg import sql

        with self.sql() as server:
            server.execute(
                sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                    sql.Identifier(self.database), sql.Identifier(BACKUP)
                )
            )
        self._placement.ensure_schema()

    @cached_property
    def _placement(self) -> PostgresPlacement:
        return PostgresPlacement(self.practice.open().profile.postgres)

    def shard(self, name: str, collection: str, **values: Any) -> ShardRecord:
        given: dict[str, Any] = {
            "server": "", "url": "http://127.0.0.1:6333", "shard_key": None, "capacity": 0,
            "status": "active", "created_at": datetime.now(UTC), **values,
        }  # fmt: skip
        record = ShardRecord(name=name, collection=collection, **given)
        self._placement.add_shard(record)
        return record

    def place(
        self, tenant: str, primary: PointsPlace, secondary: PointsPlace | None = None
    ) -> None:
        self._placement.change(
            tenant, expected_epoch=None, primary=primary, secondary=secondary,
            state="dual" if secondary else "serving", operation=None, lock_timeout=5,
        )  # fmt: skip


def ids(everyone: Sequence[Tenant]) -> dict[str, str]:
    return {one.slug: str(one.id(SEED)) for one in everyone}


@contextmanager
def scratch_deployment(
    lab: Lab, cli: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch, *, extra: int = 0,
    **changes: Any,
) -> Iterator[Scratch]:  # fmt: skip
    with tenant_database(lab, extra=extra) as name, lab_qdrant(folder / "qdrant-own") as qdrant:
        sections: dict[str, Any] = {
            "postgres": {"database": name},
            "qdrant": {
                "url": f"http://127.0.0.1:{qdrant.port}",
                "api_key_file": str(qdrant.folder / "key"),
            },
            **changes,
        }
        made = Scratch(practise(lab, cli, folder, monkeypatch, **sections), name, qdrant)
        try:
            yield made
        finally:
            made.close()
