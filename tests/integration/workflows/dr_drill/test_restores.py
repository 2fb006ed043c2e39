"""Drills that bring data back: the shipped ones, into another deployment, and out of damage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.deployment import Lab
from tests.integration.deployment import Practice
from tests.integration.workflows.dr_drill.scenarios import measured, missed, scenario

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

ANSWERS = {"title": "It answers", "probe": "sql", "with": {"query": "SELECT 1"}, "tolerance": 1}
QUIET: dict[str, Any] = {"steady-state": {"title": "Steady", "probes": [ANSWERS]}}
LOST = {"title": "Everything is lost", "action": "loss.declare"}


@pytest.fixture
def elsewhere(
    practice: Practice, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A second lab as the profile ``elsewhere``."""
    lab = Lab(tmp_path_factory.mktemp("elsewhere") / "lab")
    lab.up(["redis"])
    tree = lab_profile.tree(lab.place())
    config = Path(practice.environment["AETERNA_CONFIG"])
    lines = lab_profile.table("profiles.elsewhere", tree)
    config.write_text(config.read_text(encoding="utf-8") + "\n".join(lines) + "\n", "utf-8")
    yield lab
    lab.down()


def restore(**words: object) -> dict[str, object]:
    return {"title": "Restore", "action": "restore.run", "timeout": 200, "with": words}


def test_into_another_deployment(practice: Practice, elsewhere: Lab, tmp_path: Path) -> None:
    stores = ["redis"]  # PostgreSQL would bring its passwords, which this lab does not have
    backup = {"title": "Back up", "action": "backup.create", "with": {"stores": stores},
              "timeout": 200}  # fmt: skip
    path = scenario(
        tmp_path, writers={"stores": stores, "rate": 20, "timeout": 1, "warm-up": 5},
        method=[backup, LOST, restore(stores=stores, backup="drill", into="elsewhere")],
        rollbacks=[], objectives={},
        **QUIET,
    )  # fmt: skip
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code == 0, f"{ran.out}\n{ran.err}"
    for store in stores:
        found = measured(ran, store)
        assert found["how"] == "restore"
        assert found["acknowledged"] > found["lost"]
        assert found["rto"] > 0
    assert elsewhere.status() is not None


@pytest.mark.parametrize("drill", ["restore-random-point-in-time", "data-corruption"])
def test_a_moment_comes_back_exactly(practice: Practice, drill: str) -> None:
    ran = practice.cli.ok("dr-drill", "run", drill, "--seed", "11", "--yes")
    found = measured(ran)
    assert (found["lost"], found["unexpected"], found["rpo"]) == (0, 0, 0)
    assert found["acknowledged"] > 50


@pytest.mark.parametrize(
    ("volume", "checks"),
    [("configuration", {"Restore"}), ("dump", {"Restore", "redis: RTO", "redis: RPO"})],
)
def test_a_damaged_backup_fails_the_drill(
    practice: Practice, tmp_path: Path, volume: str, checks: set[str]
) -> None:
    backup = practice.backup("--store", "redis", "--store", "postgres")["backup"]
    (part,) = (practice.repository / "backups" / backup / "redis").glob(f"{volume}.*")
    part.chmod(0o600)
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    path = scenario(
        tmp_path, method=[LOST, restore(stores=["redis"])], rollbacks=[],
        writers={"stores": ["redis"], "rate": 20, "timeout": 1, "warm-up": 5}, objectives={},
        **QUIET,
    )  # fmt: skip
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code == 8
    assert checks <= set(missed(ran))


def test_what_never_came_back_is_not_measured_at_the_real_store(
    practice: Practice, tmp_path: Path
) -> None:
    path = scenario(tmp_path, method=[LOST], rollbacks=[], **QUIET)
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code == 8
    assert missed(ran) == ["postgres: RTO", "postgres: RPO"]
    assert "did not come back" in ran.data["outcome"]["notes"][0]
