"""``tenant migration cancel``: before the switch, as if there had been no move."""

import pytest

from tests.integration.stores.moving import OTHER
from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SOURCE, TARGET

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_what_the_move_made_is_gone_and_nothing_else(begin: Begin) -> None:
    with begin("dual") as move, move.instance():
        move.fill(100)
        move.fill(20, TARGET, 1000, OTHER)
        move.server.ask(
            "PUT",
            f"/collections/{TARGET}/index?wait=true",
            {"field_name": "version", "field_schema": "integer"},
        )
        before = move.contents(SOURCE), move.contents(TARGET, OTHER)
        assert move.migrate()["target_points"] == 100
        assert {"tenant_id", "updated_at", "version"} <= move.indexes(TARGET)
        done = move.steer("cancel")
        assert (done["phase"], done["target_points"]) == ("cancelled", 0)
        assert done["evidence"]["undone"] == {"points_removed": 100, "left_in_use": []}
        placement = move.placement
        assert placement is not None
        assert (placement.primary.shard, placement.secondary) == ("from", None)
        assert placement.state == "serving"
        assert move.indexes(TARGET) == {"version"}  # it was there before
        assert (move.contents(SOURCE), move.contents(TARGET, OTHER)) == before
        assert move.refused("migration", "cancel") == (7, "no_move")
        assert move.migrate("--wait")["phase"] == "soak"  # and again, from the beginning


def test_a_collection_that_the_move_made_goes_with_it(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(30)
        move.server.ask("DELETE", f"/collections/{TARGET}")
        assert move.migrate()["target_points"] == 30
        move.steer("cancel")
        names = [one["name"] for one in move.server.ask("GET", "/collections")["collections"]]
        assert TARGET not in names
        assert SOURCE in names


def test_somebody_elses_points_keep_a_collection_that_the_move_made(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(30)
        move.server.ask("DELETE", f"/collections/{TARGET}")
        move.migrate()
        move.fill(1, TARGET, 1000, OTHER)
        done = move.steer("cancel")
        assert done["evidence"]["undone"]["left_in_use"] == [["collection", TARGET]]
        assert len(move.contents(TARGET, OTHER)) == 1
        assert move.count(TARGET) == 0


def test_after_the_switch_it_is_refused(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(10)
        move.migrate("--wait")
        assert move.refused("migration", "cancel") == (7, "move_switched")
        assert move.count(TARGET) == 10
