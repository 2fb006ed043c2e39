"""One tenant's rows and everybody's counts, against what the seed wrote."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import sql  # noqa: TID253  # the SQL under test is made of these

from aeterna_cli.datamap import rules, table_rules
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.tables import map_tables
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import superuser
from aeterna_cli.lab.seed.schemas import SCHEMAS
from aeterna_cli.lab.seed.tables import everything
from aeterna_cli.lab.seed.tables.world import TWO_TENANTS
from aeterna_cli.lab.seed.tenants import HOSTILE, Tenant
from aeterna_cli.lab.seed.tenants import tenants as seeded
from aeterna_cli.stores.base.catalogue import TenantTable
from aeterna_cli.stores.base.selection import AnyOf, Parent, Reference, Selection, TenantColumn
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_catalogue import catalogue, tenants
from aeterna_cli.stores.postgres_owners import count_by_owner
from aeterna_cli.stores.postgres_selection import TenantRows, identifier, uuid5_of
from tests.integration.tenant_database import SCALE, SEED, tenant_database

pytestmark = pytest.mark.integration

EXTRA = 12


@dataclass(frozen=True)
class Place:
    connection: Any
    map_: DataMap

    @property
    def root(self) -> TenantTable:
        assert self.map_.root is not None
        return self.map_.root

    @property
    def tenants(self) -> Mapping[str, TenantIdentity]:
        return {one.slug: one for one in tenants(self.connection, self.root)}

    def rows(self, tenant: TenantIdentity) -> Mapping[str, int]:
        """The tenant's rows by table, each table asked by its predicate."""
        mine = TenantRows(self.connection, tenant)
        return {
            table.label: self.count(table.schema, table.name, mine, table.selection)
            for table in self.map_.of_tenants
            if table.selection is not None
        }

    def count(
        self, schema: str, name: str, mine: TenantRows, selection: Selection, also: str = "mine"
    ) -> int:
        clause = mine.predicate(selection)
        others = mine.others(selection).query if also == "others" else sql.SQL("true")
        query = sql.SQL("SELECT count(*) FROM {} AS t WHERE {} AND {}").format(
            identifier(schema, name), clause.query, others
        )
        row = self.connection.execute(query, clause.parameters).fetchone()
        return int(row[0])


def mapped(connection: Any) -> DataMap:
    return map_tables(catalogue(connection), table_rules.parse(rules.load()["table"]))


@pytest.fixture(scope="module")
def place(lab: Lab) -> Iterator[Place]:
    with (
        tenant_database(lab, extra=EXTRA) as name,
        superuser(lab.place(), name) as connection,
    ):
        yield Place(connection, mapped(connection))


def written(everyone: tuple[Tenant, ...]) -> Counter[str]:
    found: Counter[str] = Counter()
    for rows in everything(SEED, everyone, SCHEMAS["complete"]):
        found[rows.table] += sum(1 for _ in rows.rows)
    return found


def test_a_tenants_rows_are_those_that_the_seed_wrote_for_it(place: Place) -> None:
    """What a tenant adds to the seed is what its predicates find, table by table."""
    everyone = seeded(SCALE, EXTRA)
    whole = written(everyone)
    for tenant in everyone:
        if tenant.slug in (*TWO_TENANTS, "default"):
            continue  # they share a person, and the bootstrap's rows
        without = written(tuple(one for one in everyone if one != tenant))
        added = whole - without
        found = place.rows(place.tenants[tenant.slug])
        assert {label: added[label] for label in found} == found, tenant.slug
        assert tenant.vacant or min(found.values()) > 0
        assert set(added) <= set(found)


def test_the_bootstraps_rows_are_the_default_tenants_and_the_guest_has_two(place: Place) -> None:
    ordinary = place.rows(place.tenants["dormant-inc"])
    default = place.rows(place.tenants["default"])
    more = {label for label in default if default[label] > ordinary[label]}
    assert {"organizational_units", "user_roles", "users"} <= more
    home, other = (place.tenants[slug] for slug in TWO_TENANTS)
    users = place.map_.tables["users"]
    for tenant in (home, other):
        mine = TenantRows(place.connection, tenant)
        assert users.selection is not None
        shared = place.count("public", "users", mine, users.selection, also="others")
        assert shared == 1, tenant.slug
    alone = TenantRows(place.connection, place.tenants["dormant-inc"])
    assert users.selection is not None
    assert place.count("public", "users", alone, users.selection, also="others") == 0


def test_one_pass_over_everybody_counts_what_the_predicates_find(place: Place) -> None:
    counted = count_by_owner(place.connection, place.map_.of_tenants, place.root, sizes=True)
    found: dict[str, dict[str, int]] = {label: {} for label in counted}
    for tenant in place.tenants.values():
        for label, rows in place.rows(tenant).items():
            if rows:
                found[label][tenant.id] = rows
    known = {tenant.id for tenant in place.tenants.values()}
    for label, owners in counted.items():
        mine = {owner: count.rows for owner, count in owners.items() if owner in known}
        assert mine == found[label], label
        assert all(count.bytes > 24 * count.rows for count in owners.values()), label
    nobodys = {
        label: {owner: count.rows for owner, count in owners.items() if owner not in known}
        for label, owners in counted.items()
    }
    assert {label: left for label, left in nobodys.items() if left} == {
        "organizational_units": {"__root__": 1},
        "user_roles": {"__root__": 1},
        "users": {"__root__": 1},
        "remediation_requests": {None: 1},
    }


def test_every_row_is_counted(place: Place) -> None:
    counted = count_by_owner(place.connection, place.map_.of_tenants, place.root)
    for table in place.map_.of_tenants:
        row = place.connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.schema, table.name))
        ).fetchone()
        total = sum(count.rows for count in counted[table.label].values())
        assert total >= row[0] if table.shared else total == row[0], table.label


def test_a_predicate_serves_in_copy_delete_and_not(place: Place) -> None:
    tenant = place.tenants[HOSTILE]
    clause = TenantRows(place.connection, tenant).predicate(TenantColumn("tenant_id", "text"))
    with place.connection.cursor() as cursor:
        query = sql.SQL("COPY (SELECT id FROM memory_entries AS t WHERE {}) TO STDOUT")
        with cursor.copy(query.format(clause.query), clause.parameters) as stream:
            copied = sum(1 for _ in stream.rows())
    assert copied == place.rows(tenant)["memory_entries"] > 0
    both = sql.SQL(
        "SELECT count(*) FILTER (WHERE {0}), count(*) FILTER (WHERE ({0}) IS NOT TRUE), count(*)"
        " FROM memory_entries AS t"
    ).format(clause.query)
    mine, others, every = place.connection.execute(both, clause.parameters).fetchone()
    assert mine == copied
    assert mine + others == every


def test_one_tenant_of_an_indexed_column_is_no_scan_of_the_table(place: Place) -> None:
    with place.connection.transaction(force_rollback=True):
        place.connection.execute(
            "INSERT INTO governance_events (event_id, idempotency_key, tenant_id, event_type,"
            " payload) SELECT n, 'plan-' || n, 'crowd-' || n % 500, 'x', '{}'"
            " FROM generate_series(1, 20000) n"
        )
        place.connection.execute("ANALYZE governance_events, companies, organizations, teams")
        rows = TenantRows(place.connection, place.tenants[HOSTILE])
        for label in ("governance_events", "companies"):
            table = place.map_.tables[label]
            assert table.selection is not None
            clause = rows.predicate(table.selection)
            query = sql.SQL("EXPLAIN SELECT * FROM {} AS t WHERE {}").format(
                sql.Identifier(label), clause.query
            )
            if label == "companies":  # too small for an index to be worth it
                place.connection.execute("SET LOCAL enable_seqscan = off")
            plan = place.connection.execute(query, clause.parameters).fetchall()
            text = "\n".join(line for (line,) in plan)
            assert "Index Cond" in text, text
            assert "Seq Scan" not in text, text


# -- shapes that the platform does not have, on a table each

HARD = """
CREATE TABLE roots (key uuid PRIMARY KEY, handle text);
CREATE TABLE "un%its" (id text PRIMARY KEY, "ow%ner" varchar(99));
CREATE TABLE scoped (id serial PRIMARY KEY, scope uuid, other text);
CREATE TABLE badges (id serial PRIMARY KEY, unit text, tenant text);
"""
VALUES = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20
)


@pytest.fixture(scope="module")
def hard(lab: Lab) -> Iterator[Any]:
    with (
        tenant_database(lab, filled=False) as name,
        superuser(lab.place(), name) as connection,
    ):
        connection.execute(HARD)
        yield connection


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slugs=st.lists(VALUES, min_size=2, max_size=4, unique=True),
    units=st.lists(VALUES | st.uuids().map(str), min_size=2, max_size=6, unique=True),
    data=st.data(),
)
def test_any_values_give_the_same_rows_by_predicate_and_by_count(
    hard: Any, slugs: list[str], units: list[str], data: st.DataObject
) -> None:
    """Text that is no uuid, derived uuids, NULLs, several ways, rows of two tenants."""
    everyone = [
        TenantIdentity(str(data.draw(st.uuids(version=4))), slug, slug, "", None) for slug in slugs
    ]
    owners = st.sampled_from([*slugs, *(one.id for one in everyone), None, "__root__"])
    scopes = st.sampled_from([*units, *(uuid5_of(unit) for unit in units), None])
    with hard.transaction(force_rollback=True):
        for one in everyone:
            hard.execute("INSERT INTO roots VALUES (%s, %s)", (one.id, one.slug))
        for unit in units:
            hard.execute('INSERT INTO "un%%its" VALUES (%s, %s)', (unit, data.draw(owners)))
        for _ in range(6):
            scope, tenant, unit = data.draw(scopes), data.draw(owners), data.draw(scopes)
            hard.execute(
                "INSERT INTO scoped (scope, other) VALUES (%s, %s)",
                (scope if scope and is_uuid(scope) else None, unit),
            )
            hard.execute("INSERT INTO badges (unit, tenant) VALUES (%s, %s)", (unit, tenant))
        for table in shapes():
            root = TenantTable("public", "roots", "key", "handle", None, None, None)
            counted = count_by_owner(hard, [table], root)[table.label]
            for one in everyone:
                clause = TenantRows(hard, one).predicate(table.selection)
                query = sql.SQL("SELECT count(*) FROM {} AS t WHERE {}").format(
                    identifier(table.schema, table.name), clause.query
                )
                (found,) = hard.execute(query, clause.parameters).fetchone()
                assert found == (counted[one.id].rows if one.id in counted else 0), table.label


def is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


@dataclass(frozen=True)
class Shape:
    label: str
    name: str
    selection: Selection
    schema: str = "public"


def shapes() -> list[Shape]:
    units = Parent("public", "un%its", TenantColumn("ow%ner", "character varying(99)"))
    by_uuid = Reference(("scope",), units, ("id",), "uuid", unique=False)
    derived = Reference(("scope",), units, ("id",), "uuid5")
    as_text = Reference(("other",), units, ("id",), "text")
    both = AnyOf((by_uuid, derived, as_text))
    scoped = Parent("public", "scoped", both)
    return [
        Shape("units", "un%its", units.selection),
        Shape("derived", "scoped", derived),
        Shape("text", "scoped", as_text),
        Shape("several", "scoped", both),
        Shape("through several", "badges", Reference(("unit",), scoped, ("other",), unique=False)),
        Shape(
            "when null",
            "badges",
            AnyOf(
                (
                    TenantColumn("tenant", "text"),
                    Reference(("unit",), units, ("id",), when_null="tenant"),
                    Reference(("unit",), scoped, ("other",), unique=False, when_null="tenant"),
                )
            ),
        ),
    ]
