"""What died and cannot be resumed is marked by whoever comes next; what lives is not given up."""

import json
from datetime import datetime

import pytest

from aeterna_cli.errors import ConflictError, RefusedError, TransientError
from aeterna_cli.operations.journal import Journal, list_operations
from aeterna_cli.operations.lease import LeaseRequest, lease_key
from aeterna_cli.operations.runner import abort, execute, resume
from aeterna_cli.operations.step_run import StepRun
from tests.unit.operations.given import (
    COMPONENT,
    Child,
    Outage,
    Place,
    Say,
    Wait,
    away,
    kill_points_of,
    killed_at,
    now,
    plan_of,
    put,
    three_steps,
)


def states(place: Place) -> list[str]:
    return [one.state for one in list_operations(place.store, place.folder / "another")]


def running(place: Place, **changes: object) -> Child:
    """A process in the middle of an operation."""

    def work(say: Say, wait: Wait) -> None:
        def slow(run: StepRun) -> None:
            say(run.operation)
            wait()

        plan = three_steps(place, **changes)
        step = plan.steps[0]
        execute(plan_of(type(step)("first", slow), **changes), place.around())

    return Child(work)


@pytest.mark.parametrize("point", kill_points_of(checkpoints=3))
def test_a_dead_one_that_starts_anew_is_marked_by_the_next(place: Place, point: str) -> None:
    plan = three_steps(place, restartable=False)
    killed = killed_at(point, lambda: execute(plan, place.around()))
    before = states(place)
    new = execute(plan, place.around(actor="bob@host")).operation
    if not killed or before in ([], ["finished"]):
        assert states(place) == [*before, "finished"]
        assert place.events("operation_abandoned") == []
        return
    assert states(place) == ["abandoned", "finished"]
    dead = place.operations()[0]
    assert dead != new
    (said,) = place.events("operation_abandoned")
    assert said["operation"] == dead
    journal = Journal(place.store, place.state, dead, clock=now)
    journal.load()
    last = journal.records[-1]
    assert (last.kind, last.data["actor"]) == ("abandoned", "bob@host")
    assert "its process is gone" in last.data["reason"]
    audited = [json.loads(line) for line in (place.state / "audit.log").read_text().splitlines()]
    assert [(one["operation"], one["outcome"]) for one in audited] == [
        (dead, "abandoned"),
        (new, "finished"),
    ]


@pytest.mark.parametrize("side", ["before", "after"])
def test_whoever_dies_while_marking_leaves_it_to_the_next(place: Place, side: str) -> None:
    plan = three_steps(place, restartable=False)
    killed_at("step:first:after", lambda: execute(plan, place.around()))
    assert killed_at(f"journal:2:{side}", lambda: execute(plan, place.around()))
    execute(plan, place.around())
    assert states(place) == ["abandoned", "finished"]


def test_what_becomes_void_while_the_lease_is_taken_is_marked_too(place: Place) -> None:
    child = running(place, restartable=False)
    dead = child.line()

    class Slow(Outage):
        looks = 0

        def now(self) -> datetime:
            self.looks += 1
            if self.looks == 2:  # alive when we looked first, dead when we take it
                child.kill()
            return super().now()

    place.store = Slow(place.folder / "repository")
    execute(three_steps(place), place.around())
    assert [said["operation"] for said in place.events("operation_abandoned")] == [dead]


def test_a_dead_one_that_can_be_resumed_is_left_for_that(place: Place) -> None:
    plan = three_steps(place)
    killed_at("step:long:middle", lambda: execute(plan, place.around()))
    execute(three_steps(place, restartable=False), place.around())
    assert states(place) == ["running", "finished"]
    resume(place.operations()[0], lambda first: plan, place.around())
    assert states(place) == ["finished", "finished"]


def test_one_with_two_leases_is_marked_once(place: Place) -> None:
    both = (LeaseRequest("a"), LeaseRequest("b", shared=True))
    plan = three_steps(place, restartable=False, leases=both)
    killed_at("step:long:middle", lambda: execute(plan, place.around()))
    execute(plan, place.around())
    assert len(place.events("operation_abandoned")) == 1
    assert states(place) == ["abandoned", "finished"]


def test_a_dead_holder_without_a_journal_is_no_fault(place: Place) -> None:
    """Killed between its lease and its first record; or a service that keeps no journal."""
    late = "2026-01-01T00:00:00+00:00"
    put(place, operation="wal receive", beat=late)
    execute(three_steps(place), place.around())
    assert [event for event, _fields in place.said if event.startswith(("abandon", "op"))] == []


def test_a_fault_while_marking_is_said_and_stops_nothing(place: Place) -> None:
    plan = three_steps(place, restartable=False)
    killed_at("step:long:middle", lambda: execute(plan, place.around()))
    dead = place.operations()[0]

    def refuse(key: str) -> None:
        if dead in key:
            away(key)

    place.store.before = refuse
    outcome = execute(plan, place.around())
    assert outcome.results["long"] == 3
    (said,) = place.events("abandon_failed")
    assert (said["operation"], said["code"]) == (dead, "repository_unreachable")
    assert place.events("operation_abandoned") == []
    place.store.before = lambda key: None
    execute(plan, place.around())  # the record that lies here is sent now
    assert states(place) == ["abandoned", "finished", "finished"]


@pytest.mark.parametrize("restartable", [True, False])
def test_one_that_runs_is_not_given_up(place: Place, restartable: bool) -> None:
    child = running(place, restartable=restartable)
    operation = child.line()
    with pytest.raises(ConflictError) as caught:
        abort(operation, place.around())
    assert caught.value.code == "lease_held"
    assert caught.value.operation == operation
    assert caught.value.details["component"] == COMPONENT
    assert states(place) == ["running"]
    child.go()
    assert child.end() == 0
    assert states(place) == ["finished"]


def test_one_that_was_killed_is_given_up_and_not_resumed(place: Place) -> None:
    child = running(place)
    operation = child.line()
    child.kill()
    abort(operation, place.around(actor="bob@host", reason="a new disk comes"))
    assert states(place) == ["abandoned"]
    journal = Journal(place.store, place.state, operation, clock=now)
    journal.load()
    assert journal.records[-1].data == {"actor": "bob@host", "reason": "a new disk comes"}
    audited = json.loads((place.state / "audit.log").read_text())
    assert (audited["outcome"], audited["kind"]) == ("abandoned", "practice.run")
    for use in (
        lambda: abort(operation, place.around()),
        lambda: resume(operation, lambda first: plan_of(), place.around()),
    ):
        with pytest.raises(RefusedError) as caught:
            use()
        assert caught.value.code == "operation_ended"


def test_another_operation_at_work_does_not_keep_a_dead_one(place: Place) -> None:
    killed_at("step:long:middle", lambda: execute(three_steps(place), place.around()))
    dead = place.operations()[0]
    child = running(place)
    child.line()
    abort(dead, place.around())
    child.go()
    assert child.end() == 0
    assert states(place) == ["abandoned", "finished"]


def test_one_on_a_machine_without_a_repository_is_given_up_by_its_journal(place: Place) -> None:
    killed_at("step:long:middle", lambda: execute(three_steps(place), place.around(store=None)))
    abort(place.operations()[0], place.around(store=None))
    assert [one.state for one in list_operations(None, place.state)] == ["abandoned"]


def test_leases_that_cannot_be_asked_for_want_the_glass_broken(place: Place) -> None:
    killed_at("step:long:middle", lambda: execute(three_steps(place), place.around()))
    operation = place.operations()[0]
    key = place.folder / "repository" / lease_key(COMPONENT)
    key.write_bytes(b"not a lease")
    with pytest.raises(Exception, match="not a lease") as caught:
        abort(operation, place.around())
    assert not isinstance(caught.value, TransientError)
    assert states(place) == ["running"]
    abort(operation, place.around(break_glass="the lease is damaged"))
    assert states(place) == ["abandoned"]
