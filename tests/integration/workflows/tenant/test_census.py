"""What no tenant has, what a move has twice, what came lately; what may not be read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.tenants import HOSTILE, tenants
from aeterna_cli.stores.base.placement import PointsPlace
from tests.command_line import CommandLine
from tests.integration.stores.qdrant_server import lab_qdrant
from tests.integration.tenant_database import SCALE
from tests.integration.workflows.tenant.scratch import Scratch, ids, scratch_deployment

pytestmark = pytest.mark.integration

IDS = ids(tenants(SCALE))
ACME, OTHER, LARGE = IDS["acme-corp"], IDS["acme_corp"], IDS["large-corp"]
SHARED, DEDICATED = PointsPlace("shared-1", "memories-shared"), PointsPlace("dedicated-1", "dedi")


def by_slug(scratch: Scratch, *words: str) -> dict[str, dict[str, Any]]:
    found = scratch.data("list", *words)
    return {one["slug"]: one["counts"] for one in found if one["kind"] == "tenant"}


def nobody(scratch: Scratch, *words: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = scratch.data("list", *words)
    return {(one["name"], one["why"]): one["counts"] for one in found if one["kind"] == "nobody"}


def totals(scratch: Scratch) -> dict[str, Any]:
    found: dict[str, Any] = scratch.data("list")[-1]["counts"]
    return found


def test_what_a_removed_tenant_left_is_a_line_of_its_own(scratch: Scratch) -> None:
    """``DELETE FROM tenants`` leaves its memories: rows by its id, points by its id."""
    before = by_slug(scratch)["initech"]
    scratch.collection("memories-shared")
    scratch.points("memories-shared", IDS["initech"], 7)
    scratch.points("memories-shared", None, 2)
    scratch.points("memories-shared", "ghost% * '\"", 3)
    with scratch.sql() as server:
        server.execute("SET session_replication_role = replica")
        server.execute("DELETE FROM tenants WHERE slug = 'initech'")
    found = nobody(scratch)
    orphan = found[(IDS["initech"], "no such tenant")]
    assert (orphan["points"], orphan["memory_rows"]) == (7, before["memory_rows"])
    assert orphan["rows"] >= before["memory_rows"]
    assert found[("ghost% * '\"", "no such tenant")]["points"] == 3
    assert found[("", "names no tenant")]["points"] == 2
    assert totals(scratch)["points"] == 12
    listed = scratch.data("list")
    assert sum(one["counts"]["rows"] for one in listed[:-1]) == listed[-1]["counts"]["rows"]


def test_neighbours_by_name_and_tenants_named_by_slug_are_told_apart(scratch: Scratch) -> None:
    scratch.collection("memories-shared")
    wanted = {"acme-corp": 5, "acme_corp": 4, "legacy-gmbh": 3, HOSTILE: 2}
    for slug, count in wanted.items():
        value = slug if slug in ("legacy-gmbh", HOSTILE) else IDS[slug]
        scratch.points("memories-shared", value, count)
    scratch.points("memories-shared", "acme-corp", 1)  # by slug: the same tenant
    found = by_slug(scratch)
    assert {slug: found[slug]["points"] for slug in wanted} == {**wanted, "acme-corp": 6}


def test_a_slug_that_is_another_tenants_id_is_nobodys(scratch: Scratch) -> None:
    with scratch.sql() as server:
        server.execute("UPDATE tenants SET slug = %s WHERE slug = 'vacant-ltd'", (ACME,))
    scratch.collection("memories-shared")
    scratch.points("memories-shared", ACME, 4)
    assert nobody(scratch)[(ACME, "two tenants' name")]["points"] == 4
    assert totals(scratch)["points"] == 4


@pytest.mark.parametrize("server_name", ["", "second"])
def test_points_that_a_move_has_twice_count_once(
    server_name: str,
    lab: Lab,
    cli: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with lab_qdrant(tmp_path / "second") as second:
        servers = {"second": {
            "url": f"http://127.0.0.1:{second.port}", "api_key_file": str(second.folder / "key"),
        }}  # fmt: skip
        deployment = scratch_deployment(lab, cli, tmp_path, monkeypatch, qdrant_servers=servers)
        with deployment as scratch:
            target = second if server_name else None
            scratch.prepare()
            scratch.collection("memories-shared")
            scratch.collection("dedi", server=target, indexes=False)
            scratch.shard("shared-1", "memories-shared")
            scratch.shard("dedicated-1", "dedi", server=server_name)
            first = scratch.points("memories-shared", ACME, 9)
            scratch.points("memories-shared", OTHER, 2)
            scratch.points("dedi", ACME, 6, first=first, server=target)
            scratch.place(ACME, SHARED, DEDICATED)
            found = by_slug(scratch)["acme-corp"]
            assert (found["points"], found["memory_points"], found["point_copies"]) == (9, 9, 6)
            everything = totals(scratch)
            assert (everything["points"], everything["point_copies"]) == (11, 6)
            (mine,) = [one for one in scratch.data("classify")["tenants"] if one["id"] == ACME]
            assert mine["advice"]["shard"] == "shared-1"
            assert (mine["advice"]["move"], mine["advice"]["command"]) == (False, None)
            assert "a move is running" in mine["advice"]["why"]
            shown = scratch.data("show", "acme-corp")
            held = {one["place"]: one for one in shown["held"] if one["store"] == "qdrant"}
            copy = held[f"{server_name}/dedi" if server_name else "dedi"]
            assert (copy["copy"], copy["count"]) == (True, 6)
            assert held["memories-shared"]["copy"] is False
            assert shown["placement"]["secondary_shard"] == "dedicated-1"


def test_points_under_two_keys_of_one_collection_count_once(scratch: Scratch) -> None:
    scratch.prepare()
    scratch.collection("memories-shared", "shared", "acme")
    for name in ("shared", "acme"):
        scratch.shard(name, "memories-shared", shard_key=name)
    first = scratch.points("memories-shared", ACME, 8, key="shared")
    scratch.points("memories-shared", ACME, 5, key="acme", first=first)
    scratch.points("memories-shared", OTHER, 3, key="shared")
    scratch.place(
        ACME,
        PointsPlace("shared", "memories-shared", "shared"),
        PointsPlace("acme", "memories-shared", "acme"),
    )
    found = by_slug(scratch)
    assert (found["acme-corp"]["points"], found["acme_corp"]["points"]) == (8, 3)
    assert totals(scratch)["points"] == 11


def test_growth_counts_what_was_created_in_a_week_and_a_month(scratch: Scratch) -> None:
    now = datetime.now(UTC)
    for name, indexes in (("memories-shared", True), ("memory_embeddings", False)):
        scratch.collection(name, indexes=indexes)
        for days, count in ((1, 3), (20, 4), (40, 5)):
            scratch.points(name, ACME, count, created=now - timedelta(days=days))
    found = by_slug(scratch)["acme-corp"]
    assert (found["memories_7d"], found["memories_30d"], found["points"]) == (6, 14, 24)
    with scratch.sql() as server:
        server.execute(
            "UPDATE memory_entries SET created_at = extract(epoch FROM now())::bigint - 3 * 86400"
            " WHERE tenant_id = %s",
            (LARGE,),
        )
    found = by_slug(scratch)["large-corp"]
    assert found["memories_7d"] == found["memories_30d"] == found["memory_rows"] > 0


def test_an_unclassified_table_and_collection_are_shown_with_their_counts(scratch: Scratch) -> None:
    with scratch.sql() as server:
        server.execute("CREATE TABLE invoices (number text PRIMARY KEY)")
        server.execute("INSERT INTO invoices VALUES ('1'), ('2')")
    scratch.collection("somebody-elses", indexes=False)
    scratch.points("somebody-elses", "acme-corp", 3)
    found = nobody(scratch)
    assert found[("invoices", "unclassified table")]["rows"] == 2
    assert found[("somebody-elses", "unclassified collection")]["points"] == 3
    doubtful = {one["place"]: one["count"] for one in scratch.data("show", "acme-corp")["doubtful"]}
    assert doubtful.items() >= {"invoices": 2, "somebody-elses": 3}.items()


def test_a_missing_grant_is_exit_6_with_the_grant(scratch: Scratch, tmp_path: Path) -> None:
    """Rows that a role may not see would be rows that are not there."""
    password = tmp_path / "reader"
    password.write_text("reader-7d31")
    with scratch.sql() as server:
        server.execute("DROP ROLE IF EXISTS tenant_reader")
        server.execute("CREATE ROLE tenant_reader LOGIN BYPASSRLS PASSWORD 'reader-7d31'")
        server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO tenant_reader")
        server.execute("REVOKE ALL ON tenant_secrets FROM tenant_reader")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AETERNA_POSTGRES__USER", "tenant_reader")
            patch.setenv("AETERNA_POSTGRES__PASSWORD_FILE", str(password))
            ran = scratch.cli("tenant", "list")
            assert (ran.code, ran.error["code"]) == (6, "missing_privilege"), ran.err
            (grant,) = ran.error["next_steps"]
            assert grant.startswith("GRANT SELECT ON TABLE")
            assert "tenant_secrets" in grant
            assert scratch.cli("tenant", "classify").code == 0  # reads no secrets
            with scratch.sql() as server:
                server.execute(grant)
            assert scratch.cli("tenant", "list").code == 0
            with scratch.sql() as server:
                server.execute("ALTER ROLE tenant_reader NOBYPASSRLS")
            ran = scratch.cli("tenant", "classify")
            assert (ran.code, ran.error["code"]) == (6, "rows_hidden"), ran.err
            assert "BYPASSRLS" in ran.error["next_steps"][0]
    finally:
        with scratch.sql() as server:
            server.execute("DROP OWNED BY tenant_reader")
            server.execute("DROP ROLE tenant_reader")


def test_a_thousand_tenants_take_one_pass(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch_deployment(lab, cli, tmp_path, monkeypatch, extra=1000) as scratch:
        scratch.collection("memories-shared")
        everyone = tenants(SCALE, 1000)
        crowd = [one for one in everyone if one.slug.startswith("small-")]
        for one in crowd[::100]:
            scratch.points("memories-shared", str(one.id(1)), 2)
        found = by_slug(scratch)
        assert len(found) == len(everyone)
        assert {found[one.slug]["points"] for one in crowd[::100]} == {2}
        assert sum(one["points"] for one in found.values()) == 20
        wanted = {one.slug: one.memories + one.only_rows for one in crowd}
        assert {slug: found[slug]["memory_rows"] for slug in wanted} == wanted


def test_our_own_collection_and_an_unknown_tenants_are_counted_as_nobodys(scratch: Scratch) -> None:
    for name, count in (("aeterna_ops_marker", 1), ("memories-removed", 3)):
        scratch.collection(name, indexes=False)
        scratch.points(name, None, count)
    found = nobody(scratch)
    assert found[("aeterna_ops_marker", "this tool's collection")]["points"] == 1
    assert found[("memories-removed", "no such tenant's collection")]["points"] == 3
    assert totals(scratch)["points"] == 4


def test_a_server_that_does_not_answer_is_no_empty_server(scratch: Scratch) -> None:
    scratch.collection("memories-shared")
    scratch.points("memories-shared", ACME, 2)
    scratch.qdrant.kill()
    ran = scratch.cli("tenant", "classify")
    assert (ran.code, ran.out) == (4, ""), ran.err
    scratch.qdrant.start()
    assert totals(scratch)["points"] == 2


def test_a_shard_on_a_server_that_the_profile_lacks_is_refused(scratch: Scratch) -> None:
    """Its points cannot be counted, and must not be missing silently."""
    scratch.prepare()
    scratch.shard("far-1", "memories-far", server="far")
    ran = scratch.cli("tenant", "list")
    assert (ran.code, ran.error["code"]) == (2, "qdrant_server_unknown")
    with scratch.sql() as server:
        server.execute("UPDATE aeterna_ops.shard SET status = 'offline'")
    assert scratch.cli("tenant", "list").code == 0
