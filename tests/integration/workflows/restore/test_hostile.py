"""Hostile backups: whoever may write to the repository, even sign, neither breaks out nor destroys.

Every case ends in a typed error with a documented exit code and a next step, and what is served
stays as it was: compared by digest, after changes that a restore would have undone.
"""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import ExitCode
from aeterna_cli.lab.valkey import client
from aeterna_cli.repository.signing import SigningKey
from tests.command_line import Ran
from tests.integration.deployment import NAME, Practice
from tests.integration.workflows.backup.verify_lab import Copied, Taken, copied, found, taken

__all__ = ["copied", "taken"]

pytestmark = pytest.mark.integration

ESCAPED = "escaped-from-the-archive"


@dataclass(frozen=True)
class Target:
    """What is served, changed since the backup. ``other`` is another backup's id."""

    practice: Practice
    backup: str
    other: str

    def mend(self) -> None:
        """Qdrant holds the backup again, from the undamaged repository."""
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("AETERNA_REPOSITORY__URL")
            for name, value in self.practice.environment.items():
                patch.setenv(name, value)
            words = ("--backup", self.backup, "--store", "qdrant", "--confirm", NAME)
            self.practice.cli.ok("restore", "run", *words)

    def state(self) -> dict[str, Any]:
        """A digest of every store, and which cluster on which timeline it is."""
        with closing(self.practice.open()) as place, self.practice.sql() as connection:
            row = connection.execute(
                "SELECT (SELECT md5(string_agg(m::text, ',' ORDER BY m.id)) FROM memory_entries m),"
                " (SELECT count(*) FROM after_the_backup),"
                " (SELECT system_identifier FROM pg_control_system()),"
                " (SELECT timeline_id FROM pg_control_checkpoint())"
            ).fetchone()
            points = {
                one.name: (one.aliases, place.qdrant.live_digests(one.name).total)
                for one in place.qdrant.describe()
                if one.restorable
            }
            keys = place.redis.digests().persistent
        return {"postgres": row, "redis": keys, "qdrant": points}


@pytest.fixture(scope="module")
def target(taken: Taken) -> Iterator[Target]:
    """The live servers with something in each that no backup holds."""
    practice, backup = taken
    with pytest.MonkeyPatch.context() as patch:
        for name, value in practice.environment.items():
            patch.setenv(name, value)
        other = practice.backup("--store", "postgres", "--store", "redis")["backup"]
    with practice.sql() as connection:
        connection.execute("CREATE TABLE after_the_backup AS SELECT 1 AS n")
    with client(practice.lab.place()) as server:
        server.set("after-the-backup", "1")
    yield Target(practice, backup["backup"], other)
    with practice.sql() as connection:
        connection.execute("DROP TABLE after_the_backup")
    with client(practice.lab.place()) as server:
        server.delete("after-the-backup")


@pytest.fixture
def hostile(copied: Copied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copied:
    """The copy, with a state folder of its own: no operation of another test is in the way."""
    shutil.copytree(copied.practice.environment["XDG_STATE_HOME"], tmp_path / "state")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return copied


def restore(copy: Copied, *words: str) -> Ran:
    return copy.cli("restore", "run", "--backup", copy.backup, "--confirm", NAME, *words)


def ended_well(ran: Ran, exit_code: ExitCode, code: str) -> None:
    """A typed error that says how to go on, and not a word of Python."""
    assert (ran.code, ran.error["code"]) == (exit_code, code), ran.err
    assert ran.error["exit_code"] == exit_code
    assert ran.error["message"]
    assert ran.error["next_steps"], ran.error
    assert "Traceback" not in ran.err + ran.out


# -- archives, signed by the deployment's own key


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    if kind == tarfile.CHRTYPE:
        info.devmajor, info.devminor = 1, 3
    return info


def archive(*members: tarfile.TarInfo) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for info in (member("PG_VERSION"), *members):
            made.addfile(info)
    return output.getvalue()


HOSTILE: Mapping[str, Callable[[Path], list[tarfile.TarInfo]]] = {
    "climbing": lambda _: [member(f"../{ESCAPED}")],
    "climbing_inside": lambda _: [member(f"base/../../{ESCAPED}")],
    "absolute": lambda folder: [member(str(folder / ESCAPED))],
    "symlink": lambda folder: [
        member("base", tarfile.SYMTYPE, str(folder)),
        member(f"base/{ESCAPED}"),
    ],
    "hard_link": lambda folder: [member("postgresql.conf", tarfile.LNKTYPE, str(folder / "file"))],
    "device": lambda _: [member("null", tarfile.CHRTYPE)],
    "pipe": lambda _: [member("pipe", tarfile.FIFOTYPE)],
    "twice": lambda _: [member("PG_VERSION")],
}


def replaced(copy: Copied, data: bytes, **changes: object) -> None:
    """``base.tar`` holds ``data``, and a signed manifest says so."""
    record = {**copy.seal("postgres", "base.tar", data), **changes}

    def change(manifest: dict[str, Any]) -> None:
        volumes = manifest["stores"]["postgres"]["volumes"]
        volumes[:] = [record if one["name"] == "base.tar" else one for one in volumes]

    copy.resign(change)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_does_not_break_out(
    name: str, hostile: Copied, target: Target, tmp_path: Path
) -> None:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(b"not yours")
    replaced(hostile, archive(*HOSTILE[name](folder)))
    before = target.state()
    ran = restore(hostile, "--store", "postgres")
    ended_well(ran, ExitCode.REMOTE, "archive_unsafe")
    directory = tmp_path / "new" / "data"
    ran = restore(hostile, "--store", "postgres", "--data-dir", str(directory))
    ended_well(ran, ExitCode.REMOTE, "archive_unsafe")
    assert target.state() == before
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").stat().st_nlink == 1
    for top in (tmp_path, target.practice.lab.directory):
        assert list(top.rglob(ESCAPED)) == []
    assert not any(path.is_symlink() for path in directory.parent.rglob("*"))


def test_the_same_archive_in_a_trial_restore(hostile: Copied, tmp_path: Path) -> None:
    replaced(hostile, archive(member(f"../{ESCAPED}")))
    assert hostile.verify(hostile.backup).code == 0  # it is the very archive that was signed
    ran = hostile.verify(hostile.backup, "--restore")
    ended_well(ran, ExitCode.FINDINGS, "backup_damaged")
    assert any("archive_unsafe" in json.dumps(one) or ESCAPED in one["message"]
               for one in ran.data["findings"])  # fmt: skip
    assert list(tmp_path.rglob(ESCAPED)) == []


def test_a_bomb_ends_at_the_announced_size(hostile: Copied, target: Target, tmp_path: Path) -> None:
    """64 MiB of zeros in a few KB, announced as 10 KiB."""
    info, output = member("bomb"), io.BytesIO()
    info.size = 64 << 20
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as made:
        made.addfile(info, io.BytesIO(bytes(info.size)))
    replaced(hostile, output.getvalue(), plain_bytes=10_240)
    before, directory = target.state(), tmp_path / "new" / "data"
    ran = restore(hostile, "--store", "postgres", "--data-dir", str(directory))
    assert ran.error["code"] in ("archive_unsafe", "volume_damaged")
    ended_well(ran, ExitCode.REMOTE, ran.error["code"])
    written = [path.stat().st_size for path in directory.parent.rglob("*") if path.is_file()]
    assert sum(written) <= 10_240
    ran = hostile.verify(hostile.backup)
    ended_well(ran, ExitCode.FINDINGS, "backup_damaged")
    assert {code for code, _ in found(ran)} == {"volume_damaged"}
    assert target.state() == before


# -- manifests

Attack = Callable[[Copied, Target], None]


def unsigned(copy: Copied, _: Target) -> None:
    (copy.folder / "manifest.sig").unlink()


def changed(copy: Copied, _: Target) -> None:
    path = copy.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"before the upgrade", b"before the Upgrade"))


def signed_by_a_stranger(copy: Copied, _: Target) -> None:
    data = (copy.folder / "manifest.json").read_bytes()
    (copy.folder / "manifest.sig").write_bytes(SigningKey.generate().sign(data))


def another_backups(copy: Copied, target: Target) -> None:
    other = target.practice.repository / "backups" / target.other
    for name in ("manifest.json", "manifest.sig"):
        shutil.copy(other / name, copy.folder / name)


def of_another_repository(copy: Copied, _: Target) -> None:
    copy.resign(lambda manifest: manifest.update(repository="0" * 8))


def of_a_newer_major(copy: Copied, _: Target) -> None:
    copy.resign(lambda manifest: manifest.update(schema="aeterna.manifest/2"))


def names_a_foreign_object(copy: Copied, target: Target) -> None:
    def change(manifest: dict[str, Any]) -> None:
        part = manifest["stores"]["redis"]["volumes"][0]["parts"][0]
        part["key"] = part["key"].replace(copy.backup, target.other)

    copy.resign(change)


def climbs_in_a_key(copy: Copied, _: Target) -> None:
    def change(manifest: dict[str, Any]) -> None:
        part = manifest["stores"]["redis"]["volumes"][0]["parts"][0]
        part["key"] = part["key"].replace("/redis/", "/redis/../../../")

    copy.resign(change)


MANIFESTS: tuple[tuple[Attack, ExitCode, str], ...] = (
    (unsigned, ExitCode.REMOTE, "signature_invalid"),
    (changed, ExitCode.REMOTE, "signature_invalid"),
    (signed_by_a_stranger, ExitCode.REMOTE, "signature_invalid"),
    (another_backups, ExitCode.REMOTE, "manifest_invalid"),
    (of_another_repository, ExitCode.REMOTE, "manifest_invalid"),
    (names_a_foreign_object, ExitCode.REMOTE, "manifest_invalid"),
    (climbs_in_a_key, ExitCode.REMOTE, "manifest_invalid"),
    (of_a_newer_major, ExitCode.REFUSED, "manifest_too_new"),
)


@pytest.mark.parametrize(("attack", "exit_code", "code"), MANIFESTS)
def test_a_manifest_that_is_not_the_deployments_is_refused(
    attack: Attack, exit_code: ExitCode, code: str, hostile: Copied, target: Target
) -> None:
    attack(hostile, target)
    before = target.state()
    ended_well(restore(hostile), exit_code, code)
    ran = hostile.verify(hostile.backup)
    if code == "manifest_too_new":
        ended_well(ran, exit_code, code)
        assert "upgrade" in ran.error["next_steps"][0]
    else:
        ended_well(ran, ExitCode.FINDINGS, "backup_damaged")
        assert code in {one for one, _ in found(ran)}
    assert target.state() == before


# -- repositories


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("uuid", "f547845f-bb5e-441e-a0a0-424bfe7ef609", "another_cluster"),
        ("public_key", "IrK3Y9Wm6fiMSJn6Et6CLAhSqYQImYjxBWFIvCfBdww=", "another_cluster"),
        ("deployment", "somebody-elses", "repository_foreign"),
        ("format", "2.0", "repository_too_new"),
    ],
)
def test_another_repository_is_refused(
    field: str, value: str, code: str, hostile: Copied, target: Target
) -> None:
    path = hostile.repository / "repository.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), field: value}))
    before = target.state()
    for ran in (restore(hostile), hostile.verify(hostile.backup)):
        ended_well(ran, ExitCode.REFUSED, code)
    assert target.state() == before


# -- stored objects

Damage = Callable[[Path, Path], None]


def swapped(path: Path, other: Path) -> None:
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def truncated(path: Path, _: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def missing(path: Path, _: Path) -> None:
    path.unlink()


def flipped(path: Path, _: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def parts(copy: Copied, store: str) -> tuple[Path, Path]:
    """Two volumes' first parts; the first is of what a restore of the store reads last."""
    part = json.loads((copy.folder / "manifest.json").read_bytes())["stores"][store]
    own = [image["volume"] for image in part["facts"].get("images", ())
           if image["collection"] == "aeterna_ops_marker"]  # fmt: skip
    names = [one["name"] for one in part["volumes"] if one["name"] not in own]
    if store != "qdrant":
        names.sort(key=lambda name: name in ("base.tar", "dump.rdb"))
    return (
        copy.folder / store / f"{names[-1]}.zst.age.00000",
        copy.folder / store / f"{names[0]}.zst.age.00000",
    )


DAMAGES: tuple[tuple[str, Damage, str], ...] = (
    ("postgres", swapped, "archive_unsafe"),  # what is no tar is refused before its end is hashed
    ("postgres", flipped, "part_damaged"),
    ("redis", truncated, "part_truncated"),
    ("redis", missing, "object_missing"),
)


@pytest.mark.parametrize(("store", "damage", "code"), DAMAGES)
def test_a_damaged_volume_is_named_and_nothing_is_overwritten(
    store: str, damage: Damage, code: str, hostile: Copied, target: Target
) -> None:
    path, other = parts(hostile, store)
    damage(path, other)
    ran = hostile.verify(hostile.backup)
    ended_well(ran, ExitCode.FINDINGS, "backup_damaged")
    assert hostile.key(path) in {subject for _, subject in found(ran)}
    before = target.state()
    ran = restore(hostile, "--store", store)
    ended_well(ran, ExitCode.REMOTE, code)
    if code != "archive_unsafe":
        assert ran.error["details"]["key"] == hostile.key(path)
    assert target.state() == before


def test_a_damaged_image_of_qdrant_overwrites_nothing(hostile: Copied, target: Target) -> None:
    path, other = parts(hostile, "qdrant")
    missing(path, other)
    before = target.state()
    try:
        ran = restore(hostile, "--store", "qdrant")
        ended_well(ran, ExitCode.REMOTE, "object_missing")
        assert target.state() == before
    finally:
        target.mend()


def test_a_damaged_image_of_qdrant_is_named(hostile: Copied) -> None:
    path, other = parts(hostile, "qdrant")
    swapped(path, other)
    ran = hostile.verify(hostile.backup)
    ended_well(ran, ExitCode.FINDINGS, "backup_damaged")
    assert {hostile.key(path), hostile.key(other)} <= {subject for _, subject in found(ran)}
