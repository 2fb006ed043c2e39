"""A tenant of the test's own on a Qdrant of the test's own, an application, and its moves."""

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.client import PlacementClient
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.workload.folder import Moved
from aeterna_cli.lab.workload.judging import Strictness
from aeterna_cli.lab.workload.surroundings import ShardServers, placing
from aeterna_cli.lab.workload.verdict import TenantVerdict
from aeterna_cli.lab.workload.workload import Workload
from aeterna_cli.lab.workload.writer import Habits
from aeterna_cli.stores.base.mover import TenantItems
from aeterna_cli.stores.base.placement import Placement, PointsPlace
from aeterna_cli.stores.postgres_connection import connect
from tests.command_line import CommandLine, Ran
from tests.integration.deployment import Practice, practise
from tests.integration.lab.qdrant_process import Server
from tests.integration.stores.moving import content, point

DIMENSIONS = 8
SOURCE, TARGET = "memories-from", "memories-to"
SLUG = "acme'%*\"-ünïcode"
#: as short as the machine of the tests lets an instance answer reliably
ROUTE_TTL = 3.0


@dataclass
class Moves:
    """``place`` is where the tenant's points begin, ``server`` holds source and target."""

    practice: Practice
    server: Server
    tenant: str
    folder: Path
    contract: str

    def cli(self, *words: str) -> Any:
        """``aeterna-cli tenant ...``, which must succeed; its data."""
        return self.run(*words).data

    def run(self, *words: str) -> Ran:
        ran = self.try_(*words)
        assert ran.code == 0, f"{' '.join(words)}: exit {ran.code}\n{ran.err}"
        return ran

    def try_(self, *words: str) -> Ran:
        ran = self.practice.cli("tenant", *self._words(*words), "-o", "json")
        assert "Traceback" not in ran.err
        return ran

    def refused(self, *words: str) -> tuple[int, str]:
        ran = self.try_(*words)
        return ran.code, str(ran.error["code"])

    def migrate(self, *more: str) -> Any:
        return self.cli("migrate", "--to-shard", "to", *more)

    def steer(self, verb: str, *more: str) -> Any:
        return self.cli("migration", verb, *more)

    def _words(self, *words: str) -> list[str]:
        yes = [] if "status" in words or "--confirm" in words else ["--yes"]
        named = [] if "--tenant-id" in words else ["--tenant-id", self.tenant]
        return [*words, *named, *yes]

    def killed_at(self, point: str, *words: str) -> bool:
        return self.practice.killed_at(point, "tenant", *self._words(*words))

    @property
    def placement(self) -> Placement | None:
        found: Placement | None = self.practice.open().placement.placement(self.tenant)
        return found

    def count(self, name: str) -> int:
        """Of this tenant; 0 where the collection is gone."""
        condition = {"must": [{"key": "tenant_id", "match": {"value": self.tenant}}]}
        names = [one["name"] for one in self.server.ask("GET", "/collections")["collections"]]
        return self.server.count(name, filter=condition) if name in names else 0

    @contextmanager
    def instance(self) -> Iterator[PlacementClient]:
        """An application that lives and has named the tenant, and writes nothing by itself."""
        profile = self.practice.open().profile
        with PlacementClient(
            lambda: connect(profile.postgres), instance="idle", route_ttl=ROUTE_TTL
        ) as client:
            with client.writing(self.tenant):
                pass
            yield client

    def fill(self, points: int, name: str = SOURCE, first: int = 0, tenant: str = "") -> None:
        """Points with versions, of this tenant or another."""
        made = [point(first + number, 1, tenant or self.tenant) for number in range(points)]
        self.server.ask("PUT", f"/collections/{name}/points?wait=true", {"points": made})

    def contents(self, name: str, tenant: str = "") -> dict[Any, Any]:
        return content(self.server, name, TenantItems((tenant or self.tenant,)))

    def indexes(self, name: str) -> set[str]:
        return set(self.server.ask("GET", f"/collections/{name}")["payload_schema"])

    def sql(self, query: str, *values: Any) -> Any:
        with self.practice.sql() as connection:
            return connection.execute(query, values)

    def workload(self, **habits: Any) -> Workload:
        """Its points begin in ``SOURCE``; started by the test."""
        profile = self.practice.open().profile
        store = self.practice.open().placement
        place = PointsPlace("from", SOURCE)
        contract: Any = "none" if self.contract == "maintenance" else self.contract
        clients = None
        if contract != "none":
            clients = placing(profile, store, contract, instances=2)
        return Workload(
            self.folder / f"workload-{uuid.uuid4()}",
            [Moved(self.tenant, place, "moved")],
            ShardServers(profile, store),
            contract=contract,
            placing=clients,
            habits=Habits(**{"writers": 3, "readers": 1, "rate": 60.0, **habits}),
            dimensions=DIMENSIONS,
        )

    def judged(self, workload: Workload, *emptied: str) -> TenantVerdict:
        places = [PointsPlace(name, name) for name in emptied]
        strict = Strictness(exclusive={self.tenant}, emptied={self.tenant: places})
        return workload.verdict(strict).tenant(self.tenant)


def programs(where: Path) -> dict[str, tuple[str, ...]]:
    """Hold, switch and release for the workload whose folder the file ``where`` names."""

    def program(verb: str) -> tuple[str, ...]:
        script = f'exec {sys.executable} -m aeterna_cli.lab.workload.hold {verb} "$(cat {where})"'
        return ("sh", "-c", script)

    return {verb: program(verb) for verb in ("hold", "switch", "release")}


def until(found: Callable[[], bool]) -> None:
    from tests.integration.lab.workload.ground import until as wait

    wait(found)


@contextmanager
def moves(
    lab: Lab,
    cli: CommandLine,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    server: Server,
    contract: str,
    slug: str = SLUG,
    shards: tuple[str, str] = ("from", "to"),
    **application: Any,
) -> Iterator[Moves]:
    """Everything of it is gone afterwards, the placement tables of the lab too."""
    server.clean()
    settings = {"contract": contract, "route_ttl": ROUTE_TTL, **application}
    practice = practise(
        lab,
        cli,
        folder,
        monkeypatch,
        qdrant={"url": f"http://127.0.0.1:{server.port}"},
        application=settings,
    )
    new = str(uuid.uuid4())
    with practice.sql() as connection:
        _drop(connection)
        connection.execute(
            "INSERT INTO public.tenants (id, slug, name) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (new, slug, f"Acme {new}"),
        )
        found = connection.execute("SELECT id::text FROM public.tenants WHERE slug = %s", (slug,))
        tenant = found.fetchone()[0]
    made = Moves(practice, server, tenant, folder, contract)
    vectors = {"vectors": {"size": DIMENSIONS, "distance": "Cosine"}}
    for name in (SOURCE, TARGET):
        server.ask("PUT", f"/collections/{name}", vectors)
    try:
        for name, where in zip(shards, (SOURCE, TARGET), strict=True):
            cli.ok("shard", "add", name, "--collection", where, "--yes")
        yield made
    finally:
        with practice.sql() as connection:
            _drop(connection)
            connection.execute("DELETE FROM public.tenants WHERE id = %s", (new,))


def _drop(connection: Any) -> None:
    connection.execute(
        "DROP TABLE IF EXISTS aeterna_ops.placement_ack, aeterna_ops.tenant_placement,"
        " aeterna_ops.shard, aeterna_ops.tenant_move"
    )
