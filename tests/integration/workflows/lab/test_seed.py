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


@pytest.mark.parametrize("count", ["-1", "100001"])
def test_a_number_of_tenants_that_cannot_be_is_wrong_usage(practice: Practice, count: str) -> None:
    ran = practice.cli("lab", "seed", f"--tenants={count}")
    assert (ran.code, ran.error["code"]) == (2, "tenants_out_of_range")


def test_an_unknown_schema_is_wrong_usage_and_the_known_ones_are_named(practice: Practice) -> None:
    ran = practice.cli("lab", "seed", "--schema", "009' --")
    assert (ran.code, ran.error["code"]) == (2, "schema_unknown")
    assert "fresh-rc12" in ran.error["hint"]
    assert ran.error["next_steps"]


@pytest.mark.parametrize("words", [("--tenants", "2"), ("--schema", "no-bypass"), ("--seed", "2")])
def test_another_seed_is_refused_where_one_is(practice: Practice, words: tuple[str, str]) -> None:
    ran = practice.cli("lab", "seed", "--scale", "0.05", *words)
    assert (ran.code, ran.error["code"]) == (7, "lab_not_empty")
