"""A lab folder of the test's own, where no command has run yet."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.errors import AeternaError
from aeterna_cli.lab.deployment import Lab


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "lab"
    monkeypatch.setenv("AETERNA_LAB_DIR", str(directory))
    yield directory
    with contextlib.suppress(AeternaError):
        Lab(directory).down()
