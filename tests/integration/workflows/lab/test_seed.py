"""``lab seed`` as somebody types it: the same data for the same seed, once."""

import pytest

from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration


def test_a_seed_is_planted_once(practice: Practice) -> None:
    """The session's lab was seeded with the default seed at this scale when it was made."""
    ran = practice.cli.ok("lab", "seed", "--scale", "0.05")
    assert ran.schema == "aeterna.lab.seed/1"
    assert ran.data["fresh"] is False
    text = practice.cli.ok("lab", "seed", "--scale", "0.05", "-o", "table").out
    assert "holds this seed already" in text


@pytest.mark.parametrize("scale", ["0", "-1", "1001"])
def test_a_scale_that_cannot_be_is_wrong_usage(practice: Practice, scale: str) -> None:
    ran = practice.cli("lab", "seed", "--scale", scale)
    assert (ran.code, ran.error["code"]) == (2, "scale_out_of_range")
