"""kill -9 at every point, then resume; two that resume; what is never resumed."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from aeterna_cli.errors import ConflictError, FailedError, RefusedError
from aeterna_cli.operations.journal import Journal, list_operations
from aeterna_cli.operations.lease import lease_key, living_holders
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import execute, kill_points, resume
from aeterna_cli.operations.step_run import StepRun
from tests.unit.operations.given import (
    COMPONENT,
    YES,
    Child,
    Place,
    Say,
    Wait,
    kill_points_of,
    killed_at,
    kinds,
    now,
    plan_of,
    three_steps,
)

DONE = ["first", "long-1", "long-2", "long-3", "last"]


def test_the_kill_points_of_a_plan_are_all_named() -> None:
    step = Step("only", lambda run: None)
    assert list(kill_points(plan_of(step))) == [
        *(f"journal:{n}:{side}" for n in range(4) for side in ("before", "after")),
        *(f"step:only:{side}" for side in ("before", "middle", "after")),
    ]


@pytest.mark.parametrize("point", kill_points_of(checkpoints=3))
def test_killed_at_any_point_it_is_finished_by_resuming(place: Place, point: str) -> None:
    plan = three_steps(place)
    killed = killed_at(point, lambda: execute(plan, place.around()))
    assert killed == (point not in ("step:first:middle", "step:last:middle"))
    known = list_operations(place.store, place.state)
    if not known:
        assert point == "journal:0:before"
        assert place.lines() == []
        return
    (one,) = known
    if one.state == "running":
        resume(one.operation, lambda first: plan, place.around())
    journal = Journal(place.store, place.state, one.operation, clock=now)
    journal.load()
    assert kinds(journal.records).count("finished") == 1
    did = place.lines()
    assert list(dict.fromkeys(did)) == DONE
    # A step without a result is done again, a part with a checkpoint is not: at most one repeats.
    assert sum(Counter(did).values()) - len(DONE) <= 1
    assert living_holders(place.store, COMPONENT) == []


def test_a_second_resume_is_refused_while_the_first_runs(place: Place) -> None:
    plan = three_steps(place)
    assert killed_at("step:first:after", lambda: execute(plan, place.around()))
    operation = place.operations()[0]

    def first(say: Say, wait: Wait) -> None:
        def slow(run: StepRun) -> None:
            say("at work")
            wait()

        steps = (replace(plan.steps[0], do=slow), *plan.steps[1:])
        resume(operation, lambda _first: replace(plan, steps=steps), place.around())

    child = Child(first)
    assert child.line() == "at work"
    with pytest.raises(ConflictError) as caught:
        resume(operation, lambda _first: plan, place.around())
    assert caught.value.code == "lease_held"
    child.go()
    assert child.end() == 0
    with pytest.raises(RefusedError) as refused:
        resume(operation, lambda _first: plan, place.around())
    assert refused.value.code == "operation_ended"
    assert Counter(place.lines()) == Counter(DONE)


def test_without_leases_the_journal_decides_who_goes_on(place: Place) -> None:
    """The second one lost the race for a number: it must do nothing, and take nothing away."""
    plan = three_steps(place, leases=())
    assert killed_at("step:first:before", lambda: execute(plan, place.around()))
    operation = place.operations()[0]

    def rebuilt_late(_first: Mapping[str, Any]) -> Plan:
        resume(operation, lambda _again: plan, place.around())
        return plan

    with pytest.raises(ConflictError) as caught:
        resume(operation, rebuilt_late, place.around())
    assert caught.value.code == "operation_taken_over"
    assert caught.value.next_steps == (f"aeterna-cli operation show {operation}",)
    assert place.lines() == DONE
    journal = Journal(place.store, place.state, operation, clock=now)
    journal.load()
    assert journal.records[-1].kind == "finished"


def test_a_dead_holder_of_the_same_operation_is_replaced_and_the_fence_grows(place: Place) -> None:
    plan = three_steps(place)
    assert killed_at("step:long:middle", lambda: execute(plan, place.around()))
    before = json.loads(place.store.read(lease_key(COMPONENT)))
    seen = []

    def look(run: StepRun) -> None:
        seen.append(json.loads(place.store.read(lease_key(COMPONENT))))

    steps = (*plan.steps[:2], replace(plan.steps[2], do=look))
    resume(place.operations()[0], lambda _f: replace(plan, steps=steps), place.around())
    (dead,), (mine,) = before["holders"], seen[0]["holders"]
    assert mine["operation"] == dead["operation"]
    assert mine["token"] != dead["token"]
    assert seen[0]["fence"] == before["fence"] + 1
    assert place.events("operation_abandoned") == []


def test_resuming_is_confirmed_again(place: Place) -> None:
    plan = three_steps(place, danger=Danger.DESTRUCTIVE, confirm_name="prod-eu")
    answers = replace(YES, confirm_name="prod-eu")
    assert killed_at("step:last:before", lambda: execute(plan, place.around(answers=answers)))
    operation = place.operations()[0]
    with pytest.raises(RefusedError) as caught:
        resume(operation, lambda first: plan, place.around())
    assert caught.value.code == "confirmation_missing"
    resume(operation, lambda first: plan, place.around(answers=answers))
    assert place.lines() == DONE


def test_the_plan_is_made_again_from_the_first_record(place: Place) -> None:
    plan = three_steps(place)
    assert killed_at("step:last:before", lambda: execute(plan, place.around()))
    seen: list[Mapping[str, Any]] = []

    def rebuild(first: Mapping[str, Any]) -> Plan:
        seen.append(first)
        return plan

    outcome = resume(place.operations()[0], rebuild, place.around())
    assert seen[0]["plan"]["parameters"] == {"steps": 3}
    assert outcome.results["first"] == {"made": 1}


def test_other_steps_than_then_are_refused(place: Place) -> None:
    plan = three_steps(place)
    assert killed_at("step:first:after", lambda: execute(plan, place.around()))
    with pytest.raises(RefusedError) as caught:
        resume(
            place.operations()[0],
            lambda first: replace(plan, steps=plan.steps[:2]),
            place.around(),
        )
    assert caught.value.code == "plan_changed"


def test_what_starts_anew_is_never_resumed(place: Place) -> None:
    plan = three_steps(place, restartable=False)
    assert killed_at("step:first:after", lambda: execute(plan, place.around()))
    operation = place.operations()[0]
    with pytest.raises(RefusedError) as caught:
        resume(operation, lambda first: plan, place.around())
    assert caught.value.code == "operation_not_restartable"
    assert caught.value.next_steps == (f"aeterna-cli operation abort {operation}",)


@pytest.mark.parametrize("operation", ["nonsense", "019ab3c1-7e2a-7c3e-9b1f-3d5c7a9e1f20"])
def test_an_unknown_operation_is_refused(place: Place, operation: str) -> None:
    with pytest.raises(RefusedError) as caught:
        resume(operation, lambda first: plan_of(), place.around())
    assert caught.value.code == "operation_unknown"


def test_a_failed_operation_goes_on_after_what_was_done(place: Place) -> None:
    plan = three_steps(place)

    def breaks(_run: StepRun) -> None:
        raise FailedError("broken", "it broke")

    broken = replace(plan.steps[2], do=breaks)
    with pytest.raises(FailedError):
        execute(replace(plan, steps=(*plan.steps[:2], broken)), place.around())
    resume(place.operations()[0], lambda first: plan, place.around())
    assert place.lines() == DONE
