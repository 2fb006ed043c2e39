"""A snapshot is one moment, under writers, in every call; where it cannot be exact it says so."""

from collections.abc import Iterator

import pytest

from aeterna_cli.errors import AuthenticationError, RefusedError
from aeterna_cli.stores import postgres_snapshot
from aeterna_cli.stores.postgres_snapshot import current_snapshot, exact_snapshot
from tests.integration.stores.postgres_backups import Source, programs, source, writers

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp("snapshot")
    with source(folder, programs=programs(18), options=["max_replication_slots=2"]) as running:
        running.execute(
            "CREATE TABLE events (id bigint PRIMARY KEY, v text)",
            "INSERT INTO events SELECT g, 'old' FROM generate_series(1, 20000) g",
            "CREATE TABLE parts (id int, k text) PARTITION BY LIST (k)",
            "CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a')",
            "CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b')",
            "INSERT INTO parts VALUES (1, 'a'), (2, 'b'), (NULL, 'a')",
            "CREATE UNLOGGED TABLE cache (id int)",
            "CREATE DATABASE second",
        )
        with running.connect(database="second") as connection:
            connection.execute("CREATE TABLE there AS SELECT 1 AS n")
        yield running


def slots(server: Source) -> int:
    with server.connect() as connection:
        return int(connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone()[0])


def test_every_call_sees_the_same_moment(server: Source) -> None:
    with writers(server, "events"), exact_snapshot(server.settings) as snapshot:
        assert snapshot.exact
        assert snapshot.reason == ""
        first = snapshot.digests()
        ids = list(snapshot.ids("public.events", "id"))
        second = snapshot.digests()
    assert first == second
    assert first.exact
    assert first.lsn == snapshot.lsn is not None
    rows = {table.table: table.rows for table in first.tables}
    assert rows == {"public.events": len(ids), "public.parts_a": 2, "public.parts_b": 1}
    assert len(set(ids)) == len(ids)
    with current_snapshot(server.settings) as later:
        assert later.digests().tables != first.tables, "the writers wrote nothing"
        assert not later.exact


def test_the_slot_is_gone_afterwards(server: Source) -> None:
    with exact_snapshot(server.settings):
        assert slots(server) == 1
    assert slots(server) == 0


def test_a_server_wide_limit_on_idle_transactions_does_not_end_it(server: Source) -> None:
    limits = ("idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout")
    server.execute(*(f"ALTER ROLE boss SET {name} = '100ms'" for name in limits))
    try:
        with exact_snapshot(server.settings) as snapshot:
            with server.connect() as other:
                other.execute("SET transaction_timeout = 0")
                other.execute("SELECT pg_sleep(0.4)")
            assert len(snapshot.digests().tables) == 3
    finally:
        server.execute("ALTER ROLE boss RESET ALL")


def test_other_databases_are_digested_but_never_exact(server: Source) -> None:
    with exact_snapshot(server.settings) as snapshot:
        found = snapshot.others()
    assert [(t.database, t.table, t.rows) for t in found.tables] == [("second", "public.there", 1)]
    assert (found.exact, found.lsn) == (False, None)


def test_what_is_left_out_is_told(server: Source) -> None:
    with exact_snapshot(server.settings) as snapshot:
        assert [(f.code, f.subject) for f in snapshot.findings()] == [
            ("table_unlogged", "postgres:public.cache")
        ]


def test_ids_cover_partitions_and_tables_are_found(server: Source) -> None:
    with current_snapshot(server.settings) as snapshot:
        assert sorted(snapshot.ids("public.parts", "id")) == ["1", "2"]
        assert snapshot.has_table("public.parts")
        assert not snapshot.has_table("public.nothing")
        with pytest.raises(RefusedError, match="nothing"):
            list(snapshot.ids("public.nothing", "id"))


def test_ids_may_be_left_half_way(server: Source) -> None:
    with current_snapshot(server.settings) as snapshot:
        stream = snapshot.ids("public.events", "id")
        next(stream)
        stream.close()  # type: ignore[attr-defined]  # it is a generator
        assert snapshot.has_table("public.events")


def test_an_old_write_transaction_makes_it_approximate_not_endless(
    server: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_snapshot, "SLOT_WAIT", 1)
    with server.connect() as blocker:
        blocker.execute("BEGIN")
        blocker.execute("INSERT INTO parts VALUES (9, 'a')")
        with exact_snapshot(server.settings) as snapshot:
            assert (snapshot.exact, snapshot.lsn) == (False, None)
            assert "write transaction" in snapshot.reason
            assert not snapshot.digests().exact
        blocker.execute("ROLLBACK")
    assert slots(server) == 0


def test_no_free_slot_makes_it_approximate(server: Source) -> None:
    server.execute(*(f"SELECT pg_create_physical_replication_slot('taken{n}')" for n in (1, 2)))
    try:
        with exact_snapshot(server.settings) as snapshot:
            assert not snapshot.exact
            assert "slots" in snapshot.reason
    finally:
        server.execute(*(f"SELECT pg_drop_replication_slot('taken{n}')" for n in (1, 2)))


def test_without_logical_wal_it_is_approximate(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("replica")
    with source(folder, programs=programs(18), options=["wal_level=replica"]) as running:
        running.execute("CREATE TABLE t AS SELECT 1 AS n")
        with exact_snapshot(running.settings) as snapshot:
            running.execute("INSERT INTO t VALUES (2)")
            assert [t.rows for t in snapshot.digests().tables] == [1]
            assert (snapshot.exact, snapshot.lsn) == (False, None)
            assert "wal_level" in snapshot.reason


def test_row_security_never_hides_ids(server: Source) -> None:
    server.execute(
        "CREATE ROLE reader LOGIN REPLICATION IN ROLE pg_read_all_data",
        "ALTER TABLE parts ENABLE ROW LEVEL SECURITY",
    )
    settings = server.settings.model_copy(update={"user": "reader"})
    try:
        with current_snapshot(settings) as snapshot, pytest.raises(AuthenticationError) as raised:
            list(snapshot.ids("public.parts", "id"))
        assert raised.value.code == "rows_hidden"
    finally:
        server.execute("ALTER TABLE parts DISABLE ROW LEVEL SECURITY", "DROP ROLE reader")
