"""A recovered scratch server holds exactly the rows of its target, and runs nothing of the old."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aeterna_cli.errors import FailedError, RefusedError, RemoteError, TransientError
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores import unprivileged
from aeterna_cli.stores.postgres_digests import compare
from aeterna_cli.stores.postgres_scratch import RecoveryTarget, ScratchServer
from aeterna_cli.stores.postgres_snapshot import current_snapshot, exact_snapshot
from aeterna_cli.stores.tar_extraction import extract
from tests.integration.stores.postgres_backups import (
    DEBIAN,
    SUPERUSER,
    Source,
    needs_debian,
    programs,
    source,
    writers,
)

pytestmark = pytest.mark.integration

TABLE = (
    "CREATE TABLE events (id bigint PRIMARY KEY, v text)",
    "INSERT INTO events SELECT g, 'old' FROM generate_series(1, 5000) g",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with source(tmp_path_factory.mktemp("scratch"), programs=programs(18)) as running:
        running.execute(*TABLE)
        yield running


@pytest.fixture(scope="module")
def quiet(server: Source) -> Path:
    """One base backup that several tests unpack."""
    return server.backup()


def prepared(server: Source, backup: Path, target: Path) -> Path:
    files.prepare(server.unpack(backup, target))
    return target


def count(scratch: ScratchServer) -> int:
    import psycopg

    settings = scratch.connect_settings()
    with psycopg.connect(
        host=settings.host, port=settings.port, user=settings.user, dbname="postgres"
    ) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
        assert row is not None
        return int(row[0])


def rows(server: Source) -> int:
    with server.connect() as connection:
        return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])


def lsn(server: Source) -> int:
    with server.connect() as connection:
        query = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
        return int(connection.execute(query).fetchone()[0])


@pytest.mark.parametrize("major", [18, pytest.param(15, marks=needs_debian)])
def test_the_snapshots_position_gives_exactly_its_rows(major: int, tmp_path: Path) -> None:
    with source(tmp_path / "source", programs=programs(major)) as server:
        server.execute(*TABLE)
        with writers(server, "events"):
            data = server.copy(tmp_path / "data")
            with exact_snapshot(server.settings) as snapshot:
                expected = snapshot.digests()
            threading.Event().wait(0.2)  # the writers go on past the position
        server.switch()
        target = RecoveryTarget(lsn=snapshot.lsn, inclusive=False)
        with server.scratch(data) as scratch:
            facts = scratch.recover(target, server.restore_command)
            with current_snapshot(scratch.connect_settings()) as found:
                assert compare(expected, found.digests()) == []
            assert facts.lsn <= (snapshot.lsn or 0)
            assert facts.timeline == 2
            assert facts == scratch.facts()
        with current_snapshot(server.settings) as later:
            assert compare(expected, later.digests()) != [], "the writers did not go on"


def test_the_other_targets(server: Source, quiet: Path, tmp_path: Path) -> None:
    before = rows(server)
    server.execute("INSERT INTO events VALUES (100001, 'one')")
    moment = datetime.now(UTC)
    server.execute("SELECT pg_create_restore_point('here')", "DELETE FROM events WHERE id > 100000")
    server.execute("INSERT INTO events VALUES (100002, 'x'), (100003, 'x')")
    server.switch()
    targets = {
        RecoveryTarget(immediate=True): before,
        RecoveryTarget(time=moment): before + 1,
        RecoveryTarget(name="here", timeline=1): before + 1,
        RecoveryTarget(): before + 2,
    }
    for number, (target, expected) in enumerate(targets.items()):
        data = prepared(server, quiet, tmp_path / str(number))
        seen: list[int] = []
        with server.scratch(data) as scratch:
            facts = scratch.recover(target, server.restore_command, progress=seen.append)
            assert count(scratch) == expected, target
            assert seen == sorted(set(seen))
            assert facts.timeline == 2
            if not target.immediate:
                assert datetime.fromisoformat(facts.last_commit).tzinfo is not None
    server.execute("DELETE FROM events WHERE id > 100000")


def test_a_target_beyond_the_wal_names_the_last_moment(
    server: Source, quiet: Path, tmp_path: Path
) -> None:
    server.switch()
    data = prepared(server, quiet, tmp_path / "data")
    future = RecoveryTarget(lsn=lsn(server) + (1 << 40))
    with server.scratch(data) as scratch, pytest.raises(RefusedError) as raised:
        scratch.recover(future, server.restore_command)
    assert raised.value.code == "target_not_reached"
    assert raised.value.details["last_lsn"] > 0
    assert str(datetime.now(UTC).year) in raised.value.message
    with pytest.raises(RefusedError, match="not recovered"):
        scratch.give_back()
    with pytest.raises(RefusedError, match="already being recovered"):
        scratch.recover(RecoveryTarget(), server.restore_command)


def test_a_target_before_the_end_of_the_backup(server: Source, tmp_path: Path) -> None:
    early = lsn(server)
    server.execute("INSERT INTO events VALUES (100009, 'later')")
    data = server.copy(tmp_path / "data")
    server.execute("DELETE FROM events WHERE id = 100009")
    server.switch()
    with server.scratch(data) as scratch, pytest.raises(RefusedError) as raised:
        scratch.recover(RecoveryTarget(lsn=early, inclusive=False), server.restore_command)
    assert raised.value.code == "target_before_backup_end"


def test_missing_wal_is_named(server: Source, quiet: Path, tmp_path: Path) -> None:
    data = prepared(server, quiet, tmp_path / "data")
    with server.scratch(data) as scratch, pytest.raises(RemoteError) as raised:
        scratch.recover(RecoveryTarget(), "false")
    assert raised.value.code == "wal_missing"


def test_a_failing_feeder_ends_it(server: Source, quiet: Path, tmp_path: Path) -> None:
    data = prepared(server, quiet, tmp_path / "data")
    with server.scratch(data) as scratch, pytest.raises(FailedError) as raised:
        scratch.recover(RecoveryTarget(), "exit 255")
    assert raised.value.code == "restore_command_failed"


def test_a_silent_feeder_is_a_stall(server: Source, quiet: Path, tmp_path: Path) -> None:
    data = prepared(server, quiet, tmp_path / "data")
    with server.scratch(data) as scratch, pytest.raises(TransientError) as raised:
        scratch.recover(RecoveryTarget(), "sleep 5; false", timeout_idle=0.5)
    assert raised.value.code == "recovery_stalled"
    assert not (data / "postmaster.pid").exists()


def test_nothing_of_the_old_machine_runs(server: Source, quiet: Path, tmp_path: Path) -> None:
    """Signals and settings of a standby that archives, preloads and listens."""
    data = server.unpack(quiet, tmp_path / "data")
    archived = tmp_path / "archived"
    (data / "standby.signal").touch()
    touch = f"'touch {archived}'"
    auto = (
        f"archive_mode = 'always'\narchive_command = {touch}\nprimary_conninfo = 'host=x'\n"
        f"primary_slot_name = 'y'\nrestore_command = {touch}\nrecovery_target_time = 'never'\n"
        "shared_preload_libraries = 'no_such_library'\ncron.database_name = 'z'\nssl = 'on'\n"
        f"recovery_end_command = {touch}\nwork_mem = '7MB'\n"
    )
    (data / "postgresql.auto.conf").write_text(auto)
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write("include '/no/such/file'\nlisten_addresses = '*'\nport = 1\n")
    (data / "pg_hba.conf").write_text("local all all reject\n")
    original = (data / "postgresql.conf").read_bytes()
    files.prepare(data)
    assert not (data / "standby.signal").exists(), "it would follow the old primary for ever"
    with server.scratch(data) as scratch:
        scratch.recover(RecoveryTarget(immediate=True), server.restore_command)
        count(scratch)
        scratch.give_back()
    assert not archived.exists()
    assert (data / "postgresql.conf").read_bytes() == original
    assert (data / "pg_hba.conf").read_text() == "local all all reject\n"
    kept = (data / "postgresql.auto.conf").read_text().splitlines()
    assert [line.split()[0] for line in kept] == [
        "archive_mode",
        "archive_command",
        "shared_preload_libraries",
        "cron.database_name",
        "ssl",
        "work_mem",
    ]
    left = {path.name for path in (*data.iterdir(), *tmp_path.iterdir())}
    assert not left & {"standby.signal", "recovery.signal", files.COPY_MARK, "data.scratch"}


def test_given_back_it_serves_with_its_own_configuration(
    server: Source, quiet: Path, tmp_path: Path
) -> None:
    server.switch()
    data = prepared(server, quiet, tmp_path / "data")
    with server.scratch(data) as scratch:
        scratch.recover(RecoveryTarget(), server.restore_command)
        expected = count(scratch)
        scratch.stop()
        scratch.start()
        assert count(scratch) == expected
        scratch.give_back()
    words: list[str | Path] = [server.programs / "postgres", "--single", "-D", data, "postgres"]
    answer = subprocess.run(
        unprivileged.wrap(words),
        input="SELECT count(*) FROM events; SHOW max_connections\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f'count = "{expected}"' in answer


CHILD = """
import sys
from pathlib import Path
from aeterna_cli.stores import postgres_scratch_files as files
from aeterna_cli.stores.postgres_scratch import RecoveryTarget, ScratchServer
data, programs, role, command, lsn = sys.argv[1:]
scratch = ScratchServer(Path(data), Path(programs), known_role=role)
scratch.recover(RecoveryTarget(lsn=int(lsn), inclusive=False), command,
                progress=lambda lsn: print(lsn, flush=True))
"""


def runs(pid: int) -> bool:
    """A process that nobody waits for may stay as a zombie, without a command line."""
    command = Path(f"/proc/{pid}/cmdline")
    return command.exists() and command.read_bytes() != b""


def test_killed_in_the_middle_it_goes_on(server: Source, tmp_path: Path) -> None:
    """Kill -9 of us leaves a server behind; the next run ends it and recovers exactly."""
    data = server.copy(tmp_path / "data")
    for _ in range(4):
        server.execute("UPDATE events SET v = v || 'y'")
        server.switch()
    with exact_snapshot(server.settings) as snapshot:
        expected = snapshot.digests()
    server.execute("UPDATE events SET v = 'past'")
    server.switch()
    slow = f"sleep 0.2; {server.restore_command}"
    words = [sys.executable, "-c", CHILD, data, server.programs, SUPERUSER, slow, snapshot.lsn]
    with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline(), "it reported no progress"
        child.send_signal(signal.SIGKILL)
    orphan = int((data / "postmaster.pid").read_text().splitlines()[0])
    assert runs(orphan), "the server died with us: nothing is tested"
    target = RecoveryTarget(lsn=snapshot.lsn, inclusive=False)
    with server.scratch(data) as scratch:
        scratch.recover(target, server.restore_command)
        with current_snapshot(scratch.connect_settings()) as found:
            assert compare(expected, found.digests()) == []
    assert not runs(orphan)


def test_killed_after_the_promotion_it_knows_where_it_ended(
    server: Source, quiet: Path, tmp_path: Path
) -> None:
    server.switch()
    data = prepared(server, quiet, tmp_path / "data")
    target = RecoveryTarget(immediate=True)
    with server.scratch(data) as scratch:
        facts = scratch.recover(target, server.restore_command)
        scratch.stop()
    assert scratch.recover(target, "false") == facts, "a finished recovery is not done again"
    scratch.stop()
    state = files.read_state(data)
    files.write_state(data, {**state, "phase": "recovering"})
    with server.scratch(data) as scratch:
        assert scratch.recover(target, "false") == facts
    wrong = {**state["facts"], "lsn": facts.lsn + 8}
    files.write_state(data, {**state, "phase": "recovering", "facts": wrong})
    with server.scratch(data) as scratch, pytest.raises(RefusedError, match="cut off"):
        scratch.recover(target, "false")


def test_a_stop_ends_the_server(server: Source, quiet: Path, tmp_path: Path) -> None:
    data = prepared(server, quiet, tmp_path / "data")

    def stop() -> None:
        if (data / "postmaster.pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.scratch(data).recover(RecoveryTarget(), "sleep 30; false", stop=stop)
    assert not (data / "postmaster.pid").exists()


def test_tablespaces_are_linked_to_where_they_were_unpacked(tmp_path: Path) -> None:
    outside = tmp_path / "fast"
    outside.mkdir()
    unprivileged.own(outside)
    with source(tmp_path / "source", programs=programs(18)) as server:
        server.execute(*TABLE, f"CREATE TABLESPACE fast LOCATION '{outside}'")
        server.execute("CREATE TABLE events2 TABLESPACE fast AS SELECT * FROM events")
        backup = server.backup()
        oid = int(next(p.stem for p in backup.iterdir() if p.stem.isdigit()))
        data = server.unpack(backup, tmp_path / "data")
        # a link that is not ours: for all we know, into a running server
        (data / "pg_tblspc" / "99999").symlink_to(outside)
        with pytest.raises(RefusedError, match="was not restored"):
            files.prepare(data)
        (data / "pg_tblspc" / "99999").unlink()
        place = tmp_path / "data.tablespaces" / str(oid)
        with (backup / f"{oid}.tar").open("rb") as stream:
            extract(stream, place, limit_bytes=None)
        files.prepare(data, {oid: place})
        server.switch()
        with server.scratch(data) as scratch:
            scratch.recover(RecoveryTarget(), server.restore_command)
            sql = tmp_path / "check.sql"
            sql.write_text("INSERT INTO events2 VALUES (1, 'here')")
            scratch.run_sql_files([sql])
            scratch.give_back()
        assert (data / "pg_tblspc" / str(oid)).readlink() == place
        with server.connect() as connection:
            query = "SELECT count(*) FROM events2"
            assert connection.execute(query).fetchone()[0] == 5000, "the source was written to"


def test_sql_files_run_whole_or_not_at_all(server: Source, quiet: Path, tmp_path: Path) -> None:
    data = prepared(server, quiet, tmp_path / "data")
    good, bad = tmp_path / "good.sql", tmp_path / "bad.sql"
    good.write_text("DELETE FROM events; INSERT INTO events VALUES (1, 'a%s');")
    bad.write_text("DELETE FROM events; SELECT no_such_thing;")
    with server.scratch(data) as scratch:
        scratch.recover(RecoveryTarget(immediate=True), server.restore_command)
        with pytest.raises(FailedError, match=r"bad\.sql.*no_such_thing"):
            scratch.run_sql_files([good, bad])
        assert count(scratch) == 1


def test_a_path_too_long_for_a_socket(server: Source, quiet: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    data = prepared(server, quiet, deep / "data")
    with server.scratch(data) as scratch:
        scratch.recover(RecoveryTarget(immediate=True), server.restore_command)
        sockets = Path(scratch.connect_settings().host)
        assert sockets.stat().st_mode & 0o777 == 0o700
        count(scratch)
    assert not sockets.exists()


def test_a_primary_that_was_given_more_later(tmp_path: Path) -> None:
    """Larger max_connections after the backup would end the recovery of a smaller server."""
    folder = tmp_path / "source"
    with source(folder, programs=programs(18)) as server:
        server.execute(*TABLE)
        data = server.copy(tmp_path / "data")
        server.execute("ALTER SYSTEM SET max_connections = 77")
        settings, wal = server.settings, server.data
    start: list[str | Path] = [server.programs / "postgres", "-D", wal, "-k", settings.host]
    again = subprocess.Popen(
        unprivileged.wrap(start), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(server)
        server.execute("INSERT INTO events VALUES (-1, 'after')", "SELECT pg_switch_wal()")
        with server.scratch(data) as scratch:
            scratch.recover(RecoveryTarget(), server.restore_command)
            assert count(scratch) == 5001
    finally:
        again.send_signal(signal.SIGINT)
        again.wait()


def wait_for(server: Source) -> None:
    import psycopg

    deadline = time.monotonic() + 20
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def test_what_is_no_fresh_backup_is_refused(server: Source, quiet: Path, tmp_path: Path) -> None:
    data = server.unpack(quiet, tmp_path / "data")
    (data / "backup_label").rename(tmp_path / "label")
    with pytest.raises(RefusedError) as raised:
        files.prepare(data)
    assert raised.value.code == "backup_label_missing"
    with pytest.raises(RefusedError, match="not prepared"):
        server.scratch(data).recover(RecoveryTarget(), "false")
    with pytest.raises(RemoteError, match="no PostgreSQL data directory"):
        files.prepare(tmp_path)


def test_a_state_of_another_copy_is_not_believed(
    server: Source, quiet: Path, tmp_path: Path
) -> None:
    """An archive may bring a mark of its own, and a folder of an earlier copy may lie beside."""
    data = prepared(server, quiet, tmp_path / "data")
    files.write_state(data, {"phase": "promoted", "facts": {}})
    data.rename(tmp_path / "moved")
    server.unpack(quiet, data)
    (data / files.COPY_MARK).write_text("0" * 32)
    files.prepare(data)
    assert files.read_state(data)["phase"] == "prepared"


def test_programs_of_the_right_major(server: Source, quiet: Path, tmp_path: Path) -> None:
    data = server.unpack(quiet, tmp_path / "data")
    if (DEBIAN / "postgres").exists():
        assert files.programs(data, DEBIAN) == server.programs
    (data / "PG_VERSION").write_text("9999\n")
    with pytest.raises(RefusedError, match="9999"):
        files.programs(data, server.programs)


def test_a_target_is_one_and_has_an_offset() -> None:
    with pytest.raises(ValueError, match="at most one"):
        RecoveryTarget(lsn=1, name="x")
    with pytest.raises(ValueError, match="offset"):
        RecoveryTarget(time=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
