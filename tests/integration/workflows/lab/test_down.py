"""``lab down`` as somebody types it."""

from pathlib import Path

import pytest

from tests.command_line import CommandLine
from tests.integration.workflows.lab.test_up import without

pytestmark = pytest.mark.integration


def test_down_says_how_each_part_ended(cli: CommandLine, folder: Path) -> None:
    cli.ok("lab", "up", *without("redis"))
    ran = cli.ok("lab", "down")
    assert [(part["part"], part["how"]) for part in ran.data["parts"]] == [("redis", "stopped")]
    assert "was not running" in cli.ok("lab", "down", "-o", "table").out


def test_down_without_a_lab_is_no_error(cli: CommandLine, folder: Path) -> None:
    assert "no lab was running" in cli.ok("lab", "down", "-o", "table").out
