"""``backup create`` on real servers: one recovery point, and every way in which it is refused."""

import json
import os
from pathlib import Path

import pytest

from aeterna_cli.lab.control import LabControl
from aeterna_cli.operations.lease import Lease, LeaseRequest
from aeterna_cli.repository.manifest import load
from aeterna_cli.workflows.leases import BACKUPS
from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration

SECRET = "x7-not-the-password"


def test_one_recovery_point_over_all_stores(practice: Practice) -> None:
    made = practice.backup("--label", "ticket=X-1", "--note", "before the upgrade")
    manifest = load(practice.open().repository, made["backup"])
    assert set(manifest.stores) == {"postgres", "qdrant", "redis", "orphans"}
    assert (manifest.label, manifest.note) == ({"ticket": "X-1"}, "before the upgrade")
    assert manifest.stores["postgres"].facts["exact"]
    assert all(made["counts"].values())
    point = manifest.recovery_point
    for store in ("redis", "qdrant"):
        window = manifest.stores[store].window
        assert window.start <= window.end <= point.time
        assert made["skew_milliseconds"][store] >= 0
    redis = manifest.stores["redis"].facts["marker"]
    assert point.marker is not None
    assert 1 <= redis <= point.marker
    assert {left.what for left in manifest.left_out} >= {"Vault and KMS contents"}
    (rule,) = manifest.orphans["rules"]
    assert rule["exact"]
    assert rule["sets"]["rows"]["count"] > 0
    assert rule["sets"]["points"]["count"] > 0


def test_nothing_in_the_repository_is_readable_without_a_key(practice: Practice) -> None:
    practice.backup()
    with practice.sql() as connection:
        content = connection.execute("SELECT content FROM memory_entries LIMIT 1").fetchone()[0]
    needle = content.split("#")[0].strip().encode()
    for path in practice.repository.rglob("*"):
        if path.is_file() and not path.name.endswith(".json"):
            assert needle not in path.read_bytes(), path


def test_a_second_backup_counts_on_and_a_chosen_store_is_alone(practice: Practice) -> None:
    first = load(practice.open().repository, practice.backup("--store", "redis")["backup"])
    second = load(practice.open().repository, practice.backup("--store", "redis")["backup"])
    assert set(second.stores) == {"redis"}
    assert first.recovery_point.marker is not None
    assert second.stores["redis"].window.first_marker == first.recovery_point.marker + 1
    assert {left.what for left in second.left_out} >= {"postgres", "qdrant"}


def test_a_dry_run_writes_nothing(practice: Practice) -> None:
    before = sorted(practice.repository.rglob("*"))
    ran = practice.cli.ok("backup", "create", "--dry-run")
    assert ran.schema == "aeterna.backup.create.planned/1"
    assert ran.data["stores"] == ["postgres", "qdrant", "redis"]
    assert ran.data["estimated_bytes"] > 0
    assert sorted(practice.repository.rglob("*")) == before


@pytest.mark.parametrize(
    ("environment", "exit_code", "code"),
    [
        ({"AETERNA_POSTGRES__PASSWORD": SECRET}, 6, "postgres_login_refused"),
        ({"AETERNA_REDIS__PASSWORD": SECRET}, 6, ""),
        ({"AETERNA_QDRANT__API_KEY": SECRET}, 6, ""),
        ({"AETERNA_POSTGRES__PORT": "1"}, 4, "postgres_unreachable"),
        ({"AETERNA_REDIS__PORT": "1"}, 4, "redis_unreachable"),
        ({"AETERNA_QDRANT__URL": "http://127.0.0.1:1"}, 4, "qdrant_unreachable"),
        ({"AETERNA_KEYS__ADDRESS": "http://127.0.0.1:1"}, 4, ""),
        ({"AETERNA_KEYS__TOKEN": SECRET}, 6, ""),
        ({"AETERNA_REPOSITORY__URL": "/nonexistent/repository"}, 7, ""),
        ({"AETERNA_DEPLOYMENT": "another"}, 7, "repository_foreign"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_listed(
    practice: Practice,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    exit_code: int,
    code: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = practice.cli("backup", "create")
    assert ran.code == exit_code, ran.err
    assert not code or ran.error["code"] == code
    assert "Traceback" not in ran.err
    assert SECRET not in ran.err
    for name in environment:
        monkeypatch.delenv(name)
    assert practice.open().repository.backups() == []


def test_a_role_that_would_not_see_every_row_is_refused(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = practice.lab.place().secrets.path("postgres-aeterna_app")
    monkeypatch.setenv("AETERNA_POSTGRES__USER", "aeterna_app")
    monkeypatch.setenv("AETERNA_POSTGRES__PASSWORD_FILE", str(secret))
    ran = practice.cli("backup", "create", "--store", "postgres")
    assert ran.code == 6, ran.err
    assert "ALTER ROLE" in ran.error["hint"] or "GRANT" in ran.error["hint"]


def test_another_cluster_than_the_pinned_one_is_refused(practice: Practice) -> None:
    practice.backup("--store", "redis")
    pins = practice.open().pins
    pins.path.write_text(json.dumps({**pins.read(), "redis": "somebody else"}), encoding="utf-8")
    ran = practice.cli("backup", "create", "--store", "redis")
    assert (ran.code, ran.error["code"]) == (7, "another_cluster")


def test_two_at_once_one_waits_for_nobody(practice: Practice) -> None:
    place = practice.open()
    other = Lease(
        place.objects, LeaseRequest(BACKUPS), operation="another operation", actor="ada@host"
    )
    other.acquire()
    try:
        ran = practice.cli("backup", "create", "--store", "redis")
    finally:
        other.release()
    assert (ran.code, ran.error["code"]) == (3, "lease_held")
    assert "ada@host" in ran.error["message"]
    assert practice.cli("backup", "create", "--store", "redis").code == 0


def test_the_signing_key_must_be_the_repositorys(practice: Practice) -> None:
    key = practice.open().signing_key_file
    from aeterna_cli.repository.signing import SigningKey

    key.unlink()
    assert practice.cli("backup", "create").error["code"] == "signing_key_missing"
    SigningKey.generate().save(key)
    assert practice.cli("backup", "create").error["code"] == "signing_key_differs"


def test_a_store_that_dies_in_the_middle_ends_the_backup(practice: Practice) -> None:
    """Redis is gone when its turn comes: exit 4, nothing listed, and the next backup works."""
    control = LabControl(practice.lab)
    control.kill("redis")
    try:
        ran = practice.cli("backup", "create")
    finally:
        control.start("redis")
    assert ran.code == 4, ran.err
    assert practice.open().repository.backups() == []
    practice.backup("--store", "redis")


def test_a_repository_that_cannot_be_written_is_named(practice: Practice, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    practice.repository.chmod(0o500)
    try:
        ran = practice.cli("backup", "create", "--store", "redis")
    finally:
        practice.repository.chmod(0o700)
    assert (ran.code, ran.error["code"]) == (7, "repository_not_writable")
