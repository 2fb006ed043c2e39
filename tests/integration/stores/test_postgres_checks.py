"""A sound restore passes every check; each kind of damage is found by the check meant for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.errors import FailedError
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores.postgres_checks import check_pages, check_relations, verify_files
from aeterna_cli.stores.postgres_scratch import RecoveryTarget, ScratchServer
from tests.integration.stores.postgres_backups import Source, needs_debian, programs, source

pytestmark = pytest.mark.integration

PAGE = 8192


@pytest.fixture(scope="module", params=[18, pytest.param(15, marks=needs_debian)])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Source]:
    folder = tmp_path_factory.mktemp("checks")
    with source(folder, programs=programs(request.param)) as running:
        running.execute(
            "CREATE TABLE events (id bigint PRIMARY KEY, v text)",
            "INSERT INTO events SELECT g, repeat('v', 100) FROM generate_series(1, 5000) g",
            "VACUUM events",
            "CHECKPOINT",
        )
        running.switch()
        yield running


@pytest.fixture(scope="module")
def backup(server: Source) -> Path:
    return server.backup()


@pytest.fixture
def data(server: Source, backup: Path, tmp_path: Path) -> Path:
    target = server.unpack(backup, tmp_path / "data")
    files.prepare(target)
    return target


def file_of(server: Source, relation: str) -> str:
    with server.connect() as connection:
        query = f"SELECT pg_relation_filepath('{relation}')"
        return str(connection.execute(query).fetchone()[0])


def spoil(path: Path, offset: int, content: bytes = b"\xff") -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def recovered(server: Source, data: Path) -> ScratchServer:
    scratch = server.scratch(data)
    scratch.recover(RecoveryTarget(immediate=True), server.restore_command)
    return scratch


def test_a_sound_restore_passes(server: Source, data: Path) -> None:
    report = verify_files(data, server.programs)
    assert (report.passed, report.findings) == (True, ())
    assert report.objects > 900
    assert report.seconds > 0
    seen: list[int] = []
    with recovered(server, data) as scratch:
        report = check_relations(scratch, progress=seen.append)
        assert report.findings == ()
        assert report.objects == seen[-1] > 300
        with server.connect() as connection:
            query = "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"
            assert connection.execute(query).fetchone()[0] == 0, "the source was touched"
        scratch.run_sql_files([])
        scratch.stop()
    report = check_pages(data, server.programs)
    assert report.findings == ()
    assert report.objects > 1000


def test_a_damaged_and_a_missing_file_are_named(server: Source, data: Path) -> None:
    table = file_of(server, "events")
    spoil(data / table, 3 * PAGE + 5000)
    (data / "global" / "pg_filenode.map").unlink()
    report = verify_files(data, server.programs)
    assert not report.passed
    told = "\n".join(finding.message for finding in report.findings)
    assert table in told
    assert "global/pg_filenode.map" in told
    assert {finding.code for finding in report.findings} == {"file_damaged"}


def test_a_damaged_page_is_found_by_amcheck_and_by_its_checksum(server: Source, data: Path) -> None:
    table = file_of(server, "events")
    spoil(data / table, 3 * PAGE + 5000)
    with recovered(server, data) as scratch:
        report = check_relations(scratch)
        assert {(f.code, f.subject) for f in report.findings} == {
            ("table_damaged", "postgres:events"),
            ("index_damaged", "postgres:events_pkey"),
        }
        scratch.stop()
    report = check_pages(data, server.programs)
    assert not report.passed
    assert Path(table).name in report.findings[0].message


def test_an_index_that_lacks_rows_is_found(
    server: Source, data: Path, backup: Path, tmp_path: Path
) -> None:
    """Every page is sound and every file as it was stored; only the two do not belong together."""
    with recovered(server, data) as scratch:
        sql = tmp_path / "grow.sql"
        sql.write_text("INSERT INTO events SELECT g, 'more' FROM generate_series(5001, 5050) g")
        index = data / file_of(server, "events_pkey")
        before = index.read_bytes()
        scratch.run_sql_files([sql])
        scratch.stop()
        index.write_bytes(before)
        scratch.start()
        report = check_relations(scratch)
        assert [(f.code, f.subject) for f in report.findings] == [
            ("index_damaged", "postgres:events_pkey")
        ]
        scratch.stop()
    assert check_pages(data, server.programs).passed, "checksums cannot see this"


def test_what_cannot_run_says_so(server: Source, data: Path, tmp_path: Path) -> None:
    (data / "backup_manifest").unlink()
    report = verify_files(data, server.programs)
    assert [(f.code, f.severity) for f in report.findings] == [("check_skipped", "warning")]
    assert "manifest" in report.findings[0].message
    assert report.objects == 0


def test_a_stop_ends_the_check_and_leaves_nothing_behind(server: Source, data: Path) -> None:
    def stop() -> None:
        raise FailedError("stopped", "stopped")

    with recovered(server, data) as scratch:
        with pytest.raises(FailedError, match="stopped"):
            check_relations(scratch, stop=stop)
        assert check_relations(scratch).passed
