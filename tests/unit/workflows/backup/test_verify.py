"""``backup verify`` where no server is needed: a small backup, its key, and small damages."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.workflows.backup.offline import Archive, archive

__all__ = ["archive"]

BACKUP = "20261121T030000Z-0a1b2c"
VOLUME = "redis/dump.rdb.zst.age.00000"


def test_whole_with_the_key_service_and_with_the_offline_identity(archive: Archive) -> None:
    archive.backup(BACKUP)
    for words in ((), ("--identity-file", str(archive.identity))):
        data = archive.cli.ok("backup", "verify", *words).data
        assert (data["verdict"], data["opened"], data["objects"]) == ("good", True, 1)
        assert (data["slots"], data["findings"], data["restored"]) == (1, [], None)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def on_a_bad_disk(path: Path) -> None:
    """A node that the system refuses to open (ENXIO), as it refuses a bad sector (EIO)."""
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)


@pytest.mark.parametrize("name", [VOLUME, "marker.json", "slots/0.json"])
def test_what_the_disk_does_not_give_is_named_and_hides_nothing(
    archive: Archive, name: str
) -> None:
    archive.backup(BACKUP)
    names = [VOLUME, "marker.json", "slots/0.json"]
    for one in names:
        (on_a_bad_disk if one == name else emptied)(archive.path(BACKUP, one))
    for words in ((), ("--identity-file", str(archive.identity))):
        ran = archive.cli("backup", "verify", BACKUP, *words)
        assert (ran.code, ran.error["code"]) == (8, "backup_damaged")
        codes = {one["subject"]: one["code"] for one in ran.data["findings"]}
        folder = f"backups/{BACKUP}"
        assert codes[f"{folder}/{name}"] == "object_unreadable"
        assert {f"{folder}/{one}" for one in names} <= codes.keys()


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("name", [VOLUME, "marker.json", "slots/0.json"])
def test_a_missing_permission_is_no_damage(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, name: str, offline: bool
) -> None:
    """Root may read everything, so the system call itself has to refuse."""
    archive.backup(BACKUP)
    path, real = archive.path(BACKUP, name), os.open

    def refusing(what: Any, *rest: Any, **named: Any) -> int:
        if os.fspath(what) == str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(what, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)
    words = ("--identity-file", str(archive.identity)) if offline else ()
    ran = archive.cli("backup", "verify", BACKUP, *words)
    assert (ran.code, ran.error["code"], ran.out) == (7, "repository_not_writable", "")
    assert str(path) in ran.error["message"]


def test_a_manifest_that_the_disk_does_not_give_is_an_error(archive: Archive) -> None:
    archive.backup(BACKUP)
    on_a_bad_disk(archive.path(BACKUP, "manifest.json"))
    ran = archive.cli("backup", "verify", BACKUP)
    assert (ran.code, ran.error["code"], ran.out) == (5, "repository_io", "")
    assert "manifest.json" in ran.error["message"]


@pytest.mark.parametrize("damage", [Path.unlink, emptied], ids=["gone", "empty"])
@pytest.mark.parametrize(
    "name", [VOLUME, "marker.json", "slots/0.json", "manifest.json", "manifest.sig"]
)
def test_every_object_counts(archive: Archive, name: str, damage: Callable[[Path], None]) -> None:
    archive.backup(BACKUP)
    path = archive.path(BACKUP, name)
    damage(path)
    ran = archive.cli("backup", "verify", BACKUP)
    assert (ran.code, ran.error["code"]) == (8, "backup_damaged")
    subjects = {one["subject"] for one in ran.data["findings"]}
    # an empty signature is told of what it does not sign
    told = path.with_name("manifest.json") if name == "manifest.sig" and path.exists() else path
    assert told.relative_to(archive.folder).as_posix() in subjects


def test_a_lost_key_file_is_not_damage_of_the_stored_bytes(archive: Archive) -> None:
    """Nothing opens it any more, and the offline identity still does."""
    archive.backup(BACKUP)
    key = archive.place.profile.keys.key_file
    assert key is not None
    key.unlink()
    ran = archive.cli("backup", "verify")
    assert (ran.code, ran.error["code"]) == (8, "backup_not_proven")
    assert {one["code"] for one in ran.data["findings"]} == {"slot_closed", "not_opened"}
    archive.cli.ok("backup", "verify", "--identity-file", str(archive.identity))


def test_what_a_person_reads(archive: Archive) -> None:
    """The worst first; what is mended alike stands together, and how is said once."""
    archive.backup(BACKUP)
    key = archive.place.profile.keys.key_file
    assert key is not None
    key.unlink()
    archive.path(BACKUP, "stray").write_bytes(b"?")
    archive.path(BACKUP, VOLUME).unlink()
    lines = archive.cli("backup", "verify", BACKUP, "-o", "table").out.splitlines()
    assert lines[0] == f"backup {BACKUP}: DAMAGED"
    assert lines[1] == "  manifest     signed by this deployment"
    assert lines[2].startswith("  objects      1 volume and 0 pieces of WAL (")
    assert "hashed, NOT opened in " in lines[2]
    assert lines[3] == "  keys         1 key slot"
    folder = f"backups/{BACKUP}"
    assert lines[4] == f"  ERROR: {folder}/{VOLUME} is missing from the repository"
    assert lines[5].startswith("    why/how: restore this object from a copy of the repository")
    assert lines[6].startswith(f"  warning: {folder}/slots/0.json does not open: ")
    assert lines[8].startswith("  warning: not opened: ")
    assert lines[10:] == [
        f"  note: {folder}/stray is no part of this backup",
        "    why/how: find out who wrote it, then delete it",
    ]
