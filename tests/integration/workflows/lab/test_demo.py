"""``lab demo`` as somebody types it: destroyed, restored and proven identical."""

from pathlib import Path

import pytest

from tests.command_line import CommandLine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_the_demonstration_proves_every_store(cli: CommandLine, folder: Path) -> None:
    ran = cli.ok("lab", "demo", "--scale", "0.02")
    assert ran.schema == "aeterna.lab.demo/1"
    assert {one["store"]: one["equal"] for one in ran.data["stores"]} == {
        "postgres": True,
        "qdrant": True,
        "redis": True,
    }
    assert ran.data["rto_seconds"] > 0
    assert "emulated" in ran.data["emulated"]
    assert folder.is_dir()
    kept = cli.ok("backup", "list").data
    assert [one["backup"] for one in kept] == [ran.data["backup"]]
