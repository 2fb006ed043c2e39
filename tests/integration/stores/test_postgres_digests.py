"""Digests: equal for equal rows however they are stored, different for any difference."""

from collections.abc import Iterator
from typing import Any

import pytest

from aeterna_cli.errors import AuthenticationError, TransientError
from aeterna_cli.stores import postgres_digests as digests
from aeterna_cli.stores.base.postgres import DigestSet, TableDigest
from tests.integration.stores.postgres_backups import Source, programs, source

pytestmark = pytest.mark.integration

COLUMNS = (
    "id bigint, t timestamptz, d date, i interval, f float8, r real, b bytea, m money,"
    " j jsonb, c regclass, a text[], e text"
)
ROWS = (
    "INSERT INTO {} SELECT g, '2026-01-02 03:04:05+00'::timestamptz + g * '1 h'::interval,"
    " '2026-03-04'::date + g, g * '1 day 2 s'::interval, g / 3.0, g / 7.0,"
    " decode(md5(g::text), 'hex'), (g / 8.0)::numeric::money, jsonb_build_object('g', g),"
    " 'one.plain'::regclass, ARRAY['a', g::text, NULL], NULL"
    " FROM generate_series(1, 500) g ORDER BY {}"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with source(tmp_path_factory.mktemp("digests"), programs=programs(18)) as running:
        running.execute(
            "CREATE SCHEMA one",
            "CREATE SCHEMA two",
            f"CREATE TABLE one.plain ({COLUMNS})",
            f"CREATE TABLE two.plain ({COLUMNS})",
            f"CREATE TABLE two.dropped (gone int, {COLUMNS})",
            "ALTER TABLE two.dropped DROP COLUMN gone",
            ROWS.format("one.plain", "g"),
            ROWS.format("two.plain", "md5(g::text)"),
            ROWS.format("two.dropped", "g DESC"),
            "UPDATE two.plain SET e = 'x'",
            "UPDATE two.plain SET e = NULL",
        )
        yield running


@pytest.fixture
def connection(server: Source) -> Iterator[Any]:
    with server.connect() as session:
        digests.configure(session)
        yield session


def digest_of(session: Any, name: str) -> tuple[int, str]:
    found = {table.name: table for table in digests.tables(session)}
    return digests.digest(session, found[name])


def test_equal_rows_in_another_order_and_layout_have_one_digest(connection: Any) -> None:
    first = digest_of(connection, "one.plain")
    assert first[0] == 500
    assert len(first[1]) == 32
    assert digest_of(connection, "two.plain") == first
    assert digest_of(connection, "two.dropped") == first


def test_the_settings_of_role_and_database_do_not_matter(server: Source) -> None:
    with server.connect() as session:
        digests.configure(session)
        plain = digest_of(session, "one.plain")
    server.execute(
        "ALTER ROLE boss SET timezone = 'Asia/Kathmandu'",
        "ALTER ROLE boss SET datestyle = 'German'",
        "ALTER ROLE boss SET intervalstyle = 'iso_8601'",
        "ALTER ROLE boss SET extra_float_digits = -5",
        "ALTER ROLE boss SET bytea_output = 'escape'",
        "ALTER ROLE boss SET search_path = one, public",
        "ALTER ROLE boss SET quote_all_identifiers = on",
    )
    try:
        with server.connect() as session:
            digests.configure(session)
            assert digest_of(session, "one.plain") == plain
    finally:
        server.execute("ALTER ROLE boss RESET ALL")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE two.plain SET f = f + 1e-13 WHERE id = 250",
        "UPDATE two.plain SET t = t + '1 us' WHERE id = 3",
        "UPDATE two.plain SET e = '' WHERE id = 1",
        "UPDATE two.plain SET id = CASE id WHEN 1 THEN 2 ELSE 1 END WHERE id IN (1, 2)",
        "DELETE FROM two.plain WHERE id = 500",
        "INSERT INTO two.plain SELECT * FROM two.plain WHERE id = 1",
        "WITH gone AS (DELETE FROM two.plain WHERE id = 1)"
        " INSERT INTO two.plain SELECT * FROM two.plain WHERE id = 2",
    ],
)
def test_any_change_is_seen(connection: Any, change: str) -> None:
    before = digest_of(connection, "two.plain")
    connection.execute("BEGIN")
    connection.execute(change.encode())
    after = digest_of(connection, "two.plain")
    connection.execute("ROLLBACK")
    assert after != before


def test_an_empty_table_has_a_digest(connection: Any) -> None:
    connection.execute("CREATE TABLE one.empty ()")
    assert digest_of(connection, "one.empty") == (0, "0" * 32)
    connection.execute("DROP TABLE one.empty")


def test_what_is_covered(connection: Any) -> None:
    connection.execute(
        "CREATE SCHEMA aeterna_ops; CREATE TABLE aeterna_ops.marker (n int);"
        'CREATE SCHEMA "Odd ""s";'
        'CREATE TABLE "Odd ""s"."Ta ble" (n int); CREATE UNLOGGED TABLE one.fast (n int);'
        "CREATE TABLE one.parts (n int) PARTITION BY LIST (n);"
        "CREATE TABLE one.part1 PARTITION OF one.parts FOR VALUES IN (1);"
        "CREATE TABLE one.child () INHERITS (one.plain);"
        "CREATE MATERIALIZED VIEW one.seen AS SELECT 1; CREATE TEMP TABLE mine (n int)"
    )
    try:
        names = [table.name for table in digests.tables(connection)]
        assert names == [
            '"Odd ""s"."Ta ble"',
            "one.child",
            "one.part1",
            "one.plain",
            "two.dropped",
            "two.plain",
        ]
        assert [t.name for t in digests.tables(connection, unlogged=True)] == ["one.fast"]
        connection.execute("INSERT INTO one.child (id) VALUES (7)")
        assert digest_of(connection, "one.plain")[0] == 500, "a parent has its own rows only"
        assert digest_of(connection, '"Odd ""s"."Ta ble"') == (0, "0" * 32)
    finally:
        connection.execute(
            'DROP SCHEMA aeterna_ops, "Odd ""s" CASCADE; DROP TABLE one.child, one.parts, one.fast;'
            "DROP MATERIALIZED VIEW one.seen; DROP TABLE mine"
        )


def test_hidden_rows_are_an_error_not_a_smaller_digest(server: Source) -> None:
    server.execute(
        "CREATE ROLE reader LOGIN IN ROLE pg_read_all_data",
        "ALTER TABLE two.plain ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON two.plain USING (id < 10)",
    )
    try:
        with server.connect(user="reader") as session:
            digests.configure(session)
            with pytest.raises(AuthenticationError) as raised:
                digests.tables(session)
            assert raised.value.code == "rows_hidden"
            assert raised.value.details == {"tables": ["two.plain"]}
        server.execute("ALTER ROLE reader BYPASSRLS")
        with server.connect(user="reader") as session:
            digests.configure(session)
            assert digest_of(session, "two.plain")[0] == 500
    finally:
        server.execute("ALTER TABLE two.plain DISABLE ROW LEVEL SECURITY", "DROP ROLE reader")


@pytest.mark.parametrize(
    "statement", ["TRUNCATE one.victim", "VACUUM FULL one.victim", "DROP TABLE one.victim"]
)
def test_a_table_rewritten_under_the_snapshot_has_no_digest(server: Source, statement: str) -> None:
    server.execute("CREATE TABLE one.victim AS SELECT g FROM generate_series(1, 10) g")
    with server.connect() as session:
        digests.configure(session)
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        table = next(t for t in digests.tables(session) if t.name == "one.victim")
        server.execute(statement)
        assert digests.digest(session, table) == (0, digests.UNTAKEN)
        session.execute("ROLLBACK")
    server.execute("DROP TABLE IF EXISTS one.victim")


def test_a_locked_table_is_not_waited_for_without_end(connection: Any, server: Source) -> None:
    table = digests.tables(connection)[0]
    connection.execute("SET lock_timeout = '50ms'")
    with server.connect() as other:
        other.execute(f"BEGIN; LOCK TABLE {table.name}".encode())
        with pytest.raises(TransientError) as raised:
            digests.digest(connection, table)
    assert raised.value.code == "table_locked"


def table(name: str, rows: int, digest: str) -> TableDigest:
    return TableDigest("app", name, rows, digest)


def test_comparison() -> None:
    expected = DigestSet(
        (table("a", 1, "x"), table("b", 2, "y"), table("c", 3, "z"), table("d", 0, "")), 7, True
    )
    found = DigestSet(
        (table("a", 1, "x"), table("b", 2, "Y"), table("d", 9, "q"), table("e", 1, "e")),
        None,
        False,
    )
    told = [(f.code, f.severity, f.subject) for f in digests.compare(expected, found)]
    assert told == [
        ("table_differs", "error", "app:b"),
        ("table_missing", "error", "app:c"),
        ("table_not_compared", "info", "app:d"),
        ("table_unexpected", "warning", "app:e"),
    ]
    assert digests.compare(expected, expected)[0].severity == "info"
    approximate = DigestSet(expected.tables, None, exact=False)
    assert {f.severity for f in digests.compare(approximate, found)} == {"info"}
