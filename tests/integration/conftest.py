"""What the tests on real servers share."""

import pytest

from tests.command_line import CommandLine
from tests.integration.lab_fixture import lab

__all__ = ["lab"]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)
