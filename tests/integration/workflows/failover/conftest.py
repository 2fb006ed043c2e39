"""A highly-available lab for a module's tests, whole before each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine
from tests.integration.deployment import Practice, practise
from tests.integration.ha import PARTS, ha_lab, healthy, until


@pytest.fixture(scope="module")
def ha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ha_lab(tmp_path_factory.mktemp("ha") / "lab", (*PARTS, "vault", "qdrant-peers")) as lab:
        yield lab


@pytest.fixture
def whole(ha: Lab) -> Lab:
    """Everything that an earlier test took away is back."""
    ha.up()
    until(lambda: healthy(ha))
    return ha


@pytest.fixture
def site(whole: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Practice:
    """A profile on that lab, with a repository of the test's own."""
    return practise(whole, cli, tmp_path, monkeypatch)
