"""``tenant migration rollback``: back to the source, with everything written since."""

from pathlib import Path

import pytest

from tests.integration.lab.workload.ground import written
from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SOURCE, TARGET, programs

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.parametrize("contract", ["dual", "reread"])
def test_the_source_serves_again_with_what_was_written_at_the_target(
    begin: Begin, contract: str
) -> None:
    with begin(contract, hold_limit=2.0) as move, move.workload(drop=0.05) as workload:
        workload.prepare(200)
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 10)
        assert move.migrate("--wait")["served_by"] == "to"
        written(workload, tenant, 20)
        done = move.steer("rollback")
        assert (done["phase"], done["served_by"], done["state"]) == (
            "rolled-back",
            "from",
            "serving",
        )
        written(workload, tenant, 10)
        workload.stop()
        verdict = move.judged(workload, TARGET)
        assert verdict.data_clean, verdict.counts()
        assert not verdict.client_errors
        assert verdict.place.collection == SOURCE
        assert move.count(TARGET) == 0
        assert move.refused("migration", "rollback") == (7, "no_move")


def test_maintenance_goes_back_by_the_same_programs(begin: Begin, tmp_path: Path) -> None:
    where = tmp_path / "where"
    with begin("maintenance", **programs(where)) as move, move.workload() as workload:
        where.write_text(str(workload.folder))
        workload.prepare(200)
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 10)
        assert move.migrate("--wait")["served_by"] == "to"
        written(workload, tenant, 20)
        done = move.steer("rollback")
        assert (done["phase"], done["served_by"]) == ("rolled-back", "from")
        written(workload, tenant, 10)
        workload.stop()
        verdict = move.judged(workload, TARGET)
        assert verdict.data_clean, verdict.counts()
        assert not verdict.client_errors
        assert verdict.place.collection == SOURCE
        assert move.count(TARGET) == 0
        assert move.placement is not None
        assert move.placement.primary.collection == SOURCE
        assert move.refused("migration", "rollback") == (7, "no_move")


def test_before_the_switch_it_is_refused(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(10)
        move.migrate()
        assert move.refused("migration", "rollback") == (7, "move_phase")
