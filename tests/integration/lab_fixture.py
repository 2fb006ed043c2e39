"""One seeded lab for all tests of a session that only need a deployment to look at or to lose."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.run import seed_lab


def start(directory: Path, *, scale: float = 0.05) -> Lab:
    """A running lab with the usual tenants, small."""
    lab = Lab(directory)
    lab.up()
    seed_lab(lab.place(), scale=scale, tell=lambda _text: None)
    return lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The session's lab. Tests that break it must mend it."""
    made = start(tmp_path_factory.mktemp("lab") / "lab")
    yield made
    made.down()
