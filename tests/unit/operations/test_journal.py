"""What is written down, in two places, in one order."""

import hashlib
import json
import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aeterna_cli.errors import AeternaError, ConflictError, FailedError, RemoteError
from aeterna_cli.operations.identifiers import uuid7
from aeterna_cli.operations.journal import Journal, list_operations, record_key
from tests.unit.operations.given import Child, Outage, Place, Say, Wait, kinds, now

PLAN = {
    "plan": {"kind": "k", "summary": "s", "target": "t", "restartable": False},
    "actor": "ada",
}


def journal(place: Place, operation: str, *, store: bool = True) -> Journal:
    return Journal(place.store if store else None, place.state, operation, clock=now)


def written(place: Place, *, store: bool = True) -> str:
    """A journal of four records."""
    operation = uuid7()
    made = journal(place, operation, store=store)
    for kind in ("started", "intent", "result", "finished"):
        made.append(kind, {**PLAN, "step": "größer", "result": [1, None, {"a": 0.1}]})
    return operation


def local(place: Place, operation: str, number: int) -> Path:
    return place.state / "operations" / operation / f"{number:06d}.json"


def remote(place: Place, operation: str, number: int) -> Path:
    return place.folder / "repository" / record_key(operation, number)


def test_a_record_is_in_both_places_with_the_hash_of_the_one_before(place: Place) -> None:
    operation = written(place)
    before = "0" * 64
    for number, kind in enumerate(("started", "intent", "result", "finished")):
        content = local(place, operation, number).read_bytes()
        assert remote(place, operation, number).read_bytes() == content
        document = json.loads(content)
        assert document["schema"] == "aeterna.journal/1"
        assert (document["operation"], document["sequence"]) == (operation, number)
        assert (document["kind"], document["previous"]) == (kind, before)
        before = hashlib.sha256(content).hexdigest()
    again = journal(place, operation)
    again.load()
    assert kinds(again.records) == ["started", "intent", "result", "finished"]
    assert again.records[2].data["result"] == [1, None, {"a": 0.1}]
    assert again.pending == 0


def test_nobody_else_reads_it(place: Place) -> None:
    operation = written(place)
    path = local(place, operation, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_nlink == 1
    assert [p.name for p in path.parent.iterdir() if p.suffix != ".json"] == []


@pytest.mark.parametrize("where", [local, remote])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_changed_byte_is_noticed(
    place: Place, where: Callable[[Place, str, int], Path], data: st.DataObject
) -> None:
    """In any record, here or there; also the last one, because there are two of it."""
    operation = place.operations()[0] if place.state.exists() else written(place)
    number = data.draw(st.integers(0, 3))
    path = where(place, operation, number)
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != content[position]))
    path.write_bytes(content[:position] + bytes([byte]) + content[position + 1 :])
    try:
        with pytest.raises(AeternaError) as caught:
            journal(place, operation).load()
        assert caught.value.code in ("journal_damaged", "operation_taken_over")
        assert caught.value.operation == operation
    finally:
        path.write_bytes(content)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_with_one_copy_every_record_but_the_last_is_covered(
    place: Place, data: st.DataObject
) -> None:
    operation = place.operations()[0] if place.state.exists() else written(place, store=False)
    number = data.draw(st.integers(0, 2))
    path = local(place, operation, number)
    content = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(changed))
    try:
        for look in (
            lambda: journal(place, operation, store=False).load(),
            lambda: list_operations(None, place.state),
        ):
            with pytest.raises(RemoteError) as caught:
                look()
            assert caught.value.code == "journal_damaged"
    finally:
        path.write_bytes(content)


@given(cut=st.integers(0, 400))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_last_record_is_named(place: Place, cut: int) -> None:
    operation = place.operations()[0] if place.state.exists() else written(place)
    path = local(place, operation, 3)
    content = path.read_bytes()
    path.write_bytes(content[: min(cut, len(content) - 1)])
    try:
        with pytest.raises(RemoteError) as caught:
            journal(place, operation).load()
        assert caught.value.code == "journal_damaged"
        assert caught.value.details == {
            "key": record_key(operation, 3),
            "where": "state folder",
        }
    finally:
        path.write_bytes(content)


def test_a_missing_record_is_named(place: Place) -> None:
    operation = written(place)
    local(place, operation, 1).unlink()
    remote(place, operation, 1).unlink()
    for look in (
        journal(place, operation).load,
        lambda: list_operations(place.store, place.state),
    ):
        with pytest.raises(RemoteError) as caught:
            look()
        assert caught.value.details["key"] == record_key(operation, 1)
        assert "is missing" in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("operation", "other"),
        ("schema", "aeterna.journal/2"),
        ("sequence", 5),
        ("previous", "f" * 64),
        ("data", None),
        ("data", "text"),
        ("time", "yesterday"),
        ("time", 5),
    ],
)
def test_a_record_that_was_put_there_is_refused(place: Place, field: str, value: object) -> None:
    operation = written(place)
    for path in (local(place, operation, 3), remote(place, operation, 3)):
        path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(RemoteError) as caught:
        journal(place, operation).load()
    assert caught.value.code == "journal_damaged"


@pytest.mark.parametrize("lost", ["local", "remote"])
def test_what_one_place_lost_is_brought_back_from_the_other(place: Place, lost: str) -> None:
    operation = written(place)
    where, other = (local, remote) if lost == "local" else (remote, local)
    for number in (1, 3):
        where(place, operation, number).unlink()
    journal(place, operation).load()
    for number in range(4):
        content = other(place, operation, number).read_bytes()
        assert where(place, operation, number).read_bytes() == content


def test_another_machine_goes_on_from_the_repository(place: Place) -> None:
    operation = written(place)
    there = Journal(place.store, place.folder / "another", operation, clock=now)
    there.load()
    there.append("resumed", {})
    mine = journal(place, operation)
    mine.load()
    assert kinds(mine.records)[-1] == "resumed"


def test_whoever_loses_the_race_for_a_number_does_nothing_more(place: Place) -> None:
    operation = written(place)
    first = Journal(place.store, place.folder / "another", operation, clock=now)
    second = journal(place, operation)
    first.load()
    second.load()
    first.append("resumed", {"by": "first"})
    for _again in range(2):
        with pytest.raises(ConflictError) as caught:
            second.append("resumed", {"by": "second"})
        assert caught.value.code == "operation_taken_over"
        assert caught.value.operation == operation
    again = journal(place, operation)
    again.load()
    assert len(again.records) == 5
    assert again.records[-1].data == {"by": "first"}


def test_two_processes_on_one_machine_without_a_repository_race_too(place: Place) -> None:
    operation = written(place, store=False)

    def race(say: Say, wait: Wait) -> None:
        mine = journal(place, operation, store=False)
        mine.load()
        say("ready")
        wait()
        try:
            mine.append("resumed", {"by": os.getpid()})
        except ConflictError as error:
            say(error.code)
        else:
            say("won")

    children = [Child(race) for _ in range(3)]
    assert [child.line() for child in children] == ["ready"] * 3
    for child in children:
        child.go()
    said = sorted(child.line() for child in children)
    assert [child.end() for child in children] == [0] * 3
    assert said == ["operation_taken_over", "operation_taken_over", "won"]
    again = journal(place, operation, store=False)
    again.load()
    assert len(again.records) == 5


def test_a_different_good_record_here_means_that_two_went_on(place: Place) -> None:
    operation = written(place)
    first = Journal(place.store, place.folder / "another", operation, clock=now)
    first.load()
    second = journal(place, operation, store=False)
    second.load()
    first.append("resumed", {"by": "first"})
    second.append("resumed", {"by": "second"})
    with pytest.raises(ConflictError) as caught:
        journal(place, operation).load()
    assert caught.value.code == "operation_taken_over"


def test_a_copy_that_the_process_at_work_wrote_meanwhile_is_no_race(place: Place) -> None:
    """``operation show`` beside a running operation."""
    operation = written(place)
    path = local(place, operation, 3)
    content = path.read_bytes()
    path.unlink()

    class Slow(Outage):
        def read(self, key: str) -> bytes:
            path.write_bytes(content)
            return super().read(key)

    looking = Journal(Slow(place.folder / "repository"), place.state, operation, clock=now)
    looking.load()
    assert len(looking.records) == 4


def test_a_copy_that_is_another_record_is_a_race(place: Place) -> None:
    operation = written(place)
    path = local(place, operation, 3)
    path.unlink()

    class Slow(Outage):
        def read(self, key: str) -> bytes:
            path.write_bytes(b"other")
            return super().read(key)

    looking = Journal(Slow(place.folder / "repository"), place.state, operation, clock=now)
    with pytest.raises(ConflictError):
        looking.load()


def test_a_full_disk_ends_it_before_anything_is_done(place: Place) -> None:
    operation = written(place)

    def full(say: Say, _wait: Wait) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        mine = journal(place, operation)
        mine.load()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
        with pytest.raises(FailedError) as caught:
            mine.append("resumed", {})
        assert len(mine.records) == 4
        say(caught.value.code)

    child = Child(full)
    assert child.line() == "journal_not_written"
    assert child.end() == 0
    assert {p.suffix for p in local(place, operation, 0).parent.iterdir()} == {".json"}
    again = journal(place, operation)
    again.load()
    assert len(again.records) == 4


def test_a_repository_without_space_is_said_so_and_the_record_lies_here(place: Place) -> None:
    operation = written(place)

    def full(key: str) -> None:
        raise RemoteError("disk_full", f"no space left for {key}", hint="prune")

    place.store.before = full
    mine = journal(place, operation)
    mine.load()
    with pytest.raises(RemoteError) as caught:
        mine.append("resumed", {})
    assert caught.value.code == "disk_full"
    assert caught.value.hint.startswith("prune; ")
    assert "--break-glass" in caught.value.hint
    assert mine.pending == 1


def test_a_state_folder_that_cannot_be_read_is_said_so(place: Place) -> None:
    operation = written(place)
    local(place, operation, 1).unlink()
    local(place, operation, 1).mkdir()
    with pytest.raises(FailedError) as caught:
        journal(place, operation).load()
    assert caught.value.code == "journal_not_readable"


def test_other_files_beside_the_records_do_not_matter(place: Place) -> None:
    operation = written(place)
    for where in (local, remote):
        where(place, operation, 0).with_name("notes.txt").write_text("mine")
    (place.state / "operations" / "notes").mkdir()
    (place.state / "operations" / uuid7()).mkdir()
    journal(place, operation).load()
    (one,) = list_operations(place.store, place.state)
    assert one.operation == operation


def test_the_list_is_of_both_places_oldest_first(place: Place) -> None:
    first = written(place)
    second = written(place, store=False)
    found = list_operations(place.store, place.state)
    assert [one.operation for one in found] == [first, second]
    assert [one.local_only for one in found] == [False, True]
    one = found[0]
    assert (one.kind, one.summary, one.target, one.actor) == ("k", "s", "t", "ada")
    assert (one.state, one.restartable) == ("finished", False)
    assert one.started <= one.changed
    other = list_operations(place.store, place.folder / "another")
    assert [one.operation for one in other] == [first]
    assert list_operations(None, place.folder / "another") == []


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("started", "running"),
        ("checkpoint", "running"),
        ("resumed", "running"),
        ("failed", "failed"),
        ("interrupted", "interrupted"),
        ("abandoned", "abandoned"),
    ],
)
def test_the_last_record_says_the_state(place: Place, kind: str, state: str) -> None:
    made = journal(place, uuid7())
    made.append("started", PLAN)
    made.append(kind, {})
    assert [one.state for one in list_operations(place.store, place.state)] == [state]
