"""Which SQL files and migrations make a schema."""

import pytest

from aeterna_cli.lab.seed.schemas import SCHEMA_NAMES, SCHEMAS, SchemaName, statements


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("complete", 33, "035_organizational_units_timestamps.sql"),
        ("fresh-rc12", 6, "008_hindsight_tables.sql"),
        ("no-bypass", 22, "024_normalize_rls_session_variables.sql"),
    ],
)
def test_a_schema_records_the_migrations_that_ran(name: SchemaName, count: int, last: str) -> None:
    found = list(SCHEMAS[name].migrations())
    assert len(found) == count
    assert [version for version, _name, _sum in found] == list(range(3, 3 + count))
    assert found[-1][1] == last
    assert all(len(checksum) == 64 for _version, _name, checksum in found)


def test_every_file_of_every_schema_ships() -> None:
    assert set(SCHEMAS) == set(SCHEMA_NAMES)
    for schema in SCHEMAS.values():
        for name in schema.before_roles + schema.after_roles:
            assert b"CREATE" in statements(name) or b"ALTER" in statements(name)
    assert b"BYPASSRLS" in statements("40_roles")


def test_only_a_schema_that_passed_025_has_its_roles() -> None:
    assert {name for name, schema in SCHEMAS.items() if schema.roles} == {"complete"}
    assert all(schema.roles == (schema.last >= 25) for schema in SCHEMAS.values())
