"""What a server wrote before it gave up becomes the error that a person can act on."""

from pathlib import Path

import pytest

from aeterna_cli.stores.postgres_recovery_log import RecoveryLog

STAMP = "2026-01-02 03:04:05.678 GMT [42] "
#: Sentences as PostgreSQL 15 to 18 write them.
CAUSES = {
    "requested recovery stop point is before consistent recovery point": "target_before_backup_end",
    'recovery target timeline "7" does not exist': "timeline_unknown",
    "requested timeline 3 is not a child of this server's history": "timeline_unknown",
    'could not restore file "00000001" from archive: child process exited with exit code 255': (
        "restore_command_failed"
    ),
    "could not locate required checkpoint record": "wal_missing",
    "could not locate required checkpoint record at 0/2000060": "wal_missing",
    "WAL ends before end of online backup": "wal_missing",
    "WAL ends before consistent recovery point": "wal_missing",
    "resource manager with ID 130 not registered": "extension_library_missing",
    'could not write to file "pg_wal/xlogtemp.1": No space left on device': "disk_full",
    "could not map anonymous shared memory: Cannot allocate memory": "memory_missing",
    "something nobody has seen before": "scratch_server_failed",
}


def written(path: Path, *lines: str) -> RecoveryLog:
    log = RecoveryLog(path)
    with path.open("a") as file:
        file.writelines(f"{STAMP}{line}\n" for line in lines)
    return log


@pytest.mark.parametrize("sentence", CAUSES)
def test_every_known_end_has_its_code(sentence: str, tmp_path: Path) -> None:
    log = written(
        tmp_path / "log",
        "LOG:  starting point-in-time recovery",
        f"FATAL:  {sentence}",
        "LOG:  startup process (PID 43) exited with exit code 1",
    )
    error = log.failure("LSN 0/1")
    assert error.code == CAUSES[sentence]
    assert sentence in error.message
    assert len(error.details["log"]) == 3


def test_the_last_moment_is_named(tmp_path: Path) -> None:
    log = written(
        tmp_path / "log",
        "LOG:  redo starts at 0/2000028",
        "LOG:  redo in progress, elapsed time: 1.00 s, current LSN: 0/3000000",
        "LOG:  redo done at 1/3F000148 system usage: CPU: user: 0.00 s",
        "LOG:  last completed transaction was at log time 2026-01-02 03:04:04.5+00",
        "FATAL:  recovery ended before configured recovery target was reached",
    )
    error = log.failure("restore point 'x'")
    assert error.code == "target_not_reached"
    assert "restore point 'x'" in error.message
    assert "1/3F000148" in error.message
    assert "2026-01-02 03:04:04.5+00" in error.message


def test_lines_come_in_pieces_and_an_older_start_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{STAMP}LOG:  database system is ready to accept connections\n")
    log = RecoveryLog(path)
    assert not log.read()
    assert not log.ready
    with path.open("a") as file:
        file.write(f"{STAMP}LOG:  database system is ready to ac")
        file.flush()
        assert log.read()
        assert not log.ready
        file.write("cept read-only connections\n")
    assert log.read()
    assert log.ready


def test_settings_that_were_too_small(tmp_path: Path) -> None:
    detail = (
        "DETAIL:  max_connections = 40 is a lower setting than on the primary server,"
        " where its value was 77."
    )
    log = written(tmp_path / "log", "FATAL:  recovery aborted because of x", detail)
    log.read()
    assert log.too_small == {"max_connections": "77"}


def test_a_server_that_said_nothing(tmp_path: Path) -> None:
    assert "said nothing" in written(tmp_path / "log").failure("x").message
