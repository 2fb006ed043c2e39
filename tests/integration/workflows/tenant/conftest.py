"""A deployment of the test's own, where a test changes what is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine
from tests.integration.workflows.tenant.scratch import Scratch, scratch_deployment


@pytest.fixture
def scratch(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scratch]:
    with scratch_deployment(lab, cli, tmp_path, monkeypatch) as made:
        yield made
