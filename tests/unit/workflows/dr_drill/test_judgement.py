"""A drill passes when every check holds and something was measured; else it says what did not."""

from dataclasses import replace
from typing import Any

import pytest

from aeterna_cli.settings import TargetSettings
from aeterna_cli.workflows.dr_drill.judgement import Target, judge, passed, targets
from aeterna_cli.workflows.dr_drill.library import loaded_from
from aeterna_cli.workflows.dr_drill.measure import Measured, Moments, of_writes
from aeterna_cli.workflows.dr_drill.outcome import LoadOutcome, Outcome, StepOutcome
from tests.unit.workflows.dr_drill.samples import PLAIN, history

WANTED = (Target("postgres", 30, 0, "scenario"),)
WRITES = {**{n: n / 10 for n in range(1, 101)}, 101: 15.0}


def measured(**changes: Any) -> Measured:
    found = of_writes("postgres", history(WRITES), set(WRITES), Moments(0, 10.05, 15.1), 10)
    return replace(found, **changes)


def outcome(**changes: Any) -> Outcome:
    steps = (
        StepOutcome("before", "writable", "sql", 0.1, 0.1, True, wanted="equals 1", found="1"),
        StepOutcome("method", "break", "process", 1, 0.1, True, fault=True),
        StepOutcome("after", "writable", "sql", 2, 0.1, True, wanted="equals 1", found="1"),
        StepOutcome("rollback", "mend", "process", 3, 0.1, True),
    )
    good = Outcome("completed", 1, steps, (measured(),), fault=10.05, seconds=16)
    return replace(good, **changes)


def failed(one: Outcome) -> list[str]:
    checks = judge(one, WANTED)
    assert passed(checks) is not any(not check.passed for check in checks)
    return [check.name for check in checks if not check.passed]


def test_a_good_drill_passes() -> None:
    assert failed(outcome()) == []
    assert passed(judge(outcome(), WANTED))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"measured": (measured(rto=31.0),)}, "postgres: RTO"),
        ({"measured": (measured(rto=None, recovered=False),)}, "postgres: RTO"),
        ({"measured": (measured(recovered=False),)}, "postgres: RTO"),
        ({"measured": (measured(lost=1, rpo=0.4, lost_examples=(7,)),)}, "postgres: RPO"),
        ({"measured": (measured(lost=1, rpo=0.0),)}, "postgres: RPO"),
        ({"measured": (measured(rpo=None),)}, "postgres: RPO"),
        ({"measured": (measured(acknowledged=0),)}, "postgres: writes were acknowledged"),
        ({"measured": (measured(unexpected=2),)}, "postgres: nothing foreign was found"),
        ({"measured": ()}, "postgres: writes were acknowledged"),
        ({"fault": None}, "the drill ran to its end"),
        ({"status": "failed"}, "the drill ran to its end"),
        ({"status": "interrupted"}, "the drill ran to its end"),
        ({"status": "killed"}, "the drill ran to its end"),
        ({"status": "not-steady"}, "the drill ran to its end"),
        ({"load": (LoadOutcome("k6", 99, None, None, False, "exit 99"),)}, "k6"),
    ],
)
def test_each_thing_that_does_not_hold_fails_it(changes: dict[str, Any], name: str) -> None:
    assert name in failed(outcome(**changes))


@pytest.mark.parametrize(
    ("part", "name"),
    [("before", "before: x"), ("method", "x"), ("after", "after: x"), ("rollback", "rollback: x")],
)
def test_a_step_that_failed_fails_it(part: Any, name: str) -> None:
    bad = StepOutcome(part, "x", "sql", 1, 1, False)
    assert failed(outcome(steps=(*outcome().steps, bad))) == [name]


def test_nothing_wanted_and_nothing_measured_is_no_pass() -> None:
    assert not passed(judge(outcome(), ()))


def test_a_loss_within_the_objective_is_none_of_its_business() -> None:
    lost = outcome(measured=(measured(lost=3, rpo=2.0),))
    assert passed(judge(lost, (Target("postgres", 30, 5, "profile"),)))


def test_targets_are_the_scenarios_words_or_the_profiles() -> None:
    scenario = loaded_from(PLAIN.encode(), "sample", "sample.yaml").scenario
    (own,) = targets(scenario, TargetSettings())
    assert (own.rto, own.rpo) == (30, 0)
    text = PLAIN.replace("objectives: {postgres: {rto: 30s, rpo: 0s}}\n", "")
    (usual,) = targets(loaded_from(text.encode(), "s", "s").scenario, TargetSettings(rpo=77))
    assert (usual.rto, usual.rpo) == (300, 77)
