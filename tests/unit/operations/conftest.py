"""A place to practise operations in."""

from pathlib import Path

import pytest

from tests.unit.operations.given import Outage, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    store = Outage(tmp_path / "repository")
    store.ensure()
    return Place(tmp_path, store)
