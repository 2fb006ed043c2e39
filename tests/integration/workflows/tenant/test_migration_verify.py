"""``tenant migration verify``: content, not only ids."""

import pytest

from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SOURCE, TARGET

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def change(move: object, name: str, number: int) -> None:
    body = {"payload": {"content": "changed"}, "points": [number]}
    move.server.ask("POST", f"/collections/{name}/points/payload?wait=true", body)  # type: ignore[attr-defined]


def test_content_that_changed_without_its_version_stops_the_move(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(30)
        ready = move.migrate()
        assert ready["proof_equal"] is True
        change(move, SOURCE, 7)
        ran = move.try_("migration", "verify")
        assert (ran.code, ran.error["code"]) == (1, "content_differs")
        assert ran.error["details"]["ids"] == [7]
        assert move.steer("cancel")["phase"] == "cancelled"


def test_after_the_switch_of_reread_the_old_place_may_fall_behind(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(30)
        move.migrate("--wait")
        assert move.steer("verify")["proof_equal"] is True
        change(move, TARGET, 7)
        assert move.refused("migration", "verify") == (1, "content_differs")


def test_there_is_nothing_to_compare_before_a_copy(begin: Begin) -> None:
    with begin("reread") as move:
        assert move.refused("migration", "verify") == (7, "no_move")
