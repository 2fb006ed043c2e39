"""The repository goes away at any write: what then holds, with the glass whole and broken."""

import json
from collections.abc import Iterator

import pytest

from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    DegradedError,
    FailedError,
    RefusedError,
    TransientError,
)
from aeterna_cli.operations.identifiers import uuid7
from aeterna_cli.operations.journal import Journal, list_operations, upload_pending
from aeterna_cli.operations.lease import lease_key
from aeterna_cli.operations.plan import Step
from aeterna_cli.operations.runner import abort, execute, resume
from aeterna_cli.stores.base.objects import ObjectInfo
from tests.unit.operations.given import (
    COMPONENT,
    Outage,
    Place,
    away,
    kinds,
    now,
    plan_of,
    put,
    three_steps,
)

DONE = ["first", "long-1", "long-2", "long-3", "last"]
RECORDS = 11  # of three_steps, from started to finished


def away_from(place: Place, number: int, *, after: bool = False) -> None:
    """The repository takes no journal record from this one on; ``after`` takes it unnoticed."""

    def refuse(key: str) -> None:
        if key.startswith("operations/") and int(key[-11:-5]) >= number:
            away(key)

    if after:
        place.store.after = refuse
    else:
        place.store.before = refuse


def back(place: Place) -> None:
    place.store.before = place.store.after = lambda key: None


def loaded(place: Place, operation: str) -> Journal:
    journal = Journal(place.store, place.state, operation, clock=now)
    journal.load()
    return journal


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(RECORDS - 1))
def test_away_at_any_write_it_stops_and_is_resumed_later(
    place: Place, number: int, after: bool
) -> None:
    """``after``: the write got through and nobody said so. That must not look like a rival."""
    plan = three_steps(place)
    away_from(place, number, after=after)
    with pytest.raises(TransientError) as caught:
        execute(plan, place.around())
    assert caught.value.code == "repository_unreachable"
    assert "--break-glass" in caught.value.hint
    operation = place.operations()[0]
    assert caught.value.next_steps[-1] == f"aeterna-cli operation resume {operation}"
    assert [said["code"] for said in place.events("end_not_recorded")] == ["repository_unreachable"]
    back(place)
    resume(operation, lambda first: plan, place.around())
    assert place.lines() == DONE
    assert kinds(loaded(place, operation).records).count("failed") == 1
    (one,) = list_operations(place.store, place.folder / "another")
    assert one.state == "finished"


def test_away_at_the_last_write_it_is_done_but_degraded(place: Place) -> None:
    away_from(place, RECORDS - 1)
    with pytest.raises(DegradedError) as caught:
        execute(three_steps(place), place.around())
    operation = place.operations()[0]
    assert caught.value.code == "end_not_recorded"
    assert caught.value.details == {"code": "repository_unreachable"}
    assert caught.value.next_steps == (f"aeterna-cli operation show {operation}",)
    assert place.lines() == DONE
    outcome = json.loads((place.state / "audit.log").read_text())["outcome"]
    assert outcome == "degraded"
    back(place)
    loaded(place, operation)  # what ``operation show`` does: it uploads
    (one,) = list_operations(place.store, place.folder / "another")
    assert one.state == "finished"


@pytest.mark.parametrize("number", range(RECORDS))
def test_with_the_glass_broken_it_goes_on_and_is_uploaded_later(place: Place, number: int) -> None:
    away_from(place, number)
    outcome = execute(three_steps(place), place.around(break_glass="the bucket is gone"))
    assert place.lines() == DONE
    assert outcome.pending == RECORDS - number
    assert place.events("end_not_recorded") == []
    back(place)
    assert upload_pending(place.store, place.state, clock=now) == 1
    assert upload_pending(place.store, place.state, clock=now) == 0
    (one,) = list_operations(place.store, place.folder / "another")
    assert (one.operation, one.state) == (outcome.operation, "finished")
    first = loaded(place, outcome.operation).records[0]
    assert first.data["break_glass"] == "the bucket is gone"


def test_when_it_comes_back_in_the_middle_the_rest_is_sent_in_order(place: Place) -> None:
    def comes_back(_run: object) -> None:
        back(place)

    plan = plan_of(Step("one", lambda run: None), Step("two", comes_back))
    away_from(place, 1)
    outcome = execute(plan, place.around(break_glass="outage"))
    assert outcome.pending == 0
    (one,) = list_operations(place.store, place.folder / "another")
    assert one.state == "finished"
    assert upload_pending(place.store, place.state, clock=now) == 0


def test_the_next_operation_uploads_what_an_outage_left_here(place: Place) -> None:
    away_from(place, 2)
    first = execute(three_steps(place), place.around(break_glass="outage")).operation
    back(place)
    execute(three_steps(place), place.around())
    known = list_operations(place.store, place.folder / "another")
    assert [one.state for one in known] == ["finished", "finished"]
    assert known[0].operation == first
    assert place.events("upload_failed") == []


def test_an_upload_that_fails_is_said_and_stops_nothing(place: Place) -> None:
    away_from(place, 2)
    first = execute(three_steps(place), place.around(break_glass="outage")).operation
    path = place.state / "operations" / first / "000005.json"
    path.write_bytes(b"torn")
    back(place)
    execute(three_steps(place), place.around())
    (said,) = place.events("upload_failed")
    assert said["code"] == "journal_damaged"
    assert first in said["message"]


def test_a_directory_that_is_not_mounted_is_away_too(place: Place) -> None:
    """Nothing of the repository is there: no lease, no record; restore must still be possible."""
    (place.folder / "repository").rename(place.folder / "unmounted")
    with pytest.raises(AeternaError) as caught:
        execute(three_steps(place), place.around())
    assert caught.value.code == "repository_directory_missing"
    assert place.lines() == []
    outcome = execute(three_steps(place), place.around(break_glass="the mount is gone"))
    assert outcome.pending == RECORDS
    assert place.lines() == DONE
    (place.folder / "unmounted").rename(place.folder / "repository")
    assert upload_pending(place.store, place.state, clock=now) == 1
    loaded(place, outcome.operation)


def test_a_held_lease_is_respected_also_with_the_glass_broken(place: Place) -> None:
    put(place)
    with pytest.raises(ConflictError) as caught:
        execute(three_steps(place), place.around(break_glass="I want to"))
    assert caught.value.code == "lease_held"
    assert place.lines() == []


def test_a_lease_that_cannot_be_read_stops_it(place: Place) -> None:
    place.store.create(lease_key(COMPONENT), b"not a lease")
    with pytest.raises(AeternaError) as caught:
        execute(three_steps(place), place.around())
    assert caught.value.code == "lease_damaged"
    assert place.operations() == []


def test_resuming_and_aborting_without_the_repository_want_the_glass_broken(place: Place) -> None:
    def breaks(_run: object) -> None:
        raise FailedError("broken", "it broke")

    plan = three_steps(place)
    steps = (plan.steps[0], Step("long", breaks), plan.steps[2])
    for _twice in range(2):
        with pytest.raises(FailedError):
            execute(plan_of(*steps), place.around())
    first, second = place.operations()
    repository = place.folder / "repository"
    repository.rename(place.folder / "unmounted")
    for use in (
        lambda: resume(first, lambda _record: plan, place.around()),
        lambda: abort(first, place.around()),
    ):
        with pytest.raises(RefusedError) as caught:
            use()
        assert caught.value.code == "repository_directory_missing"
        assert "--break-glass" in caught.value.hint
    outcome = resume(first, lambda _record: plan, place.around(break_glass="gone"))
    assert outcome.pending == 14  # five of the first run, nine of this one
    abort(second, place.around(break_glass="gone"))
    (place.folder / "unmounted").rename(repository)
    assert upload_pending(place.store, place.state, clock=now) == 2
    known = list_operations(place.store, place.folder / "another")
    assert [one.state for one in known] == ["finished", "abandoned"]


def test_a_repository_that_cannot_be_read_is_not_an_empty_one(place: Place) -> None:
    """What lies here may be behind: going on from it without a word would do steps twice."""

    class Unreadable(Outage):
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            away(prefix)
            yield from ()

    operation = execute(three_steps(place), place.around()).operation
    place.store = Unreadable(place.folder / "repository")
    with pytest.raises(TransientError) as caught:
        loaded(place, operation)
    assert "--break-glass" in caught.value.hint


def test_records_after_an_outage_that_somebody_else_wrote_as_well_are_kept(place: Place) -> None:
    """They had effects: they stay on this disk as evidence, and nothing is overwritten there."""
    operation = uuid7()
    mine = Journal(place.store, place.state, operation, clock=now, break_glass="outage")
    mine.append("started", {})
    there = Journal(place.store, place.folder / "another", operation, clock=now)
    there.load()
    place.store.before = away
    mine.append("intent", {"step": "mine"})
    back(place)
    there.append("resumed", {"by": "there"})
    with pytest.raises(ConflictError) as caught:
        mine.append("result", {"step": "mine"})
    assert caught.value.code == "operation_taken_over"
    assert len(list((place.state / "operations" / operation).glob("*.json"))) == 3
    assert len(list(place.store.list(f"operations/{operation}/"))) == 2


def test_a_mark_that_cannot_be_set_is_an_error(place: Place) -> None:
    mine = Journal(place.store, place.state, uuid7(), clock=now, break_glass="outage")
    mine.append("started", {})
    folder = place.state / "operations" / mine.operation

    def vanish(key: str) -> None:
        folder.rename(place.folder / "elsewhere")
        away(key)

    place.store.before = vanish
    with pytest.raises(FailedError) as caught:
        mine.append("intent", {})
    assert caught.value.code == "journal_not_written"
