"""A plan is confirmed, planned again, and carried out step by step under leases."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    DegradedError,
    FailedError,
    InterruptedByUser,
    RefusedError,
    TerminatedBySignal,
)
from aeterna_cli.operations.journal import Journal, list_operations
from aeterna_cli.operations.lease import living_holders
from aeterna_cli.operations.plan import Danger, Step
from aeterna_cli.operations.runner import execute, resume
from aeterna_cli.operations.step_run import StepRun
from tests.unit.operations.given import (
    COMPONENT,
    YES,
    Place,
    away,
    kinds,
    now,
    plan_of,
    steal,
    three_steps,
)


def journal_of(place: Place, operation: str | None = None) -> Journal:
    journal = Journal(place.store, place.state, operation or place.operations()[-1], clock=now)
    journal.load()
    return journal


def failing(error: BaseException) -> Callable[[StepRun], None]:
    def do(_run: StepRun) -> None:
        raise error

    return do


def audit(place: Place) -> list[str]:
    lines = (place.state / "audit.log").read_text().splitlines()
    return [json.loads(line)["outcome"] for line in lines]


def test_every_step_has_its_effect_once_and_the_journal_says_so(place: Place) -> None:
    plan = three_steps(place)
    outcome = execute(plan, place.around(change="CHG-1"), replan=lambda: three_steps(place))
    assert place.lines() == ["first", "long-1", "long-2", "long-3", "last"]
    assert outcome.results == {
        "first": {"made": 1},
        "long": 3,
        "last": {"before": {"first": {"made": 1}, "long": 3}},
    }
    assert (outcome.dry_run, outcome.pending) == (False, 0)
    assert outcome.seconds > 0
    journal = journal_of(place, outcome.operation)
    step = ["intent", "result"]
    long = ["intent", *["checkpoint"] * 3, "result"]
    assert kinds(journal.records) == ["started", *step, *long, *step, "finished"]
    first = journal.records[0].data
    assert first["plan"] == plan.as_document()
    assert first["fingerprint"] == plan.fingerprint
    assert (first["actor"], first["reason"], first["change"]) == ("ada@host", "ticket 7", "CHG-1")
    assert living_holders(place.store, COMPONENT) == []
    assert [fields["step"] for fields in place.events("step_finished")] == [
        "first",
        "long",
        "last",
    ]
    assert audit(place) == ["finished"]


def test_a_dry_run_does_nothing_at_all(place: Place) -> None:
    assert execute(three_steps(place), place.around(dry_run=True)).dry_run
    assert place.lines() == []
    assert list(place.store.list("")) == []
    assert not place.state.exists()


def test_nothing_happens_without_a_yes(place: Place) -> None:
    with pytest.raises(RefusedError) as caught:
        execute(three_steps(place), place.around(answers=replace(YES, yes=False)))
    assert caught.value.code == "confirmation_missing"
    assert list(place.store.list("")) == []


def test_a_plan_that_moved_while_it_was_confirmed_is_refused(place: Place) -> None:
    plan = three_steps(place)
    with pytest.raises(RefusedError) as caught:
        execute(plan, place.around(), replan=lambda: replace(plan, facts={"version": 2}))
    assert caught.value.code == "plan_changed"
    assert caught.value.details == {"changed": ["facts"]}
    assert place.lines() == []
    assert list(place.store.list("")) == []


def test_without_a_repository_there_is_a_local_journal_and_no_lease(place: Place) -> None:
    outcome = execute(three_steps(place), place.around(store=None))
    assert outcome.pending == 11
    assert list(place.store.list("")) == []
    (known,) = list_operations(None, place.state)
    assert (known.operation, known.state, known.local_only) == (
        outcome.operation,
        "finished",
        True,
    )


@pytest.mark.parametrize("part", ["do", "verify"])
def test_a_step_that_fails_is_undone_and_named(place: Place, part: str) -> None:
    undone = []
    broken = failing(FailedError("broken", "it broke"))
    step = Step(
        "only",
        do=broken if part == "do" else lambda run: 1,
        verify=broken if part == "verify" else None,
        undo=lambda run: undone.append(run.operation),
    )
    with pytest.raises(FailedError) as caught:
        execute(plan_of(step), place.around())
    operation = place.operations()[0]
    assert undone == [operation]
    assert caught.value.operation == operation
    assert caught.value.next_steps == (f"aeterna-cli operation resume {operation}",)
    last = journal_of(place).records[-1]
    assert (last.kind, last.data["code"]) == ("failed", "broken")
    assert kinds(journal_of(place).records) == ["started", "intent", "failed"]
    assert audit(place) == ["failed"]
    assert living_holders(place.store, COMPONENT) == []


def test_a_verified_step_is_not_undone(place: Place) -> None:
    seen: list[str] = []
    step = Step(
        "only",
        do=lambda run: seen.append("do"),
        verify=lambda run: seen.append("verify"),
        undo=lambda run: seen.append("undo"),
    )
    execute(plan_of(step), place.around())
    assert seen == ["do", "verify"]


@pytest.mark.parametrize("hint", ["", "look there"])
def test_undoing_that_fails_as_well_is_said_with_the_first_error(place: Place, hint: str) -> None:
    step = Step(
        "only",
        do=failing(FailedError("broken", "it broke", hint=hint)),
        undo=failing(FailedError("stuck", "it is stuck")),
    )
    with pytest.raises(FailedError) as caught:
        execute(plan_of(step), place.around())
    assert caught.value.code == "broken"
    said = "undoing only failed as well: it is stuck"
    assert caught.value.hint == (f"{hint}; {said}" if hint else said)


def test_a_bug_in_a_step_is_undone_and_journalled_too(place: Place) -> None:
    step = Step(
        "only",
        do=failing(ZeroDivisionError("oh")),
        undo=failing(FailedError("stuck", "it is stuck")),
    )
    with pytest.raises(ZeroDivisionError) as caught:
        execute(plan_of(step), place.around())
    assert caught.value.__notes__ == ["undoing only failed as well: it is stuck"]
    assert journal_of(place).records[-1].data == {"error": "ZeroDivisionError"}


def test_what_was_undone_is_done_again_from_its_beginning(place: Place) -> None:
    seen = []

    def do(run: StepRun) -> None:
        seen.append(run.last_checkpoint)
        run.checkpoint("half")
        if len(seen) == 1:
            raise FailedError("broken", "it broke")

    plan = plan_of(Step("only", do, undo=lambda run: None))
    with pytest.raises(FailedError):
        execute(plan, place.around())
    resume(place.operations()[0], lambda first: plan, place.around())
    assert seen == [None, None]


def test_resuming_what_destroys_asks_for_the_name_again(place: Place) -> None:
    plan = plan_of(
        Step("only", failing(FailedError("broken", "it broke"))),
        danger=Danger.DESTRUCTIVE,
        confirm_name="prod-eu",
    )
    with pytest.raises(FailedError) as caught:
        execute(plan, place.around(answers=replace(YES, confirm_name="prod-eu")))
    assert caught.value.next_steps[-1].endswith(" --confirm prod-eu")


def test_what_cannot_be_resumed_is_abandoned_when_it_fails(place: Place) -> None:
    plan = plan_of(Step("only", failing(FailedError("broken", "it broke"))), restartable=False)
    with pytest.raises(FailedError) as caught:
        execute(plan, place.around())
    assert caught.value.next_steps == ()
    assert journal_of(place).records[-1].kind == "abandoned"


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, InterruptedByUser), (signal.SIGTERM, TerminatedBySignal)],
)
def test_a_signal_stops_at_the_next_safe_point(
    place: Place, number: int, error: type[AeternaError]
) -> None:
    def do(run: StepRun) -> None:
        place.stop.request(number)
        run.safe_point()
        raise AssertionError("went on")

    never = Step("never", failing(AssertionError()))
    with pytest.raises(error) as caught:
        execute(plan_of(Step("only", do), never), place.around())
    assert kinds(journal_of(place).records) == ["started", "intent", "interrupted"]
    assert "resume" in caught.value.next_steps[-1]


def test_a_signal_between_two_steps_keeps_the_first_ones_result(place: Place) -> None:
    step = Step("only", lambda run: place.stop.request(signal.SIGINT))
    with pytest.raises(InterruptedByUser):
        execute(plan_of(step, Step("never", failing(AssertionError()))), place.around())
    assert kinds(journal_of(place).records) == ["started", "intent", "result", "interrupted"]


def test_a_degraded_step_has_its_effect_and_is_said_last(place: Place) -> None:
    degraded = DegradedError("thin", "one replica is missing")
    second = DegradedError("later", "and another")
    plan = plan_of(
        Step("one", failing(degraded), verify=lambda run: place.write("verified")),
        Step("two", failing(second)),
        Step("three", lambda run: place.write("three")),
    )
    with pytest.raises(DegradedError) as caught:
        execute(plan, place.around())
    assert caught.value is degraded
    assert caught.value.operation == place.operations()[0]
    assert place.lines() == ["verified", "three"]
    assert journal_of(place).records[-1].kind == "finished"
    assert audit(place) == ["degraded"]


def test_a_degraded_step_is_remembered_over_a_crash(place: Place) -> None:
    degraded = DegradedError("thin", "one is missing", hint="h", next_steps=["n"], details={"d": 1})
    seen = []

    def breaks_once(_run: StepRun) -> None:
        seen.append(1)
        if len(seen) == 1:
            raise FailedError("broken", "it broke")

    plan = plan_of(Step("one", failing(degraded)), Step("two", breaks_once))
    with pytest.raises(FailedError):
        execute(plan, place.around())
    with pytest.raises(DegradedError) as caught:
        resume(place.operations()[0], lambda first: plan, place.around())
    assert caught.value.as_document() == degraded.as_document() | {
        "operation": place.operations()[0]
    }


def test_a_lease_lost_in_the_middle_ends_the_step_and_nothing_is_undone(place: Place) -> None:
    """Whoever has it now may be at work on the same things."""
    undone: list[str] = []

    def do(run: StepRun) -> None:
        steal(place)
        while True:
            run.safe_point()

    step = Step("only", do, undo=lambda run: undone.append("undone"))
    with pytest.raises(ConflictError) as caught:
        execute(plan_of(step), place.around(heartbeat=0.01))
    assert caught.value.code == "lease_lost"
    assert caught.value.next_steps == ("aeterna-cli operation list --unfinished",)
    assert undone == []
    assert journal_of(place).records[-1].data["code"] == "lease_lost"


def test_a_step_without_safe_points_is_not_done_when_its_lease_was_lost(place: Place) -> None:
    def do(run: StepRun) -> None:
        place.store.before = lambda key: away(key) if key.startswith("leases/") else None
        while True:
            try:
                run.safe_point()
            except ConflictError:  # as if there had been no safe point until now
                return

    with pytest.raises(ConflictError) as caught:
        execute(plan_of(Step("only", do)), place.around(heartbeat=0.01, void=1))
    assert caught.value.code == "lease_lost"
    assert kinds(journal_of(place).records) == ["started", "intent", "failed"]


def test_an_end_that_cannot_be_recorded_is_degraded_not_failed(place: Place) -> None:
    """The work is done: exit 1 or 4 would make somebody do it again."""

    def do(_run: StepRun) -> None:
        (place.state / "audit.log").mkdir()

    with pytest.raises(DegradedError) as caught:
        execute(plan_of(Step("only", do)), place.around())
    assert (caught.value.code, caught.value.details) == (
        "end_not_recorded",
        {"code": "audit_failed"},
    )
    assert journal_of(place).records[-1].kind == "finished"


def test_a_failure_that_cannot_be_audited_still_says_what_failed(place: Place) -> None:
    def do(_run: StepRun) -> None:
        (place.state / "audit.log").mkdir()
        raise FailedError("broken", "it broke")

    with pytest.raises(FailedError) as caught:
        execute(plan_of(Step("only", do)), place.around())
    assert caught.value.code == "broken"
    assert [said["code"] for said in place.events("end_not_recorded")] == ["audit_failed"]
