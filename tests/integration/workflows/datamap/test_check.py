"""``datamap check``: what is not classified, not visible or not as the rules say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.datamap import privileges
from aeterna_cli.errors import AuthenticationError
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import superuser
from aeterna_cli.workflows.datamap.build import build
from tests.command_line import CommandLine
from tests.integration.deployment import Practice, forget_strangers, practise
from tests.integration.tenant_database import tenant_database

pytestmark = pytest.mark.integration

RULES = """
[[table]]
name = "invoices"
tenant_columns = ["customer"]
subjects = [{ column = "billing_email", kind = "email", erase = "null" }]

[[table]]
name = "invoice_lines"
references = [{ column = "invoice", to = ["invoices.number"] }]

[[table]]
name = '"Odd.one"'
scope = "infrastructure"
"""
OWN = """
CREATE TABLE invoices (number text PRIMARY KEY, customer text NOT NULL, billing_email text);
CREATE TABLE invoice_lines (id bigint PRIMARY KEY, invoice text NOT NULL);
CREATE TABLE "Odd.one" (id int PRIMARY KEY);
"""


@pytest.fixture(scope="module")
def database(lab: Lab) -> Iterator[str]:
    with tenant_database(lab) as name:
        with superuser(lab.place(), name) as server:
            server.execute(OWN)
        yield name


def at(
    lab: Lab, cli: CommandLine, folder: Path, patch: pytest.MonkeyPatch, **sections: Any
) -> Practice:
    folder.mkdir(exist_ok=True)
    forget_strangers(lab)
    return practise(lab, cli, folder, patch, **sections)


def codes(data: dict[str, Any], *severities: str) -> set[tuple[str, str]]:
    wanted = severities or ("error", "warning")
    found = (one for one in data["findings"] if one["severity"] in wanted)
    return {(one["code"], one["subject"]) for one in found}


def test_the_labs_own_database_is_well(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "check").data
    assert (data["errors"], data["warnings"]) == (0, 0)
    assert data["scopes"]["direct"] >= 38
    assert codes(data, "info") == {
        ("unwritable", "privileges"),
        ("tenant_field_unindexed", "memory_embeddings"),
        ("collection_name_lossy", "codesearch_acme_corp_api"),
    }
    assert {(one["store"], one["name"], one["judged"]) for one in data["stores"]} == {
        ("postgres", "", "all"), ("qdrant", "", "all"), ("redis", "", "all"),
        ("objects", "application", "all"),
    }  # fmt: skip
    assert all(one["seen"] == one["classified"] > 0 for one in data["stores"])


def test_tables_of_ones_own_want_rules_and_rules_are_enough(
    lab: Lab, database: str, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = at(lab, cli, tmp_path / "a", monkeypatch, postgres={"database": database})
    ran = here.cli("datamap", "check")
    assert (ran.code, ran.error["code"]) == (8, "datamap_findings")
    assert codes(ran.data) == {
        ("table_unclassified", '"Odd.one"'),
        ("table_unclassified", "invoices"),
        ("table_unclassified", "invoice_lines"),
        ("subject_unmapped", "invoices.billing_email"),
    }
    written = tmp_path / "rules.toml"
    written.write_text(RULES, encoding="utf-8")
    mended = at(
        lab, cli, tmp_path / "b", monkeypatch,
        postgres={"database": database}, datamap={"rules": [str(written)]},
    )  # fmt: skip
    assert mended.cli.ok("datamap", "check").data["errors"] == 0
    shown = mended.cli.ok("datamap", "show", "--table", "invoice_lines").data["tables"][0]
    assert (shown["scope"], shown["selection"]) == ("soft", "invoice -> invoices.number")


@pytest.mark.parametrize("text", ["[[table]]\nname = 'users'\nscope = 'mine'", "not toml", "x = 1"])
def test_rules_that_cannot_be_understood_are_refused(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    written = tmp_path / "rules.toml"
    written.write_text(text, encoding="utf-8")
    here = at(lab, cli, tmp_path / "a", monkeypatch, datamap={"rules": [str(written)]})
    ran = here.cli("datamap", "check")
    assert (ran.code, ran.error["code"]) == (2, "rules_invalid")


def test_a_rule_for_a_column_that_is_gone_is_a_finding(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_database(lab) as name:
        with superuser(lab.place(), name) as server:
            server.execute("ALTER TABLE memory_entries RENAME device_id TO device")
        here = at(lab, cli, tmp_path / "a", monkeypatch, postgres={"database": name})
        ran = here.cli("datamap", "check")
    assert ran.code == 8
    assert codes(ran.data) == {("rule_column_missing", "memory_entries.device_id")}


def test_a_role_that_sees_less_is_told_the_sql_that_mends_it(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the application's role, whose rows policies choose; then step by step what was said."""
    with tenant_database(lab) as name:
        password = tmp_path / "password"
        password.write_text("half-blind", encoding="utf-8")
        password.chmod(0o600)
        section = {"database": name, "user": "half_blind", "password_file": str(password)}
        here = at(lab, cli, tmp_path / "a", monkeypatch, postgres=section)
        with superuser(lab.place(), name) as server:
            server.execute("CREATE ROLE half_blind LOGIN PASSWORD 'half-blind'")
            server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO half_blind")
            server.execute("REVOKE SELECT ON users, tenant_secrets FROM half_blind")
            try:
                for code in ("rows_hidden", "missing_privilege"):
                    map_ = build(here.open())
                    with pytest.raises(AuthenticationError) as refused:
                        privileges.require_readable(map_)
                    assert refused.value.code == code
                    judged = here.cli("datamap", "check")
                    assert judged.code == 8
                    assert any(
                        refused.value.next_steps[0] in one["mend"]
                        for one in judged.data["findings"]
                    )
                    for statement in refused.value.next_steps:
                        server.execute(statement.encode())
                privileges.require_readable(build(here.open()))
                with pytest.raises(AuthenticationError) as refused:
                    privileges.require_writable(build(here.open()))
                for statement in refused.value.next_steps:
                    server.execute(statement.encode())
                privileges.require_writable(build(here.open()))
            finally:
                server.execute("DROP OWNED BY half_blind; DROP ROLE half_blind")


def test_even_the_owner_is_refused_where_row_security_is_forced(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_database(lab) as name:
        password = tmp_path / "password"
        password.write_text("owner-x", encoding="utf-8")
        password.chmod(0o600)
        with superuser(lab.place(), name) as server:
            server.execute("CREATE ROLE the_owner LOGIN PASSWORD 'owner-x'")
            server.execute("GRANT CREATE ON SCHEMA public TO the_owner")
            server.execute("REASSIGN OWNED BY aeterna TO the_owner")
            try:
                section = {"database": name, "user": "the_owner", "password_file": str(password)}
                here = at(lab, cli, tmp_path / "a", monkeypatch, postgres=section)
                map_ = build(here.open())
                with pytest.raises(AuthenticationError) as refused:
                    privileges.require_readable(map_)
                assert set(refused.value.details["tables"]) == {
                    "approval_decisions", "approval_requests", "escalation_queue",
                    "governance_configs", "governance_roles",
                }  # fmt: skip
            finally:
                server.execute("REASSIGN OWNED BY the_owner TO aeterna")
                server.execute("DROP OWNED BY the_owner; DROP ROLE the_owner")


@pytest.mark.parametrize(
    ("schema", "unclassified"),
    [
        ("fresh-rc12", set()),
        (
            "no-bypass",  # companies got their tenant later: here nothing tells it
            {
                "companies", "organizations", "teams", "projects", "git_remote_patterns",
                "email_domain_patterns",
            },
        ),
    ],
)  # fmt: skip
def test_databases_that_are_stuck_between_migrations(
    practice: Practice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schema: Any,
    unclassified: set[str],
) -> None:
    lab, cli = practice.lab, practice.cli
    with tenant_database(lab, schema=schema) as name:
        here = at(lab, cli, tmp_path / "a", monkeypatch, postgres={"database": name})
        map_ = build(here.open())
        ran = here.cli("datamap", "check")
    assert 30 <= len(map_.tables) < 63
    expected = {("table_unclassified", table) for table in unclassified}
    assert codes(ran.data) == expected
    assert ran.code == (8 if expected else 0)
    assert map_.tables["governance_audit_log"].scope == "audit"
    assert map_.tables["memory_entries"].scope == "direct"
