"""What a table is, told by its columns, its keys and the rules."""

from dataclasses import replace

import pytest

from aeterna_cli.datamap.model import DataMap, told
from aeterna_cli.datamap.tables import map_tables
from aeterna_cli.stores.base.catalogue import Catalogue, Column, Role
from tests.unit.datamap.given import mapped, table

COMPANIES = table("companies", "id:uuid tenant_id:uuid", {"tenant_id": "tenants.id"})
TEAMS = table("teams", "id:uuid company_id:uuid", {"company_id": "companies.id"})
USERS = table("users", "id:uuid default_tenant_id:uuid?", {"default_tenant_id": "tenants.id"})
UNITS = table("organizational_units", "id tenant_id")
PERSON = {"name": "users", "references": [{"column": "id", "to": ["memberships.user_id"]}]}


def ways(map_: DataMap) -> dict[str, tuple[str, str]]:
    return {
        label: (one.scope, told(one.selection))
        for label, one in map_.tables.items()
        if label != "tenants"
    }


@pytest.mark.parametrize("kind", ["uuid", "text", "character varying(255)"])
def test_a_tenant_column_of_any_type_is_direct(kind: str) -> None:
    one = table("things", "id:uuid")
    columns = (*one.columns, Column("tenant_id", kind, False))
    found = mapped(replace(one, columns=columns))
    assert ways(found)["things"] == ("direct", "tenant_id")


def test_names_of_tenant_columns_tell_audit_and_people() -> None:
    found = mapped(
        table("log", "id:uuid acting_as_tenant_id:uuid?", {"acting_as_tenant_id": "tenants.id"}),
        USERS,
        table("odd", "id:uuid customer:uuid", {"customer": "tenants.id"}),
    )
    assert ways(found) == {
        "log": ("audit", "acting_as_tenant_id"),
        "users": ("person", "default_tenant_id"),
        "odd": ("direct", "customer"),
    }
    assert found.tables["users"].shared
    assert not found.tables["odd"].shared


def test_chains_take_the_shortest_way_and_never_go_through_people() -> None:
    members = table(
        "memberships",
        "id:uuid user_id:uuid team_id:uuid",
        {"team_id": "teams.id", "user_id": "users.id"},
    )
    found = mapped(COMPANIES, TEAMS, USERS, members, rules=[PERSON])
    assert ways(found)["memberships"] == ("chain", "team_id -> teams.id")
    assert ways(found)["users"] == ("person", "default_tenant_id or id -> memberships.user_id")
    assert found.order.select_first == ("users",)


def test_a_way_that_may_be_null_is_not_the_only_one() -> None:
    patterns = table(
        "patterns",
        "id:uuid company_id:uuid? team_id:uuid?",
        {"company_id": "companies.id", "team_id": "teams.id"},
    )
    found = mapped(COMPANIES, TEAMS, patterns)
    assert ways(found)["patterns"] == ("chain", "company_id -> companies.id or team_id -> teams.id")
    certain = table("certain", "id:uuid company_id:uuid team_id:uuid", {
        "team_id": "teams.id", "company_id": "companies.id",
    })  # fmt: skip
    assert ways(mapped(COMPANIES, TEAMS, certain))["certain"][1] == "company_id -> companies.id"


def test_what_only_people_lead_to_may_have_several_owners() -> None:
    found = mapped(USERS, table("settings", "id:uuid user_id:uuid", {"user_id": "users.id"}))
    assert ways(found)["settings"] == ("person", "user_id -> users.id")
    assert found.tables["settings"].shared


def test_a_tenant_column_that_is_another_tables_key_has_that_tables_values() -> None:
    weights = table("weights", "id tenant_id", {"tenant_id": "organizational_units.id"})
    found = mapped(UNITS, weights)
    assert ways(found)["weights"] == ("direct", "tenant_id -> organizational_units.id")
    assert found.insert_order.index("organizational_units") < found.insert_order.index("weights")


def test_soft_references_compare_what_the_types_allow() -> None:
    rule = {
        "name": "roles",
        "references": [
            {
                "column": "scope",
                "to": [
                    "companies.id",
                    "organizational_units.id",
                    "organizational_units.id as uuid5",
                    "gone.id",
                ],
            }
        ],
    }
    found = mapped(COMPANIES, UNITS, table("roles", "id:uuid scope:uuid?"), rules=[rule])
    selection = found.tables["roles"].selection
    assert [one.match for one in selection.options] == ["same", "uuid", "uuid5"]  # type: ignore[union-attr]
    text = mapped(COMPANIES, UNITS, table("roles", "id:uuid scope"), rules=[rule])
    selection = text.tables["roles"].selection
    assert [one.match for one in selection.options] == ["text", "same", "uuid5"]  # type: ignore[union-attr]
    assert found.tables["roles"].scope == "soft"
    assert not found.findings


def test_soft_references_in_a_circle_end() -> None:
    rules = [
        {"name": "a", "tenant_columns": ["t"], "references": [{"column": "b", "to": ["b.id"]}]},
        {"name": "b", "references": [{"column": "a", "to": ["a.id"]}]},
    ]
    found = mapped(table("a", "id t b"), table("b", "id a"), rules=rules)
    assert ways(found)["b"] == ("soft", "a -> a.id")
    assert ways(found)["a"] == ("direct", "t")


def test_what_nothing_explains_is_unclassified_and_says_how_to_change_that() -> None:
    island = table("Island.x", "id:uuid", schema="other")
    lost = table("lost", "id:uuid scope:uuid")
    rules = [{"name": "lost", "references": [{"column": "scope", "to": ["gone.id"]}]}]
    found = mapped(island, lost, rules=rules)
    assert [one.label for one in found.unclassified] == ['other."Island.x"', "lost"]
    codes = {(one.code, one.severity, one.subject) for one in found.findings}
    assert ("table_unclassified", "error", 'other."Island.x"') in codes
    assert "datamap.rules" in found.findings[0].mend
    mended = mapped(
        island,
        lost,
        rules=[
            {"name": 'other."Island.x"', "scope": "infrastructure"},
            {"name": "lost", "scope": "derived"},
        ],
    )
    assert not mended.unclassified
    assert not mended.findings
    assert mended.of_tenants == (mended.tables["tenants"],)


def test_an_extensions_tables_are_the_instances() -> None:
    found = mapped(table("spatial", "id", extension="postgis"))
    assert ways(found)["spatial"] == ("infrastructure", "")


def test_rules_that_do_not_fit_are_findings() -> None:
    rules = [
        {
            "name": "organizational_units",
            "tenant_columns": ["owner"],
            "references": [{"column": "id", "to": ["tenants.nope"], "when_null": "never"}],
            "subjects": [{"column": "mail", "kind": "email", "erase": "null"}],
        },
        {"name": "not_there", "tenant_columns": ["x"]},
    ]
    found = mapped(UNITS, rules=rules)
    missing = {one.subject for one in found.findings if one.code == "rule_column_missing"}
    assert missing == {
        "organizational_units.owner",
        "organizational_units.mail",
        "organizational_units.never",
        "tenants.nope",
    }


def test_columns_that_look_like_a_person_want_a_rule() -> None:
    one = table("visits", "id:uuid tenant_id contact_email ip_address shipped")
    found = {f.subject for f in mapped(one).findings if f.code == "subject_unmapped"}
    assert found == {"visits.contact_email", "visits.ip_address"}
    subjects = [
        {"column": "contact_email", "kind": "email", "erase": "null"},
        {"column": "ip_address", "kind": "ip", "erase": "keep", "ground": "fraud"},
    ]
    assert not mapped(one, rules=[{"name": "visits", "subjects": subjects}]).findings


def test_a_table_without_a_key_is_a_finding() -> None:
    found = mapped(table("t", "id tenant_id", primary_key=(), unique=()))
    assert [(one.code, one.severity) for one in found.findings] == [
        ("primary_key_missing", "warning")
    ]


def test_a_database_without_tenants_says_so() -> None:
    found = map_tables(Catalogue("empty", Role("r", False, False)), {})
    assert found.root is None
    assert [one.code for one in found.findings] == ["root_missing"]
