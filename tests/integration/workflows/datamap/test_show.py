"""``datamap show``: every table of the platform as our notes of it say."""

import pytest

from tests.integration.datamap_facts import facts, names, scope
from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration


def test_all_tables_are_classified_as_they_are(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "show").data
    known = facts()
    assert len(known) == 63
    assert data["unclassified"] == []
    assert {one["table"]: one["scope"] for one in data["tables"]} == {
        table: scope(row) for table, row in known.items()
    }
    assert sorted(data["insert_order"]) == sorted(known)
    assert data["insert_order"][0] == "tenants"
    assert data["select_first"] == ["users"]
    assert (data["collections"], data["keys"], data["objects"]) == ([], [], [])


def test_keys_and_persons_are_as_the_notes_say(practice: Practice) -> None:
    tables = {one["table"]: one for one in practice.cli.ok("datamap", "show").data["tables"]}
    for table, row in facts().items():
        one = tables[table]
        key = [name.strip().strip('"') for name in row["pk"].strip("()").split(",")]
        assert one["primary_key"] == key, table
        about = {subject["column"] for subject in one["subjects"]}
        told, documents = names(row["subject_columns"]), names(row["jsonb"])
        assert told <= about, table
        assert about - told <= documents, table
        whole = {subject["column"] for subject in one["subjects"] if not subject["path"]}
        assert whole == told, table
        security = {"-": "off", "on": "on", "FORCE": "forced"}[row["rls"]]
        assert one["row_security"] == security, table


def test_parents_are_filled_before_their_children(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "show").data
    place = {table: number for number, table in enumerate(data["insert_order"])}
    checked = 0
    for one in data["tables"]:
        for key in one["foreign_keys"]:
            parent = key.partition(" -> ")[2].partition(" ")[0]
            if parent != one["table"]:
                assert place[parent] < place[one["table"]]
                checked += 1
    assert checked >= 35


@pytest.mark.parametrize("form", ["table", "csv", "ndjson"])
def test_one_table_with_everything_known_of_it(practice: Practice, form: str) -> None:
    said = practice.cli.ok("datamap", "show", "--table", "users", "-o", form).out
    for text in ("memberships.user_id", "default_tenant_id", "email", "audit_users"):
        assert text in said
    assert "device_id" not in said  # of another table


def test_another_store_has_no_tables(practice: Practice) -> None:
    assert practice.cli.ok("datamap", "show", "--store", "redis").data["tables"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--table", "userz"), "table_unknown"),
        (("--table", "'; DROP TABLE users; --"), "table_unknown"),
        (("--store", "oracle"), "store_unknown"),
    ],
)
def test_what_is_not_there_is_wrong_usage(
    practice: Practice, words: tuple[str, ...], code: str
) -> None:
    ran = practice.cli("datamap", "show", *words)
    assert (ran.code, ran.error["code"]) == (2, code)
    if "userz" in words:
        assert "users" in ran.error["hint"]
