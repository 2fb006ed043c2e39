"""``lab status`` as somebody types it."""

from pathlib import Path

import pytest

from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine
from tests.integration.workflows.lab.test_up import without

pytestmark = pytest.mark.integration


def test_without_a_lab_it_says_what_to_do(cli: CommandLine, folder: Path) -> None:
    assert cli.ok("lab", "status").data["parts"] == []
    assert "aeterna-cli lab up" in cli.ok("lab", "status", "-o", "table").out


def test_a_dead_server_is_shown_as_died(cli: CommandLine, folder: Path) -> None:
    cli.ok("lab", "up", *without("redis"))
    LabControl(Lab(folder)).kill("redis")
    states = {part["part"]: part["state"] for part in cli.ok("lab", "status").data["parts"]}
    assert states["redis"] == "died"
