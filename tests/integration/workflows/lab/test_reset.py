"""``lab reset`` wants a yes, and then leaves nothing."""

from pathlib import Path

import pytest

from tests.command_line import CommandLine
from tests.integration.workflows.lab.test_up import without

pytestmark = pytest.mark.integration


def test_reset_wants_a_yes(cli: CommandLine, folder: Path) -> None:
    cli.ok("lab", "up", *without("redis"))
    ran = cli("lab", "reset")
    assert (ran.code, ran.error["code"]) == (7, "confirmation_missing")
    assert cli.ok("lab", "reset", "--dry-run").data == {"parts": []}
    assert (folder / "redis").is_dir()
    cli.ok("lab", "reset", "--yes")
    assert not (folder / "redis").exists()
    assert cli.ok("lab", "reset", "--yes").data == {"parts": []}
