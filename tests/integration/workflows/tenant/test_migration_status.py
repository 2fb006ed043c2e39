"""``tenant migration status``: what a move is at, and every way to ask it wrongly."""

import pytest

from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SLUG

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_a_move_is_found_by_id_slug_and_name_and_says_what_is_next(begin: Begin) -> None:
    with begin("reread") as move:
        assert move.refused("migration", "status") == (7, "no_move")
        move.fill(10)
        move.migrate()
        found = move.steer("status")
        assert found["phase"] == "cutover"
        assert any(" cutover " in one for one in found["next_steps"])
        for name in (SLUG, f"Acme {move.tenant}"):
            assert move.steer("status", "--tenant-id", name)["move"] == found["move"]
        table = move.practice.cli.ok(
            "tenant", "migration", "status", "--tenant-id", move.tenant, "-o", "table"
        ).out
        assert "from -> to" in table
        move.steer("cancel")
        assert move.steer("status")["phase"] == "cancelled"


def test_an_unknown_tenant_is_offered_the_closest(begin: Begin) -> None:
    with begin("reread") as move:
        ran = move.try_("migration", "status", "--tenant-id", SLUG[:-1])
        assert (ran.code, ran.error["code"]) == (7, "tenant_unknown")
        assert SLUG in ran.error["hint"]
        for verb in ("verify", "cutover", "rollback", "cancel"):
            assert move.refused("migration", verb) == (7, "no_move")
        assert move.refused("migration", "complete", "--confirm", SLUG) == (7, "no_move")
