"""A move while servers throttle, fail, lose answers or restart: it waits, or stops and goes on."""

import pytest

from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SLUG, SOURCE, TARGET, Moves

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def fault(move: Moves, **switch: object) -> None:
    move.server.ask("POST", "/lab/faults", switch)


@pytest.mark.parametrize("every", ["429", "503", "lost"])
def test_faults_that_pass_are_waited_out(begin: Begin, every: str) -> None:
    with begin("reread") as move:
        move.fill(120)
        fault(move, every=every, path="/points", after=4, times=3)
        assert move.migrate()["phase"] == "cutover"
        fault(move, every=every, path="/points", after=1, times=2)
        assert move.steer("cutover")["phase"] == "soak"
        fault(move, every=every, path="/delete", times=1)
        move.steer("verify")
        assert move.steer("complete", "--confirm", SLUG)["phase"] == "complete"
        assert (move.count(SOURCE), move.count(TARGET)) == (0, 120)


def test_a_server_that_fails_while_writers_are_held_lets_them_go(begin: Begin) -> None:
    """Every count fails: rounds pass, the last check of the hold cannot."""
    with begin("reread") as move:
        move.fill(50)
        before = move.migrate()
        fault(move, every="503", path="/points/count")
        assert move.refused("migration", "cutover") == (4, "qdrant_unavailable")
        move.server.ask("DELETE", "/lab/faults")
        after = move.steer("status")
        assert (after["served_by"], after["state"]) == (before["served_by"], "serving")
        assert move.steer("cutover")["phase"] == "soak"


def test_a_server_that_restarts_in_the_middle_costs_nothing(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(120)
        assert move.killed_at("step:copy:after", "migrate", "--to-shard", "to")
        move.server.kill()
        move.server.start()
        assert move.migrate("--wait")["phase"] == "soak"
        assert len(move.contents(TARGET)) == 120


def test_status_is_told_although_the_server_is_away(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(10)
        move.migrate()
        move.server.kill()
        try:
            found = move.steer("status")
            assert (found["phase"], found["source_points"]) == ("cutover", None)
            assert move.try_("migration", "cutover").code == 4
        finally:
            move.server.start()
        assert move.steer("cutover")["phase"] == "soak"
