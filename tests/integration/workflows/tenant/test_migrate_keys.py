"""Moves between shard keys of one collection: the server copies and switches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aeterna_cli.lab.workload.folder import Moved
from aeterna_cli.lab.workload.judging import Strictness
from aeterna_cli.lab.workload.surroundings import ShardServers, placing
from aeterna_cli.lab.workload.workload import Workload
from aeterna_cli.lab.workload.writer import Habits
from aeterna_cli.stores.base.placement import PointsPlace
from tests.integration.lab.workload.ground import written
from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import DIMENSIONS, SLUG, Moves

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

NAME = "memories-keyed"
FROM = PointsPlace("shared", NAME, "shared")


@contextmanager
def keyed(move: Moves) -> Iterator[Workload]:
    """A collection of custom keys, two shards in it, and an application that names the keys."""
    vectors = {"size": DIMENSIONS, "distance": "Cosine"}
    body = {"vectors": vectors, "sharding_method": "custom"}
    move.server.ask("PUT", f"/collections/{NAME}", body)
    move.server.ask("PUT", f"/collections/{NAME}/shards", {"shard_key": "shared"})
    for name in ("shared", "acme"):
        words = ("shard", "add", name, "--collection", NAME, "--shard-key", name, "--yes")
        move.practice.cli.ok(*words)
    profile, store = move.practice.open().profile, move.practice.open().placement
    contract: Any = move.contract
    with Workload(
        move.folder / "workload",
        [Moved(move.tenant, FROM, "moved")],
        ShardServers(profile, store),
        contract=contract,
        placing=placing(profile, store, contract, instances=2),
        habits=Habits(writers=2, readers=1, rate=40.0),
        dimensions=DIMENSIONS,
    ) as workload:
        workload.prepare(250)
        yield workload


def keys(move: Moves) -> dict[Any, str]:
    return dict(move.server.shards(NAME).values())


@pytest.mark.parametrize("contract", ["dual", "reread"])
def test_a_tenant_gets_a_key_of_its_own(begin: Begin, contract: str) -> None:
    with begin(contract) as move, keyed(move) as workload:
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 10)
        ready = move.cli("migrate", "--to-shard", "acme")
        assert (ready["phase"], ready["served_by"]) == ("cutover", "shared")
        assert keys(move) == {"shared": "Active", "acme": "Partial"}
        written(workload, tenant, 10)
        done = move.steer("cutover")
        assert (done["phase"], done["served_by"], done["held"]) == ("soak", "acme", 0.0)
        assert keys(move)["acme"] == "Active"
        written(workload, tenant, 10)
        move.steer("verify")
        complete = move.steer("complete", "--confirm", SLUG)
        assert complete["phase"] == "complete"
        workload.stop()
        strict = Strictness(emptied={move.tenant: [FROM]})
        verdict = workload.verdict(strict).tenant(move.tenant)
        assert verdict.data_clean, verdict.counts()
        assert not verdict.client_errors
        assert verdict.place.shard_key == "acme"


def test_before_the_transfer_it_is_cancelled_without_a_trace(begin: Begin) -> None:
    with begin("dual") as move, keyed(move) as workload:
        workload.start()
        written(workload, workload.description.tenants[0], 5)
        move.cli("migrate", "--to-shard", "acme")
        assert move.steer("cancel")["phase"] == "cancelled"
        assert keys(move) == {"shared": "Active"}
        written(workload, workload.description.tenants[0], 5)
        workload.stop()
        assert workload.verdict().tenant(move.tenant).clean
        assert move.placement is not None
        assert move.placement.primary == FROM


def test_after_it_there_is_a_way_back(begin: Begin) -> None:
    with begin("dual", hold_limit=3.0) as move, keyed(move) as workload:
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 5)
        assert move.cli("migrate", "--to-shard", "acme", "--wait")["served_by"] == "acme"
        written(workload, tenant, 10)
        done = move.steer("rollback")
        assert (done["phase"], done["served_by"]) == ("rolled-back", "shared")
        written(workload, tenant, 5)
        workload.stop()
        verdict = workload.verdict().tenant(move.tenant)
        assert verdict.data_clean, verdict.counts()
        assert keys(move) == {"shared": "Active"}


def test_killed_while_the_server_copies(begin: Begin) -> None:
    with begin("dual") as move, keyed(move) as workload:
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 5)
        words = ("migrate", "--to-shard", "acme", "--wait")
        for point in ("step:prepare:before", "step:prepare:after", "step:cutover:after"):
            assert move.killed_at(point, *words), point
        done = move.cli(*words)
        assert (done["phase"], done["served_by"]) == ("soak", "acme")
        workload.stop()
        strict = Strictness(copies_allowed={move.tenant})
        verdict = workload.verdict(strict).tenant(move.tenant)
        assert verdict.data_clean, verdict.counts()


def test_a_key_that_somebody_has_is_refused(begin: Begin) -> None:
    with begin("reread") as move, keyed(move):
        move.server.ask("PUT", f"/collections/{NAME}/shards", {"shard_key": "acme"})
        assert move.refused("migrate", "--to-shard", "acme") == (7, "shard_key_taken")
        assert move.refused("migrate", "--to-shard", "acme", "--allow", "x") == (2, "allow_unknown")
