"""What a move refuses before it changes anything: exit codes, reasons, and nothing left behind."""

from typing import Any

import pytest

from aeterna_cli.errors import ConflictError
from aeterna_cli.operations.lease import Lease, LeaseRequest
from aeterna_cli.workflows import leases
from tests.integration.stores.moving import OTHER, point
from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SLUG, SOURCE, TARGET, Moves

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def untouched(move: Moves) -> None:
    assert move.placement is None
    assert move.count(TARGET) == 0
    assert move.indexes(TARGET) == set()


def test_every_wrong_place_is_refused(begin: Begin) -> None:
    with begin("reread") as move:
        cli = move.practice.cli
        move.fill(20)
        code_of = move.refused
        assert code_of("migrate", "--to-shard", "nowhere") == (7, "shard_unknown")
        assert code_of("migrate", "--to-shard", "from") == (7, "already_there")
        assert code_of("migrate", "--to-shard", "") == (2, "name_invalid")
        assert code_of("migrate", "--to-shard", "to", "--tenant-id", "x" * 300) == (
            2,
            "name_invalid",
        )
        assert code_of("migrate", "--to-shard", "to", "--tenant-id", SLUG + "%") == (
            7,
            "tenant_unknown",
        )
        cli.ok("shard", "drain", "to", "--yes")
        assert code_of("migrate", "--to-shard", "to") == (7, "shard_not_active")
        cli.ok("shard", "drain", "to", "--undo", "--yes")
        untouched(move)
        move.fill(95, TARGET, 1000, OTHER)
        move.server.ask("PUT", "/collections/memories-small", _vectors(8, "Cosine"))
        move.server.ask("PUT", "/collections/memories-other", _vectors(9, "Cosine"))
        move.server.ask("PUT", "/collections/memories-dot", _vectors(8, "Dot"))
        for name, capacity in (("small", "19"), ("other", "0"), ("dot", "0")):
            words = ("--collection", f"memories-{name}", "--capacity", capacity, "--yes")
            cli.ok("shard", "add", name, *words)
        assert code_of("migrate", "--to-shard", "small") == (7, "shard_full")
        assert code_of("migrate", "--to-shard", "other") == (7, "vectors_differ")
        assert code_of("migrate", "--to-shard", "dot") == (7, "vectors_differ")
        move.fill(1, TARGET, 5000)
        assert code_of("migrate", "--to-shard", "to") == (7, "source_ambiguous")
        assert code_of("migrate", "--to-shard", "to", "--from", SOURCE) == (7, "target_not_empty")
        assert code_of("migrate", "--to-shard", "to", "--from", "nothing") == (7, "source_unknown")
        assert move.placement is None


def _vectors(size: int, distance: str) -> Any:
    return {"vectors": {"size": size, "distance": distance}}


def test_points_that_cannot_be_compared_are_counted(begin: Begin) -> None:
    with begin("reread") as move:
        assert move.refused("migrate", "--to-shard", "to") == (7, "source_unknown")
        move.fill(20)
        bad = [point(number, 1, move.tenant) for number in (3, 4, 5)]
        for one in bad:
            del one["payload"]["version"]
        move.server.ask("PUT", f"/collections/{SOURCE}/points?wait=true", {"points": bad})
        ran = move.try_("migrate", "--to-shard", "to")
        assert (ran.code, ran.error["code"]) == (7, "version_missing")
        assert ran.error["details"]["points"] == 3
        untouched(move)


def test_an_index_of_another_type_is_refused(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(5)
        body = {"field_name": "version", "field_schema": "keyword"}
        move.server.ask("PUT", f"/collections/{TARGET}/index?wait=true", body)
        assert move.refused("migrate", "--to-shard", "to") == (7, "payload_index_differs")


def test_dual_wants_instances_that_live_and_answer(begin: Begin) -> None:
    with begin("dual") as move:
        move.fill(5)
        assert move.refused("migrate", "--to-shard", "to") == (7, "no_instances")
        untouched(move)
        with move.instance() as client, client.writing(move.tenant):
            # it lives, and a write that began by the old placement does not end
            assert move.refused("migrate", "--to-shard", "to") == (7, "placement_not_acknowledged")
            placement = move.placement
            assert placement is not None
            assert (placement.state, placement.secondary) == ("serving", None)
            assert move.count(TARGET) == 0


def test_maintenance_wants_its_programs(begin: Begin) -> None:
    with begin("maintenance", hold=["true"]) as move:
        move.fill(5)
        assert move.refused("migrate", "--to-shard", "to") == (7, "hooks_missing")
        untouched(move)


def test_another_operation_on_the_tenant_is_a_conflict(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(5)
        place = move.practice.open()
        lease = Lease(
            place.objects, LeaseRequest(leases.tenant(move.tenant)), operation="o", actor="somebody"
        )
        lease.acquire()
        try:
            ran = move.try_("migrate", "--to-shard", "to")
            assert ran.code == int(ConflictError.exit_code)
        finally:
            lease.release()
        assert move.migrate()["phase"] == "cutover"
        move.practice.cli.ok("shard", "add", "third", "--collection", "memories-third",
                             "--create-like", "to", "--yes")  # fmt: skip
        assert move.refused("migrate", "--to-shard", "third") == (7, "move_to_elsewhere")


def test_a_dry_run_changes_nothing(begin: Begin) -> None:
    with begin("reread") as move:
        move.fill(5)
        planned = move.migrate("--dry-run")
        assert (planned["dry_run"], planned["phase"], planned["source_points"]) == (True, "plan", 5)
        untouched(move)
        assert move.refused("migration", "status") == (7, "no_move")


def test_a_source_that_is_no_shard_is_named_with_the_command(begin: Begin) -> None:
    with begin("reread") as move:
        move.server.ask("PUT", "/collections/memories-stray", _vectors(8, "Cosine"))
        move.fill(5, "memories-stray")
        ran = move.try_("migrate", "--to-shard", "to")
        assert (ran.code, ran.error["code"]) == (7, "source_not_a_shard")
        assert "shard add NAME --collection memories-stray" in ran.error["next_steps"][0]
