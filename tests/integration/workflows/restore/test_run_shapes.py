"""``restore run`` of PostgreSQL servers of other shapes than the lab's usual one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.postgres import DATABASE, superuser
from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration

RUN = ("restore", "run", "--store", "postgres", "--confirm", NAME)


@contextmanager
def with_replica_wal(practice: Practice) -> Iterator[None]:
    """As most servers are: without logical WAL no snapshot can be tied to a position."""
    control = LabControl(practice.lab)

    def again(statement: str) -> None:
        with practice.sql() as connection:
            connection.execute(statement.encode())
        control.stop("postgres")
        control.start("postgres")

    again("ALTER SYSTEM SET wal_level = replica")
    try:
        yield
    finally:
        again("ALTER SYSTEM RESET wal_level")


def test_without_logical_wal_the_named_restore_point_is_the_target(practice: Practice) -> None:
    with with_replica_wal(practice):
        made = practice.backup("--store", "postgres")
        assert any("wal_level" in note for note in made["notes"])
        with practice.sql() as connection:
            connection.execute("CREATE TABLE made_afterwards ()")
        plan = practice.cli.ok("restore", "plan", "--store", "postgres").data
        assert plan["backup"] == made["backup"]
        practice.destroy("postgres")
        data = practice.cli.ok(*RUN).data
        assert not data["drift"]
        with practice.sql() as connection:
            found = connection.execute("SELECT to_regclass('made_afterwards')").fetchone()
        assert found == (None,)


def test_a_tablespace_comes_back_with_what_lies_in_it(practice: Practice, tmp_path: Path) -> None:
    place = tmp_path / "fast disk"
    place.mkdir(mode=0o700)
    with superuser(practice.lab.place(), DATABASE) as connection:
        connection.execute(f"CREATE TABLESPACE fast LOCATION '{place}'".encode())
        connection.execute(
            "CREATE TABLE elsewhere TABLESPACE fast AS SELECT generate_series(1, 5000) AS number"
        )
    made = practice.backup("--store", "postgres")
    stored = practice.cli.ok("backup", "show", made["backup"], "-o", "json").out
    assert "fast" in stored or ".tar" in stored
    practice.destroy("postgres")
    data = practice.cli.ok(*RUN).data
    assert not data["drift"]
    with practice.sql() as connection:
        rows = connection.execute("SELECT count(*), sum(number) FROM elsewhere").fetchone()
        assert rows == (5000, 12502500)
        folder = connection.execute(
            "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'"
        ).fetchone()
        assert folder is not None
        assert Path(folder[0]).is_dir()
        assert Path(folder[0]) != place, "the old place is never written to"
        connection.execute("DROP TABLE elsewhere")
        connection.execute("DROP TABLESPACE fast")
