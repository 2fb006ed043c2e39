"""``lab up`` as somebody types it."""

from pathlib import Path

import pytest

from aeterna_cli.lab.names import PARTS
from tests.command_line import CommandLine

pytestmark = pytest.mark.integration


def without(*wanted: str) -> list[str]:
    return [word for part in PARTS if part not in wanted for word in ("--without", part)]


def test_up_prints_every_part_and_says_what_it_waited_for(cli: CommandLine, folder: Path) -> None:
    ran = cli.ok("lab", "up", *without("redis"))
    assert ran.schema == "aeterna.lab.status/1"
    assert {part["part"]: part["state"] for part in ran.data["parts"]} == {
        part: "running" if part == "redis" else "left out" for part in PARTS
    }
    assert "Valkey answers" in ran.err
    again = cli.ok("lab", "up", "-o", "table")
    assert "Valkey runs already" in again.err
    assert "Valkey" in again.out


def test_up_of_nothing_is_wrong_usage(cli: CommandLine, folder: Path) -> None:
    ran = cli("lab", "up", *without())
    assert (ran.code, ran.error["code"]) == (2, "lab_without_parts")
    assert not folder.exists()
