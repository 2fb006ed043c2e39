"""Moves under the workload: a careless one is found guilty, a careful one is not."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aeterna_cli.lab.workload import folder as folders
from aeterna_cli.lab.workload.folder import Moved
from aeterna_cli.lab.workload.judging import Strictness
from aeterna_cli.lab.workload.points import of_tenant
from aeterna_cli.lab.workload.prepare import make_place
from aeterna_cli.lab.workload.workload import Workload
from aeterna_cli.lab.workload.writer import Habits
from aeterna_cli.stores.base.placement import PointsPlace
from tests.integration.lab.workload.conftest import Restartable
from tests.integration.lab.workload.ground import DIMENSIONS, Ground, found, until, written

pytestmark = pytest.mark.integration


def copy(ground: Ground, tenant: Moved, target: PointsPlace, workload: Workload | None) -> None:
    """Plain scroll and upsert; with a workload, that writes between reading a page and writing
    it, so that the race is not left to chance."""
    make_place(ground.servers, target, DIMENSIONS)
    for page in ground.servers.scan(tenant.place, of_tenant(tenant.id)):
        if workload is not None:
            written(workload, tenant, 40)
        if page:
            ground.put(target, *page)


def hook(action: str, folder: Path, tenant: Moved, target: PointsPlace) -> None:
    """As ``application.hold``, ``switch`` and ``release`` are run."""
    environment = {
        "AETERNA_MOVE_TENANT": tenant.id,
        "AETERNA_MOVE_COLLECTION": target.collection,
        "AETERNA_MOVE_SHARD_KEY": target.shard_key or "",
    }
    words = [sys.executable, "-m", "aeterna_cli.lab.workload.hold", action, str(folder)]
    subprocess.run(words, env={**os.environ, **environment}, check=True)


def test_an_undisturbed_run_is_clean(ground: Ground) -> None:
    first, second = ground.moved(), ground.moved()
    second = Moved(second.id, first.place, "neighbour")
    workload = ground.workload(first, second, habits=Habits(writers=3, readers=2))
    with workload:
        workload.prepare({first.id: 40, second.id: 20})
        workload.mark("before")
        workload.start()
        written(workload, first, 30)
        workload.mark("during")
        written(workload, second, 10)
    verdict = workload.verdict()
    assert verdict.clean
    measured = verdict.tenant(first.id).measured
    assert measured is not None
    assert {one.phase for one in measured.latencies} == {"before", "during"}
    assert all(0 < one.p50 <= one.p99 <= one.maximum for one in measured.latencies)
    assert measured.reads > 0
    assert measured.longest_pause > 0
    assert verdict.tenant(first.id).points == ground.count(first)
    assert verdict.tenant(first.id).acknowledged >= 70


def test_a_naive_move_is_found_guilty(ground: Ground) -> None:
    tenant = ground.moved()
    target = ground.place()
    workload = ground.workload(tenant, contract="naive", habits=Habits(writers=3))
    with workload:
        workload.prepare(40)
        workload.start()
        copy(ground, tenant, target, workload)
        hook("switch", workload.folder, tenant, target)
        written(workload, tenant, 20)
    verdict = workload.verdict().tenants[0]
    assert verdict.place == target
    assert verdict.at_rest.resurrected.count > 0
    assert verdict.at_rest.stale.count > 0
    assert not verdict.clean


def test_a_move_under_a_hold_is_clean_and_its_pause_is_told(ground: Ground) -> None:
    tenant, target = ground.moved(), ground.place()
    workload = ground.workload(tenant, contract="none", habits=Habits(writers=3, readers=2))
    with workload:
        workload.prepare(60)
        workload.start()
        written(workload, tenant, 30)
        hook("hold", workload.folder, tenant, target)
        before = workload.acknowledged(tenant.id)
        copy(ground, tenant, target, None)
        assert workload.acknowledged(tenant.id) == before
        hook("switch", workload.folder, tenant, target)
        hook("release", workload.folder, tenant, target)
        written(workload, tenant, 30)
    strict = Strictness(exclusive={tenant.id})
    verdict = workload.verdict(strict).tenants[0]
    assert verdict.place == target
    assert found(verdict) == {}
    assert not verdict.client_errors
    assert verdict.measured is not None
    assert verdict.measured.held_waits >= 3
    assert verdict.measured.longest_pause >= verdict.measured.held_longest * 0.5
    left = workload.verdict(Strictness(emptied={tenant.id: (tenant.place,)})).tenants[0]
    assert set(found(left)) == {"leftover"}


@pytest.mark.parametrize("damage", ["lost", "stale"])
def test_readers_find_damage_while_it_lasts(ground: Ground, damage: str) -> None:
    """Everything is taken away (or put back as it was), and readers say so before the end."""
    tenant = ground.moved()
    workload = ground.workload(tenant, habits=Habits(writers=1, readers=2, rate=20))
    with workload:
        workload.prepare(40)
        old = ground.points(tenant)
        workload.start()
        written(workload, tenant, 10)
        done = threading.Event()

        def wreck() -> None:
            while not done.is_set():
                if damage == "lost":
                    ids = [point["id"] for point in ground.points(tenant)]
                    ground.delete(tenant.place, *ids)
                else:
                    ground.put(tenant.place, *old)

        wrecker = threading.Thread(target=wreck)
        wrecker.start()
        path = folders.logs(workload.folder, 0)
        try:
            until(
                lambda: any(f"R {damage}" in one.read_text() for one in path.glob("reader-*.log"))
            )
        finally:
            done.set()
            wrecker.join()
    verdict = workload.verdict().tenants[0]
    assert found(verdict)[f"read_{damage}"] > 0
    assert not verdict.clean


def test_a_server_that_goes_away_leaves_errors_but_no_findings(
    server_of_its_own: Restartable,
) -> None:
    """What was under way when it crashed is open; what comes after is certain again."""
    mine = server_of_its_own
    tenant = mine.moved()
    workload = mine.workload(tenant, habits=Habits(writers=2, readers=1))
    with workload:
        workload.prepare(30)
        workload.start()
        written(workload, tenant, 30)
        mine.restart()
        written(workload, tenant, 30)
    verdict = workload.verdict().tenants[0]
    assert found(verdict) == {}
    assert verdict.client_errors
    assert not verdict.clean
    assert verdict.data_clean
