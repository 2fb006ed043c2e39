"""``tenant migrate``: moved while the application writes, by each of the three contracts."""

from pathlib import Path

import pytest

from tests.integration.lab.workload.ground import written
from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SLUG, SOURCE, TARGET, programs

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_dual_under_writes_with_lost_second_writes(begin: Begin) -> None:
    with begin("dual", hold_limit=2.0) as move, move.workload(drop=0.05, delay=0.005) as workload:
        workload.prepare(400)
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 20)
        ready = move.migrate()
        assert (ready["phase"], ready["served_by"], ready["state"]) == ("cutover", "from", "dual")
        assert ready["copied"] > 300
        assert any("cutover" in one for one in ready["next_steps"])
        done = move.steer("cutover")
        assert (done["phase"], done["served_by"], done["state"]) == ("soak", "to", "dual")
        assert done["held"] <= 2.0
        written(workload, tenant, 20)
        workload.stop()
        assert not move.judged(workload).counts()["lost"]
        checked = move.steer("verify")
        assert checked["evidence"]["proof"]["unexplained"] == 0
        complete = move.steer("complete", "--confirm", SLUG)
        assert (complete["phase"], complete["source_points"]) == ("complete", 0)
        verdict = move.judged(workload, SOURCE)
        assert verdict.data_clean, verdict.counts()
        assert not verdict.client_errors
        assert verdict.second_writes_missing
        assert move.count(SOURCE) == 0
        assert move.count(TARGET) == verdict.points
        assert verdict.place.collection == TARGET


def test_reread_holds_writes_for_the_last_round_and_keeps_nothing_in_two_places(
    begin: Begin,
) -> None:
    with begin("reread") as move, move.workload() as workload:
        workload.prepare(300)
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 10)
        done = move.migrate("--wait")
        assert (done["phase"], done["served_by"], done["state"]) == ("soak", "to", "serving")
        assert 0 < done["held"] <= 2.0
        written(workload, tenant, 20)
        complete = move.steer("complete", "--confirm", SLUG)
        workload.stop()
        assert complete["phase"] == "complete"
        verdict = move.judged(workload, SOURCE)
        assert verdict.data_clean, verdict.counts()
        assert not verdict.client_errors


def test_maintenance_predicts_holds_switches_and_lets_go(begin: Begin, tmp_path: Path) -> None:
    where = tmp_path / "where"
    with begin("maintenance", **programs(where)) as move, move.workload() as workload:
        where.write_text(str(workload.folder))
        workload.prepare(300)
        workload.start()
        tenant = workload.description.tenants[0]
        written(workload, tenant, 10)
        done = move.migrate("--wait")
        assert (done["phase"], done["served_by"]) == ("soak", "to")
        assert done["prediction"] > 0
        assert done["held"] > 0
        written(workload, tenant, 20)
        complete = move.steer("complete", "--confirm", SLUG)
        workload.stop()
        assert complete["phase"] == "complete"
        verdict = move.judged(workload, SOURCE)
        assert verdict.data_clean, verdict.counts()
        assert not verdict.client_errors
        assert verdict.place.collection == TARGET
