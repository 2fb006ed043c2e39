"""``dr-drill list``: every shipped scenario is sound, and what cannot run says why."""

from pathlib import Path

import pytest

from tests.integration.deployment import Practice
from tests.integration.workflows.dr_drill.scenarios import scenario

pytestmark = pytest.mark.integration

SHIPPED = {
    "data-corruption", "dcs-outage", "object-store-outage", "pod-kill", "postgres-partition",
    "postgres-primary-crash", "qdrant-peer-loss", "random-kills", "redis-primary-crash",
    "region-loss", "resource-exhaustion", "restore-latest-backup", "restore-random-point-in-time",
}  # fmt: skip


def test_the_shipped_ones(practice: Practice) -> None:
    found = {one["name"]: one for one in practice.cli.ok("dr-drill", "list").data}
    assert set(found) == SHIPPED
    for one in found.values():
        assert one["state"] in ("ready", "not possible here"), one
        assert (one["state"] == "ready") is not bool(one["reasons"])
        assert one["title"]
        assert one["objectives"]
        assert one["last_run"] is None
    assert found["restore-latest-backup"]["state"] == "ready"
    for name in ("pod-kill", "region-loss", "postgres-primary-crash"):
        assert found[name]["state"] == "not possible here"


def test_own_folders_and_broken_files(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("AETERNA_DRILLS__FOLDERS", f'["{folder}"]')
    scenario(folder, "mine")
    (folder / "broken.yaml").write_text("a: *b", encoding="utf-8")
    (folder / "Bad Name.yaml").write_text("a: 1", encoding="utf-8")
    (folder / "pod-kill.yaml").write_text((folder / "mine.yaml").read_text(), encoding="utf-8")
    ran = practice.cli.ok("dr-drill", "list")
    found = {one["origin"]: one for one in ran.data}
    assert found[str(folder / "mine.yaml")]["state"] == "ready"
    assert found[str(folder / "broken.yaml")]["state"] == "invalid"
    assert "line 1" in found[str(folder / "broken.yaml")]["reasons"][0]
    assert found[str(folder / "Bad Name.yaml")]["state"] == "invalid"
    refused = practice.cli("dr-drill", "run", "pod-kill", "--yes")
    assert (refused.code, refused.error["code"]) == (2, "scenario_ambiguous")
    assert "mine" in practice.cli.ok("dr-drill", "list", "-o", "table").out
    monkeypatch.setenv("AETERNA_DRILLS__FOLDERS", f'["{tmp_path / "nothing"}"]')
    assert practice.cli("dr-drill", "list").error["code"] == "drill_folder_unreadable"


def test_without_the_repository_it_still_lists(practice: Practice) -> None:
    practice.repository.rename(practice.repository.with_name("away"))
    ran = practice.cli.ok("dr-drill", "list")
    assert len(ran.data) == len(SHIPPED)
    assert "nothing is known of past drills" in ran.err
    practice.repository.with_name("away").rename(practice.repository)
