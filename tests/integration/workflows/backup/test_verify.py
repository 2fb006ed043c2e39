"""``backup verify`` on a real backup: what is whole passes, every kind of damage is named."""

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aeterna_cli.keys import slots
from aeterna_cli.repository import catalogue
from tests.integration.workflows.backup.verify_lab import Copied, copied, found, taken

__all__ = ["copied", "taken"]

pytestmark = pytest.mark.integration

BASE = "postgres/base.tar.zst.age.00000"
DUMP = "redis/dump.rdb.zst.age.00000"
WAL = "postgres/wal/*/*/*-*"

#: What was damaged: the code and the file of each finding that must come of it.
Expected = list[tuple[str, Path]]


def test_a_whole_backup_passes(copied: Copied) -> None:
    ran = copied.verify()
    assert ran.code == 0, ran.err
    data = ran.data
    assert (data["verdict"], data["findings"], data["restored"]) == ("good", [], None)
    assert data["signature_valid"]
    assert data["opened"]
    parts = list(copied.folder.glob("*/*.zst.age.*"))
    chunks = [path for path in copied.folder.glob("postgres/wal/**/*") if path.is_file()]
    volumes = list(copied.folder.glob("*/*.zst.age.00000"))
    assert 1 < len(volumes) < len(parts)
    assert (data["volumes"], data["wal_chunks"]) == (len(volumes), len(chunks))
    assert data["objects"] == len(parts) + len(chunks)
    assert data["stored_bytes"] == sum(path.stat().st_size for path in [*parts, *chunks])
    assert data["slots"] == 1


def test_what_a_person_reads(copied: Copied) -> None:
    ran = copied.verify("-o", "table")
    first, *rest = ran.out.splitlines()
    assert first == f"backup {copied.backup}: whole"
    assert rest[-1] == f"  next: aeterna-cli backup verify {copied.backup} --restore"
    copied.one(DUMP).unlink()
    flip(copied.one(BASE), 7)
    (copied.folder / "stray").write_bytes(b"?")
    ran = copied.verify("-o", "table")
    assert ran.code == 8
    first, *rest = ran.out.splitlines()
    assert first == f"backup {copied.backup}: DAMAGED"
    errors = [line for line in rest if line.startswith("  ERROR: ")]
    assert len(errors) == 2
    assert any(copied.key(copied.folder / DUMP) in line for line in errors)
    assert sum("copy of the repository" in line for line in rest) == 1
    assert any(line.startswith("  note: ") and "stray" in line for line in rest)
    assert "2 findings" in ran.err


def flip(path: Path, where: int) -> None:
    data = bytearray(path.read_bytes())
    data[where] ^= 0x40
    path.write_bytes(data)


def head(copy: Copied) -> Expected:
    flip(copy.one(BASE), 0)
    return [("part_damaged", copy.one(BASE))]


def middle(copy: Copied) -> Expected:
    flip(copy.one(BASE), copy.one(BASE).stat().st_size // 2)
    return [("part_damaged", copy.one(BASE))]


def tail(copy: Copied) -> Expected:
    flip(copy.one(BASE), -1)
    return [("part_damaged", copy.one(BASE))]


def truncated(copy: Copied) -> Expected:
    path = copy.one(BASE)
    path.write_bytes(path.read_bytes()[:-1])
    return [("part_truncated", path)]


def emptied(copy: Copied) -> Expected:
    copy.one(DUMP).write_bytes(b"")
    return [("part_truncated", copy.one(DUMP))]


def extended(copy: Copied) -> Expected:
    with copy.one(BASE).open("ab") as file:
        file.write(b"more")
    return [("part_damaged", copy.one(BASE))]


def swapped(copy: Copied) -> Expected:
    first, second = copy.one("qdrant/*", 0), copy.one("qdrant/*", 1)
    one, other = first.read_bytes(), second.read_bytes()
    assert len(one) != len(other)
    first.write_bytes(other)
    second.write_bytes(one)
    codes = ("part_damaged", "part_truncated")
    return list(zip(codes if len(other) > len(one) else codes[::-1], (first, second), strict=True))


def parts_swapped(copy: Copied) -> Expected:
    """Of the same size, and nothing else about them differs."""
    first, second = copy.one(BASE), copy.one("postgres/base.tar.zst.age.00001")
    one, other = first.read_bytes(), second.read_bytes()
    assert len(one) == len(other)
    first.write_bytes(other)
    second.write_bytes(one)
    return [("part_damaged", first), ("part_damaged", second)]


def missing(copy: Copied) -> Expected:
    path = copy.one("postgres/base.tar.zst.age.00001")
    path.unlink()
    return [("object_missing", path)]


def marker_missing(copy: Copied) -> Expected:
    (copy.folder / "marker.json").unlink()
    return [("object_missing", copy.folder / "marker.json")]


def marker_changed(copy: Copied) -> Expected:
    (copy.folder / "marker.json").write_text('{"marker": 0}')
    return [("object_damaged", copy.folder / "marker.json")]


def marker_no_json(copy: Copied) -> Expected:
    (copy.folder / "marker.json").write_text("{")
    return [("object_damaged", copy.folder / "marker.json")]


def marker_no_object(copy: Copied) -> Expected:
    (copy.folder / "marker.json").write_text("7")
    return [("object_damaged", copy.folder / "marker.json")]


def chunk_missing(copy: Copied) -> Expected:
    path = copy.one(WAL, 1)
    path.unlink()
    return [("object_missing", path)]


def chunk_changed(copy: Copied) -> Expected:
    flip(copy.one(WAL), -1)
    return [("part_damaged", copy.one(WAL))]


def chunk_truncated(copy: Copied) -> Expected:
    path = copy.one(WAL)
    path.write_bytes(path.read_bytes()[:9])
    return [("part_truncated", path)]


def chunk_extended(copy: Copied) -> Expected:
    with copy.one(WAL).open("ab") as file:
        file.write(b"more")
    return [("part_damaged", copy.one(WAL))]


def slot_changed(copy: Copied) -> Expected:
    path = copy.folder / "slots/0.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "ciphertext": "vault:v1:AAAA"}))
    return [("slot_foreign", path), ("not_opened", copy.folder)]


def slot_unreadable(copy: Copied) -> Expected:
    path = copy.folder / "slots/0.json"
    path.write_text("[]")
    return [("slot_damaged", path), ("not_opened", copy.folder)]


def slot_missing(copy: Copied) -> Expected:
    path = copy.folder / "slots/0.json"
    path.unlink()
    return [("object_missing", path), ("not_opened", copy.folder)]


def slots_with_a_gap(copy: Copied) -> Expected:
    path = copy.folder / "slots/0.json"
    shutil.copy(path, copy.folder / "slots/2.json")
    return [("object_missing", copy.folder / "slots/1.json")]


def slot_of_nobody(copy: Copied) -> Expected:
    first, second = copy.folder / "slots/0.json", copy.folder / "slots/1.json"
    second.write_text(json.dumps({**json.loads(first.read_bytes()), "signature": "no base64!"}))
    return [("slot_foreign", second)]


def slot_by_another_name(copy: Copied) -> Expected:
    """What a restore takes for a slot must be one."""
    path = copy.folder / "slots/00.json"
    path.write_text("somebody was here")
    return [("slot_damaged", path)]


def slot_far_away(copy: Copied) -> Expected:
    """Not a million findings: only so many gaps are named."""
    path = copy.folder / "slots/999999.json"
    path.write_text("{}")
    gaps = [copy.folder / f"slots/{number}.json" for number in range(1, 19)]
    return [
        *(("object_missing", gap) for gap in gaps),
        ("slot_damaged", path),
    ]


def slot_of_another_backup(copy: Copied) -> Expected:
    """Signed by this deployment, for this place, and holding another identity."""
    place, folder = copy.practice.open(), f"backups/{copy.backup}"
    context = slots.slot_context(place.repository.info.uuid, folder)
    another = slots.create_identity()[0]
    wrapped = place.key_service.wrap(another.encode(), context=context)
    own = slots.read_slots(place.objects, folder)[0]
    slot = replace(own, number=1, ciphertext=wrapped.ciphertext, key_version=wrapped.key_version)
    signature = copy.signing_key().sign(slot.signed_bytes(context))
    slot = replace(slot, signature=base64.b64encode(signature).decode())
    slots.store_slot(place.objects, folder, slot)
    return [("slot_closed", copy.folder / "slots/1.json")]


def wal_that_the_disk_does_not_give(copy: Copied) -> Expected:
    """A node that the system refuses to open (ENXIO), as it refuses a bad sector (EIO)."""
    path = copy.one(WAL)
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)
    return [("object_unreadable", path)]


def manifest_changed(copy: Copied) -> Expected:
    path = copy.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"before the upgrade", b"before the Upgrade"))
    return [("signature_invalid", path)]


def manifest_emptied(copy: Copied) -> Expected:
    (copy.folder / "manifest.json").write_bytes(b"")
    return [("signature_invalid", copy.folder / "manifest.json")]


def manifest_missing(copy: Copied) -> Expected:
    (copy.folder / "manifest.json").unlink()
    return [("object_missing", copy.folder / "manifest.json")]


def signature_missing(copy: Copied) -> Expected:
    (copy.folder / "manifest.sig").unlink()
    return [("signature_invalid", copy.folder / "manifest.sig")]


def manifest_signed_and_no_manifest(copy: Copied) -> Expected:
    data = b'{"schema":"aeterna.manifest/1"}'
    (copy.folder / "manifest.json").write_bytes(data)
    (copy.folder / "manifest.sig").write_bytes(copy.signing_key().sign(data))
    return [("manifest_invalid", copy.folder / "manifest.json")]


def foreign_wal(copy: Copied) -> Expected:
    """A recovery would read it: more than a note."""
    path = copy.one(WAL)
    start, end = path.name.split("-")
    longer = path.with_name(f"{start}-{int(end, 16) + 1:016X}")
    shutil.copy(path, longer)
    return [("object_unexpected", longer)]


def many_at_once(copy: Copied) -> Expected:
    return [
        *missing(copy),
        *emptied(copy),
        *swapped(copy),
        *chunk_missing(copy),
        *chunk_changed(copy),
        *slot_of_nobody(copy),
        *marker_missing(copy),
    ]


DAMAGES: tuple[Callable[[Copied], Expected], ...] = (
    head, middle, tail, truncated, emptied, extended, swapped, parts_swapped, missing,
    marker_missing, marker_changed, marker_no_json, marker_no_object,
    chunk_missing, chunk_changed, chunk_truncated, chunk_extended, foreign_wal,
    wal_that_the_disk_does_not_give,
    slot_changed, slot_unreadable, slot_missing, slots_with_a_gap, slot_of_nobody,
    slot_by_another_name, slot_far_away, slot_of_another_backup,
    manifest_changed, manifest_emptied, manifest_missing, signature_missing,
    manifest_signed_and_no_manifest, many_at_once,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named(copied: Copied, damage: Callable[[Copied], Expected]) -> None:
    expected = {(code, copied.key(path)) for code, path in damage(copied)}
    ran = copied.verify(copied.backup)
    assert (ran.code, ran.error["code"]) == (8, "backup_damaged"), ran.err
    assert found(ran) == expected
    assert ran.data["verdict"] == "damaged"
    for one in ran.data["findings"]:
        assert one["subject"] in one["message"] or one["code"] == "not_opened"
        assert one["mend"]


def test_an_unknown_object_is_a_note(copied: Copied) -> None:
    (copied.folder / "redis" / "readme").write_text("somebody was here")
    (copied.folder / "slots" / "readme").write_text("somebody was here")
    ran = copied.verify()
    assert ran.code == 0, ran.err
    assert {(one["code"], one["severity"], one["subject"]) for one in ran.data["findings"]} == {
        ("object_unexpected", "info", copied.key(copied.folder / "redis" / "readme")),
        ("object_unexpected", "info", copied.key(copied.folder / "slots" / "readme")),
    }


def test_the_offline_identity_works_without_the_key_service(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_KEYS__ADDRESS", "http://127.0.0.1:1")
    ran = copied.verify("--identity-file", str(copied.offline))
    assert ran.code == 0, ran.err
    assert (ran.data["verdict"], ran.data["opened"], ran.data["findings"]) == ("good", True, [])
    copied.one("slots/*").unlink()
    ran = copied.verify("--identity-file", str(copied.offline))
    assert found(ran) == {("object_missing", f"backups/{copied.backup}/slots/0.json")}
    assert ran.data["opened"]


def test_a_wrong_identity_file_is_not_damage(copied: Copied, tmp_path: Path) -> None:
    file = tmp_path / "another.txt"
    file.write_text(slots.create_identity()[0])
    emptied(copied)
    (copied.folder / DUMP).with_name("configuration.json.zst.age.00000").write_bytes(b"?")
    ran = copied.verify("--identity-file", str(file), "--restore")
    not_opened, *rest = ran.data["findings"]
    assert (not_opened["code"], not_opened["severity"]) == ("not_opened", "warning")
    assert not_opened["details"]["cause"] == "identity_refused"
    assert {one["code"] for one in rest} == {"part_truncated"}
    assert ran.data["restored"] == []
    assert "AGE-SECRET-KEY" not in ran.out + ran.err


def test_where_everything_is_damaged_a_wrong_file_is_not_blamed(
    copied: Copied, tmp_path: Path
) -> None:
    file = tmp_path / "another.txt"
    file.write_text(slots.create_identity()[0])
    paths = list(copied.folder.glob("*/*.zst.age.*"))
    for path in [*paths, *copied.folder.glob(WAL)]:
        flip(path, -1)
    ran = copied.verify("--identity-file", str(file))
    assert {one["code"] for one in ran.data["findings"]} == {"part_damaged"}


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "identity_file_unreadable"), ("nothing", "identity_file_invalid")],
)
def test_an_unusable_identity_file_is_refused(
    copied: Copied, tmp_path: Path, content: str | None, code: str
) -> None:
    file = tmp_path / "identity.txt"
    if content is not None:
        file.write_text(content)
    ran = copied.verify("--identity-file", str(file))
    assert (ran.code, ran.error["code"], ran.out) == (7, code, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("AETERNA_KEYS__ADDRESS", "http://127.0.0.1:1"), ("AETERNA_KEYS__TOKEN", "not-the-token")],
)
def test_without_a_key_everything_is_hashed_and_that_is_said(
    copied: Copied, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    ran = copied.verify("--restore")
    assert (ran.code, ran.error["code"]) == (8, "backup_not_proven")
    assert found(ran) == {("not_opened", f"backups/{copied.backup}")}
    assert (ran.data["verdict"], ran.data["opened"]) == ("not_proven", False)
    assert ran.data["restored"] == []


def test_damage_is_found_without_a_key(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_KEYS__TOKEN", "not-the-token")
    assert "NOT opened" in copied.verify("-o", "table").out
    expected = {(code, copied.key(path)) for code, path in [*head(copied), *chunk_changed(copied)]}
    ran = copied.verify()
    assert ran.error["code"] == "backup_damaged"
    assert found(ran) == {*expected, ("not_opened", f"backups/{copied.backup}")}


def test_a_slot_of_another_key_service_is_only_told(copied: Copied) -> None:
    path = copied.folder / "slots/1.json"
    document = json.loads((copied.folder / "slots/0.json").read_bytes())
    slot = slots.parse_slot(1, "1", json.dumps({**document, "provider": "local"}).encode())
    context = slots.slot_context(
        copied.practice.open().repository.info.uuid, f"backups/{copied.backup}"
    )
    signature = base64.b64encode(copied.signing_key().sign(slot.signed_bytes(context))).decode()
    path.write_text(json.dumps({**document, "provider": "local", "signature": signature}))
    ran = copied.verify()
    assert (ran.code, ran.error["code"]) == (8, "backup_not_proven")
    assert found(ran) == {("slot_closed", copied.key(path))}
    assert ran.data["opened"]


def test_a_slot_of_a_newer_tool_is_only_told(copied: Copied) -> None:
    path = copied.folder / "slots/0.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "schema": "aeterna.key-slot/9"}))
    ran = copied.verify()
    assert (ran.code, ran.error["code"]) == (8, "backup_not_proven")
    assert found(ran) == {
        ("slot_too_new", copied.key(path)),
        ("not_opened", copied.key(copied.folder)),
    }


def test_which_backup(copied: Copied) -> None:
    assert copied.verify("nonsense").code == 2
    ran = copied.verify("20200101T000000Z-000000")
    assert (ran.code, ran.error["code"]) == (7, "backup_missing")
    shutil.rmtree(copied.repository / "backups")
    shutil.rmtree(copied.repository / "catalogue")
    ran = copied.verify()
    assert (ran.code, ran.error["code"]) == (7, "no_backups")


def prune(copied: Copied) -> None:
    """The record that a prune writes before it deletes anything."""
    store = copied.practice.open().objects
    catalogue.append(store, "pruned", copied.backup, time=store.now())


def test_a_prune_in_the_middle_is_not_damage(copied: Copied) -> None:
    prune(copied)
    assert copied.verify(copied.backup).code == 0
    for damage in (slot_missing, missing, signature_missing):
        damage(copied)
        ran = copied.verify(copied.backup)
        assert (ran.code, ran.error["code"], ran.out) == (3, "backup_pruned", "")
    (copied.folder / "manifest.json").unlink()
    ran = copied.verify(copied.backup)
    assert (ran.code, ran.error["code"]) == (7, "backup_missing")


def test_verify_beside_a_real_prune(copied: Copied) -> None:
    """Whatever it finds on its way, it never calls the backup damaged."""
    copied.cli.ok("backup", "create", "--store", "redis")
    words = ("backup", "prune", "--window-days", "0", "--keep-last", "1", "--minimum", "1")
    answers = [copied.verify(copied.backup).code]
    with subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", *words, "--yes"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as pruning:
        while answers[-1] != 7:
            assert pruning.poll() in (None, 0)
            answers.append(copied.verify(copied.backup).code)
        _out, err = pruning.communicate()
    assert pruning.returncode == 0, err
    assert {*answers} <= {0, 3, 7}


def test_damage_is_told_although_the_catalogue_is_damaged_too(copied: Copied) -> None:
    missing(copied)
    next((copied.repository / "catalogue").iterdir()).write_bytes(b"?")
    ran = copied.verify(copied.backup)
    assert (ran.code, ran.error["code"]) == (8, "backup_damaged")
    (copied.folder / "manifest.json").unlink()
    ran = copied.verify(copied.backup)
    assert (ran.code, ran.error["code"]) == (5, "catalogue_damaged")


def test_what_cannot_be_judged_is_an_error(copied: Copied) -> None:
    """A newer tool's backup is not damaged."""
    data = b'{"schema":"aeterna.manifest/9"}'
    (copied.folder / "manifest.json").write_bytes(data)
    (copied.folder / "manifest.sig").write_bytes(copied.signing_key().sign(data))
    ran = copied.verify()
    assert (ran.code, ran.error["code"]) == (7, "manifest_too_new")
