"""``restore run --tenant-id``: the tenant as it was, everybody else as they are."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aeterna_cli.lab.seed.tenants import HOSTILE
from aeterna_cli.stores.postgres_moves import PostgresMoves
from aeterna_cli.stores.qdrant_slice import QdrantSlice
from aeterna_cli.workflows.tenant.whereabouts import find
from tests.integration.deployment import Practice
from tests.integration.workflows import tenant_damage
from tests.integration.workflows.datamap.foreign import Foreign, foreign
from tests.integration.workflows.tenant_lab import look

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def saved(practice: Practice, tenant: str) -> str:
    """A backup of the tenant; exit 9 where a code search collection may be its twin's."""
    assert practice.cli("backup", "create", "--tenant-id", tenant).code in (0, 9)
    listed = practice.cli.ok("backup", "list", "--tenant-id", tenant).data
    return str(listed[-1]["backup"])


def restored(practice: Practice, tenant: str, backup: str, *words: str) -> dict[str, Any]:
    data: dict[str, Any] = practice.cli.ok(
        "restore", "run", "--tenant-id", tenant, "--backup", backup, *words
    ).data
    return data


@pytest.mark.parametrize("tenant", ["acme-corp", HOSTILE])
def test_what_was_damaged_is_as_it_was(practice: Practice, tenant: str) -> None:
    before = look(practice, tenant)
    backup = saved(practice, tenant)
    tenant_damage.damage(practice, tenant)
    damaged = look(practice, tenant)
    assert damaged.mine != before.mine
    assert damaged.others == before.others
    plan = practice.cli.ok(
        "restore", "plan", "--tenant-id", tenant, "--backup", backup, "--mode", "replace"
    ).data
    assert plan["conflicts"] == 0
    assert look(practice, tenant) == damaged
    done = restored(practice, tenant, backup, "--mode", "replace", "--confirm", tenant)
    assert not done["drift"]
    assert done["tables"] == plan["tables"]
    assert look(practice, tenant) == before


def test_mode_missing_only_adds(practice: Practice) -> None:
    before, backup = look(practice, "globex"), saved(practice, "globex")
    tenant_damage.damage(practice, "globex")
    damaged = look(practice, "globex")
    assert len(damaged.mine) == len(before.mine)  # an object went and one came
    with closing(practice.open()) as place:
        assert tenant_damage.records(place, find(place, "globex")) > 0
    restored(practice, "globex", backup, "--yes")
    found = look(practice, "globex")
    assert found.others == before.others
    assert found.indexes == before.indexes
    assert found.mine["memory_entries"].rows == before.mine["memory_entries"].rows
    assert found.mine["companies"] == damaged.mine["companies"]  # changed, not missing
    assert found.mine["memories-shared"].points == before.mine["memories-shared"].points + 1
    assert found.mine["knowledge_items"] == before.mine["knowledge_items"]
    assert found.mine.keys() == before.mine.keys() | damaged.mine.keys()
    restored(practice, "globex", backup, "--mode", "replace", "--confirm", "globex")
    assert look(practice, "globex") == before


def test_replace_wants_the_slug_typed(practice: Practice) -> None:
    backup = saved(practice, "initech")
    words = ("restore", "run", "--tenant-id", "initech", "--backup", backup, "--mode", "replace")
    for more in ((), ("--yes",), ("--confirm", "practice")):
        assert practice.cli(*words, *more).code == 7


def test_replace_is_refused_where_a_collection_may_hide_points(practice: Practice) -> None:
    """And only there: what adds nothing but what is missing, or touches no points, goes on."""
    backup = saved(practice, "initech")
    words = ("restore", "run", "--tenant-id", "initech", "--backup", backup)
    replace = (*words, "--mode", "replace", "--confirm", "initech")
    with foreign(practice, Foreign(collections=("ledger_vectors",))):
        refused = practice.cli(*replace)
        assert (refused.code, refused.error["code"]) == (7, "collections_unclassified")
        assert refused.error["details"]["collections"] == ["ledger_vectors"]
        assert 'pattern = "ledger_vectors"' in refused.error["hint"]
        practice.cli.ok(*words, "--yes")
        practice.cli.ok(*replace, "--store", "postgres")
    practice.cli.ok(*replace)


def test_a_moment_between_two_changes_comes_out_of_a_whole_backup(practice: Practice) -> None:
    """The slice is what it was then: not what the backup held, and not what came later."""
    practice.backup()
    with closing(practice.open()) as place:
        identity = find(place, "acme_corp").tenant.id
    before = look(practice, "acme_corp")
    with practice.sql() as server:
        server.execute("SET session_replication_role = replica")
        server.execute("UPDATE companies SET name = 'first' WHERE tenant_id = %s", (identity,))
        (moment,) = server.execute("SELECT clock_timestamp()").fetchone()
        server.execute("UPDATE companies SET name = 'second' WHERE tenant_id = %s", (identity,))
        server.execute("DELETE FROM memory_entries WHERE tenant_id = %s", (identity,))
    practice.cli.ok("backup", "wal", "receive", "--once")
    words = ("--at", moment.astimezone(UTC).isoformat(), "--mode", "replace")
    refused = practice.cli(
        "restore", "run", "--tenant-id", "acme_corp", *words, "--confirm", "acme_corp"
    )
    assert (refused.code, refused.error["code"]) == (7, "stores_would_differ")
    done = practice.cli.ok(
        "restore", "run", "--tenant-id", "acme_corp", *words, "--store", "postgres",
        "--confirm", "acme_corp",
    ).data  # fmt: skip
    told = datetime.fromisoformat(done["moment"])  # in milliseconds
    assert timedelta() <= moment - told < timedelta(milliseconds=1)
    with practice.sql() as server:
        names = server.execute(
            "SELECT DISTINCT name FROM companies WHERE tenant_id = %s", (identity,)
        ).fetchall()
    assert names == [("first",)]
    found = look(practice, "acme_corp")
    assert found.others == before.others
    assert found.mine["memory_entries"] == before.mine["memory_entries"]
    practice.cli.ok(  # the whole backup's own moment, every store
        "restore", "run", "--tenant-id", "acme_corp", "--mode", "replace", "--confirm", "acme_corp"
    )
    assert look(practice, "acme_corp") == before


def test_somebody_elses_point_is_never_overwritten(practice: Practice) -> None:
    """An id that was saved belongs to another tenant by now: refused before anything is written."""
    backup = saved(practice, "globex")
    before = look(practice, "globex")
    with closing(practice.open()) as place:
        where, other = find(place, "globex"), find(place, "acme-corp").tenant
        (selection,) = [
            one
            for one in where.selections(place.qdrant.describe()).mine
            if one.collection == "memories-shared"
        ]
        with QdrantSlice(place.profile.qdrant) as server:
            first = next(iter(server.points(selection)))
            server.delete(selection, [str(first["id"])])
            payload = {**first["payload"], "tenant_id": other.id}
            taken = {**first, "payload": payload, "shard_key": "acme-corp"}
            server.write("memories-shared", [taken], only_new=True)
    practice_rows = look(practice, "globex").mine["memory_entries"]
    with practice.sql() as server:
        server.execute("SET session_replication_role = replica")
        server.execute("DELETE FROM knowledge_items WHERE tenant_id = %s", (where.tenant.id,))
    ran = practice.cli(
        "restore", "run", "--tenant-id", "globex", "--backup", backup, "--mode", "replace",
        "--confirm", "globex",
    )  # fmt: skip
    assert ran.code == 7
    found = look(practice, "globex")
    assert found.mine["knowledge_items"].rows == 0
    assert found.mine["memory_entries"] == practice_rows
    with closing(practice.open()) as place, QdrantSlice(place.profile.qdrant) as server:
        mine = [
            one
            for one in find(place, "acme-corp").selections(place.qdrant.describe()).mine
            if one.collection == "memories-shared"
        ]
        server.delete(mine[0], [str(first["id"])])
    restored(practice, "globex", backup, "--mode", "replace", "--confirm", "globex")
    assert look(practice, "globex") == before


def test_a_tenant_that_is_gone_comes_back(practice: Practice) -> None:
    """Its own row, all below it, its collection and its keys; the backup says who it was."""
    from psycopg import sql

    before, backup = look(practice, "initech"), saved(practice, "initech")
    with closing(practice.open()) as place:
        where = find(place, "initech")
        with practice.sql() as server:
            server.execute("SET session_replication_role = replica")
            for table in reversed(where.map.of_tenants):
                if "tenant_id" in [one.name for one in table.columns]:
                    deletion = sql.SQL("DELETE FROM {} WHERE tenant_id::text = %s")
                    server.execute(deletion.format(sql.Identifier(table.name)), (where.tenant.id,))
            server.execute("DELETE FROM tenants WHERE id = %s", (where.tenant.id,))
        place.qdrant._http.call("DELETE", "/collections/aeterna_initech")
    ran = practice.cli("restore", "plan", "--tenant-id", "initech")
    assert (ran.code, ran.error["code"]) == (7, "tenant_unknown")
    restored(practice, "initech", backup, "--mode", "replace", "--confirm", "initech")
    assert look(practice, "initech") == before


def test_a_role_that_would_see_only_some_rows_is_refused_with_the_statement(
    practice: Practice,
) -> None:
    """Some of the platform's tables force row security, for their owner too."""
    backup = saved(practice, "initech")
    before = look(practice, "initech")
    with practice.sql() as server:
        server.execute("ALTER ROLE aeterna_restore NOBYPASSRLS")
    try:
        ran = practice.cli("restore", "run", "--tenant-id", "initech", "--backup", backup, "--yes")
    finally:
        with practice.sql() as server:
            server.execute("ALTER ROLE aeterna_restore BYPASSRLS")
    assert (ran.code, ran.error["code"]) == (6, "rows_hidden")
    assert ran.error["next_steps"] == ['ALTER ROLE "aeterna_restore" BYPASSRLS']
    assert look(practice, "initech") == before


def test_not_while_the_tenant_is_moving(practice: Practice) -> None:
    backup = saved(practice, "initech")
    with closing(practice.open()) as place:
        place.placement.ensure_schema()
        PostgresMoves(place.profile.postgres).ensure_schema()
        identity = find(place, "initech").tenant.id
    with practice.sql() as server:
        server.execute(
            "INSERT INTO aeterna_ops.tenant_move (id, tenant, source, target, contract, phase)"
            " VALUES (gen_random_uuid(), %s, '{}', '{}', 'dual', 'copy')",
            (identity,),
        )
    try:
        ran = practice.cli("restore", "plan", "--tenant-id", "initech", "--backup", backup)
    finally:
        with practice.sql() as server:
            server.execute("DELETE FROM aeterna_ops.tenant_move WHERE tenant = %s", (identity,))
    assert (ran.code, ran.error["code"]) == (3, "tenant_is_moving")
