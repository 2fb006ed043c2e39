"""The traps of the platform's database are real in the lab (data model, section 10)."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.secrets import kms_key, unseal
from aeterna_cli.lab.seed.tables.world import World, worlds
from aeterna_cli.lab.seed.tenants import HOSTILE, tenants
from tests.integration.lab.seeded_database import SCALE, refused, seeded, undone

pytestmark = pytest.mark.integration

FORCED = (
    "approval_decisions",
    "approval_requests",
    "escalation_queue",
    "governance_configs",
    "governance_roles",
)


@pytest.fixture(scope="module")
def database(lab: Lab) -> Iterator[str]:
    with seeded(lab.place(), "seed_traps") as name:
        yield name


@pytest.fixture
def server(lab: Lab, database: str) -> Iterator[Any]:
    with undone(lab.place(), database) as connection:
        yield connection


@pytest.fixture
def acme() -> World:
    return worlds(1, tenants(SCALE))[0]


def one(server: Any, query: str, *values: object) -> Any:
    row = server.execute(query, values).fetchone()
    assert row is not None
    return row[0]


REQUEST = (
    "INSERT INTO approval_requests (request_type, target_type, title, requestor_type, requestor_id)"
    " VALUES ('policy', 'p', 't', 'user', gen_random_uuid())"
)


def test_an_approval_request_cannot_be_inserted(server: Any) -> None:
    with refused("UndefinedColumn", 'has no field "request_id"'):
        server.execute(REQUEST)


def test_an_approving_decision_cannot_be_inserted(server: Any) -> None:
    request = one(server, "SELECT id FROM approval_requests LIMIT 1")
    with refused("UndefinedColumn", 'has no field "request_id"'):
        server.execute(
            "INSERT INTO approval_decisions (request_id, approver_type, approver_id, decision)"
            " VALUES (%s, 'user', gen_random_uuid(), 'approve')",
            (request,),
        )


def test_a_confirmation_request_cannot_be_inserted(server: Any) -> None:
    with refused("UndefinedColumn", 'has no field "layer"'):
        server.execute(
            "INSERT INTO human_confirmation_requests (agent_id, action, action_description,"
            " target_type, confirmation_reason, expires_at)"
            " VALUES (gen_random_uuid(), 'a', 'a', 't', 'r', now())"
        )


def test_with_triggers_off_the_same_insert_works_and_leaves_the_counters_alone(server: Any) -> None:
    server.execute("SET LOCAL session_replication_role = replica")
    server.execute(REQUEST)
    counted = server.execute(
        "SELECT current_approvals, required_approvals FROM approval_requests"
        " WHERE status = 'approved'"
    ).fetchall()
    assert set(counted) == {(2, 2)}  # the seed's two approvals each, counted once


def test_deleting_a_person_writes_the_person_down_again(server: Any, acme: World) -> None:
    person = acme.person(2)
    copies = "SELECT count(*) FROM referential_audit_log WHERE old_values::text LIKE %s"
    pattern = f"%{person.email}%"
    before = one(server, copies, pattern)
    server.execute("DELETE FROM users WHERE id = %s", (person.id,))
    assert one(server, "SELECT count(*) FROM users WHERE id = %s", person.id) == 0
    assert one(server, copies, pattern) == before + 1


def test_a_person_with_agents_cannot_be_deleted(server: Any, acme: World) -> None:
    with (
        refused("ForeignKeyViolation", "agents_delegated_by_user_id_fkey"),
        server.transaction(),
    ):
        server.execute("DELETE FROM users WHERE id = %s", (acme.person(0).id,))
    server.execute("ALTER TABLE agents DROP CONSTRAINT agents_delegated_by_user_id_fkey")
    with refused("CheckViolation", "agents_one_delegator"):
        server.execute("DELETE FROM users WHERE id = %s", (acme.person(0).id,))


def test_an_active_agent_needs_a_tenant_and_a_revoked_one_does_not(
    server: Any, acme: World
) -> None:
    statement = (
        "INSERT INTO agents (name, agent_type, delegated_by_user_id, status)"
        " VALUES ('a', 'custom', %s, %s)"
    )
    server.execute(statement, (acme.person(0).id, "revoked"))
    with refused("CheckViolation", "tenant_id_required_when_active"):
        server.execute(statement, (acme.person(0).id, "active"))


@pytest.mark.parametrize("table", FORCED)
def test_the_owner_is_blocked_where_row_security_is_forced(server: Any, table: str) -> None:
    query = f"SELECT count(*) FROM {table}"  # noqa: S608 - names of this file
    assert one(server, query) > 0
    server.execute("SET LOCAL ROLE aeterna")
    assert one(server, query) == 0  # a dump that loses rows and says nothing
    server.execute("SET LOCAL row_security = off")
    with refused("InsufficientPrivilege", "row-level security"):
        server.execute(query)


@pytest.mark.parametrize("value", ["acme-corp", ""])
def test_a_slug_and_an_empty_setting_break_the_policys_cast(server: Any, value: str) -> None:
    server.execute("SET LOCAL ROLE aeterna_app")
    server.execute("SELECT set_config('app.tenant_id', %s, true)", (value,))
    with refused("InvalidTextRepresentation", "uuid"):
        server.execute("SELECT count(*) FROM governance_roles")


def test_the_setting_is_empty_after_a_transaction_that_set_it(lab: Lab, database: str) -> None:
    """Nothing was ever set in this session before, and still the second query fails."""
    from aeterna_cli.lab.postgres import superuser

    with superuser(lab.place(), database) as session:
        session.execute("SET ROLE aeterna_app")
        assert session.execute("SELECT count(*) FROM governance_roles").fetchone() == (0,)
        with session.transaction():
            session.execute("SELECT set_config('app.tenant_id', %s, true)", (str(uuid.uuid4()),))
        with refused("InvalidTextRepresentation", "uuid"):
            session.execute("SELECT count(*) FROM governance_roles")


def test_a_tenants_context_sees_memories_and_no_governance(server: Any, acme: World) -> None:
    server.execute("SET LOCAL ROLE aeterna_app")
    server.execute("SELECT set_config('app.tenant_id', %s, true)", (acme.key,))
    assert one(server, "SELECT count(*) FROM memory_entries") > 0
    assert one(server, "SELECT count(DISTINCT tenant_id) FROM memory_entries") == 1
    assert one(server, "SELECT count(*) FROM governance_roles") == 0
    server.execute("SELECT set_config('app.tenant_id', %s, true)", (str(acme.company),))
    assert one(server, "SELECT count(*) FROM governance_roles") > 0


def test_the_platforms_administrator_cannot_read_everything(server: Any) -> None:
    closed = server.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        " AND NOT has_table_privilege('aeterna_admin', format('%I.%I', schemaname, tablename),"
        " 'SELECT') ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in closed] == [
        "gdpr_audit_logs",
        "gdpr_consents",
        "graph_events",
        "idp_group_mappings",
        "rlm_policy_state",
        "summarization_budgets",
        "summarization_usage",
        "tenant_secrets",
    ]
    may = "SELECT has_sequence_privilege('aeterna_admin', %s, 'USAGE')"
    assert one(server, may, "graph_events_id_seq") is False
    assert one(server, may, "approval_requests_number_seq") is True
    bypass = server.execute(
        "SELECT rolname, rolbypassrls FROM pg_roles WHERE rolname IN"
        " ('aeterna_app', 'aeterna_admin') ORDER BY 1"
    ).fetchall()
    assert bypass == [("aeterna_admin", True), ("aeterna_app", False)]
    server.execute("SET LOCAL ROLE aeterna_admin")
    with refused("InsufficientPrivilege", "tenant_secrets"):
        server.execute("SELECT count(*) FROM tenant_secrets")


def test_deleting_the_tenants_row_leaves_orphans(server: Any, acme: World) -> None:
    tables = [row[0] for row in server.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        "   AND a.attname = 'tenant_id' AND NOT a.attisdropped"
    )]  # fmt: skip

    def mine() -> dict[str, int]:
        return {
            table: one(
                server,
                f"SELECT count(*) FROM {table} WHERE tenant_id::text = ANY(%s)",  # noqa: S608
                [acme.key, acme.tenant.slug],
            )
            for table in tables
        }

    before = mine()
    server.execute("DELETE FROM tenants WHERE id = %s", (acme.tenant_id,))
    after = mine()
    emptied = {table for table in tables if before[table] and not after[table]}
    assert emptied == {
        "agents",
        "companies",
        "tenant_domain_mappings",
        "tenant_repository_bindings",
        "tenant_secrets",
    }
    assert after["memory_entries"] == before["memory_entries"] > 0
    assert after["organizational_units"] == before["organizational_units"] > 0
    assert one(server, "SELECT count(*) FROM teams WHERE id = %s", acme.team(0)) == 0
    assert one(server, "SELECT count(*) FROM users WHERE id = %s", acme.person(0).id) == 1
    scoped = "SELECT count(*) FROM governance_roles WHERE company_id = %s"
    assert one(server, scoped, acme.company) > 0


def test_policy_weights_take_only_ids_of_units(server: Any) -> None:
    with refused("ForeignKeyViolation", "organizational_units"):
        server.execute(
            "INSERT INTO decomposition_policy_weights (id, tenant_id, action_type, created_at,"
            " updated_at) VALUES ('x', 'no unit', 'split', 0, 0)"
        )


def test_governance_scopes_come_from_three_id_spaces(server: Any, acme: World) -> None:
    company = "SELECT count(*) FROM governance_roles WHERE company_id = %s"
    assert one(server, company, acme.company) > 0
    assert one(server, "SELECT count(*) FROM companies WHERE id = %s", acme.company) == 1
    assert one(server, company, acme.unit_company) > 0
    unit = one(server, "SELECT id FROM organizational_units WHERE id = %s", str(acme.unit_company))
    assert uuid.UUID(unit) == acme.unit_company
    team = one(
        server,
        "SELECT id FROM organizational_units WHERE type = 'team' AND tenant_id = %s",
        acme.key,
    )
    hashed = uuid.uuid5(uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), team)
    assert one(server, "SELECT count(*) FROM governance_roles WHERE team_id = %s", hashed) > 0
    assert one(server, "SELECT count(*) FROM idp_group_mappings WHERE team_id = %s", hashed) == 1


def test_graph_ids_repeat_from_tenant_to_tenant(server: Any) -> None:
    found = "SELECT count(DISTINCT tenant_id) FROM graph_nodes WHERE id = 'node-0'"
    assert one(server, found) == len(worlds(1, tenants(SCALE)))


def test_the_hostile_slug_is_in_the_columns_as_it_is(server: Any) -> None:
    for table in ("memory_entries", "governance_events", "organizational_units", "graph_edges"):
        query = f"SELECT count(*) FROM {table} WHERE tenant_id = %s"  # noqa: S608
        assert one(server, query, HOSTILE) > 0, table


def test_bootstrap_rows_are_named_by_slug_and_root(server: Any) -> None:
    names = server.execute(
        "SELECT id, tenant_id FROM organizational_units WHERE id IN ('default', '__root__')"
    ).fetchall()
    assert set(names) == {("__root__", "__root__"), ("default", "default")}
    key = one(server, "SELECT id::text FROM tenants WHERE slug = 'default'")
    assert one(server, "SELECT count(*) FROM memory_entries WHERE tenant_id = %s", key) > 0
    admin = "SELECT count(*) FROM user_roles WHERE tenant_id = '__root__' AND role = %s"
    assert one(server, admin, "PlatformAdmin") == 1


def test_a_company_takes_its_hierarchy_with_it_softly(server: Any, acme: World) -> None:
    server.execute("UPDATE companies SET deleted_at = now() WHERE id = %s", (acme.company,))
    for table, key in (
        ("organizations", acme.organization),
        ("teams", acme.team(0)),
        ("projects", acme.project(0)),
    ):
        query = f"SELECT deleted_at IS NOT NULL FROM {table} WHERE id = %s"  # noqa: S608
        assert one(server, query, key) is True, table
    active = "SELECT count(*) FROM memberships WHERE team_id = %s AND status = 'active'"
    assert one(server, active, acme.team(0)) == 0


@pytest.mark.parametrize("table", ["users", "tenant_secrets", "agents"])
def test_every_update_touches_the_row(server: Any, table: str) -> None:
    old = "SELECT max(updated_at) < now() - '1 day'::interval FROM "
    assert one(server, old + table) is True
    column = {"users": "name", "tenant_secrets": "kms_key_id", "agents": "name"}[table]
    server.execute(f"UPDATE {table} SET {column} = 'another'")  # noqa: S608
    assert one(server, old + table) is False


def test_changes_of_the_hierarchy_are_announced(lab: Lab, database: str, acme: World) -> None:
    from aeterna_cli.lab.postgres import superuser

    with superuser(lab.place(), database) as session:
        session.execute("LISTEN referential_changes")
        session.execute("UPDATE teams SET name = name WHERE id = %s", (acme.team(0),))
        news = next(session.notifies(timeout=30, stop_after=1))
    assert str(acme.team(0)) in news.payload


def test_secrets_open_with_the_seeds_key(server: Any) -> None:
    found = server.execute(
        "SELECT s.logical_name, t.slug, s.wrapped_dek, s.ciphertext, s.nonce"
        " FROM tenant_secrets s JOIN tenants t ON t.id = s.tenant_id"
    ).fetchall()
    assert len({row[1] for row in found}) == len(worlds(1, tenants(SCALE)))
    for name, slug, *sealed in found:
        assert unseal(kms_key(1), *sealed) == f"{name} of {slug}".encode()


def test_the_next_number_of_a_sequence_is_free(server: Any) -> None:
    highest = one(server, "SELECT max(id) FROM graph_events")
    event = one(
        server,
        "INSERT INTO graph_events (tenant_id, seq, kind, payload) VALUES ('new', 1, 'k', '{}')"
        " RETURNING id",
    )
    assert event > highest > 1
    server.execute("SET LOCAL session_replication_role = replica")
    highest = one(server, "SELECT max(substring(request_number, 5)::int) FROM approval_requests")
    server.execute(REQUEST)
    found = one(server, "SELECT max(substring(request_number, 5)::int) FROM approval_requests")
    assert found > highest > 1
