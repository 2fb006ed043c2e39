"""Every ``$`` line of a runbook is executed in its order; each must exit 0.

What stands in for the reader's own words: the name after ``--confirm`` is the test's profile, the
time after ``--at`` is now. Nothing else is replaced.
"""

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine
from tests.integration.conftest import cli, lab, practice
from tests.integration.deployment import NAME, Practice, practise
from tests.integration.ha import PARTS, ha_lab
from tests.integration.stores.moving import served
from tests.integration.workflows.shard.sharding import sharding
from tests.integration.workflows.tenant.moves import moves

__all__ = ["cli", "lab", "practice"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

RUNBOOKS = Path(__file__).parents[2] / "runbooks"


def commands(name: str) -> list[list[str]]:
    """The command lines of a runbook's console blocks, without the program's name."""
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines, f"{name}.md has no command"
    assert all(line.startswith("$ aeterna-cli ") for line in lines), lines
    return [shlex.split(line)[2:] for line in lines]


def follow(name: str, cli: CommandLine, confirm: str = NAME) -> None:
    own = {"--confirm": confirm, "--at": datetime.now(UTC).isoformat()}
    for words in commands(name):
        cli.ok(*(own.get(before, word) for before, word in _pairs(words)))


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(["", *words], words, strict=False))


@pytest.fixture
def fresh(practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Practice:
    """The deployment before ``repository init``."""
    monkeypatch.setenv("AETERNA_REPOSITORY__URL", str(tmp_path / "fresh"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "fresh-state"))
    return practice


def test_from_nothing(fresh: Practice) -> None:
    follow("repository", fresh.cli)


@pytest.mark.parametrize("name", ["backup", "config", "operation", "doctor", "datamap"])
def test_with_a_backup(practice: Practice, name: str) -> None:
    practice.backup("--store", "redis", "--store", "qdrant")
    follow(name, practice.cli)


def test_drills(practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the runbook writes a folder of evidence
    follow("dr-drill", practice.cli)


def test_shards(practice: Practice) -> None:
    with sharding(practice):
        follow("shard", practice.cli)


def test_tenants(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("shared-1", "dedicated-1")
    with (
        served("1.17.1") as server,
        moves(lab, cli, tmp_path, monkeypatch, server=server, contract="reread",
              slug="large-corp", shards=names) as move,
    ):  # fmt: skip
        move.fill(100)
        follow("tenant", cli, "large-corp")


def test_failovers(cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ha_lab(tmp_path / "lab", (*PARTS, "vault", "qdrant-peers")) as made:
        practise(made, cli, tmp_path, monkeypatch)
        follow("failover", cli)


def test_restore_after_everything_was_lost(practice: Practice) -> None:
    practice.backup()
    practice.destroy("postgres", "qdrant", "redis")
    follow("restore", practice.cli)


def test_the_lab_from_up_to_reset(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "lab"
    monkeypatch.setenv("AETERNA_LAB_DIR", str(directory))
    try:
        follow("lab", cli)
    finally:
        Lab(directory).down()
