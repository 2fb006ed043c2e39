"""What the catalogue tells, read from a real server with hostile names in it."""

from collections.abc import Iterator

import pytest

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import superuser
from aeterna_cli.stores.base.catalogue import Catalogue, ForeignKey, TenantTable
from aeterna_cli.stores.postgres_catalogue import read, tenants
from tests.integration.tenant_database import settings, tenant_database

pytestmark = pytest.mark.integration

ODD = """
CREATE SCHEMA "other ""s%";
CREATE TABLE "other ""s%"."T.x%" (
    "a%b" uuid PRIMARY KEY, twice int GENERATED ALWAYS AS (1) STORED, kept int, dropped int,
    note jsonb, UNIQUE (kept, note), partial int
);
ALTER TABLE "other ""s%"."T.x%" DROP COLUMN dropped;
CREATE UNIQUE INDEX ON "other ""s%"."T.x%" (partial) WHERE kept > 0;
CREATE UNIQUE INDEX ON "other ""s%"."T.x%" (lower(partial::text));
CREATE UNIQUE INDEX ON "other ""s%"."T.x%" (partial, kept) INCLUDE (note);
CREATE TABLE parts (id bigserial, day int NOT NULL, odd uuid REFERENCES "other ""s%"."T.x%"
    ON DELETE SET NULL, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE self (id int PRIMARY KEY, parent int REFERENCES self ON DELETE CASCADE);
CREATE SEQUENCE free; CREATE TABLE uses (id int PRIMARY KEY DEFAULT nextval('free'));
CREATE SCHEMA aeterna_ops; CREATE TABLE aeterna_ops.ours (id int);
CREATE TABLE forced (id int PRIMARY KEY);
ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "on %" BEFORE INSERT ON forced FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER off BEFORE INSERT ON forced FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE forced DISABLE TRIGGER off;
CREATE TABLE tenants (id uuid PRIMARY KEY, slug text, created_at bigint);
INSERT INTO tenants SELECT gen_random_uuid(), 'slug-' || n, n FROM generate_series(1, 4500) n;
"""


@pytest.fixture(scope="module")
def database(lab: Lab) -> Iterator[str]:
    with tenant_database(lab, filled=False) as name:
        with superuser(lab.place(), name) as server:
            server.execute(ODD)
        yield name


@pytest.fixture(scope="module")
def found(lab: Lab, database: str) -> Catalogue:
    return read(settings(lab, database))


def test_hostile_names_columns_and_keys(found: Catalogue) -> None:
    odd = found.by_label['"other ""s%"."T.x%"']
    assert [(c.name, c.type, c.nullable, c.generated) for c in odd.columns] == [
        ("a%b", "uuid", False, False),
        ("twice", "integer", True, True),
        ("kept", "integer", True, False),
        ("note", "jsonb", True, False),
        ("partial", "integer", True, False),
    ]
    assert odd.by_name["note"].json
    assert odd.primary_key == ("a%b",)
    # neither the partial index nor the one of an expression speaks of every row
    assert set(odd.unique) == {("a%b",), ("kept", "note"), ("partial", "kept")}
    assert odd.identifies(["note", "kept", "twice"])
    assert not odd.identifies(["partial"])


def test_partitions_are_their_parents(found: Catalogue) -> None:
    parts = found.by_label["parts"]
    assert parts.partitioned
    assert "parts_1" not in found.by_label
    assert parts.foreign_keys == (
        ForeignKey("parts_odd_fkey", ("odd",), '"other ""s%"."T.x%"', ("a%b",), "set null"),
    )
    assert parts.sequences == ("parts_id_seq",)


def test_cycles_sequences_triggers_and_row_security(found: Catalogue) -> None:
    assert [key.target for key in found.by_label["self"].foreign_keys] == ["self"]
    assert found.by_label["uses"].sequences == ("free",)
    forced = found.by_label["forced"]
    assert (forced.rls_enabled, forced.rls_forced, forced.rows_hidden) == (True, True, False)
    assert forced.triggers == ("on %",)
    assert not any("ours" in label for label in found.by_label)


def test_the_roles_privileges(lab: Lab, database: str, found: Catalogue) -> None:
    assert found.role.bypasses_rls
    assert found.by_label["uses"].privileges == {"SELECT"}
    with superuser(lab.place(), database) as server:
        server.execute("CREATE ROLE narrow_map LOGIN PASSWORD 'x'")
        server.execute("GRANT SELECT, DELETE ON forced TO narrow_map")
    try:
        changed = {"user": "narrow_map", "password": "x", "password_file": None}
        narrow = type(settings(lab, database))(
            **{**settings(lab, database).model_dump(), **changed}
        )
        seen = read(narrow)
        assert seen.by_label["forced"].privileges == {"SELECT", "DELETE"}
        assert seen.by_label["forced"].rows_hidden
        assert seen.by_label["uses"].privileges == frozenset()
        assert not seen.by_label['"other ""s%"."T.x%"'].schema_usage
        assert not seen.role.bypasses_rls
    finally:
        with superuser(lab.place(), database) as server:
            server.execute("DROP OWNED BY narrow_map; DROP ROLE narrow_map")


def test_tenants_come_in_pages_whatever_columns_there_are(lab: Lab, database: str) -> None:
    table = TenantTable("public", "tenants", title=None, status=None)
    with superuser(lab.place(), database) as server:
        everyone = list(tenants(server, table))
    assert len({one.id for one in everyone}) == 4500
    assert [one.id for one in everyone] == sorted(one.id for one in everyone)
    first = min(everyone, key=lambda one: str(one.created_at))
    assert (first.name, first.status) == (first.slug, "")
    assert {one.created_at.timestamp() for one in everyone if one.created_at} >= {1.0, 4500.0}
