"""``backup list`` and ``backup show`` on a real repository: every state, made for real."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.valkey import client
from aeterna_cli.repository import catalogue
from aeterna_cli.workflows.backup.list import human_age
from tests.integration.deployment import Practice
from tests.integration.workflows.backup.verify_lab import Copied, copied, taken

__all__ = ["copied", "taken"]

pytestmark = pytest.mark.integration

USER, PASSWORD = "reads-key-by-key", "not-secret-at-all"


def listed(copied: Copied, *words: str) -> dict[str, dict[str, Any]]:
    ran = copied.cli.ok("backup", "list", *words)
    assert ran.schema == "aeterna.backup.list/1"
    return {one["backup"]: one for one in ran.data}


def cached(practice: Practice) -> list[str]:
    """What the shells' completion offers."""
    return (practice.open().cache_directory / "backups").read_text().splitlines()


def small_backup(copied: Copied, *words: str) -> str:
    found: str = copied.practice.backup("--store", "redis", *words)["backup"]
    return found


def records(copied: Copied) -> list[Path]:
    return sorted((copied.repository / "catalogue").iterdir())


def say(copied: Copied, kind: Any, backup: str) -> None:
    store = copied.practice.open().objects
    catalogue.append(store, kind, backup, time=store.now())


@pytest.fixture
def degraded_backup(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server that does not let itself be replicated: keys are read one by one."""
    with client(copied.practice.lab.place()) as server:
        server.execute_command(
            "ACL",
            "SETUSER",
            USER,
            "on",
            f">{PASSWORD}",
            "~*",
            "&*",
            "+@all",
            "-psync",
            "-sync",
            "-acl|dryrun",
        )
    with monkeypatch.context() as patch:
        patch.setenv("AETERNA_REDIS__USER", USER)
        patch.setenv("AETERNA_REDIS__PASSWORD", PASSWORD)
        ran = copied.cli("backup", "create", "--store", "redis")
    with client(copied.practice.lab.place()) as server:
        server.execute_command("ACL", "DELUSER", USER)
    assert ran.code in (0, 9), ran.err
    found: str = ran.data["backup"]
    return found


def test_every_state(copied: Copied, degraded_backup: str) -> None:
    bad, lost, pruned, held = (small_backup(copied) for _ in range(4))
    say(copied, "pruned", pruned)
    say(copied, "held", held)
    assert copied.practice.killed_at("step:images:after", "backup", "create", "--store", "redis")
    (unfinished,) = {
        path.name for path in copied.folder.parent.iterdir()
    } - {copied.backup, degraded_backup, bad, lost, pruned, held}  # fmt: skip
    (copied.folder.parent / lost / "manifest.json").unlink()
    last = small_backup(copied)
    records(copied)[-1].unlink()  # as if the tool had died after the manifest
    good = [copied.backup, degraded_backup, bad, held, last]
    found = listed(copied)
    assert list(found) == sorted([*good, lost])
    assert {name: one["state"] for name, one in found.items()} == {
        copied.backup: "ok",
        degraded_backup: "degraded",
        bad: "ok",
        held: "ok",
        lost: "damaged",
        last: "not_catalogued",
    }
    assert cached(copied.practice) == sorted(good, reverse=True)
    assert "manifest is missing" in found[lost]["fault"]
    assert found[held]["held"]
    assert not found[bad]["held"]
    every = listed(copied, "--all")
    assert list(every) == sorted([*found, pruned, unfinished])
    assert (every[pruned]["state"], every[unfinished]["state"]) == ("pruned", "unfinished")
    assert {name: one for name, one in every.items() if name in found} == {
        name: {**one, "age_seconds": every[name]["age_seconds"]} for name, one in found.items()
    }
    text = copied.cli.ok("backup", "list", "--all", "-o", "table").out
    rows = {line.split()[0]: line for line in text.splitlines()[1:]}
    assert rows[held].endswith("ok, held")
    assert rows[last].endswith("not catalogued")
    assert "damaged: its manifest is missing" in rows[lost]
    assert " unknown " in rows[unfinished]
    # a damaged latest manifest is told, and what is good is not hidden by it
    manifest = copied.folder.parent / last / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    found = listed(copied)
    assert (found[last]["state"], bool(found[last]["fault"])) == ("damaged", True)
    assert cached(copied.practice) == sorted({*good} - {last}, reverse=True)
    assert copied.cli.ok("backup", "verify").data["backup"] == held
    shown = copied.cli.ok("backup", "show", degraded_backup)
    assert shown.data["degraded"]
    assert (
        "  degraded       redis was read"
        in copied.cli.ok("backup", "show", degraded_backup, "-o", "table").out
    )


def test_one_of_everything(copied: Copied) -> None:
    (one,) = listed(copied).values()
    manifest = json.loads((copied.folder / "manifest.json").read_bytes())
    assert one["stores"] == ["postgres", "qdrant", "redis"]
    assert (one["label"], one["note"]) == ({"ticket": "X-1"}, "before the upgrade")
    volumes = [v for part in manifest["stores"].values() for v in part["volumes"]]
    assert one["stored_bytes"] == sum(volume["stored_bytes"] for volume in volumes)
    point = datetime.fromisoformat(one["recovery_point"])
    stated = datetime.fromisoformat(manifest["recovery_point"]["time"])
    assert abs((point - stated).total_seconds()) < 0.001
    assert abs((datetime.now(UTC) - point).total_seconds() - one["age_seconds"]) < 5
    header, row = copied.cli.ok("backup", "list", "-o", "table").out.splitlines()
    assert header.split()[0] == "backup"
    for text in (copied.backup, "ticket=X-1", "before the upgrade", "postgres, qdrant, redis"):
        assert text in row


def test_an_unreadable_record_is_told_and_hides_nothing(copied: Copied) -> None:
    path = records(copied)[-1]
    record = json.loads(path.read_bytes())
    for summary in (
        {"recovery_point": 7},
        {"recovery_point": {"time": "yesterday"}},
        {"stored_bytes": []},
        {"label": 1},
    ):
        path.write_text(json.dumps({**record, "summary": summary}))
        (one,) = listed(copied).values()
        assert one["state"] == "damaged", summary
        assert "cannot be read" in one["fault"]


def test_an_empty_repository(copied: Copied) -> None:
    for name in ("backups", "catalogue"):
        for path in sorted((copied.repository / name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    ran = copied.cli.ok("backup", "list", "-o", "table")
    assert ran.out == f"no backups in {copied.repository}\n"
    assert listed(copied, "--all") == {}
    assert cached(copied.practice) == []
    ran = copied.cli("backup", "show")
    assert (ran.code, ran.error["code"]) == (7, "no_backups")


def test_a_cache_that_cannot_be_written_is_only_warned_of(
    copied: Copied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    ran = copied.cli.ok("backup", "list")
    assert list(listed(copied)) == [copied.backup]
    assert "warning: names for completion were not kept" in ran.err


def test_the_cache_is_replaced_at_once_and_private(copied: Copied) -> None:
    listed(copied)
    folder = copied.practice.open().cache_directory
    assert [path.name for path in folder.iterdir()] == ["backups"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_damaged_catalogue_is_an_error(copied: Copied) -> None:
    records(copied)[0].write_text("{")
    ran = copied.cli("backup", "list")
    assert (ran.code, ran.error["code"]) == (5, "catalogue_damaged")


def test_show_says_what_is_there_and_what_is_not(copied: Copied) -> None:
    ran = copied.cli.ok("backup", "show", copied.backup)
    data = ran.data
    assert ran.schema == "aeterna.backup.show/1"
    assert (data["signature"], data["exact"], data["profile"]) == ("verified", True, "practice")
    stores = {one["store"]: one for one in data["stores"]}
    assert {*stores} == {"postgres", "qdrant", "redis", "orphans"}
    assert stores["postgres"]["skew_milliseconds"] is None
    assert stores["redis"]["skew_milliseconds"] >= 0
    chunks = [path for path in copied.folder.glob("postgres/wal/**/*") if path.is_file()]
    assert stores["postgres"]["wal_bytes"] == sum(path.stat().st_size for path in chunks)
    base = next(one for one in stores["postgres"]["volumes"] if one["name"] == "base.tar")
    assert base["parts"] == len(list(copied.folder.glob("postgres/base.tar.*")))
    (slot,) = data["slots"]
    assert slot["provider"] == "vault"
    assert "ciphertext" not in slot
    text = copied.cli.ok("backup", "show", "-o", "table").out
    lines = text.splitlines()
    assert lines[0] == f"backup {copied.backup} (signature verified)"
    assert lines[-1] == f"  next: aeterna-cli restore plan --backup {copied.backup}"
    for words in (
        ", exact, timeline 1",
        "ticket=X-1",
        "before the upgrade",
        f"{base['parts']} parts",
        "1 part",
        " unpacked), and ",
        "  key slot 0     vault",
        "  left out       Vault and KMS contents: ",
        f"at most {stores['redis']['skew_milliseconds']} ms before the recovery point",
    ):
        assert words in text, words
    names = [line.strip().partition(":")[0] for line in lines if line.startswith("  ")]
    assert names.index("postgres") < names.index("orphans")


def test_show_says_where_rows_are_approximate(copied: Copied) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["stores"]["postgres"]["facts"]["exact"] = False

    copied.resign(change)
    assert copied.cli.ok("backup", "show").data["exact"] is False
    text = copied.cli.ok("backup", "show", "-o", "table").out
    assert ", rows approximate, timeline 1" in text


def test_show_of_one_store_without_extras(copied: Copied) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["stores"] = {"redis": manifest["stores"]["redis"]}
        manifest["recovery_point"] = {"time": manifest["recovery_point"]["time"]}
        manifest["label"], manifest["note"], manifest["left_out"] = {}, "", []
        manifest["digests"] = {"qdrant": {"gone": None}}

    copied.resign(change)
    text = copied.cli.ok("backup", "show", "-o", "table").out
    assert "approximate" not in text
    assert "  holds          unknown points" in text
    assert "of WAL" not in text
    copied.resign(lambda manifest: manifest.update(digests={}))
    assert "nothing that was counted" in copied.cli.ok("backup", "show", "-o", "table").out


def test_a_damaged_slot_does_not_hide_the_backup(copied: Copied) -> None:
    slot = copied.folder / "slots/0.json"
    slot.write_text("{")
    data = copied.cli.ok("backup", "show").data
    assert (data["slots"], "is not a key slot" in data["slots_fault"]) == ([], True)
    assert "cannot be read: " in copied.cli.ok("backup", "show", "-o", "table").out
    slot.unlink()
    assert "only an offline identity" in copied.cli.ok("backup", "show", "-o", "table").out


def test_show_shows_nothing_unsigned(copied: Copied) -> None:
    path = copied.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"before the upgrade", b"before the Upgrade"))
    ran = copied.cli("backup", "show", copied.backup)
    assert (ran.code, ran.error["code"], ran.out) == (5, "signature_invalid", "")
    ran = copied.cli("backup", "show", "20200101T000000Z-000000")
    assert (ran.code, ran.error["code"]) == (7, "backup_missing")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 00 min"),
        (47 * 3600 + 59, "47 h 00 min"),
        (48 * 3600, "2 d 0 h"),
        (76 * 3600, "3 d 4 h"),
    ],
)
def test_an_age_in_words(seconds: int, text: str) -> None:
    assert human_age(seconds) == text
