"""``repository init`` on real servers: one repository, or a refusal that leaves no trace."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.deployment import Lab
from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration

CLOSED = "http://127.0.0.1:1"


@pytest.fixture
def fresh(practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where nothing was initialised, for a profile without pins and signing key."""
    place = tmp_path / "fresh"
    monkeypatch.setenv("AETERNA_REPOSITORY__URL", str(place))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "fresh-state"))
    return place


def tree(folder: Path) -> Mapping[str, bytes]:
    """Every object in a directory repository; ``.lock`` is the directory's own and no object."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in files}


def test_an_empty_place_becomes_a_repository_and_is_pinned(practice: Practice, fresh: Path) -> None:
    ran = practice.cli.ok("repository", "init")
    assert ran.schema == "aeterna.repository.init/1"
    opened = practice.open()
    assert opened.repository.info.uuid == ran.data["uuid"] == opened.pins.read()["repository"]
    assert opened.repository.info.public_key == ran.data["public_key"]
    key = Path(ran.data["signing_key_file"])
    assert key.stat().st_mode & 0o777 == 0o600
    assert fresh not in key.parents
    assert practice.cli.ok("backup", "list").data == []


def test_a_person_is_told_what_to_keep_and_what_is_next(practice: Practice, fresh: Path) -> None:
    text = practice.cli.ok("repository", "init", "-o", "table").out
    assert "public key" in text
    assert "back it up outside this machine" in text
    assert "aeterna-cli backup create" in text


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["init", "dry-run"])
def test_an_existing_repository_is_never_touched(
    practice: Practice, words: tuple[str, ...]
) -> None:
    before = tree(practice.repository)
    ran = practice.cli("repository", "init", *words)
    assert (ran.code, ran.error["code"]) == (7, "repository_exists")
    assert tree(practice.repository) == before


def test_another_deployments_repository_is_refused_and_no_key_is_made(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = tree(practice.repository)
    monkeypatch.setenv("AETERNA_DEPLOYMENT", "another")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other-state"))
    ran = practice.cli("repository", "init")
    assert (ran.code, ran.error["code"]) == (7, "repository_foreign")
    assert tree(practice.repository) == before
    assert not practice.open().signing_key_file.exists()


def test_foreign_files_are_left_alone(practice: Practice, fresh: Path) -> None:
    fresh.mkdir()
    (fresh / "holiday.jpg").write_bytes(b"not ours")
    practice.cli.ok("repository", "init")
    assert (fresh / "holiday.jpg").read_bytes() == b"not ours"


def test_a_damaged_repository_is_not_overwritten(practice: Practice) -> None:
    (practice.repository / "repository.json").write_bytes(b"{}")
    ran = practice.cli("repository", "init")
    assert (ran.code, ran.error["code"]) == (5, "repository_damaged")
    assert (practice.repository / "repository.json").read_bytes() == b"{}"


def test_a_dry_run_makes_nothing(practice: Practice, fresh: Path) -> None:
    data = practice.cli.ok("repository", "init", "--dry-run").data
    assert str(fresh) in data["location"]
    assert "would use" in practice.cli.ok("repository", "init", "--dry-run", "-o", "table").out
    assert not fresh.exists()
    assert not practice.open().signing_key_file.exists()


def test_a_production_profile_wants_an_offline_recipient(
    practice: Practice, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_ENVIRONMENT", "production")
    ran = practice.cli("repository", "init")
    assert (ran.code, ran.error["code"]) == (7, "offline_recipient_missing")
    assert not fresh.exists()


def test_a_missing_bucket_is_named_and_not_made(
    practice: Practice, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = lab_profile.tree(lab.place())["repository"]
    for name, value in {**settings, "url": "s3://nobody-made-this/prefix"}.items():
        monkeypatch.setenv(f"AETERNA_REPOSITORY__{name.upper()}", value)
    for _ in range(2):
        ran = practice.cli("repository", "init")
        assert (ran.code, ran.error["code"]) == (7, "bucket_missing"), ran.err


def test_without_the_key_service_nothing_is_initialised(
    practice: Practice, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_KEYS__ADDRESS", CLOSED)
    ran = practice.cli("repository", "init")
    assert ran.code == 4, ran.err
    assert tree(fresh) == {}
    assert not practice.open().signing_key_file.exists()
    monkeypatch.delenv("AETERNA_KEYS__ADDRESS")
    practice.cli.ok("repository", "init")


def test_a_key_that_is_no_backup_key_is_refused(
    practice: Practice, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_KEYS__TOKEN", "x7-not-the-token")
    ran = practice.cli("repository", "init")
    assert ran.code == 6, ran.err
    assert "x7-not-the-token" not in ran.err
    assert tree(fresh) == {}


def test_a_place_that_cannot_be_made_is_refused(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_REPOSITORY__URL", os.devnull + "/repository")
    ran = practice.cli("repository", "init")
    assert ran.code != 0
    assert "Traceback" not in ran.err


def test_backup_create_wants_a_repository_of_its_own(
    practice: Practice, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.mkdir()
    ran = practice.cli("backup", "create")
    assert (ran.code, ran.error["code"]) == (7, "repository_uninitialised")
    assert ran.error["next_steps"] == ["aeterna-cli repository init"]
    monkeypatch.setenv("AETERNA_REPOSITORY__URL", str(practice.repository))
    monkeypatch.setenv("AETERNA_DEPLOYMENT", "another")
    ran = practice.cli("backup", "create")
    assert (ran.code, ran.error["code"]) == (7, "repository_foreign")
