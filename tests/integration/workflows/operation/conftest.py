"""A restore that was cut off, for every command that looks at such things."""

import pytest

from tests.integration.deployment import NAME, Practice


@pytest.fixture
def killed(practice: Practice) -> str:
    """The id of a restore of Redis that died when its first intent was written."""
    practice.backup("--store", "redis")
    words = ("restore", "run", "--store", "redis", "--confirm", NAME, "--reason", "OPS-7")
    assert practice.killed_at("journal:1:after", *words)
    (one,) = practice.operations("--unfinished")
    return str(one["operation"])
