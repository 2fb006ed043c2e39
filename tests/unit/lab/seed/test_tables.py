"""Rows before any database sees them: whose they are, unique where they must be, repeatable."""

import csv
import itertools
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.seed.schemas import SCHEMAS
from aeterna_cli.lab.seed.tables import everything
from aeterna_cli.lab.seed.tables.world import worlds
from aeterna_cli.lab.seed.tenants import HOSTILE, tenants

TABLES = Path(__file__).parents[3] / "data" / "aeterna-tables.tsv"
EXTRA = 40

#: What is unique in a deployment though no tenant knows the others (data model, section 10, 7).
GLOBAL = {
    "memory_entries": ("id",),
    "knowledge_items": ("id",),
    "organizational_units": ("id",),
    "users": ("id", "email"),
    "tenants": ("id", "slug"),
    "email_domain_patterns": ("domain",),
    "governance_events": ("id", "idempotency_key"),
    "graph_events": ("id",),
    "approval_requests": ("id", "request_number"),
    "tenant_secrets": ("id",),
    "companies": ("id",),
    "agents": ("id",),
}


def rows(seed: int = 1, scale: float = 0.05, extra: int = EXTRA) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for some in everything(seed, tenants(scale, extra), SCHEMAS["complete"]):
        names = some.columns.split()
        assert some.table not in found
        found[some.table] = [dict(zip(names, row, strict=True)) for row in some.rows]
    return found


@pytest.fixture(scope="module")
def written() -> dict[str, list[dict[str, Any]]]:
    return rows()


def test_every_table_of_the_platform_gets_rows(written: dict[str, list[dict[str, Any]]]) -> None:
    with TABLES.open(encoding="utf-8") as lines:
        expected = {line["table"] for line in csv.DictReader(lines, delimiter="\t")}
    assert len(expected) == 63
    assert set(written) == expected
    assert [table for table, some in written.items() if not some] == []


def test_several_tenants_have_rows_wherever_a_tenant_is_named(
    written: dict[str, list[dict[str, Any]]],
) -> None:
    for table, some in written.items():
        if "tenant_id" in some[0]:
            assert len({row["tenant_id"] for row in some}) > 5, table


def test_no_two_tenants_share_an_id_that_must_be_unique(
    written: dict[str, list[dict[str, Any]]],
) -> None:
    for table, columns in GLOBAL.items():
        for column in columns:
            values = [row[column] for row in written[table]]
            assert len(values) == len(set(values)), (table, column)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    first, again, other = rows(extra=2), rows(extra=2), rows(seed=2, extra=2)
    assert first == again
    assert first["memory_entries"] != other["memory_entries"]
    assert first["tenant_secrets"] != other["tenant_secrets"]
    assert {row["id"] for row in first["users"]}.isdisjoint(row["id"] for row in other["users"])


def test_no_row_leaves_its_moment_to_the_servers_clock(
    written: dict[str, list[dict[str, Any]]],
) -> None:
    """A default of now() would make two seeds differ."""
    moments = {"created_at", "updated_at", "granted_at", "applied_at", "executed_at", "notified_at"}
    for table, some in written.items():
        for name in moments & set(some[0]):
            assert all(isinstance(row[name], datetime) for row in some), (table, name)


def test_the_vacant_tenant_has_nothing_but_its_own_row(
    written: dict[str, list[dict[str, Any]]],
) -> None:
    vacant = next(tenant for tenant in tenants(1) if tenant.vacant)
    names = {vacant.id(1), str(vacant.id(1)), vacant.slug}
    for table, some in written.items():
        mine = [row for row in some if names & set(_texts(row))]
        assert len(mine) == (1 if table == "tenants" else 0), table


def _texts(row: dict[str, Any]) -> Iterator[Any]:
    return (value for value in row.values() if not isinstance(value, dict | list))


def test_tenants_named_by_slug_are_so_in_text_columns_only(
    written: dict[str, list[dict[str, Any]]],
) -> None:
    for slug in ("legacy-gmbh", HOSTILE):
        tenant = next(tenant for tenant in tenants(1) if tenant.slug == slug)
        assert any(row["tenant_id"] == slug for row in written["memory_entries"])
        assert any(row["tenant_id"] == tenant.id(1) for row in written["companies"])
        uuid_text = str(tenant.id(1))
        assert all(row["tenant_id"] != uuid_text for row in written["memory_entries"])


def test_one_tenant_stands_under_both_its_names(written: dict[str, list[dict[str, Any]]]) -> None:
    large = next(tenant for tenant in tenants(1) if tenant.slug == "large-corp")
    names = {row["tenant_id"] for row in written["governance_events"]}
    assert {large.slug, large.key(1)} <= names


def test_one_person_works_for_two_tenants(written: dict[str, list[dict[str, Any]]]) -> None:
    acme, _other, globex = worlds(1, tenants(0.05))[:3]
    person = acme.person(0)
    teams = {row["team_id"] for row in written["memberships"] if row["user_id"] == person.id}
    assert teams == {acme.team(0), globex.team(0)}
    roles = [row for row in written["user_roles"] if row["user_id"] == str(person.id)]
    assert {acme.key, globex.key, "__root__", "default"} == {row["tenant_id"] for row in roles}


def test_agents_are_delegated_by_persons_and_by_agents(
    written: dict[str, list[dict[str, Any]]],
) -> None:
    agents = {row["id"]: row for row in written["agents"]}
    by_agent = [row for row in agents.values() if row["delegated_by_agent_id"]]
    assert by_agent
    assert all(agents[row["delegated_by_agent_id"]]["delegated_by_user_id"] for row in by_agent)
    lost = [row for row in agents.values() if row["tenant_id"] is None]
    assert lost
    assert all(row["status"] == "revoked" for row in lost)


def test_documents_hold_personal_data(written: dict[str, list[dict[str, Any]]]) -> None:
    mail = worlds(1, tenants(0.05))[0].person(0).email
    for table, column in (
        ("sync_state", "data"),
        ("organizational_units", "metadata"),
        ("human_confirmation_requests", "agent_context"),
        ("graph_events", "payload"),
    ):
        assert any(mail in str(row[column]) for row in written[table]), table
    copied = itertools.chain(
        *(row["old_values"].values() for row in written["referential_audit_log"])
    )
    assert any("@acme-corp.example" in str(value) for value in copied)


def test_some_rows_are_softly_deleted(written: dict[str, list[dict[str, Any]]]) -> None:
    for table in ("memory_entries", "projects", "users", "agents"):
        gone = [row for row in written[table] if row["deleted_at"] is not None]
        assert 0 < len(gone) < len(written[table]), table
