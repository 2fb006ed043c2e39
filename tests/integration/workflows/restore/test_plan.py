"""``restore plan``: what would be overwritten and lost, said in time; and nothing is changed."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from aeterna_cli.lab.control import LabControl
from aeterna_cli.repository.manifest import load
from aeterna_cli.repository.wal_archive import lsn_number, lsn_text
from aeterna_cli.stores import binaries
from aeterna_cli.workflows.backup.running import own_wal_folder
from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration
FUTURE = "2999-01-01T00:00:00Z"


def files(practice: Practice) -> list[Path]:
    """Everything in the repository, and everything beside PostgreSQL's data."""
    data = LabControl(practice.lab).data_dir("postgres")
    return [*sorted(practice.repository.rglob("*")), *sorted(data.parent.iterdir())]


def test_the_plan_says_what_is_lost_and_changes_nothing(practice: Practice) -> None:
    made = practice.backup()
    before = files(practice)
    found = practice.cli.ok("restore", "plan").data
    assert files(practice) == before
    assert (found["backup"], found["profile"], found["destructive"]) == (
        made["backup"],
        NAME,
        True,
    )
    stores = {one["store"]: one for one in found["stores"]}
    assert "a running cluster" in stores["postgres"]["overwrites"]
    assert "points" in stores["qdrant"]["overwrites"]
    assert "keys" in stores["redis"]["overwrites"]
    assert found["bytes"] == sum(one["bytes"] for one in stores.values())
    assert set(found["skew"]) == {"qdrant", "redis"}
    assert all(milliseconds >= 0 for milliseconds in found["skew"].values())
    text = practice.cli.ok("restore", "plan", "-o", "table").out
    assert "--confirm with the profile's name is wanted" in text
    assert f"the recovery point of {made['backup']}" in text
    dry = practice.cli.ok("restore", "run", "--dry-run").data
    assert dry["target"] == found["target"]
    assert files(practice) == before


def test_what_is_empty_or_down_is_no_loss(practice: Practice) -> None:
    """Servers that do not answer are planned as such: a restore is for that very day."""
    practice.backup()
    practice.destroy("postgres", "qdrant", "redis")
    try:
        found = practice.cli.ok("restore", "plan").data
        assert not found["destructive"]
        assert not any(one["answers"] or one["overwrites"] for one in found["stores"])
        assert "overwrites nothing" in practice.cli.ok("restore", "plan", "-o", "table").out
    finally:
        practice.cli.ok("restore", "run", "--confirm", NAME)
    LabControl(practice.lab).stop("postgres")
    try:
        (down,) = practice.cli.ok("restore", "plan", "--store", "postgres").data["stores"]
    finally:
        LabControl(practice.lab).start("postgres")
    assert "its server does not answer" in down["overwrites"]


def test_every_target_is_named_in_the_plan(practice: Practice, tmp_path: Path) -> None:
    practice.backup("--store", "postgres")
    lsn = load(practice.open().repository, "latest").recovery_point.lsn
    assert lsn is not None
    alone = ("restore", "plan", "--store", "postgres")

    def target(*words: str) -> str:
        return str(practice.cli.ok(*alone, *words).data["target"])

    assert target("--at", FUTURE) == "time 2999-01-01T00:00:00+00:00"
    assert target("--lsn", lsn) == f"position {lsn_text(lsn_number(lsn))}, exclusive"
    assert target("--name", "before-upgrade") == "restore point before-upgrade"
    found = practice.cli.ok(*alone, "--data-dir", str(tmp_path / "new"), "--name", "x").data
    assert not found["destructive"]
    assert found["prepared"] == str(tmp_path / "new")
    assert "orphans are compared, not demanded" in found["notes"][0]


class Refusal(NamedTuple):
    words: tuple[str, ...]
    environment: dict[str, str]
    exit_code: int
    code: str


REFUSED = (
    Refusal(("--at", FUTURE, "--allow-skew", "5s"), {}, 7, "skew_too_large"),
    Refusal(("--at", FUTURE), {}, 7, "stores_would_differ"),
    Refusal(("--at", "2026-01-01T00:00:00"), {}, 2, "time_without_offset"),
    Refusal((), {"AETERNA_SERVER_CONTROL__KIND": "none"}, 7, "no_server_control"),
    Refusal((), {"AETERNA_KEYS__ADDRESS": "http://127.0.0.1:1"}, 4, ""),
    Refusal((), {"AETERNA_REPOSITORY__URL": "/nonexistent/repository"}, 7, ""),
    Refusal(("--backup", "20200101T000000Z-000000"), {}, 7, "backup_missing"),
)


def test_what_cannot_work_is_refused_with_a_next_step(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.backup()
    for words, environment, exit_code, code in REFUSED:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        ran = practice.cli("restore", "plan", *words)
        for name in environment:
            monkeypatch.delenv(name)
        assert ran.code == exit_code, ran.err
        assert not code or ran.error["code"] == code
        # a transient fault says it by its exit code: the same command again
        assert ran.code == 4 or ran.error["hint"] or ran.error["next_steps"], ran.err
        assert "Traceback" not in ran.err


def test_a_store_that_the_backup_does_not_hold_is_named(practice: Practice) -> None:
    practice.backup("--store", "redis")
    ran = practice.cli("restore", "plan", "--store", "qdrant")
    assert (ran.code, ran.error["code"]) == (7, "store_not_in_backup")
    assert "redis" in ran.error["hint"]


@pytest.mark.parametrize("which", ["all", "point"])
def test_a_hole_in_the_wal_is_found_before_anything_begins(practice: Practice, which: str) -> None:
    made = practice.backup("--store", "postgres")
    own = practice.repository / own_wal_folder(made["backup"])
    position = lsn_number(made["lsn"])
    for path in own.rglob("*-*"):
        start, _, end = path.name.partition("-")
        holds_point = path.is_file() and int(start, 16) <= position < int(end, 16)
        if holds_point or (which == "all" and path.is_file()):
            path.unlink()
    ran = practice.cli("restore", "plan", "--store", "postgres")
    assert (ran.code, ran.error["code"]) == (7, "wal_gap")
    assert ran.error["next_steps"]


def test_a_full_disk_is_told_with_what_is_needed(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.backup("--store", "postgres")
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: real._replace(free=1))
    target = ("--data-dir", str(tmp_path / "new"))
    ran = practice.cli("restore", "run", "--store", "postgres", "--yes", *target)
    assert (ran.code, ran.error["code"]) == (7, "not_enough_space")
    assert ran.error["details"]["free"] == 1
    assert ran.error["details"]["needed"] > 1
    assert not (tmp_path / "new").exists()


def test_a_missing_redis_program_is_refused_in_the_plan(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.backup("--store", "redis")
    monkeypatch.setattr(binaries, "_executable", lambda _path: None)
    ran = practice.cli("restore", "plan", "--store", "redis")
    assert (ran.code, ran.error["code"]) == (7, "redis_server_missing")
    assert any("redis.server_binary" in step for step in ran.error["next_steps"])
