"""The fingerprint is of what will be done, not of how it is told."""

from dataclasses import replace
from typing import Any

import pytest

from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from tests.unit.operations.given import plan_of

STEP = Step("one", lambda run: None)
PLAN = plan_of(STEP, Step("two", lambda run: None), facts={"a": 1, "b": [1, 2]})


def test_the_fingerprint_is_the_same_for_the_same_plan() -> None:
    again = plan_of(STEP, Step("two", lambda run: 5), facts={"b": [1, 2], "a": 1})
    assert again.fingerprint == PLAN.fingerprint
    assert len(PLAN.fingerprint) == 64


@pytest.mark.parametrize("told", [{"summary": "other words"}, {"notes": ("look",)}])
def test_wording_does_not_move_it(told: dict[str, Any]) -> None:
    assert replace(PLAN, **told).fingerprint == PLAN.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "other"},
        {"target": "other"},
        {"danger": Danger.DESTRUCTIVE},
        {"facts": {"a": 1, "b": [2, 1]}},
        {"steps": (STEP,)},
        {"leases": (LeaseRequest("the work", shared=True),)},
        {"leases": ()},
        {"restartable": False},
        {"parameters": {"at": "now"}},
    ],
)
def test_everything_else_moves_it(changed: dict[str, Any]) -> None:
    assert replace(PLAN, **changed).fingerprint != PLAN.fingerprint


def test_the_document_is_all_of_it() -> None:
    assert PLAN.as_document() == {
        "kind": "practice.run",
        "summary": "practise",
        "target": "prod-eu",
        "danger": "reversible",
        "facts": {"a": 1, "b": [1, 2]},
        "steps": ["one", "two"],
        "leases": [{"component": "the work", "shared": False}],
        "restartable": True,
        "parameters": {"steps": 2},
        "in_the_clear": [],
    }
    assert isinstance(PLAN, Plan)
