"""What the tests on real servers share."""

from pathlib import Path

import pytest

from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine
from tests.integration.deployment import Practice, forget_strangers, practise
from tests.integration.lab_fixture import lab

__all__ = ["lab"]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def practice(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Practice:
    """The session's lab as a deployment with a repository of the test's own."""
    forget_strangers(lab)
    return practise(lab, cli, tmp_path, monkeypatch)
