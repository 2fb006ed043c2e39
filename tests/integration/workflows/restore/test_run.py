"""``restore run`` on real servers: back to the recovery point, to any other moment, and refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.valkey import client
from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration

CONFIRM = ("--confirm", NAME)


def compared(data: dict[str, Any]) -> dict[str, bool]:
    """Whether each comparison found drift."""
    return {f"{one['store']} {one['items']}": one["drift"] for one in data["compared"]}


def test_everything_comes_back_identical_after_a_wipe(practice: Practice) -> None:
    made = practice.backup()
    practice.destroy("postgres", "qdrant", "redis")
    data = practice.cli.ok("restore", "run", *CONFIRM).data
    assert data["backup"] == made["backup"]
    assert compared(data) == {
        "postgres tables": False,
        "qdrant collections": False,
        "redis keys": False,
        "cross-store orphan rules": False,
        "cross-store markers": False,
    }
    assert practice.cli.ok("restore", "verify").data["compared"]
    # the deployment is the same one again: pins hold, and the next backup works
    practice.backup("--store", "redis", "--store", "qdrant")


def test_live_servers_are_replaced_only_by_name_and_old_data_is_kept(practice: Practice) -> None:
    practice.backup()
    with practice.sql() as connection:
        connection.execute("UPDATE memory_entries SET content = 'vandalised'")
    with client(practice.lab.place()) as server:
        server.flushall()
    drift = practice.cli("restore", "verify")
    assert drift.code == 8
    refused = practice.cli("restore", "run", "--yes")
    assert (refused.code, refused.error["code"]) == (7, "confirmation_missing")
    assert f"--confirm {NAME}" in refused.error["next_steps"][0]
    wrong = practice.cli("restore", "run", "--confirm", "another")
    assert (wrong.code, wrong.error["code"]) == (7, "wrong_name")
    data = practice.cli.ok("restore", "run", *CONFIRM).data
    assert not data["drift"]
    old = Path(data["replaced"])
    assert (old / "PG_VERSION").exists()
    with practice.sql() as connection:
        found = connection.execute(
            "SELECT count(*) FROM memory_entries WHERE content = 'vandalised'"
        ).fetchone()
    assert found == (0,)


def test_postgres_alone_goes_to_any_moment(practice: Practice) -> None:
    practice.backup("--store", "postgres")
    with practice.sql() as connection:
        connection.execute("CREATE TABLE notes (n int)")
        connection.execute("INSERT INTO notes VALUES (1)")
        (before,) = connection.execute("SELECT clock_timestamp()").fetchone()
        connection.execute("INSERT INTO notes VALUES (2)")
        connection.execute("SELECT pg_create_restore_point('before-the-mistake')")
        connection.execute("INSERT INTO notes VALUES (3)")
        connection.execute("CHECKPOINT")
    practice.cli.ok("backup", "wal", "receive", "--once")

    def notes() -> list[int]:
        with practice.sql() as connection:
            return [n for (n,) in connection.execute("SELECT n FROM notes ORDER BY n")]

    words = ("restore", "run", "--store", "postgres", *CONFIRM)
    practice.cli.ok(*words, "--name", "before-the-mistake")
    assert notes() == [1, 2]
    practice.cli.ok(*words, "--at", before.astimezone(UTC).isoformat())
    assert notes() == [1]
    with practice.sql() as connection:  # a table that no rule knows would degrade others' backups
        connection.execute("DROP TABLE notes")


def test_a_data_directory_is_left_with_next_steps(practice: Practice, tmp_path: Path) -> None:
    practice.backup("--store", "postgres")
    target = tmp_path / "restored"
    words = ("restore", "run", "--store", "postgres", "--data-dir", str(target), "--yes")
    data = practice.cli.ok(*words).data
    assert (target / "PG_VERSION").exists()
    assert not (target / "recovery.signal").exists()
    assert str(target) in data["next_steps"][0]
    again = practice.cli(*words)
    assert (again.code, again.error["code"]) == (7, "data_dir_not_empty")


REFUSED: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("--backup", "20200101T000000Z-000000"), 7, "backup_missing"),
    (("--backup", "nonsense"), 2, "backup_id_invalid"),
    (("--at", "2026-01-01T00:00:00"), 2, "time_without_offset"),
    (("--store", "postgres", "--at", "2020-01-01T00:00:00Z"), 7, "target_before_backup_end"),
    (("--store", "postgres", "--lsn", "0/1"), 7, "target_before_backup_end"),
    (("--store", "postgres", "--lsn", "FF/0"), 7, "target_not_reached"),
    (("--store", "postgres", "--name", "nobody-made-this"), 7, "target_not_reached"),
    (("--name", "x"), 7, "stores_would_differ"),
    (("--into", "nowhere"), 2, ""),
    (("--identity-file", "/nonexistent"), 7, "identity_file_unreadable"),
)


def test_what_cannot_be_restored_is_refused_before_anything_changes(practice: Practice) -> None:
    practice.backup()
    with practice.sql() as connection:
        connection.execute("COMMENT ON DATABASE aeterna IS 'untouched'")
    for words, exit_code, code in REFUSED:
        ran = practice.cli("restore", "run", *CONFIRM, *words)
        assert ran.code == exit_code, ran.err
        assert not code or ran.error["code"] == code
        assert "Traceback" not in ran.err
    with practice.sql() as connection:
        found = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = 'aeterna'"
        ).fetchone()
    assert found == ("untouched",)


def test_a_moment_after_the_last_stored_one_is_not_pretended(practice: Practice) -> None:
    practice.backup("--store", "postgres")
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    words = ("restore", "run", "--store", "postgres", *CONFIRM, "--at", late)
    ran = practice.cli(*words)
    assert (ran.code, ran.error["code"]) == (7, "target_not_reached")
    practice.cli.ok("restore", "verify")


def test_drift_is_told_and_exits_8(practice: Practice) -> None:
    practice.backup()
    practice.destroy("qdrant")
    LabControl(practice.lab).start("qdrant")
    ran = practice.cli("restore", "verify")
    assert ran.code == 8
    assert ran.data["compared"][2]["findings"][0]["code"] == "collection_missing"
    practice.cli.ok("restore", "run", "--store", "qdrant", *CONFIRM)
    assert practice.cli.ok("restore", "verify").code == 0


def test_hooks_run_before_anything_is_served(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.backup("--store", "postgres")
    statement = tmp_path / "erase.sql"
    # A person with agents cannot be deleted: the agents go first.
    statement.write_text("DELETE FROM agents; DELETE FROM users", encoding="utf-8")
    seen = tmp_path / "seen"
    hook = ["sh", "-c", f'echo "$AETERNA_RESTORE_BACKUP" > {seen}']
    monkeypatch.setenv("AETERNA_RESTORE__SQL_HOOKS", json.dumps([str(statement)]))
    monkeypatch.setenv("AETERNA_RESTORE__HOOKS", json.dumps([hook]))
    data = practice.cli.ok("restore", "run", "--store", "postgres", *CONFIRM).data
    assert seen.read_text(encoding="utf-8").strip() == data["backup"]
    with practice.sql() as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    monkeypatch.setenv("AETERNA_RESTORE__SQL_HOOKS", "[]")
    monkeypatch.setenv("AETERNA_RESTORE__HOOKS", json.dumps([["false"]]))
    ran = practice.cli("restore", "run", "--store", "postgres", *CONFIRM)
    assert (ran.code, ran.error["code"]) == (1, "hook_failed")
    with practice.sql() as connection:  # still what was served before
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    monkeypatch.delenv("AETERNA_RESTORE__HOOKS")
    practice.cli.ok("operation", "resume", ran.error["operation"], *CONFIRM)
    with practice.sql() as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() != (0,)
