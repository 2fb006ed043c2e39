"""The seed's live catalogue is the platform's, as ``tests/data/aeterna-tables.tsv`` tells it."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import superuser
from aeterna_cli.lab.seed.schemas import SCHEMAS, SchemaName
from aeterna_cli.lab.seed.tables import everything
from aeterna_cli.lab.seed.tenants import tenants
from aeterna_cli.stores import postgres_digests as digests
from tests.integration.lab.seeded_database import SCALE, seeded

pytestmark = pytest.mark.integration

TSV = Path(__file__).parents[2] / "data" / "aeterna-tables.tsv"
with TSV.open(encoding="utf-8") as _lines:
    FACTS = {line["table"]: line for line in csv.DictReader(_lines, delimiter="\t")}

_CONSTRAINTS = """
SELECT c.relname, con.contype::text, pg_get_constraintdef(con.oid)
  FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid
 WHERE con.connamespace = 'public'::regnamespace AND con.contype IN ('p', 'u', 'f')
"""
_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
   AND a.attnum > 0 AND NOT a.attisdropped
"""


class Catalogue:
    """What the server says of the seeded database."""

    def __init__(self, server: Any) -> None:
        self.columns: dict[str, dict[str, tuple[str, bool]]] = {}
        for table, column, kind, nullable in server.execute(_COLUMNS):
            self.columns.setdefault(table, {})[column] = (kind, nullable)
        self.constraints: dict[tuple[str, str], list[str]] = {}
        for table, kind, text in server.execute(_CONSTRAINTS):
            self.constraints.setdefault((table, kind), []).append(text)
        self.security = {
            table: "FORCE" if forced else "on" if enabled else "-"
            for table, enabled, forced in server.execute(
                "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
                " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            )
        }

    def of_kind(self, table: str, kind: str) -> list[str]:
        return self.constraints.get((table, kind), [])


@pytest.fixture(scope="module")
def catalogue(lab: Lab) -> Iterator[Catalogue]:
    with seeded(lab.place(), "seed_catalogue") as name, superuser(lab.place(), name) as server:
        yield Catalogue(server)


def listed(text: str) -> list[str]:
    return [] if text == "-" else text.split(",")


def test_the_tables_are_the_platforms(catalogue: Catalogue) -> None:
    assert len(FACTS) == 63
    assert set(catalogue.columns) == set(FACTS)


@pytest.mark.parametrize("table", sorted(FACTS))
def test_the_tenant_column_has_its_type(catalogue: Catalogue, table: str) -> None:
    stated = FACTS[table]["tenant_column"]
    columns = catalogue.columns[table]
    if stated == "-":
        assert not {"tenant_id", "acting_as_tenant_id"} & set(columns)
        return
    column, _colon, kind = stated.partition(":")
    assert columns[column] == (kind.removesuffix("?"), kind.endswith("?"))


@pytest.mark.parametrize("table", sorted(FACTS))
def test_keys_and_unique_constraints_agree(catalogue: Catalogue, table: str) -> None:
    assert catalogue.of_kind(table, "p") == [f"PRIMARY KEY {FACTS[table]['pk']}"]
    stated = re.findall(r"\([^)]*\)", FACTS[table]["unique"])
    assert sorted(catalogue.of_kind(table, "u")) == sorted(f"UNIQUE {one}" for one in stated)


_REFERENCE = re.compile(r"FOREIGN KEY \(([^)]*)\) REFERENCES (\w+)\([^)]*\)(?: ON DELETE (.+))?$")


@pytest.mark.parametrize("table", sorted(FACTS))
def test_foreign_keys_agree_with_what_they_do_on_delete(catalogue: Catalogue, table: str) -> None:
    stated = Counter(
        (tuple(sorted(columns.split("+"))), parent, action)
        for columns, parent, action in re.findall(
            r"(\S+)->(\w+)\[([^\]]+)\]", FACTS[table]["fk_out"]
        )
    )
    found: Counter[tuple[tuple[str, ...], str, str]] = Counter()
    for text in catalogue.of_kind(table, "f"):
        match = _REFERENCE.match(text)
        assert match, text
        columns, parent, action = match.groups()
        found[tuple(sorted(columns.split(", "))), parent, (action or "no action").lower()] += 1
    assert found == stated


@pytest.mark.parametrize("table", sorted(FACTS))
def test_row_security_agrees(catalogue: Catalogue, table: str) -> None:
    assert catalogue.security[table] == FACTS[table]["rls"]


def test_documents_agree(catalogue: Catalogue) -> None:
    for table, facts in FACTS.items():
        found = {
            name for name, (kind, _null) in catalogue.columns[table].items() if kind == "jsonb"
        }
        assert found == set(listed(facts["jsonb"])), table


@pytest.mark.parametrize("fact", ["subject_columns", "soft_delete"])
def test_columns_that_matter_to_a_person_have_their_types(catalogue: Catalogue, fact: str) -> None:
    for table, facts in FACTS.items():
        for stated in listed(facts[fact]):
            column, _colon, kind = stated.partition(":")
            assert catalogue.columns[table][column][0] == kind, (table, column)


def test_time_is_epoch_seconds_or_timestamptz_as_stated(catalogue: Catalogue) -> None:
    for table, facts in FACTS.items():
        kinds = [
            kind
            for name, (kind, _null) in catalogue.columns[table].items()
            if name.endswith("_at") or name in ("timestamp", "window_start", "last_heartbeat")
        ]
        if facts["time_type"] == "epoch-bigint":
            assert set(kinds) == {"bigint"}, table
        elif facts["time_type"] == "timestamptz":
            assert set(kinds) == {"timestamp with time zone"}, table


def test_every_column_that_the_seed_names_exists(catalogue: Catalogue) -> None:
    """The loader leaves out what an older schema lacks: here a slip of the pen must not hide."""
    for some in everything(1, tenants(SCALE), SCHEMAS["complete"]):
        assert set(some.columns.split()) <= set(catalogue.columns[some.table]), some.table


def test_totals_are_those_of_a_live_platform(catalogue: Catalogue) -> None:
    counted = Counter(kind for (_table, kind), some in catalogue.constraints.items() for _ in some)
    assert counted == {"p": 63, "u": 22, "f": 41}
    assert Counter(catalogue.security.values()) == {"-": 38, "on": 20, "FORCE": 5}


@pytest.mark.parametrize(("schema", "count"), [("fresh-rc12", 32), ("no-bypass", 55)])
def test_a_stuck_schema_lacks_what_it_never_reached(
    lab: Lab, schema: SchemaName, count: int
) -> None:
    place = lab.place()
    with seeded(place, "seed_stuck", schema=schema) as name, superuser(place, name) as server:
        found = Catalogue(server)
        versions = [row[0] for row in server.execute("SELECT version FROM _aeterna_migrations")]
        filled = server.execute("SELECT count(*) FROM memory_entries").fetchone()
    assert len(found.columns) == count
    assert sorted(versions) == list(range(3, SCHEMAS[schema].last + 1))
    assert filled is not None
    assert filled[0] > 100
    if schema == "fresh-rc12":
        assert not {"users", "companies", "agents", "tenant_secrets"} & set(found.columns)
    else:
        assert "tenant_id" not in found.columns["companies"]
        assert found.columns["organizational_units"]["created_at"][0] == "bigint"
        assert not {"tenant_secrets", "graph_events"} & set(found.columns)


def test_a_stuck_schema_grants_the_application_nothing(lab: Lab) -> None:
    place = lab.place()
    with seeded(place, "seed_stuck", schema="no-bypass") as name, superuser(place, name) as server:
        granted = server.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND"
            " (has_table_privilege('aeterna_app', format('%I.%I', schemaname, tablename), 'SELECT')"
            " OR has_table_privilege('aeterna_admin', format('%I.%I', schemaname, tablename),"
            " 'SELECT'))"
        ).fetchone()
    assert granted == (0,)


def taken(lab: Lab, name: str, **how: Any) -> dict[str, tuple[int, str]]:
    with seeded(lab.place(), name, **how) as made, superuser(lab.place(), made) as server:
        digests.configure(server)
        with server.transaction():
            return {table.name: digests.digest(server, table) for table in digests.tables(server)}


def test_two_seeds_of_one_number_are_equal_row_by_row(lab: Lab) -> None:
    first, again = taken(lab, "seed_one", extra=3), taken(lab, "seed_two", extra=3)
    assert len(first) == 63
    assert all(count > 0 for count, _digest in first.values())
    assert first == again


def test_another_number_gives_other_rows(lab: Lab) -> None:
    first, other = taken(lab, "seed_one"), taken(lab, "seed_two", seed=2)
    same = {name for name in first if first[name] == other[name]}
    # What names no tenant is the same in every deployment.
    assert same == {"public._aeterna_migrations", "public.codesearch_indexer_shards"}


def test_extra_tenants_add_rows_and_change_none(lab: Lab) -> None:
    place = lab.place()
    with (
        seeded(place, "seed_few") as few,
        seeded(place, "seed_many", extra=5) as many,
        superuser(place, few) as small,
        superuser(place, many) as large,
    ):
        query = "SELECT id, content FROM memory_entries ORDER BY id"
        before, after = small.execute(query).fetchall(), large.execute(query).fetchall()
        counted = large.execute("SELECT count(*) FROM tenants").fetchone()
    assert set(before) < set(after)
    assert counted == (16,)
