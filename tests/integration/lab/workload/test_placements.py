"""The contracts that honour a placement, over the client that applications import."""

from collections.abc import Iterator
from typing import Any

import pytest

from aeterna_cli.client import PlacementClient
from aeterna_cli.lab.workload.folder import Contract, Moved
from aeterna_cli.lab.workload.placing import Placing
from aeterna_cli.lab.workload.prepare import make_place
from aeterna_cli.lab.workload.workload import Workload
from aeterna_cli.lab.workload.writer import Habits
from aeterna_cli.stores.base.placement import PointsPlace
from tests.integration.lab.workload.ground import DIMENSIONS, Ground, found, until, written
from tests.integration.stores.placement_server import PlacementServer, placement_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def placements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlacementServer]:
    with placement_server(tmp_path_factory.mktemp("workload-placements")) as server:
        yield server


class Placed:
    """A tenant with a row, its workload, and a second place."""

    def __init__(
        self, ground: Ground, server: PlacementServer, contract: Contract, habits: Habits
    ) -> None:
        self.ground, self.store = ground, server.store
        self.source = PointsPlace("shared", ground.place().collection)
        self.target = PointsPlace("dedicated-1", ground.place().collection)
        self.row = server.placed(primary=self.source)
        self.change_row = server.changed
        self.tenant = Moved(self.row.tenant, self.source, "tenant")
        clients = [
            PlacementClient(server.application, contract=contract, route_ttl=60, hold_limit=120)
            for _ in range(2)
        ]
        placing = Placing(clients, self.served)
        self.workload: Workload = ground.workload(
            self.tenant, contract=contract, habits=habits, placing=placing
        )
        make_place(ground.servers, self.target, DIMENSIONS)

    def served(self, tenant: str) -> PointsPlace | None:
        row = self.store.placement(tenant)
        return row.primary if row else None

    def change(self, **values: Any) -> None:
        self.row = self.change_row(self.row, **values)

    def acknowledged(self) -> bool:
        """Every instance honours the row as it is now."""
        alive = [one for one in self.store.acknowledgements(self.tenant.id, 60) if one.alive]
        return bool(alive) and all(one.epoch >= self.row.epoch for one in alive)

    def copy(self) -> None:
        points = self.ground.points(self.tenant, self.source)
        self.ground.put(self.target, *points)


def test_missing_second_writes_are_no_finding_until_they_are_served(
    ground: Ground, placements: PlacementServer
) -> None:
    habits = Habits(writers=3, readers=1, delay=0.01, drop=0.3)
    moved = Placed(ground, placements, "dual", habits)
    workload, tenant = moved.workload, moved.tenant
    with workload:
        workload.prepare(30)
        moved.copy()
        workload.start()
        written(workload, tenant, 10)
        assert ground.count(tenant, moved.target) == 30  # one place is written while serving
        moved.change(secondary=moved.target, state="dual")
        until(moved.acknowledged)
        written(workload, tenant, 60)
    verdict = workload.verdict().tenants[0]
    assert verdict.place == moved.source
    assert (found(verdict), verdict.client_errors) == ({}, {})
    assert verdict.second_writes_missing["dropped"] > 5
    moved.change(primary=moved.target, secondary=None, state="serving")
    switched = workload.verdict().tenants[0]
    assert switched.place == moved.target
    assert set(found(switched)) & {"lost", "stale", "resurrected"}


def test_dual_writes_alone_keep_both_places_equal(
    ground: Ground, placements: PlacementServer
) -> None:
    """What the client writes second is the whole truth where no second write is missing."""
    moved = Placed(ground, placements, "dual", Habits(writers=3, readers=1, delay=0.01))
    workload, tenant = moved.workload, moved.tenant
    moved.change(secondary=moved.target, state="dual")
    with workload:
        workload.prepare(30)
        moved.copy()
        workload.start()
        written(workload, tenant, 60)
        moved.change(primary=moved.target, secondary=moved.source)
        until(moved.acknowledged)
        written(workload, tenant, 20)
    assert workload.verdict().clean
    moved.change(primary=moved.source, secondary=moved.target)
    assert workload.verdict().clean


def test_a_held_placement_stops_writes_and_a_switch_under_it_is_clean(
    ground: Ground, placements: PlacementServer
) -> None:
    moved = Placed(ground, placements, "reread", Habits(writers=3, readers=1))
    workload, tenant = moved.workload, moved.tenant
    with workload:
        workload.prepare(30)
        workload.start()
        written(workload, tenant, 20)
        moved.change(state="held")
        points = ground.points(tenant, moved.source)
        moved.copy()
        assert ground.points(tenant, moved.source) == points
        moved.change(primary=moved.target, state="serving")
        written(workload, tenant, 20)
    verdict = workload.verdict().tenants[0]
    assert verdict.place == moved.target
    assert verdict.clean
    assert verdict.measured is not None
    assert verdict.measured.held_waits >= 3


def test_a_hold_beyond_the_bound_is_an_error_that_the_client_saw(
    ground: Ground, placements: PlacementServer
) -> None:
    moved = Placed(ground, placements, "dual", Habits(writers=1, readers=0))
    placing = Placing(
        [PlacementClient(placements.application, hold_limit=0.05)], lambda _tenant: moved.source
    )
    workload = ground.workload(
        moved.tenant, contract="dual", habits=Habits(writers=1, readers=0), placing=placing
    )
    with moved.workload, workload:
        workload.prepare(5)
        moved.change(state="held")
        workload.start()
        written_or_failed = workload.folder / "tenant-0" / "writer-0.log"
        until(lambda: written_or_failed.exists() and b"E " in written_or_failed.read_bytes())
        moved.change(state="serving")
        written(workload, moved.tenant, 3)
    verdict = workload.verdict().tenants[0]
    assert found(verdict) == {}
    assert set(verdict.client_errors) == {"placement_held_too_long"}
